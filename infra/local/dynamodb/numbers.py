"""DynamoDB's numbers: up to 38 digits, from 1e-130 to 9.99…e+125, as text, and as bytes that sort like them.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
(checked 2026-11-28).
"""

import re
from decimal import Decimal
from functools import lru_cache

from infra.local.dynamodb.errors import invalid

_DIGITS = 38
_LARGEST_EXPONENT, _SMALLEST_EXPONENT = 125, -130
_PLAIN = re.compile(r"0|-?[1-9][0-9]{0,37}").fullmatch
_ANY = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?").fullmatch
_LONGEST = 512  # characters of a number that is looked at
_ZERO = b"\x01"
_BIAS = 1000


def canonical(text: str) -> str:
    """Return the one text of the number *text*: no exponent, no leading or trailing zero.

    Raises:
        DynamoError: it is no number, or has too many digits, or is too large or too small.
    """
    if _PLAIN(text):
        return text
    if len(text) > _LONGEST or not _ANY(text):
        raise invalid("A value provided cannot be converted into a number")
    number = Decimal(text)
    if not number:
        return "0"
    sign, digits, exponent = _parts(number)
    if len(digits) > _DIGITS:
        raise invalid("DynamoDB only supports precision up to 38 digits")
    if exponent > _LARGEST_EXPONENT:
        raise invalid(
            "Number overflow. Attempting to store a number with magnitude larger than supported range"
        )
    if exponent < _SMALLEST_EXPONENT:
        raise invalid(
            "Number underflow. Attempting to store a number with magnitude smaller than supported range"
        )
    if exponent < 0:
        plain = f"0.{'0' * (-exponent - 1)}{digits}"
    elif len(digits) <= exponent + 1:
        plain = digits + "0" * (exponent + 1 - len(digits))
    else:
        plain = f"{digits[: exponent + 1]}.{digits[exponent + 1 :]}"
    return f"-{plain}" if sign else plain


def sortable(text: str) -> bytes:
    """Return bytes that compare as the canonical numbers *text* do."""
    number = Decimal(text)
    if not number:
        return _ZERO
    sign, digits, exponent = _parts(number)
    if not sign:
        return b"\x02" + (_BIAS + exponent).to_bytes(2, "big") + digits.encode("ascii")
    # Of two negative numbers the one with the larger magnitude comes first; 0xff: a longer magnitude is a larger one.
    mirrored = bytes(ord("0") + ord("9") - each for each in digits.encode("ascii"))
    return b"\x00" + (_BIAS - exponent).to_bytes(2, "big") + mirrored + b"\xff"


@lru_cache(maxsize=4096)
def size_bytes(text: str) -> int:
    """Return the size of the canonical number *text*: a byte, and one for each pair of digits; negative one more.

    Pairs count from the decimal point, so that 1.5 has two: 01.50.
    Source: what DynamoDB Local says it consumed (tests/contract/test_dynamodb_differential.py).
    """
    if text == "0":
        return 1
    sign, digits, exponent = _parts(Decimal(text))
    pairs = exponent // 2 - (exponent - len(digits) + 1) // 2 + 1
    return 1 + pairs + sign


def whole_seconds(text: str) -> int | None:
    """Return the canonical number *text* as whole seconds since the epoch, None where it is no time at all."""
    number = Decimal(text)
    return int(number) if 0 <= number < 10**15 else None


def _parts(number: Decimal) -> tuple[int, str, int]:
    """Return sign, significant digits, and the exponent of the first of them."""
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - no infinity gets here: the pattern has none
    text = "".join(map(str, digits))
    first = text.lstrip("0")
    return sign, first.rstrip("0"), exponent + len(first) - 1
