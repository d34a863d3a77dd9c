"""``streamgage doctor``: is a stack as a producer needs it? And of one that runs here: is anything damaged?"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from infra.commands.arguments import Verbs, add_pipeline, add_stack_options, add_verb, aws_stack
from infra.local.stack.home import Home
from streamgage.errors import ConfigError
from streamgage.visible import visible

if TYPE_CHECKING:
    from infra.health import Finding

EXAMPLES = """examples:
  streamgage doctor
  streamgage doctor --home /srv/plant-7/.streamgage
  streamgage doctor --accept-loss                go on without what is lost; the stack must be down
  streamgage doctor --target aws --stack plant-7

First what a producer meets, where a stack runs: one record goes the whole way, which counts nowhere. Of a stack on AWS that is
all: credentials, the clock, the stream and how it spreads records, shards beside the last hour's load, the right to put
(Kinesis' dry run, else IAM's simulation), the mapping, the definition beside the one that is deployed, and that record.
0: all is well. 1: something is not, and it says what to do. What could not be asked is told with a question mark.

Here it then reads every record of the stream, every item of the tables, the checkpoints and what describes the stack, and changes
nothing. 1: something is damaged, and it says what is lost and what to do. A stack that runs is read as it
is meanwhile; one that is down does not start before it is done.

--accept-loss keeps what is whole of a damaged log and goes on behind the gap, deletes items that are damaged, and keeps the
damaged files in data/given-up, with a list of what was lost. The totals lack that for good. What has no such way says so."""
_PROGRESS_S = 0.5


def add_parser(verbs: Verbs) -> None:
    """Add ``doctor``."""
    parser = add_verb(
        verbs, "doctor", "say whether a stack is as it should be, and what is damaged", epilog=EXAMPLES
    )
    parser.add_argument(
        "--home", metavar="DIR", help="default: .streamgage in this folder, or $STREAMGAGE_HOME"
    )
    parser.add_argument("--accept-loss", action="store_true", help="go on without what is lost")
    parser.add_argument(
        "--wait-s",
        type=float,
        default=120.0,
        metavar="N",
        help="for the record that goes the whole way (120)",
    )
    add_pipeline(parser, help="the definition, beside the one that is deployed; with --target aws")
    add_stack_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show what was looked at and found; 1 where something is not as it should be."""
    stack = aws_stack(arguments)
    return _run_local(arguments) if stack is None else _run_aws(arguments, stack)


def _run_aws(arguments: argparse.Namespace, name: str) -> int:
    from infra.aws.doctor import Surroundings, examine
    from infra.aws.stacks import find_stack
    from processors.pipeline_files import load_pipeline
    from producers.clock import WallClock

    if arguments.home or arguments.accept_loss:
        raise ConfigError("--home and --accept-loss are of the stack that runs here")
    pipeline = load_pipeline(arguments.pipeline)
    stack = find_stack(name, arguments.region)
    findings = examine(stack, pipeline, Surroundings(WallClock()), wait_s=arguments.wait_s)
    return 1 if tell(findings) else 0


def tell(findings: "Iterable[Finding]") -> int:
    """Show each finding when it is there; return how many are bad."""
    from infra.health import Health, lines_of

    bad = 0
    for each in findings:
        bad += each.health is Health.BAD
        for line in lines_of([each]):
            print(visible(line), flush=True)
    return bad


def _run_local(arguments: argparse.Namespace) -> int:
    from infra.local.doctor.accept import accept_loss, given_up_before
    from infra.local.doctor.checkup import examine, size_bytes
    from infra.local.doctor.producer import examine_as_producer
    from infra.local.doctor.render import lines_of
    from producers.clock import WallClock

    home = Home(Path(arguments.home)) if arguments.home else Home.of(os.environ)
    bad = tell(examine_as_producer(home, WallClock(), wait_s=arguments.wait_s))
    with examine(home, on_bytes=_progress(size_bytes(home))) as report:
        for line in lines_of(report, given_up_before(home)):
            print(line)
        if not arguments.accept_loss or not report.damages:
            return 1 if report.damages or bad else 0
        remaining = accept_loss(home, report)
    done = len(report.damages) - len(remaining)
    print(
        f"given up: {done} of {len(report.damages)}; the damaged files are in {home.root / 'data' / 'given-up'}"
    )
    return 1 if remaining or bad else 0


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
