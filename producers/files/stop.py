"""How a run waits, and how it ends before its time: a wish that is noted, and seen where nothing is half done."""

from collections.abc import Callable
from select import POLLIN, poll

from producers.clock import Clock

_SOON_MS = 10  # a pipe that is being written to is waited for so long before what was read goes on its way
_STEP_MS = 50  # between two looks while something is held, which lingers 100 ms
_SLEEP_MS = 250  # between two looks while nothing is


class Stopped(Exception):
    """Someone wants the run to end, and it was about to read or to wait. Nothing is half done."""


class Stop:
    """Whether someone wants a run to end, and how often they asked.

    A signal handler calls ``ask`` between any two instructions, and does nothing else: so no exception comes where none is
    expected. A run looks at ``asked`` between rows; the second time it is *insisted*. ``wake_fd`` becomes readable when a
    signal comes, where there is one.
    """

    def __init__(self) -> None:
        self.asked = False
        self.wake_fd: int | None = None
        self._numbers: list[int] = []

    def ask(self, number: int) -> None:
        """Take note of signal *number*."""
        self._numbers.append(number)
        self.asked = True

    @property
    def insisted(self) -> bool:
        """Whether they asked more than once."""
        return len(self._numbers) > 1

    @property
    def exit_code(self) -> int:
        """What a shell says of a command that the first signal ended; 0 where none came."""
        return 128 + self._numbers[0] if self._numbers else 0

    def check(self) -> None:
        """Raise Stopped where someone asked."""
        if self.asked:
            raise Stopped


class Patience:
    """A clock that waits in steps. Between them what is held goes on its way, and a wish to end is seen.

    ``idle`` sends on what is held, and tells whether anything still is.
    """

    def __init__(self, clock: Clock, stop: Stop) -> None:
        self.stop = stop
        self.idle: Callable[[], bool] = lambda: False
        self._clock = clock

    def now_ms(self) -> int:
        """Return the time of the clock."""
        return self._clock.now_ms()

    def sleep_ms(self, duration_ms: int) -> None:
        """Return after *duration_ms*. Raises: Stopped."""
        while True:
            self.stop.check()
            if duration_ms <= 0:
                return
            step_ms = min(duration_ms, _STEP_MS if self.idle() else _SLEEP_MS)
            self._clock.sleep_ms(step_ms)
            duration_ms -= step_ms

    def rest_ms(self, duration_ms: int) -> None:
        """Let *duration_ms* pass, whatever is wanted: for one who is ending in order."""
        self._clock.sleep_ms(duration_ms)

    def until_readable(self, descriptor: int) -> None:
        """Return when *descriptor* has something, or its end. Raises: Stopped."""
        waiting = poll()
        waiting.register(descriptor, POLLIN)
        if self.stop.wake_fd is not None:
            waiting.register(self.stop.wake_fd, POLLIN)
        timeout_ms: int | None = _SOON_MS
        while True:
            self.stop.check()
            if any(ready == descriptor for ready, _ in waiting.poll(timeout_ms)):
                return
            self.stop.check()  # before the next wait: what woke us is not read, and would again
            # Without a descriptor that wakes, a signal between the look and the wait is seen after the wait.
            asleep_ms = None if self.stop.wake_fd is not None else _SLEEP_MS
            timeout_ms = _STEP_MS if self.idle() else asleep_ms
