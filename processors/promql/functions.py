"""Functions of numbers, of labels, and of histograms.

Source: https://prometheus.io/docs/prometheus/latest/querying/functions/ (checked 2026-11-29)
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence

from processors.promql.errors import bad_data
from processors.promql.matchers import NAME, Matcher
from processors.promql.operators import divide
from processors.promql.regex import Regex
from processors.promql.series import HistogramVector, Labels, Scalar, Series, Vector, merged, without_name
from streamgage.measures import histogram

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TEMPLATE = re.compile(r"\$(?:(\$)|\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")


def _log(function: Callable[[float], float]) -> Callable[[float], float]:
    def log(value: float) -> float:
        if value > 0:
            return function(value)
        return -math.inf if value == 0 else math.nan

    return log


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    """Return *function*, which has no result beside the finite, of each double; the sign of zero is kept."""
    return lambda value: math.copysign(float(function(value)), value) if math.isfinite(value) else value


NUMBERS: Mapping[str, Callable[[float], float]] = {
    "abs": abs,
    "ceil": _whole(math.ceil),
    "exp": _exp,
    "floor": _whole(math.floor),
    "ln": _log(math.log),
    "log2": _log(math.log2),
    "log10": _log(math.log10),
    "sgn": lambda value: value if not value or math.isnan(value) else math.copysign(1.0, value),
    "sqrt": lambda value: math.nan if value < 0 else math.sqrt(value),
}


def rounded(value: float, to: float) -> float:
    """Return the multiple of *to* that is nearest to *value*; of two the greater."""
    inverse = divide(1.0, to)
    found = value * inverse + 0.5
    return divide(math.floor(found) if math.isfinite(found) else found, inverse)


def clamped(value: float, least: float, most: float) -> float:
    """Return *value* within the bounds; NaN where one of them is."""
    if math.isnan(value) or math.isnan(least) or math.isnan(most):
        return math.nan
    return max(least, min(most, value))


def with_numbers(vector: Vector, function: Callable[..., float], *scalars: Scalar) -> Vector:
    """Return *function* of each value and the number that each of *scalars* is then."""
    return merged(
        Series(
            without_name(each.labels),
            [
                None if value is None else function(value, *numbers)
                for value, *numbers in zip(each.values, *(one.values for one in scalars), strict=True)
            ],
        )
        for each in vector.series
    )


def ordered(vector: Vector, *, is_descending: bool) -> Vector:
    """Return the series by their values, of which there is one instant; NaN at the end."""

    def place(series: Series) -> tuple[bool, float]:
        value = series.values[0]
        if value is None or math.isnan(value):
            return True, 0.0
        return False, -value if is_descending else value

    return Vector(sorted(vector.series, key=place))


def label_replace(vector: Vector, target: str, replacement: str, source: str, pattern: Regex) -> Vector:
    """Return the series, of which those whose label *source* matches have another *target*. Raises: QueryError ``bad_data``."""
    _check(target, "label_replace")

    def replaced(labels: Labels) -> Labels:
        groups = pattern.captured(labels.get(source, ""))
        if groups is None:
            return labels

        def filled(match: re.Match[str]) -> str:
            name = match[2] or match[3]
            if match[1]:
                return "$"
            number = int(name) if name.isdigit() and len(name) < 5 else pattern.names.get(name, len(groups))
            return (groups[number] or "") if number < len(groups) else ""

        return _with(labels, target, _TEMPLATE.sub(filled, replacement))

    return merged(Series(replaced(each.labels), each.values) for each in vector.series)


def label_join(vector: Vector, target: str, separator: str, sources: Sequence[str]) -> Vector:
    """Return the series, with the values of *sources* as the label *target*. Raises: QueryError ``bad_data``."""
    for each in (target, *sources):
        _check(each, "label_join")
    return merged(
        Series(
            _with(each.labels, target, separator.join(each.labels.get(label, "") for label in sources)),
            each.values,
        )
        for each in vector.series
    )


def _check(label: str, function: str) -> None:
    if not _LABEL.fullmatch(label):
        raise bad_data(f"invalid label name in {function}(): {label[:100]!r}")


def _with(labels: Labels, target: str, value: str) -> Labels:
    others = {label: each for label, each in labels.items() if label != target}
    return others | {target: value} if value else others


def histogram_quantile(fractions: Scalar, vector: HistogramVector) -> Vector:
    """Return about the value of rank ``ceil(fraction * n)`` of each histogram, as the measures p50, p95 … have it."""

    def read(fraction: float, held: histogram.Histogram | None) -> float | None:
        if held is None:
            return None
        if math.isnan(fraction) or not held.total:
            return math.nan
        if fraction < 0 or fraction > 1:
            return math.copysign(math.inf, fraction)
        return histogram.quantile(held, fraction)

    return merged(
        Series(
            without_name(each.labels),
            [read(fraction, held) for fraction, held in zip(fractions.values, each.values, strict=True)],
        )
        for each in vector.series
    )


def histogram_bound(vector: HistogramVector) -> float | None:
    """Return by how much of itself a quantile of these histograms may be off at most; None where none holds a value."""
    scales = [held.scale for each in vector.series for held in each.values if held is not None and held.total]
    return histogram.relative_error(min(scales)) if scales else None


def histogram_count(vector: HistogramVector) -> Vector:
    """Return how many values each histogram holds."""
    return merged(
        Series(
            without_name(each.labels), [None if held is None else float(held.total) for held in each.values]
        )
        for each in vector.series
    )


def absent_labels(matchers: Sequence[Matcher]) -> Labels:
    """Return the labels that *matchers* say by ``=``: what is known of a series that is not there.

    Not those of which something else is asked behind it, nor the name.
    """
    labels: Labels = {}
    said: set[str] = set()
    for each in matchers:
        if each.op == "=" and each.label not in said and each.label != NAME:
            said.add(each.label)
            labels[each.label] = each.value
        else:
            labels.pop(each.label, None)
    return {label: value for label, value in labels.items() if value}
