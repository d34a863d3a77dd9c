"""``streamgage spool``: look into a spool, mend it, take out what is in it."""

import argparse
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from infra.commands.arguments import Verbs, add_verb
from streamgage.errors import ConfigError

EXAMPLES = """examples:
  streamgage spool check /var/lib/gateway/spool.db
  streamgage spool repair /var/lib/gateway/spool.db
  streamgage spool export /var/lib/gateway/spool.db && streamgage send undelivered spool.db.undelivered.ndjson

A spool holds what a gateway has accepted and the stream does not have yet. It has one owner: stop the gateway first."""
_CHECK = """examples:
  streamgage spool check /var/lib/gateway/spool.db

It reads every record over and changes none. 0: all is whole. 1: something is damaged, and it says what."""
_REPAIR = """examples:
  streamgage spool repair /var/lib/gateway/spool.db

A gateway does the same when it starts, but for reading every record over. What is whole is kept; what is damaged is named in
PATH.damaged.ndjson, and a file whose structure was damaged is kept as PATH.damaged.1. 0: all was whole. 1: something was lost."""
_EXPORT = """examples:
  streamgage spool export /var/lib/gateway/spool.db
  streamgage spool export spool.db rest.ndjson && streamgage send undelivered rest.ndjson

The records keep their marks: they count once, also if the spool is sent after all. So the spool is left as it is."""
_TOLD = 40
_TOGETHER = 100  # records that are synced at once


def add_parser(verbs: Verbs) -> None:
    """Add ``spool`` and what it does."""
    spool = add_verb(
        verbs, "spool", "look into a spool of records to be sent, mend or export it", epilog=EXAMPLES
    )
    kinds = spool.add_subparsers(title="what to do", required=True, metavar="WHAT")
    for name, summary, epilog, run in (
        ("check", "read a spool over, and say what is damaged", _CHECK, run_check),
        ("repair", "mend a spool: keep what is whole, name what is not", _REPAIR, run_repair),
        ("export", "write what is in a spool to a file for `send undelivered`", _EXPORT, run_export),
    ):
        parser = add_verb(kinds, name, summary, epilog=epilog)
        parser.add_argument("path", metavar="PATH", type=Path, help="the spool's file")
        if name == "export":
            parser.add_argument(
                "file",
                metavar="FILE",
                type=Path,
                nargs="?",
                help="default: PATH.undelivered.ndjson, in this folder",
            )
        parser.set_defaults(run=run)


def run_check(arguments: argparse.Namespace) -> int:
    """Show what is in it; 1 where something is damaged. Raises: ConfigError."""
    from producers.spool.check import examine

    found = examine(_there(arguments.path))
    print(f"{arguments.path}: {found.rows:,} records, {found.events:,} events")
    _tell_state(found.state.dropped_events, found.state.damaged)
    for each in found.damage[:_TOLD]:
        print(f"damaged: {each}")
    if len(found.damage) > _TOLD:
        print(f"… and {len(found.damage) - _TOLD:,} more")
    if found.damage:
        print(f"what is whole can be sent: streamgage spool repair {arguments.path}")
    return 1 if found.damage else 0


def run_repair(arguments: argparse.Namespace) -> int:
    """Mend it; 1 where something was lost or had to be mended. Raises: ConfigError."""
    from producers.spool.mend import damage_list
    from producers.spool.spool import Spool

    with Spool.open(_there(arguments.path)) as spool:
        aside = spool.verify()
        stats, mended = spool.stats, spool.mended
    print(f"{arguments.path}: {stats.records:,} records, {stats.events:,} events")
    if mended is not None:
        print(
            f"mended: {mended.rows:,} records are whole, {mended.lost:,} are known to be lost; the file is {mended.kept}"
        )
    if aside:
        print(f"set aside: {aside:,} damaged records")
    if mended is None and not aside:
        print("all is whole")
        return 0
    print(f"each is named in {damage_list(arguments.path)}")
    return 1


def run_export(arguments: argparse.Namespace) -> int:
    """Write all that is in it to an undelivered file. Raises: ConfigError."""
    from producers.client.undelivered import UndeliveredFile
    from producers.spool.spool import Spool

    wanted = arguments.file or Path(f"{arguments.path.name}.undelivered.ndjson")
    with Spool.open(_there(arguments.path)) as spool:
        file = UndeliveredFile(wanted, lambda: time.time_ns() // 1_000_000)
        records = (each.record for each in spool.records())
        while some := list(islice(records, _TOGETHER)):
            file.keep(some)
        file.close()
        oldest_ms = spool.stats.oldest_ms
    if not file.records:
        print(f"{arguments.path} is empty: nothing was written")
        return 0
    since = datetime.fromtimestamp((oldest_ms or 0) / 1000, UTC).isoformat(timespec="seconds")
    print(f"{file.path}: {file.records:,} records, {file.events:,} events, the oldest of {since}")
    print(f"send it: streamgage send undelivered {file.path}")
    return 0


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file; name the file that the gateway has as its spool")
    return path


def _tell_state(dropped_events: int, damaged: int) -> None:
    if dropped_events:
        print(f"dropped to make room, since it was made: {dropped_events:,} events")
    if damaged:
        print(f"lost by damage, since it was made: {damaged:,} records")
