"""What each path asks of ``Tables``, and what it makes of the answer."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from processors.live import parameters as p
from processors.live.parameters import Given
from processors.live.problems import Refused
from processors.query.tables import Result, Tables, instant_ms
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.measures.windows import MAX_EVENT_TIME_MS

_MS = re.compile(r"-?[0-9]{1,7}|-?[0-9]{9,20}")  # of eight digits it is a date
# Options of the command line, as messages call them. A parameter has the name, and no dashes.
_OPTION = re.compile(
    r"--(group-by|each-window|any-window|total|top|by|where|select|compare|fill|moving|limit|from|to)\b( N\b)?"
)


def keys(tables: Tables, rollup: str, given: Given, now_ms: int) -> Result:
    """Return the keys that had events in the range: the key's columns only."""
    result = tables.query(
        rollup, **_range(given, now_ms), key=given.key or None, total=True, limit=_limit(given)
    )
    answer = result.answer
    kept = answer.keys
    bare = replace(
        answer,
        names=answer.names[:kept],
        rows=[row[:kept] for row in answer.rows],
        errors={},
        kinds=answer.kinds[:kept],
    )
    return replace(result, answer=bare, about=())


def over_range(tables: Tables, rollup: str, given: Given, now_ms: int) -> Result:
    """Return the windows of the range, of each key, or what is made of them."""
    return tables.query(
        rollup,
        **_range(given, now_ms),
        **_shape(given),
        total=given.get(p.TOTAL, default=False),
        by=given.get(p.BY),
    )


def top(tables: Tables, rollup: str, given: Given, now_ms: int) -> Result:
    """Return the first rows."""
    return tables.query(
        rollup,
        **_range(given, now_ms),
        **_shape(given),
        top=given.get(p.N, 10),
        by=given.get(p.BY, "events"),
        each_window=given.get(p.EACH_WINDOW, default=False),
        any_window=given.get(p.ANY_WINDOW, default=False),
    )


def silent(tables: Tables, rollup: str, given: Given, now_ms: int) -> Result:
    """Return the keys that were not heard of."""
    age = given.get(p.FOR)
    if not _is_age(age):
        raise Refused(400, f"for is {age!r}; it is an age, such as 30m, 1h or 2d")
    result = tables.silent(
        rollup,
        age,
        as_of=_instant(given, p.AT, now_ms),
        start=_instant(given, p.FROM, now_ms),
        key=given.key or None,
        window=given.get(p.WINDOW),
    )
    limit, answer = _limit(given), result.answer
    cut = replace(answer, rows=answer.rows[:limit], left=max(len(answer.rows) - limit, 0))
    return replace(result, answer=cut)


Ask = Callable[[Tables, str, Given, int], Result]


def is_relative(given: Given) -> bool:
    """Tell whether what is asked moves with the clock: an age, or a range without an end."""
    return any(_is_age(given.get(each)) for each in (p.FROM, p.TO)) or given.get(p.TO) is None


def _range(given: Given, now_ms: int) -> Mapping[str, Any]:
    return {
        "window": given.get(p.WINDOW),
        "start": _instant(given, p.FROM, now_ms),
        "end": _instant(given, p.TO, now_ms),
    }


def _shape(given: Given) -> Mapping[str, Any]:
    group_by = given.get(p.GROUP_BY)
    select: dict[str, str] = {}
    for each in given.get(p.SELECT, ()):
        name, equals, expression = each.partition("=")
        if not name or not equals or not expression or name in select:
            raise Refused(400, f"select is name=expression, each name once; {each!r} is not")
        select[name] = expression
    return {
        "key": given.key or None,
        "where": given.get(p.WHERE),
        "group_by": None if group_by is None else list(filter(None, group_by.split(","))),
        "select": select or None,
        "fill": given.get(p.FILL),
        "compare": given.get(p.COMPARE),
        "moving": given.get(p.MOVING, 1),
        "limit": _limit(given),
        "eventual": given.get(p.EVENTUAL, default=False),
    }


def _limit(given: Given) -> int:
    """Return how many rows are wanted: without a limit one more than are sent, so that more of them are seen."""
    limit: int = given.get(p.LIMIT, p.MOST_ROWS + 1)
    return limit


def _instant(given: Given, parameter: p.Parameter, now_ms: int) -> int | None:
    text = given.get(parameter)
    if text is None:
        return None
    try:
        found = int(text) if _MS.fullmatch(text) else instant_ms(text, now_ms=now_ms, default_ms=0)
    except ConfigError as error:
        raise Refused(400, f"{parameter.name}: {error}") from error
    except (ValueError, OverflowError):  # a date whose zone leads out of the calendar
        found = -1
    if found > MAX_EVENT_TIME_MS:
        raise Refused(400, f"{parameter.name}: {text!r} is behind the year 9999")
    return max(found, 0)


def _is_age(text: str | None) -> bool:
    try:
        return text is not None and parse_duration(text) >= 0
    except ValueError:
        return False


def as_parameters(problem: str) -> str:
    """Return *problem* with parameters of HTTP where it names options of the command line."""
    return _OPTION.sub(
        lambda found: found[1].replace("-", "_").replace("top", "n" if found[2] else "top"), problem
    )
