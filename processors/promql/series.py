"""What an expression is while it is evaluated: columns, with one entry for each instant that is asked about."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from processors.promql.errors import execution
from processors.promql.matchers import NAME
from streamgage.measures.histogram import Histogram

Labels = dict[str, str]
"""The labels of a series, its name among them; none is empty. Nobody changes one that is shared."""
Column = list[float | None]
"""None where the series has no value."""
Signature = frozenset[tuple[str, str]]
_Value = TypeVar("_Value")


@dataclass(slots=True)
class Scalar:
    """A number at each instant."""

    values: list[float]


@dataclass(slots=True)
class Series:
    """A number at some instants."""

    labels: Labels
    values: Column


@dataclass(slots=True)
class Vector:
    """Series; no two have the same labels and a value at the same instant."""

    series: list[Series]


@dataclass(slots=True)
class HistogramSeries:
    """A histogram at some instants."""

    labels: Labels
    values: list[Histogram | None]


@dataclass(slots=True)
class HistogramVector:
    """Series of histograms."""

    series: list[HistogramSeries]


@dataclass(slots=True)
class Words:
    """A text."""

    text: str


Value = Scalar | Vector | HistogramVector | Words


@dataclass(slots=True)
class Samples:
    """Series as they are stored: the n-th values stand at ``ends[n]``, and are seen before ``untils[n]``; ms since the epoch.

    Instants ascend.
    """

    ends: Sequence[int]
    untils: Sequence[int]
    series: list[Series]


@dataclass(slots=True)
class HistogramSamples:
    """The same, of histograms."""

    ends: Sequence[int]
    untils: Sequence[int]
    series: list[HistogramSeries]


def without_name(labels: Labels) -> Labels:
    """Return *labels* but for the name: what was computed has none."""
    return {label: value for label, value in labels.items() if label != NAME}


def signature(labels: Labels) -> Signature:
    """Return what is the same of the same labels."""
    return frozenset(labels.items())


def merged(series: Iterable[Series]) -> Vector:
    """Return *series*, of which those of the same labels become one.

    Raises:
        QueryError: ``execution``, two of them have a value at one instant.
    """
    found: dict[Signature, Series] = {}
    for each in series:
        known = found.setdefault(signature(each.labels), each)
        if known is not each:
            values = united(known.values, each.values)
            if values is None:
                raise execution("vector cannot contain metrics with the same labelset")
            found[signature(each.labels)] = Series(known.labels, values)
    return Vector(list(found.values()))


def united(left: Sequence[_Value | None], right: Sequence[_Value | None]) -> list[_Value | None] | None:
    """Return a column that has the values of both; None where both have one at the same instant."""
    if any(a is not None and b is not None for a, b in zip(left, right, strict=True)):
        return None
    return [b if a is None else a for a, b in zip(left, right, strict=True)]


def mapped(vector: Vector, function: Callable[[float], float], *, keep_name: bool = False) -> Vector:
    """Return *function* of each value."""
    return merged(
        Series(
            each.labels if keep_name else without_name(each.labels),
            [None if value is None else function(value) for value in each.values],
        )
        for each in vector.series
    )


def there(series: Iterable[Series]) -> list[Series]:
    """Return those of *series* that have a value."""
    return [each for each in series if any(value is not None for value in each.values)]


def as_vector(value: Value) -> Vector:
    """Return *value* as series of numbers. Raises: QueryError ``execution``, it is something else."""
    if isinstance(value, HistogramVector):
        raise execution(
            "histograms are read by histogram_quantile and histogram_count, and added up by sum and sum_over_time: nothing else is "
            "evaluated of them here"
        )
    if isinstance(value, Scalar):
        return Vector([Series({}, list(value.values))])  # within a subquery
    if isinstance(value, Words):
        raise execution("a text is no vector")
    return value


def as_scalar(value: Value) -> Scalar:
    """Return *value* as a number. Raises: QueryError ``execution``, it is something else."""
    if not isinstance(value, Scalar):
        raise execution("this has to be a number: scalar() makes one of a series")
    return value


def as_text(value: Value) -> str:
    """Return *value* as a text. Raises: QueryError ``execution``, it is something else."""
    if not isinstance(value, Words):
        raise execution("this has to be a text")
    return value.text
