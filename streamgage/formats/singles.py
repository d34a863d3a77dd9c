"""Singles: an Avro ``float`` has 24 bits, and stands for the shortest decimal that reads back as it, as a double does.

Widened, the single nearest to 0.1 is 0.10000000149011612, and ten of them do not sum to 1. So each single that is read,
by its writer's type, becomes the double nearest to its shortest decimal: of those with the fewest digits the closest one.
That double is rounded to the same single again, so nothing is lost.
"""

from collections.abc import Iterable
from decimal import Decimal
from math import frexp
from struct import Struct

_pack = Struct("<f").pack
_REMEMBERED = 20_000  # singles; some 3 MB
_SURE_DIGITS, _MOST_DIGITS = 6, 9
"""Of singles that are not subnormal: decimals of 6 digits are told apart by them, and 9 digits tell all of them apart."""
_LEAST_NORMAL = 2.0**-126


def shortest(single: float) -> float:
    """Return the double nearest to the shortest decimal that reads back as *single*, of all of them the closest."""
    if single - single != 0.0 or single == 0.0:  # NaN, infinity, a zero with its sign
        return single
    exact = _pack(single)
    is_power = frexp(single)[0] in (
        0.5,
        -0.5,
    )  # those below it are closer: the closest decimal may not be the one
    for digits in range(_SURE_DIGITS if abs(single) >= _LEAST_NORMAL else 1, _MOST_DIGITS):
        text = f"{single:.{digits - 1}e}"
        found = float(text)
        if _is(found, exact):
            return found
        if is_power and (beside := _beside(single, text, exact)) is not None:
            return beside
    return float(f"{single:.{_MOST_DIGITS - 1}e}")


def _beside(single: float, text: str, exact: bytes) -> float | None:
    """Return the next decimal of as many digits as *text* has, away from zero or towards it, that reads back."""
    closest = Decimal(text)
    step = Decimal((0, (1,), int(closest.as_tuple().exponent)))
    found = [each for each in (closest + step, closest - step) if _is(float(each), exact)]
    return float(min(found, key=lambda each: abs(each - Decimal(single)))) if found else None


def _is(value: float, exact: bytes) -> bool:
    try:
        return _pack(value) == exact
    except OverflowError:  # rounded up beyond the singles
        return False


class _Shortest(dict[float, float]):
    """``shortest`` of singles that were seen, bounded."""

    def __missing__(self, single: float) -> float:
        found = shortest(single)
        if single - single == 0.0 and single != 0.0:  # NaN is no key, and 0.0 has two signs
            if len(self) >= _REMEMBERED:
                self.clear()
            self[single] = found
        return found


_SHORTEST = _Shortest()


def read_singles(singles: Iterable[float]) -> list[float]:
    """Return ``shortest`` of each of *singles*; what comes again is not worked out again."""
    return list(map(_SHORTEST.__getitem__, singles))


def read_single(single: float, *_schemas: object) -> float:
    """Return ``shortest`` of *single*; as fastavro calls what reads a type."""
    return _SHORTEST[single]
