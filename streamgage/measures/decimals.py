"""Exact numbers: a measured value is an integer at a decimal scale, so that a sum does not depend on order."""

from collections.abc import Callable, Sequence
from decimal import MAX_PREC, ROUND_HALF_EVEN, Context, Decimal
from operator import sub
from typing import Any, NamedTuple, cast

from streamgage.errors import PoisonRecord
from streamgage.limits import DYNAMODB_NUMBER_DIGITS

_LIMIT = 10**DYNAMODB_NUMBER_DIGITS
_UNBOUNDED = Context(prec=MAX_PREC)  # made once: making one takes three times what the rest of unscale does
_EXACT = Context(prec=400, rounding=ROUND_HALF_EVEN)  # a double has at most 309 digits before its point
# Below this, v * 10**scale in floating point is off by less than 2**-8: rounding it is safe unless it lies
# within 0.01 of a half. That decides all but a few values without Decimal, about ten times faster.
_FAST_LIMIT = 2.0**44
_REMEMBERED = 20_000  # values; some 3 MB
_RESTS = 31  # batches
_INTEGERS = frozenset({int})


def scale_number(value: float, scale: int) -> int:
    """Return ``value * 10**scale`` as an integer, rounded half to even.

    A float stands for the shortest decimal that reads back as it (its ``repr``): what the sender wrote, up to 15
    significant digits. So 0.1 at scale 9 is 100000000, whatever its binary expansion.

    Raises:
        PoisonRecord: ``bad_value`` for NaN, infinity, or a result of more than 38 digits.
    """
    if isinstance(value, int):
        scaled: int = value * 10**scale
    else:
        product = value * 10.0**scale
        if -_FAST_LIMIT < product < _FAST_LIMIT:
            scaled = int(product + 0.5) if product > 0 else int(product - 0.5)
            if not -0.49 < product - scaled < 0.49:
                scaled = _scale_exactly(value, scale)
        elif product - product != 0.0:  # NaN or infinity, of the value or of the product
            if value - value != 0.0:
                raise PoisonRecord("bad_value", f"{value!r} is not a finite number")
            scaled = _scale_exactly(value, scale)
        else:
            scaled = _scale_exactly(value, scale)
    if -_LIMIT < scaled < _LIMIT:
        return scaled
    raise PoisonRecord(
        "bad_value", f"{value!r} at scale {scale} has more than {DYNAMODB_NUMBER_DIGITS} digits"
    )


class Scaled(NamedTuple):
    """A column of scaled integers. None stands where there was no value, and at the places in ``refused``.

    ``gaps`` says whether any entry is None.
    """

    numbers: Sequence[int | None]
    refused: Sequence[int]
    gaps: bool


def scale_column(values: Sequence[float | None], scale: int) -> Scaled:
    """Return ``scale_number`` of each of *values*; None stays None, and what it refuses is named by its place.

    It decides many values at once, and gives each the one result that ``scale_number`` gives it. ``numbers`` may be
    *values* itself.
    """
    if values and type(values[0]) in _INTEGERS and set(map(type, values)) == _INTEGERS:
        return _scale_integers(cast("Sequence[int]", values), scale)
    factor = 10.0**scale
    try:
        products = [value * factor for value in values]  # type: ignore[operator]  # of None: TypeError
        scaled: list[int | None] = list(map(round, products))
    except TypeError:
        return _scale_known(values, lambda known: scale_column(known, scale))
    except (ValueError, OverflowError):  # NaN, infinity, or an integer beyond the doubles
        return _scale_each(values, scale)
    if not products:
        return Scaled((), (), gaps=False)
    # As in scale_number: the nearest integer is the result where it is clearly the nearest.
    errors = list(map(sub, products, scaled))
    if (
        min(errors) > -0.49
        and max(errors) < 0.49
        and min(products) > -_FAST_LIMIT
        and max(products) < _FAST_LIMIT
    ):
        return Scaled(scaled, (), gaps=False)
    refused = []
    for at, (product, error) in enumerate(zip(products, errors, strict=True)):
        if not (-0.49 < error < 0.49 and -_FAST_LIMIT < product < _FAST_LIMIT):
            scaled[at] = _scale_or_none(values[at], scale)
            if scaled[at] is None:
                refused.append(at)
    return Scaled(scaled, refused, gaps=bool(refused))


