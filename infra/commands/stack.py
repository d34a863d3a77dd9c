"""``streamgage up``, ``down`` and ``status``: the local stack as a person handles it."""

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import infra.commands.status
from infra.local.stack.home import Home, is_alive, read_json
from infra.local.stack.tables import Engine
from streamgage.errors import ConfigError

_UP = """examples:
  streamgage up                                  in this terminal; Ctrl-C stops it
  streamgage up --detach                         in the background; `streamgage down` stops it
  streamgage up --port 0 --kinesis-port 0        on any free ports
  streamgage up --param ShardCount=4 --param BatchingWindow=1
  streamgage up --kinesis-faults 7:throttle=0.1,lost=0.05
  streamgage up --fsync                          survive power loss too, at the disk's pace
  streamgage up --dynamodb local                 tables in DynamoDB Local, AWS's own engine (needs Java 17 and Maven)

The stream, the tables and how far each shard was read are kept in .streamgage (or $STREAMGAGE_HOME): the next `up` goes
on from there. `rm -r .streamgage` while it is down starts afresh. DynamoDB Local syncs every write to the disk; with a
home in memory (STREAMGAGE_HOME=/dev/shm/streamgage) it is many times faster, and survives all but a restart."""
_DOWN = """examples:
  streamgage down"""
_STATUS = """examples:
  streamgage status
  streamgage status --format json"""
_UPDATE = """examples:
  streamgage update                              what this checkout holds now, with the definition that runs
  streamgage update --pipeline next/pipeline.toml
  streamgage update --back                       the version that ran before

Stream, mapping and checkpoints are kept. Batches that begin run in the new version, those under way end in the old one. A
version that cannot be initialised is refused. The next `up` builds from this checkout again."""
_DRAIN = """examples:
  streamgage send ndjson events.ndjson --source click && streamgage drain && streamgage query page_views page=/"""
