"""``streamgage doctor``: read a home over, and say what is damaged."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from infra.commands.arguments import Verbs, add_verb
from infra.local.stack.home import Home

EXAMPLES = """examples:
  streamgage doctor
  streamgage doctor --home /srv/plant-7/.streamgage
  streamgage doctor --accept-loss                go on without what is lost; the stack must be down

It reads every record of the stream, every item of the tables, the checkpoints and what describes the stack, and changes
nothing. 0: all is whole. 1: something is damaged, and it says what is lost and what to do. A stack that runs is read as it
is meanwhile; one that is down does not start before it is done.

--accept-loss keeps what is whole of a damaged log and goes on behind the gap, deletes items that are damaged, and keeps the
damaged files in data/given-up, with a list of what was lost. The totals lack that for good. What has no such way says so."""
_PROGRESS_S = 0.5


def add_parser(verbs: Verbs) -> None:
    """Add ``doctor``."""
    parser = add_verb(
        verbs, "doctor", "read what is stored here over, and say what is damaged", epilog=EXAMPLES
    )
    parser.add_argument(
        "--home", metavar="DIR", help="default: .streamgage in this folder, or $STREAMGAGE_HOME"
    )
    parser.add_argument("--accept-loss", action="store_true", help="go on without what is lost")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show what was read and found; 1 where something is damaged."""
    from infra.local.doctor.accept import accept_loss, given_up_before
    from infra.local.doctor.checkup import examine, size_bytes
    from infra.local.doctor.render import lines_of

    home = Home(Path(arguments.home)) if arguments.home else Home.of(os.environ)
    with examine(home, on_bytes=_progress(size_bytes(home))) as report:
        for line in lines_of(report, given_up_before(home)):
            print(line)
        if not arguments.accept_loss or not report.damages:
            return 1 if report.damages else 0
        remaining = accept_loss(home, report)
    done = len(report.damages) - len(remaining)
    print(
        f"given up: {done} of {len(report.damages)}; the damaged files are in {home.root / 'data' / 'given-up'}"
    )
    return 1 if remaining else 0


def _progress(total_bytes: int) -> Callable[[int], None]:
    """Return what tells a person at a terminal how far it is."""
    if not sys.stderr.isatty():
        return lambda _: None
    done, told_s = 0, time.monotonic()

    def on_bytes(count: int) -> None:
        nonlocal done, told_s
        done += count
        if time.monotonic() - told_s >= _PROGRESS_S:
            told_s = time.monotonic()
            print(
                f"\rread {done / 1e6:,.0f} of {total_bytes / 1e6:,.0f} MB",
                end="\r",
                file=sys.stderr,
                flush=True,
            )

    return on_bytes
