"""Functions of values that are evaluated: all but those of ranges and of selectors."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from processors.promql import functions
from processors.promql.budget import Budget
from processors.promql.errors import execution
from processors.promql.regex import regex
from processors.promql.series import (
    Column,
    HistogramVector,
    Labels,
    Scalar,
    Series,
    Value,
    Vector,
    as_scalar,
    as_text,
    as_vector,
    mapped,
    there,
)
from processors.query.answer import bound_text
from streamgage.measures.named import measure_named

_Arguments = Sequence[Value]


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of functions at *instants*, ms since the epoch."""

    instants: Sequence[int]
    budget: Budget
    inform: Callable[[str], None]  # hears by how much values may be off

    def call(self, name: str, arguments: _Arguments) -> Value:
        """Return what the function *name* makes of *arguments*. Raises: QueryError."""
        series = sum(len(each.series) for each in arguments if isinstance(each, Vector | HistogramVector))
        self.budget.take((series + 1) * len(self.instants))
        if name in functions.NUMBERS:
            return mapped(as_vector(arguments[0]), functions.NUMBERS[name])
        return _CALLS[name](self, arguments)

    def constant(self, value: float) -> Scalar:
        """Return one number at each instant."""
        return Scalar([value] * len(self.instants))

    def absent(self, labels: Labels, columns: Sequence[Column]) -> Vector:
        """Return 1 at each instant at which none of *columns* has a value, as a series of *labels*."""
        held = zip(*columns, strict=True)
        is_there = [any(value is not None for value in row) for row in held] or [False] * len(self.instants)
        return Vector(there([Series(labels, [None if each else 1.0 for each in is_there])]))

    def times(self, vector: Vector) -> Vector:
        """Return the instant of each value, in seconds."""
        seconds = Scalar([each / 1000 for each in self.instants])
        return functions.with_numbers(vector, lambda _, second: float(second), seconds)


def _time(calls: Calls, _: _Arguments) -> Scalar:
    return Scalar([each / 1000 for each in calls.instants])


def _vector(_: Calls, arguments: _Arguments) -> Vector:
    return Vector([Series({}, list(as_scalar(arguments[0]).values))])


def _only(calls: Calls, arguments: _Arguments) -> Scalar:
    rows = zip(*(each.values for each in as_vector(arguments[0]).series), strict=True)
    held = [[value for value in row if value is not None] for row in rows]
    return Scalar(
        [each[0] if len(each) == 1 else math.nan for each in held] or [math.nan] * len(calls.instants)
    )


def _sorted(calls: Calls, arguments: _Arguments, *, is_descending: bool = False) -> Vector:
    vector = as_vector(arguments[0])
    return functions.ordered(vector, is_descending=is_descending) if len(calls.instants) == 1 else vector


def _round(calls: Calls, arguments: _Arguments) -> Vector:
    to = as_scalar(arguments[1]) if len(arguments) > 1 else calls.constant(1.0)
    return functions.with_numbers(as_vector(arguments[0]), functions.rounded, to)


def _clamp(_: Calls, arguments: _Arguments) -> Vector:
    """Return a vector within bounds; where these exclude each other it has no values."""
    least, most = as_scalar(arguments[1]), as_scalar(arguments[2])
    found = functions.with_numbers(as_vector(arguments[0]), functions.clamped, least, most)
    empty = [low > high for low, high in zip(least.values, most.values, strict=True)]
    return Vector(
        there(
            Series(
                each.labels, [None if none else value for value, none in zip(each.values, empty, strict=True)]
            )
            for each in found.series
        )
    )


def _clamp_min(calls: Calls, arguments: _Arguments) -> Vector:
    bounds = as_scalar(arguments[1]), calls.constant(math.inf)
    return functions.with_numbers(as_vector(arguments[0]), functions.clamped, *bounds)


def _clamp_max(calls: Calls, arguments: _Arguments) -> Vector:
    bounds = calls.constant(-math.inf), as_scalar(arguments[1])
    return functions.with_numbers(as_vector(arguments[0]), functions.clamped, *bounds)


def _label_replace(calls: Calls, arguments: _Arguments) -> Vector:
    target, replacement, source, pattern = map(as_text, arguments[1:])
    found = regex(pattern, calls.budget)
    return functions.label_replace(as_vector(arguments[0]), target, replacement, source, found)


def _label_join(_: Calls, arguments: _Arguments) -> Vector:
    target, separator, *sources = map(as_text, arguments[1:])
    return functions.label_join(as_vector(arguments[0]), target, separator, sources)


def _histogram_quantile(calls: Calls, arguments: _Arguments) -> Vector:
    histograms = _histograms(arguments[1])
    bound = functions.histogram_bound(histograms)
    if bound is not None:
        calls.inform(f"histogram_quantile: {bound_text(measure_named('p50'), bound)}")
    return functions.histogram_quantile(as_scalar(arguments[0]), histograms)


def _histogram_count(_: Calls, arguments: _Arguments) -> Vector:
    return functions.histogram_count(_histograms(arguments[0]))


def _histograms(value: Value) -> HistogramVector:
    if isinstance(value, HistogramVector):
        return value
    if isinstance(value, Vector) and not value.series:
        return HistogramVector([])
    raise execution("this has to be histograms: series whose names end in _histogram, and sums of them")


_CALLS: Mapping[str, Callable[[Calls, _Arguments], Value]] = {
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp_min,
    "histogram_count": _histogram_count,
    "histogram_quantile": _histogram_quantile,
    "label_join": _label_join,
    "label_replace": _label_replace,
    "pi": lambda calls, _: calls.constant(math.pi),
    "round": _round,
    "scalar": _only,
    "sort": _sorted,
    "sort_desc": lambda calls, arguments: _sorted(calls, arguments, is_descending=True),
    "time": _time,
    "vector": _vector,
}
