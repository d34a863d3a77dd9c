"""What some numbers come to together. Of NaN it is as Prometheus has it."""

import math
from collections.abc import Sequence


def total(values: Sequence[float]) -> float:
    """Return the sum, rounded once."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # beyond a double, or infinities of both signs
        return sum(values)


def mean(values: Sequence[float]) -> float:
    """Return the mean of *values*, of which there are some."""
    found = total(values) / len(values)
    if math.isinf(found) and all(map(math.isfinite, values)):
        return total([each / len(values) for each in values])
    return found


def quantile(fraction: float, values: Sequence[float]) -> float:
    """Return the quantile of *values*, of which there are some: between two ranks in proportion.

    Source: https://prometheus.io/docs/prometheus/latest/querying/operators/#quantile
    """
    if math.isnan(fraction):
        return math.nan
    if fraction < 0 or fraction > 1:
        return math.copysign(math.inf, fraction)
    ordered = sorted(values, key=lambda each: (not math.isnan(each), each if not math.isnan(each) else 0.0))
    rank = fraction * (len(ordered) - 1)
    lower = math.floor(rank)
    weight = rank - lower
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] * (1 - weight) + ordered[upper] * weight


def variance(values: Sequence[float]) -> float:
    """Return the variance of *values* as the whole population."""
    middle = mean(values)
    return mean([(each - middle) * (each - middle) for each in values]) if math.isfinite(middle) else math.nan


def least(values: Sequence[float]) -> float:
    """Return the least of *values*; NaN only where all are."""
    numbers = [each for each in values if not math.isnan(each)] if any(map(math.isnan, values)) else values
    return min(numbers, default=math.nan)


def greatest(values: Sequence[float]) -> float:
    """Return the greatest of *values*; NaN only where all are."""
    numbers = [each for each in values if not math.isnan(each)] if any(map(math.isnan, values)) else values
    return max(numbers, default=math.nan)
