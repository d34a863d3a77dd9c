"""The tables as a process and as the default of the whole stack: SIGKILL by pid, and nothing is lost."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import boto3
import pytest
from botocore.config import Config

from conftest import CREDENTIALS, create_table
from infra.local.stack.children import wait_until
from infra.local.stack.clients import local_client
from infra.local.stack.home import is_alive, read_json
from infra.local.stack.ports import any_port
from processors.sink.lean_dynamodb import LeanDynamoItemStore
from processors.sink.writes import WRITTEN, Moved, Unsure, Write
from streamgage.fold.items import ItemKey, StoredItem
from support.fakes import PLENTY
from support.lean_server import client_at
from support.machine import Machine, differences, victims
from support.paths import ROOT

pytestmark = pytest.mark.local
TABLE = "aggregates"
WRITERS = 3
KEYS = 25


class Process:
    """One engine on a port and folder of its own, to be killed and started again."""

    def __init__(self, data: Path) -> None:
        self.port = any_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._data = data
        self.child: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-P", "-m", "infra.local.dynamodb", "--port", str(self.port), "--data", str(self._data), *options],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == f"dynamodb: ready on {self.url}\n", self.child.communicate()[1]

    def end(self, number: signal.Signals) -> int | None:
        if self.child is None:
            return None
        os.kill(self.child.pid, number)
        self.child.communicate(timeout=30)
        status, self.child = self.child.returncode, None
        return status


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "data")
    yield process
    process.end(signal.SIGKILL)


def make_table(process: Process) -> None:
    config = Config(retries={"total_max_attempts": 1})
    with closing(boto3.client("dynamodb", endpoint_url=process.url, config=config, **CREDENTIALS)) as client:
        create_table(client, TABLE)


def keys(writer: int) -> list[ItemKey]:
    return [ItemKey(f"writer {writer}", f"lane {n}") for n in range(KEYS)]


def advance(process: Process, writer: int, fences: list[int], stop: threading.Event) -> int:
    """Move the fences of a writer's items on, 25 in a request, until the process is gone; return how often.

    *fences* are what was acknowledged, and nothing else.
    """
    rounds = 0
    with closing(client_at(process.url)) as client:
        store = LeanDynamoItemStore(client, TABLE)
        while not stop.is_set():
            writes = [
                Write(key, StoredItem(fence + 1, "counts", str(fence).encode(), 2_000_000_000), fence or None)
                for key, fence in zip(keys(writer), fences, strict=True)
            ]
            for place, outcome in enumerate(store.put_many(writes, deadline=PLENTY)):
                if outcome == WRITTEN:
                    fences[place] += 1
                elif isinstance(outcome, Moved):  # by its own write, whose answer was lost
                    assert outcome.current is not None
                    assert outcome.current.fence == fences[place] + 1
                    fences[place] += 1
                else:
                    assert isinstance(outcome, Unsure)
                    stop.set()
            rounds += 1
    return rounds


@pytest.mark.parametrize("options", [(), ("--fsync",)], ids=["", "fsync"])
def test_every_acknowledged_write_survives_sigkill_and_no_request_is_there_in_part(
    process: Process, options: tuple[str, ...]
) -> None:
    process.start(*options)
    make_table(process)
    acknowledged = [[0] * KEYS for _ in range(WRITERS)]
    random, before = Random(7), 0
    for _ in range(4):
        stop = threading.Event()
        wanted = before + random.randint(10, 60) * KEYS
        with ThreadPoolExecutor(WRITERS) as pool:
            working = [
                pool.submit(advance, process, writer, acknowledged[writer], stop) for writer in range(WRITERS)
            ]
            wait_until(
                lambda: sum(map(sum, acknowledged)) >= wanted or stop.is_set(),  # noqa: B023 - waited for here
                seconds=60,
                what="acknowledged writes",
            )
            process.end(signal.SIGKILL)
            for each in working:
                assert each.result() > 0
        process.start(*options)
        with closing(client_at(process.url)) as client:
            store = LeanDynamoItemStore(client, TABLE)
            for writer in range(WRITERS):
                found = store.get(keys(writer), deadline=PLENTY)
                stored = [found[key].fence if key in found else 0 for key in keys(writer)]
                under_way = [fence + 1 for fence in acknowledged[writer]]
                assert stored in (
                    acknowledged[writer],
                    under_way,
                )  # all of the request that had no answer, or none
                acknowledged[writer] = stored
        before = sum(map(sum, acknowledged))
    assert before >= 4 * 10 * KEYS


def test_sigterm_ends_it_with_status_0_and_one_file(process: Process, tmp_path: Path) -> None:
    process.start()
    make_table(process)
    assert process.end(signal.SIGTERM) == 0
    assert sorted(each.name for each in (tmp_path / "data").iterdir()) == ["identity", "lock", "tables.db"]
    process.start()
    assert process.end(signal.SIGINT) == 0


def test_a_port_that_is_taken_and_a_damaged_file_are_said_in_a_sentence(
    process: Process, tmp_path: Path
) -> None:
    process.start()
    for data in (tmp_path / "other", tmp_path / "damaged"):
        if data.name == "damaged":
            data.mkdir()
            (data / "tables.db").write_bytes(b"x" * 10_000)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "infra.local.dynamodb", "--port", str(process.port), "--data", str(data)],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert (
            "damaged" if data.name == "damaged" else f"cannot listen on 127.0.0.1:{process.port}"
        ) in done.stderr


def send(machine: Machine, totals: Path, *, events: int, rate: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            sys.executable, "-P", "-m", "infra.commands.main", "simulate", "fleet", "--devices", "5", "--events", str(events),
            "--metrics", "2", "--period", "1s", "--seed", "5", "--totals", str(totals), "--rate", str(rate),
            "--pipeline", str(ROOT / "pipeline.toml"),
        ],
        cwd=machine.folder, env=machine.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_the_stack_survives_kills_of_its_tables_under_load_and_of_everything_at_once(tmp_path: Path) -> None:
    """SIGKILL by pid, while 12,000 events flow; then of all processes; `up` finds every total."""
    machine, totals, killed = Machine(tmp_path), tmp_path / "totals.json", list[int]()
    machine.up("--param", "BatchSize=4")
    try:
        sender = send(machine, totals, events=12_000, rate=1_500)
        for _ in range(3):
            (pid,) = victims(machine, "dynamodb")
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            wait_until(another_than(machine, pid), seconds=60, what=f"another process than {pid}")
        assert sender.poll() is None  # it was under load
        said, _ = sender.communicate(timeout=120)
        assert sender.returncode == 0, said
        machine.run("drain", "--seconds", "200")
        assert differences(machine, totals) == []
        everything = machine.pids()
        for pid in everything:
            with suppress(ProcessLookupError):  # a sandbox dies with its parent
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, everything)), seconds=30, what="the end of every process")
        machine.up()
        assert differences(machine, totals) == []
    finally:
        machine.stop()


def another_than(machine: Machine, pid: int) -> Callable[[], bool]:
    return lambda: machine.home.info().pids["dynamodb"] != pid


def test_the_table_is_as_the_template_says_and_stays_in_its_engine(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.up()
    try:
        info = machine.home.info()
        assert info.endpoints["dynamodb"] != info.endpoints["aws"]
        here, there = (
            local_client("dynamodb", info.endpoints[role], info.credentials) for role in ("dynamodb", "aws")
        )
        ttl = here.describe_time_to_live(TableName=info.table)["TimeToLiveDescription"]
        assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
        with pytest.raises(there.exceptions.ClientError, match="the tables are not in the emulator"):
            there.list_tables()
        event = '{"device_id": "d", "metric": "m", "ts": 1700000000000, "value": 2.5}\n'
        machine.run(
            "send", "ndjson", "-", "--source", "reading", "--pipeline", str(ROOT / "pipeline.toml"), stdin=event
        )  # fmt: skip
        machine.run("drain")
        (row,) = machine.query("device_metrics", "device_id=d", "metric=m", "--window", "1d")
        assert (row["events"], float(row["value.sum"])) == (1, 2.5)
        machine.run("down")
        assert read_json(machine.home.dynamodb_file) == {"engine": "embedded"}
        other = machine.run(
            "up", "--detach", "--port", "0", "--kinesis-port", "0", "--dynamodb", "ministack",
            "--pipeline", str(ROOT / "pipeline.toml"), check=False,
        )  # fmt: skip
        assert other.returncode == 2
        assert "--dynamodb embedded" in other.stderr
    finally:
        machine.stop()
