"""``streamgage send``: recorded events, from a file or standard input, to the stream."""

import argparse
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from infra.commands.arguments import Verbs, add_stream_options, add_target_options, add_verb, collect_pairs
from infra.commands.sending import progress_of, sink_opener, source_of
from infra.commands.world import World, real_world
from processors.pipeline_files import load_pipeline
from producers.files.access_log import COLUMNS, read_access_log
from producers.files.csv import read_csv
from producers.files.lines import read_lines
from producers.files.mapping import plan_mapping
from producers.files.ndjson import read_ndjson
from producers.files.send import SendJob, Table, send_table, send_undelivered
from producers.files.times import time_parser
from streamgage.errors import ConfigError

_SEND_EPILOG = """\
exit code:
  0  every row was imported            1  some could not be delivered: kept in a file, with how to send it
  3  some rows were quarantined        2  nothing was sent: an argument, the file or the pipeline is wrong
  130  interrupted by Ctrl-C; what was read until then is delivered
"""
_ROWS_EPILOG = """
Rows that cannot be used are quarantined in a rejects file (NDJSON: file, line, reason, raw), made only when needed
and never overwritten. imported + quarantined (+ undelivered) = rows; blank lines are skipped and counted apart.
"""
_TIME_EPILOG = """
Times: ISO 8601, with or without offset (none is UTC); a number of 10 digits is s since 1970, of 13 digits ms, of any
other length it needs --time-unit. Times are kept to the ms, rounded down.
"""
_CSV_EXAMPLE = """examples:
  streamgage send csv machine.csv --source reading --set device_id=machine-1 --set metric=temperature \\
      --map ts=timestamp --map value=value
  streamgage send csv machine.csv --source reading --target aws --stack plant-7 --region eu-central-1
  streamgage send csv rooms.csv --source reading --map device_id=room --set metric=co2 --set tags.site=north --speed 60
"""
_NDJSON_EXAMPLE = """examples:
  streamgage send ndjson events.ndjson --source reading --map value=payload.temperature
  mosquitto_sub -t sensors/# | streamgage send ndjson - --source reading
"""
_LOG_EXAMPLE = """examples:
  streamgage send access-log access.log
  zcat access.log.*.gz | streamgage send access-log - --shift-to-now

A line fills visitor_id (the client's address), page (the path, without its query), referrer, action, ts, status,
bytes and properties (method, user_agent, query). action is "view" for GET and HEAD, else the method in lower case.
"-" is null. Combined and Common Log Format are read; a line in neither (cut off, say) is quarantined.
"""
_UNDELIVERED_EXAMPLE = """examples:
  streamgage send undelivered machine.csv.undelivered.ndjson
"""


def add_parser(verbs: Verbs, *, world: World | None = None) -> None:
    """Add ``send`` and its kinds of file. *world* is this process's own unless a test brings another."""
    send = add_verb(
        verbs,
        "send",
        "send a file or standard input to the stream",
        epilog=_SEND_EPILOG,
        allow_abbrev=False,
    )
    kinds = send.add_subparsers(title="kinds of file", required=True, metavar="KIND")
    for kind, what, example, with_times in (
        ("csv", "send a CSV file with a header", _CSV_EXAMPLE, True),
        ("ndjson", "send newline-delimited JSON", _NDJSON_EXAMPLE, True),
        ("access-log", "send a web server's access log", _LOG_EXAMPLE, False),
    ):
        times = _TIME_EPILOG if with_times else ""
        parser = add_verb(
            kinds, kind, what, epilog=example + _ROWS_EPILOG + times + "\n" + _SEND_EPILOG, allow_abbrev=False
        )
        _add_row_options(parser, kind, with_times=with_times)
        parser.set_defaults(run=lambda args, kind=kind: run(args, kind, world or real_world()))
    parser = add_verb(
        kinds,
        "undelivered",
        "send what an earlier command could not deliver",
        epilog=_UNDELIVERED_EXAMPLE + "\n" + _SEND_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="the *.undelivered.ndjson file, or - for standard input")
    parser.add_argument("--rejects", metavar="PATH", help="where lines go that hold no user record")
    add_target_options(parser)
    parser.set_defaults(run=lambda args: run_undelivered(args, world or real_world()))


