"""What a series' values are, read from the states that items hold."""

from collections.abc import Callable

from processors.query.shape import Column
from streamgage.definition.pipeline import Rollup
from streamgage.measures.histogram import Histogram
from streamgage.measures.layout import Table
from streamgage.measures.named import measure_named

_PLAIN = {"count": "n", "sum": "sum", "min": "min", "max": "max"}
"""Measures that are one part: read without a decimal in between, which takes most of the time of a large answer."""


def number_of(rollup: Rollup, column: Column) -> Callable[[Table], list[float | None]]:
    """Return what reads *column* of all entries of a table of *rollup*'s states, as the doubles next to their values."""
    if column.field is None:
        return lambda table: list(map(float, table[0]))
    places, scale = _places(rollup, column.field)
    part = _PLAIN.get(column.measure)
    if part is not None:
        at, unit = places[part], 1 if part == "n" else 10**scale
        # Of integers a quotient is rounded once.
        return lambda table: [None if value is None else value / unit for value in table[at]]
    measure = measure_named(column.measure)
    names = measure.parts
    columns = [places[name] for name in names]

    def read(table: Table) -> list[float | None]:
        states = zip(*(table[at] for at in columns), strict=True)
        values = [measure.read(dict(zip(names, state, strict=True)), scale) for state in states]
        return [None if value is None else float(value) for value in values]

    return read


def histogram_of(rollup: Rollup, column: Column) -> Callable[[Table], list[Histogram]]:
    """Return what reads the histograms of all entries."""
    places, _ = _places(rollup, column.field)
    at = places["histogram"]
    return lambda table: list(table[at])


def _places(rollup: Rollup, field: str | None) -> tuple[dict[str, int], int]:
    """Return which columns of a table hold the parts of *field*, and its decimal scale."""
    at = 1
    for each in rollup.layout.fields:
        if each.field == field:
            return {part: at + number for number, part in enumerate(each.parts)}, each.scale
        at += len(each.parts)
    raise AssertionError(f"{field} is in the layout of its rollup")
