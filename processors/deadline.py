"""Until when a piece of work has to be done. Everything that may wait is given one, and waits no longer."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment ``at_s`` of *clock*, which returns seconds and never goes back.

    One is made where an invocation begins, of the time that Lambda leaves less what the answer takes; whatever is done
    for the invocation gets that one, or a ``sooner`` one.
    """

    at_s: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        """Return the deadline *seconds* from now."""
        return cls(clock() + seconds, clock)

    def left_s(self) -> float:
        """Return how long it is until then; 0 where it has passed, never less."""
        return max(self.at_s - self.clock(), 0.0)

    def sooner(self, seconds: float) -> "Deadline":
        """Return this deadline, or the one *seconds* from now where that comes first."""
        return Deadline(min(self.at_s, self.clock() + seconds), self.clock)

    @property
    def has_passed(self) -> bool:
        """Whether there is no time left: nothing may begin now."""
        return self.clock() >= self.at_s
