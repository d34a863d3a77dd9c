"""Read event times as files write them: instants become ms since the epoch, UTC, rounded down."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import Literal

TimeUnit = Literal["s", "ms"]
ParseTime = Callable[[object], int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?")
_DIGITS = {10: "s", 13: "ms"}  # of an epoch time between September 2001 and November 2286
_FLOOR = Context(prec=60, rounding=ROUND_FLOOR)


def time_parser(unit: TimeUnit | None = None, form: str | None = None) -> ParseTime:
    """Return a function from a column's value to ms since the epoch; it raises ValueError.

    With *form*, values are read by strptime. With *unit*, values are numbers of that unit since the epoch. With
    neither, a number with 10 digits before its point is seconds and one with 13 is ms (2001 to 2286); any other number
    is refused, since nobody can tell; and anything else is ISO 8601. A time without an offset is UTC.
    """
    if form is not None:
        return lambda value: _to_ms(datetime.strptime(_text(value), form))  # noqa: DTZ007 - naive is UTC, see _to_ms
    if unit is not None:
        return lambda value: _epoch_ms(_text(value), unit)
    return _parse


def _parse(value: object) -> int:
    text = _text(value)
    if _NUMBER.fullmatch(text):
        unit = _DIGITS.get(len(text.lstrip("+-").partition(".")[0]))
        if unit is None:
            raise ValueError(
                f"{text!r} could be seconds, ms or a date; say which: --time-unit s, --time-unit ms or --time-format"
            )
        return _epoch_ms(text, unit)
    try:
        return _to_ms(datetime.fromisoformat(text))
    except ValueError as error:
        raise ValueError(
            f"{text!r} is not a time such as 2014-02-14 14:30:00, 2014-02-14T14:30:00.5+01:00 or 1392388200 "
            f"(other forms: --time-format)"
        ) from error


def _epoch_ms(text: str, unit: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number of {unit} since 1970")
    number = Decimal(text) * (1000 if unit == "s" else 1)
    try:
        return int(number.to_integral_value(context=_FLOOR))
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is not a number of {unit} since 1970") from error


def _to_ms(instant: datetime) -> int:
    # Integer division of timedeltas: exact, and rounds down, so that no event moves to the next window.
    try:
        return ((instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - _EPOCH) // _MS
    except OverflowError as error:
        raise ValueError(f"{instant} is outside the years 1 to 9999") from error


def _text(value: object) -> str:
    if isinstance(value, str):
        text = value.strip()
        if not text:
            raise ValueError("is empty; a time is needed")
        return text
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{Decimal(repr(value)):f}"
    raise ValueError(f"{value!r} is not a time")
