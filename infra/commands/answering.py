"""How ``streamgage query`` asks, and how it tells an answer: as a table, as data, as a picture, or again and again."""

import argparse
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.commands.arguments import pairs
from infra.commands.asked_at import Place, parse_instant
from producers.terminal import data_out
from streamgage.errors import ConfigError
from streamgage.measures.windows import MAX_EVENT_TIME_MS

if TYPE_CHECKING:
    from processors.query.answer import Answer, Shape
    from processors.query.cells import DynamoPartialStore
    from processors.query.freshness import Freshness
    from processors.query.question import Question

_FOLLOW_S = 2.0
ANY_WIDTH = 2_000  # of what no terminal shows: a table takes what it needs


@dataclass(frozen=True, slots=True)
class Asker:
    """A question, what is made of its rows, and where it is asked. ``silent_ms`` asks for silent keys instead."""

    question: "Question"
    shape: "Shape"
    place: "Place"
    silent_ms: int | None
    as_of_ms: int | None
    is_eventual: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace, place: "Place", *, now_ms: int) -> "Asker":
        """Return what the command line asks. Raises: ConfigError, with every problem that is found together."""
        from processors.pipeline_files import load_pipeline
        from processors.query.asking import prepared
        from streamgage.durations import parse_duration

        _check(arguments)
        question, shape = prepared(
            load_pipeline(place.pipeline),
            arguments.rollup,
            key=pairs(arguments.key, "name=value"),
            window=arguments.window,
            from_ms=parse_instant(arguments.from_, now_ms=now_ms, default_ms=0),
            to_ms=parse_instant(arguments.to, now_ms=now_ms, default_ms=MAX_EVENT_TIME_MS),
            group_by=None if arguments.group_by is None else filter(None, arguments.group_by.split(",")),
            total=arguments.total,
            top=arguments.top,
            by=arguments.by,
            each_window=arguments.each_window,
            any_window=arguments.any_window,
            where=arguments.where,
            select=pairs(arguments.select, option="--select"),
            compare=arguments.compare,
            fill=arguments.fill,
            moving=arguments.moving,
            limit=arguments.limit,
        )
        try:
            silent_ms = None if arguments.silent is None else parse_duration(arguments.silent)
        except ValueError as error:
            raise ConfigError(f"--silent {arguments.silent!r}: {error}") from error
        as_of_ms = parse_instant(arguments.to, now_ms=now_ms, default_ms=0) if arguments.to else None
        return cls(question, shape, place, silent_ms, as_of_ms, arguments.eventual)

    def ask(self, now_ms: int) -> "tuple[Answer, str]":
        """Return the answer, and what is to be said of it: how fresh it is, and what it cost. Raises: ConfigError."""
        store, fresh, consumer = self.place.open()
        eventual = store.eventually() if self.is_eventual else None
        given = self._answered(store, eventual, fresh, consumer, now_ms)
        about = fresh.describe(now_ms)
        if self.silent_ms is not None:
            about = f"as of {self._silent_as_of(now_ms)}; {about}"
        if eventual is None:
            return given, f"{about}; {store.read_units:,g} read units"
        return given, (
            f"{about}; {store.read_units + eventual.read_units:,g} read units, of them "
            f"{eventual.read_units:,g} with eventual consistency: what was read so may lack what was written last, keys and "
            "windows too, and none of it is said to be complete"
        )

    def _silent_as_of(self, now_ms: int) -> str:
        from processors.query.answer import time_text
        from processors.query.silence import instant_of

        return time_text(
            instant_of(self.question, now_ms if self.as_of_ms is None else self.as_of_ms, now_ms=now_ms)
        )

    def _answered(
        self,
        store: "DynamoPartialStore",
        eventual: "DynamoPartialStore | None",
        fresh: "Freshness",
        consumer: str,
        now_ms: int,
    ) -> "Answer":
        from processors.query.answer import answer, silence
        from processors.query.tables import check_consumer

        check_consumer(self.question, consumer)
        if self.silent_ms is not None:
            as_of_ms = now_ms if self.as_of_ms is None else self.as_of_ms
            return silence(store, self.question, for_ms=self.silent_ms, as_of_ms=as_of_ms, now_ms=now_ms)
        return answer(
            store, self.question, self.shape, applied_ms=fresh.applied_ms, now_ms=now_ms, eventual=eventual
        )


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what does not go together. Raises: ConfigError with every problem."""
    problems = []
    if arguments.silent is not None:
        given = (
            "window", "top", "where", "select", "compare", "fill", "plot", "follow", "total", "limit", "eventual",
        )  # fmt: skip
        problems += [
            f"--silent asks for keys by themselves, and reads the windows that it needs: leave --{each} out"
            for each in given
            if getattr(arguments, each)
        ]
        if arguments.moving > 1:
            problems.append("--silent asks for keys by themselves: leave --moving out")
    if arguments.format == "parquet" and arguments.output is None:
        problems.append("--format parquet is for a file: add --output FILE.parquet")
    if arguments.follow and (arguments.format == "parquet" or arguments.plot or arguments.output):
        problems.append("--follow tells rows in a terminal or a pipe: leave --output and --plot out")
    if problems:
        raise ConfigError(*problems)


def tell(arguments: argparse.Namespace, asker: Asker, given: "Answer") -> None:
    """Write the answer down as it was asked for."""
    from processors.query.answer import told_errors

    if given.left:
        print(f"{given.left:,} more rows were left out (--limit {arguments.limit})", file=sys.stderr)
    if arguments.plot is not None:
        _draw(arguments, given)
    elif arguments.format == "table" and arguments.output is None:
        _table(arguments, asker.question, given)
    else:
        write(arguments, given)
    for line in told_errors(given, asker.question):
        print(line, file=sys.stderr)


def write(arguments: argparse.Namespace, given: "Answer") -> None:
    """Write the answer as data: to --output, or standard output."""
    if arguments.format == "parquet":
        from processors.query.arrow import to_parquet

        to_parquet(given, Path(arguments.output))
        print(f"{arguments.output}: {len(given.rows):,} rows", file=sys.stderr)
        return
    from processors.query.render import to_csv, to_json, to_ndjson

    if arguments.format == "json":
        lines: Iterable[str] = [to_json(given)]
    elif arguments.format == "ndjson":
        lines = to_ndjson(given)
    else:
        lines = to_csv(given, raw=arguments.raw)
    text = "".join(f"{line}\n" for line in lines)
    if arguments.output is None:
        data_out().write(text)
        return
    try:
        Path(arguments.output).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"{arguments.output}: cannot be written ({error.strerror})") from error
    print(f"{arguments.output}: {len(given.rows):,} rows", file=sys.stderr)


def _draw(arguments: argparse.Namespace, given: "Answer") -> None:
    from processors.query.plot import in_terminal, lines_of, to_image
    from producers.screen import Screen

    if not given.rows:
        print("no events in this range", file=sys.stderr)
        return
    lines, left = lines_of(given, arguments.plot)
    if arguments.output is not None:
        to_image(
            lines, Path(arguments.output), column=arguments.plot, title=f"{arguments.rollup} {arguments.plot}"
        )
        print(f"{arguments.output}: {len(lines)} {'line' if len(lines) == 1 else 'lines'}", file=sys.stderr)
    else:
        for each in in_terminal(lines, width=Screen().width):
            print(each)
    if left:
        print(
            f"{left:,} more keys are not drawn: --top N --each-window, --group-by or name=pattern narrow them",
            file=sys.stderr,
        )


def _table(arguments: argparse.Namespace, question: "Question", given: "Answer") -> None:
    from processors.query.tabled import table_of
    from producers.screen import Screen

    if not given.rows:
        was_silent = "last_seen" in given.names
        print(
            "no key of this range was silent so long" if was_silent else "no events in this range",
            file=sys.stderr,
        )
        return
    console = Screen()
    width = console.width if console.is_terminal else None
    table, said = table_of(question, given, width=width, asked=_asked_columns(arguments, given))
    (console if width is not None else Screen(width=ANY_WIDTH)).print(table)
    for each in said:
        print(each, file=sys.stderr)


def _asked_columns(arguments: argparse.Namespace, given: "Answer") -> set[str]:
    """Return the columns that the command line names, or asks for."""
    from processors.query.shape import COMPARED

    by = arguments.by or "events"
    names = {by, *pairs(arguments.select, option="--select")}
    return names | ({f"{by}.{how}" for how in COMPARED} & set(given.names))


def follow(arguments: argparse.Namespace, asker: Asker) -> None:
    """Ask again and again, and tell the rows that are new or have changed, until the person stops it."""
    from processors.query.answer import Answer
    from processors.query.render import to_csv, to_ndjson

    known: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    is_first = True
    while True:
        given, _ = asker.ask(time.time_ns() // 1_000_000)
        changed = [row for row in given.rows if known.get(row[: given.keys + 1]) != row]
        known = {row[: given.keys + 1]: row for row in given.rows}
        news = Answer(given.names, changed, given.keys)
        lines = (
            list(to_csv(news, raw=arguments.raw))
            if arguments.format in ("csv", "table")
            else list(to_ndjson(news))
        )
        if arguments.format in ("csv", "table") and not is_first:
            lines = lines[1:]
        out = data_out()
        out.write("".join(f"{line}\n" for line in lines))
        out.flush()
        is_first = False
        time.sleep(_FOLLOW_S)
