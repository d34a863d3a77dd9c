"""DynamoDB Local as a process and as the engine of the whole stack: SIGKILL by pid, and nothing is lost."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004 - botocore's name

from conftest import CREDENTIALS, create_table
from infra.local.files import make_private
from infra.local.http.secret import Credentials
from infra.local.stack import dynamodb_local
from infra.local.stack.clients import local_client
from infra.local.stack.home import is_alive, read_json
from infra.local.stack.ports import any_port
from infra.local.stack.tables import Engine, keep_engine
from streamgage.errors import ConfigError
from support.load import Load
from support.machine import Machine, differences, running, victims
from support.paths import ROOT

pytestmark = pytest.mark.local
TABLE = "aggregates"
WRITERS = 4
START_S = 120


class Process:
    """One DynamoDB Local on a port and folder of its own, to be killed and started again."""

    def __init__(self, data: Path) -> None:
        self.port = any_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._data = data
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._child = subprocess.Popen(
            dynamodb_local.command(dynamodb_local.install(), port=self.port, data=self._data),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait(lambda: dynamodb_local.answers(self.url), "an answer")

    def kill(self) -> None:
        if self._child is not None:
            os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._child = None

    def client(self) -> Any:
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5)
        return boto3.client("dynamodb", endpoint_url=self.url, config=config, **CREDENTIALS)


@pytest.fixture(scope="module")
def engine() -> None:
    """Skip where DynamoDB Local cannot run."""
    reason = dynamodb_local.unavailable()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def process(engine: None, tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "data")
    (tmp_path / "data").mkdir()
    process.start()
    yield process
    process.kill()


def wait(condition: Callable[[], bool], what: str, *, seconds: float = START_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)  # polls a real process, with a deadline


def advance(client: Any, key: str, fence: int) -> bool:
    """Move the fence of *key* on by one; tell whether that was acknowledged. False: the process died meanwhile."""
    condition = "fence = :before" if fence else "attribute_not_exists(pk)"
    values = {"ExpressionAttributeValues": {":before": {"S": str(fence)}}} if fence else {}
    try:
        client.put_item(
            TableName=TABLE,
            Item={"pk": {"S": key}, "sk": {"S": "lane"}, "fence": {"S": str(fence + 1)}},
            ConditionExpression=condition,
            **values,
        )
    except (ConnectionError, HTTPClientError):
        return False
    return True


def wait_for_writes(acknowledged: dict[str, int], least: int) -> None:
    wait(lambda: sum(acknowledged.values()) >= least, f"{least} acknowledged writes")


def wait_for_another(machine: Machine, pid: int) -> None:
    wait(lambda: machine.home.info().pids["dynamodb"] != pid, f"another process than {pid}")


def stored_fence(client: Any, key: str) -> int:
    answer = client.get_item(
        TableName=TABLE, Key={"pk": {"S": key}, "sk": {"S": "lane"}}, ConsistentRead=True
    )
    return int(answer["Item"]["fence"]["S"]) if "Item" in answer else 0


def test_every_acknowledged_conditional_write_survives_sigkill(process: Process) -> None:
    create_table(process.client(), TABLE)
    random, acknowledged = Random(7), dict.fromkeys((f"writer-{n}" for n in range(WRITERS)), 0)
    for _ in range(3):
        before, wanted = sum(acknowledged.values()), random.randint(40, 120)
        died = threading.Event()

        def write(key: str, died: threading.Event = died) -> None:
            client = process.client()
            while not died.is_set() and advance(client, key, acknowledged[key]):
                acknowledged[key] += 1
            died.set()

        with ThreadPoolExecutor(WRITERS) as pool:
            writing = [pool.submit(write, key) for key in acknowledged]
            wait_for_writes(acknowledged, before + wanted)
            process.kill()
            for each in writing:
                each.result()
        process.start()
        client = process.client()
        for key, fence in acknowledged.items():
            stored = stored_fence(client, key)
            assert stored in (fence, fence + 1), key  # the write that was under way may have been made
            acknowledged[key] = stored
    assert sum(acknowledged.values()) >= 120
    with pytest.raises(ClientError, match="ConditionalCheckFailedException"):
        advance(process.client(), "writer-0", acknowledged["writer-0"] - 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_it_listens_on_the_loopback_address_and_on_no_other(process: Process) -> None:
    socket.create_connection(("127.0.0.1", process.port), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", process.port), timeout=5)


@pytest.mark.slow
def test_the_stack_survives_kills_of_its_database_under_load(engine: None, tmp_path: Path) -> None:
    """SIGKILL by pid, three times, while events flow; then `down` and `up` find the tables again."""
    with running(tmp_path, "--dynamodb", "local", "--param", "BatchSize=4") as machine:
        killed = []
        with Load(machine, events=2_000, rate=2_000) as load:
            for _ in range(3):
                (pid,) = victims(machine, "dynamodb")
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                wait_for_another(machine, pid)
            assert load.finish() == []
        log = (machine.home.logs / "function.log").read_text()
        assert "batch applied in part" in log  # the function saw it die
        before = machine.pids()
        machine.run("down")
        assert not [pid for pid in [*killed, *before] if is_alive(pid)]
        machine.up("--dynamodb", "local")
        assert differences(machine, *load.totals) == []


@pytest.fixture(scope="module")
def machine(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A stack whose tables are in it."""
    with running(tmp_path_factory.mktemp("local"), "--dynamodb", "local") as machine:
        yield machine


