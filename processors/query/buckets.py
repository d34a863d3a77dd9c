"""Coarser windows: what the windows that are kept are merged into, by the clock of UTC or of a place."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo

from streamgage.durations import format_duration, parse_duration
from streamgage.errors import ConfigError
from streamgage.measures.windows import MAX_EVENT_TIME_MS, TumblingWindows, Window

_PATTERN = re.compile(r"([0-9]{1,4})(d|w|mo|y)(?:@([A-Za-z0-9_+/-]{1,64}))?")
_MONDAY_MS = 4 * 86_400_000  # 1970-01-05
_WEEK_MS = 7 * 86_400_000
_LAST_CHECKED_MS = 4_102_444_800_000  # 2100: rules of time zones are not known that far
_NO_DATES_MS = MAX_EVENT_TIME_MS - 2 * 86_400_000
HOW_TO_SAY = 'a size such as 15m, 6h, 1d, 1w, 1mo or 1y; of days and more with a place: "1d@Europe/Berlin"'


class Buckets(Protocol):
    """Windows without gaps, in the order of time."""

    @property
    def label(self) -> str:
        """What a person calls them."""

    def window_of(self, instant_ms: int) -> Window:
        """Return the one that holds *instant_ms*."""


@dataclass(frozen=True, slots=True)
class FixedBuckets:
    """Windows of one size, of which one begins at *origin_ms*."""

    size_ms: int
    origin_ms: int = 0

    @property
    def label(self) -> str:
        """Its size."""
        weeks, rest = divmod(self.size_ms, _WEEK_MS)
        return f"{weeks}w" if self.origin_ms and not rest else format_duration(self.size_ms)

    def window_of(self, instant_ms: int) -> Window:
        """Return the one that holds *instant_ms*."""
        start_ms = instant_ms - (instant_ms - self.origin_ms) % self.size_ms
        return Window(start_ms, start_ms + self.size_ms)


@dataclass(frozen=True, slots=True)
class RangeBucket:
    """One window: all that is asked for."""

    window: Window
    label: str = "all"

    def window_of(self, instant_ms: int) -> Window:  # noqa: ARG002 - there is one
        """Return it."""
        return self.window


@dataclass(slots=True)
class CalendarBuckets:
    """Days, weeks from Monday, months or years, by the clock of *zone*: a day has 23 to 25 hours."""

    label: str
    zone: tzinfo
    begin: Callable[[date], date]
    following: Callable[[date], date]
    _last: Window = field(default_factory=lambda: Window(0, 0))

    def window_of(self, instant_ms: int) -> Window:
        """Return the one that holds *instant_ms*."""
        if instant_ms >= _NO_DATES_MS:  # a zone's clock may be in the year 10000 by then
            return Window(_NO_DATES_MS, max(MAX_EVENT_TIME_MS, instant_ms + 1))
        if not self._last.start_ms <= instant_ms < self._last.end_ms:
            local = datetime.fromtimestamp(instant_ms / 1000, self.zone).date()
            first = self.begin(local)
            self._last = Window(self._midnight_ms(first), self._midnight_ms(self.following(first)))
        return self._last

    def _midnight_ms(self, day: date) -> int:
        """Return when *day* begins; where its midnight is skipped, the instant of the jump; where it comes twice, the first."""
        if day == date.max:
            return _NO_DATES_MS
        begins_ms = round(datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp() * 1000)
        return min(begins_ms, _NO_DATES_MS)


def parse_buckets(text: str) -> Buckets:
    """Return the windows that *text* names. Raises: ConfigError, it is none."""
    match = _PATTERN.fullmatch(text)
    if match is None or (match[2] == "d" and match[3] is None):
        try:
            size_ms = parse_duration(text)
        except ValueError:
            size_ms = 0
        if not size_ms:
            raise ConfigError(f"{text!r} is not a window: {HOW_TO_SAY}")
        return FixedBuckets(size_ms)
    count, unit = int(match[1]), match[2]
    if not count:
        raise ConfigError(f"{text!r} is nothing at all; a window is {HOW_TO_SAY}")
    if unit == "w" and match[3] is None:
        return FixedBuckets(count * _WEEK_MS, _MONDAY_MS)
    return _calendar(text, count, unit, _zone(match[3]))


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(
            f"{name!r} is no time zone that is known here, such as Europe/Berlin (where the system has none: pip install tzdata)"
        ) from error


def _calendar(text: str, count: int, unit: str, zone: tzinfo) -> Buckets:
    if unit in ("d", "w"):
        if count > 1:
            raise ConfigError(
                f"{text!r}: by the clock of a place there are windows of 1d and 1w, or of months"
            )
        days = 1 if unit == "d" else 7
        return CalendarBuckets(
            text,
            zone,
            lambda day: day - timedelta(days=day.weekday() if unit == "w" else 0),
            lambda day: day + timedelta(days=days) if date.max - day >= timedelta(days=days) else date.max,
        )
    months = count * (12 if unit == "y" else 1)
    if (months > 12 and months % 12) or (months <= 12 and 12 % months):
        raise ConfigError(f"{text!r} does not divide a year: 1mo, 2mo, 3mo, 4mo, 6mo, or whole years")
    return CalendarBuckets(text, zone, lambda day: _month(day, months, 0), lambda day: _month(day, months, 1))


def _month(day: date, months: int, ahead: int) -> date:
    """Return the first day of the run of *months* that holds *day*, or of one *ahead* of it."""
    number = (day.year * 12 + day.month - 1) // months * months + ahead * months
    if number < 12:  # there is no year 0
        return date.min
    return date(number // 12, number % 12 + 1, 1) if number < 10_000 * 12 else date.max


def windows_for(
    buckets: Buckets, kept: Sequence[TumblingWindows], from_ms: int, to_ms: int
) -> TumblingWindows | None:
    """Return the largest of *kept* whose windows each lie in one of *buckets*, over the range; None where none does."""
    starts = _boundaries(buckets, from_ms, to_ms)
    for windows in sorted(kept, key=lambda each: -each.size_ms):
        if all(start % windows.size_ms == 0 for start in starts):
            return windows
    return None


def _boundaries(buckets: Buckets, from_ms: int, to_ms: int) -> set[int]:
    """Return where one of *buckets* ends and the next begins, as far as it decides which windows fit."""
    if isinstance(buckets, FixedBuckets):
        return {buckets.origin_ms, buckets.size_ms}
    if isinstance(buckets, RangeBucket):
        return set()
    starts: set[int] = set()
    at, last = max(from_ms, 0), min(to_ms, _LAST_CHECKED_MS)
    while at < last:
        window = buckets.window_of(at)
        starts.add(window.start_ms)
        at = max(window.end_ms, at + 1)
    return {each for each in starts if each >= 0}
