"""The actions of our Kinesis data plane in process: semantics on a clock that the test moves."""

from itertools import pairwise
from typing import Any

import pytest

from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.errors import ConnectionLost, KinesisError
from infra.local.kinesis.faults import FaultPlan
from infra.local.kinesis.fields import Instant
from infra.local.kinesis.limits import Throttle
from infra.local.kinesis.model import KinesisModel, Settings
from infra.local.kinesis.storage import MemoryStorage

HOUR_MS = 3_600_000
MIB = 2**20
S0 = "shardId-000000000000"
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"


class World:
    """An API with its clock; ``restart`` gives a new API over the same storage."""

    def __init__(self, *, transition_ms: int = 0, limits: bool = False, shard_limit: int = 50) -> None:
        self.now_ms = 1_790_000_000_000
        self._storage = MemoryStorage()
        self._settings = Settings(transition_ms=transition_ms, shard_limit=shard_limit)
        self._limits = limits
        self.restart()

    def restart(self) -> None:
        model = KinesisModel(clock_ms=lambda: self.now_ms, storage=self._storage, settings=self._settings)
        self.api = KinesisApi(model, throttle=Throttle() if self._limits else None)

    def call(self, action: str, /, **request: Any) -> dict[str, Any]:
        return self.api.call(action, request) or {}

    def refused(self, action: str, /, **request: Any) -> str:
        with pytest.raises(KinesisError) as raised:
            self.api.call(action, request)
        assert raised.value.message
        return raised.value.code

    def create(self, shards: int = 1) -> None:
        self.call("CreateStream", StreamName="s", ShardCount=shards)

    def put(self, *values: str) -> list[dict[str, Any]]:
        records = [{"Data": value.encode(), "PartitionKey": value} for value in values]
        answers: list[dict[str, Any]] = self.call("PutRecords", StreamName="s", Records=records)["Records"]
        return answers

    def iterator(self, shard: str = S0, kind: str = "TRIM_HORIZON", **more: Any) -> str:
        answer = self.call("GetShardIterator", StreamName="s", ShardId=shard, ShardIteratorType=kind, **more)
        return str(answer["ShardIterator"])

    def read(self, shard: str = S0, kind: str = "TRIM_HORIZON", **more: Any) -> list[str]:
        answer = self.call("GetRecords", ShardIterator=self.iterator(shard, kind, **more))
        return [record["Data"].decode() for record in answer["Records"]]

    def shards(self, kind: str | None = None, **more: Any) -> list[str]:
        chosen = {} if kind is None else {"ShardFilter": {"Type": kind, **more}}
        answer = self.call("ListShards", StreamName="s", **chosen)
        return [shard["ShardId"][-1] for shard in answer["Shards"]]


@pytest.fixture
def world() -> World:
    return World()


def test_a_record_is_read_back_with_all_that_was_put(world: World) -> None:
    world.create()
    put = world.call("PutRecord", StreamName="s", Data=b"\x00\xff", PartitionKey="ключ")
    (record,) = world.call("GetRecords", ShardIterator=world.iterator())["Records"]
    assert record == {
        "SequenceNumber": put["SequenceNumber"],
        "ApproximateArrivalTimestamp": Instant(world.now_ms),
        "Data": b"\x00\xff",
        "PartitionKey": "ключ",
    }
    assert put["ShardId"] == S0
    assert len(put["SequenceNumber"]) == 56


def test_base64_text_and_bytes_are_the_same_data(world: World) -> None:
    world.create()
    world.call("PutRecord", StreamName="s", Data="aGk=", PartitionKey="p")
    assert world.read() == ["hi"]
    assert world.refused("PutRecord", StreamName="s", Data="a?", PartitionKey="p") == "SerializationException"


def test_each_entry_is_answered_in_its_place_with_the_shard_that_its_key_hashes_to(world: World) -> None:
    world.create(4)
    answers = world.put(*(f"k{i}" for i in range(100)))
    found: dict[str, str] = {}
    for shard in ("0", "1", "2", "3"):
        found |= dict.fromkeys(world.read(f"shardId-00000000000{shard}"), shard)
    assert [answer["ShardId"][-1] for answer in answers] == [found[f"k{i}"] for i in range(100)]
    assert len(set(found.values())) == 4
    assert len({answer["SequenceNumber"] for answer in answers}) == 100


