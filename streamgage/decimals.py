"""Exact numbers: a measured value is an integer at a decimal scale, so that a sum does not depend on order."""

from decimal import ROUND_HALF_EVEN, Context, Decimal

from streamgage.errors import PoisonRecord
from streamgage.limits import DYNAMODB_NUMBER_DIGITS

_LIMIT = 10**DYNAMODB_NUMBER_DIGITS
_EXACT = Context(prec=400, rounding=ROUND_HALF_EVEN)  # a double has at most 309 digits before its point
# Below this, v * 10**scale in floating point is off by less than 2**-8: rounding it is safe unless it lies
# within 0.01 of a half. That decides all but a few values without Decimal, about ten times faster.
_FAST_LIMIT = 2.0**44


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


def _scale_exactly(value: float, scale: int) -> int:
    return int(_EXACT.to_integral_value(_EXACT.scaleb(Decimal(repr(value)), scale)))


def unscale(scaled: int, scale: int) -> Decimal:
    """Return ``scaled / 10**scale``, exactly."""
    return Decimal(scaled).scaleb(-scale, Context(prec=max(len(str(scaled)), 1) + scale + 1))


def divide(numerator: int, denominator: int, places: int) -> Decimal:
    """Return ``numerator / denominator`` rounded half to even at *places* decimals; no float on the way."""
    negative = (numerator < 0) != (denominator < 0)
    quotient, rest = divmod(abs(numerator) * 10**places, abs(denominator))
    twice = 2 * rest
    if twice > abs(denominator) or (twice == abs(denominator) and quotient % 2):
        quotient += 1
    return unscale(-quotient if negative else quotient, places)
