"""Look at everything of a home that this version knows to check."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from infra.local.doctor.documents import check_checkpoints, check_stack_files
from infra.local.doctor.report import Check, Report
from infra.local.doctor.stream import check_stream
from infra.local.doctor.tables import check_tables
from infra.local.stack.home import Home
from streamgage.errors import ConfigError

# In this order. Another thing to look at is another function here.
CHECKS: Sequence[Check] = (check_stream, check_tables, check_checkpoints, check_stack_files)


@contextmanager
def examine(home: Home, *, on_bytes: Callable[[int], None] = lambda _: None) -> Iterator[Report]:
    """Yield what is found of *home*; nothing starts there meanwhile. Of a stack that runs, it is read as it is.

    Raises:
        ConfigError: there is no such home.
    """
    if not home.root.is_dir():
        raise ConfigError(f"{home.root} is no home of a stack: there is no such folder")
    with ExitStack() as held:
        owned = [
            held.enter_context(_held(folder / "lock")) for folder in (home.kinesis_data, home.tables_data)
        ]
        report = Report(on_bytes=on_bytes, is_running=not all(owned))
        for check in CHECKS:
            check(home, report)
        yield report


def size_bytes(home: Home) -> int:
    """Return how much there is to read, about."""
    data = home.root / "data"
    total = 0
    for path in data.rglob("*"):
        if path.suffix in (".log", ".db"):
            with suppress(OSError):  # trimmed meanwhile
                total += path.stat().st_size
    return total


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Hold the lock *path* as its process would, without a word in it; yield whether nobody else has it."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield True  # not there: nobody ever served this folder
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)
