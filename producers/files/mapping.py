"""Make events of rows: which column fills which field, what is constant, and how each value is read."""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from producers.files.convert import Convert, converter, map_values
from producers.files.times import ParseTime
from streamgage.definition.pipeline import Source
from streamgage.errors import ConfigError
from streamgage.formats.avro import Event
from streamgage.formats.json_event import json_events_of

_MISSING = object()
_MAX_IGNORED = 20  # column names kept for the summary


class MissingValue(ValueError):
    """A measured value that is marked as missing: the row says nothing, and is nobody's fault."""


@dataclass(frozen=True, slots=True)
class Cells:
    """How the cells of a file are written: decimals behind a comma, and the texts that mark a missing value."""

    decimal_comma: bool = False
    missing: frozenset[str] = frozenset()
    _numbers: frozenset[float] = field(init=False)

    def __post_init__(self) -> None:
        numbers = (self._number(each) for each in self.missing)
        object.__setattr__(self, "_numbers", frozenset(each for each in numbers if each is not None))

    def is_missing(self, cell: str, *, is_number: bool) -> bool:
        """Whether *cell*, blanks cut off, marks a missing value; of numbers -200.0 is what -200 is."""
        if cell in self.missing:
            return True
        return is_number and bool(self._numbers) and self._number(cell) in self._numbers

    def _number(self, text: str) -> float | None:
        try:
            return float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class _Column:
    """One field, or one entry of a map field (``key``), and the column that fills it, or two joined by a blank.

    ``optional``: where there is no value (none, null, or an empty cell) the schema's default applies. ``measured``: it
    is a number, and what the row is for.
    """

    field: str
    key: str | None
    column: str
    convert: Convert
    optional: bool
    measured: bool
    joined: tuple[str, ...] = ()


@dataclass(slots=True)
class EventMapping:
    """The plan from columns to fields. ``ignored`` counts columns that fill nothing, ``unseen`` are mapped ones not met.

    ``_source`` is set where rows are JSON: an event may name its source, and then it is that one.
    """

    _columns: tuple[_Column, ...]
    _constants: Event
    _map_fields: tuple[str, ...]
    _known: frozenset[str]
    unseen: set[str]
    _cells: Cells = field(default_factory=Cells)
    _source: str | None = None
    ignored: Counter[str] = field(default_factory=Counter)

    def event(self, values: Mapping[str, object]) -> Event:
        """Return the event that a row's *values* make.

        Raises:
            ValueError: a required value is missing or does not convert; the message names the field.
        """
        if self._source is not None and values.get("source", self._source) != self._source:
            raise ValueError(f'"source" is {values["source"]!r:.80}; these rows are sent as {self._source!r}')
        if self.unseen:
            self.unseen = {each for each in self.unseen if _find(values, each) is _MISSING}
        event: Event = self._constants.copy()
        for name in self._map_fields:
            event[name] = dict(event.get(name) or {})
        for plan in self._columns:
            self._fill(event, plan, values)
        for name in self._map_fields:
            if not event[name]:
                del event[name]  # no entry: the field's default, or an error where it has none
        if not values.keys() <= self._known:
            self._note(values)
        return event

    def _note(self, values: Mapping[str, object]) -> None:
        for each in values:
            if each not in self._known and (each in self.ignored or len(self.ignored) < _MAX_IGNORED):
                self.ignored[each] += 1

    def _fill(self, event: Event, plan: _Column, values: Mapping[str, object]) -> None:
        value: object
        if plan.joined:
            value = " ".join([str(values.get(each, "")).strip() for each in plan.joined])
        else:
            value = _find(values, plan.column)
        if value is _MISSING:
            if plan.optional:
                return
            raise ValueError(f"{plan.field}: there is no {plan.column!r}; there are {_list(values)}")
        if (
            self._cells.missing
            and isinstance(value, str)
            and self._cells.is_missing(value.strip(), is_number=plan.measured)
        ):
            if plan.measured and not plan.optional:
                raise MissingValue(f"{plan.field}: {value.strip()!r} marks a missing value")
            value = ""
        if plan.optional and (value is None or (value == "" and self._source is None)):
            return
        try:
            converted = plan.convert(value)
        except ValueError as error:
            of = "" if plan.column == plan.field else f" (column {plan.column!r})"
            raise ValueError(f"{plan.field}{of}: {error}") from error
        if plan.key is None:
            event[plan.field] = converted
        else:
            event[plan.field][plan.key] = converted


def plan_mapping(
    source: Source,
    *,
    columns: Sequence[str] | None,
    maps: Mapping[str, str],
    constants: Mapping[str, str],
    parse_time: ParseTime,
    cells: Cells | None = None,
) -> EventMapping:
    """Return the mapping of rows to events of *source*.

    A field is filled by the column that *maps* names, or by its constant, or by the column of its own name. A dotted
    name on the left (``tags.site``) is an entry of a map field; one on the right walks into JSON objects. Two columns
    may be joined by a plus (``ts=Date+Time``). *columns* are those of the file, None where each row is JSON, and has its
    own: then the rules of JSON events hold.

    Raises:
        ConfigError: with every problem: unknown fields, missing columns, constants that do not convert.
    """
    return _Planner(source, columns, parse_time, cells or Cells()).plan(maps, constants)


