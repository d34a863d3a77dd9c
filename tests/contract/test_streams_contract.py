"""A table's stream, as boto3 reads it: the same records of our engine, DynamoDB Local, MiniStack and moto."""

import uuid
from typing import Any

import pytest

from conftest import ClientFactory

pytestmark = pytest.mark.local
ENGINES = ["embedded", "dynamodb_local", "ministack", "moto"]


@pytest.fixture(params=ENGINES)
def clients(request: pytest.FixtureRequest) -> ClientFactory:
    found: ClientFactory = request.getfixturevalue(request.param)
    return found


def iterator(streams: Any, arn: str, kind: str) -> str:
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    asked = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType=kind)
    return str(asked["ShardIterator"])


def read(streams: Any, at: str, wanted: int) -> tuple[list[dict[str, Any]], str]:
    """Return *wanted* records and where to go on: an answer may be empty before them."""
    found: list[dict[str, Any]] = []
    for _ in range(100):
        answer = streams.get_records(ShardIterator=at)
        found += answer["Records"]
        at = answer["NextShardIterator"]
        if len(found) >= wanted:
            break
    return found, at


def test_what_is_written_is_told_by_its_keys_in_order(clients: ClientFactory) -> None:
    tables, streams, name = clients("dynamodb"), clients("dynamodbstreams"), f"t{uuid.uuid4().hex}"
    described = tables.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "n", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    )["TableDescription"]
    arn, label = described["LatestStreamArn"], described["LatestStreamLabel"]
    assert described["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    assert arn == f"{described['TableArn']}/stream/{label}"
    try:
        (listed,) = streams.list_streams(TableName=name)["Streams"]
        assert listed == {"StreamArn": arn, "TableName": name, "StreamLabel": label}
        keys = {"pk": {"S": "a"}, "n": {"N": "1"}}
        tables.put_item(TableName=name, Item={**keys, "x": {"S": "secret"}})
        at_start = iterator(streams, arn, "TRIM_HORIZON")
        tables.put_item(TableName=name, Item={**keys, "x": {"S": "another"}})
        tables.delete_item(TableName=name, Key=keys)
        found, after = read(streams, at_start, 3)
        assert [each["eventName"] for each in found] == ["INSERT", "MODIFY", "REMOVE"]
        assert all(each["dynamodb"]["Keys"] == keys for each in found)
        assert not any({"NewImage", "OldImage"} & each["dynamodb"].keys() for each in found)
        assert {each["eventSource"] for each in found} == {"aws:dynamodb"}
        numbers = [int(each["dynamodb"]["SequenceNumber"]) for each in found]
        assert numbers == sorted(set(numbers))
        tables.put_item(TableName=name, Item=keys)
        later, _ = read(streams, after, 1)
        assert [each["eventName"] for each in later] == ["INSERT"]
    finally:
        tables.delete_table(TableName=name)
