"""``streamgage up``: start the pipeline on this machine."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

from infra.commands.arguments import Verbs, add_dynamodb, add_pipeline, add_verb, pairs
from infra.local.files import UMASK, make_private, open_private
from infra.local.stack.home import Home, read_json
from infra.local.stack.tables import Engine
from streamgage.errors import ConfigError

EXAMPLES = """examples:
  streamgage up                                  in this terminal; Ctrl-C stops it
  streamgage up --detach                         in the background; `streamgage down` stops it
  streamgage up --port 0 --kinesis-port 0        on any free ports
  streamgage up --param ShardCount=4 --param BatchingWindow=5
  streamgage up --kinesis-faults 7:throttle=0.1,lost=0.05
  streamgage up --fsync                          survive power loss too, at the disk's pace
  streamgage up --dynamodb local                 tables in DynamoDB Local, AWS's own engine (needs Java 17 and Maven)

The stream, the tables and how far each shard was read are kept in .streamgage (or $STREAMGAGE_HOME): the next `up` goes
on from there, once it has seen that the three belong together. `rm -r .streamgage` while it is down starts afresh. A kept stream is resharded where --param ShardCount says
another number; what cannot be changed in a kept home (StreamMode, StartAt, ParallelizationFactor from or to 1) is refused.

A process that ends is started again; one that ends by itself twice in a row ends `up`, with the end of its log.

--dynamodb local syncs every write to the disk: some 55 writes a second, so that a batch may take longer than its function has.
With a home in memory (STREAMGAGE_HOME=/dev/shm/streamgage) it is many times faster, and survives all but a restart."""
_WAIT_S = 900  # a start bounds itself, each step; this is for one that hangs
_FOUND = "streamgage: stores: "  # what the check of the stores had to say
_UP = "streamgage: up: "
_PAGE = "streamgage: page: "
_SAID_S = (
    40.0  # from when it is up until its log says so: the page's function has answered by then, or will not
)


def add_parser(verbs: Verbs) -> None:
    """Add ``up``."""
    parser = add_verb(verbs, "up", "start the pipeline on this machine", epilog=EXAMPLES)
    add_pipeline(parser)
    parser.add_argument("--template", metavar="PATH", help="a SAM template; default: the one that deploys")
    parser.add_argument("--port", type=int, default=4566, help="of SQS, S3 and the rest; default: 4566")
    parser.add_argument("--kinesis-port", type=int, default=4567, help="default: 4567")
    parser.add_argument(
        "--metrics-port", type=int, default=0, help="of metrics for Prometheus; default: any free one"
    )
    parser.add_argument(
        "--http-port",
        type=int,
        default=0,
        help="of page and HTTP API; default: the last one, or any free one",
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the template; BatchingWindow is 1 here, where writes cost nothing, unless this or [deploy] says another",
    )
    add_dynamodb(parser)
    parser.add_argument(
        "--kinesis-faults",
        metavar="SEED:KIND=RATE,…",
        help="let Kinesis fail on purpose: throttle, internal, lost (stored, and no answer), error, delay=RATE@MS",
    )
    parser.add_argument("--fsync", action="store_true", help="survive power loss too, at the disk's pace")
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="go on without what stream, tables or checkpoints have lost, where up says that it may",
    )
    parser.add_argument("--detach", action="store_true", help="return when it is up, and let it run")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Start the stack; stay with it until told to stop."""
    home = Home.of(os.environ)
    if arguments.detach:
        if Engine(arguments.dynamodb) is Engine.LOCAL:  # what is fetched, once, may take longer than a start
            from infra.local.stack import dynamodb_local

            dynamodb_local.install(say=lambda text: print(f"streamgage: {text}", file=sys.stderr))
        return _detach(home)
    from infra.commands.code import CODE
    from infra.local.stack.supervisor import Stack, StackOptions, say_on_stderr
    from infra.template.read import TEMPLATE

    stop = _StopRequest()
    stack = Stack(
        StackOptions(
            home=home,
            pipeline=Path(arguments.pipeline),
            code=CODE,
            template=Path(arguments.template) if arguments.template else TEMPLATE,
            aws_port=arguments.port,
            kinesis_port=arguments.kinesis_port,
            metrics_port=arguments.metrics_port,
            http_port=arguments.http_port,
            parameters=pairs(arguments.param, option="--param"),
            dynamodb=Engine(arguments.dynamodb),
            kinesis_faults=arguments.kinesis_faults,
            fsync=arguments.fsync,
            accept_loss=arguments.accept_loss,
        ),
        say=say_on_stderr,
    )
    stack.start()
    stop.interrupts = False
    say_on_stderr(
        f"up: Kinesis {stack.info.endpoints['kinesis']} stream {stack.info.stream}, "
        f"AWS {stack.info.endpoints['aws']}, DynamoDB {stack.info.endpoints['dynamodb']} table {stack.info.table}. "
        "Ctrl-C stops it"
    )
    if (base := stack.info.endpoints.get("http")) is not None:
        Thread(target=lambda: say_on_stderr(_page(base, home.logs)), name="page", daemon=True).start()
    try:
        stack.watch(lambda: stop.received)
    finally:
        stack.stop()
    return 0


