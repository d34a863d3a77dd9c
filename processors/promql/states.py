"""What a series' values are, read from the states that items hold."""

from collections.abc import Callable
from typing import Any

from processors.query.shape import Column
from streamgage.definition.pipeline import Rollup
from streamgage.measures.histogram import Histogram
from streamgage.measures.layout import Table
from streamgage.measures.named import measure_named

_PLAIN = {"count": "n", "sum": "sum", "min": "min", "max": "max"}
"""Measures that are one part: read without a decimal in between, which takes most of the time of a large answer."""


def number_of(rollup: Rollup, column: Column) -> Callable[[Table, int], float | None]:
    """Return what reads *column* of an entry of a table of *rollup*'s states, as the double next to its value."""
    if column.field is None:
        return lambda table, row: float(table[0][row])
    places, scale = _places(rollup, column.field)
    part = _PLAIN.get(column.measure)
    if part is not None:
        at, unit = places[part], 1 if part == "n" else 10**scale

        def plain(table: Table, row: int) -> float | None:
            value = table[at][row]
            return None if value is None else value / unit  # of integers: rounded once

        return plain
    measure = measure_named(column.measure)
    needed = {name: places[name] for name in measure.parts}

    def read(table: Table, row: int) -> float | None:
        value = measure.read({name: table[at][row] for name, at in needed.items()}, scale)
        return None if value is None else float(value)

    return read


def histogram_of(rollup: Rollup, column: Column) -> Callable[[Table, int], Histogram]:
    """Return what reads the histogram of an entry."""
    places, _ = _places(rollup, column.field)
    at = places["histogram"]

    def read(table: Table, row: int) -> Histogram:
        found: Any = table[at][row]
        return Histogram(*found)

    return read


def _places(rollup: Rollup, field: str | None) -> tuple[dict[str, int], int]:
    """Return which columns of a table hold the parts of *field*, and its decimal scale."""
    at = 1
    for each in rollup.layout.fields:
        if each.field == field:
            return {part: at + number for number, part in enumerate(each.parts)}, each.scale
        at += len(each.parts)
    raise AssertionError(f"{field} is in the layout of its rollup")
