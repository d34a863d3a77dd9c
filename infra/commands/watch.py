"""``streamgage status --watch``: a dashboard of the local stack, drawn anew every second until q or Ctrl-C."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from infra.local.metrics.frame import Frame, frame_of
from infra.local.metrics.screen import screen
from infra.local.metrics.source import StackReader
from infra.local.stack.home import Home, read_json

_REFRESH_S = 1.0
_END = frozenset("qQ\x1b")  # Escape too
_WIDTH = 100  # where the output is not a terminal


def watch(home: Home, *, once: bool = False) -> int:
    """Draw until the person ends it; one frame where *once*, or where the output is no terminal.

    Raises:
        ConfigError: no stack is running.
    """
    from producers.screen import Screen

    home.info()
    reader = StackReader(home)
    try:
        if once or not sys.stdout.isatty():
            width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or _WIDTH)
            Screen(width=width).print(screen(_frame(home, reader)))
        else:
            with _keys() as pressed, suppress(KeyboardInterrupt):
                _draw(lambda: screen(_frame(home, reader)), pressed)
    finally:
        reader.close()
    return 0


def _frame(home: Home, reader: StackReader) -> Frame:
    reading = reader.read()
    return frame_of(reading, reader.emf.by_second, read_json(home.info_file) or {})


def _draw(draw: Callable[[], Any], pressed: Callable[[float], str]) -> None:
    from rich.live import Live

    from producers.screen import Screen

    with Live(draw(), console=Screen(), screen=True, auto_refresh=False) as live:
        next_s = time.monotonic() + _REFRESH_S
        while True:
            if pressed(max(next_s - time.monotonic(), 0)) in _END:
                return
            if time.monotonic() >= next_s:
                live.update(draw(), refresh=True)
                next_s = time.monotonic() + _REFRESH_S


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Give a function that waits for a key, at most so many seconds, and returns it or ""."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        return os.read(descriptor, 1).decode("latin-1") if ready else ""

    try:
        tty.setcbreak(descriptor)  # keys at once and unseen; Ctrl-C still interrupts
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _no_key(seconds: float) -> str:
    time.sleep(seconds)
    return ""
