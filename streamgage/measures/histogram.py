"""Histograms with exponential buckets: how many values lie where, to a relative error that is known.

A state counts values by bucket: at scale s the bucket of index i holds the values in (b**i, b**(i+1)], b = 2**(2**-s); those
below zero have buckets of their own, and zero has one. So it is with OpenTelemetry's exponential histograms and with
Prometheus' native ones, and theirs merge into it.

A state has 160 buckets at most. Where values lie so far apart that they would fill more, each two neighbours become one: the
scale goes down by one, and the error doubles. The scale of a state is the greatest, up to SCALE, at which its values fill no
more: a function of the set of values, so a state is the same whatever was merged with what first.

Source: https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import repeat
from operator import truediv
from typing import NamedTuple, Protocol

SCALE = 5
"""b = 2**(1/32): what is read is at most 1.083 % from the value of that rank."""
LOWEST_SCALE = -10
"""All doubles fit into eight buckets then."""
MOST_BUCKETS = 160


class Buckets(Protocol):
    """What is merged: a state, or one that a client counted (``histogram_points``)."""

    @property
    def scale(self) -> int:
        """As that of a state."""

    @property
    def zeros(self) -> int:
        """How many values are zero."""

    @property
    def places(self) -> Sequence[int]:
        """Those of the buckets that are not empty."""

    @property
    def counts(self) -> Sequence[int]:
        """How many values each of them holds."""


class Histogram(NamedTuple):
    """A state: of each bucket that is not empty its place and its count, in the order of places.

    A place is ``2 * index`` of values above zero, ``2 * index + 1`` of those below. Nothing changes one.
    """

    scale: int
    zeros: int
    places: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """How many values it holds."""
        return self.zeros + sum(self.counts)


EMPTY = Histogram(SCALE, 0, (), ())


@lru_cache(maxsize=1)
def _bounds() -> list[float]:
    """Return the lower bounds of the buckets between 1/2 and 1, at SCALE."""
    with localcontext() as context:
        context.prec = 40
        step = Decimal(1) / 2**SCALE
        return [float(Decimal(2) ** (number * step) / 2) for number in range(2**SCALE)]


def of_values(values: Sequence[int], places: int) -> Histogram:
    """Return the histogram of *values*, integers at a decimal scale of *places*: the n-th is ``values[n] / 10**places``."""
    if not values:
        return EMPTY
    above, below, zeros = values, list[int](), 0
    if min(values) <= 0:
        above = [each for each in values if each > 0]
        below = [-each for each in values if each < 0]
        zeros = len(values) - len(above) - len(below)
    buckets = {2 * index: count for index, count in _indices(above, places).items()}
    if below:
        buckets |= {2 * index + 1: count for index, count in _indices(below, places).items()}
    return _fitted(SCALE, zeros, buckets)


def _indices(values: Sequence[int], places: int) -> Counter[int]:
    """Return how many of *values*, all above zero, lie in the bucket of each index, at SCALE.

    The bounds are exact decimals, rounded once: the same on every machine.
    """
    bounds, unit = _bounds(), 10**places
    pairs = map(math.frexp, map(truediv, values, repeat(unit)) if places else values)
    # A mantissa is in [1/2, 1); the exponent counts from there.
    return Counter(
        [(exponent - 1 << SCALE) + bisect_left(bounds, mantissa) - 1 for mantissa, exponent in pairs]
    )


def merged(histograms: Sequence[Histogram]) -> Histogram:
    """Return the histogram of all their values."""
    first, *others = histograms or (EMPTY,)
    return united(histograms) if others else first


def united(histograms: Sequence[Buckets]) -> Histogram:
    """Return the histogram of all values of *histograms*, at least one."""
    scale = min(each.scale for each in histograms)
    buckets: dict[int, int] = {}
    for each in histograms:
        down = each.scale - scale
        places = [_lower(place, down) for place in each.places] if down else each.places
        for place, count in zip(places, each.counts, strict=True):
            buckets[place] = buckets.get(place, 0) + count
    return _fitted(scale, sum(each.zeros for each in histograms), buckets)


def _fitted(scale: int, zeros: int, buckets: Mapping[int, int]) -> Histogram:
    while len(buckets) > MOST_BUCKETS and scale > LOWEST_SCALE:
        lower: dict[int, int] = {}
        for place, count in buckets.items():
            at = _lower(place, 1)
            lower[at] = lower.get(at, 0) + count
        scale, buckets = scale - 1, lower
    places = tuple(sorted(buckets))
    return Histogram(scale, zeros, places, tuple([buckets[each] for each in places]))


def _lower(place: int, down: int) -> int:
    """Return the place of what is at *place*, at a scale that is lower by *down*."""
    return (place >> 1 >> down) << 1 | place & 1


def quantile(histogram: Histogram, fraction: float | Decimal) -> float | None:
    """Return about the value of rank ``ceil(fraction * n)`` among n, from the least on; None of no values.

    It is at most ``relative_error`` of itself away from that value.
    """
    count = histogram.total
    if not count:
        return None
    rank = min(max(math.ceil(fraction * count), 1), count)
    for value, held in ascending(histogram):
        rank -= held
        if rank <= 0:
            return value
    raise AssertionError("ranks are within the count")


def ascending(histogram: Histogram) -> list[tuple[float, int]]:
    """Return of each bucket the value that stands for it, and its count, from the least value on."""
    below = [
        (place >> 1, count)
        for place, count in zip(histogram.places, histogram.counts, strict=True)
        if place & 1
    ]
    above = [
        (place >> 1, count)
        for place, count in zip(histogram.places, histogram.counts, strict=True)
        if not place & 1
    ]
    scale = histogram.scale
    found = [(-_middle(index, scale), count) for index, count in sorted(below, reverse=True)]
    found += [(0.0, histogram.zeros)] if histogram.zeros else []
    return found + [(_middle(index, scale), count) for index, count in sorted(above)]


def bound(index: int, scale: int) -> float:
    """Return the lower bound of the bucket *index*, ``2**(index * 2**-scale)``; as far as a double goes."""
    exponent = math.ldexp(index, -scale)
    return 2.0**exponent if -1074 <= exponent < 1024 else 0.0 if exponent < 0 else math.inf


def _middle(index: int, scale: int) -> float:
    """Return the value whose relative distance to both bounds is the same: the harmonic mean."""
    low, high = bound(index, scale), bound(index + 1, scale)
    if not low:
        return high
    ratio = math.pow(2, -math.ldexp(1, -scale)) if math.isinf(high) else low / high
    return low / (1 + ratio) * 2  # doubled last: twice the last bounds are no doubles


def relative_error(scale: int) -> float:
    """Return by how much of itself a value that is read may be wrong at most: ``(b - 1) / (b + 1)``."""
    exponent = math.ldexp(1, -scale)
    if exponent >= 1024:  # beyond all doubles
        return 1.0
    base = math.pow(2, exponent)
    return (base - 1) / (base + 1)


def in_opentelemetry(histogram: Histogram) -> dict[str, object]:
    """Return the histogram as OTLP's JSON has its data point: dense runs of counts from an offset on."""

    def run(sign: int) -> dict[str, object]:
        counts = {
            place >> 1: count
            for place, count in zip(histogram.places, histogram.counts, strict=True)
            if place & 1 == sign
        }
        if not counts:
            return {"offset": 0, "bucketCounts": []}
        first, last = min(counts), max(counts)
        return {"offset": first, "bucketCounts": [counts.get(index, 0) for index in range(first, last + 1)]}

    return {
        "count": histogram.total,
        "scale": histogram.scale,
        "zeroCount": histogram.zeros,
        "positive": run(0),
        "negative": run(1),
    }


def of_opentelemetry(
    scale: int, zeros: int, positive: tuple[int, Sequence[int]], negative: tuple[int, Sequence[int]]
) -> Histogram:
    """Return the histogram of a data point of OTLP: *positive* and *negative* are an offset and counts from it on.

    A point of a higher scale than SCALE is lowered to it: its buckets nest in ours. One whose buckets are all empty says nothing
    by its scale: it would lower that of the values that it is merged with.
    """
    buckets = {
        2 * index + sign: count
        for sign, (offset, counts) in ((0, positive), (1, negative))
        for index, count in enumerate(counts, offset)
        if count
    }
    down = max(scale - SCALE, 0)
    if down:
        finer, buckets = buckets, {}
        for place, count in finer.items():
            at = _lower(place, down)
            buckets[at] = buckets.get(at, 0) + count
    return _fitted(scale - down if buckets else SCALE, zeros, buckets)