def _add_row_options(parser: argparse.ArgumentParser, kind: str, *, with_times: bool) -> None:
    parser.add_argument("file", metavar="FILE", help="the file, or - for standard input")
    parser.add_argument(
        "--source",
        metavar="NAME",
        required=kind != "access-log",
        default="click",
        help="the source in the pipeline that the rows are of" + ("" if with_times else " (click)"),
    )
    parser.add_argument(
        "--map",
        metavar="FIELD=COLUMN",
        action="append",
        default=[],
        help="fill FIELD from COLUMN; a field with the name of a column needs none",
    )
    parser.add_argument(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="the same value for every row; an entry of a map: --set tags.site=north",
    )
    if kind == "csv":
        parser.add_argument(
            "--delimiter", metavar="CHAR", default=",", help='between cells (","); "tab" for tabs'
        )
    if with_times:
        times = parser.add_mutually_exclusive_group()
        times.add_argument(
            "--time-unit", choices=("s", "ms"), help="times are numbers since 1970 in this unit"
        )
        times.add_argument(
            "--time-format", metavar="FORMAT", help="as strptime reads it, such as %%d.%%m.%%Y_%%H:%%M"
        )
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
    add_stream_options(parser)


def run(args: argparse.Namespace, kind: str, world: World) -> int:
    """Run `streamgage send csv|ndjson|access-log`; return the exit code. Raises: ConfigError."""
    pipeline = load_pipeline(world.pipeline_path(args.pipeline))
    source = source_of(pipeline, args.source)
    maps, constants = _check_send(args)
    parse_time = time_parser(getattr(args, "time_unit", None), getattr(args, "time_format", None))
    delimiter = _delimiter(getattr(args, "delimiter", ","))
    with ExitStack() as stack:
        stream, name, size_bytes = _open(args.file, world, stack, twice=args.shift_to_now)

        def open_table() -> Table:
            if args.shift_to_now:
                stream.seek(0)
            lines = read_lines(stream, name)
            columns: Sequence[str] | None = None
            if kind == "csv":
                table = read_csv(lines, name, delimiter=delimiter)
                columns, rows = table.columns, table.rows
            elif kind == "ndjson":
                rows = read_ndjson(lines, name)
            else:
                columns, rows = COLUMNS, read_access_log(lines, name)
            mapping = plan_mapping(
                source, columns=columns, maps=maps, constants=constants, parse_time=parse_time
            )
            return Table(rows, mapping)

        base = "stdin" if args.file == "-" else Path(args.file).name
        job = SendJob(
            name=name,
            source=source,
            rejects=world.folder / (args.rejects or f"{base}.rejects.ndjson"),
            undelivered=world.folder / f"{base}.undelivered.ndjson",
            limit=args.limit,
            shift_to_now=args.shift_to_now,
            speed=args.speed,
            open_sink=None if args.dry_run else sink_opener(args, world),
            warn=world.warn,
        )
        return send_table(
            job, open_table, clock=world.clock, progress=progress_of(world, base, size_bytes), out=world.out
        )


def run_undelivered(args: argparse.Namespace, world: World) -> int:
    """Run `streamgage send undelivered`; return the exit code. Raises: ConfigError."""
    with ExitStack() as stack:
        stream, name, _ = _open(args.file, world, stack, twice=False)
        sink = stack.enter_context(sink_opener(args, world)())
        base = "stdin" if args.file == "-" else Path(args.file).name
        return send_undelivered(
            read_lines(stream, name),
            name=name,
            sink=sink,
            rejects=world.folder / (args.rejects or f"{base}.rejects.ndjson"),
            undelivered=world.folder / base,  # it is there, so a second failure makes …-2.ndjson
            out=world.out,
            warn=world.warn,
        )


def _check_send(args: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    problems: list[str] = []
    maps = collect_pairs(args.map, "FIELD=COLUMN", option="--map", problems=problems, may_be_empty=False)
    constants = collect_pairs(args.set, "FIELD=VALUE", option="--set", problems=problems)
    if args.limit is not None and args.limit < 1:
        problems.append(f"--limit {args.limit}: at least 1")
    if args.speed is not None and not (0 < args.speed < math.inf):
        problems.append(f"--speed {args.speed}: a number above 0; 1 is as fast as it was recorded")
    if problems:
        raise ConfigError(*problems)
    return maps, constants


def _delimiter(text: str) -> str:
    delimiter = "\t" if text in ("tab", "\\t") else text
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ConfigError(f'--delimiter {text!r}: one character that is no quote or line end, or "tab"')
    return delimiter


def _open(file: str, world: World, stack: ExitStack, *, twice: bool) -> tuple[BinaryIO, str, int | None]:
    """Return the opened file, its name in messages, and its size where known; *twice* makes it seekable."""
    if file == "-":
        if not twice:
            return world.stdin, "standard input", None
        spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        shutil.copyfileobj(world.stdin, spool)
        return spool, "standard input", spool.tell()
    path = world.folder / file
    try:
        stream = stack.enter_context(path.open("rb"))
        return stream, file, os.fstat(stream.fileno()).st_size or None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
