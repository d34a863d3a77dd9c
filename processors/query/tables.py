r"""Ask from Python: ``Tables.local()`` or ``Tables.aws("plant-7")``, and answers as rows, Arrow, pandas or polars.

::

    from processors.query import Tables

    tables = Tables.local()                                   # the stack that runs in .streamgage
    pages = tables.query("page_views", window="1d", start="2015-05-17", end="2015-05-21", top=10, by="events")
    pages.rows[0]["page"], pages.freshness
    tables.query("device_metrics", key={"device_id": "machine-*"}, window="1h").pandas()
    tables.sql("select page, sum(events) n from page_views where \"window\" = '1d' group by page order by n desc").arrow()
"""

import html
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from processors.pipeline_files import load_pipeline
from processors.query.answer import Answer, answer, silence, told_errors
from processors.query.asking import prepared
from processors.query.cells import CountingStore
from processors.query.freshness import Freshness
from processors.query.question import Question
from processors.query.render import number_text
from processors.query.shape import Filling
from streamgage.definition.pipeline import Pipeline
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.measures.windows import MAX_EVENT_TIME_MS

Instant = str | datetime | int | None
"""A time: a datetime, ISO text (UTC unless it says otherwise), an age such as "2h", ms since the epoch; None: no bound."""
_SHOWN = 50  # rows in a notebook


class Place(Protocol):
    """Where tables are: the stack that runs here, or one on AWS."""

    @property
    def pipeline(self) -> Path | Pipeline:
        """The definition's file, or what it says."""

    @property
    def open(self) -> Callable[[], tuple[CountingStore, Freshness, str]]:
        """What connects: the table, how fresh it is now, and whose rollups are in it."""


