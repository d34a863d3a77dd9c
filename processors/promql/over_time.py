"""What is made of the samples within a range: the functions of ranges.

Source: https://prometheus.io/docs/prometheus/latest/querying/functions/ (checked 2026-11-29)
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from processors.promql.folds import greatest, least, mean, quantile, total, variance
from processors.promql.series import Column, Scalar
from streamgage.measures import histogram
from streamgage.measures.histogram import Histogram

_Value = TypeVar("_Value")
_Result = TypeVar("_Result")
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


def seen(ends: Sequence[int], untils: Sequence[int], instants: Sequence[int]) -> list[int]:
    """Return which sample is seen at each of *instants*, which ascend; -1: none."""
    places = []
    at, last = -1, len(ends) - 1
    for instant in instants:
        while at < last and ends[at + 1] <= instant:
            at += 1
        places.append(at if at >= 0 and instant < untils[at] else -1)
    return places


def picked(values: Sequence[_Value | None], places: Sequence[int]) -> list[_Value | None]:
    """Return those of *values* at *places*; None at -1."""
    return [None if at < 0 else values[at] for at in places]


def slices(ends: Sequence[int], instants: Sequence[int], range_ms: int) -> list[tuple[int, int]]:
    """Return for each of *instants*, which ascend, where the samples begin and stop that lie in ``(instant - range, instant]``."""
    found = []
    first = stop = 0
    for instant in instants:
        while stop < len(ends) and ends[stop] <= instant:
            stop += 1
        while first < stop and ends[first] <= instant - range_ms:
            first += 1
        found.append((first, stop))
    return found


def cost(ranges: Sequence[tuple[int, int]]) -> int:
    """Return how many points it is worth to go through the samples of *ranges*."""
    return sum(1 + (stop - first) // _SAMPLES_A_POINT for first, stop in ranges)


def over_time(
    function: Callable[[Sequence[_Value]], _Result],
    values: Sequence[_Value | None],
    ranges: Sequence[tuple[int, int]],
) -> list[_Result | None]:
    """Return *function* of the samples in each of *ranges*; None where there are none."""
    held = ([each for each in values[first:stop] if each is not None] for first, stop in ranges)
    return [function(each) if each else None for each in held]


def quantile_over_time(fractions: Scalar, values: Column, ranges: Sequence[tuple[int, int]]) -> Column:
    """Return the quantile of the samples in each of *ranges*."""
    held = ([each for each in values[first:stop] if each is not None] for first, stop in ranges)
    return [
        quantile(fraction, each) if each else None
        for fraction, each in zip(fractions.values, held, strict=True)
    ]


def rate(column: Column, covered_ms: Sequence[int]) -> Column:
    """Return what was counted a second: a sum of windows ÷ how long these are together."""
    return [
        None if value is None else value * 1000 / length
        for value, length in zip(column, covered_ms, strict=True)
    ]
