"""The data plane as a process: killed, stopped, refused its port, resharded under load."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from support.paths import ROOT

pytestmark = pytest.mark.local


class Plane:
    """One process of the data plane; ``start`` again after its death."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.process: subprocess.Popen[str] | None = None
        self._spawned: list[subprocess.Popen[str]] = []
        self.url = ""
        self.tls_url = ""

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "infra.local.kinesis", "--data", str(self._directory), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._spawned.append(process)
        return process

    def start(self, *arguments: str) -> None:
        self.process = self.spawn("--port", "0", *arguments)
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        urls = [word for word in words if word.startswith("http")]
        assert urls, self.process.communicate()[1]
        self.url, self.tls_url = urls[0], urls[-1]

    def end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        self.process.communicate(timeout=20)
        status, self.process = self.process.returncode, None
        return status

    def kill_all(self) -> None:
        """End whatever a failed test left behind."""
        for process in self._spawned:
            if process.poll() is None:
                process.kill()
                process.communicate()


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    running = Plane(tmp_path / "data")
    yield running
    running.kill_all()


def client_of(url: str, *, verify: str | None = None) -> Any:
    return boto3.client(
        "kinesis",
        endpoint_url=url,
        verify=verify,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - no one checks it
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10),
    )


def load(url: str, thread: int, acknowledged: dict[bytes, str], stop: threading.Event) -> None:
    """Put numbered records until the server is gone or *stop* is set; keep what was acknowledged."""
    client = client_of(url)
    count = 0
    while not stop.is_set():
        datas = [b"%d:%08d" % (thread, count + i) + b"." * 300 for i in range(50)]
        count += 50
        records = [{"Data": data, "PartitionKey": f"k{i % 16}"} for i, data in enumerate(datas)]
        try:
            answer = client.put_records(StreamName="s", Records=records)
        except (BotoCoreError, ClientError):
            break
        for data, record in zip(datas, answer["Records"], strict=True):
            acknowledged[data] = f"{record['ShardId']}:{record['SequenceNumber']}"
    client.close()


