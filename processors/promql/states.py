"""What a series' values are, read from the states that items hold."""

from collections.abc import Callable

from processors.query.shape import Column
from streamgage.measures.catalogue import EXTRA_PLACES
from streamgage.measures.decimals import quotient
from streamgage.measures.histogram import Histogram
from streamgage.measures.layout import StateLayout, Table
from streamgage.measures.named import measure_named

_PLAIN = {"count": "n", "sum": "sum", "min": "min", "max": "max"}
"""Measures that are one part: read without a decimal in between, which takes most of the time of a large answer."""


def number_of(layout: StateLayout, column: Column) -> Callable[[Table], list[float | None]]:
    """Return what reads *column* of all entries of a table of *layout*, as the doubles next to their values."""
    if column.field is None:
        return lambda table: list(map(float, table[0]))
    places, scale = _places(layout, column.field)
    part = _PLAIN.get(column.measure)
    if part is not None:
        at, unit = places[part], 1 if part == "n" else 10**scale
        # Of integers a quotient is rounded once.
        return lambda table: [None if value is None else value / unit for value in table[at]]
    if column.measure == "mean":
        return _means(places["n"], places["sum"], scale)
    measure = measure_named(column.measure)
    names = measure.parts
    columns = [places[name] for name in names]

    def read(table: Table) -> list[float | None]:
        states = zip(*(table[at] for at in columns), strict=True)
        values = [measure.read(dict(zip(names, state, strict=True)), scale) for state in states]
        return [None if value is None else float(value) for value in values]

    return read


def _means(n: int, total: int, scale: int) -> Callable[[Table], list[float | None]]:
    """Return what reads the doubles next to ``divide``'s means, of the parts in the columns *n* and *total*."""
    more, unit = 10**EXTRA_PLACES, 10 ** (scale + EXTRA_PLACES)
    return lambda table: [
        quotient(value * more, count) / unit if count else None
        for count, value in zip(table[n], table[total], strict=True)
    ]


def bound_of(layout: StateLayout, column: Column) -> Callable[[Table], float] | None:
    """Return what tells by how much a value of *column* in a table may be off at most, relatively; None where it is exact."""
    bound = None if column.field is None else measure_named(column.measure).bound
    if bound is None:
        return None
    places, _ = _places(layout, column.field)
    names = measure_named(column.measure).parts
    columns = [places[name] for name in names]

    def greatest(table: Table) -> float:
        states = zip(*(table[at] for at in columns), strict=True)
        return max((bound(dict(zip(names, state, strict=True))) for state in states), default=0.0)

    return greatest


def histogram_of(layout: StateLayout, column: Column) -> Callable[[Table], list[Histogram]]:
    """Return what reads the histograms of all entries."""
    places, _ = _places(layout, column.field)
    at = places["histogram"]
    return lambda table: list(table[at])


def _places(layout: StateLayout, field: str | None) -> tuple[dict[str, int], int]:
    """Return which columns of a table hold the parts of *field*, and its decimal scale."""
    at = 1
    for each in layout.fields:
        if each.field == field:
            return {part: at + number for number, part in enumerate(each.parts)}, each.scale
        at += len(each.parts)
    raise AssertionError(f"{field} is in the layout of what is decoded")
