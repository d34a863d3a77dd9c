"""Histograms that clients counted: one data point of OTLP's exponential histograms, as an event holds it, read and judged.

Imported by who has a field of them. What a point says is taken exactly or refused: its buckets nest in those of a state
(``histogram``), at its own scale where that is coarser, so merging points is adding up what their clients counted.

Source: https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram (checked 2026-11-29).
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streamgage.measures.histogram import LOWEST_SCALE, of_opentelemetry

HIGHEST_SCALE = 20
"""OTLP has no bound; its SDKs begin there, and go down to LOWEST_SCALE."""
MOST_COUNTS = 8_192
"""Counts of a run of buckets, empty ones too. At SCALE that is from 1 to 10**77."""
MOST_VALUES = 2**53 - 1
"""Of a point: each reader of JSON has such a number exactly."""
MOST_ZERO_THRESHOLD = 0.5e-9
"""As far from zero a value of nine decimal places is zero as well; what lies farther would be read as what it is not."""
_LEAST_EXPONENT, _MOST_EXPONENT = -1074, 1024  # doubles are from 2**-1074 to below 2**1024


class Point(NamedTuple):
    """A histogram as ``histogram.Histogram``, in a fifth of the memory: a batch holds thousands."""

    scale: int
    zeros: int
    places: "array[int]"
    counts: "array[int]"


def point_of(value: Mapping[str, Any]) -> Point:
    """Return the histogram in *value*: ``count``, ``scale``, ``zeroCount``, ``zeroThreshold``, ``positive`` and ``negative``.

    Either run has the ``offset`` of its first bucket and ``bucketCounts``. Their types are checked by whoever decodes them.

    Raises:
        ValueError: it contradicts itself, or is beyond what a state can hold; says what, and the limit.
    """
    scale, zeros, threshold = value["scale"], value["zeroCount"], value["zeroThreshold"]
    if not LOWEST_SCALE <= scale <= HIGHEST_SCALE:
        raise ValueError(f"its scale is {scale}; it is from {LOWEST_SCALE} to {HIGHEST_SCALE}")
    positive, negative = (_run(name, value[name], scale) for name in ("positive", "negative"))
    held = zeros + sum(positive[1]) + sum(negative[1])
    if zeros < 0:
        raise ValueError(f"its zeroCount is {zeros}")
    if held != value["count"]:
        raise ValueError(f"its count is {value['count']:,}, and its buckets hold {held:,}")
    if held > MOST_VALUES:
        raise ValueError(f"it holds {held:,} values; {MOST_VALUES:,} at most")
    if not 0 <= threshold < float("inf") or (zeros and threshold > MOST_ZERO_THRESHOLD):
        raise ValueError(
            f"its zeroThreshold is {threshold!r}, and {zeros:,} values lie within; up to {MOST_ZERO_THRESHOLD!r} they are zero, "
            "beyond nobody can tell how far from their value a quantile is. Have the sender take a threshold of 0"
        )
    whole = of_opentelemetry(scale, zeros, positive, negative)
    return Point(whole.scale, whole.zeros, array("i", whole.places), array("Q", whole.counts))


def _run(name: str, run: Mapping[str, Any], scale: int) -> tuple[int, Sequence[int]]:
    offset, counts = run["offset"], run["bucketCounts"]
    if len(counts) > MOST_COUNTS:
        raise ValueError(f"{name} has {len(counts):,} bucketCounts; {MOST_COUNTS:,} at most")
    if not counts:
        return 0, ()
    if min(counts) < 0:
        raise ValueError(f"{name} has a count of {min(counts):,}")
    before = next((at for at, count in enumerate(counts) if count), None)
    if before is None:
        return 0, ()
    behind = next(at for at, count in enumerate(reversed(counts)) if count)
    first, last = offset + before, offset + len(counts) - 1 - behind
    if not _reaches(first + 1, scale, _LEAST_EXPONENT) or _reaches(last, scale, _MOST_EXPONENT):
        raise ValueError(
            f"{name} has values in buckets {first} to {last}; at scale {scale} they are beyond all doubles"
        )
    return offset, counts


def _reaches(index: int, scale: int, exponent: int) -> bool:
    """Tell whether the lower bound of the bucket *index*, ``2**(index * 2**-scale)``, is ``2**exponent`` at least."""
    return index << max(-scale, 0) >= exponent << max(scale, 0)
