"""The time of day for who waits by it, and by how much it was set meanwhile.

Ages of records are told by the time of day, for arrivals are; pauses are not longer because somebody set the clock, or
because a laptop slept. So whoever keeps an instant for later moves it by each step.
"""

import time
from collections.abc import Callable

_SLEW_MS = 500  # less is a clock that is led gently, and rounding


class SteppedClock:
    """The time of day in ms, and its steps beside a clock that nobody sets. Not thread-safe."""

    def __init__(
        self,
        wall_s: Callable[[], float] | None = None,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall_s, self._steady_s = wall_s or time.time, steady_s
        self._apart_ms = self._difference_ms()

    def now_ms(self) -> int:
        """Return the time of day."""
        return round(self._wall_s() * 1000)

    def step_ms(self) -> int:
        """Return by how much it was set since this was asked last; 0 mostly."""
        apart_ms = self._difference_ms()
        step_ms = apart_ms - self._apart_ms
        if abs(step_ms) < _SLEW_MS:
            return 0
        self._apart_ms = apart_ms
        return step_ms

    def _difference_ms(self) -> int:
        return round((self._wall_s() - self._steady_s()) * 1000)
