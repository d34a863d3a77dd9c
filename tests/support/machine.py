"""The local stack as a test handles it: its command line, in a home of its own."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.commands.main import build_parser
from infra.local.comparison import compare, read_all_items
from infra.local.files import make_private
from infra.local.stack.clients import local_client
from infra.local.stack.home import Home, is_alive
from processors.pipeline_files import load_pipeline
from producers.simulators.totals import Totals, read_totals
from support.paths import ROOT

# What a person's folder may hold beside ours: whoever imports one of these has looked where they happen to stand.
DECOYS = (
    "streamgage",
    "producers",
    "processors",
    "infra",
    "benchmarks",
    "ministack",
    "awslambdaric",
    "boto3",
    "json",
)
PATIENCE_S = 120  # with real processes, on a machine under load; nobody waits that long where all is well
FAULTS = "11:throttle=0.05,internal=0.02,lost=0.05,error=0.02"


def plant_decoys(folder: Path) -> None:
    """Put packages into *folder* that bear the names of ours and of what we run; importing one ends the process."""
    for name in DECOYS:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "__init__.py").write_text(f"raise SystemExit('imported the decoy {name}')\n")


class Machine:
    """The command line of a stack with a home and ports of its own, in a folder full of decoys."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / ".streamgage")
        self.folder = folder
        plant_decoys(folder)
        self.environment = {**os.environ, "STREAMGAGE_HOME": str(self.home.root), "COLUMNS": "200"}

    def run(self, *arguments: str, check: bool = True, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-P", "-m", "infra.commands.main", *arguments],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"streamgage {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def up(self, *options: str, as_said: bool = False) -> None:
        """Start it; batches wait for nothing, unless *options* say otherwise, or all is *as_said*."""
        if not as_said and not any(each.startswith("BatchingWindow=") for each in options):
            options = "--param", "BatchingWindow=0", *options
        built = _built_in(self.folder)
        is_new = not self.home.root.exists()
        if is_new and built is not None and built.exists():
            make_private(self.home.root)
            _copy_built(built, self.home.root)
        self.run(
            "up", "--detach", "--port", "0", "--kinesis-port", "0", "--pipeline", str(ROOT / "pipeline.toml"), *options
        )  # fmt: skip
        if is_new and built is not None and not built.exists():
            _copy_built(self.home.root, built)

    def send(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        done = self.run("send", *arguments, "--pipeline", str(ROOT / "pipeline.toml"), check=False)
        assert done.returncode in (0, 3), done.stderr
        return done

    def query(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the answer of `streamgage query`, run in this process: some tests ask a hundred times."""
        parsed, said = build_parser().parse_args(["query", *arguments, "--format", "json"]), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
            patch.setenv("STREAMGAGE_HOME", str(self.home.root))
            assert parsed.run(parsed) == 0
        answer: list[dict[str, Any]] = json.loads(said.getvalue(), parse_float=Decimal)
        return answer

    def pids(self) -> list[int]:
        """Every process of the stack: those it names, and the sandboxes."""
        told = (self.home.status(), self.home.gateway_status(), self.home.changes_status())
        return [*self.home.info().pids.values(), *(pid for each in told for pid in each.get("sandboxes", []))]

    def stop(self) -> None:
        self.run("down", check=False)


def _built_in(folder: Path) -> Path | None:
    """Return where the tests of one worker keep the bundles and the runtime that the first home's `up` built, if anywhere.

    They are looked at by each `up` as any that a home has, and built anew where they are not of its definition.
    """
    runs = (each for each in folder.parents if each.name.startswith(("popen-", "pytest-")))
    return next((each / "built" for each in runs), None)


def _copy_built(source: Path, target: Path) -> None:
    for each in source.glob("bundle*"):
        shutil.copytree(each, target / each.name)
    shutil.copytree(
        source / "runtime", target / "runtime", copy_function=os.link
    )  # as it is made: nobody writes there


def victims(machine: Machine, role: str) -> list[int]:
    """Return the living processes of *role*, once the function has done some more work."""
    log = machine.home.logs / "function.log"
    size = log.stat().st_size if log.exists() else 0
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        named = (
            machine.home.status().get("sandboxes", [])
            if role == "sandbox"
            else [machine.home.info().pids[role]]
        )
        living = [pid for pid in named if is_alive(pid)]
        if living and log.exists() and log.stat().st_size > size:
            return living
        time.sleep(0.02)
    raise AssertionError(f"no {role} at work within {PATIENCE_S} s")


def differences(machine: Machine, *totals: Path) -> list[str]:
    """Return where the table differs from the sum of what was sent, of which each file tells other days."""
    return compare(load_pipeline(ROOT / "pipeline.toml"), read_all_items(machine.home.info()), union(*totals))


def union(*totals: Path) -> Totals:
    merged: Totals = {}
    for page in totals:
        for rollup, rows in read_totals(page).items():
            known = merged.setdefault(rollup, {})
            assert not known.keys() & rows.keys()
            known.update(rows)
    return merged


@contextmanager
def running(folder: Path, *options: str, as_said: bool = False) -> Iterator[Machine]:
    """A stack with *options*, as of ``Machine.up``; in the end none of its processes is left."""
    machine, pids = Machine(folder), list[int]()
    machine.up(*options, as_said=as_said)
    try:
        yield machine
        pids = machine.pids()
    finally:
        machine.stop()
    assert not [pid for pid in pids if is_alive(pid)]


def simulate(
    machine: Machine, totals: Path, *, events: int, rate: int, day: int = 1, live: bool = False
) -> "subprocess.Popen[str]":
    """Start a sender of *events* whose times begin on the *day*-th of 2026, or where it is *live* are those of their sending."""
    start = (date(2026, 1, 1) + timedelta(days=day - 1)).isoformat()
    period = "1s"
    if live:
        start, period = datetime.now(UTC).isoformat(), f"{100_000 // rate}ms"
    return subprocess.Popen(
        [
            sys.executable, "-P", "-m", "infra.commands.main", "simulate", "fleet", "--devices", "50", "--events", str(events),
            "--metrics", "2", "--period", period, "--seed", "5", "--start", start, "--totals", str(totals),
            "--rate", str(rate), "--pipeline", str(ROOT / "pipeline.toml"),
        ],
        cwd=machine.folder, env=machine.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(machine: Machine, sender: "subprocess.Popen[str]", totals: Path) -> list[str]:
    """Wait for the sender and for what it sent; return the differences."""
    said, _ = sender.communicate(timeout=PATIENCE_S)
    assert sender.returncode == 0, said
    machine.run("drain", "--seconds", "200")
    return differences(machine, totals)


def kill(machine: Machine, role: str) -> None:
    for pid in victims(machine, role):
        os.kill(pid, signal.SIGKILL)


def reshard(machine: Machine, act: Callable[[Any, str, list[Any]], None]) -> None:
    """Let *act* reshard the stream; the data plane may just have been killed, so it is tried until it answers."""
    info = machine.home.info()
    client = local_client("kinesis", info.endpoints["kinesis"], info.credentials)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            shards = client.list_shards(StreamName=info.stream)["Shards"]
            act(
                client,
                info.stream,
                [each for each in shards if "EndingSequenceNumber" not in each["SequenceNumberRange"]],
            )
        except client.exceptions.ClientError:
            raise
        except Exception:
            if time.monotonic() > deadline:
                raise
        else:
            return


def split_first(client: Any, stream: str, shards: list[Any]) -> None:
    low, high = (int(shards[0]["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
    client.split_shard(
        StreamName=stream, ShardToSplit=shards[0]["ShardId"], NewStartingHashKey=str((low + high) // 2)
    )


def merge_last_two(client: Any, stream: str, shards: list[Any]) -> None:
    ordered = sorted(shards, key=lambda each: int(each["HashKeyRange"]["StartingHashKey"]))
    client.merge_shards(
        StreamName=stream, ShardToMerge=ordered[-2]["ShardId"], AdjacentShardToMerge=ordered[-1]["ShardId"]
    )
