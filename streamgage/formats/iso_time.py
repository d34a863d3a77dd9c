"""Read instants as ISO 8601 and RFC 3339 write them; what another format writes is refused, not guessed.

``datetime.fromisoformat`` is too kind: any character may stand between date and time, so that the date
``2026-01-05-05:00`` (XML Schema, five hours west of UTC) is read as five o'clock.

Source: https://www.rfc-editor.org/rfc/rfc3339 and ISO 8601-1:2019, 5.2 and 5.3.
"""

import re
from datetime import date
from typing import NamedTuple

_DAY_MS = 86_400_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_WHEN = re.compile(
    r"""
    (?: (?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})
      | (?P<year_2>[0-9]{4})(?P<month_2>[0-9]{2})(?P<day_2>[0-9]{2})(?=[Tt])
      | (?P<week_year>[0-9]{4})-?W(?P<week>[0-9]{2})(?:-?(?P<weekday>[1-7]))?
      | (?P<ordinal_year>[0-9]{4})-(?P<ordinal>[0-9]{3})(?![0-9])
    )
    (?: (?:[Tt]|[ ]{1,8})
        (?: (?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<part>[0-9]{1,20}))?)?
          | (?P<hour_2>[0-9]{2})(?P<minute_2>[0-9]{2})(?:(?P<second_2>[0-9]{2})(?:[.,](?P<part_2>[0-9]{1,20}))?)?
        )
        (?: [ ]{0,8} (?: (?P<utc>Z|z|UTC|utc|GMT|gmt)
                       | (?P<sign>[+-])(?P<off_hour>[0-9]{2})(?::?(?P<off_minute>[0-9]{2})(?::?(?P<off_second>[0-9]{2}))?)?
                     )
            (?: [ ][A-Z]{2,5} )?     # Go writes "+0100 CET": the offset says it, the letters repeat it
            (?: \[[A-Za-z0-9_+/-]{1,64}\] )?  # RFC 9557 and Java: "+01:00[Europe/Paris]"
        )?
    )?
    """,
    re.VERBOSE,
)


class IsoTime(NamedTuple):
    """A time of day on a date, in ms since 1970 as if it were UTC, rounded down; ``offset_ms`` None: of an unsaid zone."""

    local_ms: int
    offset_ms: int | None


def parse_iso_time(text: str) -> IsoTime:
    """Return the instant that *text* names. A date alone is its midnight.

    24:00:00 is the next day's 00:00:00. A leap second (23:59:60 UTC, nothing else ends in :60) is the second after it,
    as POSIX counts.

    Raises:
        ValueError: it is none, or there is no such day or hour.
    """
    match = _WHEN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:80]!r} is not a time of ISO 8601")
    part = match.groupdict()

    def number(name: str) -> int:
        return int(part[name] or part.get(f"{name}_2") or 0)

    hour, minute, second = number("hour"), number("minute"), number("second")
    ms = int(((part["part"] or part["part_2"] or "") + "000")[:3])
    offset_ms = _offset_ms(part)
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and (minute or second or ms)):
        raise ValueError(f"{text[:80]!r}: there is no such time of day")
    local_ms = (_day(part, text) - _EPOCH_DAY) * _DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + ms
    if second == 60 and (local_ms - ms - (offset_ms or 0)) % _DAY_MS:
        raise ValueError(f"{text[:80]!r}: only a leap second, 23:59:60 UTC, ends in :60")
    return IsoTime(local_ms, offset_ms)


def _day(part: dict[str, str], text: str) -> int:
    try:
        if part["week_year"]:
            weekday = int(part["weekday"] or 1)
            return date.fromisocalendar(int(part["week_year"]), int(part["week"]), weekday).toordinal()
        if part["ordinal_year"]:
            return _ordinal_day(int(part["ordinal_year"]), int(part["ordinal"]))
        year, month, day = (int(part[each] or part[f"{each}_2"]) for each in ("year", "month", "day"))
        return date(year, month, day).toordinal()
    except ValueError as error:
        raise ValueError(f"{text[:80]!r}: {error}") from error


def _ordinal_day(year: int, ordinal: int) -> int:
    day = date(year, 1, 1).toordinal() + ordinal - 1
    if ordinal < 1 or day > date(year, 12, 31).toordinal():
        raise ValueError("day is out of range for year")
    return day


def _offset_ms(part: dict[str, str]) -> int | None:
    if part["utc"]:
        return 0
    if not part["sign"]:
        return None
    hours, minutes, seconds = (int(part[f"off_{each}"] or 0) for each in ("hour", "minute", "second"))
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(f"{part['sign']}{hours:02d}:{minutes:02d} is no offset from UTC")
    offset_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000
    return -offset_ms if part["sign"] == "-" else offset_ms
