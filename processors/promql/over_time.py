"""What is made of the samples within a range: the functions of ranges.

Source: https://prometheus.io/docs/prometheus/latest/querying/functions/ (checked 2026-11-29)
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from processors.promql.folds import greatest, least, mean, quantile, total, variance
from processors.promql.series import (
    Budget,
    Column,
    HistogramSamples,
    HistogramSeries,
    Samples,
    Scalar,
)
from streamgage.measures import histogram
from streamgage.measures.histogram import Histogram

_SAMPLES_A_POINT = 16  # that are summed up in the time that a point takes elsewhere

OVER_TIME: Mapping[str, Callable[[Sequence[float]], float]] = {
    "sum_over_time": total,
    "avg_over_time": mean,
    "min_over_time": least,
    "max_over_time": greatest,
    "count_over_time": lambda values: float(len(values)),
    "last_over_time": lambda values: values[-1],
    "present_over_time": lambda _: 1.0,
    "stddev_over_time": lambda values: math.sqrt(variance(values)),
    "stdvar_over_time": variance,
}
HISTOGRAMS_OVER_TIME: Mapping[str, Callable[[Sequence[Histogram]], Histogram]] = {
    "sum_over_time": histogram.merged,
    "increase": histogram.merged,
    "last_over_time": lambda values: values[-1],
}


def seen(samples: Samples, instants: Sequence[int]) -> Column:
    """Return the value that is seen at each of *instants*, which ascend."""
    ends, untils, values = samples.ends, samples.untils, samples.values
    column: Column = []
    at, last = -1, len(ends) - 1
    for instant in instants:
        while at < last and ends[at + 1] <= instant:
            at += 1
        column.append(values[at] if at >= 0 and instant < untils[at] else None)
    return column


def histograms_seen(samples: HistogramSamples, instants: Sequence[int]) -> list[Histogram | None]:
    """Return the same of histograms."""
    positions = seen(
        Samples({}, samples.ends, samples.untils, [float(at) for at in range(len(samples.ends))]), instants
    )
    return [None if at is None else samples.values[int(at)] for at in positions]


def _slices(
    ends: Sequence[int], instants: Sequence[int], range_ms: int, budget: Budget
) -> Iterator[tuple[int, int]]:
    """Yield for each of *instants*, which ascend, where the samples begin and stop that lie in ``(instant - range, instant]``."""
    first = stop = 0
    for instant in instants:
        while stop < len(ends) and ends[stop] <= instant:
            stop += 1
        while first < stop and ends[first] <= instant - range_ms:
            first += 1
        budget.take(1 + (stop - first) // _SAMPLES_A_POINT)
        yield first, stop


def over_time(
    function: Callable[[Sequence[float]], float],
    samples: Samples,
    instants: Sequence[int],
    range_ms: int,
    budget: Budget,
) -> Column:
    """Return *function* of the samples in the range up to each of *instants*; None where there are none."""
    values = samples.values
    return [
        function(values[first:stop]) if first < stop else None
        for first, stop in _slices(samples.ends, instants, range_ms, budget)
    ]


def quantile_over_time(
    fractions: Scalar, samples: Samples, instants: Sequence[int], range_ms: int, budget: Budget
) -> Column:
    """Return the quantile of the samples in each range."""
    slices = _slices(samples.ends, instants, range_ms, budget)
    return [
        quantile(fraction, samples.values[first:stop]) if first < stop else None
        for fraction, (first, stop) in zip(fractions.values, slices, strict=True)
    ]


def histograms_over_time(
    function: Callable[[Sequence[Histogram]], Histogram],
    samples: HistogramSamples,
    instants: Sequence[int],
    range_ms: int,
    budget: Budget,
) -> HistogramSeries:
    """Return *function* of the histograms in each range."""
    values: list[Histogram | None] = []
    for first, stop in _slices(samples.ends, instants, range_ms, budget):
        budget.take(_SAMPLES_A_POINT * (stop - first))  # each has buckets
        values.append(function(samples.values[first:stop]) if first < stop else None)
    return HistogramSeries(samples.labels, values)


def rate(column: Column, covered_ms: Sequence[int]) -> Column:
    """Return what was counted a second: a sum of windows ÷ how long these are together."""
    return [
        None if value is None or not length else value * 1000 / length
        for value, length in zip(column, covered_ms, strict=True)
    ]
