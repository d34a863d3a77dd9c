"""What is made of rows that were read: the first by a measure, empty windows filled, each beside an earlier one."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Literal

from processors.query.question import Question, Row
from processors.query.regroup import Group
from streamgage.definition.pipeline import Rollup
from streamgage.errors import ConfigError, TooMuchError
from streamgage.measures.layout import Table, plan_of
from streamgage.measures.named import measure_named
from streamgage.measures.windows import Window

Value = int | Decimal | None
Filling = Literal["null", "zero", "previous"]
MOST_FILLED = 1_000_000
_ADDITIVE = frozenset({"count", "sum", "distinct", "sessions", "bounces"})


@dataclass(frozen=True, slots=True)
class Column:
    """A number of each row: its events, or a measure of a field."""

    field: str | None = None
    measure: str = "events"

    @property
    def name(self) -> str:
        """As an answer calls it: ``events``, ``bytes.sum``."""
        return self.measure if self.field is None else f"{self.field}.{self.measure}"

    @property
    def is_additive(self) -> bool:
        """Whether it is 0 where nothing happened; others have no value then."""
        return self.field is None or self.measure in _ADDITIVE

    @property
    def is_number(self) -> bool:
        """Whether it may be ranked and compared."""
        return self.field is None or measure_named(self.measure).is_number

    @classmethod
    def parse(cls, rollup: Rollup, text: str) -> "Column":
        """Return the column of *rollup* that *text* names. Raises: ConfigError, there is none of numbers."""
        known = [each for each in columns_of(rollup) if each.is_number]
        found = next((each for each in known if each.name == text), None)
        if found is None:
            raise ConfigError(
                f"{rollup.name} has no {text!r}; it has: {', '.join(each.name for each in known)}"
            )
        return found

    def of(self, row: Row) -> Value:
        """Return the number of *row*."""
        return row.events if self.field is None else row.values[self.field][self.measure]


def columns_of(rollup: Rollup) -> list[Column]:
    """Return the numbers of each row of *rollup*, in their order."""
    return [
        Column(),
        *(Column(name, each) for name, measures in rollup.measures.items() for each in measures),
    ]


def top(pairs: "Iterable[Compared]", by: Column, count: int) -> "list[Compared]":
    """Return the *count* with the greatest numbers, the greatest first; of equal ones by key and time.

    A row without the number comes behind all that have it. No more are held than are wanted.
    """
    return heapq.nsmallest(
        count, pairs, key=lambda each: (*_descending(by.of(each.row)), each.row.key, each.row.window.start_ms)
    )


def top_of_each(pairs: "Iterable[Compared]", by: Column, count: int) -> "Iterator[Compared]":
    """Yield the top of each window, in the order of *pairs*, which is that of time."""
    for _, of_window in groupby(pairs, key=lambda each: each.row.window):
        yield from top(of_window, by, count)


def top_entries(question: Question, by: Column, count: int) -> Callable[[Group], list[int]]:
    """Return what tells which entries of a group are its top: of all that are not, no row need be made."""
    measures = {by.field: (by.measure,)} if by.field else {}
    read = plan_of(question.layout).reader(measures)

    def number(table: Table, entry: int) -> Value:
        return int(table[0][entry]) if by.field is None else read(table, entry)[by.field][by.measure]

    def picked(group: Group) -> list[int]:
        table, keys = group.table, group.keys
        return heapq.nsmallest(
            count, range(len(keys)), key=lambda entry: (*_descending(number(table, entry)), keys[entry])
        )

    return picked


def _descending(value: Value) -> tuple[bool, Value]:
    return value is None, 0 if value is None else -value


def filled(
    rows: Iterable[Row],
    question: Question,
    how: Filling,
    *,
    applied_ms: int,
    now_ms: int,
    first_ms: int | None,
    last_ms: int | None,
) -> list[Row]:
    """Return *rows* with one for every window without events, of each key that has any, from *first_ms* up to *last_ms*.

    None is from the first row on, and up to the last. ``null``: no value; ``zero``: 0 of counts and sums, else no value;
    ``previous``: what the key had before, where it had. A window that is not kept any more, or lies before its key was
    counted, is partial: nobody knows whether it had events.

    Raises:
        ConfigError: they would be more than a million.
    """
    known = list(rows)
    if not known:
        return []
    window_of = question.window_of
    begins = {row.key: 0 for row in sorted(known, key=lambda row: row.key)}
    for row in known:
        begins[row.key] = max(begins[row.key], row.begin_ms)
    first_ms = known[0].window.end_ms - 1 if first_ms is None else first_ms
    last_ms = max(row.window.end_ms for row in known) if last_ms is None else last_ms
    by_place = {(row.window.end_ms, row.key): row for row in known}
    made: list[Row] = []
    before: dict[tuple[str, ...], Row] = {}
    nothing: dict[str, dict[str, Value]] = {
        field: {each: 0 if how == "zero" and each in _ADDITIVE else None for each in measures}
        for field, measures in question.rollup.measures.items()
    }

    def empty(key: tuple[str, ...], window: Window, begin_ms: int) -> Row:
        may_change = window.end_ms > applied_ms
        partial = question.is_partial(window, begin_ms, now_ms)
        last = before.get(key)
        if how != "previous" or last is None:
            return Row(window, 0, nothing, may_change=may_change, partial=partial, key=key, begin_ms=begin_ms)
        return replace(last, window=window, may_change=may_change, partial=partial or last.partial, events=0)

    window = window_of(first_ms)
    if (last_ms - first_ms) // _longest_ms(window) * len(begins) > MOST_FILLED:
        raise _too_many()
    while window.start_ms < last_ms:
        for key, begin_ms in begins.items():
            found = by_place.get((window.end_ms, key))
            if found is not None:
                before[key] = found
            made.append(found or empty(key, question.row_window(window), begin_ms))
        if len(made) > MOST_FILLED:
            raise _too_many()
        window = window_of(window.end_ms)
    return made


def _longest_ms(window: Window) -> int:
    """Return how long windows like *window* are at most: months and days of a place differ."""
    return (window.end_ms - window.start_ms) * 8 // 7


def _too_many() -> TooMuchError:
    return TooMuchError(
        f"with its empty windows the answer has more than {MOST_FILLED:,} rows: ask for a shorter range, larger windows "
        "or fewer keys"
    )


@dataclass(frozen=True, slots=True)
class Compared:
    """A row beside the one of an earlier window of its key: None where that had no events, or none are known of it."""

    row: Row
    before: Row | None
    is_known: bool = True

    @property
    def partial(self) -> bool:
        """Whether a part of either is not counted, or not kept any more."""
        return self.row.partial or not self.is_known or (self.before is not None and self.before.partial)

    def cells(self, columns: Sequence[Column]) -> list[Value]:
        """Return of each column: its number before, the difference, and that in percent of what was before."""
        return [cell for column in columns for cell in self._cells(column)]

    def _cells(self, column: Column) -> tuple[Value, Value, Value]:
        after, before = column.of(self.row), self._number_before(column)
        if after is None or before is None:
            return before, None, None
        change = Fraction(after) - Fraction(before)
        percent = Decimal(round(change * 10_000 / Fraction(before))).scaleb(-2) if before else None
        return before, after - before, percent

    def _number_before(self, column: Column) -> Value:
        if self.before is not None:
            return column.of(self.before)
        return 0 if self.is_known and column.is_additive else None


COMPARED = ("before", "change", "change_percent")
"""What is told of each column that is compared."""


def compared(
    rows: Iterable[Row], question: Question, earlier: Callable[[Window], Window], *, now_ms: int
) -> Iterator[Compared]:
    """Yield each row that *question* asks for beside the one of the *earlier* window; *rows* are in the order of time.

    Keys that had events in the earlier window only have no row.
    """
    known: dict[tuple[int, tuple[str, ...]], Row] = {}
    for row in rows:
        known[row.window.start_ms, row.key] = row
        if row.window.end_ms > question.asked_from_ms:
            window = earlier(row.window)
            before = known.get((window.start_ms, row.key))
            yield Compared(
                row, before, before is not None or not question.is_partial(window, row.begin_ms, now_ms)
            )
