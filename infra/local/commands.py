"""``streamgage up``, ``down`` and ``status``: the local stack as a person handles it."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.local.home import Home, is_alive, read_json
from streamgage.errors import ConfigError

_UP = """examples:
  streamgage up                                  in this terminal; Ctrl-C stops it
  streamgage up --detach                         in the background; `streamgage down` stops it
  streamgage up --port 0 --kinesis-port 0        on any free ports
  streamgage up --param ShardCount=4 --param BatchingWindow=1

The stream, the tables and how far each shard was read are kept in .streamgage (or $STREAMGAGE_HOME): the next `up` goes
on from there. `rm -r .streamgage` while it is down starts afresh."""
_DOWN = """examples:
  streamgage down"""
_STATUS = """examples:
  streamgage status
  streamgage status --format json"""
_DRAIN = """examples:
  streamgage send ndjson events.ndjson --source click && streamgage drain && streamgage query page_views page=/"""
_DEMO = """examples:
  streamgage demo
  streamgage demo --readings 20000 --devices 50 --clicks 5000 --seed 7

It uses ports and a folder (.streamgage/demo) of its own, and leaves no process behind."""
_UP_WAIT_S = 90
_DOWN_WAIT_S = 60


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``up``, ``down``, ``status``, ``drain`` and ``demo``."""
    parser = _add(commands, "up", "start the pipeline on this machine", _UP, up)
    parser.add_argument(
        "--pipeline", metavar="PATH", default=os.environ.get("STREAMGAGE_PIPELINE", "pipeline.toml")
    )
    parser.add_argument("--template", metavar="PATH", help="a SAM template; default: the one that deploys")
    parser.add_argument("--port", type=int, default=4566, help="of DynamoDB, SQS and the rest; default: 4566")
    parser.add_argument("--kinesis-port", type=int, default=4567, help="default: 4567")
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the template"
    )
    parser.add_argument("--detach", action="store_true", help="return when it is up, and let it run")
    _add(commands, "down", "stop the pipeline on this machine; its data is kept", _DOWN, down)
    parser = _add(commands, "status", "show what the pipeline on this machine is doing", _STATUS, status)
    parser.add_argument("--format", choices=("table", "json"), default="table")
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
        return _detach(home)
    from infra.local.stack import TEMPLATE, Stack, StackOptions, say_on_stderr  # noqa: PLC0415 - loads boto3

    stop = _StopRequest()
    stack = Stack(
        StackOptions(
            home=home,
            pipeline=Path(arguments.pipeline),
            template=Path(arguments.template) if arguments.template else TEMPLATE,
            aws_port=arguments.port,
            kinesis_port=arguments.kinesis_port,
            parameters=_parameters(arguments.param),
        ),
        say=say_on_stderr,
    )
    stack.start()
    stop.starting = False
    say_on_stderr(
        f"up: Kinesis {stack.info.endpoints['kinesis']} stream {stack.info.stream}, "
        f"AWS {stack.info.endpoints['aws']} table {stack.info.table}. Ctrl-C stops it"
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
    command = [sys.executable, "-m", "infra.cli", *(each for each in sys.argv[1:] if each != "--detach")]
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
    from infra.local.stack import end_leftovers  # noqa: PLC0415 - loads boto3

    end_leftovers(home)
    print("streamgage: down; stream, tables and checkpoints are kept", file=sys.stderr)
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Show the processes, the shards and how far behind they are."""
    home = Home.of(os.environ)
    info, now = home.info(), home.status()
    if arguments.format == "json":
        print(json.dumps({"stack": read_json(home.info_file), "mapping": now}, indent=1))
        return 0
    from rich.console import Console  # noqa: PLC0415 - only tables need it
    from rich.table import Table  # noqa: PLC0415 - only tables need it

    console = Console()
    console.print(
        f"stream [bold]{info.stream}[/]  Kinesis {info.endpoints['kinesis']}  AWS {info.endpoints['aws']}"
    )
    console.print("processes: " + ", ".join(f"{name} {pid}" for name, pid in info.pids.items()))
    table = Table(title="shards")
    for name in ("shard", "checkpoint", "records read", "in work", "behind"):
        table.add_column(name, justify="left" if name in ("shard", "checkpoint") else "right")
    for shard_id, shard in sorted(now.get("shards", {}).items()):
        behind = (
            "finished"
            if shard["finished"]
            else "up to date"
            if shard["caught_up"]
            else f"{shard['behind_ms']} ms"
        )
        table.add_row(
            shard_id, shard["checkpoint"] or "-", f"{shard['records_read']:,}", f"{shard['undone']:,}", behind
        )
    console.print(table)
    counters = now.get("counters", {})
    console.print(
        "since the mapping started: "
        + ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counters.items())
    )
    if now.get("last_error"):
        console.print(f"last error: {now['last_error']['message']}")
    return 0


def drain(arguments: argparse.Namespace) -> int:
    """Wait until everything that was sent is applied."""
    from infra.local.drain import wait_drained  # noqa: PLC0415 - beside its only use

    home = Home.of(os.environ)
    home.info()
    wait_drained(home, seconds=arguments.seconds)
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    from infra.local.demo import run  # noqa: PLC0415 - loads boto3 and the simulators

    return run(arguments)


def _parameters(texts: list[str]) -> dict[str, str]:
    wrong = [each for each in texts if "=" not in each]
    if wrong:
        raise ConfigError(*(f"--param {each!r} is not NAME=VALUE" for each in wrong))
    return dict(each.split("=", 1) for each in texts)
