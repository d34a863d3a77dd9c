"""A local stack that runs inside this process, and what its function logged."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from infra.local.stack.home import Home, StackInfo
from infra.local.stack.supervisor import Stack, StackOptions


@contextmanager
def running(options: StackOptions) -> Iterator[StackInfo]:
    """Run a stack of *options* in this process, and stop it in the end whatever happened."""
    stack, stop = Stack(options), threading.Event()
    stack.start()
    watcher = threading.Thread(target=stack.watch, args=(stop.is_set,), name="watch")
    watcher.start()
    try:
        yield stack.info
    finally:
        stop.set()
        watcher.join()
        stack.stop()


def batch_lines(home: Home) -> Iterator[dict[str, Any]]:
    """Yield what the function logged of each batch."""
    for line in (home.logs / "function.log").read_text(encoding="utf-8").splitlines():
        if line.startswith("{") and '"batch applied' in line:
            yield json.loads(line)
