"""When each event of a load is due: known before the first is sent, whatever becomes of those before it (open loop).

Latency is counted from there, so a sender that falls behind, or a stream that makes it wait, cannot hide its own delay
(coordinated omission).
"""

import math
from bisect import bisect_right
from collections.abc import Iterator
from random import Random

from producers.load.profile import Profile

_STEP_S = 0.05  # the rate is constant within one
_MOST_STEPS = 500_000
_LEAST = 1e-3  # of the rate, where it swings to nothing: time goes on


class Schedule:
    """The arrivals of a load of *rate_per_s* on average over *seconds*; all times are in ms from its beginning.

    Event *n* is due when the integral of the rate reaches ``n``: the rate is ``1 - swing * cos(2 pi t / day)``, times
    *burst_factor* in a burst, scaled so that it is *rate_per_s* on average. Bursts begin at moments that *seed* decides.
    """

    def __init__(self, profile: Profile, *, rate_per_s: float, seconds: float, seed: int) -> None:
        steps = max(1, math.ceil(seconds / max(_STEP_S, seconds / _MOST_STEPS)))
        self._step_ms = seconds * 1000 / steps
        weights = list(_weights(profile, steps, seconds / steps, seed))
        self.events = max(1, round(rate_per_s * seconds))
        scale = self.events / math.fsum(weights)
        self._reached = [0.0]  # how many events are due by the end of each step
        for weight in weights:
            self._reached.append(self._reached[-1] + weight * scale)
        self.peak_per_s = max(weights) * scale / self._step_ms * 1000
        """The highest rate of any moment, events a second."""

    def due_ms(self, number: int) -> float:
        """Return when event *number*, from 0, is due."""
        at = min(bisect_right(self._reached, number) - 1, len(self._reached) - 2)
        first, last = self._reached[at], self._reached[at + 1]
        return (at + (number - first) / (last - first)) * self._step_ms

    def due_by(self, elapsed_ms: float) -> int:
        """Return how many events are due *elapsed_ms* after the beginning."""
        if elapsed_ms < 0:
            return 0
        at = int(elapsed_ms / self._step_ms)
        if at >= len(self._reached) - 1:
            return self.events
        first, last = self._reached[at], self._reached[at + 1]
        return min(self.events, int(first + (last - first) * (elapsed_ms / self._step_ms - at)) + 1)


def _weights(profile: Profile, steps: int, step_s: float, seed: int) -> Iterator[float]:
    """Yield the rate of each step, before it is scaled."""
    dice = Random(f"{seed} bursts").random  # noqa: S311 - a seeded simulation
    burst_s, gap_s = profile.burst_s, profile.burst_every_s - profile.burst_s
    begins_s = profile.burst_every_s * dice()
    for number in range(steps):
        at_s = (number + 0.5) * step_s
        while at_s >= begins_s + burst_s:
            begins_s += burst_s + 2 * gap_s * dice() + step_s
        daily = max(1 - profile.swing * math.cos(math.tau * at_s / profile.day_s), _LEAST)
        yield daily * (profile.burst_factor if at_s >= begins_s else 1.0)
