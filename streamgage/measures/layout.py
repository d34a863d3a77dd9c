"""Layouts: which parts are kept of which fields, in which order; and the operations over a table of such states.

A table of states is a list of columns, one entry a key in each: first the number of events, then the parts of each
measured field in the order of the layout.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from operator import itemgetter
from typing import Any

from streamgage.measures.catalogue import Value
from streamgage.measures.named import in_order, measure_named, part_named
from streamgage.measures.parts import Column, Groups, Part, Total

Table = list[Column]
"""Columns of states: ``table[0]`` counts events."""

_EVENTS = Total(lambda groups: list(map(len, groups)), 8)


@dataclass(frozen=True, slots=True)
class FieldLayout:
    """The parts kept of one field, in their order, and the field's decimal scale, or TEXT."""

    field: str
    scale: int
    parts: tuple[str, ...]

    @classmethod
    def of(cls, field: str, scale: int, measures: Sequence[str]) -> "FieldLayout":
        """Return the layout that *measures* of *field* need, each part once."""
        needed = {part for measure in measures for part in measure_named(measure).parts}
        return cls(field, scale, in_order(needed))


@dataclass(frozen=True, slots=True)
class StateLayout:
    """What stands where in a table of states."""

    fields: tuple[FieldLayout, ...]

    def of_measures(self, measures: Mapping[str, Sequence[str]]) -> "StateLayout":
        """Return the layout of what *measures* alone need, in the same order."""
        fields = (
            FieldLayout.of(each.field, each.scale, measures[each.field])
            for each in self.fields
            if measures.get(each.field)
        )
        return StateLayout(tuple(fields))

    @property
    def text(self) -> str:
        """The layout as text, ``value@9:n,sum,min``; field names are Avro names, so no mark needs escaping."""
        return ";".join(f"{each.field}@{each.scale}:{','.join(each.parts)}" for each in self.fields)

    @classmethod
    def parse(cls, text: str) -> "StateLayout":
        """Return the layout that ``text`` came from."""
        fields = []
        for part in filter(None, text.split(";")):
            name, _, rest = part.partition("@")
            scale, _, parts = rest.partition(":")
            fields.append(FieldLayout(name, int(scale), tuple(parts.split(","))))
        return cls(tuple(fields))


@dataclass(frozen=True, slots=True)
class EventColumns:
    """The events of a batch, as the folds of one rollup read them: the n-th entries are the n-th event's.

    ``values`` holds a column of scaled integers for each field of the layout; None in it is an event without a value,
    and ``gaps`` says which columns have any. ``times`` holds event times in ms.
    """

    values: tuple[Sequence[int | None], ...]
    gaps: tuple[bool, ...]
    times: Sequence[int]


