from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from producers.client.core import CoreConfig, ProducerCore
from producers.client.kinesis import connect
from streamgage.errors import ConfigError
from streamgage.formats.kpl import decode_aggregate, is_aggregated
from streamgage.records import UserRecord

STREAM = "telemetry"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("kinesis", region_name="eu-west-1")
        client.create_stream(StreamName=STREAM, ShardCount=3)
        yield client


def open_producer() -> ProducerCore:
    return connect(STREAM, region="eu-west-1", config=CoreConfig(concurrency=1))


def read_all(client: Any) -> list[UserRecord]:
    found: list[UserRecord] = []
    for shard in client.list_shards(StreamName=STREAM)["Shards"]:
        iterator = client.get_shard_iterator(
            StreamName=STREAM, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        for item in client.get_records(ShardIterator=iterator)["Records"]:
            assert is_aggregated(item["Data"])
            found += decode_aggregate(item["Data"]).user_records()
    return found


def test_what_is_put_is_in_the_stream_on_the_shards_predicted(client: Any) -> None:
    records = [UserRecord(f"device-{n % 50}", b"%05d" % n) for n in range(3000)]
    with open_producer() as producer:
        for record in records:
            producer.put(record)
    assert sorted(read_all(client), key=lambda record: record.data) == records
    assert producer.stats.entries_misrouted == 0
    assert producer.stats.events_stored == 3000


@pytest.mark.usefixtures("client")
def test_a_stream_that_is_not_there_is_a_persons_business() -> None:
    with pytest.raises(ConfigError, match="list_shards on stream nowhere"):
        connect("nowhere", region="eu-west-1")
