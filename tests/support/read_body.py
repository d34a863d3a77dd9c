"""The body of an item, read by docs/formats.md alone: it shares no code with the pipeline."""

import zlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReadBody:
    """What a body says; ``states`` holds ``[events, part, part, …]`` by key, first and last as (time, value)."""

    begin_ms: int
    onward: int
    states: dict[str, list[Any]]


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def column(self, count: int) -> list[int | None]:
        head, places = self.take(2)
        zigzag = self.varint()
        base = ~(zigzag >> 1) if zigzag & 1 else zigzag >> 1
        missing = int.from_bytes(self.take((count + 7) // 8), "little") if head & 64 else 0
        width, there = head & 63, count - missing.bit_count()
        planes = [self.take(there) for _ in range(width)]
        known = iter(
            (base + sum(plane[n] << 8 * byte for byte, plane in enumerate(planes))) * 10**places
            for n in range(there)
        )
        return [None if missing >> n & 1 else next(known) for n in range(count)]


def read_body(body: bytes, layout: str, start_ms: int) -> ReadBody:
    """Return what *body* holds, of a rollup with *layout* (``value@9:n,sum,min``), in a window from *start_ms* on."""
    head = _Bytes(body)
    version, flags = head.take(2)
    assert version == 1
    onward, begin_ms, count = head.varint(), head.varint(), head.varint()
    rest = body[head.at :]
    payload = _Bytes(zlib.decompress(rest, -15) if flags & 1 else rest)
    names = payload.take(payload.varint()).decode()
    keys = names.split("\n") if count else []
    table = [payload.column(count)]
    for field in filter(None, layout.split(";")):
        parts = field.partition(":")[2].split(",")
        table += _columns(payload, parts, count, start_ms)
    assert payload.at == len(payload.data)
    assert len(keys) == count
    return ReadBody(begin_ms, onward, {key: [column[n] for column in table] for n, key in enumerate(keys)})


def _columns(payload: _Bytes, parts: list[str], count: int, start_ms: int) -> list[list[Any]]:
    times = {part: payload.column(count) for part in ("first", "last") if part in parts}
    of: dict[str, list[Any]] = {part: payload.column(count) for part in parts}
    for n in range(count):
        low = of["min"][n] if "min" in of else 0
        if low is not None:
            for part in ("max", "first", "last"):
                if part in of and of[part][n] is not None:
                    of[part][n] += low
            if "n" in of and "sum" in of:
                rest, number = of["sum"][n], of["n"][n]
                of["sum"][n] = rest + number * low
                if "sumsq" in of:
                    of["sumsq"][n] += 2 * low * of["sum"][n] - number * low * low
        for part, offsets in times.items():
            if offsets[n] is not None:
                of[part][n] = (offsets[n] + start_ms, of[part][n])
    return list(of.values())


def read_progress(body: bytes) -> tuple[int, int, int, int]:
    """Return the arrival time up to which a lane is applied, from which on it is, repeats dropped, marks forgotten."""
    reader = _Bytes(body)
    assert reader.take(1) == b"\x01"
    return reader.varint(), reader.varint(), reader.varint(), reader.varint()