def test_the_table_is_as_the_template_says_and_counts_what_is_sent(machine: Machine) -> None:
    info = machine.home.info()
    assert info.endpoints["dynamodb"] != info.endpoints["aws"]
    here, there = (
        local_client("dynamodb", info.endpoints[role], info.credentials) for role in ("dynamodb", "aws")
    )
    table = here.describe_table(TableName=info.table)["Table"]
    assert [(each["AttributeName"], each["KeyType"]) for each in table["KeySchema"]] == [
        ("pk", "HASH"),
        ("sk", "RANGE"),
    ]
    ttl = here.describe_time_to_live(TableName=info.table)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    with pytest.raises(ClientError, match="tables"):  # of the emulator: it says where they are
        there.list_tables()
    event = '{"device_id": "d", "metric": "m", "ts": 1700000000000, "value": 2.5}\n'
    machine.run(
        "send", "ndjson", "-", "--source", "reading", "--pipeline", str(ROOT / "pipeline.toml"), stdin=event
    )  # fmt: skip
    machine.run("drain")
    (row,) = machine.query("device_metrics", "device_id=d", "metric=m", "--window", "1d")
    assert (row["events"], float(row["value.sum"])) == (1, 2.5)
    assert read_json(machine.home.dynamodb_file) == {"engine": "local"}
    assert machine.home.checkpoint_file.exists()


def test_a_home_whose_tables_are_in_it_stays_with_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    make_private(machine.home.root)
    keep_engine(machine.home, Engine.LOCAL)
    machine.home.checkpoint_file.parent.mkdir(parents=True, exist_ok=True)
    machine.home.checkpoint_file.write_text("{}")  # of the stream something was read
    try:
        other = machine.run(
            "up", "--detach", "--port", "0", "--kinesis-port", "0", "--pipeline", str(ROOT / "pipeline.toml"), check=False
        )  # fmt: skip
    finally:
        machine.stop()
    assert other.returncode == 2
    assert "--dynamodb local" in other.stderr


