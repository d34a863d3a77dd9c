"""The streams of our tables: what is noted, in which transaction, how much is kept, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.dynamodb import changes
from infra.local.dynamodb.expiry import sweep
from support.local_tables import TABLE, Refused, Tables, insert, key

KEYS_ONLY = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}


@pytest.fixture
def tables() -> Iterator[Tables]:
    opened = Tables()
    opened("UpdateTable", TableName=TABLE, StreamSpecification=KEYS_ONLY)
    yield opened
    opened.close()


def iterator(tables: Tables, kind: str = "TRIM_HORIZON", **more: Any) -> str:
    arn = tables("DescribeTable", TableName=TABLE)["Table"]["LatestStreamArn"]
    (shard,) = tables.streams("DescribeStream", StreamArn=arn)["StreamDescription"]["Shards"]
    asked = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": kind, **more}
    return str(tables.streams("GetShardIterator", **asked)["ShardIterator"])


def records(tables: Tables, at: str | None = None, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tables.streams("GetRecords", ShardIterator=at or iterator(tables), **more)[
        "Records"
    ]
    return found


def named(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["eventName"], each["dynamodb"]["Keys"]["pk"]["S"]) for each in found]


def test_every_way_to_write_is_noted_with_the_keys_alone(tables: Tables) -> None:
    tables.put("a", x={"N": "1"})
    tables.put("a", x={"N": "2"})
    tables(
        "UpdateItem",
        TableName=TABLE,
        Key=key("b"),
        UpdateExpression="SET x = :x",
        ExpressionAttributeValues={":x": {"N": "1"}},
    )
    tables("DeleteItem", TableName=TABLE, Key=key("a"))
    tables("DeleteItem", TableName=TABLE, Key=key("nothing"))
    tables(
        "BatchWriteItem",
        RequestItems={TABLE: [{"PutRequest": {"Item": key("c")}}, {"DeleteRequest": {"Key": key("b")}}]},
    )
    tables.batch([insert("d", "1"), insert("c", "1")])  # the second is refused
    assert named(records(tables)) == [
        ("INSERT", "a"), ("MODIFY", "a"), ("INSERT", "b"), ("REMOVE", "a"), ("INSERT", "c"), ("REMOVE", "b"), ("INSERT", "d"),
    ]  # fmt: skip
    assert {tuple(each["dynamodb"]["Keys"]) for each in records(tables)} == {("pk", "sk")}


def test_a_write_that_changes_nothing_or_is_refused_is_not_noted(tables: Tables) -> None:
    tables.put("a", x={"N": "1"})
    tables.put("a", x={"N": "1"})
    with pytest.raises(Refused, match="conditional"):
        tables("PutItem", TableName=TABLE, Item=key("a"), ConditionExpression="attribute_not_exists(pk)")
    assert named(records(tables)) == [("INSERT", "a")]


def test_a_record_has_the_form_of_aws(tables: Tables) -> None:
    tables.put("a", x={"N": "1"})
    (found,) = records(tables)
    assert len(found.pop("eventID")) == 32
    assert found == {
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "dynamodb": {
            "ApproximateCreationDateTime": tables.now_ms // 1000,
            "Keys": key("a"),
            "SequenceNumber": "100000000000000000001",
            "SizeBytes": 6,
            "StreamViewType": "KEYS_ONLY",
        },
    }


def test_what_expires_is_removed_by_the_service(tables: Tables) -> None:
    tables(
        "UpdateTimeToLive", TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
    )
    tables.put("a", ttl={"N": str(tables.now_ms // 1000)})
    at = iterator(tables, "LATEST")
    assert sweep(tables.store, now_s=tables.now_ms // 1000 + 1) == 1
    (found,) = records(tables, at)
    assert (found["eventName"], found["userIdentity"]) == (
        "REMOVE", {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
    )  # fmt: skip


def test_iterators_go_on_where_they_were_and_begin_where_they_are_asked_to(tables: Tables) -> None:
    for each in "abc":
        tables.put(each)
    first = tables.streams("GetRecords", ShardIterator=iterator(tables), Limit=2)
    assert named(first["Records"]) == [("INSERT", "a"), ("INSERT", "b")]
    assert named(records(tables, first["NextShardIterator"])) == [("INSERT", "c")]
    second = first["Records"][1]["dynamodb"]["SequenceNumber"]
    at, after = (
        iterator(tables, f"{each}_SEQUENCE_NUMBER", SequenceNumber=second) for each in ("AT", "AFTER")
    )
    assert [named(records(tables, each))[0][1] for each in (at, after)] == ["b", "c"]
    latest = iterator(tables, "LATEST")
    assert records(tables, latest) == []
    tables.put("d")
    assert named(records(tables, latest)) == [("INSERT", "d")]


def test_a_log_is_bounded_and_who_is_too_slow_is_told(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST", 10)
    monkeypatch.setattr(changes, "_TRIMMED", 5)
    at = iterator(tables)
    for number in range(20):
        tables.put(str(number))
    assert len(records(tables)) == 10
    with pytest.raises(Refused) as refused:
        records(tables, at)
    assert refused.value.code == "TrimmedDataAccessException"


def test_an_iterator_is_good_for_a_quarter_of_an_hour(tables: Tables) -> None:
    at = iterator(tables)
    tables.now_ms += 15 * 60_000 + 1
    with pytest.raises(Refused) as refused:
        records(tables, at)
    assert refused.value.code == "ExpiredIteratorException"


def test_numbers_go_on_over_a_restart(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables("UpdateTable", TableName=TABLE, StreamSpecification=KEYS_ONLY)
    tables.put("a")
    at = iterator(tables, "LATEST")
    tables.close()
    tables = Tables(tmp_path)
    tables.put("b")
    assert named(records(tables, at)) == [("INSERT", "b")]
    tables.close()


def test_a_stream_that_is_ended_or_whose_table_is_gone_is_gone(tables: Tables) -> None:
    at = iterator(tables)
    off = {"StreamEnabled": False}
    described = tables("UpdateTable", TableName=TABLE, StreamSpecification=off)["TableDescription"]
    assert "LatestStreamArn" not in described
    with pytest.raises(Refused) as refused:
        records(tables, at)
    assert refused.value.code == "ResourceNotFoundException"
    assert tables.streams("ListStreams") == {"Streams": []}
    tables.now_ms += 1
    tables("UpdateTable", TableName=TABLE, StreamSpecification=KEYS_ONLY)
    assert records(tables) == []
    tables("DeleteTable", TableName=TABLE)
    assert tables.streams("ListStreams") == {"Streams": []}
    left = tables.store._execute("SELECT count(*) FROM sqlite_master WHERE name LIKE 'changes%'").fetchone()
    assert left == (0,)


def test_a_change_that_was_damaged_is_an_error_that_names_it(tables: Tables) -> None:
    tables.put("a")
    tables.store._execute('UPDATE changes_1 SET keys = CAST(\'{"pk":{"S":"x"}}\' AS BLOB)')
    with pytest.raises(Refused, match="change 1 of its stream"):
        records(tables)


@pytest.mark.parametrize(
    ("specification", "told"),
    [
        ({"StreamEnabled": True}, "StreamViewType"),
        ({"StreamEnabled": False, "StreamViewType": "KEYS_ONLY"}, "StreamViewType"),
        ({"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}, "not carried out by this engine"),
        ({"StreamEnabled": True, "StreamViewType": "ALL"}, "enum value set"),
        (KEYS_ONLY, "already has"),
        ([], "no stream to disable|Nothing to update|already"),
    ],
)
def test_a_stream_that_is_not_kept_is_refused(tables: Tables, specification: Any, told: str) -> None:
    if specification == []:
        tables("UpdateTable", TableName=TABLE, StreamSpecification={"StreamEnabled": False})
        specification = {"StreamEnabled": False}
    with pytest.raises(Refused, match=told):
        tables("UpdateTable", TableName=TABLE, StreamSpecification=specification)


@given(token=st.text() | st.none() | st.integers() | st.binary().map(lambda raw: raw.hex()))
def test_no_token_crashes_it(token: Any) -> None:
    tables = Tables()
    try:
        with pytest.raises(Refused) as refused:
            tables.raw(
                "GetRecords", json.dumps({"ShardIterator": token}).encode(), target="DynamoDBStreams_20120810"
            )
        assert refused.value.status == 400
    finally:
        tables.close()


def test_a_table_without_a_stream_has_no_log() -> None:
    tables = Tables()
    tables.put("a")
    assert tables.streams("ListStreams", TableName=TABLE) == {"Streams": []}
    assert tables.store._execute(
        "SELECT count(*) FROM sqlite_master WHERE name LIKE 'changes%'"
    ).fetchone() == (0,)
    tables.close()
