"""Durations as people write them: ``"5m"`` is 300,000 ms."""

import re

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PATTERN = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")


def parse_duration(text: str) -> int:
    """Return the duration in ms.

    Raises:
        ValueError: *text* is not a whole number and a unit; the message says what is.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError('a duration is a whole number and a unit: "500ms", "30s", "5m", "1h" or "7d"')
    return int(match[1]) * _UNITS_MS[match[2]]


def format_duration(duration_ms: int) -> str:
    """Return *duration_ms* in the largest unit that it is a multiple of: the inverse of parse_duration."""
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(duration_ms, _UNITS_MS[unit])
        if rest == 0 and count > 0:
            return f"{count}{unit}"
    return f"{duration_ms}ms"
