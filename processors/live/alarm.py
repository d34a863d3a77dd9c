"""An end to what a request computes: reads end by their deadline, and what is made of them by a timer."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from processors.deadline import Deadline
from processors.live.problems import OutOfTimeError

_GRACE_S = 0.2  # reads that end by the deadline say so themselves


class _Alarm(BaseException):  # not an Exception: nothing on the way may take it for one of its own
    """The time is up."""


@contextmanager
def ended_by(deadline: Deadline) -> Iterator[None]:
    """Let the block end by *deadline*, whatever it does, or soon after: Lambda kills who overruns, and nobody is told.

    A timer's signal interrupts it between two instructions, as Ctrl-C would. Signals are the main thread's, which is where
    Lambda's runtime calls handlers; in any other thread only reads are bounded.

    Raises:
        OutOfTimeError: the time was up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_over = False

    def ring(_number: int, _frame: object) -> None:
        if not is_over:
            raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, deadline.left_s() + _GRACE_S)
    try:
        try:
            yield
        finally:
            is_over = True
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    except _Alarm:
        raise OutOfTimeError from None