_DEMO = """examples:
  streamgage demo
  streamgage demo --readings 20000 --devices 50 --clicks 5000 --seed 7
  streamgage demo --dynamodb local

It uses ports and a folder (.streamgage/demo) of its own, and leaves no process behind."""
_UP_WAIT_S = 90
_DOWN_WAIT_S = 60


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``up``, ``down``, ``status``, ``update``, ``drain`` and ``demo``."""
    parser = _add(commands, "up", "start the pipeline on this machine", _UP, up)
    parser.add_argument(
        "--pipeline", metavar="PATH", default=os.environ.get("STREAMGAGE_PIPELINE", "pipeline.toml")
    )
    parser.add_argument("--template", metavar="PATH", help="a SAM template; default: the one that deploys")
    parser.add_argument("--port", type=int, default=4566, help="of SQS, S3 and the rest; default: 4566")
    parser.add_argument("--kinesis-port", type=int, default=4567, help="default: 4567")
    parser.add_argument(
        "--metrics-port", type=int, default=0, help="of metrics for Prometheus; default: any free one"
    )
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the template"
    )
    _add_dynamodb(parser)
    parser.add_argument(
        "--kinesis-faults",
        metavar="SEED:KIND=RATE,…",
        help="let Kinesis fail on purpose: throttle, internal, lost (stored, and no answer), error, delay=RATE@MS",
    )
    parser.add_argument("--fsync", action="store_true", help="survive power loss too, at the disk's pace")
    parser.add_argument("--detach", action="store_true", help="return when it is up, and let it run")
    _add(commands, "down", "stop the pipeline on this machine; its data is kept", _DOWN, down)
    parser = _add(commands, "status", "show what the pipeline on this machine is doing", _STATUS, status)
    infra.commands.status.add_options(parser)
    parser = _add(commands, "update", "run another version of the function, under load", _UPDATE, update)
    parser.add_argument("--pipeline", metavar="PATH", help="default: the one the stack was started with")
    parser.add_argument("--back", action="store_true", help="to the version that ran before")
    parser = _add(commands, "drain", "wait until everything that was sent is applied", _DRAIN, drain)
    parser.add_argument("--seconds", type=float, default=300, help="give up after so long; default: 300")
    parser = _add(
        commands, "demo", "run the whole pipeline on simulated events, and compare every total", _DEMO, demo
    )
    parser.add_argument("--readings", type=int, default=200_000)
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--clicks", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--pipeline", metavar="PATH", default="pipeline.toml")
    _add_dynamodb(parser)


def _add_dynamodb(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dynamodb",
        choices=[each.value for each in Engine],
        default=Engine.EMBEDDED.value,
        help="the engine of the tables: ours over SQLite, AWS's own DynamoDB Local, or MiniStack, which keeps them only "
        "over a graceful down; default: embedded",
    )


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    examples: str,
    run: Any,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary + ".",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def up(arguments: argparse.Namespace) -> int:
    """Start the stack; stay with it until told to stop."""
    home = Home.of(os.environ)
    if arguments.detach:
        if Engine(arguments.dynamodb) is Engine.LOCAL:  # what is fetched, once, may take longer than a start
            from infra.local.stack import dynamodb_local  # noqa: PLC0415 - beside its only use

            dynamodb_local.install(say=lambda text: print(f"streamgage: {text}", file=sys.stderr))
        return _detach(home)
    from infra.commands.code import CODE  # noqa: PLC0415 - loads boto3
    from infra.local.stack.supervisor import Stack, StackOptions, say_on_stderr  # noqa: PLC0415 - loads boto3
    from infra.template.read import TEMPLATE  # noqa: PLC0415 - the same

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
            parameters=_parameters(arguments.param),
            dynamodb=Engine(arguments.dynamodb),
            kinesis_faults=arguments.kinesis_faults,
            fsync=arguments.fsync,
        ),
        say=say_on_stderr,
    )
    stack.start()
    stop.starting = False
    say_on_stderr(
        f"up: Kinesis {stack.info.endpoints['kinesis']} stream {stack.info.stream}, "
        f"AWS {stack.info.endpoints['aws']}, DynamoDB {stack.info.endpoints['dynamodb']} table {stack.info.table}. "
        "Ctrl-C stops it"
    )
    try:
        stack.watch(lambda: stop.received)
    finally:
        stack.stop()
    return 0


class _StopRequest:
    """SIGINT or SIGTERM: while the stack starts it interrupts; afterwards it is noted, and the stack stops in order."""

    def __init__(self) -> None:
        self.received, self.starting = False, True
        signal.signal(signal.SIGINT, self._receive)
        signal.signal(signal.SIGTERM, self._receive)

    def _receive(self, _number: int, _frame: object) -> None:
        self.received = True
        if self.starting:
            raise KeyboardInterrupt


def _detach(home: Home) -> int:
    """Start ``streamgage up`` in the background, and wait until it is up or has failed."""
    log = home.logs / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "infra.commands.main",
        *(each for each in sys.argv[1:] if each != "--detach"),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + _UP_WAIT_S
    while time.monotonic() < deadline:
        raw = read_json(home.info_file)
        if raw is not None and raw["pids"].get("supervisor") == process.pid:
            print(log.read_text(encoding="utf-8").splitlines()[-1], file=sys.stderr)
            return 0
        if process.poll() is not None:
            print(log.read_text(encoding="utf-8").strip(), file=sys.stderr)
            return process.returncode or 1
        time.sleep(0.05)
    process.terminate()
    raise ConfigError(f"not up within {_UP_WAIT_S} s; see {log}")


def down(_: argparse.Namespace) -> int:
    """Stop the stack, and wait until none of its processes is left."""
    home = Home.of(os.environ)
    raw = read_json(home.info_file)
    if raw is None:
        print(f"no stack is running in {home.root}", file=sys.stderr)
        return 0
    supervisor = raw["pids"].get("supervisor", 0)
    if is_alive(supervisor):
        with suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGTERM)
        deadline = time.monotonic() + _DOWN_WAIT_S
        while is_alive(supervisor):
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"the supervisor (pid {supervisor}) does not stop; end it: kill -9 {supervisor}, "
                    "then say again: streamgage down"
                )
            time.sleep(0.05)
    from infra.local.stack.supervisor import end_leftovers  # noqa: PLC0415 - loads boto3

    end_leftovers(home)
    print("streamgage: down; stream, tables and checkpoints are kept", file=sys.stderr)
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Show what the stack is doing."""
    from infra.commands.status import run  # noqa: PLC0415 - beside its only use

    return run(arguments)


def update(arguments: argparse.Namespace) -> int:
    """Run another version of the function."""
    from infra.commands.update import run  # noqa: PLC0415 - beside its only use

    return run(arguments)


def drain(arguments: argparse.Namespace) -> int:
    """Wait until everything that was sent is applied."""
    from infra.local.stack.drain import wait_drained  # noqa: PLC0415 - beside its only use

    home = Home.of(os.environ)
    home.info()
    wait_drained(home, seconds=arguments.seconds)
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    from infra.commands.demo import run  # noqa: PLC0415 - loads boto3 and the simulators

    return run(arguments)


def _parameters(texts: list[str]) -> dict[str, str]:
    wrong = [each for each in texts if "=" not in each]
    if wrong:
        raise ConfigError(*(f"--param {each!r} is not NAME=VALUE" for each in wrong))
    return dict(each.split("=", 1) for each in texts)
