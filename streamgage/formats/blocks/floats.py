"""Lists of doubles and singles in a block: decimals where all of them are short ones, else their bytes.

Layout: docs/formats.md.
"""

from array import array
from itertools import repeat
from math import floor
from operator import add, mul, truediv
from typing import Any

from streamgage.formats.blocks.decimal_column import DecimalColumn
from streamgage.formats.blocks.ints import (
    decode_ints,
    deflate,
    encode_ints,
    from_bytes,
    join_planes,
    malformed,
    split_planes,
    to_bytes,
)
from streamgage.formats.singles import read_singles

MAX_PLACES = 22  # powers of ten up to this one are exact doubles
# Of integers below it, m / 10**places is the double nearest to that decimal, which is the double's shortest, its repr.
MAX_NUMERATOR = 10**15
_RAW, _RAW_PLANES = 0xFE, 0xFF  # in the byte of the places: there are none
_SAMPLE = 8


def encode_floats(values: "array[float]") -> bytes:
    """Return *values*, doubles or singles, so that each comes back to the bit."""
    decimals = _as_decimals(values)
    if decimals is None:
        whole = to_bytes(values)
        return min(
            bytes((_RAW,)) + whole,
            bytes((_RAW_PLANES,)) + split_planes(whole, values.itemsize),
            key=lambda data: len(deflate(data)),
        )
    places, numerators, span = decimals
    return bytes((places,)) + encode_ints(numerators, span)


def decode_floats(data: bytes, at: int, count: int, type_code: str) -> tuple[list[Any] | DecimalColumn, int]:
    """Return the *count* numbers that begin at *at*, doubles ("d") or singles ("f"), and where they end.

    A single comes as its shortest decimal: see formats/singles.py.

    Raises:
        PoisonRecord: ``undecodable``.
    """
    places = data[at] if at < len(data) else MAX_PLACES + 1
    at += 1
    if places in (_RAW, _RAW_PLANES):
        width = 8 if type_code == "d" else 4
        stop = at + width * count
        if stop > len(data):
            raise malformed("a list of numbers is cut short")
        whole = data[at:stop]
        values = from_bytes(type_code, join_planes(whole, width) if places == _RAW_PLANES else whole)
        return values.tolist() if type_code == "d" else read_singles(values), stop
    if places > MAX_PLACES:
        raise malformed(f"a list of numbers has {places} decimal places")
    numerators, at = decode_ints(data, at, count)
    if not -MAX_NUMERATOR < min(numerators) <= max(numerators) < MAX_NUMERATOR:
        raise malformed("a decimal has more than 15 digits")
    if type_code == "d":
        return DecimalColumn(places, numerators), at
    return read_singles(array("f", map(truediv, numerators, repeat(10.0**places)))), at


def _as_decimals(values: "array[float]") -> tuple[int, list[int], tuple[int, int]] | None:
    """Return the fewest places, and numerators, by which each of *values* comes back to the bit; None: there are none.

    With them come the smallest and the largest numerator.
    """
    exact, type_code, places = values.tobytes(), values.typecode, 0
    for value in values[:_SAMPLE]:  # most columns are settled here
        more = _places_of(value, places, type_code)
        if more is None:
            return None
        places = more
    while True:
        power = 10.0**places
        try:
            # Less time than `round`, which differs only at ties: there is no numerator to be found at these.
            numerators = list(map(floor, map(add, map(mul, values, repeat(power)), repeat(0.5))))
        except (ValueError, OverflowError):  # NaN, infinity
            return None
        again = array(type_code, map(truediv, numerators, repeat(power)))
        if again.tobytes() == exact:
            break
        wrong = next((value for value, back in zip(values, again, strict=True) if value != back), None)
        more = None if wrong is None else _places_of(wrong, places + 1, type_code)  # None: a negative zero
        if more is None:
            return None
        places = more
    low, high = min(numerators), max(numerators)
    if not -MAX_NUMERATOR < low <= high < MAX_NUMERATOR:
        return None
    return places, numerators, (low, high)


def _places_of(value: float, places: int, type_code: str) -> int | None:
    """Return the fewest places, from *places* on, by which *value* is a decimal; None: there are none."""
    while places <= MAX_PLACES and abs(value) * 10.0**places < MAX_NUMERATOR:
        power = 10.0**places
        if array(type_code, (round(value * power) / power,))[0] == value:
            return places
        places += 1
    return None
