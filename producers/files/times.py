"""Read event times as files write them: instants become ms since the epoch, UTC, rounded down."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Literal

from producers.files.zones import LocalTimes
from streamgage.formats.iso_time import parse_iso_time
from streamgage.formats.json_event import TimeUnit, json_time_ms

ParseTime = Callable[[object], int]
Numbers = Literal["by digits", "as JSON"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?")
_DIGITS: dict[int, TimeUnit] = {
    10: "s",
    13: "ms",
}  # of an epoch time between September 2001 and November 2286
_LIKELY = {16: "us", 19: "ns"}
_PER_MS = {"s": Decimal("0.001"), "ms": Decimal(1), "us": Decimal(1000), "ns": Decimal(1_000_000)}
_FLOOR = Context(prec=60, rounding=ROUND_FLOOR)
_ZONE_NAME = re.compile(
    r"(?<![A-Za-z0-9_/])(UTC|GMT|Z)(?![A-Za-z0-9_/+-])|(?<=[0-9])Z(?![A-Za-z0-9_/+-])", re.IGNORECASE
)


class TimeReader:
    """Reads a column of event times.

    With *form*, values are read by strptime. With *unit*, numbers are of that unit since the epoch. With neither, a
    number of 10 digits before its point is s and one of 13 is ms (2001 to 2286), all of one file the same; any other
    number is refused, since nobody can tell; and anything else is ISO 8601. *numbers* "as JSON" follows the rules of
    JSON events instead.

    A time without an offset is of *zone* (UTC without one). ``local`` counts what that meant; ``assumed`` counts times
    that were taken for UTC because nothing said otherwise.
    """

    def __init__(
        self,
        unit: TimeUnit | None = None,
        form: str | None = None,
        *,
        zone: tzinfo | None = None,
        numbers: Numbers = "by digits",
    ) -> None:
        self.assumed = 0
        self.local = None if zone is None else LocalTimes(zone)
        self._unit = unit
        self._form = form
        self._as_json = numbers == "as JSON"
        self._guessed: TimeUnit | None = None

    def __call__(self, value: object) -> int:
        """Return ms since the epoch. Raises: ValueError, with what would be right."""
        if self._form is not None:
            return self._formatted(_text(value), self._form)
        if self._as_json:
            return self._json(value)
        text = _text(value)
        if _NUMBER.fullmatch(text):
            return _epoch_ms(text, self._unit or self._guess(text))
        return self._iso(text)

    def _json(self, value: object) -> int:
        if isinstance(value, str) and self.local is not None and not _NUMBER.fullmatch(value):
            return self._iso(value.strip())
        return json_time_ms(value, self._unit)

    def _guess(self, text: str) -> TimeUnit:
        whole = text.removeprefix("+").partition(".")[0]
        digits = len(whole)
        unit = None if whole[0] in "-0" else _DIGITS.get(digits)  # before 2001 either may be meant
        if unit is None:
            likely = f" (its length is that of {_LIKELY[digits]})" if digits in _LIKELY else ""
            raise ValueError(
                f"{text!r} could be s, ms, µs, ns or a date{likely}; say which: --time-unit s|ms|us|ns, or --time-format"
            )
        if unit != (self._guessed or unit):
            raise ValueError(
                f"{text!r} looks like {unit}, those before it like {self._guessed}; say --time-unit"
            )
        self._guessed = unit
        return unit

    def _iso(self, text: str) -> int:
        try:
            local_ms, offset_ms = parse_iso_time(text)
        except ValueError as error:
            if self._unit is not None:
                raise ValueError(
                    f"{text!r} is not a number of {self._unit} since 1970, nor ISO 8601"
                ) from error
            raise ValueError(
                f"{text!r} is not a time such as 2014-02-14 14:30:00, 2014-02-14T14:30:00.5+01:00 or 1392388200 "
                f"(other forms: --time-format): {error}"
            ) from error
        if self._unit is not None:
            raise ValueError(f"{text!r} is not a number of {self._unit} since 1970")
        return self._instant(local_ms, offset_ms)

    def _instant(self, local_ms: int, offset_ms: int | None) -> int:
        if offset_ms is not None:
            return local_ms - offset_ms
        if self.local is not None:
            return self.local.instant_ms(local_ms)
        self.assumed += 1
        return local_ms

    def _formatted(self, text: str, form: str) -> int:
        if "%Z" in form:
            text, form = _without_zone_name(text, form)
        instant = datetime.strptime(text, form)  # noqa: DTZ007 - naive is of the zone, see _instant
        offset = instant.utcoffset()
        local_ms = (instant.replace(tzinfo=UTC) - _EPOCH) // _MS
        return self._instant(local_ms, None if offset is None else offset // _MS)


def time_parser(unit: TimeUnit | None = None, form: str | None = None) -> ParseTime:
    """Return a function from a column's value to ms since the epoch; it raises ValueError. See TimeReader."""
    return TimeReader(unit, form)


def _without_zone_name(text: str, form: str) -> tuple[str, str]:
    """Return both with an offset for the zone's name.

    strptime takes the name of the machine's own zone too, and throws each away: 12:00 EST would be 12:00 UTC.
    """
    changed, count = _ZONE_NAME.subn("+0000", text, count=1)
    if not count:
        raise ValueError(
            f"{text!r} names a zone other than UTC, and a name may stand for several; cut it from the column and say "
            "--timezone America/New_York (or whichever), or write offsets (%z)"
        )
    return changed, form.replace("%Z", "%z")


def _epoch_ms(text: str, unit: str) -> int:
    number = _FLOOR.divide(Decimal(text), _PER_MS[unit])
    if number.adjusted() > 20:
        raise ValueError(f"{text!r} is not a number of {unit} since 1970")
    return int(number.to_integral_value(context=_FLOOR))


def _text(value: object) -> str:
    if isinstance(value, str):
        text = value.strip()
        if not text:
            raise ValueError("is empty; a time is needed")
        return text
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{Decimal(repr(value)):f}"
    raise ValueError(f"{value!r} is not a time")
