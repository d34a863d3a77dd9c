"""Lists of integers in a block: fixed width, relative to a base or to the one before. Layout: docs/formats.md.

What runs per number is C: array, accumulate, slices with a step.
"""

import sys
import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate
from operator import sub
from typing import Any

from streamgage.errors import PoisonRecord
from streamgage.formats.varint import decode_varint, encode_varint

LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1
MAX_INTS_HEAD_BYTES = 11  # the code, and a base of 64 bits as a varint

# The element code is the place in this table: array's type code, bytes an element, smallest and largest value.
_ELEMENTS = (
    ("", 0, 0, 0),
    ("B", 1, 0, 2**8 - 1),
    ("b", 1, -(2**7), 2**7 - 1),
    ("H", 2, 0, 2**16 - 1),
    ("h", 2, -(2**15), 2**15 - 1),
    ("I", 4, 0, 2**32 - 1),
    ("i", 4, -(2**31), 2**31 - 1),
    ("q", 8, LONG_MIN, LONG_MAX),
)
_ELEMENT_BITS, _DELTA, _PLANES = 0x07, 0x08, 0x10
# A trial compression costs 10 µs: not worth it for fewer numbers than this, nor for more of them at a time.
_TRIAL_LEAST, _TRIAL_MOST = 32, 256


def encode_ints(values: Sequence[int], span: tuple[int, int] | None = None) -> bytes:
    """Return *values*, at least one and of 64 bits each, in whichever form promises to deflate best.

    *span* is of the smallest and the largest one, where they are known.
    """
    low, high = span or (min(values), max(values))
    if low == high:
        return b"\x00" + encode_long(low)
    code, base = _narrowest(low, high), 0
    if high - low <= LONG_MAX and _width(_narrowest(0, high - low)) < _width(code):
        code, base = _narrowest(0, high - low), low
        plain: Sequence[int] = [each - base for each in values]
    else:
        plain = values
    forms = [(code, base, plain)]
    deltas = [0, *map(sub, values[1:], values)]
    lowest, highest = min(deltas), max(deltas)
    if lowest >= LONG_MIN and highest <= LONG_MAX:
        forms.append((_narrowest(lowest, highest) | _DELTA, values[0], deltas))
    code, base, elements = _best(forms)
    return bytes((code,)) + encode_long(base) + _pack(code, elements)


def _best(forms: list[tuple[int, int, Sequence[int]]]) -> tuple[int, int, Sequence[int]]:
    """Return that of *forms* whose middle deflates to the fewest bytes, as it is or in planes."""
    count = len(forms[0][2])
    if count < _TRIAL_LEAST:
        return min(forms, key=lambda form: _width(form[0]))
    start = max(0, count - _TRIAL_MOST) // 2
    tried = [
        (code | planes, base, elements)
        for code, base, elements in forms
        for planes in ((0, _PLANES) if _width(code) > 1 else (0,))
    ]
    return min(tried, key=lambda form: len(deflate(_pack(form[0], form[2][start : start + _TRIAL_MOST]))))


def decode_ints(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """Return the *count* integers that begin at *at*, at least one and of 64 bits each, and where they end.

    Raises:
        PoisonRecord: ``undecodable``.
    """
    if at >= len(data):
        raise malformed("a list of integers is cut short")
    code = data[at]
    folded, at = decode_unsigned(data, at + 1)
    base = (folded >> 1) ^ -(folded & 1)
    type_code, width, low, high = _ELEMENTS[code & _ELEMENT_BITS]
    if not width and not code:
        return [base] * count, at
    stop = at + width * count
    if not width or code > _PLANES + _DELTA + _ELEMENT_BITS or (code & _PLANES and width == 1):
        raise malformed(f"no list of integers has the code {code}")
    if stop > len(data):
        raise malformed("a list of integers is cut short")
    elements = data[at:stop]
    values = from_bytes(type_code, join_planes(elements, width) if code & _PLANES else elements).tolist()
    steps = 1
    if code & _DELTA:
        values[0] += base
        values = list(accumulate(values))
        steps = count
    elif base:
        values = [base + each for each in values]
    # Most codes cannot leave the 64 bits; only where this one could is a look at each number due.
    if (base + steps * high > LONG_MAX or base + steps * low < LONG_MIN) and not (
        min(values) >= LONG_MIN and max(values) <= LONG_MAX
    ):
        raise malformed("an integer has more than 64 bits")
    return values, stop


def to_bytes(values: "array[Any]") -> bytes:
    """Return *values*, little-endian."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def from_bytes(type_code: str, data: bytes) -> "array[Any]":
    """Return the array whose ``to_bytes`` is *data*, a multiple of its elements' size."""
    values = array(type_code, data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def split_planes(data: bytes, width: int) -> bytes:
    """Return the first bytes of all elements of *width* bytes, then all second ones, and so on."""
    return b"".join([data[plane::width] for plane in range(width)])


def join_planes(data: bytes, width: int) -> bytes:
    """Return what ``split_planes`` made *data* of, a multiple of *width*."""
    whole = bytearray(len(data))
    count = len(data) // width
    for plane in range(width):
        whole[plane::width] = data[plane * count : (plane + 1) * count]
    return bytes(whole)


def deflate(data: bytes, level: int = 6) -> bytes:
    """Return *data* as a raw deflate stream. A window no larger than it needs: setting up a whole one takes 55 µs."""
    window_bits = min(15, max(10, (len(data) - 1).bit_length()))
    deflater = zlib.compressobj(level, zlib.DEFLATED, -window_bits, max(4, window_bits - 7))
    return deflater.compress(data) + deflater.flush()


def decode_unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at *at*, 0 to 2**64 - 1, and where it ends.

    Raises:
        PoisonRecord: ``undecodable``.
    """
    try:
        return decode_varint(data, at, len(data))
    except ValueError as error:
        raise malformed("a number is cut short or has more than 64 bits") from error


def encode_long(value: int) -> bytes:
    """Return *value* as Avro writes an int or a long: a zigzag varint."""
    return encode_varint((value << 1) ^ (value >> 63))


def malformed(reason: str) -> PoisonRecord:
    """Return the poison that a block is whose bytes are not those of one."""
    return PoisonRecord("undecodable", f"not a block: {reason}")


def _narrowest(low: int, high: int) -> int:
    return next(
        code for code, (_, _, least, most) in enumerate(_ELEMENTS) if code and least <= low and high <= most
    )


def _width(code: int) -> int:
    return _ELEMENTS[code & _ELEMENT_BITS][1]


def _pack(code: int, elements: Sequence[int]) -> bytes:
    type_code = _ELEMENTS[code & _ELEMENT_BITS][0]
    data = bytes(elements) if type_code == "B" else to_bytes(array(type_code, elements))
    return split_planes(data, _width(code)) if code & _PLANES else data