@dataclass(frozen=True, slots=True)
class Result:
    """An answer. ``freshness`` says up to when everything is applied, ``about`` how far off values may be at most.

    ``is_settled``: no row of it may change, nor one come, but by a late event.
    """

    answer: Answer
    freshness: str
    applied_ms: int
    read_units: float
    about: tuple[str, ...] = ()
    is_settled: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.answer.names

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dict a row; numbers are int or Decimal, exact."""
        return [dict(zip(self.answer.names, row, strict=True)) for row in self.answer.rows]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.answer.rows)

    def arrow(self) -> Any:
        """Return a ``pyarrow.Table``. Raises: ConfigError, pyarrow is not installed."""
        from processors.query.arrow import to_arrow

        return to_arrow(self.answer)

    def pandas(self) -> Any:
        """Return a ``pandas.DataFrame``. Raises: ConfigError, pandas is not installed."""
        try:
            import pandas as pd  # noqa: F401 - Arrow makes the frame
        except ModuleNotFoundError as error:
            raise _missing("pandas") from error
        return self.arrow().to_pandas()

    def polars(self) -> Any:
        """Return a ``polars.DataFrame``. Raises: ConfigError, polars is not installed."""
        try:
            import polars as pl
        except ModuleNotFoundError as error:
            raise _missing("polars") from error
        return pl.from_arrow(self.arrow())

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.answer.names)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(number_text(cell))}</td>' for cell in row)}</tr>"
            for row in self.answer.rows[:_SHOWN]
        )
        more = f"<p>{len(self) - _SHOWN:,} more rows</p>" if len(self) > _SHOWN else ""
        said = "".join(f"<br>{html.escape(each)}" for each in (self.freshness, *self.about))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}<small>{len(self):,} rows{said}</small>"


class Tables:
    """The rollups of one stack. Nothing is connected before the first question."""

    def __init__(
        self, place: Place, *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._place, self._now_ms = place, now_ms

    @classmethod
    def local(cls, home: str | Path | None = None) -> "Tables":
        """Return the tables of the stack that runs in the folder *home*, $STREAMGAGE_HOME or .streamgage by default.

        Raises:
            ConfigError: none runs there.
        """
        return cls(_opener("local")(home))

    @classmethod
    def aws(
        cls, stack: str, *, region: str | None = None, pipeline: str | Path = "pipeline.toml"
    ) -> "Tables":
        """Return the tables of a stack on AWS, by the credentials of this environment.

        Raises:
            ConfigError: it is not found.
        """
        return cls(_opener("aws")(stack, region, Path(pipeline)))

    @property
    def pipeline(self) -> Pipeline:
        """The definition."""
        found = self._place.pipeline
        return found if isinstance(found, Pipeline) else load_pipeline(found)

    def rollups(self) -> dict[str, dict[str, Any]]:
        """Return what can be asked: of each rollup its key, its windows and its measures."""
        return {
            name: {
                "key": list(each.key),
                "windows": [windows.label for windows in each.windows],
                "measures": {field: list(measures) for field, measures in each.measures.items()},
            }
            for name, each in self.pipeline.rollups.items()
        }

    def query(
        self,
        rollup: str,
        *,
        window: str | None = None,
        start: Instant = None,
        end: Instant = None,
        key: Mapping[str, str] | None = None,
        where: str | None = None,
        group_by: Iterable[str] | None = None,
        total: bool = False,
        top: int | None = None,
        by: str | None = None,
        each_window: bool = False,
        any_window: bool = False,
        compare: str | None = None,
        fill: Filling | None = None,
        moving: int = 1,
        select: Mapping[str, str] | None = None,
        limit: int | None = None,
        eventual: bool = False,
    ) -> Result:
        """Return the aggregates of *rollup*: of all its keys, or of those that match *key*.

        Args:
            rollup: as pipeline.toml names it.
            window: "1h", "1d", "1w", "1d@Europe/Berlin", …; the smallest of the rollup by default. One that is not kept is
                merged from those that are.
            start: windows that end after it.
            end: windows that begin before it.
            key: values or patterns (``*``, ``?``) of fields of the key.
            where: which rows, by an expression: ``"events > 100"``; docs/expressions.md.
            group_by: merge keys that share these fields; an empty list merges all.
            total: one row a key, over all windows.
            top: the first so many rows, over the whole range.
            by: by what they are ranked, or what is compared: "events", "bytes.sum".
            each_window: the first of each window instead.
            any_window: the first rows of any window: the busiest hours.
            compare: "previous", or how long before, "7d": what was then, beside each row.
            fill: "null", "zero" or "previous": rows for windows without events.
            moving: each row of so many windows.
            select: more columns, by expression.
            limit: so many rows at most.
            eventual: read what is over at half the price; nothing of it is called complete.

        Raises:
            ConfigError: what is wrong with the question; or the table holds something else.
        """
        now_ms = self._now_ms()
        question, shape = prepared(
            self.pipeline,
            rollup,
            key=key,
            window=window,
            from_ms=instant_ms(start, now_ms=now_ms, default_ms=0),
            to_ms=instant_ms(end, now_ms=now_ms, default_ms=MAX_EVENT_TIME_MS),
            group_by=group_by,
            total=total,
            top=top,
            by=by,
            each_window=each_window,
            any_window=any_window,
            where=where,
            select=select,
            compare=compare,
            fill=fill,
            moving=moving,
            limit=limit,
        )

        def read(store: CountingStore, again: CountingStore | None, fresh: Freshness) -> Answer:
            return answer(store, question, shape, applied_ms=fresh.applied_ms, now_ms=now_ms, eventual=again)

        return self._asked(question, read, now_ms, eventual=eventual)

    def silent(
        self,
        rollup: str,
        for_: str,
        *,
        as_of: Instant = None,
        start: Instant = None,
        key: Mapping[str, str] | None = None,
        window: str | None = None,
    ) -> Result:
        """Return the keys of *rollup* that were not heard of for an age such as "1h", by now or by *as_of*."""
        now_ms = self._now_ms()
        as_of_ms = instant_ms(as_of, now_ms=now_ms, default_ms=now_ms)
        from_ms = instant_ms(start, now_ms=now_ms, default_ms=0)
        question, _ = prepared(
            self.pipeline,
            rollup,
            key=key,
            window=window,
            from_ms=from_ms,
            to_ms=MAX_EVENT_TIME_MS if as_of is None else as_of_ms,
        )

        def read(store: CountingStore, _again: CountingStore | None, _fresh: Freshness) -> Answer:
            return silence(store, question, for_ms=_duration_ms(for_), as_of_ms=as_of_ms, now_ms=now_ms)

        return self._asked(question, read, now_ms)

    def sql(
        self,
        statement: str,
        *,
        start: Instant = None,
        end: Instant = None,
        files: Mapping[str, str | Path] | None = None,
        timeout_s: float = 60,
    ) -> Result:
        """Return what DuckDB makes of one SELECT over rollups, which are its tables, and over *files* by name.

        Only what the statement names is read, in windows that overlap ``[start, end)``; see ``processors.query.sql``.

        Raises:
            ConfigError: the statement is wrong, or asks for what it may not; DuckDB is not installed.
        """
        from processors.query.sql import SqlTables, run

        now_ms = self._now_ms()
        pipeline = self.pipeline
        store, fresh, consumer = self._place.open()
        source = SqlTables(
            pipeline,
            consumer,
            store,
            from_ms=instant_ms(start, now_ms=now_ms, default_ms=0),
            to_ms=instant_ms(end, now_ms=now_ms, default_ms=MAX_EVENT_TIME_MS),
            applied_ms=fresh.applied_ms,
            now_ms=now_ms,
        )
        given = run(
            statement,
            source,
            files={name: Path(each) for name, each in (files or {}).items()},
            timeout_s=timeout_s,
        )
        return Result(given, fresh.describe(now_ms), fresh.applied_ms, store.read_units)

    def _asked(
        self,
        question: Question,
        read: Callable[[CountingStore, CountingStore | None, Freshness], Answer],
        now_ms: int,
        *,
        eventual: bool = False,
    ) -> Result:
        store, fresh, consumer = self._place.open()
        check_consumer(question, consumer)
        again = store.eventually() if eventual else None
        given = read(store, again, fresh)
        units = store.read_units + (again.read_units if again else 0)
        return Result(
            given,
            fresh.describe(now_ms),
            fresh.applied_ms,
            units,
            tuple(told_errors(given, question)),
            not eventual and _last_ms(question) <= fresh.applied_ms,
        )


def check_consumer(question: Question, consumer: str) -> None:
    """Refuse a question about what another consumer counts: its progress would say a wrong freshness. Raises: ConfigError."""
    rollup = question.rollup
    if rollup.consumer != consumer:
        raise ConfigError(
            f"rollup {rollup.name} is counted by consumer {rollup.consumer}, and this stack counts for {consumer}: ask the "
            "stack of that consumer (--target aws --stack NAME)"
        )


def instant_ms(instant: Instant, *, now_ms: int, default_ms: int) -> int:
    """Return *instant* in ms since the epoch. Raises: ConfigError, it is none."""
    if instant is None:
        return default_ms
    if isinstance(instant, int):
        return instant
    if isinstance(instant, str):
        try:
            return now_ms - parse_duration(instant)
        except ValueError:
            pass
        try:
            instant = datetime.fromisoformat(instant)
        except ValueError as error:
            raise ConfigError(
                f"{instant!r} is neither a time (2015-05-17, 2015-05-17T10:00:00Z) nor an age (30m, 2d)"
            ) from error
    return round((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)


def _last_ms(question: Question) -> int:
    """Return where the last window ends that *question* asks about."""
    ends_ms = question.to_ms - 1
    return max(question.windows.assign(ends_ms).end_ms, question.window_of(ends_ms).end_ms)


def _duration_ms(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{text!r}: {error}") from error


def _opener(name: str) -> Callable[..., Place]:
    """Return what knows the places of a kind: rooms that this one must not import offer them."""
    from importlib.metadata import entry_points

    for found in entry_points(group="streamgage.places", name=name):
        opener: Callable[..., Place] = found.load()
        return opener
    raise ConfigError(f"nothing here knows {name} tables: pip install 'streamgage[ask]'")


def _missing(library: str) -> ConfigError:
    return ConfigError(f"this needs {library}: pip install {library}")
