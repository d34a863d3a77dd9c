"""The subcommands `streamgage send` and `streamgage simulate`: their arguments and their help."""

import argparse
from collections.abc import Callable
from typing import Any

from infra.commands.places import add_stack_options
from infra.commands.send_files import (
    CSV_EXAMPLE,
    JSON_EPILOG,
    LOG_EXAMPLE,
    NDJSON_EXAMPLE,
    TIME_EPILOG,
    add_file_options,
)
from infra.commands.sending import run_send, run_send_undelivered, run_simulate_fleet, run_simulate_visitors
from infra.commands.world import World, real_world
from producers.simulators.fleet import SENSORS

_SEND_EPILOG = """\
exit code:
  0  every row was imported            1  some could not be delivered: kept in a file, with how to send it
  3  some rows were quarantined        2  nothing was sent: an argument, the file or the pipeline is wrong
  130  interrupted by Ctrl-C; what was read until then is delivered
"""
_ROWS_EPILOG = """
Rows that cannot be used are quarantined in a rejects file (NDJSON: file, line, reason, raw), made only when needed
and never overwritten; so are those that the consumer would quarantine (too late, in the future, a number or a key too large).
imported + quarantined (+ undelivered) = rows; blank lines, comments and missing values are skipped and counted apart.
"""
_UNDELIVERED_EXAMPLE = """examples:
  streamgage send undelivered machine.csv.undelivered.ndjson
"""
_SIMULATE_EPILOG = """
The same seed and options give the same events. --start is the first event's time; without it (or with "now") the
simulated time ends now: events later than now would be quarantined. --totals writes what a query should answer.
"""
_FLEET_EXAMPLE = """examples:
  streamgage simulate fleet --devices 500 --events 200000 --seed 1 --period 10s --totals totals.json
  streamgage simulate fleet --devices 3 --events 90 --rate 3/s
  streamgage simulate fleet --devices 3 --events 90 --target aws --stack plant-7
  streamgage simulate fleet --devices 10 --events 1000 --start 2024-01-01 --out readings.ndjson
"""
_VISITORS_EXAMPLE = """examples:
  streamgage simulate visitors --visitors 2000 --events 50000 --seed 1
"""

_Commands = Any  # argparse's type of subparsers is private


def add_commands(subparsers: _Commands, *, world: World | None = None) -> None:
    """Add `send` and `simulate` to the `streamgage` command.

    Each sets ``run``, a function from the parsed arguments to the exit code, which raises ConfigError for what the
    person at the terminal has to change. *world* is this process's own unless a test brings another.
    """
    _add_send(subparsers, lambda: world or real_world())
    _add_simulate(subparsers, lambda: world or real_world())


def _add_send(subparsers: _Commands, surroundings: Callable[[], World]) -> None:
    send = _command(subparsers, "send", "send a file or standard input to the stream", _SEND_EPILOG)
    kinds = send.add_subparsers(title="kinds of file", required=True, metavar="KIND")
    for kind, what, example, more in (
        ("csv", "send CSV files with a header", CSV_EXAMPLE, TIME_EPILOG),
        ("ndjson", "send newline-delimited JSON", NDJSON_EXAMPLE, JSON_EPILOG),
        ("access-log", "send a web server's access log", LOG_EXAMPLE, ""),
    ):
        parser = _command(kinds, kind, what, example + _ROWS_EPILOG + more + "\n" + _SEND_EPILOG)
        _add_row_options(parser, kind)
        parser.set_defaults(run=lambda args, kind=kind: run_send(args, kind, surroundings()))
    parser = _command(
        kinds,
        "undelivered",
        "send what an earlier command could not deliver",
        _UNDELIVERED_EXAMPLE + "\n" + _SEND_EPILOG,
    )
    parser.add_argument("file", metavar="FILE", help="the *.undelivered.ndjson file, or - for standard input")
    parser.add_argument("--rejects", metavar="PATH", help="where lines go that hold no user record")
    _add_target_options(parser)
    parser.set_defaults(run=lambda args: run_send_undelivered(args, surroundings()))