def consume(client: Any) -> list[tuple[str, str, bytes]]:
    """Read the stream from its start, parents before children: (position, partition key, data) in order."""
    found: list[tuple[str, str, bytes]] = []
    shards = client.list_shards(StreamName="s")["Shards"]
    done: set[str] = set()
    while len(done) < len(shards):
        for shard in shards:
            parents = {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")} - {None}
            if shard["ShardId"] in done or not parents <= done:
                continue
            found += drain(client, shard["ShardId"])
            done.add(shard["ShardId"])
    return found


def drain(client: Any, shard_id: str) -> list[tuple[str, str, bytes]]:
    found: list[tuple[str, str, bytes]] = []
    iterator = client.get_shard_iterator(StreamName="s", ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")
    position = iterator["ShardIterator"]
    while position is not None:
        answer = client.get_records(ShardIterator=position)
        found += [
            (f"{shard_id}:{record['SequenceNumber']}", record["PartitionKey"], record["Data"])
            for record in answer["Records"]
        ]
        position = answer.get("NextShardIterator")
        if answer["MillisBehindLatest"] == 0:
            break
    return found


def under_load(
    url: str, threads: int = 4
) -> tuple[list[threading.Thread], dict[bytes, str], threading.Event]:
    acknowledged: dict[bytes, str] = {}
    stop = threading.Event()
    workers = [threading.Thread(target=load, args=(url, n, acknowledged, stop)) for n in range(threads)]
    for worker in workers:
        worker.start()
    return workers, acknowledged, stop


def wait_for(acknowledged: dict[bytes, str], count: int) -> None:
    """Wait until so many are acknowledged; the load's own failure ends the wait."""
    pause = threading.Event()
    for _ in range(12_000):
        if len(acknowledged) >= count:
            return
        pause.wait(0.01)
    pytest.fail(f"{len(acknowledged)} of {count} acknowledged in 120 s")


def test_every_acknowledged_record_is_there_after_kill_9_under_load_three_times_over(plane: Plane) -> None:
    plane.start()
    client = client_of(plane.url)
    client.create_stream(StreamName="s", ShardCount=3)
    client.close()
    everything: dict[str, bytes] = {}
    for _ in range(3):
        workers, acknowledged, _ = under_load(plane.url)
        wait_for(acknowledged, 3000)
        assert plane.end(signal.SIGKILL) == -signal.SIGKILL
        for worker in workers:
            worker.join(timeout=20)
        everything |= {position: data for data, position in acknowledged.items()}
        plane.start()
    client = client_of(plane.url)
    found = consume(client)
    client.close()
    stored = {position: data for position, _, data in found}
    assert everything.items() <= stored.items()
    assert len(found) == len(stored)
    assert plane.end(signal.SIGTERM) == 0


def test_split_and_merge_under_load_lose_nothing_and_keep_the_order_of_each_key(plane: Plane) -> None:
    plane.start()
    client = client_of(plane.url)
    client.create_stream(StreamName="s", ShardCount=2)
    workers, acknowledged, stop = under_load(plane.url)
    wait_for(acknowledged, 1000)
    client.split_shard(StreamName="s", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126))
    wait_for(acknowledged, len(acknowledged) + 1000)
    client.merge_shards(
        StreamName="s", ShardToMerge="shardId-000000000003", AdjacentShardToMerge="shardId-000000000001"
    )
    wait_for(acknowledged, len(acknowledged) + 1000)
    client.update_shard_count(StreamName="s", TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    wait_for(acknowledged, len(acknowledged) + 1000)
    stop.set()
    for worker in workers:
        worker.join(timeout=20)
    found = consume(client)
    client.close()
    assert {data: position for position, _, data in found} == acknowledged
    assert len(found) == len(acknowledged)
    last: dict[tuple[str, bytes], bytes] = {}
    for _, key, data in found:
        lane = (key, data[:1])  # one thread's records of one key
        assert last.get(lane, b"") < data
        last[lane] = data


def test_it_serves_plain_http_and_tls_at_once_and_ends_with_status_zero(plane: Plane, tmp_path: Path) -> None:
    plane.start("--tls-port", "0")
    plain = client_of(plane.url)
    secure = client_of(plane.tls_url, verify=str(tmp_path / "data/tls/cert.pem"))
    plain.create_stream(StreamName="s", ShardCount=1)
    assert secure.list_streams()["StreamNames"] == ["s"]
    plain.close()
    secure.close()
    assert plane.end(signal.SIGTERM) == 0


def test_a_taken_port_and_a_data_directory_in_use_are_clear_errors(plane: Plane, tmp_path: Path) -> None:
    plane.start()
    port = plane.url.rpartition(":")[2]
    assert plane.process is not None
    same_data = plane.spawn("--port", "0")
    assert f"in use by process {plane.process.pid}" in same_data.communicate(timeout=20)[1]
    assert same_data.returncode == 2
    same_port = plane.spawn("--port", port, "--data", str(tmp_path / "other"))
    assert "is another process using the port?" in same_port.communicate(timeout=20)[1]
    assert same_port.returncode == 2


def test_with_fsync_and_faults_from_the_command_line_it_still_loses_nothing(plane: Plane) -> None:
    plane.start("--fsync", "--faults", f"{os.getpid()}:throttle=0.2,error=0.1")
    client = client_of(plane.url)
    client.create_stream(StreamName="s", ShardCount=1)
    acknowledged = 0
    for _ in range(20):
        try:
            answer = client.put_records(StreamName="s", Records=[{"Data": b"x", "PartitionKey": "p"}] * 20)
        except ClientError:
            continue
        acknowledged += 20 - answer["FailedRecordCount"]
    client.close()
    assert plane.end(signal.SIGKILL) == -signal.SIGKILL
    plane.start()
    client = client_of(plane.url)
    assert len(drain(client, "shardId-000000000000")) == acknowledged
    client.close()
