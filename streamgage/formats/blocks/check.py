"""The check that nearly every event passes on its way into a block, compiled for one schema.

A loop over the fields would take three times as long: of all that a producer does with an event this is the most.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from operator import contains, itemgetter
from typing import Any

from streamgage.formats.blocks.columns import ColumnType
from streamgage.formats.blocks.ints import LONG_MAX, LONG_MIN

# The very types that decoding gives. Others may fit too (an int a double, a numpy.float64): that takes a closer look.
EXACT_TYPES: Mapping[str, type] = {
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "string": str,
    "enum": str,
}
RANGES: Mapping[str, tuple[int, int]] = {"int": (-(2**31), 2**31 - 1), "long": (LONG_MIN, LONG_MAX)}

Check = Callable[[Any], tuple[Any, ...] | None]


def compile_check(columns: Sequence[ColumnType], defaults: Mapping[str, Any]) -> Check:
    """Return a function that gives an event's values by column, or None where a closer look is due.

    It gives them where the event is a dict, has no unknown field and no missing one without default, each value has its
    column's exact type and range, and none is of an Avro type other than null. Texts may still not be UTF-8.
    """
    # In place of a missing field stands its default, or what no column holds.
    known: dict[str, Any] = {f"d{at}": defaults.get(each.name, ...) for at, each in enumerate(columns)}
    known |= {f"s{at}": frozenset(each.symbols) for at, each in enumerate(columns)}
    required = sum(each.name not in defaults for each in columns)
    optional = [each.name for each in columns if each.name in defaults]
    fields = [f"v{at} = get({each.name!r}, d{at})" for at, each in enumerate(columns)]
    names = "".join(f"v{at}, " for at in range(len(columns)))
    present = " + ".join([str(required), *(f"({name!r} in event)" for name in optional)])
    conditions = [f"len(event) == {present}", *map(_condition, range(len(columns)), columns)]
    lines = [
        "def check(event):",
        " if type(event) is dict:",
        "  get = event.get",
        *(f"  {each}" for each in fields),
        f"  if {' and '.join(conditions)}:",
        f"   return ({names})",
        " return None",
    ]
    # Nothing of the text comes from outside the program but field names, as literals; a schema's are identifiers.
    exec("\n".join(lines), known)  # noqa: S102 - see the module
    check: Check = known["check"]
    return check


def _condition(at: int, column: ColumnType) -> str:
    value = f"v{at}"
    if column.kind == "avro":
        # Also what is null, where null is no branch of its own: as a value of this column it is encoded.
        return f"{value} is None" if column.null_branch is not None else "False"
    condition = f"type({value}) is {EXACT_TYPES[column.kind].__name__}"
    if column.kind in RANGES:
        low, high = RANGES[column.kind]
        condition += f" and {low} <= {value} <= {high}"
    if column.kind == "enum":
        condition += f" and {value} in s{at}"
    return condition if column.null_branch is None else f"({value} is None or {condition})"


def values_by_column(
    columns: Sequence[ColumnType],
    defaults: Mapping[str, Any],
    ranges: Mapping[str, tuple[int, int]],
    events: Sequence[Any],
) -> list[list[Any]] | None:
    """Return column by column what ``compile_check``'s function gives of each of *events*; None: a closer look is due.

    At least one event; integers of the columns in *ranges*, by name, are to be within these. Everything is one call for
    all events, in C.
    """
    if set(map(type, events)) != {dict}:
        return None
    count, given = len(events), sum(each.name in events[0] for each in columns)
    whole = sum(map(len, events))
    uniform = (
        whole == count * given
    )  # then all have the first one's fields, or a field that one has is missing
    found, fields = [], 0
    for column in columns:
        name, there = column.name, count
        try:
            values = list(map(itemgetter(name), events))
        except KeyError:
            if name not in defaults or (uniform and name in events[0]):
                return None
            default, there = defaults[name], 0 if uniform else sum(map(contains, events, repeat(name)))
            if not there and default is None and column.null_branch is not None:
                found.append([None] * count)
                continue
            values = [each.get(name, default) for each in events]
        if not _all_fit(column, values, ranges.get(name)):
            return None
        found.append(values)
        fields += there
    # No event has fewer fields than were found in it: with the sums equal, none has an unknown one.
    return found if whole == fields else None


def _all_fit(column: ColumnType, values: list[Any], within: tuple[int, int] | None) -> bool:
    """Tell of each of *values* what ``_condition`` says, and whether all integers are *within* what is asked for."""
    types = set(map(type, values))
    if type(None) in types:
        if column.null_branch is None:
            return False
        if len(types) == 1:
            return True
        types.discard(type(None))
        values = [each for each in values if each is not None]
    if column.kind == "avro" or types != {EXACT_TYPES[column.kind]}:
        return False
    if column.kind in RANGES:
        low, high = within or RANGES[column.kind]
        return bool(low <= min(values) and max(values) <= high)
    return column.kind != "enum" or set(column.symbols).issuperset(values)
