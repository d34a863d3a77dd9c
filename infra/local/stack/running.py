"""A local stack that runs inside this process, what its function logged; and whether anyone is there at all."""

import _thread
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from infra.local.mapping.standing import SILENT_MS
from infra.local.stack.home import Home, StackInfo, is_alive
from infra.local.stack.lock import Hold
from infra.local.stack.supervisor import Stack, StackOptions
from streamgage.errors import ConfigError

_CONNECT_S = 2.0
_PATIENCE_S = 3.0


@contextmanager
def running(options: StackOptions, *, held: Hold | None = None) -> Iterator[StackInfo]:
    """Run a stack of *options* in this process, and stop it in the end whatever happened. *held*: the home, held already.

    Raises:
        ConfigError: a child ended for good meanwhile; whatever the caller met then came of it.
    """
    stack, stop = Stack(options, held=held), threading.Event()
    in_main = threading.current_thread() is threading.main_thread()

    def watch() -> None:
        try:
            stack.watch(stop.is_set)
        except BaseException:
            if in_main:
                _thread.interrupt_main()  # whatever it waits for will not come
            raise

    stack.start()
    with ThreadPoolExecutor(1, thread_name_prefix="watch") as pool:
        watching = pool.submit(watch)
        try:
            yield stack.info
        except BaseException as error:
            if watching.done() and (failure := watching.exception()) is not None:
                raise failure from error
            raise
        finally:
            stop.set()
            wait([watching])
            stack.stop()


def check_someone_is_there(home: Home) -> StackInfo:
    """Return the running stack of *home*; to be called before anything is sent to it.

    Raises:
        ConfigError: no stack runs, nothing listens at its stream's port, or nobody reads the stream: within seconds, where
            a producer would try again for minutes.
    """
    info, deadline = home.info(), time.monotonic() + _PATIENCE_S
    while (problem := _nobody(home, info)) is not None:
        if time.monotonic() > deadline:
            raise ConfigError(f"{problem}. Start it again: streamgage down, then streamgage up")
        time.sleep(0.1)  # what died is being started again
        info = home.info()
    return info


def _nobody(home: Home, info: StackInfo) -> str | None:
    address = urlsplit(info.endpoints["kinesis"])
    try:
        socket.create_connection((address.hostname or "", address.port or 0), _CONNECT_S).close()
    except OSError as error:
        return (
            f"nothing answers at {info.endpoints['kinesis']}, where the stream of {home.root} should be "
            f"({error.strerror or error}); see {home.logs / 'kinesis.log'}"
        )
    if not is_alive(info.pids.get("mapping", 0)):
        return f"nobody reads the stream of {home.root}: the mapping is dead; see {home.logs / 'mapping.log'}"
    status = home.status()
    silent_ms = time.time_ns() // 1_000_000 - status["as_of_ms"] if status else 0
    if silent_ms > SILENT_MS:
        return f"nobody reads the stream of {home.root}: the mapping has said nothing for {silent_ms / 1000:.0f} s"
    return None


def batch_lines(home: Home) -> Iterator[dict[str, Any]]:
    """Yield what the function logged of each batch."""
    for line in (home.logs / "function.log").read_text(encoding="utf-8").splitlines():
        if line.startswith("{") and '"batch applied' in line:
            yield json.loads(line)