class TestFetching:
    """With executables of our own on the PATH, and a cache of our own."""

    @pytest.fixture(autouse=True)
    def path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        return tmp_path / "bin"

    def program(self, folder: Path, name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    def test_a_machine_without_java_says_so(self) -> None:
        assert "no `java` on the PATH" in str(dynamodb_local.unavailable())

    @pytest.mark.parametrize("version", ["11.0.2", "1.8.0_292"])
    def test_an_old_java_is_named(self, path: Path, version: str) -> None:
        self.program(path, "java", f"echo 'openjdk version \"{version}\"' >&2")
        assert "Java 17 or newer" in str(dynamodb_local.unavailable())
        assert version in str(dynamodb_local.unavailable())

    def test_a_machine_without_maven_says_so_unless_it_was_fetched_before(self, path: Path) -> None:
        self.program(path, "java", "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2")
        assert "no `mvn` on the PATH" in str(dynamodb_local.unavailable())
        lib = dynamodb_local.folder(os.environ) / "lib"
        lib.mkdir(parents=True)
        (lib / f"DynamoDBLocal-{dynamodb_local.VERSION}.jar").touch()
        assert dynamodb_local.unavailable() is None

    def test_maven_is_asked_twice_and_its_own_words_are_shown(self, path: Path) -> None:
        self.program(path, "java", "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2")
        self.program(
            path, "mvn", f"echo asked >> {path}/asked; echo 'ERROR Could not transfer artifact'; exit 1"
        )
        with pytest.raises(ConfigError, match=r"(?s)tried 2 times.*Could not transfer artifact"):
            dynamodb_local.install()
        assert (path / "asked").read_text() == "asked\nasked\n"
        assert list(path.parent.glob("cache/streamgage/dynamodb-local/*")) == []

    def test_a_fault_of_the_network_that_passes_is_survived(self, path: Path) -> None:
        self.program(path, "java", "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2")
        jar = f"DynamoDBLocal-{dynamodb_local.VERSION}.jar"
        self.program(
            path,
            "mvn",
            f"[ -e {path}/asked ] || {{ : > {path}/asked; exit 1; }}\n"
            'for each; do case $each in -DoutputDirectory=*) out="${each#*=}";; esac; done\n'
            f'/bin/mkdir -p "$out" && : > "$out/{jar}"',
        )
        installed = dynamodb_local.install()
        assert sorted(each.name for each in installed.iterdir()) == ["lib", "server.xml"]
        assert dynamodb_local.install() == installed


def test_nobody_without_the_homes_key_sees_its_tables_and_no_foreign_name_is_answered(
    machine: Machine,
) -> None:
    info = machine.home.info()
    url = info.endpoints["dynamodb"]
    own = local_client("dynamodb", url, info.credentials)
    beside = [
        f"{info.table.removesuffix('Aggregates')}{each}" for each in ("ConnectionsTable", "IdempotencyTable")
    ]
    assert own.list_tables()["TableNames"] == [info.table, *beside]
    stranger = local_client("dynamodb", url, Credentials("LOCALSTRANGER", "x"))
    assert stranger.list_tables()["TableNames"] == []
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        stranger.describe_table(TableName=info.table)
    for host, status in (("localhost", 400), ("evil.example", 404)):
        asked = urllib.request.Request(url, headers={"Host": host}, data=b"{}")  # noqa: S310 - our own address
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=10)  # noqa: S310 - the same
        with refused.value as answer:
            assert answer.code == status
            assert not [each for each in answer.headers if each.lower().startswith("access-control")]


def test_a_shared_database_becomes_the_homes_and_so_does_one_of_a_key_that_was_lost(tmp_path: Path) -> None:
    for name in ("shared-local-instance.db", "LOCALOLD_us-east-1.db"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("tables")
        (folder / f"{name}-journal").write_text("journal")
        for _ in range(2):
            dynamodb_local.adopt(folder, "LOCALNEW")
        assert {each.name: each.read_text() for each in folder.iterdir()} == {
            "LOCALNEW_us-east-1.db": "tables", "LOCALNEW_us-east-1.db-journal": "journal",
        }  # fmt: skip
    (folder / "LOCALEVIL_us-east-1.db").touch()
    dynamodb_local.adopt(folder, "LOCALNEW")
    with pytest.raises(ConfigError, match="several databases"):
        dynamodb_local.adopt(folder, "LOCALTHIRD")
