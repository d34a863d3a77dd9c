"""A table of states as bytes, column by column, and back. The layout is in docs/formats.md.

Per key most numbers of a field lie close together, so where the least value is kept the others stand relative to it:
``max - min``, ``first - min``, ``last - min``, ``Σ(x - min)``, ``Σ(x - min)²``. Event times stand relative to the
window's start.

::

    Σ(x - min)  = Σx - n·min
    Σ(x - min)² = Σx² - min·(Σx + Σ(x - min))
"""

from collections.abc import Callable, Sequence
from operator import add, mul, sub
from typing import Any

from streamgage.measures.layout import StateLayout, Table
from streamgage.measures.named import is_sketch
from streamgage.measures.packing import pack, unpack, unpack_whole
from streamgage.measures.parts import PARTS, Column

_TIMED = ("first", "last")


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
            _packed_sketches(name, column, start_ms)
            if is_sketch(name)
            else events
            if name == "n" and column == table[0]
            else pack(column)
            for name, column in _relative(columns).items()
        ]
    return b"".join(pieces)


def decode_table(layout: StateLayout, data: bytes, at: int, *, count: int, start_ms: int) -> Table:
    """Return the table of *count* keys at *at* of *data*, which is its end too.

    Raises:
        ValueError, IndexError, TypeError: it is damaged; TypeError where one column has an entry that another has not.
    """
    events, at = unpack_whole(data, at, count)
    table: Table = [events]
    for field in layout.fields:
        times: dict[str, Column] = {}
        columns: dict[str, Column] = {}
        for name in _TIMED:
            if name in field.parts:
                times[name], at = unpack(data, at, count)
        for name in field.parts:
            if is_sketch(name):
                columns[name], at = _sketches(name, data, at, count, start_ms)
                continue
            read = unpack if PARTS[name].identity is None else unpack_whole
            columns[name], at = read(data, at, count)
        columns = _absolute(columns)
        for name, offsets in times.items():
            columns[name] = _paired(offsets, columns[name], start_ms)
        table += columns.values()
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes are left over")
    return table


def _packed_sketches(name: str, column: Sequence[Any], start_ms: int) -> bytes:
    from streamgage.measures.sketch_parts import sketch_named  # noqa: PLC0415 - see is_sketch

    return sketch_named(name).pack(column, start_ms=start_ms)


def _sketches(name: str, data: bytes, at: int, count: int, start_ms: int) -> tuple[Column, int]:
    from streamgage.measures.sketch_parts import sketch_named  # noqa: PLC0415 - see is_sketch

    return sketch_named(name).unpack(data, at, count, start_ms=start_ms)


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
