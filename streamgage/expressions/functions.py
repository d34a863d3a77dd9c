"""The functions that an expression may call. Each takes and gives single values; null in, null out."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from streamgage.expressions.kinds import Kind

_TEXT, _NUMBER = Kind.TEXT, Kind.NUMBER
_LAST_MS = 253_402_300_800_000  # 10000-01-01


@dataclass(frozen=True, slots=True)
class Function:
    """A function of values of *takes*, the last *optional* of which may be left out; *constant*: which must be literals."""

    takes: tuple[Kind, ...]
    gives: Kind
    call: Callable[..., Any]
    says: str
    optional: int = 0
    constant: frozenset[int] = frozenset()
    check: Callable[[tuple[Any, ...]], str] = lambda _given: ""
    """Return what is wrong with the literals that were given (None for others); "" where nothing is."""
    is_zoned: bool = False


def host(url: str) -> str | None:
    """Return the host of *url* in lower case, without user and port; None where it has none."""
    _, mark, rest = url.partition("//")
    if not mark:
        return None
    place = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2].lower()
    if place.startswith("["):
        return place.partition("]")[0][1:] or None
    return place.partition(":")[0] or None


def path(url: str) -> str:
    """Return the path of *url*, without host, query and fragment; "/" where it has none."""
    before = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, mark, rest = before.partition("//")
    if mark and (not scheme or scheme.endswith(":")):
        before = "/" + rest.partition("/")[2]
    return before or "/"


_BROWSERS = (
    ("bot", re.compile(r"bot\b|bot/|crawl|spider|slurp|feed|fetch|preview", re.IGNORECASE)),
    ("Edge", re.compile(r"Edge?/|EdgA/|EdgiOS/")),
    ("Opera", re.compile(r"OPR/|Opera")),
    ("Samsung", re.compile(r"SamsungBrowser/")),
    ("Firefox", re.compile(r"Firefox/|FxiOS/")),
    ("Internet Explorer", re.compile(r"MSIE |Trident/")),
    ("Chrome", re.compile(r"Chrome/|Chromium/|CriOS/")),
    ("Safari", re.compile(r"Safari/")),
    ("program", re.compile(r"curl/|Wget/|python|Java/|Go-http|okhttp|libwww|axios|node", re.IGNORECASE)),
)
_READ_CHARACTERS = 1_000


@lru_cache(maxsize=1024)
def browser(user_agent: str) -> str:
    """Return the family that *user_agent* says it is of: coarse, for a share of the whole; "other" of what is not known."""
    head = user_agent[:_READ_CHARACTERS]
    return next((name for name, pattern in _BROWSERS if pattern.search(head)), "other")


def part(text: str, separator: str, number: int) -> str | None:
    """Return the part of *text* between *separator*, from 1 on, from the end where it is negative; None beyond them."""
    parts = text.split(separator)
    at = int(number) - 1 if number > 0 else len(parts) + int(number)
    return parts[at] if 0 <= at < len(parts) else None


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    return ZoneInfo(name)


def _instant(time_ms: Any, zone: str) -> datetime | None:
    if not 0 <= time_ms < _LAST_MS:
        return None
    return datetime.fromtimestamp(int(time_ms) / 1000, _zone(zone) if zone != "UTC" else UTC)


def hour(time_ms: Any, zone: str = "UTC") -> int | None:
    """Return the hour, 0 to 23."""
    instant = _instant(time_ms, zone)
    return None if instant is None else instant.hour


def weekday(time_ms: Any, zone: str = "UTC") -> int | None:
    """Return the day of the week: 1 is Monday, 7 Sunday."""
    instant = _instant(time_ms, zone)
    return None if instant is None else instant.isoweekday()


def day(time_ms: Any, zone: str = "UTC") -> str | None:
    """Return the day, ``2015-05-17``."""
    instant = _instant(time_ms, zone)
    return None if instant is None else instant.date().isoformat()


def bucket(value: Any, size: Any) -> Any:
    """Return the multiple of *size* at or below *value*."""
    below = value // size * size
    return below - size if below > value else below  # decimals are divided towards 0


def _good_zone(given: tuple[Any, ...]) -> str:
    name = given[1] if len(given) > 1 else "UTC"
    try:
        _zone(name)
    except (KeyError, ValueError, OSError, TypeError):
        return f"{name!r} is no time zone that is known here"
    return ""


def _good_part(given: tuple[Any, ...]) -> str:
    if not given[1]:
        return "the separator is empty"
    return "" if given[2] and given[2] == int(given[2]) else "parts are counted from 1, or from -1 at the end"


def _timed(gives: Kind, call: Callable[..., Any], says: str) -> Function:
    return Function(
        (_NUMBER, _TEXT),
        gives,
        call,
        says,
        optional=1,
        constant=frozenset({1}),
        check=_good_zone,
        is_zoned=True,
    )


FUNCTIONS: dict[str, Function] = {
    "lower": Function((_TEXT,), _TEXT, str.lower, "the text in lower case"),
    "upper": Function((_TEXT,), _TEXT, str.upper, "the text in upper case"),
    "length": Function((_TEXT,), _NUMBER, len, "how many characters the text has"),
    "host": Function((_TEXT,), _TEXT, host, "the host of a URL, in lower case; null where it has none"),
    "path": Function((_TEXT,), _TEXT, path, "the path of a URL, without query and fragment"),
    "browser": Function(
        (_TEXT,), _TEXT, browser, "the family of a user agent: Chrome, Firefox, bot, … or other"
    ),
    "part": Function(
        (_TEXT, _TEXT, _NUMBER),
        _TEXT,
        part,
        "the n-th part of a text between separators; -1 is the last; null beyond them",
        constant=frozenset({1, 2}),
        check=_good_part,
    ),
    "hour": _timed(_NUMBER, hour, "the hour of a time in ms, 0 to 23, in UTC or in a zone"),
    "weekday": _timed(_NUMBER, weekday, "the day of the week of a time in ms, 1 is Monday"),
    "day": _timed(_TEXT, day, "the day of a time in ms, 2015-05-17"),
    "abs": Function((_NUMBER,), _NUMBER, abs, "the number without its sign"),
    "bucket": Function(
        (_NUMBER, _NUMBER),
        _NUMBER,
        bucket,
        "the multiple of a size at or below a number",
        constant=frozenset({1}),
        check=lambda given: "" if given[1] > 0 else "the size of a bucket is more than 0",
    ),
}
"""Every function by name, but for ``coalesce`` and ``if``, whose kinds depend on what they are given."""
