"""``streamgage query``: ask for the aggregates of one key."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infra.commands.arguments import Verbs, add_stack_options, add_verb, aws_stack, pairs, usual_pipeline
from infra.local.stack.home import Home, StackInfo
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.measures.windows import MAX_EVENT_TIME_MS

if TYPE_CHECKING:
    from processors.query.cells import DynamoPartialStore
    from processors.query.freshness import Freshness
    from processors.query.question import Question
    from processors.query.render import Cell

EXAMPLES = """examples:
  streamgage query device_metrics device_id=machine-1 metric=temperature --window 1d
  streamgage query page_views page=/index.html --window 1h --from 2015-05-17 --to 2015-05-18 --format csv
  streamgage query device_metrics device_id=d-7 metric=humidity --window 1m --from 30m --format json
  streamgage query device_metrics device_id=d-7 metric=humidity --target aws --stack plant-7

A window whose row says may_change was not over, or not wholly applied, when it was read."""


def add_parser(verbs: Verbs) -> None:
    """Add ``query``."""
    parser = add_verb(
        verbs,
        "query",
        "ask for the aggregates of one key",
        description="Ask for the aggregates of one key of a rollup, by window. Reads one key range, never the whole table.",
        epilog=EXAMPLES,
    )
    parser.add_argument("rollup", help="a rollup of pipeline.toml")
    parser.add_argument(
        "key", nargs="*", metavar="key=value", help="a value for each field of the rollup's key"
    )
    parser.add_argument("--window", help="window size, such as 1h; default: the smallest of the rollup")
    parser.add_argument(
        "--from", dest="from_", metavar="TIME", help="ISO date or time (UTC), or an age: 30m, 2d"
    )
    parser.add_argument("--to", metavar="TIME", help="windows that begin before it; the same forms")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
    parser.add_argument(
        "--eventual",
        action="store_true",
        help="read windows that are over and applied at half the price, with eventual consistency: they may lack what was "
        "written last, and say may_change",
    )
    parser.add_argument(
        "--pipeline",
        metavar="PATH",
        help="default: the one the local stack was started with; of AWS pipeline.toml, or $STREAMGAGE_PIPELINE",
    )
    add_stack_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Answer on standard output; 0 also where nothing was found."""
    from infra.aws.stacks import aws_errors
    from processors.pipeline_files import load_pipeline
    from processors.query.question import Question, ask
    from processors.query.render import cells, to_csv, to_json

    place = find_place(arguments)
    pipeline = load_pipeline(place.pipeline)
    now_ms = time.time_ns() // 1_000_000
    question = Question.parse(
        pipeline,
        rollup=arguments.rollup,
        key=pairs(arguments.key, "name=value"),
        window=arguments.window,
        from_ms=parse_instant(arguments.from_, now_ms=now_ms, default_ms=0),
        to_ms=parse_instant(arguments.to, now_ms=now_ms, default_ms=MAX_EVENT_TIME_MS),
    )
    store, fresh, consumer = place.open()
    if question.rollup.consumer != consumer:  # whose progress is another: it would say a wrong freshness
        raise ConfigError(
            f"rollup {question.rollup.name} is counted by consumer {question.rollup.consumer}, and this stack counts for "
            f"{consumer}: ask the stack of that consumer (--target aws --stack NAME)"
        )
    eventual = store.eventually() if arguments.eventual else None
    with aws_errors(f"table of {question.rollup.name}"):
        rows = list(ask(store, question, applied_ms=fresh.applied_ms, now_ms=now_ms, eventual=eventual))
    if arguments.format == "csv":
        print("\n".join(to_csv(question, rows)))
    elif arguments.format == "json":
        print(to_json(question, rows))
    else:
        print_table(question, [cells(question, row) for row in rows])
    print(fresh.describe(now_ms), file=sys.stderr)
    print(_cost(store, eventual), file=sys.stderr)
    return 0


def _cost(store: "DynamoPartialStore", eventual: "DynamoPartialStore | None") -> str:
    """Return what the reads cost, in a line, and what an answer read so may lack."""
    if eventual is None:
        return f"read units: {store.read_units:,.1f}"
    return (
        f"read units: {store.read_units + eventual.read_units:,.1f}, of them {eventual.read_units:,.1f} with eventual "
        "consistency: what was read so may lack what was written last, keys and windows too, and none of it is said to be "
        "complete"
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask. ``open`` connects, and tells whose rollups are there: a mistyped question need not wait for it."""

    pipeline: Path
    open: "Callable[[], tuple[DynamoPartialStore, Freshness, str]]"


def find_place(arguments: argparse.Namespace) -> Place:
    """Return where to ask: the stack that runs here, or one on AWS. Raises: ConfigError."""
    name = aws_stack(arguments)
    if name is not None:
        return Place(Path(arguments.pipeline or usual_pipeline()), lambda: _open_aws(name, arguments.region))
    home = Home.of(os.environ)
    info = home.info()
    return Place(Path(arguments.pipeline or info.pipeline), lambda: _open_local(home, info))


def _open_local(home: Home, info: StackInfo) -> "tuple[DynamoPartialStore, Freshness, str]":
    from infra.local.stack.supervisor import local_client
    from processors.query.cells import DynamoPartialStore
    from processors.query.freshness import freshness
    from processors.query.progress import read_progress

    store = DynamoPartialStore(
        local_client("dynamodb", info.endpoints["dynamodb"], info.credentials), info.table
    )
    progress = read_progress(store, info.consumer, info.stream)
    return store, freshness(progress, home.status()), info.consumer


def _open_aws(name: str, region: str | None) -> "tuple[DynamoPartialStore, Freshness, str]":
    from infra.aws.stacks import aws_client, find_stack
    from infra.aws.status import read_freshness
    from processors.query.cells import DynamoPartialStore

    stack = find_stack(name, region)
    fresh, _ = read_freshness(stack)
    store = DynamoPartialStore(aws_client("dynamodb", stack.region), stack.output("TableName"))
    return store, fresh, stack.consumer


def print_table(question: "Question", rows: "list[list[Cell]]") -> None:
    """Print *rows* for people."""
    from rich.console import Console
    from rich.table import Table

    from processors.query.render import columns, number_text

    if not rows:
        print("no events in this range", file=sys.stderr)
        return
    keys = len(question.rollup.key)
    table = Table(
        title=f"{question.rollup.name}  "
        + "  ".join(map("=".join, zip(question.rollup.key, question.key or (), strict=False)))
    )
    for number, name in enumerate(columns(question)[keys:]):
        table.add_column(name, justify="left" if number < 2 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(number_text(each) for each in row[keys:]))
    console = Console()
    Console(width=max(console.width, 200) if not console.is_terminal else None).print(table)


def parse_instant(text: str | None, *, now_ms: int, default_ms: int) -> int:
    """Return the instant, in ms: an ISO date or time (UTC unless it says otherwise), or an age such as ``2h``."""
    if text is None:
        return default_ms
    try:
        return now_ms - parse_duration(text)
    except ValueError:
        pass
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is neither a time (2015-05-17, 2015-05-17T10:00:00Z) nor an age (30m, 2d)"
        ) from error
    return round((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)