class _Planner:
    def __init__(
        self, source: Source, columns: Sequence[str] | None, parse_time: ParseTime, cells: Cells
    ) -> None:
        self._source = source
        self._cells = cells
        self._available = columns
        self._parse_time = parse_time
        self._problems: list[str] = []
        self._with_default = {each["name"] for each in source.schema.parsed["fields"] if "default" in each}

    def plan(self, maps: Mapping[str, str], constants: Mapping[str, str]) -> EventMapping:
        for target in sorted(maps.keys() & constants.keys()):
            self._problems.append(f"{target}: given by both --map and --set; one of them is enough")
        fixed, nested = self._fix(constants)
        plans = [plan for target, column in maps.items() if (plan := self._column(target, column))]
        filled = set(fixed) | {target.partition(".")[0] for target in (*maps, *constants)}
        for name in self._source.schema.fields:
            if name in filled or (name == "source" and self._available is None):  # in JSON: whose event it is
                continue
            if self._available is None or name in self._available:
                plan = self._column(name, name)
                plans += [plan] if plan else []
            elif name not in self._with_default:
                self._problems.append(
                    f"{name}: no column fills this field of source {self._source.name!r}; the columns are "
                    f"{_list(self._available)}. Say --map {name}=COLUMN or --set {name}=VALUE"
                )
        if self._problems:
            raise ConfigError(*self._problems)
        maps_seen = {plan.field for plan in plans if plan.key is not None} | nested
        known = {plan.column.partition(".")[0] for plan in plans} | {plan.column for plan in plans}
        known.update(each for plan in plans for each in plan.joined)
        is_json = self._available is None
        return EventMapping(
            tuple(plans),
            fixed,
            tuple(sorted(maps_seen)),
            frozenset(known | {"source"} if is_json else known),
            {
                each
                for plan in plans
                if plan.column in maps.values()
                for each in plan.joined or (plan.column,)
            },
            self._cells,
            self._source.name if is_json else None,
        )

    def _fix(self, constants: Mapping[str, str]) -> tuple[Event, set[str]]:
        fixed: Event = {}
        nested: set[str] = set()
        for target, text in constants.items():
            convert = self._convert(target, constant=True)
            if convert is None:
                continue
            name, _, key = target.partition(".")
            try:
                value = convert(text)
            except ValueError as error:
                self._problems.append(f"--set {target}={text}: {error}")
                continue
            if key:
                fixed.setdefault(name, {})[key] = value
                nested.add(name)
            else:
                fixed[name] = value
        return fixed, nested

    def _column(self, target: str, column: str) -> _Column | None:
        convert = self._convert(target)
        if convert is None:
            return None
        joined = self._joined(column)
        if self._available is not None and not joined:
            if column not in self._available and column.partition(".")[0] not in self._available:
                self._problems.append(
                    f"--map {target}={column}: there is no column {column!r}; the columns are {_list(self._available)}"
                )
                return None
            if list(self._available).count(column) > 1:
                self._problems.append(f"{target}: two columns are named {column!r}; which one is meant?")
                return None
        name, _, key = target.partition(".")
        optional = bool(key) or name in self._with_default
        measured = name in self._source.scales and name != self._source.event_time
        return _Column(name, key or None, column, convert, optional, measured, joined)

    def _joined(self, column: str) -> tuple[str, ...]:
        """Return the columns that ``Date+Time`` means, none where a column has that name, or there is no plus."""
        if self._available is None or column in self._available or "+" not in column:
            return ()
        parts = tuple(column.split("+"))
        return parts if all(each in self._available for each in parts) else ()

    def _convert(self, target: str, *, constant: bool = False) -> Convert | None:
        fields = self._source.schema.fields
        name, dot, _ = target.partition(".")
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            self._problems.append(
                f"{target}: source {self._source.name!r} has no field {name!r}; its fields are {_list(fields)}"
                + (f". Did you mean {near[0]!r}?" if near else "")
            )
            return None
        comma = self._cells.decimal_comma and not constant
        if not dot:
            if name == self._source.event_time:
                return self._parse_time
            if self._available is None and not constant:
                return json_events_of(
                    self._source.schema, self._source.event_time, self._source.time_unit
                ).reader(name)
            return converter(fields[name], decimal_comma=comma)
        values = map_values(fields[name])
        if values is None:
            self._problems.append(f"{target}: {name!r} is not a map, so it has no entries to name")
            return None
        return converter(values, decimal_comma=comma)


def _find(values: Mapping[str, object], column: str) -> object:
    value = values.get(column, _MISSING)
    return _walk(values, column) if value is _MISSING and "." in column else value


def _walk(values: Mapping[str, object], path: str) -> object:
    found: object = values
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return _MISSING
        found = found[part]
    return found


def _list(names: Iterable[str]) -> str:
    shown = [repr(each)[:60] for _, each in zip(range(30), names, strict=False)]
    return ", ".join(shown) or "none"
