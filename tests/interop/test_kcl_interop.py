"""The whole Kinesis Client Library, polling: leases in an emulator's DynamoDB, the stream and a reshard in our Kinesis."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.stack.ports import any_port
from interop.java_clients import build_kcl
from interop.served import served

_START_S = 60


@pytest.fixture
def dynamodb(tmp_path: Path) -> Iterator[str]:
    """The endpoint of a MiniStack of its own."""
    port = any_port()
    env = {**os.environ, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "TMPDIR": str(tmp_path)}
    with (tmp_path / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ministack"], env=env, stdout=log, stderr=log, cwd=tmp_path
        )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _wait_for(_client("dynamodb", endpoint))
        yield endpoint
    finally:
        process.kill()
        process.wait()


def _client(service: str, endpoint: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - no one checks it
        config=Config(retries={"total_max_attempts": 1}),
    )


def _wait_for(client: Any) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(ClientError, BotoCoreError):
            client.list_tables()
            return
        assert time.monotonic() < deadline, "MiniStack does not answer"
        time.sleep(0.1)


@pytest.mark.slow
def test_the_kcl_reads_each_record_once_through_a_merge_of_shards(tmp_path: Path, dynamodb: str) -> None:
    java = build_kcl()
    with served(tmp_path) as plane:
        plane.client.create_stream(StreamName="s", ShardCount=2)
        for part in range(5):
            if part == 4:  # the rest goes to the shard that the two are merged into
                plane.client.update_shard_count(
                    StreamName="s", TargetShardCount=1, ScalingType="UNIFORM_SCALING"
                )
            plane.client.put_records(
                StreamName="s",
                Records=[{"Data": f"{part}-{n}".encode(), "PartitionKey": str(n)} for n in range(100)],
            )
        lines = java.kcl_run("s", kinesis=plane.plain.url, aws=dynamodb, records=500, ended=2)
    records = [line.split(" ") for line in lines if line.startswith("record ")]
    assert sorted(data for _, _, data in records) == sorted(
        f"{part}-{n}" for part in range(5) for n in range(100)
    )
    assert {data.partition("-")[0] for _, shard, data in records if shard.endswith("2")} == {"4"}
    assert {line for line in lines if line.startswith("ended ")} == {
        "ended shardId-000000000000",
        "ended shardId-000000000001",
    }
    asked = {action for action, _ in plane.plain.heard}
    assert "GetRecords" in asked
    assert "SubscribeToShard" not in asked
