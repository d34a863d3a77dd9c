"""``streamgage send``: recorded events, from a file or standard input, to the stream."""

import argparse
import math
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from infra.commands.arguments import Verbs, add_stream_options, add_target_options, add_verb, collect_pairs
from infra.commands.send_files import (
    CSV_EXAMPLE,
    JSON_EPILOG,
    LOG_EXAMPLE,
    NDJSON_EXAMPLE,
    TIME_EPILOG,
    add_file_options,
    read_options,
)
from infra.commands.sending import progress_of, sink_opener, source_of
from infra.commands.world import World, real_world
from processors.pipeline_files import load_pipeline
from producers.client.undelivered import lock
from producers.files.follow import Follow, PositionFile
from producers.files.inputs import find_files
from producers.files.job import SendJob
from producers.files.send import send_tables
from producers.files.stop import Patience
from producers.files.tables import FileTables
from producers.files.undelivered import ResendJob, send_undelivered
from producers.files.verdict import ConsumerRules
from producers.files.watched import open_input, watched
from streamgage.errors import ConfigError

_SEND_EPILOG = """\
exit code:
  0  every row was imported            1  some could not be delivered: kept in a file, with how to send it
  3  some rows were quarantined        2  nothing was sent: an argument, the file or the pipeline is wrong
  130  interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP): what was read until then is delivered, and it is said
       how to go on (--from-line). A second Ctrl-C does not wait: what is not delivered goes to a file, as with 1
"""
_ROWS_EPILOG = """
Rows that cannot be used are quarantined in a rejects file (NDJSON: file, line, reason, raw), made only when needed
and never overwritten; so are those that the consumer would quarantine (too late, in the future, a number or a key too large).
imported + quarantined (+ undelivered) = rows; blank lines, comments and missing values are skipped and counted apart.
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
    for kind, what, example, more in (
        ("csv", "send CSV files with a header", CSV_EXAMPLE, TIME_EPILOG),
        ("ndjson", "send newline-delimited JSON", NDJSON_EXAMPLE, JSON_EPILOG),
        ("access-log", "send a web server's access log", LOG_EXAMPLE, ""),
    ):
        epilog = example + _ROWS_EPILOG + more + "\n" + _SEND_EPILOG
        parser = add_verb(kinds, kind, what, epilog=epilog, allow_abbrev=False)
        _add_row_options(parser, kind)
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
    parser.add_argument(
        "--force", action="store_true", help="send records so old that some may count twice, too"
    )
    add_target_options(parser)
    parser.set_defaults(run=lambda args: run_undelivered(args, world or real_world()))


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
    _add_from_line(parser)
    parser.add_argument("--dry-run", action="store_true", help="read, check and report; send nothing")
    parser.add_argument(
        "--rejects", metavar="PATH", help="where quarantined rows go (FILE.rejects.ndjson here)"
    )
    add_stream_options(parser)


def _add_from_line(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from-line",
        metavar="N",
        type=int,
        default=0,
        help="go on from line N of the first file, after an interruption: what stands above it was sent",
    )


def run(args: argparse.Namespace, kind: str, world: World) -> int:
    """Run `streamgage send csv|ndjson|access-log`; return the exit code. Raises: ConfigError."""
    pipeline = load_pipeline(world.pipeline_path(args.pipeline))
    source = source_of(pipeline, args.source)
    maps, constants = _check_send(args)
    options = read_options(args, kind, maps, constants)
    names = find_files(args.file, world.folder)
    patience = Patience(world.clock, world.stop)
    base = "stdin" if names == ["-"] else Path(names[0]).name if len(names) == 1 else kind
    follow = position = None
    if args.follow:
        position = PositionFile(world.folder / f"{base}.position.json")
        follow = Follow(world.folder / names[0], position.load(), clock=patience, warn=world.warn)
        position = None if args.dry_run else position
    with ExitStack() as stack:
        stdin = world.stdin
        if args.shift_to_now and names == ["-"]:
            stdin = _spooled(world, stack)
        tables = FileTables(
            names,
            options,
            source,
            folder=world.folder,
            stdin=stdin,
            warn=world.warn,
            follow=follow,
            patience=patience,
            from_line=args.from_line,
        )
        if args.shift_to_now and names != ["-"] and None in tables.sizes:
            raise ConfigError(
                "--shift-to-now reads files twice, and one of these is a pipe: send it as standard input (-)"
            )
        tables.check()
        job = SendJob(
            source=source,
            rejects=world.folder / (args.rejects or f"{base}.rejects.ndjson"),
            undelivered=world.folder / f"{base}.undelivered.ndjson",
            limit=args.limit,
            shift_to_now=args.shift_to_now,
            speed=args.speed,
            open_sink=None if args.dry_run else sink_opener(args, world),
            warn=world.warn,
            rules=ConsumerRules(pipeline, source),
            follow=follow,
            position=position,
        )
        return send_tables(
            job,
            tables,
            patience=patience,
            noting=lambda: world.noting(world.stop),
            progress=progress_of(world, base, tables.total_bytes),
            out=world.out,
        )


def run_undelivered(args: argparse.Namespace, world: World) -> int:
    """Run `streamgage send undelivered`; return the exit code. Raises: ConfigError."""
    patience = Patience(world.clock, world.stop)
    with ExitStack() as stack:
        stream, name = _open(args.file, world, stack)
        path: Path | None = None if args.file == "-" else world.folder / args.file
        base = "stdin" if path is None else path.name
        if path is not None and path.is_file():
            lock(stream, name)
        else:  # it is read twice, and nothing can be left in it
            if path is not None and path.is_char_device():
                raise ConfigError(f"{name}: a device, not a file or a pipe")
            stream, path = _copied(watched(stream, patience), stack), None
        open_sink = sink_opener(args, world)
        job = ResendJob(
            stream=stream,
            name=name,
            path=path,
            rest=world.folder / f"{base}.undelivered.ndjson"
            if path is None
            else path.with_name(f"{base}.rest"),
            rejects=world.folder / (args.rejects or f"{base}.rejects.ndjson"),
            force=args.force,
            warn=world.warn,
        )
        return send_undelivered(
            job,
            lambda: stack.enter_context(open_sink()),
            patience=patience,
            noting=lambda: world.noting(world.stop),
            out=world.out,
        )


def _check_send(args: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    problems: list[str] = []
    maps = collect_pairs(args.map, "FIELD=COLUMN", option="--map", problems=problems, may_be_empty=False)
    constants = collect_pairs(args.set, "FIELD=VALUE", option="--set", problems=problems)
    if args.limit is not None and args.limit < 1:
        problems.append(f"--limit {args.limit}: at least 1")
    if args.from_line < 0 or (args.from_line and args.follow):
        problems.append(f"--from-line {args.from_line}: a line's number; --follow keeps the place by itself")
    if args.speed is not None and not (0 < args.speed < math.inf):
        problems.append(f"--speed {args.speed}: a number above 0; 1 is as fast as it was recorded")
    if problems:
        raise ConfigError(*problems)
    return maps, constants


def _open(file: str, world: World, stack: ExitStack) -> tuple[BinaryIO, str]:
    """Return the opened file, and its name in messages."""
    if file == "-":
        return world.stdin, "standard input"
    path = world.folder / file
    try:
        return stack.enter_context(open_input(path)), file
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read ({getattr(error, 'strerror', error)})") from error


def _spooled(world: World, stack: ExitStack) -> BinaryIO:
    """Return standard input in a file, so that it can be read twice."""
    return _copied(world.stdin, stack)


def _copied(stream: BinaryIO, stack: ExitStack) -> BinaryIO:
    spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    shutil.copyfileobj(stream, spool)
    spool.seek(0)
    return spool
