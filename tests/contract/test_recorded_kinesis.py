"""What AWS was recorded to answer of Kinesis itself, in JSON and in CBOR: ours answers the same.

The facts are from LocalStack's AWS-validated tests/aws/services/kinesis/test_kinesis at commit 8b9a79f0 (March 2026), told
in our words; each test names its scenario there. Consumers with enhanced fan-out and resource policies are recorded there
too: ours has no such actions, and says so. The counts of shards after UpdateShardCount are in test_kinesis_plane_api.
"""

import base64
import itertools
import json
from typing import Any

import pytest

from infra.local.http.message import Request
from infra.local.kinesis import cbor, wire
from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.fields import Instant
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.server import KinesisServer
from infra.local.kinesis.storage import MemoryStorage

NOW_MS = 1_790_000_000_123
ACCOUNT = "000000000000"


class Asked:
    """A Kinesis with one stream of one shard, asked in JSON or CBOR as over HTTP, without a socket's cost."""

    def __init__(self) -> None:
        model = KinesisModel(clock_ms=lambda: NOW_MS, storage=MemoryStorage())
        self.server = KinesisServer(KinesisApi(model))
        self.ask("CreateStream", StreamName="s", ShardCount=1)

    def ask(self, action: str, kind: str = wire.JSON, /, **request: Any) -> tuple[int, Any]:
        """Return the status and the answer."""
        body = cbor.dumps(request) if kind == wire.CBOR else json.dumps(request).encode()
        headers = {"content-type": kind, "x-amz-target": f"Kinesis_20131202.{action}"}
        response = self.server.respond(Request("POST", "/", headers, body))
        if not response.body:
            return response.status, None
        loads = cbor.loads if kind == wire.CBOR else json.loads
        return response.status, loads(response.body)

    def iterator(self, kind: str = "TRIM_HORIZON") -> str:
        _, answer = self.ask(
            "GetShardIterator", StreamName="s", ShardId="shardId-000000000000", ShardIteratorType=kind
        )
        return str(answer["ShardIterator"])

    def records(self, kind: str = wire.JSON) -> list[dict[str, Any]]:
        _, answer = self.ask("GetRecords", kind, ShardIterator=self.iterator())
        return list(answer["Records"])


@pytest.fixture
def asked() -> Any:
    running = Asked()
    yield running
    running.server.stop()


def test_a_stream_without_a_name_is_a_bad_request(asked: Asked) -> None:
    """test_create_stream_without_stream_name_raises."""
    assert asked.ask("CreateStream")[0] == 400


def test_a_stream_without_a_shard_count_has_four_shards(asked: Asked) -> None:
    """test_create_stream_without_shard_count."""
    asked.ask("CreateStream", StreamName="four")
    _, answer = asked.ask("DescribeStream", StreamName="four")
    shards = answer["StreamDescription"]["Shards"]
    assert [shard["ShardId"] for shard in shards] == [f"shardId-{n:012d}" for n in range(4)]
    assert all(set(shard["SequenceNumberRange"]) == {"StartingSequenceNumber"} for shard in shards)


def test_a_record_is_the_same_in_json_and_cbor_its_arrival_too(asked: Asked) -> None:
    """test_get_records."""
    asked.ask("PutRecords", StreamName="s", Records=[{"Data": "SGVsbG8gd29ybGQ=", "PartitionKey": "1"}])
    [in_json], [in_cbor] = asked.records(), asked.records(wire.CBOR)
    assert in_cbor.pop("Data") == base64.b64decode(in_json.pop("Data")) == b"Hello world"
    assert in_json.pop("ApproximateArrivalTimestamp") == NOW_MS / 1000
    assert in_cbor.pop("ApproximateArrivalTimestamp") == Instant(NOW_MS)
    assert in_json == in_cbor


@pytest.mark.parametrize("kind", [wire.JSON, wire.CBOR])
def test_an_empty_stream_answers_with_no_records(asked: Asked, kind: str) -> None:
    """test_get_records_empty_stream."""
    assert asked.records(kind) == []


def test_data_comes_as_it_went_an_empty_one_too(asked: Asked) -> None:
    """test_record_lifecycle_data_integrity."""
    sent = ["test", "ünicödé 统一码 💣💻🔥", "a" * 1000, ""]
    for text in sent:
        data = base64.b64encode(text.encode()).decode()
        asked.ask("PutRecord", StreamName="s", Data=data, PartitionKey="1")
    assert [base64.b64decode(record["Data"]).decode() for record in asked.records()] == sent


def test_a_blob_in_cbor_is_raw_bytes_both_ways(asked: Asked) -> None:
    """test_cbor_blob_handling."""
    asked.ask("PutRecord", wire.CBOR, StreamName="s", Data=b"hello world", PartitionKey="key")
    assert [record["Data"] for record in asked.records(wire.CBOR)] == [b"hello world"]


def test_tags_are_listed_as_they_were_added(asked: Asked) -> None:
    """test_add_tags_to_stream."""
    asked.ask("AddTagsToStream", StreamName="s", Tags={"foo": "bar"})
    _, answer = asked.ask("ListTagsForStream", StreamName="s")
    assert answer == {"Tags": [{"Key": "foo", "Value": "bar"}], "HasMoreTags": False}


def test_no_two_iterators_are_alike_though_nothing_is_read_between_them(asked: Asked) -> None:
    """test_get_records_next_shard_iterator."""
    iterators = [asked.iterator("LATEST")]
    for _ in range(3):
        iterators.append(asked.ask("GetRecords", ShardIterator=iterators[-1])[1]["NextShardIterator"])
    assert all(a != b for a, b in itertools.combinations(iterators, 2))


def test_an_iterator_may_stand_in_quotes(asked: Asked) -> None:
    """test_get_records_shard_iterator_with_surrounding_quotes."""
    asked.ask("PutRecord", StreamName="s", Data="SGVsbG8=", PartitionKey="1")
    _, answer = asked.ask("GetRecords", ShardIterator=f'"{asked.iterator()}"')
    assert len(answer["Records"]) == 1


def test_an_error_in_cbor_has_its_type_and_names_stream_and_account(asked: Asked) -> None:
    """test_cbor_exceptions."""
    arn = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/wrong-stream-name"
    assert asked.ask("DescribeStream", wire.CBOR, StreamARN=arn) == (
        400,
        {
            "__type": "ResourceNotFoundException",
            "message": f"Stream wrong-stream-name under account {ACCOUNT} not found.",
        },
    )


@pytest.mark.parametrize("action", ["SubscribeToShard", "RegisterStreamConsumer", "PutResourcePolicy"])
def test_an_action_that_ours_does_not_have_is_named(asked: Asked, action: str) -> None:
    status, answer = asked.ask(action, StreamName="s")
    assert (status, answer["__type"]) == (400, "UnknownOperationException")
