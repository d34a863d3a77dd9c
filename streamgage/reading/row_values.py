"""What the groups of a row's expression mean: raw bytes, many at a time, to the values that fastavro gives.

Numbers are converted all at once. Texts, symbols and the like are few and repeat: each is decoded once and found by
its raw bytes from then on.
"""

import struct
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from streamgage.formats.singles import read_singles
from streamgage.reading.row_shape import Leaf, Piece

# What is remembered of one field; 50,000 keys of 20 bytes take about 10 MB, of 127 bytes 20 MB.
_REMEMBERED = 50_000

Raws = Sequence[bytes]
ReadColumn = Callable[[Raws], list[Any]]
"""Raises ValueError where fastavro would refuse one of them."""


class Interned(dict[bytes, Any]):
    """Values by their raw bytes: decoded when they are new, and bounded."""

    def __init__(self, decode: Callable[[bytes], Any]) -> None:
        super().__init__()
        self._decode = decode

    def __missing__(self, raw: bytes) -> Any:
        value = self._decode(raw)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[raw] = value
        return value

    def read(self, raws: Raws) -> list[Any]:
        """Return the values of *raws*."""
        return list(map(self.__getitem__, raws))


def column_reader(piece: Piece) -> ReadColumn:
    """Return what reads the values of *piece*."""
    leaf = piece.leaf
    if leaf:
        return bulk_reader(leaf) or Interned(partial(_decode_leaf, leaf)).read
    match [(number, each) for number, each in piece.branches if each.kind != "null"]:
        case [(_, each)] if len(piece.branches) == 2 and (bulk := bulk_reader(each)):
            null = next(number for number, each in piece.branches if each.kind == "null")
            return partial(_read_optional, bytes((2 * null,)), bulk)
    return Interned(partial(_decode_branch, dict(piece.branches))).read


def text_checker(piece: Piece) -> Callable[[Raws], None]:
    """Return what looks whether the texts of *piece*, which nobody needs, are UTF-8; ValueError where they are not."""
    decode = (
        partial(_decode_leaf, piece.leaf) if piece.leaf else partial(_decode_branch, dict(piece.branches))
    )
    return partial(_check_texts, decode)


def _check_texts(decode: Callable[[bytes], Any], raws: Raws) -> None:
    if not b"".join(raws).isascii():
        for raw in set(raws):
            decode(raw)


def bulk_reader(leaf: Leaf) -> ReadColumn | None:
    """Return what reads numbers of *leaf* all at once; None where it is no number."""
    if leaf.kind in ("int", "long"):
        return read_integers_as_floats if leaf.as_float else read_integers
    return {"float": _read_singles, "double": _read_doubles}.get(leaf.kind)


def _read_doubles(raws: Raws) -> list[float]:
    return list(struct.unpack(f"<{len(raws)}d", b"".join(raws)))


def _read_singles(raws: Raws) -> list[float]:
    return read_singles(struct.unpack(f"<{len(raws)}f", b"".join(raws)))


def read_integers_as_floats(raws: Raws) -> list[float]:
    """Return integers as the floats nearest to them."""
    return list(map(float, read_integers(raws)))


def _read_optional(null: bytes, read: ReadColumn, raws: Raws) -> list[Any]:
    present = [raw[1:] for raw in raws if raw != null]
    values = iter(read(present) if present else ())
    return [None if raw == null else next(values) for raw in raws]


def _decode_branch(branches: dict[int, Leaf], raw: bytes) -> Any:
    return _decode_leaf(branches[raw[0] >> 1], raw[1:])


def _decode_leaf(leaf: Leaf, raw: bytes) -> Any:
    if leaf.is_utf8:
        return raw[1 if raw[0] < 0x80 else 2 :].decode()
    if leaf.kind == "enum":
        return dict(leaf.symbols)[raw[0] >> 1]
    if leaf.kind == "boolean":
        return raw != b"\0"
    bulk = bulk_reader(leaf)
    return bulk([raw])[0] if bulk else None


_LANES = 4096  # numbers at once: what the masks are made for


@cache
def _mask(lane: int) -> int:
    return int.from_bytes(lane.to_bytes(8, "little") * _LANES, "little")


def read_integers(raws: Raws) -> list[int]:
    """Return the integers that *raws*, of 1 to 8 bytes each, are as varints in zigzag coding.

    They stand side by side in one long integer, a lane of 64 bits each, and the seven bits of each byte are pushed
    together in all lanes at once: pairs of bytes, of pairs, of those.
    """
    count = len(raws)
    if count < 3:
        return [_read_integer(raw) for raw in raws]
    if count > _LANES:
        return [value for at in range(0, count, _LANES) for value in read_integers(raws[at : at + _LANES])]
    lanes = int.from_bytes(_eight_bytes_each(raws), "little")
    lanes = (lanes & _mask(0x007F007F007F007F)) | ((lanes & _mask(0x7F007F007F007F00)) >> 1)
    lanes = (lanes & _mask(0x00003FFF00003FFF)) | ((lanes & _mask(0x3FFF00003FFF0000)) >> 2)
    lanes = (lanes & _mask(0x000000000FFFFFFF)) | ((lanes & _mask(0x0FFFFFFF00000000)) >> 4)
    signs = lanes & _mask(1)
    lanes = ((lanes ^ signs) >> 1) ^ ((signs << 64) - signs)  # (n >> 1) ^ -(n & 1) in each lane
    return list(struct.unpack(f"<{count}q", lanes.to_bytes(8 * count, "little")))


def _eight_bytes_each(raws: Raws) -> bytes:
    """Return *raws* in a row, each filled up with zeros."""
    size, joined = len(raws[0]), b"".join(raws)
    # Just the last byte of each is below 0x80. So all are of one size where it is at equal distances: the usual case.
    if len(joined) == size * len(raws) and joined[size - 1 :: size].isascii():
        fill = bytes(8 - size)
        return fill.join(raws) + fill
    return b"".join([raw.ljust(8, b"\0") for raw in raws])


def _read_integer(raw: bytes) -> int:
    number = 0
    for byte in reversed(raw):
        number = number << 7 | byte & 0x7F
    return (number >> 1) ^ -(number & 1)
