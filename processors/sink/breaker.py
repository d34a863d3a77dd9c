"""When to leave a table alone that takes no writes: a breaker, with jitter.

A request that fails has been tried for a while already (processors/awsjson/retry.py). Where some in a row do, so will the
thousands that wait behind them: each costs its statements again, and keeps the table from recovering.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """After ``failures`` in a row nobody asks for a while; after each further one for a longer while.

    Formula: the n-th pause is random in ``[d/2, d)``, ``d = min(cap_s, base_s * 2**(n-1))``: half of it is certain, so that
    the table has a rest, and half is not, so that not all sandboxes come back at once.
    """

    failures: int = 3
    base_s: float = 0.5
    cap_s: float = 20.0


class Breaker:
    """Of one table, for the life of a sandbox. Thread-safe. *clock* is monotonic, in s; *random* in ``[0, 1)``.

    A request is made where ``admits`` says so, and then ``worked`` or ``failed`` says how it ended. After a pause one
    goes alone, as a probe: where it works, all go again; of one that never says, the next probe takes the place after
    another pause.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        limits: BreakerLimits | None = None,
    ) -> None:
        self._clock, self._random, self._limits = clock, random, limits or BreakerLimits()
        self._lock = Lock()
        self._in_a_row = self._pauses = 0
        self._until_s = 0.0  # of the pause
        self._probing = False

    def admits(self) -> bool:
        """Tell whether a request may be made now."""
        with self._lock:
            if not self._pauses:
                return True
            if self._clock() < self._until_s:
                return False
            self._probing = True
            self._pause()
            return True

    def pause_s(self) -> float:
        """Return how long nobody is admitted; 0 where somebody is."""
        with self._lock:
            return max(self._until_s - self._clock(), 0.0) if self._pauses else 0.0

    def worked(self) -> None:
        """Say that a request was answered, whatever became of its writes."""
        with self._lock:
            self._in_a_row = self._pauses = 0
            self._probing = False

    def failed(self) -> None:
        """Say that a request was throttled, or not answered, to the end of its tries."""
        with self._lock:
            if self._pauses and not self._probing:
                return  # it began before the pause, and tells nothing new
            self._in_a_row += 1
            if self._pauses or self._in_a_row >= self._limits.failures:
                self._pauses += 1
                self._probing = False
                self._pause()

    def _pause(self) -> None:
        limits = self._limits
        longest_s = min(limits.cap_s, limits.base_s * 2 ** min(self._pauses - 1, 32))
        self._until_s = self._clock() + longest_s * (1 + self._random()) / 2
