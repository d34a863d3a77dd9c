"""An answer as a table for people: what identifies a row always, its numbers as far as the terminal is wide."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table

from processors.query.answer import Answer, Cell
from processors.query.buckets import CalendarBuckets, RangeBucket
from processors.query.render import number_text
from streamgage.visible import visible

if TYPE_CHECKING:
    from processors.query.question import Question

MOST_ROWS = 100_000
_DIGITS = 6  # of a number that is rounded
_LEAST_KEY = 16  # columns: a key that is longer goes on in the next line
_MOST_NAMED = 6  # columns that were left out
_FLAGS = ("may_change", "partial", "is_exact")


@dataclass(frozen=True, slots=True)
class Shown:
    """A column as it is drawn. ``exact`` are its numbers in full, where ``texts`` are rounded. ``kept``: never left out."""

    name: str
    texts: Sequence[str]
    kept: bool = False
    is_key: bool = False
    is_number: bool = True

    @property
    def heading(self) -> str:
        """Its name, in lines where it has parts."""
        return self.name.replace(".", ".\n")

    @property
    def width(self) -> int:
        """How wide it is, or how narrow it may be made: a key is folded."""
        widest = max(map(cell_len, (*self.heading.split("\n"), *self.texts)), default=0)
        return min(widest, _LEAST_KEY) if self.is_key else widest


def table_of(
    question: "Question", given: Answer, *, width: int | None, asked: Collection[str] = ()
) -> tuple[Table, list[str]]:
    """Return the table of *given* in *width* columns (None: as wide as it is), and what is to be said of it.

    The columns *asked* for by name are not left out, and stand first.
    """
    rows = given.rows[:MOST_ROWS]
    one_key = question.key is not None and given.keys == len(question.rollup.key)
    title = [question.rollup.name]
    front = []
    if one_key:
        title += map("=".join, zip(question.rollup.key, question.key or (), strict=True))
    else:
        front = [
            Shown(name, [visible(str(row[at])) for row in rows], kept=True, is_key=True, is_number=False)
            for at, name in enumerate(given.names[: given.keys])
        ]
    windows = _windows(question, given, rows)
    if windows is not None and len(set(windows.texts)) == 1 and len(rows) > 1:
        title.append(windows.texts[0])
    elif windows is not None:
        front.append(windows)
    notes = _notes(given, rows)
    exact = _numbers(given, rows, asked, is_rounded=False)
    columns, said = _fitted([*front, *exact, *notes], width)
    if said:
        rounded = _numbers(given, rows, asked, is_rounded=True)
        columns, said = _fitted([*front, *rounded, *notes], width)
        full = {each.name: each.texts for each in exact}
        if any(full.get(each.name, each.texts) != each.texts for each in columns):
            said.insert(0, "numbers are rounded to fit: --format csv or json tells them exactly")
    if len(given.rows) > MOST_ROWS:
        said.append(f"{len(given.rows) - MOST_ROWS:,} more rows: --format csv has them all")
    return _drawn("  ".join(map(visible, title)), columns), said


def _drawn(title: str, columns: Sequence[Shown]) -> Table:
    table = Table(title=title, title_justify="left")
    for each in columns:
        table.add_column(
            each.heading,
            justify="right" if each.is_number else "left",
            no_wrap=not each.is_key,
            overflow="fold" if each.is_key else "ellipsis",
            min_width=each.width,
        )
    for texts in zip(*(each.texts for each in columns), strict=True):
        table.add_row(*texts)
    return table


def _fitted(columns: list[Shown], width: int | None) -> tuple[list[Shown], list[str]]:
    """Return those of *columns* that have room, the first ones; and which were left out."""
    left: list[str] = []
    while width is not None and sum(each.width + 3 for each in columns) + 1 > width:
        spare = [each for each in columns if not each.kept]
        spare = spare or [each for each in columns if each.is_number and each.name != "events"]
        if not spare:
            break
        columns = [each for each in columns if each is not spare[-1]]
        left.insert(0, spare[-1].name)
    if not left:
        return columns, []
    more = f" and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
    return columns, [
        f"no room in {width} columns for {', '.join(left[:_MOST_NAMED])}{more}: --format csv or json has all"
    ]


def _windows(question: "Question", given: Answer, rows: Sequence[Sequence[Cell]]) -> Shown | None:
    """Return when each row's window began; and ended, where that is not told by what is asked for."""
    if "window_start" not in given.names:
        return None
    buckets = question.buckets
    zone = buckets.zone if isinstance(buckets, CalendarBuckets) else UTC
    pairs = [_instants(row[given.keys : given.keys + 2], zone) for row in rows]
    if any(pair is None for pair in pairs):  # beyond the years that have a date
        texts = [f"{row[given.keys]} to {row[given.keys + 1]}" for row in rows]
        return Shown("window", texts, kept=True, is_number=False)
    known = [pair for pair in pairs if pair is not None]
    form = _form([each for pair in known for each in pair])
    if isinstance(buckets, RangeBucket) or question.moving > 1:
        texts = [f"{_text(start, form)} to {_text(end, form)}" for start, end in known]
        return Shown("window", texts, kept=True, is_number=False)
    label = question.windows.label if buckets is None else buckets.label
    return Shown(f"window {label}", [_text(start, form) for start, _ in known], kept=True, is_number=False)


def _instants(cells: Sequence[Cell], zone: tzinfo) -> tuple[datetime, datetime] | None:
    try:
        start, end = (datetime.fromisoformat(str(each)).astimezone(zone) for each in cells)
    except (ValueError, OverflowError):
        return None
    return start, end


def _form(instants: Sequence[datetime]) -> str:
    """Return how little of a time tells all of *instants*: the date alone, minutes, seconds, or more."""
    if all((each.hour, each.minute, each.second, each.microsecond) == (0, 0, 0, 0) for each in instants):
        return "%Y-%m-%d"
    if all((each.second, each.microsecond) == (0, 0) for each in instants):
        return "%Y-%m-%d %H:%M"
    return "%Y-%m-%d %H:%M:%S" + ("" if all(not each.microsecond for each in instants) else ".%f")


def _text(instant: datetime, form: str) -> str:
    return instant.strftime(form)


def _numbers(
    given: Answer, rows: Sequence[Sequence[Cell]], asked: Collection[str], *, is_rounded: bool
) -> list[Shown]:
    first = given.keys + (2 if "window_start" in given.names else 0)
    always = {"events", "last_seen", "silent_s", *asked}
    columns = [
        Shown(name, [_number(row[at], is_rounded=is_rounded) for row in rows], kept=name in always)
        for at, name in enumerate(given.names[first:], start=first)
        if name not in _FLAGS
    ]
    return sorted(columns, key=lambda each: not each.kept)


def _number(cell: Cell, *, is_rounded: bool) -> str:
    if is_rounded and isinstance(cell, Decimal) and cell.is_finite() and cell:
        cell = round(cell, max(_DIGITS - 1 - cell.adjusted(), 0))
    return visible(number_text(cell))


def _notes(given: Answer, rows: Sequence[Sequence[Cell]]) -> list[Shown]:
    """Return one column of what is to be noted of rows, where there is any."""
    said = {
        "may_change": (True, "may change"),
        "partial": (True, "partial"),
        "is_exact": (False, "at the latest"),
    }
    at = [(given.names.index(name), *said[name]) for name in _FLAGS if name in given.names]
    texts = [", ".join(text for place, noted, text in at if row[place] is noted) for row in rows]
    return [Shown("", texts, kept=True, is_number=False)] if any(texts) else []
