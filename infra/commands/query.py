"""``streamgage query``: ask for aggregates."""

import argparse
import sys
import time

from infra.commands.arguments import Verbs, add_stack_options, add_verb
from infra.commands.asked_at import find_place

EXAMPLES = """examples:
  streamgage query device_metrics device_id=machine-1 metric=temperature --window 1d
  streamgage query page_views page=/index.html --window 1h --from 2015-05-17 --to 2015-05-18 --format csv
  streamgage query device_metrics device_id=machine-1 metric='*' --window 1d --format json
  streamgage query page_views --window 1d --from 2015-05-17 --to 2015-05-21 --top 10 --by events
  streamgage query page_views --group-by '' --window 1h --top 3 --any-window
  streamgage query page_views page='/blog/*' --group-by '' --window 1d@Europe/Berlin --plot events
  streamgage query device_metrics --group-by metric --window 1w --compare previous --where "events > 100"
  streamgage query device_metrics --silent 1h --format json
  streamgage query device_metrics --silent 1h --to 2014-04-24T01:00
  streamgage query device_metrics device_id=d-7 metric=humidity --window 1m --from 10m --follow
  streamgage query page_views --window 1h --format parquet --output views.parquet
  streamgage query device_metrics device_id=d-7 metric=humidity --target aws --stack plant-7

A field of the key that is not given may be anything; * and ? in one stand for any characters and for one. A window that the
rollup does not keep is merged from those that it does: what is merged are states, so a mean stays the mean of all events.
A window whose row says may_change was not over, or not wholly applied, when it was read; partial: some of it is not counted
here, or not kept any more. What expressions may say: docs/expressions.md."""


def add_parser(verbs: Verbs) -> None:
    """Add ``query``."""
    parser = add_verb(
        verbs,
        "query",
        "ask for aggregates: of one key, of many, the first of all, the silent ones",
        description="Ask for the aggregates of a rollup, by window. All keys of a window stand together: nothing is scanned.",
        epilog=EXAMPLES,
    )
    parser.add_argument("rollup", help="a rollup of pipeline.toml")
    parser.add_argument(
        "key", nargs="*", metavar="key=value", help="a value or pattern of a field of the rollup's key"
    )
    parser.add_argument(
        "--window", help="such as 15m, 1h, 1d, 1w, 1mo, 1d@Europe/Berlin; default: the smallest of the rollup"
    )
    parser.add_argument(
        "--from", dest="from_", metavar="TIME", help="ISO date or time (UTC), or an age: 30m, 2d"
    )
    parser.add_argument("--to", metavar="TIME", help="windows that begin before it; the same forms")
    _add_shape(parser)
    parser.add_argument("--format", choices=("table", "csv", "json", "ndjson", "parquet"), default="table")
    parser.add_argument("--output", metavar="FILE", help="write there; a terminal gets no parquet")
    parser.add_argument(
        "--raw",
        action="store_true",
        help="with csv: leave texts that a spreadsheet would take for formulas (=, +, -, @ in front) as they are",
    )
    parser.add_argument(
        "--plot",
        metavar="COLUMN",
        nargs="?",
        const="events",
        help="draw it over time; --output makes a .png or .svg",
    )
    parser.add_argument(
        "--follow", action="store_true", help="go on, and tell rows as they change, until Ctrl-C"
    )
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


def _add_shape(parser: argparse.ArgumentParser) -> None:
    asked = parser.add_argument_group("what is made of the rows")
    asked.add_argument(
        "--group-by", metavar="FIELDS", help="merge keys that share these, such as page,site; '': all of them"
    )
    asked.add_argument("--total", action="store_true", help="one row a key, over all windows of the range")
    asked.add_argument("--top", type=whole_number, metavar="N", help="the first N keys over the whole range")
    asked.add_argument(
        "--by", metavar="COLUMN", help="by what they are ranked, or what is compared: events, bytes.sum, …"
    )
    asked.add_argument("--each-window", action="store_true", help="with --top: the first N of each window")
    asked.add_argument(
        "--any-window",
        action="store_true",
        help="with --top: the first N rows of any window: the busiest hours",
    )
    asked.add_argument(
        "--where", metavar="EXPRESSION", help="which rows: \"events > 100 and page like '/a%%'\""
    )
    asked.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="NAME=EXPRESSION",
        help="one more column: each=bytes.sum/events",
    )
    asked.add_argument(
        "--moving", type=whole_number, default=1, metavar="N", help="each row of N windows up to its own"
    )
    asked.add_argument(
        "--compare", metavar="WHEN", help="beside each row an earlier one: previous, or 7d before"
    )
    asked.add_argument("--fill", choices=("null", "zero", "previous"), help="rows for windows without events")
    asked.add_argument(
        "--silent", metavar="AGE", help="keys that were not heard of for so long by now, or by --to"
    )
    asked.add_argument(
        "--limit", type=whole_number, metavar="N", help="N rows at most; how many more there are is told"
    )


def whole_number(text: str) -> int:
    """Return the whole number above 0 that *text* says, for argparse."""
    if not text.isascii() or not text.isdecimal() or not int(text[:12]) > 0 or len(text) > 12:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Answer on standard output; 0 also where nothing was found."""
    from infra.aws.stacks import aws_errors
    from infra.commands.answering import Asker, follow, tell

    place = find_place(arguments)
    now_ms = time.time_ns() // 1_000_000
    asker = Asker.of(arguments, place, now_ms=now_ms)
    with aws_errors(f"table of {arguments.rollup}"):
        if arguments.follow:
            follow(arguments, asker)
            return 0
        given, about = asker.ask(now_ms)
    tell(arguments, asker, given)
    print(about, file=sys.stderr)
    return 0
