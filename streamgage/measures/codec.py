"""A table of states as bytes, column by column, and back. The layout is in docs/formats.md.

Per key most numbers of a field lie close together, so where the least value is kept the others stand relative to it:
``max - min``, ``first - min``, ``last - min``, ``Σ(x - min)``, ``Σ(x - min)²``. Event times stand relative to the
window's start.

::

    Σ(x - min)  = Σx - n·min
    Σ(x - min)² = Σx² - min·(Σx + Σ(x - min))
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import add, mul, sub
from typing import TYPE_CHECKING, Any

from streamgage.measures.layout import StateLayout, Table
from streamgage.measures.named import is_sketch
from streamgage.measures.packing import pack, unpack, unpack_whole
from streamgage.measures.parts import PARTS, Column

if TYPE_CHECKING:
    from streamgage.measures.sketch_parts import SketchPart

_TIMED = ("first", "last")
_BASES = {
    "max": ("min",),
    "first": ("min",),
    "last": ("min",),
    "sum": ("n", "min"),
    "sumsq": ("n", "min", "sum"),
}
"""What a part stands relative to, where the least value is kept."""


def encode_table(layout: StateLayout, table: Table, *, start_ms: int) -> bytes:
    """Return *table*, whose states are of a window that starts at *start_ms*."""
    events = pack(table[0])
    pieces = [events]
    at = 1
    for field in layout.fields:
        columns: dict[str, Sequence[Any]] = dict(
            zip(field.parts, table[at : at + len(field.parts)], strict=True)
        )
        at += len(field.parts)
        for name in _TIMED:
            if name in columns:
                times, columns[name] = _apart(columns[name], start_ms)
                pieces.append(pack(times))
        pieces += [
            _sketch_named(name).pack(column, start_ms=start_ms)
            if is_sketch(name)
            else events
            if name == "n" and column == table[0]
            else pack(column)
            for name, column in _relative(columns).items()
        ]
    return b"".join(pieces)


def decode_table(
    layout: StateLayout,
    data: bytes,
    at: int,
    *,
    count: int,
    start_ms: int,
    asked: StateLayout | None = None,
    rows: Sequence[int] | None = None,
) -> Table:
    """Return the table of *count* keys at *at* of *data*, which is its end too: the columns *asked* of it, of the keys at *rows*.

    None is all. What is not asked for is passed over as cheaply as its end can be told; behind the last column that is
    needed nothing is looked at.

    Raises:
        ValueError, IndexError, TypeError: it is damaged; TypeError where one column has an entry that another has not.
    """
    events, at = unpack_whole(data, at, count, rows)
    table: Table = [events]
    for reads, wanted in _reads(layout, asked or layout):
        times: dict[str, Column] = {}
        columns: dict[str, Column] = {}
        for name, read, into_times, is_needed in reads:
            of_rows = rows if is_needed else ()
            if read is None:
                sketch = _sketch_named(name)
                column, at = sketch.unpack(data, at, count, start_ms=start_ms, rows=of_rows)
            else:
                column, at = read(data, at, count, of_rows)
            if is_needed:
                (times if into_times else columns)[name] = column
        columns = _absolute(columns)
        for name in wanted:
            table.append(_paired(times[name], columns[name], start_ms) if name in times else columns[name])
    if at != len(data) and asked in (None, layout):
        raise ValueError(f"{len(data) - at} bytes are left over")
    return table


_Read = tuple[str, Callable[..., tuple[Column, int]] | None, bool, bool]
"""A column: its part, what reads it (None: it is of sketches), whether it holds the times of pairs, whether it is needed."""


@lru_cache(maxsize=256)  # of each layout what questions ask of it
def _reads(layout: StateLayout, asked: StateLayout) -> list[tuple[list[_Read], tuple[str, ...]]]:
    """Return of each field how its columns are read, in the order in which they stand, and which parts are *asked*."""
    parts_of = {field.field: field.parts for field in asked.fields}
    found = []
    for field in layout.fields:
        wanted = parts_of.get(field.field, ())
        needed = {
            *wanted,
            *(base for name in wanted for base in _BASES.get(name, ()) if "min" in field.parts),
        }
        reads: list[_Read] = [(name, unpack, True, name in needed) for name in _TIMED if name in field.parts]
        for name in field.parts:
            read = None if is_sketch(name) else unpack if PARTS[name].identity is None else unpack_whole
            reads.append((name, read, False, name in needed))
        found.append((reads, wanted))
    while found and not found[-1][1]:
        found.pop()
    while found and not found[-1][0][-1][3]:
        found[-1][0].pop()
    return found


def _sketch_named(name: str) -> "SketchPart":
    from streamgage.measures.sketch_parts import sketch_named  # noqa: PLC0415 - see is_sketch

    return sketch_named(name)


def _apart(pairs: Sequence[Any], start_ms: int) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the times of *pairs*, in ms after *start_ms*, and their values."""
    try:
        times, values = zip(*pairs, strict=True)
    except (TypeError, ValueError):  # of None; of no pairs
        return (
            [None if pair is None else pair[0] - start_ms for pair in pairs],
            [None if pair is None else pair[1] for pair in pairs],
        )
    return [time - start_ms for time in times], values


def _paired(offsets: Sequence[Any], values: Sequence[Any], start_ms: int) -> Column:
    """Return what ``_apart`` took apart."""
    try:
        return list(zip([offset + start_ms for offset in offsets], values, strict=True))
    except TypeError:  # of None
        return [
            None if offset is None else (offset + start_ms, value)
            for offset, value in zip(offsets, values, strict=True)
        ]


def _relative(columns: dict[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Return *columns* of numbers relative to the least value of each key, where that is kept."""
    if "min" not in columns:
        return columns
    least = columns["min"]
    found = dict(columns)
    for name in ("max", *_TIMED):
        if name in columns:
            found[name] = _shifted(sub, columns[name], least)
    if "n" in columns and "sum" in columns:
        lows, shares = _shares(columns["n"], least)
        sums = columns["sum"]
        found["sum"] = rests = list(map(sub, sums, shares))
        if "sumsq" in columns:
            found["sumsq"] = list(map(sub, columns["sumsq"], map(mul, lows, map(add, sums, rests))))
    return found


def _absolute(columns: dict[str, Column]) -> dict[str, Column]:
    """Return what ``_relative`` made relative."""
    if "min" not in columns:
        return columns
    least = columns["min"]
    found = dict(columns)
    for name in ("max", *_TIMED):
        if name in columns:
            found[name] = _shifted(add, columns[name], least)
    if "n" in columns and "sum" in columns:
        lows, shares = _shares(columns["n"], least)
        rests = columns["sum"]
        found["sum"] = sums = list(map(add, rests, shares))
        if "sumsq" in columns:
            found["sumsq"] = list(map(add, columns["sumsq"], map(mul, lows, map(add, sums, rests))))
    return found


def _shifted(by: Callable[[int, int], int], column: Sequence[Any], least: Sequence[Any]) -> Column:
    """Return *column* plus, or minus, the least value of each key; of no values None."""
    try:
        return list(map(by, column, least))
    except TypeError:  # of None
        return [None if low is None else by(value, low) for value, low in zip(column, least, strict=True)]


def _shares(counts: Sequence[int], least: Sequence[Any]) -> tuple[Sequence[int], Sequence[int]]:
    """Return the least value of each key, 0 of no values, and how much of its sum it makes: n times as much."""
    try:
        return least, list(map(mul, counts, least))
    except TypeError:  # of None
        lows = [0 if low is None else low for low in least]
        return lows, list(map(mul, counts, lows))
