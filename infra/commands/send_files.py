"""The options of `streamgage send` that say how a file is written, and what they mean."""

import argparse
from collections.abc import Mapping
from typing import cast

from producers.files.access_log import AUTO, LAYOUTS
from producers.files.inputs import check_encoding
from producers.files.mapping import Cells
from producers.files.melt import Melt
from producers.files.tables import Kind, ReadOptions
from streamgage.errors import ConfigError
from streamgage.formats.json_event import TIME_UNITS

TIME_EPILOG = """
Times: ISO 8601 and RFC 3339, ordinal (2026-005) and week dates (2026-W01-1) too; numbers since 1970, of 10 digits in s, of
13 in ms, of another length with --time-unit (or time_unit of the source). Kept to the ms, rounded down. 24:00:00 is the
next day; a leap second is the second after it. A time without an offset is UTC, which is said at the end, or of
--timezone; of an hour that came twice the first is taken and counted, one that never was is quarantined and counted.
"""
JSON_EPILOG = """
What a JSON event may look like is the same here and in the stream: docs/formats.md. Event times are ms since 1970 (s, us, ns:
time_unit of the source, or --time-unit), or ISO 8601 with an offset (without one: --timezone). Fields that the schema does
not have are ignored and named.
"""
CSV_EXAMPLE = """examples:
  streamgage send csv machine.csv --source reading --set device_id=machine-1 --set metric=temperature \\
      --map ts=timestamp --map value=value
  streamgage send csv machine.csv --source reading --target aws --stack plant-7 --region eu-central-1
  streamgage send csv rooms.csv --source reading --map device_id=room --set metric=co2 --set tags.site=north --speed 60
  streamgage send csv 'logs/*.csv.gz' --source reading --map ts=time --timezone Europe/Berlin --na NA --dry-run
  streamgage send csv air.csv --source reading --set device_id=air --map ts=Date+Time \\
      --time-format '%d/%m/%Y %H.%M.%S' --decimal , --na -200 --melt metric=value
"""
NDJSON_EXAMPLE = """examples:
  streamgage send ndjson events.ndjson --source reading --map value=payload.temperature
  mosquitto_sub -t sensors/# | streamgage send ndjson - --source reading
  streamgage send ndjson /var/log/app/events.ndjson --source reading --follow
"""
LOG_EXAMPLE = f"""examples:
  streamgage send access-log access.log --dry-run
  streamgage send access-log '/var/log/nginx/access.log*' --shift-to-now
  streamgage send access-log /var/log/nginx/access.log --follow
  streamgage send access-log other.log --layout vhost_combined

A line fills visitor_id (the client), page (the path, without its query), referrer, action, ts, status, bytes and
properties (method, user_agent, query, host, forwarded_for). action is "view" for GET and HEAD, else the method in lower
case. "-" is null. Each line's layout is recognised by its structure, behind a prefix of syslog or of a container too; the
summary shows which, and the first row. A line in none of them is quarantined with the layout that it likely is in.

layouts: {", ".join(LAYOUTS)}
"""


def add_file_options(parser: argparse.ArgumentParser, kind: str) -> None:
    """Add what says how files of *kind* are written."""
    parser.add_argument(
        "--encoding", metavar="NAME", default="utf-8", help="of the text (utf-8), such as cp1252"
    )
    parser.add_argument(
        "--timezone", metavar="ZONE", help="of times without an offset (UTC), such as Europe/Berlin or +05:30"
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="go on as the file grows, through rotation; the place is kept in FILE.position.json here",
    )
    if kind == "access-log":
        parser.add_argument(
            "--layout",
            metavar="NAME",
            choices=(AUTO, *LAYOUTS),
            default=AUTO,
            help="of the lines; see below (auto)",
        )
        return
    times = parser.add_mutually_exclusive_group()
    times.add_argument("--time-unit", choices=TIME_UNITS, help="times are numbers since 1970 in this unit")
    times.add_argument(
        "--time-format", metavar="FORMAT", help="as strptime reads it, such as %%d.%%m.%%Y_%%H:%%M"
    )
    if kind == "csv":
        _add_csv_options(parser)


def _add_csv_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--delimiter", metavar="CHAR", help='between cells (the one that the header shows); "tab" for tabs'
    )
    parser.add_argument(
        "--decimal", choices=(".", ","), default=".", help='before the decimals of a number (".")'
    )
    parser.add_argument("--skip", metavar="N", type=int, default=0, help="lines before the header (0)")
    parser.add_argument("--comment", metavar="TEXT", help="lines that begin so are none, such as #")
    parser.add_argument(
        "--na",
        metavar="TEXT",
        action="append",
        default=[],
        help="a cell of just this is a missing value, such as NA or -200 (-200.0 too); may be repeated",
    )
    parser.add_argument(
        "--melt",
        metavar="NAME=VALUE",
        nargs="?",
        const="metric=value",
        help="a wide file: each column that fills no field is a metric; its name goes to the one field, its cell to the "
        "other (metric=value)",
    )
    parser.add_argument(
        "--leave-out",
        metavar="COLUMN",
        action="append",
        default=[],
        help="no metric of --melt; may be repeated",
    )


def read_options(
    args: argparse.Namespace, kind: str, maps: Mapping[str, str], constants: Mapping[str, str]
) -> ReadOptions:
    """Return what *args* say of the files. Raises: ConfigError with every problem."""
    given = vars(args)
    problems: list[str] = []
    if given.get("skip", 0) < 0:
        problems.append(f"--skip {args.skip}: a number of lines, 0 or more")
    if given.get("comment") == "":
        problems.append("--comment: a text that begins a comment, such as #")
    delimiter = _delimiter(given.get("delimiter"), problems)
    comma = given.get("decimal") == ","
    if comma and delimiter == ",":
        problems.append("--decimal , beside --delimiter ,: which is which?")
    if args.follow:
        problems += [
            f"--follow beside --{each}" for each in ("shift-to-now", "speed") if given[each.replace("-", "_")]
        ]
        if len(args.file) != 1 or args.file[0] == "-":
            problems.append("--follow: one file, and not standard input, which is followed by itself")
    if problems:
        raise ConfigError(*problems)
    return ReadOptions(
        kind=cast(Kind, kind),
        maps=maps,
        constants=constants,
        encoding=check_encoding(args.encoding),
        time_unit=given.get("time_unit"),
        time_format=given.get("time_format"),
        timezone=args.timezone,
        delimiter=delimiter,
        skip=given.get("skip", 0),
        comment=given.get("comment"),
        cells=Cells(decimal_comma=comma, missing=frozenset(given.get("na", ()))),
        melt=Melt.parse(args.melt) if given.get("melt") else None,
        left_out=frozenset(given.get("leave_out", ())),
        layout=given.get("layout", AUTO),
    )


def _delimiter(text: str | None, problems: list[str]) -> str | None:
    if text is None:
        return None
    delimiter = "\t" if text in ("tab", "\\t") else text
    if len(delimiter) != 1 or delimiter in '"\r\n':
        problems.append(f'--delimiter {text!r}: one character that is no quote or line end, or "tab"')
    return delimiter
