"""``streamgage query``: ask for the aggregates of one key."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from infra.commands.places import add_stack_options, aws_stack
from infra.local.stack.home import Home, StackInfo
from processors.query.freshness import Freshness, freshness
from processors.query.question import DynamoPartialStore, PartialStore, Question, ask, read_progress
from processors.query.render import Cell, cells, columns, number_text, to_csv, to_json
from streamgage.definition.pipeline_toml import load_pipeline
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.measures.windows import MAX_EVENT_TIME_MS

EXAMPLES = """examples:
  streamgage query device_metrics device_id=machine-1 metric=temperature --window 1d
  streamgage query page_views page=/index.html --window 1h --from 2015-05-17 --to 2015-05-18 --format csv
  streamgage query device_metrics device_id=d-7 metric=humidity --window 1m --from 30m --format json
  streamgage query device_metrics device_id=d-7 metric=humidity --target aws --stack plant-7

A window whose row says may_change was not over, or not wholly applied, when it was read."""


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``query``."""
    parser = commands.add_parser(
        "query",
        help="ask for the aggregates of one key",
        description="Ask for the aggregates of one key of a rollup, by window. Reads one key range, never the whole table.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        "--pipeline",
        metavar="PATH",
        help="default: the one the local stack was started with; of AWS pipeline.toml, or $STREAMGAGE_PIPELINE",
    )
    add_stack_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Answer on standard output; 0 also where nothing was found."""
    place = _find(arguments)
    pipeline = load_pipeline(place.pipeline)
    now_ms = time.time_ns() // 1_000_000
    question = Question.parse(
        pipeline,
        rollup=arguments.rollup,
        key=_pairs(arguments.key),
        window=arguments.window,
        from_ms=parse_instant(arguments.from_, now_ms=now_ms, default_ms=0),
        to_ms=parse_instant(arguments.to, now_ms=now_ms, default_ms=MAX_EVENT_TIME_MS),
    )
    store, fresh = place.open()
    from infra.aws.stacks import aws_errors  # noqa: PLC0415 - boto3, which open has loaded

    with aws_errors(f"table of {question.rollup.name}"):
        rows = list(ask(store, question, applied_ms=fresh.applied_ms))
    if arguments.format == "csv":
        print("\n".join(to_csv(question, rows)))
    elif arguments.format == "json":
        print(to_json(question, rows))
    else:
        print_table(question, [cells(question, row) for row in rows])
    print(fresh.describe(now_ms), file=sys.stderr)
    return 0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to ask. ``open`` connects: a mistyped question need not wait for it."""

    pipeline: Path
    open: Callable[[], tuple[PartialStore, Freshness]]


def _find(arguments: argparse.Namespace) -> _Place:
    name = aws_stack(arguments)
    if name is not None:
        path = arguments.pipeline or os.environ.get("STREAMGAGE_PIPELINE", "pipeline.toml")
        return _Place(Path(path), lambda: _open_aws(name, arguments.region))
    home = Home.of(os.environ)
    info = home.info()
    return _Place(Path(arguments.pipeline or info.pipeline), lambda: _open_local(home, info))


def _open_local(home: Home, info: StackInfo) -> tuple[PartialStore, Freshness]:
    from infra.local.stack.supervisor import local_client  # noqa: PLC0415 - boto3: a mistyped question need not wait for it

    store = DynamoPartialStore(
        local_client("dynamodb", info.endpoints["dynamodb"], info.credentials), info.table
    )
    return store, freshness(read_progress(store), home.status())


def _open_aws(name: str, region: str | None) -> tuple[PartialStore, Freshness]:
    from infra.aws.stacks import aws_client, find_stack  # noqa: PLC0415 - the same
    from infra.aws.status import read_freshness  # noqa: PLC0415 - boto3, as above

    stack = find_stack(name, region)
    fresh, _ = read_freshness(stack)
    return DynamoPartialStore(aws_client("dynamodb", stack.region), stack.output("TableName")), fresh


def print_table(question: Question, rows: list[list[Cell]]) -> None:
    """Print *rows* for people."""
    from rich.console import Console  # noqa: PLC0415 - only tables need it
    from rich.table import Table  # noqa: PLC0415 - only tables need it

    if not rows:
        print("no events in this range", file=sys.stderr)
        return
    keys = len(question.rollup.key)
    table = Table(
        title=f"{question.rollup.name}  "
        + "  ".join(map("=".join, zip(question.rollup.key, question.key, strict=True)))
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


def _pairs(texts: list[str]) -> dict[str, str]:
    wrong = [each for each in texts if "=" not in each]
    if wrong:
        raise ConfigError(*(f"{each!r} is not name=value" for each in wrong))
    return dict(each.split("=", 1) for each in texts)
