"""Read the tables over: the write-ahead log, the database's structure, and every item. Nothing of them is changed."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from infra.local.dynamodb.database import (
    CLOSED,
    Database,
    boot_id,
    check_database,
    noted_identity,
    read_note,
    write_note,
)
from infra.local.dynamodb.store import Store
from infra.local.dynamodb.wal import problem_of, read_log
from streamgage.errors import ConfigError

_CACHE_KIB = 64 * 1024


@dataclass(slots=True)
class Audit:
    """What was read and found. ``rows``: table, number and words of each item that is not what was written."""

    files: int = 0
    size_bytes: int = 0
    tables: int = 0
    items: int = 0
    problems: list[str] = field(default_factory=list)
    log_problem: str | None = None
    rows: list[tuple[str, int, str]] = field(default_factory=list)


def audit(
    directory: Path, *, is_running: bool, on_bytes: Callable[[int], None] = lambda _: None
) -> Audit | None:
    """Return what stands in the tables in *directory*, None where there are none.

    Where no process serves them the caller holds their lock, and a copy of the write-ahead log is read, so that it stays
    as it is; of a process that *is_running*, what it has committed by now.
    """
    path, noted = directory / "tables.db", noted_identity(directory)
    found = Audit()
    if not path.exists():
        if noted is None:
            return None
        found.problems.append(f"{path} is missing, and it held the store {noted}")
        return found
    found.files = sum(each.exists() for each in (path, directory / "tables.db-wal", directory / "identity"))
    found.size_bytes = path.stat().st_size
    if not is_running:
        found.log_problem = _log_problem(directory)
    try:
        with _opened(path, is_running=is_running) as connection:
            _look(connection, path, noted, found, on_bytes)
    except ConfigError as error:
        found.problems += error.problems
    except (sqlite3.Error, OSError) as error:
        found.problems.append(f"{path} is damaged: {error}")
    return found


def _look(
    connection: sqlite3.Connection,
    path: Path,
    noted: str | None,
    found: Audit,
    on_bytes: Callable[[int], None],
) -> None:
    was = None if noted is None else noted.partition(" ")[0]
    identity = check_database(connection, path, was)
    if identity is None:
        return
    if noted is not None and str(identity) != noted:
        found.problems.append(
            f"{path} says that it is {identity}, and {path.parent / 'identity'} that it is {noted}"
        )
    store = Store(Database(connection, identity, path, None))
    for name in store.names():
        table = store.table(name)
        assert table is not None  # noqa: S101 - it was named
        found.tables += 1
        found.items += store.measure(table)[0]
        found.rows += [(table.items, number, what) for number, what in store.damaged_rows(table, on_bytes)]


def give_up_log(directory: Path, *, given_up: Path) -> None:
    """Go on with what is whole of the write-ahead log; keep a copy of it in *given_up*."""
    wal = directory / "tables.db-wal"
    log = read_log(wal)
    if log is not None:
        _keep_aside(wal, given_up)
        os.truncate(wal, log.committed_bytes)
    (directory / "tables.db-shm").unlink(missing_ok=True)
    _note_closed(directory)


def give_up_rows(directory: Path, rows: list[tuple[str, int, str]], *, given_up: Path) -> None:
    """Delete items that are not what was written; keep a copy of the database in *given_up*."""
    path = directory / "tables.db"
    _keep_aside(path, given_up)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for items, number, _ in rows:
            connection.execute(f"DELETE FROM {items} WHERE id = ?", (number,))  # noqa: S608 - a name of ours
    finally:
        connection.close()
    _note_closed(directory)  # SQLite wrote its log into the database, and deleted it


def _note_closed(directory: Path) -> None:
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        write_note(lock, CLOSED)
    finally:
        os.close(lock)


def _keep_aside(path: Path, given_up: Path) -> None:
    given_up.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copy2(path, given_up / path.name)


def _log_problem(directory: Path) -> str | None:
    try:
        lock = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return problem_of(directory / "tables.db", same_boot=True, was_open=False)
    try:
        left = read_note(lock)
    finally:
        os.close(lock)
    same_boot = left.boot in ("", boot_id())
    return problem_of(directory / "tables.db", same_boot=same_boot, was_open=left.is_open)


@contextmanager
def _opened(path: Path, *, is_running: bool) -> Iterator[sqlite3.Connection]:
    if is_running:
        with _reading(path) as connection:
            yield connection
        return
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=path.parent) as folder:
        beside = Path(folder) / path.name
        try:
            os.link(path, beside)
        except OSError:
            shutil.copy(path, beside)
        with suppress(FileNotFoundError):
            shutil.copy(path.with_name(path.name + "-wal"), beside.with_name(path.name + "-wal"))
        with _reading(beside) as connection:
            yield connection


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()
