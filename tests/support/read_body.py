"""Bodies of items read by the text of docs/formats.md alone: nothing of streamgage is imported here.

It shows that anyone can read a table, and it is the second opinion of tests: the code that writes is another.
"""

import zlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReadBody:
    """A chunk: states by key, each ``[events, *parts]`` in the layout's order; first and last are (ms, value) or None."""

    begin_ms: int
    onward: int
    states: dict[str, list[Any]]


def read_body(body: bytes, layout_text: str, start_ms: int) -> ReadBody:
    """Return what the body of an aggregate says, by a layout as text, ``value@9:n,sum;other@0:last``."""
    assert body[0] == 1, f"version {body[0]}"
    onward, at = _varint(body, 2)
    begin_ms, at = _varint(body, at)
    count, at = _varint(body, at)
    payload = zlib.decompress(body[at:], wbits=-15) if body[1] & 1 else body[at:]
    size, at = _varint(payload, 0)
    names = payload[at : at + size].decode().split("\n") if count else []
    events, at = _column(payload, at + size, count)
    columns = [events]
    for field in filter(None, layout_text.split(";")):
        parts = field.partition(":")[2].split(",")
        times: dict[str, list[Any]] = {}
        read: dict[str, list[Any]] = {}
        for name in sorted({"first", "last"} & set(parts)):
            times[name], at = _column(payload, at, count)
        for name in parts:
            timed = _TIMED_READERS.get(name.rstrip("0123456789"))
            if timed is not None:
                read[name], at = timed(payload, at, count, start_ms)
            else:
                read[name], at = _READERS.get(name, _column)(payload, at, count)
        rows = [_state(dict(zip(read, row, strict=True))) for row in zip(*read.values(), strict=True)]
        for name in parts:
            values = [row[name] for row in rows]
            if name in times:  # of no value there is no time
                values = [
                    None if time is None else (start_ms + time, value)
                    for time, value in zip(times[name], values, strict=True)
                ]
            columns.append(values)
    assert (at, len(names)) == (len(payload), count), "bytes or names are left over"
    return ReadBody(
        begin_ms,
        onward,
        dict(zip(names, map(list, zip(*columns, strict=True)), strict=True)),
    )


def read_progress(body: bytes) -> tuple[int, int, int, int]:
    """Return (applied_ms, begin_ms, dropped, forgotten) of the body of a lane's progress."""
    assert body[0] == 1, f"version {body[0]}"
    at, found = 1, []
    for _ in range(4):
        value, at = _varint(body, at)
        found.append(value)
    applied_ms, begin_ms, dropped, forgotten = found
    return applied_ms, begin_ms, dropped, forgotten