class StatePlan:
    """The operations of one layout."""

    def __init__(self, layout: StateLayout) -> None:
        self.layout = layout
        self._fields = [[part_named(name) for name in each.parts] for each in layout.fields]
        self._parts: list[Part] = [_EVENTS, *chain.from_iterable(self._fields)]
        self._sketches: list[tuple[int, Any]] = [
            (at, part) for at, part in enumerate(self._parts) if hasattr(part, "held_bytes")
        ]
        self.tells_keys = any(hasattr(part, "across") for part in self._parts)
        """Whether a key's windows merge otherwise than keys do: then windows have to be merged before keys are."""
        self.pairs = sum(part.is_timed for part in self._parts)
        self._timed = [any(part.is_timed for part in parts) for parts in self._fields]

    def most_key_bytes(self, size_ms: int) -> int:
        """Return how many bytes a key takes at most in a window of *size_ms*."""
        return sum(
            part.most_bytes_in(size_ms) if hasattr(part, "most_bytes_in") else part.most_bytes
            for part in self._parts
        )

    def held_bytes(self, table: Table) -> int:
        """Return about how many bytes those states of *table* take in memory that are larger than numbers."""
        return sum(part.held_bytes(table[at]) for at, part in self._sketches)

    def fold(self, events: EventColumns, groups: Sequence[Sequence[int]]) -> Table:
        """Return the states of *groups* of events: their ordinals, in the order of the log, at least one each."""
        pick = _grouper(groups)
        times = pick(events.times) if any(self._timed) else ()
        table: Table = [list(map(len, groups))]
        for parts, timed, values, gaps, field in zip(
            self._fields, self._timed, events.values, events.gaps, self.layout.fields, strict=True
        ):
            of_field = Groups(pick(values), times if timed else (), dense=True, scale=field.scale)
            if gaps:
                of_field = _without_gaps(of_field)
            table += [part.fold(of_field) for part in parts]
        return table

    def empty(self) -> Table:
        """Return the table of no keys."""
        return [[] for _ in self._parts]

    def add_keys(self, table: Table, count: int) -> None:
        """Append *count* keys of no events."""
        for column, part in zip(table, self._parts, strict=True):
            column.extend([part.identity] * count)

    def join(self, table: Table, picks: Sequence[Sequence[int]]) -> Table:
        """Return the states of windows that others nest in: a pick names those of each."""
        return [part.join(column, picks) for part, column in zip(self._parts, table, strict=True)]

    def across(self, table: Table, picks: Sequence[Sequence[int]]) -> Table:
        """Return what several keys come to together: a pick names them. Sessions are added up, not united."""
        return [
            getattr(part, "across", part.join)(column, picks)
            for part, column in zip(self._parts, table, strict=True)
        ]

    def add(self, table: Table, states: Table, rows: Sequence[int]) -> None:
        """Append the entries of *states* at *rows* to *table*, as those of keys that it does not have."""
        if rows:
            pick = _row_picker(rows)
            for column, other in zip(table, states, strict=True):
                column.extend(pick(other))

    def merge(self, table: Table, at: Sequence[int], later: Table, rows: Sequence[int]) -> None:
        """Merge entry ``rows[n]`` of *later*, which follows in the log, into entry ``at[n]`` of *table*.

        Each place stands in *at* once.
        """
        if not rows:
            return
        count = len(table[0])
        if len(at) == count:  # each entry, perhaps in another order: the usual case
            whole = range(count)
            if at != whole and list(at) != list(whole):
                by_place = dict(zip(at, rows, strict=True))
                rows = [by_place[place] for place in range(count)]
            pick = _row_picker(rows)
            table[:] = [
                part.merge(column, pick(other))
                for part, column, other in zip(self._parts, table, later, strict=True)
            ]
            return
        pick_known, pick = _row_picker(at), _row_picker(rows)
        for part, column, other in zip(self._parts, table, later, strict=True):
            for place, state in zip(at, part.merge(pick_known(column), pick(other)), strict=True):
                column[place] = state

    def read(
        self, table: Table, row: int, measures: Mapping[str, Sequence[str]]
    ) -> dict[str, dict[str, Value]]:
        """Return ``{field: {measure: value}}`` of one entry; ``measures`` names those wanted of each field."""
        return self.reader(measures)(table, row)

    def reader(
        self, measures: Mapping[str, Sequence[str]]
    ) -> Callable[[Table, int], dict[str, dict[str, Value]]]:
        """Return what ``read`` does, for many entries: what depends on *measures* alone is found once."""
        fields = []
        for field, at in self._places():
            asked = {name: measure_named(name) for name in measures.get(field.field, ())}
            needed = {part for each in asked.values() for part in each.parts}
            places = [(place, name) for place, name in enumerate(field.parts, at) if name in needed]
            reads = [(name, each.read) for name, each in asked.items()]
            fields.append((field.field, field.scale, places, reads))

        def read(table: Table, row: int) -> dict[str, dict[str, Value]]:
            values: dict[str, dict[str, Value]] = {}
            for field, scale, places, reads in fields:
                parts = {name: table[at][row] for at, name in places}
                values[field] = {name: value(parts, scale) for name, value in reads}
            return values

        return read

    def bounds(
        self, measures: Mapping[str, Sequence[str]]
    ) -> Callable[[Table, int], dict[tuple[str, str], float]] | None:
        """Return what tells of one entry by how much values may be off, relatively; None where all *measures* are exact."""
        fields = []
        for field, at in self._places():
            bounds = [(name, measure_named(name).bound) for name in measures.get(field.field, ())]
            known = [((field.field, name), bound) for name, bound in bounds if bound is not None]
            if known:
                fields.append((list(enumerate(field.parts, at)), known))
        if not fields:
            return None

        def bounds_of(table: Table, row: int) -> dict[tuple[str, str], float]:
            found: dict[tuple[str, str], float] = {}
            for places, known in fields:
                parts = {name: table[at][row] for at, name in places}
                found |= {name: bound(parts) for name, bound in known}
            return found

        return bounds_of

    def _places(self) -> Iterator[tuple[FieldLayout, int]]:
        """Yield each field, and where its columns begin in a table."""
        at = 1
        for field in self.layout.fields:
            yield field, at
            at += len(field.parts)


@lru_cache(maxsize=256)
def plan_of(layout: StateLayout) -> StatePlan:
    """Return the operations of *layout*."""
    return StatePlan(layout)


def _grouper(groups: Sequence[Sequence[int]]) -> Callable[[Sequence[Any]], Sequence[Sequence[Any]]]:
    """Return what cuts a column into *groups*: it is put in their order at once, in C, and then sliced."""
    order = list(chain.from_iterable(groups))
    bounds = list(pairwise(accumulate(map(len, groups), initial=0)))
    first = order[0]
    in_a_row = slice(first, first + len(order))
    pick = None if order == list(range(first, first + len(order))) else itemgetter(*order)

    def cut(column: Sequence[Any]) -> list[Sequence[Any]]:
        ordered = pick(column) if pick else column[in_a_row]
        return [ordered[start:stop] for start, stop in bounds]

    return cut


def _row_picker(rows: Sequence[int]) -> Callable[[Column], Sequence[Any]]:
    if len(rows) == 1:
        (row,) = rows
        return lambda column: (column[row],)
    if isinstance(rows, range):
        return lambda column: column[rows.start : rows.stop]
    return itemgetter(*rows)


def _without_gaps(groups: Groups) -> Groups:
    values: list[Sequence[int]] = []
    times: list[Sequence[int]] = []
    for number, each in enumerate(groups.values):
        kept = [at for at, value in enumerate(each) if value is not None]
        if len(kept) == len(each):
            values.append(each)
            times += [groups.times[number]] if groups.times else []
        else:
            values.append([each[at] for at in kept])
            times += [[groups.times[number][at] for at in kept]] if groups.times else []
    return Groups(values, times, dense=all(values), scale=groups.scale)
