"""How fresh the table is, from what was sent and what was seen of it: figures, a line over time, and a verdict.

Freshness of an event: from the moment it was due until its windows' aggregates can be queried. A lane's progress item is
written after the aggregates of its batch are durable, so an event is queryable no later than the first look at which the
fence of its shard's progress has reached its Kinesis record. What is reported is an upper bound: it is too long by that one
write, and by up to the time between two looks.
"""

import statistics
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

from benchmarks.load.schedule import SenderLoad
from benchmarks.load.sent_log import SentEntry

_LONGEST_MS = 3_600_000
_PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)


@dataclass(slots=True)
class Seen:
    """The looks at the progress items: of each shard, when (ms since the epoch) its fence was first seen where."""

    times_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    fences: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    looks_ms: list[float] = field(default_factory=list)

    def note(self, at_ms: float, fences: Mapping[str, int]) -> None:
        """Take note of a look that was answered at *at_ms*. Fences never go back."""
        self.looks_ms.append(at_ms)
        for shard_id, fence in fences.items():
            known = self.fences[shard_id]
            if not known or fence > known[-1]:
                known.append(fence)
                self.times_ms[shard_id].append(at_ms)

    def visible_ms(self, shard_id: str, sequence_number: int) -> float | None:
        """Return when what stands at *sequence_number* was first seen applied; None where it never was."""
        at = bisect_left(self.fences[shard_id], sequence_number)
        return self.times_ms[shard_id][at] if at < len(self.times_ms[shard_id]) else None

    def resolution_ms(self) -> dict[str, float]:
        """Return how far apart the looks were."""
        gaps = [later - earlier for earlier, later in zip(self.looks_ms, self.looks_ms[1:], strict=False)]
        return (
            {"median_ms": round(statistics.median(gaps), 1), "longest_ms": round(max(gaps), 1)}
            if gaps
            else {}
        )


@dataclass(slots=True)
class Latencies:
    """Freshness of every event: by whole ms over the measured part, and summed by second of the time it was due."""

    counts: Counter[int] = field(default_factory=Counter)
    by_second: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    unseen: int = 0

    def add(self, load: SenderLoad, entries: Sequence[SentEntry], seen: Seen, *, start_ms: int) -> None:
        """Count the events of a sender that began at *start_ms*."""
        gap_ms = 1000 / load.rate_per_s
        for entry in entries:
            visible_ms = seen.visible_ms(entry.shard_id, entry.sequence_number)
            if visible_ms is None:
                self.unseen += len(entry.numbers)
                continue
            since_ms = visible_ms - start_ms
            by_second: dict[int, list[int]] = defaultdict(list)
            for number in entry.numbers:
                due_ms = number * gap_ms
                by_second[int(due_ms) // 1000].append(int(since_ms - due_ms))
            for second, each in by_second.items():
                self.by_second[second].update(each)

    def measured(self, *, warmup_s: float) -> "Counter[int]":
        """Return how many events had which freshness, in ms, without those that were due in the first *warmup_s*."""
        total: Counter[int] = Counter()
        for second, each in self.by_second.items():
            if second >= warmup_s:
                total.update(each)
        return total


def percentiles(counts: Mapping[int, int]) -> dict[str, float]:
    """Return the percentiles of *counts* in ms, to three digits, by an HdrHistogram."""
    histogram = HdrHistogram(1, _LONGEST_MS, 3)
    for value_ms, count in counts.items():
        histogram.record_value(max(1, min(value_ms, _LONGEST_MS)), count)
    return {f"p{each:g}": float(histogram.get_value_at_percentile(each)) for each in _PERCENTILES}


def over_time(by_second: Mapping[int, Counter[int]]) -> list[dict[str, float]]:
    """Return the freshness of each second's events: median, p99 and longest, in ms."""
    line = []
    for second in sorted(by_second):
        values = sorted(by_second[second].elements())
        line.append(
            {
                "due_s": second,
                "events": len(values),
                "mean_ms": round(sum(values) / len(values), 1),
                "p50_ms": values[len(values) // 2],
                "p99_ms": values[min(len(values) - 1, len(values) * 99 // 100)],
                "max_ms": values[-1],
            }
        )
    return line


def slope(line: Sequence[Mapping[str, float]], *, bin_s: float, warmup_s: float) -> float | None:
    """Return by how many seconds a second freshness grows: a straight line through the means of bins of *bin_s*.

    Bins as long as the batching window even out the saw that it makes (the first event of a batch waits for the last).
    A stack that takes a share *c* of the load in steady state shows ``1 / c - 1``. None where there are fewer than three
    bins: too short to tell.
    """
    bins: dict[int, list[Mapping[str, float]]] = defaultdict(list)
    for point in line:
        if point["due_s"] >= warmup_s:
            bins[int((point["due_s"] - warmup_s) // bin_s)].append(point)
    if len(bins) < 3:
        return None
    means_s = [
        sum(each["mean_ms"] * each["events"] for each in points)
        / sum(each["events"] for each in points)
        / 1000
        for _, points in sorted(bins.items())
    ]
    times_s = [number * bin_s for number in sorted(bins)]
    return statistics.linear_regression(times_s, means_s).slope
