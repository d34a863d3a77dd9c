"""The part of CBOR (RFC 8949) that AWS's CBOR protocol uses, both ways.

The Java SDK speaks it to Kinesis unless told not to. It writes maps and arrays of indefinite length, and times
as tag 1 over epoch *milliseconds*, where the RFC says seconds.
Source: https://github.com/aws/aws-sdk-java-v2/issues/4661 (checked 2026-11-21).
"""

import struct
from typing import Any

from infra.local.kinesis.fields import Instant

_BREAK = object()
_MAX_DEPTH = 32
_EPOCH_TAG = 1


def loads(content: bytes) -> Any:
    """Return the one value that *content* encodes.

    Raises:
        ValueError: it is cut off, has bytes left over, or uses a part of CBOR that no AWS client sends.
    """
    reader = _Reader(content)
    try:
        value = reader.value(0)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"broken CBOR at byte {reader.at}: {error}") from error
    if value is _BREAK or reader.at != len(content):
        raise ValueError(f"{len(content) - reader.at} bytes after the value")
    return value


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH}")
        initial = self._content[self.at]
        self.at += 1
        major, info = initial >> 5, initial & 31
        if major == 7:
            return self._simple(info)
        if info == 31:
            return self._indefinite(major, depth)
        return self._sized(major, self._argument(info), depth)

    def _sized(self, major: int, argument: int, depth: int) -> Any:
        if major in (0, 1):
            return argument if major == 0 else -1 - argument
        if major in (2, 3):
            return self._string(major, argument)
        if major == 4:
            return [self._item(depth) for _ in range(argument)]
        if major == 5:
            return {self._key(depth): self._item(depth) for _ in range(argument)}
        return _tagged(argument, self._item(depth))

    def _item(self, depth: int) -> Any:
        value = self.value(depth + 1)
        if value is _BREAK:
            raise ValueError(f"a break where a value was due, at byte {self.at}")
        return value

    def _key(self, depth: int) -> str:
        key = self._item(depth)
        if not isinstance(key, str):
            raise ValueError(f"a map's key that is not text, at byte {self.at}")  # noqa: TRY004 - one error for all
        return key

    def _argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise ValueError(f"reserved length {info} at byte {self.at}")
        width = 1 << (info - 24)
        return int.from_bytes(self._take(width), "big")

    def _take(self, length: int) -> bytes:
        taken = self._content[self.at : self.at + length]
        if len(taken) != length:
            raise ValueError(f"cut off: {length} bytes due at byte {self.at}, {len(taken)} there")
        self.at += length
        return taken

    def _string(self, major: int, length: int) -> bytes | str:
        taken = self._take(length)
        return taken if major == 2 else taken.decode()

    def _indefinite(self, major: int, depth: int) -> Any:
        if major not in (2, 3, 4, 5):
            raise ValueError(f"indefinite length of major type {major}")
        if major == 5:
            return self._indefinite_map(depth)
        items: list[Any] = []
        while (value := self.value(depth + 1)) is not _BREAK:
            items.append(value)
        if major == 4:
            return items
        kind: type = bytes if major == 2 else str
        if not all(isinstance(item, kind) for item in items):
            raise ValueError("a string in pieces of another type")
        return kind().join(items)

    def _indefinite_map(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while (key := self.value(depth + 1)) is not _BREAK:
            if not isinstance(key, str):
                raise ValueError(f"a map's key that is not text, at byte {self.at}")  # noqa: TRY004 - one error for all
            found[key] = self._item(depth)
        return found

    def _simple(self, info: int) -> Any:
        if info == 31:
            return _BREAK
        if info in (25, 26, 27):
            form = {25: ">e", 26: ">f", 27: ">d"}[info]
            return struct.unpack(form, self._take(struct.calcsize(form)))[0]
        if info not in (20, 21, 22, 23):
            raise ValueError(f"simple value {info}")
        return {20: False, 21: True}.get(info)


def _tagged(tag: int, value: Any) -> Any:
    if tag == _EPOCH_TAG and isinstance(value, int | float):
        if not abs(value) < 1e15:  # infinite or no number too: neither rounds
            raise ValueError(f"{value} is no time in milliseconds")
        return Instant(round(value))
    return value


def dumps(value: Any) -> bytes:
    """Return the encoding of plain values, bytes and ``Instant``.

    Raises:
        TypeError: a value of another type.
    """
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def _write(value: Any, parts: list[bytes]) -> None:  # noqa: C901 - one branch a type, the hot path
    if isinstance(value, str):
        encoded = value.encode()
        parts += (_head(3, len(encoded)), encoded)
    elif isinstance(value, bytes):
        parts += (_head(2, len(value)), value)
    elif isinstance(value, bool):
        parts.append(b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        parts.append(_head(0, value) if value >= 0 else _head(1, -1 - value))
    elif isinstance(value, Instant):
        parts.append(_head(6, _EPOCH_TAG))
        _write(value.ms, parts)
    elif isinstance(value, dict):
        parts.append(_head(5, len(value)))
        for key, item in value.items():
            _write(key, parts)
            _write(item, parts)
    elif isinstance(value, list):
        parts.append(_head(4, len(value)))
        for item in value:
            _write(item, parts)
    elif value is None:
        parts.append(b"\xf6")
    elif isinstance(value, float):
        parts.append(b"\xfb" + struct.pack(">d", value))
    else:
        raise TypeError(f"{type(value).__name__} has no CBOR form here")


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major << 5 | argument,))
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * width):
            return bytes((major << 5 | info,)) + argument.to_bytes(width, "big")
    raise ValueError(f"{argument} has more than 64 bits")
