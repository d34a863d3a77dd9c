"""A table of states as bytes, column by column, and back. The layout is in docs/formats.md.

Per key most numbers of a field lie close together, so where the least value is kept the others stand relative to it:
``max - min``, ``first - min``, ``last - min``, ``Σ(x - min)``, ``Σ(x - min)²``. Event times stand relative to the
window's start.
"""

from collections.abc import Sequence
from typing import Any

from streamgage.measures.layout import StateLayout, Table
from streamgage.measures.packing import pack, unpack, unpack_whole
from streamgage.measures.parts import PARTS, Column

_TIMED = ("first", "last")


def encode_table(layout: StateLayout, table: Table, *, start_ms: int) -> bytes:
    """Return *table*, whose states are of a window that starts at *start_ms*."""
    pieces = [pack(table[0])]
    at = 1
    for field in layout.fields:
        columns = dict(zip(field.parts, table[at : at + len(field.parts)], strict=True))
        at += len(field.parts)
        for name in _TIMED:
            if name in columns:
                pairs = columns[name]
                pieces.append(pack([None if pair is None else pair[0] - start_ms for pair in pairs]))
                columns[name] = [None if pair is None else pair[1] for pair in pairs]
        pieces += [pack(column) for column in _relative(columns).values()]
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
            read = unpack if PARTS[name].identity is None else unpack_whole
            columns[name], at = read(data, at, count)
        columns = _absolute(columns)
        for name, offsets in times.items():
            columns[name] = [
                None if offset is None else (offset + start_ms, value)
                for offset, value in zip(offsets, columns[name], strict=True)
            ]
        table += columns.values()
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes are left over")
    return table


def _relative(columns: dict[str, Column]) -> dict[str, Column]:
    """Return *columns* of numbers relative to the least value of each key, where that is kept."""
    if "min" not in columns:
        return columns
    least = columns["min"]
    found = dict(columns)
    for name in ("max", *_TIMED):
        if name in columns:
            found[name] = [
                None if low is None else value - low for value, low in zip(columns[name], least, strict=True)
            ]
    if "n" in columns and "sum" in columns:
        counts, sums, lows = columns["n"], columns["sum"], _or_zero(least)
        found["sum"] = [total - n * low for total, n, low in zip(sums, counts, lows, strict=True)]
        if "sumsq" in columns:
            found["sumsq"] = [
                squares - 2 * low * total + n * low * low
                for squares, total, n, low in zip(columns["sumsq"], sums, counts, lows, strict=True)
            ]
    return found


def _absolute(columns: dict[str, Column]) -> dict[str, Column]:
    """Return what ``_relative`` made relative."""
    if "min" not in columns:
        return columns
    least = columns["min"]
    found = dict(columns)
    for name in ("max", *_TIMED):
        if name in columns:
            found[name] = [
                None if low is None else value + low for value, low in zip(columns[name], least, strict=True)
            ]
    if "n" in columns and "sum" in columns:
        counts, lows = columns["n"], _or_zero(least)
        sums = [rest + n * low for rest, n, low in zip(columns["sum"], counts, lows, strict=True)]
        found["sum"] = sums
        if "sumsq" in columns:
            found["sumsq"] = [
                rest + 2 * low * total - n * low * low
                for rest, total, n, low in zip(columns["sumsq"], sums, counts, lows, strict=True)
            ]
    return found


def _or_zero(column: Sequence[Any]) -> Sequence[int]:
    return [0 if each is None else each for each in column] if None in column else column
