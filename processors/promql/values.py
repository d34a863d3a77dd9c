"""Numbers and instants as Prometheus' HTTP API writes and reads them."""

import math
import re
from datetime import UTC, datetime
from decimal import Decimal

from processors.promql.errors import bad_data
from streamgage.measures.windows import MAX_EVENT_TIME_MS

_DURATION = re.compile(
    r"(?:([0-9]+)y)?(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?"
)
_UNITS_MS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_MOST_CHARACTERS = 64


def value_text(value: float) -> str:
    """Return *value* with as many digits as tell it from its neighbours, in the form of Go's JSON of floats."""
    text = repr(value)
    if text.endswith(".0"):
        return text[:-2]
    if "e" not in text:
        return text if math.isfinite(value) else {"inf": "+Inf", "-inf": "-Inf"}.get(text, "NaN")
    return f"{Decimal(text):f}" if 1e-6 <= abs(value) < 1e21 else text


def second(instant_ms: int) -> float | int:
    """Return an instant in seconds since the epoch."""
    return instant_ms // 1000 if instant_ms % 1000 == 0 else instant_ms / 1000


def parse_instant(name: str, text: str) -> int:
    """Return the instant that the parameter *name* says, in ms: seconds since the epoch, or RFC 3339.

    Raises:
        QueryError: ``bad_data``, it is none, or not between 1970 and the year 10000.
    """
    instant_ms: float | None = None
    if len(text) <= _MOST_CHARACTERS and _NUMBER.fullmatch(text):
        instant_ms = float(text) * 1000
    elif len(text) <= _MOST_CHARACTERS and "T" in text.upper():
        try:
            read = datetime.fromisoformat(text)
            instant_ms = (
                None
                if read.tzinfo is None
                else (read - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000
            )
        except ValueError:
            pass
    if instant_ms is None:
        raise bad_data(
            f'invalid parameter "{name}": cannot parse {text[:_MOST_CHARACTERS]!r} to a valid timestamp: seconds since the epoch, or '
            "2015-05-17T10:00:00Z"
        )
    if not 0 <= instant_ms < MAX_EVENT_TIME_MS:
        raise bad_data(f'invalid parameter "{name}": {text!r} is not between the years 1970 and 9999')
    return round(instant_ms)


def parse_step(name: str, text: str) -> int:
    """Return the duration that the parameter *name* says, in ms: seconds, or ``1h30m``.

    Raises:
        QueryError: ``bad_data``, it is none, or shorter than 1 ms.
    """
    step_ms = 0.0
    if len(text) <= _MOST_CHARACTERS and _NUMBER.fullmatch(text):
        step_ms = float(text) * 1000
    elif text and len(text) <= _MOST_CHARACTERS and (match := _DURATION.fullmatch(text)):
        step_ms = sum(
            int(count) * unit for count, unit in zip(match.groups(), _UNITS_MS, strict=True) if count
        )
    else:
        raise bad_data(
            f'invalid parameter "{name}": cannot parse {text[:_MOST_CHARACTERS]!r} to a valid duration: seconds, or 1h30m'
        )
    if not 1 <= step_ms < MAX_EVENT_TIME_MS:
        raise bad_data(
            f'invalid parameter "{name}": zero or negative query resolution step widths are not accepted, nor others than of 1 ms to '
            "8,000 years. Try a positive integer"
        )
    return round(step_ms)
