"""What Ctrl-C, SIGTERM and SIGHUP do to a command: they end it in order, or are noted by one that holds something."""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from producers.files.stop import Stop

_AGAIN_S = 0.01
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(KeyboardInterrupt):
    """A signal came while a command held nothing; what is open is closed on the way out."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__()


def _again(number: int, watch: "_Watch") -> None:
    time.sleep(_AGAIN_S)
    watch.send(number)


def _unraisable(what: "sys.UnraisableHookArgs") -> None:
    """Where Ended met a destructor, or the callback of a weak reference, nobody got it: let the signal come again."""
    if isinstance(what.exc_value, Ended):
        _thread.start_new_thread(_again, (what.exc_value.number, _Signals.watch))
    else:
        _Signals.hook(what)


class _Watch:
    """The time in which signals are received; a signal that is to come again after it is late, and would be the system's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_over = False

    def send(self, number: int) -> None:
        with self._lock:
            if not self._is_over:
                os.kill(os.getpid(), number)

    def end(self) -> None:
        with self._lock:
            self._is_over = True


class _Signals:
    """Who is told of a signal just now: the Stop that notes it, or nobody."""

    noting: Stop | None = None
    late: list[int] | None = (
        None  # a list while the handlers are put back: nothing is raised between two lines of it
    )
    watch = _Watch()
    hook: Callable[["sys.UnraisableHookArgs"], object] = staticmethod(sys.__unraisablehook__)

    @classmethod
    def receive(cls, number: int, frame: FrameType | None) -> None:
        if cls.late is not None:
            cls.late.append(number)
        elif cls.noting is not None:
            cls.noting.ask(number)
        elif _is_in_hook(frame):  # nobody would get it there either
            _thread.start_new_thread(_again, (number, cls.watch))
        else:
            raise Ended(number)


def _is_in_hook(frame: FrameType | None) -> bool:
    """Tell whether *frame* is that of the hook, or of what it calls."""
    while frame is not None and frame.f_code is not _unraisable.__code__:
        frame = frame.f_back
    return frame is not None


@contextmanager
def ending_by_signals(*, is_last: bool) -> Iterator[None]:
    """Within it the signals that end a process raise Ended. One that is ignored (nohup) stays so.

    Behind it, where it is the last thing that a process does, they end it without a word.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Signals.hook, sys.unraisablehook = sys.unraisablehook, _unraisable
    outer, _Signals.watch = _Signals.watch, _Watch()
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _Signals.receive)
    try:
        yield
    finally:
        late: list[int] = []
        _Signals.late = late
        _Signals.watch.end()
        _Signals.watch = outer
        sys.unraisablehook = _Signals.hook
        for number, handler in before.items():
            is_ignored = handler is signal.SIG_IGN
            signal.signal(number, signal.SIG_DFL if is_last and not is_ignored else handler)
        _Signals.late = None
        if late:
            raise Ended(late[0])


@contextmanager
def noting_signals(stop: Stop) -> Iterator[None]:
    """Within it signals are noted in *stop*, and wake whoever waits for its ``wake_fd``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stop.wake_fd, wake_by = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    former = signal.set_wakeup_fd(wake_by, warn_on_full_buffer=False)
    _Signals.noting = stop
    try:
        yield
    finally:
        _Signals.noting = None
        signal.set_wakeup_fd(former)
        os.close(wake_by)
        os.close(stop.wake_fd)
        stop.wake_fd = None