class Scaler(dict[float | None, int]):
    """``scale_column`` to so many decimal ``places``, several times faster where values come again.

    It remembers, bounded, what it saw; that changes no result, for it keeps only values of which an integer and a float
    that are equal have one result: those below _FAST_LIMIT. Where a batch held too many that were new, it lets the next
    batches go the plain way.
    """

    def __init__(self, places: int) -> None:
        super().__init__()
        self.places = places
        self._rests = 0
        self._missed = 0

    def __missing__(self, value: float | None) -> int:
        if value is None:
            raise TypeError("no value")
        scaled = scale_number(value, self.places)
        self._missed += 1
        if -_FAST_LIMIT < scaled < _FAST_LIMIT:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[value] = scaled
        return scaled

    def scale(self, values: Sequence[float | None]) -> Scaled:
        """Return ``scale_column`` of *values*."""
        if self._rests or not values or type(values[0]) in _INTEGERS:
            self._rests -= self._rests > 0
            return scale_column(values, self.places)
        self._missed = 0
        try:
            numbers = list(map(self.__getitem__, values))
        except (TypeError, PoisonRecord):  # None is among them, or what has no result
            return scale_column(values, self.places)
        if self._missed > len(values) // 4 and self._missed > _REMEMBERED // 4:
            self._rests = _RESTS
        return Scaled(numbers, (), gaps=False)


def scale_decimals(numbers: Sequence[int | None], places: int, scale: int) -> Scaled:
    """Return ``scale_column`` of the values ``number / 10**places`` of *numbers*."""
    if places > scale:
        return scale_column([None if each is None else each / 10**places for each in numbers], scale)
    if None in numbers:
        return _scale_known(numbers, lambda known: _scale_integers(known, scale - places))
    return _scale_integers(cast("Sequence[int]", numbers), scale - places)


def _scale_integers(values: Sequence[int], scale: int) -> Scaled:
    factor = 10**scale
    scaled = values if scale == 0 else [value * factor for value in values]
    if not scaled or (min(scaled) > -_LIMIT and max(scaled) < _LIMIT):
        return Scaled(scaled, (), gaps=False)
    return _scale_each(values, scale)


def _scale_known(values: Sequence[Any], scale_them: Callable[[list[Any]], Scaled]) -> Scaled:
    """Return what *scale_them* makes of those of *values* that are not None, with None where the others are."""
    at_known = [at for at, value in enumerate(values) if value is not None]
    scaled = scale_them([values[at] for at in at_known])
    whole: list[int | None] = [None] * len(values)
    for at, number in zip(at_known, scaled.numbers, strict=True):
        whole[at] = number
    return Scaled(whole, [at_known[at] for at in scaled.refused], gaps=True)


def _scale_each(values: Sequence[float | None], scale: int) -> Scaled:
    scaled = [_scale_or_none(value, scale) for value in values]
    refused = [at for at, each in enumerate(scaled) if each is None and values[at] is not None]
    return Scaled(scaled, refused, gaps=None in scaled)


def _scale_or_none(value: float | None, scale: int) -> int | None:
    try:
        return None if value is None else scale_number(value, scale)
    except PoisonRecord:
        return None


def _scale_exactly(value: float, scale: int) -> int:
    return int(_EXACT.to_integral_value(_EXACT.scaleb(Decimal(repr(value)), scale)))


def unscale(scaled: int, scale: int) -> Decimal:
    """Return ``scaled / 10**scale``, exactly."""
    return Decimal(scaled).scaleb(-scale, _UNBOUNDED)


def divide(numerator: int, denominator: int, places: int) -> Decimal:
    """Return ``numerator / denominator`` rounded half to even at *places* decimals; no float on the way."""
    return unscale(quotient(numerator * 10**places, denominator), places)


def quotient(numerator: int, denominator: int) -> int:
    """Return the integer next to ``numerator / denominator``, of two the even one."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    found, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return found + (twice > denominator or (twice == denominator and found & 1))