def _state(parts: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of one key as they are, of what stands relative to the least value."""
    low = parts.get("min") or 0
    found = {
        name: value if value is None or name not in ("max", "first", "last") else value + low
        for name, value in parts.items()
    }
    if "n" in parts and "sum" in parts:
        found["sum"] = parts["sum"] + parts["n"] * low
        if "sumsq" in parts:
            found["sumsq"] = parts["sumsq"] + 2 * low * found["sum"] - parts["n"] * low * low
    return found


def _column(data: bytes, at: int, count: int) -> tuple[list[Any], int]:
    width, places = data[at] & 0x3F, data[at + 1]
    has_gaps = data[at] & 0x40
    zigzag, at = _varint(data, at + 2)
    base = -(zigzag // 2) - 1 if zigzag % 2 else zigzag // 2
    gaps = 0
    if has_gaps:
        gap_bytes = -(-count // 8)
        gaps, at = int.from_bytes(data[at : at + gap_bytes], "little"), at + gap_bytes
    there = [number for number in range(count) if not gaps >> number & 1]
    column: list[Any] = [None] * count
    for place, number in enumerate(there):
        planes = [data[at + plane * len(there) + place] for plane in range(width)]
        column[number] = (int.from_bytes(planes, "little") + base) * 10**places
    return column, at + width * len(there)


def _histograms(data: bytes, at: int, count: int) -> tuple[list[Any], int]:
    """Read histograms: of each key its scale, its zeros, and its counts by place."""
    scales, at = _column(data, at, count)
    zeros, at = _column(data, at, count)
    sizes, at = _column(data, at, count)
    steps, at = _column(data, at, sum(sizes))
    counts, at = _column(data, at, sum(sizes))
    states, first = [], 0
    for scale, zero, size in zip(scales, zeros, sizes, strict=True):
        places = [sum(steps[first : last + 1]) for last in range(first, first + size)]
        states.append((scale, zero, dict(zip(places, counts[first : first + size], strict=True))))
        first += size
    return states, at


def _sets(data: bytes, at: int, count: int) -> tuple[list[Any], int]:
    """Read sets of tokens, or the registers that stand in their place."""
    sizes, at = _column(data, at, count)
    states: list[Any] = []
    for size in sizes:
        if size == 201:
            whole = int.from_bytes(data[at : at + 896], "little")
            states.append([whole >> 28 * number & (1 << 28) - 1 for number in range(256)])
            at += 896
        else:
            states.append(
                {int.from_bytes(data[each : each + 4], "big") for each in range(at, at + 4 * size, 4)}
            )
            at += 4 * size
    return states, at


def _sessions(data: bytes, at: int, count: int, start_ms: int) -> tuple[list[Any], int]:
    """Read sessions: of each key (begin, end, events) of each."""
    sizes, at = _column(data, at, count)
    begins, at = _column(data, at, sum(sizes))
    lengths, at = _column(data, at, sum(sizes))
    events, at = _column(data, at, sum(sizes))
    every = [
        (start_ms + begin, start_ms + begin + length, number)
        for begin, length, number in zip(begins, lengths, events, strict=True)
    ]
    return [every[sum(sizes[:key]) : sum(sizes[: key + 1])] for key in range(count)], at


def _session_texts(data: bytes, at: int, count: int, start_ms: int) -> tuple[list[Any], int]:
    """Read entries, or exits: of each key (begin, end, text) of each session."""
    sizes, at = _column(data, at, count)
    begins, at = _column(data, at, sum(sizes))
    lengths, at = _column(data, at, sum(sizes))
    number, at = _varint(data, at)
    text_sizes, at = _column(data, at, number)
    texts = []
    for size in text_sizes:
        texts.append(data[at : at + size].decode("utf-8", "surrogatepass"))
        at += size
    which, at = _column(data, at, sum(sizes))
    every = [
        (start_ms + begin, start_ms + begin + length, texts[place])
        for begin, length, place in zip(begins, lengths, which, strict=True)
    ]
    return [every[sum(sizes[:key]) : sum(sizes[: key + 1])] for key in range(count)], at


def _signals(data: bytes, at: int, count: int, start_ms: int) -> tuple[list[Any], int]:
    """Read signals: of each key the level, and (first, last, value, least, greatest, number, sum) of each cell."""
    levels, at = _column(data, at, count)
    sizes, at = _column(data, at, count)
    columns = []
    for _ in range(7):
        column, at = _column(data, at, sum(sizes))
        columns.append(column)
    rows, states = iter(zip(*columns, strict=True)), []
    for level, size in zip(levels, sizes, strict=True):
        end_ms, cells = start_ms, []
        for _ in range(size):
            pause, length, low, height, above, number, rest = next(rows)
            first_ms = end_ms + pause
            end_ms = first_ms + length
            cells.append((first_ms, end_ms, low + above, low, low + height, number, rest + number * low))
        states.append((level, tuple(cells)))
    return states, at


_READERS = {"histogram": _histograms, "distinct": _sets}
_TIMED_READERS = {
    "sessions": _sessions,
    "entry": _session_texts,
    "exit": _session_texts,
    "signal": _signals,
}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value, shift, at = value | (data[at] & 0x7F) << shift, shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at
