"""The mapping process end to end: real sandboxes, MiniStack's services or a fake stream, real SIGKILLs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.aws.bundle.dists import build_runtime_dir
from infra.local.mapping.checkpoints import CheckpointFile
from infra.local.mapping.process import MappingProcess
from infra.local.mapping.process_config import parse
from infra.local.stack.ports import any_port
from support.paths import ROOT

pytestmark = pytest.mark.local

# Writes one line a record, in one write a batch: what a kill -9 leaves is whole batches.
HANDLER = """
import base64, json, os, time

def handler(event, context):
    records = [(r["eventID"].split(":")[0], r["kinesis"]["sequenceNumber"], r["kinesis"]["partitionKey"],
                base64.b64decode(r["kinesis"]["data"]).decode()) for r in event["Records"]]
    with open(os.environ["BUSY"], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(float(os.environ.get("NAP_S", "0")))
    if any(data == "poison" for _, _, _, data in records):
        raise ValueError("poison")
    with open(os.environ["OUT"], "a") as file:
        file.write("".join(json.dumps(record) + "\\n" for record in records))
    return {"batchItemFailures": []}
"""


def wait_for(happened: Callable[[], Any], *, within_s: float = 120, why: str = "") -> Any:
    deadline = time.monotonic() + within_s
    while not (result := happened()):
        assert time.monotonic() < deadline, f"did not happen in time {why}"
        time.sleep(0.02)
    return result


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def is_gone(pid: int) -> bool:
    return not is_running(pid)


def pid_in(path: Path) -> int:
    """Return the process id written in *path*; 0 while there is none."""
    try:
        return int(path.read_text() or 0)
    except FileNotFoundError:
        return 0


def client(service: str, endpoint: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106  # an emulator's
        config=Config(retries={"total_max_attempts": 3}),
    )


@pytest.fixture(scope="session")
def runtime_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_runtime_dir(tmp_path_factory.mktemp("var") / "runtime")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = any_port()
    home = tmp_path_factory.mktemp("ministack")
    env = {**os.environ, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "TMPDIR": str(home)}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ministack"], env=env, stdout=log, stderr=log, cwd=home
        )
    try:
        endpoint = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            with contextlib.suppress(ClientError, BotoCoreError):
                client("kinesis", endpoint).list_streams()
                return True
            return False

        wait_for(answers, why=(home / "log").read_text())
        yield endpoint
    finally:
        process.kill()
        process.wait()


class Bench:
    """A task directory, a stream of MiniStack, and the mapping process over them, started as often as wanted."""

    def __init__(self, base: Path, runtime_dir: Path, endpoint: str, name: str) -> None:
        self.base = base
        self.name = name
        self.kinesis = client("kinesis", endpoint)
        (base / "task").mkdir()
        (base / "task" / "app.py").write_text(HANDLER)
        self.env = {"OUT": str(base / "out"), "BUSY": str(base / "busy")}
        self.document: dict[str, Any] = {
            "stream_arn": f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}",
            "kinesis_endpoint": endpoint,
            "endpoint": endpoint,
            "mapping": {"StartingPosition": "TRIM_HORIZON", "BatchSize": 100},
            "function": {
                "name": "fn",
                "handler": "app.handler",
                "task_dir": str(base / "task"),
                "runtime_dir": str(runtime_dir),
                "log_file": str(base / "fn.log"),
                "env": self.env,
                "timeout_s": 20,
                "memory_mb": 256,
                "max_concurrency": 2,
            },
            "checkpoint_file": str(base / "checkpoint.json"),
            "status_file": str(base / "status.json"),
            "poll_idle_ms": 20,
            "retry_first_ms": 20,
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def create(self, shards: int) -> None:
        self.kinesis.create_stream(StreamName=self.name, ShardCount=shards)

    def put(self, numbers: range, *, poison: frozenset[int] = frozenset()) -> None:
        for start in range(numbers.start, numbers.stop, 500):
            part = range(start, min(start + 500, numbers.stop))
            answer = self.kinesis.put_records(
                StreamName=self.name,
                Records=[
                    {
                        "Data": b"poison" if n in poison else str(n).encode(),
                        "PartitionKey": f"device-{n % 17}",
                    }
                    for n in part
                ],
            )
            assert answer["FailedRecordCount"] == 0

    def start(self) -> subprocess.Popen[bytes]:
        config = self.base / "mapping.json"
        config.write_text(json.dumps(self.document))
        with (self.base / "mapping.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "infra.local.mapping.process", "--config", str(config)],
                stderr=log,
                cwd=ROOT,
            )
        self.processes.append(process)
        return process

    def status(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.base / "status.json").read_text()))
        except FileNotFoundError:
            return {}

    def drain(self) -> None:
        """Wait until everything put so far is done."""
        put_ms = time.time() * 1000
        wait_for(
            lambda: (self.status().get("drained_to_ms") or 0) > put_ms, within_s=120, why=str(self.status())
        )

    def delivered(self) -> list[tuple[str, int, str, str]]:
        try:
            lines = (self.base / "out").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [(shard, int(number), key, data) for shard, number, key, data in map(json.loads, lines)]

    def numbers(self) -> list[int]:
        return [int(data) for _, _, _, data in self.delivered()]


@pytest.fixture
def bench(
    tmp_path: Path, runtime_dir: Path, emulator: str, request: pytest.FixtureRequest
) -> Iterator[Bench]:
    bench = Bench(tmp_path, runtime_dir, emulator, f"stream-{abs(hash(request.node.name))}")
    yield bench
    for process in bench.processes:
        process.kill()
        process.wait()


def test_everything_is_delivered_once_and_in_order_and_a_restart_goes_on_from_there(bench: Bench) -> None:
    bench.create(2)
    bench.put(range(1500))
    first = bench.start()
    bench.drain()
    assert sorted(bench.numbers()) == list(range(1500))
    last: dict[tuple[str, str], int] = defaultdict(int)
    for shard, number, key, _ in bench.delivered():
        assert number > last[(shard, key)]
        last[(shard, key)] = number
    status = bench.status()
    assert status["state"] == "running"
    assert status["counters"]["records_read"] == 1500
    assert all(shard["caught_up"] and shard["undone"] == 0 for shard in status["shards"].values())
    sandboxes = status["sandboxes"]
    assert sandboxes
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0
    assert not [pid for pid in sandboxes if is_running(pid)]
    assert bench.status()["state"] == "stopped"
    bench.put(range(1500, 1600))
    bench.start()
    bench.drain()
    assert sorted(bench.numbers()) == list(range(1600))


def test_what_filters_hold_back_is_read_counted_and_passed_by(bench: Bench) -> None:
    pattern = json.dumps({"partitionKey": [{"anything-but": ["device-3"]}]})
    bench.document["mapping"]["FilterCriteria"] = {"Filters": [{"Pattern": pattern}]}
    bench.create(1)
    bench.put(range(340))  # of device-3 the last one too: no invocation ends the shard's progress
    bench.put(range(3, 4))
    bench.start()
    bench.drain()
    assert sorted(bench.numbers()) == [n for n in range(340) if n % 17 != 3]
    status = bench.status()
    assert (status["counters"]["records_read"], status["counters"]["records_filtered"]) == (341, 21)
    assert status["counters"]["records_invoked"] == 320
    [shard] = status["shards"].values()
    assert shard["undone"] == 0
    last = max(int(number) for _, number, _, _ in bench.delivered())
    assert int(shard["checkpoint"]) > last


def test_a_mapping_on_a_stream_that_does_not_exist_is_refused_before_anything_runs(bench: Bench) -> None:
    process = bench.start()
    assert process.wait(20) == 2
    log = (bench.base / "mapping.log").read_text()
    assert log.splitlines()[-1] == f"Stream not found: {bench.document['stream_arn']}"
    assert bench.status() == {}


def test_sigterm_lets_the_invocation_under_way_end_and_keeps_its_checkpoint(bench: Bench) -> None:
    bench.document["function"]["env"] = {**bench.env, "NAP_S": "1"}
    bench.create(1)
    bench.put(range(10))
    process = bench.start()
    wait_for((bench.base / "busy").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert sorted(bench.numbers()) == list(range(10))
    [kept] = CheckpointFile(bench.base / "checkpoint.json").load().values()
    assert kept.sequence == bench.delivered()[-1][1]


def test_kill_9_of_sandboxes_and_of_the_mapping_loses_nothing(bench: Bench) -> None:
    bench.document["function"]["env"] = {**bench.env, "NAP_S": "0.1"}
    bench.create(2)
    process = bench.start()
    busy = bench.base / "busy"
    for round_number in range(6):
        bench.put(range(round_number * 500, round_number * 500 + 500))
        busy.unlink(missing_ok=True)
        wait_for(partial(pid_in, busy))
        if round_number % 2:
            sandboxes = bench.status()["sandboxes"]
            process.kill()
            process.wait()
            for pid in {*sandboxes, pid_in(busy)}:
                wait_for(partial(is_gone, pid), why="a sandbox outlived its parent")
            process = bench.start()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(wait_for(partial(pid_in, busy)), signal.SIGKILL)
    bench.drain()
    assert set(bench.numbers()) == set(range(3000))
    assert "SIGKILL" in (bench.base / "fn.log").read_text()


def test_the_mapping_ends_when_its_parent_does(bench: Bench) -> None:
    bench.create(1)
    bench.put(range(5))
    (bench.base / "mapping.json").write_text(json.dumps(bench.document))
    starter = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-P', '-m', 'infra.local.mapping.process', '--config', sys.argv[1]])\n"
        "open(sys.argv[2], 'w').write(str(child.pid))\n"
        "child.wait()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-P", "-c", starter, str(bench.base / "mapping.json"), str(bench.base / "pid")],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        bench.drain()
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not is_running(int((bench.base / "pid").read_text())))
    assert not [pid for pid in bench.status()["sandboxes"] if is_running(pid)]


def test_a_poison_record_is_isolated_and_named_to_the_queue(bench: Bench, emulator: str) -> None:
    sqs = client("sqs", emulator)
    url = sqs.create_queue(QueueName=bench.name)["QueueUrl"]
    bench.document["mapping"] |= {
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": 2,
        "DestinationConfig": {
            "OnFailure": {"Destination": f"arn:aws:sqs:us-east-1:000000000000:{bench.name}"}
        },
    }
    bench.create(1)
    bench.put(range(50), poison=frozenset({33}))
    bench.start()
    bench.drain()
    assert sorted(bench.numbers()) == [n for n in range(50) if n != 33]
    [message] = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    body = json.loads(message["Body"])
    assert body["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert body["requestContext"]["approximateInvokeCount"] == 3
    assert body["requestContext"]["functionArn"] == "arn:aws:lambda:us-east-1:000000000000:function:fn"
    assert body["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    info = body["KinesisBatchInfo"]
    assert (info["batchSize"], info["startSequenceNumber"]) == (1, info["endSequenceNumber"])
    assert (info["shardId"], info["streamArn"]) == ("shardId-000000000000", bench.document["stream_arn"])
    assert bench.status()["counters"]["records_discarded"] == 1
    assert "poison" in bench.status()["last_error"]["message"]


def test_a_bucket_gets_the_records_themselves_and_the_checkpoint_waits_for_it(
    bench: Bench, emulator: str
) -> None:
    s3 = client("s3", emulator)
    bucket = bench.name
    bench.document["mapping_id"] = "8ed2a1f0-0000-4000-8000-000000000001"
    bench.document["mapping"] |= {
        "BatchSize": 1,
        "MaximumRetryAttempts": 0,
        "DestinationConfig": {"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}},
    }
    bench.create(1)
    bench.put(range(1), poison=frozenset({0}))
    bench.start()
    wait_for(lambda: "NoSuchBucket" in str(bench.status().get("last_error")))
    assert bench.status()["shards"]["shardId-000000000000"]["checkpoint"] is None
    s3.create_bucket(Bucket=bucket)
    bench.drain()
    [entry] = s3.list_objects_v2(Bucket=bucket)["Contents"]
    prefix = "aws/lambda/8ed2a1f0-0000-4000-8000-000000000001/shardId-000000000000/"
    assert entry["Key"].startswith(prefix + datetime.now(UTC).strftime("%Y/"))
    body = json.loads(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())
    [item] = body["payload"]["Records"]
    assert item["kinesis"]["data"] == "cG9pc29u"


class FakeKinesis:
    """A split stream that fails in every way a data plane does: iterators expire, throttling, no connection."""

    def __init__(self) -> None:
        self.log = {
            name: [(10**55 + base * 1000 + n, f"{name}-{n}") for n in range(20)]
            for base, name in enumerate(["parent", "left", "right"])
        }
        self.calls: dict[str, int] = defaultdict(int)
        self.expired: set[str] = set()
        self.lock = threading.Lock()

    def fail(self, operation: str, **every: int) -> None:
        self.calls[operation] += 1
        for code, nth in every.items():
            if self.calls[operation] % nth == 0:
                raise ClientError({"Error": {"Code": code, "Message": "as arranged"}}, operation)

    def describe_stream_summary(self, **_: Any) -> dict[str, Any]:
        raise ClientError({"Error": {"Code": "InternalFailure", "Message": "as arranged"}}, "Describe")

    def list_shards(self, **_: Any) -> dict[str, Any]:
        open_range, closed = (
            {"StartingSequenceNumber": "1"},
            {"StartingSequenceNumber": "1", "EndingSequenceNumber": "2"},
        )
        with self.lock:
            self.fail("ListShards", LimitExceededException=2)
        return {
            "Shards": [
                {"ShardId": "parent", "SequenceNumberRange": closed},
                {"ShardId": "left", "ParentShardId": "parent", "SequenceNumberRange": open_range},
                {"ShardId": "right", "ParentShardId": "parent", "SequenceNumberRange": open_range},
            ]
        }

    def get_shard_iterator(self, **request: Any) -> dict[str, Any]:
        with self.lock:
            after = int(request.get("StartingSequenceNumber", 0))
            position = sum(number <= after for number, _ in self.log[request["ShardId"]])
            self.calls["GetShardIterator"] += 1
            return {"ShardIterator": f"{request['ShardId']}/{position}/{self.calls['GetShardIterator']}"}

    def get_records(self, **request: Any) -> dict[str, Any]:
        with self.lock:
            if self.calls["GetRecords"] % 3 == 0:
                self.expired.add(request["ShardIterator"])
            every = 1 if request["ShardIterator"] in self.expired else 10**9
            self.fail("GetRecords", ExpiredIteratorException=every, ProvisionedThroughputExceededException=4)
        shard_id, start, name = request["ShardIterator"].split("/")
        position = int(start) + 3
        answer: dict[str, Any] = {
            "Records": [
                {
                    "SequenceNumber": str(number),
                    "Data": data.encode(),
                    "PartitionKey": data,
                    "ApproximateArrivalTimestamp": datetime.now(UTC),
                }
                for number, data in self.log[shard_id][int(start) : position]
            ],
            "MillisBehindLatest": 0 if position >= 20 else 1000,
            "NextShardIterator": f"{shard_id}/{min(position, 20)}/{name}",
        }
        if shard_id == "parent" and position >= 20:
            del answer["NextShardIterator"]
        return answer


def test_children_follow_their_parent_whatever_goes_wrong_with_the_data_plane(
    tmp_path: Path, runtime_dir: Path
) -> None:
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "app.py").write_text(HANDLER)
    config = parse(
        {
            "stream_arn": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
            "mapping": {"StartingPosition": "TRIM_HORIZON", "BatchSize": 5, "ParallelizationFactor": 2},
            "function": {
                "name": "fn",
                "handler": "app.handler",
                "task_dir": str(tmp_path / "task"),
                "runtime_dir": str(runtime_dir),
                "log_file": str(tmp_path / "fn.log"),
                "env": {"OUT": str(tmp_path / "out"), "BUSY": str(tmp_path / "busy")},
                "timeout_s": 20,
                "memory_mb": 256,
            },
            "checkpoint_file": str(tmp_path / "checkpoint.json"),
            "status_file": str(tmp_path / "status.json"),
            "poll_idle_ms": 5,
            "list_shards_ms": 50,
        }
    )
    kinesis = FakeKinesis()
    process = MappingProcess(config, kinesis=kinesis)
    thread = threading.Thread(target=process.run)
    thread.start()
    try:
        wait_for((tmp_path / "status.json").exists)
        wait_for(lambda: json.loads((tmp_path / "status.json").read_text())["drained_to_ms"])
    finally:
        process.stop()
        thread.join(30)
    delivered = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert sorted(data for *_, data in delivered) == sorted(
        data for log in kinesis.log.values() for _, data in log
    )
    shards = [shard for shard, *_ in delivered]
    assert set(shards[:20]) == {"parent"}
    kept = CheckpointFile(tmp_path / "checkpoint.json").load()
    assert kept["parent"].finished
    assert not kept["left"].finished
    assert kept["right"].sequence == kinesis.log["right"][-1][0]


def test_a_broken_configuration_names_every_problem(tmp_path: Path) -> None:
    (tmp_path / "mapping.json").write_text('{"stream_arn": "s", "mapping": {"BatchSize": 0}, "colour": 1}')
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "infra.local.mapping.process",
            "--config",
            str(tmp_path / "mapping.json"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 2
    for part in ("stream_arn is 's'", "BatchSize is 0", "colour is unknown", "function.handler is missing"):
        assert part in done.stderr
