"""Time: one port, and this machine's two clocks. Which of them is meant, the one who takes a clock says."""

import time
from typing import Protocol


class Clock(Protocol):
    """A clock in ms: since the epoch where it stamps events, since any beginning where it only measures."""

    def now_ms(self) -> int:
        """Return the time."""

    def sleep_ms(self, duration_ms: int) -> None:
        """Return after *duration_ms*."""


class WallClock:
    """The time of day: ms since the epoch. It may be set back."""

    def now_ms(self) -> int:
        """Return ms since the epoch."""
        return time.time_ns() // 1_000_000

    def sleep_ms(self, duration_ms: int) -> None:
        """Return after *duration_ms*."""
        time.sleep(duration_ms / 1000)


class MonotonicClock:
    """Ms since some beginning, never less than before: untouched by adjustments of this machine's date."""

    def now_ms(self) -> int:
        """Return ms since some beginning."""
        return time.monotonic_ns() // 1_000_000

    def sleep_ms(self, duration_ms: int) -> None:
        """Return after *duration_ms*."""
        time.sleep(duration_ms / 1000)
