"""A local stack that runs inside this process, and what its function logged."""

import _thread
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from infra.local.stack.home import Home, StackInfo
from infra.local.stack.lock import Hold
from infra.local.stack.supervisor import Stack, StackOptions


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


def batch_lines(home: Home) -> Iterator[dict[str, Any]]:
    """Yield what the function logged of each batch."""
    for line in (home.logs / "function.log").read_text(encoding="utf-8").splitlines():
        if line.startswith("{") and '"batch applied' in line:
            yield json.loads(line)
