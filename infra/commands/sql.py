"""``streamgage sql``: ask by SQL."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from infra.commands.answering import ANY_WIDTH, write
from infra.commands.arguments import Verbs, add_stack_options, add_verb, pairs
from infra.commands.asked_at import find_place, parse_instant
from streamgage.errors import ConfigError
from streamgage.measures.windows import MAX_EVENT_TIME_MS
from streamgage.visible import visible

if TYPE_CHECKING:
    from processors.query.answer import Answer

_MOST_ROWS = 100_000  # of a table for people
_LOOKED_AT = 100  # rows, for whether a column has texts

EXAMPLES = """examples:
  streamgage sql "select page, sum(events) n from page_views where \\"window\\" = '1d' group by page order by n desc limit 10"
  streamgage sql "select * from device_metrics where \\"window\\" = '1h' and value_max > 100" --from 7d --format csv
  streamgage sql "select d.site, avg(value_mean) from device_metrics join d using (device_id) group by all" --file d=devices.csv
  streamgage sql - --format parquet --output answer.parquet < question.sql

Each rollup is a table: its key's fields, "window" ('1h'), window_start, window_end, events, its measures by field_measure
(bytes_sum), may_change, partial. What is read are the windows that overlap --from to --to, of one size where the statement
says so of a table that it selects from alone, else of every size; so name one. One SELECT is run, by DuckDB, in memory; it
sees these tables and the files that are named, and nothing else of this machine."""


def add_parser(verbs: Verbs) -> None:
    """Add ``sql``."""
    parser = add_verb(
        verbs,
        "sql",
        "ask by SQL: joins, and the user's own files",
        description="Run one SELECT over rollups, by DuckDB.",
        epilog=EXAMPLES,
    )
    parser.add_argument("statement", help="one SELECT; - reads it from standard input")
    parser.add_argument(
        "--from", dest="from_", metavar="TIME", help="ISO date or time (UTC), or an age: 30m, 2d"
    )
    parser.add_argument("--to", metavar="TIME", help="windows that begin before it; the same forms")
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="one more table: .csv, .parquet, .json, .ndjson",
    )
    parser.add_argument("--timeout", type=_seconds, default=60.0, metavar="S", help="seconds; default: 60")
    parser.add_argument("--format", choices=("table", "csv", "json", "ndjson", "parquet"), default="table")
    parser.add_argument("--output", metavar="FILE", help="write there")
    parser.add_argument(
        "--raw", action="store_true", help="with csv: leave texts that a spreadsheet would take for formulas"
    )
    parser.add_argument("--pipeline", metavar="PATH", help="default: as `streamgage query`")
    add_stack_options(parser)
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to a day")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """Answer on standard output."""
    from infra.aws.stacks import aws_errors
    from processors.query.tables import Tables

    if arguments.format == "parquet" and arguments.output is None:
        raise ConfigError("--format parquet is for a file: add --output FILE.parquet")
    statement = sys.stdin.read() if arguments.statement == "-" else arguments.statement
    now_ms = time.time_ns() // 1_000_000
    tables = Tables(find_place(arguments), now_ms=lambda: now_ms)
    with aws_errors("the table"):
        result = tables.sql(
            statement,
            start=parse_instant(arguments.from_, now_ms=now_ms, default_ms=0),
            end=parse_instant(arguments.to, now_ms=now_ms, default_ms=MAX_EVENT_TIME_MS),
            files={name: Path(path) for name, path in pairs(arguments.file, option="--file").items()},
            timeout_s=arguments.timeout,
        )
    if arguments.format == "table" and arguments.output is None:
        _print_table(result.answer)
    else:
        write(arguments, result.answer)
    print(f"{result.freshness}; {result.read_units:,g} read units", file=sys.stderr)
    return 0


def _print_table(given: "Answer") -> None:
    """Print all columns: those with texts to the left, numbers to the right."""
    from rich.table import Table

    from processors.query.render import number_text
    from producers.screen import Screen

    if not given.rows:
        print("no rows", file=sys.stderr)
        return
    table = Table()
    for at, name in enumerate(given.names):
        is_text = any(isinstance(row[at], str) for row in given.rows[:_LOOKED_AT])
        table.add_column(visible(name), justify="left" if is_text else "right", no_wrap=True)
    for row in given.rows[:_MOST_ROWS]:
        table.add_row(*(visible(number_text(each)) for each in row))
    console = Screen()
    Screen(width=None if console.is_terminal else ANY_WIDTH).print(table)
    if len(given.rows) > _MOST_ROWS:
        print(f"{len(given.rows) - _MOST_ROWS:,} more rows: --format csv has them all", file=sys.stderr)
