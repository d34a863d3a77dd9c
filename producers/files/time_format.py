"""What strptime makes of a format without a word: 01:00 PM by %H is one o'clock at night, a week without a weekday is January."""

import re
from datetime import datetime

from streamgage.errors import ConfigError

_DIRECTIVE = re.compile(r"%(.)", re.DOTALL)
_YEAR = frozenset("YyGcx")
_DAY = frozenset("djcxuwaA")
_CLOCK = frozenset("HIMSfpX")


def check_time_format(form: str) -> None:
    """Look whether a time in *form* says one instant. Raises: ConfigError, with what is missing or meant twice."""
    problem = _problem(form)
    if problem is not None:
        raise ConfigError(f"--time-format {form}: {problem}")


def _problem(form: str) -> str | None:
    found = frozenset(_DIRECTIVE.findall(form)) - {"%"}
    if "s" in found:
        return "%s is none of strptime's; a number of s since 1970: --time-unit s"
    if "I" in found and "p" not in found:
        return "%I is an hour of twelve; of which half of the day? %p, or %H"
    if "p" in found and not found & frozenset("IcX"):
        return "%p says which half of the day only beside %I, an hour of twelve; beside %H it is passed over"
    if not found & _YEAR:
        return "it says no year: every time would be of 1900. Two columns can be joined: --map ts=Date+Time"
    if found & frozenset("UWV") and not found & frozenset("uwaA"):
        return "a week without its day is passed over: put %u beside it, or an ISO 8601 week date (2026-W23) without a format"
    if found & frozenset("uwaA") and not found & frozenset("UWVdjcx"):
        return "a day of the week alone says no date, and is passed over"
    if "d" in found and not found & frozenset("mbBcx"):
        return "a day without its month would be of January"
    if found & _CLOCK and not found & _DAY:
        return "a time of day without its day would be of the first of the month, or of the year"
    try:
        datetime.strptime("", form)  # noqa: DTZ007 - whether it can be read is all that is asked
    except (ValueError, re.error) as error:
        return None if "does not match" in f"{error}" else f"{error}"
    return None
