"""Local times of a zone, with the two hours a year in which a clock does not tell the time."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streamgage.errors import ConfigError

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock's
_UTC_EPOCH = _EPOCH.replace(tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")


class LocalTimes:
    """Turns what a wall clock showed into instants.

    An hour that came twice (clocks were put back) is taken for its first, in summer time; ``ambiguous`` counts such
    times. One that never was (clocks were put forward) is refused; ``missing`` counts those.
    """

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone
        self.ambiguous = 0
        self.missing = 0

    def instant_ms(self, local_ms: int) -> int:
        """Return the instant at which the clock showed *local_ms*. Raises: ValueError, it never did."""
        try:
            first = (_EPOCH + local_ms * _MS).replace(tzinfo=self.zone)
            instant_ms = (first - _UTC_EPOCH) // _MS
            second_ms = (first.replace(fold=1) - _UTC_EPOCH) // _MS
        except OverflowError as error:
            raise ValueError(f"{local_ms} ms is outside the years 1 to 9999") from error
        if second_ms > instant_ms:
            self.ambiguous += 1
        elif second_ms < instant_ms:
            self.missing += 1
            shown = first.replace(tzinfo=None).isoformat(sep=" ")
            raise ValueError(
                f"{shown} never was in {self.zone}: clocks were put forward. Is it another zone?"
            )
        return instant_ms


def find_zone(name: str) -> tzinfo:
    """Return the zone *name*: ``Europe/Berlin``, ``UTC`` or an offset such as ``+05:30``. Raises: ConfigError."""
    if match := _OFFSET.fullmatch(name):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if offset < timedelta(days=1):
            return timezone(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"--timezone {name}: no such zone; write it as Europe/Berlin, America/New_York or +05:30 "
            "(where a machine has no zones: pip install tzdata)"
        ) from error
