"""An answer: what was asked, read, merged, narrowed, ranked and compared, as names and rows of plain values.

The command line, Python, SQL and HTTP all ask by ``answer``; they differ in how they write the rows down.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from processors.query.cells import PartialStore
from processors.query.collection import no_collection
from processors.query.question import Question, Row, ask
from processors.query.regroup import Group
from processors.query.shape import (
    COMPARED,
    Column,
    Compared,
    Filling,
    columns_of,
    compared,
    filled,
    top,
    top_entries,
    top_of_each,
)
from processors.query.silence import instant_of, silent
from streamgage.errors import ConfigError, TooMuchError
from streamgage.expressions.expression import Expression, exact, parse, parse_filter
from streamgage.expressions.kinds import Kind
from streamgage.measures.catalogue import Measure
from streamgage.measures.named import find_measure
from streamgage.measures.windows import Window

Cell = str | int | Decimal | bool | None
MOST_ROWS = 1_000_000  # about 1.8 GB with all measures
_TIMES = ("window_start", "window_end")
_FLAGS = ("may_change", "partial")


class CellKind(StrEnum):
    """What the cells of a column are: a *time* is ISO text, a *flag* is true or false, *json* is text of it."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"
    FLAG = "flag"
    JSON = "json"


_KINDS = {Kind.TEXT: CellKind.TEXT, Kind.NUMBER: CellKind.NUMBER, Kind.BOOLEAN: CellKind.FLAG}