def _add_row_options(parser: argparse.ArgumentParser, kind: str) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="+",
        help="files, patterns ('logs/*.gz'), or - for standard input; compressed by gzip, zstd, bzip2 or xz too",
    )
    parser.add_argument(
        "--source",
        metavar="NAME",
        required=kind != "access-log",
        default="click",
        help="the source in the pipeline that the rows are of" + (" (click)" if kind == "access-log" else ""),
    )
    parser.add_argument(
        "--map",
        metavar="FIELD=COLUMN",
        action="append",
        default=[],
        help="fill FIELD from COLUMN; a field with the name of a column needs none; two columns: ts=Date+Time",
    )
    parser.add_argument(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="the same value for every row; an entry of a map: --set tags.site=north",
    )
    add_file_options(parser, kind)
    retime = parser.add_mutually_exclusive_group()
    retime.add_argument("--as-is", action="store_true", help="keep the recorded event times (the default)")
    retime.add_argument(
        "--shift-to-now", action="store_true", help="add a constant so that the latest event is now"
    )
    retime.add_argument(
        "--speed",
        metavar="N",
        type=float,
        help="replay: N s of recorded time a second, events happen when sent",
    )
    parser.add_argument("--limit", metavar="N", type=int, help="stop after N rows")
    parser.add_argument("--dry-run", action="store_true", help="read, check and report; send nothing")
    parser.add_argument(
        "--rejects", metavar="PATH", help="where quarantined rows go (FILE.rejects.ndjson here)"
    )
    _add_pipeline_option(parser)
    _add_target_options(parser)


def _add_simulate(subparsers: _Commands, surroundings: Callable[[], World]) -> None:
    send = _command(subparsers, "simulate", "send simulated telemetry", _SIMULATE_EPILOG)
    kinds = send.add_subparsers(title="what", required=True, metavar="WHAT")
    fleet = _command(kinds, "fleet", "readings of a fleet of devices", _FLEET_EXAMPLE + _SIMULATE_EPILOG)
    fleet.add_argument("--devices", type=int, default=500, metavar="N", help="(500)")
    fleet.add_argument("--events", type=int, default=200_000, metavar="N", help="readings in all (200000)")
    fleet.add_argument(
        "--metrics", type=int, default=3, metavar="N", help=f"a device, 1 to {len(SENSORS)} (3)"
    )
    fleet.add_argument("--period", default="10s", metavar="T", help="between two readings of a metric (10s)")
    fleet.add_argument(
        "--late-share", type=float, default=0.02, metavar="X", help="share out of order (0.02)"
    )
    fleet.add_argument("--late-by", default="2m", metavar="T", help="how far behind those are at most (2m)")
    fleet.set_defaults(run=lambda args: run_simulate_fleet(args, surroundings()))
    visitors = _command(
        kinds, "visitors", "clicks of a web site's visitors", _VISITORS_EXAMPLE + _SIMULATE_EPILOG
    )
    visitors.add_argument("--visitors", type=int, default=2_000, metavar="N", help="(2000)")
    visitors.add_argument("--events", type=int, default=50_000, metavar="N", help="clicks in all (50000)")
    visitors.add_argument("--pages", type=int, default=200, metavar="N", help="of the site (200)")
    visitors.add_argument("--span", default="6h", metavar="T", help="simulated time, about (6h)")
    visitors.set_defaults(run=lambda args: run_simulate_visitors(args, surroundings()))
    for parser in (fleet, visitors):
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="(1)")
        parser.add_argument("--start", default="now", metavar="TIME", help="ISO 8601 (so that it ends now)")
        parser.add_argument("--rate", metavar="N/s", help="at most so many events a second (no limit)")
        parser.add_argument("--totals", metavar="PATH", help="write the expected totals as JSON")
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--dry-run", action="store_true", help="generate and encode; send nothing")
        where.add_argument("--out", metavar="PATH", help="write NDJSON there; send nothing")
        _add_pipeline_option(parser)
        _add_target_options(parser)


def _command(subparsers: _Commands, name: str, what: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=what,
        description=what[:1].upper() + what[1:] + ".",
        epilog=epilog.lstrip("\n"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def _add_pipeline_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pipeline", metavar="PATH", help="the definition (pipeline.toml, or $STREAMGAGE_PIPELINE)"
    )


def _add_target_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("stream", "without any of these: the stack that runs here")
    add_stack_options(group)
    group.add_argument("--stream", metavar="NAME", help="of the Kinesis stream")
    group.add_argument("--endpoint-url", metavar="URL", help="of Kinesis, where it is not AWS's own")
    group.add_argument(
        "--one-key-per-record",
        action="store_true",
        help="give each Kinesis record one partition key; needed where the mapping's ParallelizationFactor is above 1",
    )