def _page(base: str, logs: Path) -> str:
    """Return the line that says where the page is: once it was seen that what it asks answers, or that it does not."""
    from infra.local.stack.served import health_problem

    problem = health_problem(base)
    if problem is None:
        return f"page: {base}/"
    return f"page: {base}/ - but the function behind it does not answer: {problem}; see {logs / 'api.log'} and {logs / 'gateway.log'}"


class _StopRequest:
    """SIGINT, SIGTERM or SIGHUP: while the stack starts the first one interrupts; any other is noted, and it stops in order."""

    def __init__(self) -> None:
        self.received, self.interrupts = False, True
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._receive)

    def _receive(self, _number: int, _frame: object) -> None:
        self.received = True
        if self.interrupts:
            self.interrupts = False  # a second one would break off what the first one has begun
            raise KeyboardInterrupt


def _detach(home: Home) -> int:
    """Start ``streamgage up`` in the background, and wait until it is up or has failed."""
    from infra.local.stack.prepare import make_home

    log = home.logs / "up.log"
    make_home(home)
    try:
        make_private(log.parent)
        descriptor = open_private(log)
    except OSError as error:
        raise ConfigError(
            f"{log}: {error.strerror or error}; choose another home: STREAMGAGE_HOME=/path"
        ) from error
    command = [
        sys.executable,
        "-P",
        "-m",
        "infra.commands.main",
        *(each for each in sys.argv[1:] if not _is_detach(each)),
    ]
    with os.fdopen(descriptor, "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=UMASK,
        )
    deadline_s = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline_s:
        raw = read_json(home.info_file)
        if raw is not None and raw["pids"].get("supervisor") == process.pid:
            print(_said(log, _PAGE if "http" in raw["endpoints"] else _UP), file=sys.stderr)
            return 0
        if process.poll() is not None:
            print(log.read_text(encoding="utf-8", errors="replace").strip(), file=sys.stderr)
            return process.returncode or 1
        time.sleep(0.05)
    process.terminate()
    raise ConfigError(f"not up within {_WAIT_S} s; see {log}")


def _said(log: Path, last: str) -> str:
    """Return what a person is to know of what a stack said, once it has said what begins with *last*."""
    deadline_s = time.monotonic() + _SAID_S
    while True:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        if any(each.startswith(last) for each in lines) or time.monotonic() > deadline_s:
            return "\n".join(each for each in lines if each.startswith((_FOUND, _UP, _PAGE)))
        time.sleep(0.02)


def _is_detach(argument: str) -> bool:
    """Tell whether it is the option, also when it was cut short: the stack in the background must not detach again."""
    return len(argument) > len("--d") and "--detach".startswith(argument)