@dataclass(frozen=True, slots=True)
class Shape:
    """What is made of the rows: narrowed by *where*, extended by *select*, filled, compared, ranked, and cut.

    *top* rows are the first by *by*: over all windows, or of *each_window*. *compare* gives the earlier window of one; by *by*
    alone, where it is given.
    """

    where: Expression | None = None
    select: Mapping[str, Expression] | None = None
    fill: Filling | None = None
    compare: Callable[[Window], Window] | None = None
    top: int | None = None
    by: Column | None = None
    each_window: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Names, and rows of as many cells. The first *keys* of them are the key's. *left* rows were more than the limit.

    ``errors`` says of columns that are not exact by how much a cell may be off at most, relatively. ``kinds`` says what the
    cells of each column are, but where SQL made them.
    """

    names: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    keys: int
    left: int = 0
    errors: Mapping[str, float] = field(default_factory=dict)
    kinds: tuple[CellKind, ...] = ()


def filter_of(question: Question, text: str) -> Expression:
    """Return the filter of rows that *text* says. Raises: ConfigError."""
    return _expression(question, text, parse_filter, "--where")


def selected_of(question: Question, given: Mapping[str, str]) -> dict[str, Expression]:
    """Return the columns that are computed, by name. Raises: ConfigError, also for a name that is there already."""
    known = kinds_of(question)
    for name in given:
        if name in known or name in _FLAGS:
            raise ConfigError(f"--select {name}: there is a column of that name")
    return {name: _expression(question, text, parse, f"--select {name}") for name, text in given.items()}


def _expression(question: Question, text: str, read: Callable[..., Expression], option: str) -> Expression:
    try:
        return read(text, kinds_of(question), number=exact)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from error


def kinds_of(question: Question) -> dict[str, Kind]:
    """Return what an expression over rows may name: keys are texts, times are ms since the epoch."""
    kinds = dict.fromkeys(question.key_names, Kind.TEXT)
    numbers = (each.name for each in columns_of(question.rollup) if each.is_number)
    return kinds | dict.fromkeys((*_TIMES, *numbers), Kind.NUMBER)


@no_collection()
def answer(
    store: PartialStore,
    question: Question,
    shape: Shape,
    *,
    applied_ms: int,
    now_ms: int,
    eventual: PartialStore | None = None,
) -> Answer:
    """Return the answer to *question*, as *shape* says; *eventual* as ``ask`` takes it.

    Raises:
        ConfigError: it would be too much; what was read counts something else, or is damaged.
    """
    rows: Iterable[Row] = ask(
        store,
        question,
        applied_ms=applied_ms,
        now_ms=now_ms,
        eventual=eventual,
        pick=_picked(question, shape),
    )
    if shape.fill is not None:
        first_ms = question.from_ms or None
        last_ms = question.to_ms if question.to_ms <= now_ms else None  # what lies ahead is not empty yet
        settled_ms = applied_ms if eventual is None else 0  # what is read there may lack a row
        rows = filled(
            rows,
            question,
            shape.fill,
            applied_ms=settled_ms,
            now_ms=now_ms,
            first_ms=first_ms,
            last_ms=last_ms,
        )
    if shape.compare is not None:
        pairs: Iterable[Compared] = compared(rows, question, shape.compare, now_ms=now_ms)
    else:
        pairs = (Compared(row, None) for row in rows)
    pairs = _narrowed(question, shape, pairs)
    if shape.top is not None:
        first = top_of_each if shape.each_window else top
        pairs = first(pairs, shape.by or Column(), shape.top)
    return _written(question, shape, pairs)


def _picked(question: Question, shape: Shape) -> Callable[[Group], Iterable[int]] | None:
    """Return what picks the top of each window, where nothing is asked of the others: the top of all is among them."""
    count = shape.top
    if count is None or shape.where is not None or shape.compare is not None or shape.fill is not None:
        return None
    return top_entries(question, shape.by or Column(), count)


def _narrowed(question: Question, shape: Shape, pairs: Iterable[Compared]) -> Iterator[Compared]:
    where = shape.where
    for each in pairs:
        if where is None or where.value(_named(question, each.row)) is True:
            yield each


def _named(question: Question, row: Row) -> dict[str, Cell]:
    names: dict[str, Cell] = dict(zip(question.key_names, row.key, strict=True))
    names |= zip(_TIMES, (row.window.start_ms, row.window.end_ms), strict=True)
    return names | {each.name: each.of(row) for each in columns_of(question.rollup)}


def answer_of(question: Question, rows: Iterable[Row]) -> Answer:
    """Return *rows* as they are."""
    return _written(question, Shape(), (Compared(row, None) for row in rows))


def _written(question: Question, shape: Shape, pairs: Iterable[Compared]) -> Answer:
    columns = columns_of(question.rollup)
    select = shape.select or {}
    numbers = [each for each in columns if each.is_number]
    beside = ([shape.by] if shape.by else numbers) if shape.compare else []
    extra = [f"{each.name}.{how}" for each in beside for how in COMPARED]
    rows: list[tuple[Cell, ...]] = []
    left = 0
    errors: dict[str, float] = {}
    for each in pairs:
        if shape.limit is not None and len(rows) >= shape.limit:
            left += 1
            continue
        if len(rows) >= MOST_ROWS:
            raise TooMuchError(
                f"the answer has more than {MOST_ROWS:,} rows: narrow it by name=pattern, --where, --top N or a shorter range, "
                "merge by --group-by or larger windows, or say --limit N"
            )
        row = each.row
        for name, bound in row.errors.items():
            errors[name] = max(bound, errors.get(name, 0.0))
        named = _named(question, row) if select else {}
        rows.append(
            (
                *row.key,
                time_text(row.window.start_ms),
                time_text(row.window.end_ms),
                *(column.of(row) for column in columns),
                *(one.value(named) for one in select.values()),
                *each.cells(beside),
                row.may_change,
                each.partial,
            )
        )
    names = (*question.key_names, *_TIMES, *(each.name for each in columns), *select, *extra, *_FLAGS)
    kinds = (
        *(CellKind.TEXT for _ in question.key_names),
        *(CellKind.TIME for _ in _TIMES),
        *(CellKind.NUMBER if each.is_number else CellKind.JSON for each in columns),
        *(_KINDS.get(each.kind, CellKind.TEXT) for each in select.values()),
        *(CellKind.NUMBER for _ in extra),
        *(CellKind.FLAG for _ in _FLAGS),
    )
    return Answer(names, rows, len(question.key_names), left, errors, kinds)


def silence(store: PartialStore, question: Question, *, for_ms: int, as_of_ms: int, now_ms: int) -> Answer:
    """Return the keys that were not heard of for *for_ms* by *as_of_ms*, the longest silent first.

    An instant of the past is that of the last boundary of windows up to it: ``instant_of``.
    """
    as_of_ms = instant_of(question, as_of_ms, now_ms=now_ms)
    found = silent(store, question, for_ms=for_ms, as_of_ms=as_of_ms, now_ms=now_ms)
    names = (*question.key_names, "last_seen", "silent_s", "is_exact")
    rows: list[tuple[Cell, ...]] = [
        (*each.key, time_text(each.last_ms), Decimal(as_of_ms - each.last_ms) / 1000, each.is_exact)
        for each in found
    ]
    kinds = (*(CellKind.TEXT for _ in question.key_names), CellKind.TIME, CellKind.NUMBER, CellKind.FLAG)
    return Answer(names, rows, len(question.key_names), kinds=kinds)


def told_errors(answer: Answer, question: Question) -> Iterator[str]:
    """Yield a line for each column that is not exact: how far off its cells may be, and of what."""
    for column in columns_of(question.rollup):
        bound = answer.errors.get(column.name)
        measure = find_measure(column.measure)
        if bound is not None and measure is not None:
            yield f"{column.name}: {bound_text(measure, bound)}"


def bound_text(measure: Measure, bound: float) -> str:
    """Return how far off values of *measure* may be, relatively, and of what."""
    return f"{bound:.2%} {measure.error}" if bound else measure.exact


@lru_cache(maxsize=1024)  # each key of a window asks again
def time_text(instant_ms: int) -> str:
    """Return an instant as ISO 8601 in UTC, with as much of it as there is."""
    try:
        instant = datetime.fromtimestamp(instant_ms // 1000, UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return f"{instant_ms} ms"
    return f"{instant.isoformat()}{f'.{instant_ms % 1000:03d}' if instant_ms % 1000 else ''}Z"
