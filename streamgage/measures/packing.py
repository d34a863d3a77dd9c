"""Integers of a column, packed: a few bytes each, whatever their size. The layout is in docs/formats.md.

::

    column  = width | places | base | [gaps] | planes
    width     one byte: bytes an entry, 0 to 63; 0x40 is added where entries are missing
    places    one byte: every entry is a multiple of 10**places
    base      zigzag varint: the least entry / 10**places
    gaps      a bit an entry, lowest bit first, 1 where the entry is missing
    planes    of what is there, entry / 10**places - base: all lowest bytes, then all second bytes, …
"""

from collections.abc import Sequence
from functools import lru_cache
from math import gcd
from struct import Struct
from typing import Any, cast

Ints = Sequence[int | None]

_WIDTH, _GAPS = 0x3F, 0x40
_BITS = 8 * _WIDTH  # of an integer: measures of 38 digits need far fewer
_WORD = 8
_POWERS = [10**n for n in range(257)]


def pack(column: Ints) -> bytes:
    """Return *column* packed. Raises: ValueError, where entries have more than 63 bytes."""
    flag, bitmap = 0, b""
    known = cast("Sequence[int]", column)
    try:  # a look for None would cost more than both
        low, high = min(known), max(known)
        has_all = low is not None  # of a single None there is a least
    except (TypeError, ValueError):
        has_all = False
    if not has_all:
        known = [each for each in column if each is not None]
        if len(known) < len(column):
            gaps = sum(1 << at for at, each in enumerate(column) if each is None)
            flag, bitmap = _GAPS, gaps.to_bytes((len(column) + 7) // 8, "little")
        if not known:
            return bytes((flag, 0, 0)) + bitmap
        low, high = min(known), max(known)
    places = 0 if low % 10 or high % 10 else _common_places(known)
    power = _POWERS[places]
    base = low // power
    width = ((high // power - base).bit_length() + 7) // 8
    if width > _WIDTH or base.bit_length() > _BITS:
        raise ValueError(f"integers of more than {_WIDTH} bytes cannot be stored")
    head = bytes((width | flag, places)) + zigzag_varint(base) + bitmap
    if not width:
        return head
    if places:
        known = [(each - low) // power for each in known]
    elif low:
        known = [each - low for each in known]
    return head + _planes(known, width)


def unpack(data: bytes, at: int, count: int, rows: Sequence[int] | None = None) -> tuple[list[Any], int]:
    """Return the column of *count* entries (integers, or None) at *at* of *data*, and where it ends.

    Of *rows* alone, where they are given: of a few a tenth of the work; of none, it is only passed over.

    Raises:
        ValueError, IndexError: it is damaged.
    """
    head, places = data[at], data[at + 1]
    folded, at = data[at + 2], at + 3
    if folded > 0x7F:
        folded, at = read_varint(data, at - 1)
    base = ~(folded >> 1) if folded & 1 else folded >> 1
    width, gaps = head & _WIDTH, 0
    if head & _GAPS:
        gap_bytes = (count + 7) // 8
        gaps = int.from_bytes(data[at : at + gap_bytes], "little") & (1 << count) - 1
        at += gap_bytes
    known = count - gaps.bit_count()
    stop = at + width * known
    if stop > len(data) or known < 0:
        raise ValueError(f"a column ends at byte {stop} of {len(data)}")
    if rows is not None:
        return _entries(data[at:stop], known, gaps, rows, (base, _POWERS[places])) if rows else [], stop
    values = _from_planes(data[at:stop], width, known)
    power = _POWERS[places]
    if base or places:
        values = [(each + base) * power for each in values] if places else [each + base for each in values]
    if not gaps:
        return values, stop
    there = iter(values)
    return [None if gaps >> number & 1 else next(there) for number in range(count)], stop


def unpack_whole(
    data: bytes, at: int, count: int, rows: Sequence[int] | None = None
) -> tuple[list[int], int]:
    """Return what ``unpack`` does, of a column in which no entry is missing. Raises: ValueError, IndexError."""
    if data[at] & _GAPS:
        raise ValueError(f"entries are missing in the column at byte {at}, which has them all")
    return unpack(data, at, count, rows)


def _entries(
    planes: bytes, known: int, gaps: int, rows: Sequence[int], base_and_power: tuple[int, int]
) -> list[Any]:
    """Return the entries at *rows* of a column: each entry's bytes stand *known* apart."""
    base, power = base_and_power
    if not gaps:
        return [(int.from_bytes(planes[row::known], "little") + base) * power for row in rows]
    return [
        None
        if gaps >> row & 1
        else (int.from_bytes(planes[row - (gaps & (1 << row) - 1).bit_count() :: known], "little") + base)
        * power
        for row in rows
    ]


@lru_cache(maxsize=256)
def _words(count: int) -> Struct:
    return Struct(f"<{count}Q")


def _planes(values: Sequence[int], width: int) -> bytes:
    if width == 1:
        return bytes(values)
    if width <= _WORD:
        words, size = _words(len(values)).pack(*values), _WORD
    else:
        words, size = b"".join([each.to_bytes(width, "little") for each in values]), width
    return b"".join([words[plane::size] for plane in range(width)])


def _from_planes(data: bytes, width: int, count: int) -> list[int]:
    if not width:
        return [0] * count
    if width == 1:
        return list(data)
    size = max(width, _WORD)
    words = bytearray(size * count)
    for plane in range(width):
        words[plane::size] = data[plane * count : (plane + 1) * count]
    if width <= _WORD:
        return list(_words(count).unpack(words))
    return [int.from_bytes(words[at : at + size], "little") for at in range(0, size * count, size)]


def _common_places(values: Sequence[int]) -> int:
    """Return how many decimal zeros all of *values* end with."""
    common = gcd(*values)
    if not common or common % 10:
        return 0
    places = 1
    while places < 255 and not common % _POWERS[places + 1]:
        places += 1
    return places


def varint(value: int) -> bytes:
    """Return *value*, not negative, seven bits a byte, lowest first."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the varint at *at* of *data*, and where it ends.

    Raises:
        IndexError: it is cut off.
        ValueError: it has more bytes than any that was written.
    """
    byte = data[at]
    value, shift = byte & 0x7F, 7
    while byte > 0x7F:
        at += 1
        if shift > _BITS + 1:  # of a zigzag, one more; to read on would take the square of what a body holds
            raise ValueError("a number that does not end")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
    return value, at + 1


def zigzag_varint(value: int) -> bytes:
    """Return *value* as a varint whose lowest bit is the sign."""
    return varint(value << 1 if value >= 0 else ~value << 1 | 1)


def read_zigzag_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer that zigzag_varint wrote at *at* of *data*, and where it ends."""
    value, at = read_varint(data, at)
    return (~(value >> 1) if value & 1 else value >> 1), at