def test_the_five_kinds_of_iterator(world: World) -> None:
    world.create()
    numbers = []
    for value in "abcd":
        numbers.append(world.put(value)[0]["SequenceNumber"])
        world.now_ms += 1000
    latest = world.iterator(kind="LATEST")
    world.put("e")
    assert world.read() == list("abcde")
    assert world.read(kind="AT_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]) == list("bcde")
    assert world.read(kind="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]) == list("cde")
    assert world.read(kind="AT_TIMESTAMP", Timestamp=(world.now_ms - 3000) / 1000) == list("bcde")
    assert world.read(kind="AT_TIMESTAMP", Timestamp=Instant(world.now_ms - 2999)) == list("cde")
    assert world.read(kind="AT_TIMESTAMP", Timestamp=0) == list("abcde")
    records = world.call("GetRecords", ShardIterator=latest)["Records"]
    assert [record["Data"] for record in records] == [b"e"]


@pytest.mark.parametrize(
    "request_",
    [
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER"},
        {"ShardIteratorType": "LATEST", "StartingSequenceNumber": "1"},
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "123"},
        {"ShardIteratorType": "AT_TIMESTAMP"},
        {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1_790_000_001},
    ],
)
def test_an_iterator_that_makes_no_sense_is_an_invalid_argument(
    world: World, request_: dict[str, Any]
) -> None:
    world.create()
    code = world.refused("GetShardIterator", StreamName="s", ShardId=S0, **request_)
    assert code == "InvalidArgumentException"


def test_a_sequence_number_of_another_shard_is_refused(world: World) -> None:
    world.create(2)
    number = world.call("PutRecord", StreamName="s", Data=b"", PartitionKey="p", ExplicitHashKey="0")
    code = world.refused(
        "GetShardIterator",
        StreamName="s",
        ShardId="shardId-000000000001",
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=number["SequenceNumber"],
    )
    assert code == "InvalidArgumentException"


def test_an_iterator_lives_five_minutes(world: World) -> None:
    world.create()
    iterator = world.iterator()
    world.now_ms += 300_000
    world.call("GetRecords", ShardIterator=iterator)
    world.now_ms += 1
    assert world.refused("GetRecords", ShardIterator=iterator) == "ExpiredIteratorException"


def test_an_iterator_survives_a_restart_but_not_its_stream(world: World) -> None:
    world.create()
    world.put("a")
    iterator = world.iterator()
    world.restart()
    assert len(world.call("GetRecords", ShardIterator=iterator)["Records"]) == 1
    world.call("DeleteStream", StreamName="s")
    assert world.refused("GetRecords", ShardIterator=iterator) == "ResourceNotFoundException"
    world.create()
    assert world.refused("GetRecords", ShardIterator=iterator) == "ResourceNotFoundException"
    assert world.read() == []


@pytest.mark.parametrize("token", ["x", "AAAA", "bm90IGEgdG9rZW4=", "é"])
def test_a_token_that_was_not_ours_is_an_invalid_argument(world: World, token: str) -> None:
    world.create()
    assert world.refused("GetRecords", ShardIterator=token) == "InvalidArgumentException"
    assert world.refused("ListShards", NextToken=token) == "InvalidArgumentException"


def test_millis_behind_latest_is_the_age_of_the_last_record_returned_until_the_tip(world: World) -> None:
    world.create()
    for value in "abc":
        world.put(value)
        world.now_ms += 1000
    first = world.call("GetRecords", ShardIterator=world.iterator(), Limit=1)
    assert first["MillisBehindLatest"] == 3000
    second = world.call("GetRecords", ShardIterator=first["NextShardIterator"], Limit=1)
    assert second["MillisBehindLatest"] == 2000
    third = world.call("GetRecords", ShardIterator=second["NextShardIterator"], Limit=1)
    assert third["MillisBehindLatest"] == 0
    assert world.call("GetRecords", ShardIterator=third["NextShardIterator"])["MillisBehindLatest"] == 0


def test_behind_is_never_zero_while_there_is_more(world: World) -> None:
    world.create()
    world.put("a", "b")
    assert world.call("GetRecords", ShardIterator=world.iterator(), Limit=1)["MillisBehindLatest"] == 1


def test_a_read_stops_at_10_mib_and_goes_on_from_there(world: World) -> None:
    world.create()
    for _ in range(12):
        world.call("PutRecord", StreamName="s", Data=bytes(MIB - 1), PartitionKey="p")
    page = world.call("GetRecords", ShardIterator=world.iterator())
    assert len(page["Records"]) == 10
    assert len(world.call("GetRecords", ShardIterator=page["NextShardIterator"])["Records"]) == 2


def test_a_split_closes_the_parent_which_stays_readable_and_its_end_names_the_children(world: World) -> None:
    world.create()
    world.put("a", "b")
    world.call("SplitShard", StreamName="s", ShardToSplit=S0, NewStartingHashKey=str(2**127))
    answers = world.put("c", "d", "e", "f")
    assert {answer["ShardId"][-1] for answer in answers} == {"1", "2"}
    page = world.call("GetRecords", ShardIterator=world.iterator(), Limit=1)
    assert "NextShardIterator" in page
    assert "ChildShards" not in page
    end = world.call("GetRecords", ShardIterator=page["NextShardIterator"])
    assert [record["Data"] for record in end["Records"]] == [b"b"]
    assert "NextShardIterator" not in end
    assert end["MillisBehindLatest"] == 0
    assert [child["ShardId"][-1] for child in end["ChildShards"]] == ["1", "2"]
    assert end["ChildShards"][1]["HashKeyRange"]["StartingHashKey"] == str(2**127)
    assert end["ChildShards"][0]["ParentShards"] == [S0]
    for kind in ("LATEST", "TRIM_HORIZON"):
        assert world.iterator(kind=kind)  # a closed shard still gives iterators


def test_writes_after_a_merge_go_to_the_child_with_higher_sequence_numbers(world: World) -> None:
    world.create(2)
    before = world.put(*(f"k{i}" for i in range(20)))
    world.call("MergeShards", StreamName="s", ShardToMerge=S0, AdjacentShardToMerge="shardId-000000000001")
    after = world.put(*(f"k{i}" for i in range(20)))
    assert {answer["ShardId"][-1] for answer in after} == {"2"}
    pairs = zip(before, after, strict=True)
    assert all(int(old["SequenceNumber"]) < int(new["SequenceNumber"]) for old, new in pairs)
    shard = world.call("ListShards", StreamName="s")["Shards"][2]
    assert (shard["ParentShardId"][-1], shard["AdjacentParentShardId"][-1]) == ("0", "1")


def test_what_cannot_be_resharded_is_refused(world: World) -> None:
    world.create(3)
    one, three = "shardId-000000000000", "shardId-000000000002"
    for at in (0, 1, 2**128 // 3 - 1, 2**127):
        code = world.refused("SplitShard", StreamName="s", ShardToSplit=one, NewStartingHashKey=str(at))
        assert code == "InvalidArgumentException"
    two = "shardId-000000000001"
    for pair in ((one, three), (one, one), (two, one)):  # the last: adjacent, and the wrong way round
        code = world.refused(
            "MergeShards", StreamName="s", ShardToMerge=pair[0], AdjacentShardToMerge=pair[1]
        )
        assert code == "InvalidArgumentException"
    world.call("SplitShard", StreamName="s", ShardToSplit=one, NewStartingHashKey="99")
    code = world.refused("SplitShard", StreamName="s", ShardToSplit=one, NewStartingHashKey="50")
    assert code == "InvalidArgumentException"
    world.call("CreateStream", StreamName="auto", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    code = world.refused("SplitShard", StreamName="auto", ShardToSplit=one, NewStartingHashKey="50")
    assert code == "ValidationException"


def test_the_shard_count_may_double_or_halve_in_one_step(world: World) -> None:
    def scale(target: int) -> dict[str, Any]:
        return {"StreamName": "s", "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING"}

    world.create(3)
    assert world.refused("UpdateShardCount", **scale(7)) == "LimitExceededException"
    assert world.refused("UpdateShardCount", **scale(1)) == "LimitExceededException"
    answer = world.call("UpdateShardCount", **scale(6))
    assert (answer["CurrentShardCount"], answer["TargetShardCount"]) == (3, 6)
    assert len(world.shards("AT_LATEST")) == 6
    world.call("UpdateShardCount", **scale(5))
    assert len(world.shards("AT_LATEST")) == 5
    world.put(*(f"k{i}" for i in range(50)))


def test_the_shard_limit_counts_open_shards_of_all_streams() -> None:
    world = World(shard_limit=3)
    world.create(2)
    assert world.refused("CreateStream", StreamName="t", ShardCount=2) == "LimitExceededException"
    world.call("SplitShard", StreamName="s", ShardToSplit=S0, NewStartingHashKey="99")
    code = world.refused(
        "SplitShard", StreamName="s", ShardToSplit="shardId-000000000001", NewStartingHashKey="9"
    )
    assert code == "InvalidArgumentException"
    code = world.refused(
        "SplitShard", StreamName="s", ShardToSplit="shardId-000000000001", NewStartingHashKey=str(2**127 + 9)
    )
    assert code == "LimitExceededException"
    limits = world.call("DescribeLimits")
    assert (limits["ShardLimit"], limits["OpenShardCount"]) == (3, 3)


def test_filters_choose_among_shards_by_when_they_were_open(world: World) -> None:
    world.create()
    world.now_ms += 1000
    world.call("SplitShard", StreamName="s", ShardToSplit=S0, NewStartingHashKey=str(2**127))
    split_ms = world.now_ms
    world.now_ms += 1000
    world.call(
        "MergeShards",
        StreamName="s",
        ShardToMerge="shardId-000000000001",
        AdjacentShardToMerge="shardId-000000000002",
    )
    assert world.shards() == ["0", "1", "2", "3"]
    assert world.shards("FROM_TRIM_HORIZON") == ["0", "1", "2", "3"]
    assert world.shards("AT_TRIM_HORIZON") == ["0"]
    assert world.shards("AT_LATEST") == ["3"]
    assert world.shards("AFTER_SHARD_ID", ShardId="shardId-000000000001") == ["2", "3"]
    assert world.shards("AT_TIMESTAMP", Timestamp=Instant(split_ms + 500)) == ["1", "2"]
    assert world.shards("FROM_TIMESTAMP", Timestamp=(split_ms + 500) / 1000) == ["1", "2", "3"]
    world.now_ms = split_ms + 24 * HOUR_MS
    assert world.shards("AT_TRIM_HORIZON") == [
        "1",
        "2",
    ]  # each hash key once, at the very instant of the split
    world.now_ms += 500
    assert world.shards("AT_TRIM_HORIZON") == ["1", "2"]
    assert world.shards("FROM_TRIM_HORIZON") == ["1", "2", "3"]
    for kind in ("AFTER_SHARD_ID", "AT_TIMESTAMP", "FROM_TIMESTAMP"):
        code = world.refused("ListShards", StreamName="s", ShardFilter={"Type": kind})
        assert code == "InvalidArgumentException"


def test_shards_are_listed_in_pages_whose_token_keeps_the_filter_and_expires(world: World) -> None:
    world.create(5)
    first = world.call("ListShards", StreamName="s", MaxResults=2, ShardFilter={"Type": "AT_LATEST"})
    world.call(
        "SplitShard",
        StreamName="s",
        ShardToSplit="shardId-000000000003",
        NewStartingHashKey=str(2**127 + 2**126),
    )
    code = world.refused("ListShards", StreamName="s", NextToken=first["NextToken"])
    assert code == "InvalidArgumentException"
    for beside in (
        {
            "StreamARN": world.call("DescribeStreamSummary", StreamName="s")["StreamDescriptionSummary"][
                "StreamARN"
            ]
        },
        {"ShardFilter": {"Type": "AT_LATEST"}},
    ):
        code = world.refused("ListShards", NextToken=first["NextToken"], **beside)
        assert code == "InvalidArgumentException"
    second = world.call("ListShards", NextToken=first["NextToken"])
    assert [shard["ShardId"][-1] for shard in second["Shards"]] == ["2", "4", "5", "6"]
    assert "NextToken" not in second
    world.now_ms += 300_001
    assert world.refused("ListShards", NextToken=first["NextToken"]) == "ExpiredNextTokenException"


def test_records_and_closed_shards_expire_with_the_retention_period(world: World) -> None:
    world.create()
    world.put("old")
    world.call("SplitShard", StreamName="s", ShardToSplit=S0, NewStartingHashKey=str(2**127))
    world.now_ms += 12 * HOUR_MS
    world.put("young")
    world.now_ms += 12 * HOUR_MS - 1
    assert world.read() == ["old"]
    world.now_ms += 3
    assert world.refused("GetShardIterator", StreamName="s", ShardId=S0, ShardIteratorType="LATEST") == (
        "ResourceNotFoundException"
    )
    world.api.model.sweep()
    assert world.shards() == ["1", "2"]
    assert sorted(world.read("1") + world.read("2")) == ["young"]
    world.restart()
    assert world.shards() == ["1", "2"]
    world.now_ms += 12 * HOUR_MS
    assert world.read("1") + world.read("2") == []


def test_longer_retention_does_not_bring_back_what_has_expired(world: World) -> None:
    world.create()
    world.put("old")
    world.now_ms += 25 * HOUR_MS
    world.put("new")
    world.call("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=48)
    assert world.read() == ["new"]
    world.now_ms += 25 * HOUR_MS
    assert world.read() == ["new"]
    assert world.refused("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=47) == (
        "InvalidArgumentException"
    )
    world.call("DecreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=24)
    assert world.read() == []
    for hours in (0, 23, 8761):
        code = world.refused("DecreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=hours)
        assert code == "InvalidArgumentException"


def test_transitions_last_as_long_as_configured(world: World) -> None:
    world = World(transition_ms=500)
    world.create()
    assert (
        world.refused("PutRecord", StreamName="s", Data=b"", PartitionKey="p") == "ResourceNotFoundException"
    )
    description = world.call("DescribeStream", StreamName="s")["StreamDescription"]
    assert (description["StreamStatus"], description["Shards"]) == ("CREATING", [])
    refused = world.refused(
        "GetShardIterator", StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="LATEST"
    )
    assert refused == "ResourceNotFoundException"
    world.now_ms += 500
    world.call("SplitShard", StreamName="s", ShardToSplit=S0, NewStartingHashKey="99")
    summary = world.call("DescribeStreamSummary", StreamName="s")["StreamDescriptionSummary"]
    assert (summary["StreamStatus"], summary["OpenShardCount"]) == ("UPDATING", 2)
    assert world.refused("SplitShard", StreamName="s", ShardToSplit=S0, NewStartingHashKey="99") == (
        "ResourceInUseException"
    )
    world.put("readable and writable while UPDATING")
    world.now_ms += 500
    world.call("DeleteStream", StreamName="s")
    assert world.refused("CreateStream", StreamName="s", ShardCount=1) == "ResourceInUseException"
    world.now_ms += 500
    assert world.call("ListStreams")["StreamNames"] == []
    world.create()


def test_a_stream_is_named_by_name_or_arn_and_both_must_agree(world: World) -> None:
    world.create()
    assert world.call("DescribeStreamSummary", StreamARN=ARN)["StreamDescriptionSummary"]["StreamARN"] == ARN
    world.call("PutRecord", StreamARN=ARN, StreamName="s", Data=b"", PartitionKey="p")
    assert world.refused("DescribeStream", StreamName="t", StreamARN=ARN) == "InvalidArgumentException"
    assert world.refused("DescribeStream") == "InvalidArgumentException"
    assert world.refused("DescribeStream", StreamARN="arn:nonsense") == "ValidationException"
    assert world.refused("DescribeStream", StreamARN=ARN.replace("us-east-1", "eu-west-1")) == (
        "ResourceNotFoundException"
    )


def test_streams_are_listed_in_pages(world: World) -> None:
    for i in range(5):
        world.call("CreateStream", StreamName=f"s{i}", ShardCount=1)
    first = world.call("ListStreams", Limit=2)
    assert (first["StreamNames"], first["HasMoreStreams"]) == (["s0", "s1"], True)
    second = world.call("ListStreams", NextToken=first["NextToken"])
    assert (second["StreamNames"], second["HasMoreStreams"]) == (["s2", "s3", "s4"], False)
    assert second["StreamSummaries"][0]["StreamStatus"] == "ACTIVE"


def test_describe_stream_pages_its_shards(world: World) -> None:
    world = World(shard_limit=200)
    world.create(150)
    first = world.call("DescribeStream", StreamName="s")["StreamDescription"]
    assert (len(first["Shards"]), first["HasMoreShards"]) == (100, True)
    last = first["Shards"][-1]["ShardId"]
    rest = world.call("DescribeStream", StreamName="s", ExclusiveStartShardId=last)["StreamDescription"]
    assert (len(rest["Shards"]), rest["HasMoreShards"]) == (50, False)


def test_tags_are_added_listed_and_removed_by_name_and_by_arn(world: World) -> None:
    world.call("CreateStream", StreamName="s", ShardCount=1, Tags={"b": "2"})
    world.call("AddTagsToStream", StreamName="s", Tags={"a": "1"})
    page = world.call("ListTagsForStream", StreamName="s", Limit=1)
    assert page == {"Tags": [{"Key": "a", "Value": "1"}], "HasMoreTags": True}
    world.call("TagResource", ResourceARN=ARN, Tags={"c": "3"})
    world.call("UntagResource", ResourceARN=ARN, TagKeys=["a", "zzz"])
    world.restart()
    tags = world.call("ListTagsForResource", ResourceARN=ARN)["Tags"]
    assert [tag["Key"] for tag in tags] == ["b", "c"]
    assert world.refused("AddTagsToStream", StreamName="s", Tags={f"k{i}": "" for i in range(50)}) == (
        "InvalidArgumentException"
    )


def test_puts_beyond_the_limits_are_refused_as_a_whole(world: World) -> None:
    world.create()

    def refused(*records: dict[str, Any]) -> str:
        return world.refused("PutRecords", StreamName="s", Records=list(records))

    one = {"Data": b"", "PartitionKey": "p"}
    assert refused() == "ValidationException"
    assert refused(*[one] * 501) == "ValidationException"
    assert refused({**one, "Data": bytes(MIB + 1)}) == "ValidationException"
    assert refused({**one, "Data": bytes(MIB)}) == "InvalidArgumentException"  # with its key it is one over
    assert refused(*[{**one, "Data": bytes(MIB - 1)}] * 10, one) == "InvalidArgumentException"
    assert refused(one, {"Data": b""}) == "ValidationException"
    assert refused({**one, "PartitionKey": ""}) == "ValidationException"
    assert refused({**one, "PartitionKey": "p" * 257}) == "ValidationException"
    assert refused({**one, "PartitionKey": "\ud800"}) == "SerializationException"
    assert refused({**one, "ExplicitHashKey": str(2**128)}) == "InvalidArgumentException"
    assert refused({**one, "ExplicitHashKey": "01"}) == "ValidationException"
    assert refused({"PartitionKey": "p"}) == "ValidationException"
    assert world.read() == []
    world.call("PutRecords", StreamName="s", Records=[one] * 500)
    world.call("PutRecords", StreamName="s", Records=[{**one, "Data": bytes(MIB - 1)}] * 10)


def test_malformed_requests_are_refused_by_what_is_wrong_with_them(world: World) -> None:
    world.create()
    assert world.refused("MakeCoffee") == "UnknownOperationException"
    for request in (None, ["x"], "x", 3):
        with pytest.raises(KinesisError, match="SerializationException"):
            world.api.call("PutRecord", request)
    assert world.refused("CreateStream", StreamName="bad name", ShardCount=1) == "ValidationException"
    provisioned = {"StreamMode": "PROVISIONED"}
    assert (
        world.refused("CreateStream", StreamName="t", StreamModeDetails=provisioned) == "ValidationException"
    )
    assert world.refused("CreateStream", StreamName="t", ShardCount=0) == "ValidationException"
    assert world.refused("CreateStream", StreamName="t", ShardCount="1") == "SerializationException"
    assert world.refused("CreateStream", StreamName="s", ShardCount=1) == "ResourceInUseException"
    assert world.refused("CreateStream", StreamName=7, ShardCount=1) == "SerializationException"
    assert world.refused("DeleteStream", StreamName="t") == "ResourceNotFoundException"
    assert world.refused("GetRecords", ShardIterator=world.iterator(), Limit=10_001) == "ValidationException"
    assert world.refused("GetShardIterator", StreamName="s", ShardId=S0, ShardIteratorType="X") == (
        "ValidationException"
    )
    code = world.refused(
        "PutRecord", StreamName="s", Data=b"", PartitionKey="p", SequenceNumberForOrdering="123"
    )
    assert code == "InvalidArgumentException"


def test_sequence_numbers_grow_though_the_clock_steps_back_or_the_process_restarts(world: World) -> None:
    world.create()
    numbers = []
    for step_ms in (0, -5000, 10, -1, 0):
        world.now_ms += step_ms
        numbers += [int(answer["SequenceNumber"]) for answer in world.put("a", "b")]
        world.restart()
    assert all(low < high for low, high in pairwise(numbers))
    assert len(world.read()) == 10


def test_on_demand_streams_have_four_shards(world: World) -> None:
    world.call("CreateStream", StreamName="s", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    assert len(world.shards()) == 4
    summary = world.call("DescribeStreamSummary", StreamName="s")["StreamDescriptionSummary"]
    assert summary["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert world.call("DescribeLimits")["OnDemandStreamCount"] == 1


def test_a_shard_takes_a_thousand_records_or_one_mib_a_second_and_answers_for_the_rest() -> None:
    world = World(limits=True)
    world.create(2)
    half = [{"Data": b"", "PartitionKey": "p", "ExplicitHashKey": "0"}] * 500
    for failed in (0, 0, 500):
        answer = world.call("PutRecords", StreamName="s", Records=half)
        assert answer["FailedRecordCount"] == failed
    assert answer["Records"][0]["ErrorCode"] == "ProvisionedThroughputExceededException"
    assert answer["Records"][0]["ErrorMessage"] == (
        "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000."
    )
    world.call("PutRecord", StreamName="s", Data=b"", PartitionKey="p", ExplicitHashKey=str(2**128 - 1))
    world.now_ms += 500
    assert world.call("PutRecords", StreamName="s", Records=half)["FailedRecordCount"] == 0
    world.now_ms += 1000
    big = {"StreamName": "s", "Data": bytes(MIB - 1), "PartitionKey": "p", "ExplicitHashKey": "0"}
    world.call("PutRecord", **big)
    assert world.refused("PutRecord", **big) == "ProvisionedThroughputExceededException"
    world.now_ms += 1000
    world.call("PutRecord", **big)


def test_a_shard_gives_five_reads_a_second_and_pays_off_large_ones_at_two_mib_a_second() -> None:
    world = World(limits=True)
    world.create()
    iterator = world.iterator()
    for _ in range(5):
        world.call("GetRecords", ShardIterator=iterator)
    assert world.refused("GetRecords", ShardIterator=iterator) == "ProvisionedThroughputExceededException"
    for _ in range(10):
        world.now_ms += 1100
        world.call("PutRecord", StreamName="s", Data=bytes(MIB - 1), PartitionKey="p")
    world.now_ms += 1000
    assert len(world.call("GetRecords", ShardIterator=world.iterator())["Records"]) == 10
    world.now_ms += 3900
    assert (
        world.refused("GetRecords", ShardIterator=world.iterator())
        == "ProvisionedThroughputExceededException"
    )
    world.now_ms += 200
    world.call("GetRecords", ShardIterator=world.iterator())


def test_an_injected_fault_of_an_entry_leaves_the_others_stored_in_their_places(world: World) -> None:
    world.create()
    records = [{"Data": value.encode(), "PartitionKey": "p"} for value in "abcd"]
    plan = FaultPlan(entries={1: "ProvisionedThroughputExceededException", 3: "InternalFailure"})
    answer = world.api.call("PutRecords", {"StreamName": "s", "Records": records}, plan=plan) or {}
    assert answer["FailedRecordCount"] == 2
    assert [record.get("ErrorCode", "stored") for record in answer["Records"]] == [
        "stored",
        "ProvisionedThroughputExceededException",
        "stored",
        "InternalFailure",
    ]
    assert world.read() == ["a", "c"]


def test_an_injected_error_comes_before_the_write_and_a_lost_answer_after_it(world: World) -> None:
    world.create()
    request = {"StreamName": "s", "Data": b"x", "PartitionKey": "p"}
    with pytest.raises(KinesisError, match="InternalFailure"):
        world.api.call("PutRecord", request, plan=FaultPlan(error=True))
    assert world.read() == []
    with pytest.raises(ConnectionLost):
        world.api.call("PutRecord", request, plan=FaultPlan(lost=True))
    assert world.read() == ["x"]
    for action in ("PutRecord", "GetRecords", "GetShardIterator"):
        plan = FaultPlan(entries={0: "ProvisionedThroughputExceededException"})
        with pytest.raises(KinesisError, match="ProvisionedThroughput"):
            world.api.call(action, request, plan=plan)
    assert world.read() == ["x"]


def test_a_stream_of_which_nothing_is_said_has_four_shards(world: World) -> None:
    world.call("CreateStream", StreamName="plain")
    summary = world.call("DescribeStreamSummary", StreamName="plain")["StreamDescriptionSummary"]
    assert (summary["OpenShardCount"], summary["StreamModeDetails"]) == (4, {"StreamMode": "PROVISIONED"})
    code = world.refused("CreateStream", StreamName="said", StreamModeDetails={"StreamMode": "PROVISIONED"})
    assert code == "ValidationException"


def message(world: World, action: str, /, **request: Any) -> str:
    with pytest.raises(KinesisError) as raised:
        world.api.call(action, request)
    return str(raised.value)


def test_all_types_are_checked_then_all_constraints_then_the_stream_is_looked_up(world: World) -> None:
    absent = {"StreamName": "absent"}
    wrong = message(world, "GetShardIterator", **absent, ShardIteratorType="X", StartingSequenceNumber=7)
    assert wrong == "SerializationException: startingSequenceNumber can not be converted to a String"
    assert message(world, "GetShardIterator", **absent, ShardIteratorType="X", Timestamp=0.5) == (
        "ValidationException: 2 validation errors detected: "
        "Value null at 'shardId' failed to satisfy constraint: Member must not be null; "
        "Value 'X' at 'shardIteratorType' failed to satisfy constraint: Member must satisfy enum value set: "
        "[AT_SEQUENCE_NUMBER, AFTER_SEQUENCE_NUMBER, TRIM_HORIZON, LATEST, AT_TIMESTAMP]"
    )
    valid = {"ShardId": "shardId-0", "ShardIteratorType": "LATEST"}
    assert message(world, "GetShardIterator", **absent, **valid).startswith("ResourceNotFoundException")


def test_the_records_of_a_put_are_checked_together(world: World) -> None:
    world.create()
    records: list[dict[str, Any]] = [{"Data": b"x", "PartitionKey": ""}, {"Data": b"x"}]
    assert message(world, "PutRecords", StreamName="absent", Records=records) == (
        "ValidationException: 2 validation errors detected: "
        "Value '' at 'records.1.member.partitionKey' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1; "
        "Value null at 'records.2.member.partitionKey' failed to satisfy constraint: Member must not be null"
    )
    records[1]["PartitionKey"] = 5
    assert message(world, "PutRecords", StreamName="absent", Records=records).startswith(
        "SerializationException: records.2.member.partitionKey"
    )


def test_no_more_than_ten_broken_constraints_are_told(world: World) -> None:
    told = message(world, "PutRecords", StreamName="s", Records=[{}] * 20)
    assert told.startswith("ValidationException: 10 validation errors detected: Value null")


def test_a_stream_needs_a_name_as_recorded(world: World) -> None:
    """LocalStack's test_create_stream_without_stream_name_raises, validated on AWS."""
    assert "Value null at 'streamName'" in message(world, "CreateStream", ShardCount=1)


def test_an_iterator_in_quotes_is_taken_as_recorded(world: World) -> None:
    """LocalStack's test_get_records_shard_iterator_with_surrounding_quotes, validated on AWS."""
    world.create()
    world.put("a")
    quoted = f'"{world.iterator()}"'
    assert len(world.call("GetRecords", ShardIterator=quoted)["Records"]) == 1
    assert world.refused("GetRecords", ShardIterator='"') == "InvalidArgumentException"


@pytest.mark.parametrize(
    ("before", "after", "in_all"),
    [(2, 4, 6), (4, 5, 15), (10, 13, 37), (4, 2, 6), (5, 3, 7), (3, 3, 3)],
)
def test_scaling_makes_as_many_shards_in_all_as_recorded(
    world: World, before: int, after: int, in_all: int
) -> None:
    world.create(before)
    world.call("UpdateShardCount", StreamName="s", TargetShardCount=after, ScalingType="UNIFORM_SCALING")
    assert len(world.shards("AT_LATEST")) == after
    assert len(world.shards("FROM_TRIM_HORIZON")) == in_all


def test_large_records_are_taken_where_the_stream_opted_into_them(world: World) -> None:
    world.call("CreateStream", StreamName="s", ShardCount=1, MaxRecordSizeInKiB=2048)
    summary = world.call("DescribeStreamSummary", StreamName="s")["StreamDescriptionSummary"]
    assert summary["MaxRecordSizeInKiB"] == 2048
    two, ten = bytes(2 * MIB - 1), bytes(10 * MIB - 1)
    world.call("PutRecord", StreamName="s", Data=two, PartitionKey="p")
    assert world.refused("PutRecord", StreamName="s", Data=ten, PartitionKey="p") == "ValidationException"
    assert "at 'data'" in message(world, "PutRecord", StreamName="s", Data=ten, PartitionKey="p")
    records = [{"Data": b"", "PartitionKey": "p"}, {"Data": ten, "PartitionKey": "p"}]
    assert "at 'records.2.member.data'" in message(world, "PutRecords", StreamName="s", Records=records)
    world.call("UpdateMaxRecordSize", StreamARN=summary["StreamARN"], MaxRecordSizeInKiB=10_240)
    world.call("PutRecords", StreamName="s", Records=[{"Data": ten, "PartitionKey": "p"}])
    over = {"Data": ten, "PartitionKey": "pp"}
    assert world.refused("PutRecords", StreamName="s", Records=[over]) == "InvalidArgumentException"
    world.restart()
    page = world.call("GetRecords", ShardIterator=world.iterator())
    assert [len(record["Data"]) for record in page["Records"]] == [len(two)]  # 10 MiB a page
    page = world.call("GetRecords", ShardIterator=page["NextShardIterator"])
    assert [len(record["Data"]) for record in page["Records"]] == [len(ten)]
    world.call("UpdateMaxRecordSize", StreamARN=summary["StreamARN"], MaxRecordSizeInKiB=1024)
    assert world.refused("PutRecord", StreamName="s", Data=two, PartitionKey="p") == "ValidationException"


@pytest.mark.parametrize("size_kib", [1023, 10_241])
def test_a_record_size_has_its_range(world: World, size_kib: int) -> None:
    request = {"StreamName": "t", "ShardCount": 1, "MaxRecordSizeInKiB": size_kib}
    assert world.refused("CreateStream", **request) == "ValidationException"


def test_a_large_record_goes_into_a_full_shard_and_leaves_a_debt() -> None:
    world = World(limits=True)
    world.call("CreateStream", StreamName="s", ShardCount=1, MaxRecordSizeInKiB=10_240)
    put = {"StreamName": "s", "Data": bytes(3 * MIB), "PartitionKey": "p"}
    world.call("PutRecord", **put)
    small = {**put, "Data": b"x"}
    for _ in range(2):
        assert world.refused("PutRecord", **small) == "ProvisionedThroughputExceededException"
        world.now_ms += 1000
    world.now_ms += 1000
    world.call("PutRecord", **small)


def test_tags_have_aws_s_characters_lengths_and_number(world: World) -> None:
    world.create()

    def refused(tags: dict[str, str]) -> str:
        return message(world, "AddTagsToStream", StreamName="s", Tags=tags).partition(":")[0]

    world.call("AddTagsToStream", StreamName="s", Tags={"Käse _.:/=+-@9": "日本 語", "empty": ""})
    for bad in ("a%b", "a,b", "a*b", "a\nb;"):
        assert refused({bad: "v"}) == "InvalidArgumentException"
        assert refused({"k": bad}) == "InvalidArgumentException"
    assert refused({"aws:mine": "v"}) == "InvalidArgumentException"
    assert refused({"": "v"}) == "ValidationException"
    assert refused({"k" * 129: "v"}) == "ValidationException"
    assert refused({"k": "v" * 257}) == "ValidationException"
    assert refused({f"k{n}": "v" for n in range(49)}) == "InvalidArgumentException"  # with those there, 51
    assert (
        world.refused("CreateStream", StreamName="t", ShardCount=1, Tags={"a%": ""})
        == "InvalidArgumentException"
    )
    assert len(world.call("ListTagsForStream", StreamName="s")["Tags"]) == 2
