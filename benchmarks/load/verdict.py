"""Is a rate sustained? And the highest that is, by trial."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.load.freshness import over_time, percentiles, slope
from benchmarks.load.trial import Trial

SLOPE = 0.05  # freshness may grow by so many seconds a second: the stack then takes 95 % of the load
_PROCESSING_S = (
    5.0  # beside two batching windows (one to gather, one to wait for the batch before): what p99 may take
)
_CLOSE = 1.10  # the search ends when what is sustained and what is not are this near


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trial showed. ``reasons`` say why its rate is not sustained; without any, it is.

    Sustained: every total is exact; the sender kept to its schedule; p99 freshness, counted from when an event was due, is
    at most two batching windows and 5 s, or what the load says; and it does not grow: its slope over the run is at most 0.05 s
    a second.
    """

    rate_per_s: float
    freshness_ms: dict[str, float]
    slope: float | None
    reasons: tuple[str, ...]

    @property
    def sustained(self) -> bool:
        """Whether it is."""
        return not self.reasons


def judge(trial: Trial) -> Verdict:
    """Return the verdict on *trial*; its first batching window is warm-up, cold starts are in it."""
    load = trial.load
    window_s = max(1, load.batching_window_s)
    bound_ms = (2 * window_s + _PROCESSING_S) * 1000
    counts = trial.latencies.measured(warmup_s=window_s)
    freshness_ms = percentiles(counts or trial.latencies.measured(warmup_s=0))
    grows = slope(over_time(trial.latencies.by_second), bin_s=window_s, warmup_s=window_s)
    reasons = [
        reason
        for reason, holds in (
            ("not all was applied when the time was up", not trial.drained),
            ("the sender gave up, far behind its schedule", any(each.gave_up for each in trial.senders)),
            (
                f"p99 is {freshness_ms['p99'] / 1000:.1f} s, over {bound_ms / 1000:.0f}",
                freshness_ms["p99"] > bound_ms,
            ),
            (f"freshness grows by {grows or 0:.2f} s a second", grows is not None and grows > SLOPE),
        )
        if holds
    ]
    return Verdict(load.rate_per_s, freshness_ms, grows, tuple(reasons))


def search(
    sustained_at: Callable[[float], bool], *, low: float, known: bool, probes: int
) -> tuple[float | None, float | None]:
    """Return the highest rate that was sustained and the lowest that was not, within so many *probes*.

    *low* is where to begin, *known* whether it was sustained. From there by halves as much again (or a third less), until
    one of each is known; then between them, in ratio.
    """
    highest, lowest = (low, None) if known else (None, low)
    for _ in range(probes):
        if highest is None:
            rate = low = low / 1.5
        elif lowest is None:
            rate = low = low * 1.5
        elif lowest / highest <= _CLOSE:
            break
        else:
            rate = (highest * lowest) ** 0.5
        if sustained_at(rate):
            highest = rate
        else:
            lowest = rate
    return highest, lowest
