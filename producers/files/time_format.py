"""What strptime makes of a format without a word: 01:00 PM by %H is one o'clock at night, a week without a weekday is January."""

import re
from datetime import datetime

from streamgage.errors import ConfigError

_DIRECTIVE = re.compile(r"%(.)", re.DOTALL)
_YEAR = frozenset("YyGcx")
_DAY = frozenset("djcxuwaA")
_WEEKDAY = frozenset("uwaA")
_CLOCK = frozenset("HIMSfpX")


def check_time_format(form: str) -> None:
    """Look whether a time in *form* says one instant. Raises: ConfigError, with what is missing or meant twice."""
    problem = _problem(form)
    if problem is not None:
        raise ConfigError(f"--time-format {form}: {problem}")


def _problem(form: str) -> str | None:
    found = frozenset(_DIRECTIVE.findall(form)) - {"%"}
    for is_wrong, problem in (
        ("s" in found, "%s is none of strptime's; a number of s since 1970: --time-unit s"),
        (
            "I" in found and "p" not in found,
            "%I is an hour of twelve; of which half of the day? %p, or %H",
        ),
        (
            "p" in found and not found & frozenset("IcX"),
            "%p says which half of the day only beside %I, an hour of twelve; beside %H it is passed over",
        ),
        (
            not found & _YEAR,
            "it says no year: every time would be of 1900. Two columns can be joined: --map ts=Date+Time",
        ),
        (
            found & frozenset("UWV") and not found & _WEEKDAY,
            "a week without its day is passed over: put %u beside it, or have ISO 8601's (2026-W23), without a format",
        ),
        (
            found & _WEEKDAY and not found & frozenset("UWVdjcx"),
            "a day of the week alone says no date, and is passed over",
        ),
        ("d" in found and not found & frozenset("mbBcx"), "a day without its month would be of January"),
        (
            found & _CLOCK and not found & _DAY,
            "a time of day without its day would be of the first of the month, or of the year",
        ),
    ):
        if is_wrong:
            return problem
    try:
        datetime.strptime("", form)  # noqa: DTZ007 - whether it can be read is all that is asked
    except (ValueError, re.error) as error:
        return None if "does not match" in f"{error}" else f"{error}"
    return None
