"""The parameters of each path: what they are, in one table for who reads them and for who reads of them (OpenAPI)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from processors.live.problems import Refused, nearest
from processors.live.request import Pairs

MOST_ROWS = 100_000
KEY_PREFIX = "key."
_DIGITS = 9

Schema = Mapping[str, Any]
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_ROWS}
_TEXT: Schema = {"type": "string", "minLength": 1}
_TIME: Schema = {"type": "string", "minLength": 1, "maxLength": 64}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name, its JSON Schema, a sentence and an example for people."""

    name: str
    schema: Schema
    says: str
    example: Any
    is_repeatable: bool = False
    is_required: bool = False

    def read(self, text: str) -> Any:
        """Return the value that *text* is. Raises: ValueError, which says what would be one."""
        kind = self.schema["type"]
        if kind == "boolean":
            if text not in ("true", "false"):
                raise ValueError("true or false")
            return text == "true"
        if kind == "integer":
            low, high = self.schema["minimum"], self.schema["maximum"]
            digits = text.isascii() and text.isdecimal() and len(text) <= _DIGITS
            if not digits or not low <= int(text) <= high:
                raise ValueError(f"a whole number from {low} to {high:,}")
            return int(text)
        if "enum" in self.schema and text not in self.schema["enum"]:
            raise ValueError(" or ".join(self.schema["enum"]))
        if not self.schema.get("minLength", 0) <= len(text) <= self.schema.get("maxLength", len(text)):
            raise ValueError("some text" if not text else f"{self.schema['maxLength']} characters at most")
        return text


def _parameter(name: str, schema: Schema, example: Any, says: str) -> Parameter:
    return Parameter(name, schema, says, example)


WINDOW = _parameter(
    "window", _TEXT, "1h", "15m, 1h, 1d, 1w, 1mo, 1d@Europe/Berlin; the smallest of the rollup by default"
)
FROM = _parameter(
    "from",
    _TIME,
    "2015-05-17",
    "windows that end after it: ISO date or time (UTC), an age such as 2h, or ms since the epoch",
)
TO = _parameter("to", _TIME, "2015-05-21", "windows that begin before it; the same forms")
LIMIT = _parameter(
    "limit", _COUNT, 1000, "so many rows at most; `left` says how many more there are, of which none is sent"
)
GROUP_BY = _parameter(
    "group_by",
    {"type": "string"},
    "page",
    "merge keys that share these fields, with commas between; empty: all keys",
)
TOTAL = _parameter("total", _FLAG, True, "one row a key, over all windows of the range")
WHERE = _parameter("where", _TEXT, "events > 100", "which rows, by an expression")
SELECT = Parameter(
    "select",
    {"type": "string", "pattern": "^[^=]+=.+$"},
    "one more column: name=expression",
    "each=bytes.sum/events",
    is_repeatable=True,
)
FILL = _parameter(
    "fill",
    {"type": "string", "enum": ["null", "zero", "previous"]},
    "zero",
    "rows for windows without events",
)
COMPARE = _parameter(
    "compare", _TEXT, "previous", "beside each row an earlier one: previous, or how long before, such as 7d"
)
MOVING = _parameter(
    "moving",
    {"type": "integer", "minimum": 1, "maximum": 1000},
    7,
    "each row of so many windows up to its own",
)
BY = _parameter("by", _TEXT, "events", "by what rows are ranked, or what is compared")
EVENTUAL = _parameter(
    "eventual",
    _FLAG,
    True,
    "read what is over at half the price, with eventual consistency; none of it is called complete",
)
N = _parameter("n", _COUNT, 10, "so many rows")
EACH_WINDOW = _parameter("each_window", _FLAG, True, "the first of each window")
ANY_WINDOW = _parameter("any_window", _FLAG, True, "the first rows of any window: the busiest hours")
FOR = Parameter("for", _TIME, "silent for so long: 1h", "1h", is_required=True)
AT = _parameter("at", _TIME, "2014-04-24T01:00", "by then, not by now; the same forms as from")

KEYS = (WINDOW, FROM, TO, LIMIT)
RANGE = (
    WINDOW, FROM, TO, GROUP_BY, TOTAL, WHERE, SELECT, FILL, COMPARE, BY, MOVING, LIMIT, EVENTUAL,
)  # fmt: skip
TOP = (
    N, BY, WINDOW, EACH_WINDOW, ANY_WINDOW, FROM, TO, GROUP_BY, WHERE, SELECT, FILL, COMPARE, MOVING, LIMIT, EVENTUAL,
)  # fmt: skip
SILENT = (FOR, AT, FROM, WINDOW, LIMIT)


@dataclass(frozen=True, slots=True)
class Given:
    """What was given: values by name, and patterns of fields of the key."""

    values: Mapping[str, Any] = field(default_factory=dict)
    key: Mapping[str, str] = field(default_factory=dict)

    def get(self, parameter: Parameter, default: Any = None) -> Any:
        """Return what was given of *parameter*."""
        return self.values.get(parameter.name, default)


def read(pairs: Pairs, known: Sequence[Parameter], *, fields: Sequence[str] | None = None) -> Given:
    """Return what *pairs* say, of *known* parameters and, where there are *fields* of a key, of ``key.<field>``.

    Raises:
        Refused: 400, with every problem: unknown, repeated, missing, or no such value.
    """
    by_name = {each.name: each for each in known}
    names = [*by_name, *(f"{KEY_PREFIX}{each}" for each in fields or ())]
    values: dict[str, Any] = {}
    key: dict[str, str] = {}
    problems: list[str] = []
    for name, text in pairs:
        parameter = by_name.get(name)
        if parameter is None and name not in names:
            problems.append(f"there is no parameter {name!r} here{nearest(name, names)}")
        elif name in values or name.removeprefix(KEY_PREFIX) in key:
            if parameter is not None and parameter.is_repeatable:
                values[name].append(text)
            else:
                problems.append(f"{name} is given more than once")
        elif parameter is None:
            key[name.removeprefix(KEY_PREFIX)] = text
        else:
            _put(values, parameter, text, problems.append)
    problems += [
        f"{each.name} is missing: {each.says}"
        for each in known
        if each.is_required and each.name not in values
    ]
    if problems:
        raise Refused(400, *dict.fromkeys(problems))
    return Given(values, key)


def _put(values: dict[str, Any], parameter: Parameter, text: str, tell: Callable[[str], None]) -> None:
    """Note what *text* says, and be told where it says nothing."""
    values[parameter.name] = None
    try:
        value = parameter.read(text)
    except ValueError as error:
        tell(f"{parameter.name} is {text!r}; it is {error}")
    else:
        values[parameter.name] = [value] if parameter.is_repeatable else value
