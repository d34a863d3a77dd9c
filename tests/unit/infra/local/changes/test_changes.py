"""News of a table: batches, retries, what is too old; a stream that cannot be read; what is not carried out."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from infra.local.changes import poller as poller_module
from infra.local.changes.event import Record, encode_event
from infra.local.changes.mapping import ChangesMapping, mapping_of
from infra.local.changes.poller import Poller
from infra.local.changes.reader import StreamReader
from infra.local.function.outcome import Answered, Failed, NotInvoked, Outcome
from infra.local.function.pool import Invoked
from streamgage.errors import ConfigError

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026"
NOW_MS = 1_700_000_000_000
LATEST = {"StartingPosition": "LATEST"}


def record(number: int, *, age_s: int = 0, key: Any = None) -> Record:
    at = datetime.fromtimestamp(NOW_MS / 1000 - age_s, UTC)
    return {
        "eventID": f"{number:032x}", "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": at, "Keys": {"pk": key or {"S": str(number)}},
            "SequenceNumber": str(10**20 + number), "SizeBytes": 3, "StreamViewType": "KEYS_ONLY",
        },
    }  # fmt: skip


@dataclass
class World:
    """A stream that gives what a test puts into it, a function, and clocks that a test moves."""

    outcome: Callable[[int], Outcome] = lambda _: Answered(b"null")
    mapping: ChangesMapping = field(
        default_factory=lambda: ChangesMapping(
            batch_size=10, window_ms=1_000, max_retry_attempts=2, max_record_age_ms=60_000
        )
    )
    now_ms: int = NOW_MS
    steady_s: float = 0.0
    waiting: list[Record] = field(default_factory=list)
    events: list[list[dict[str, Any]]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    stream_arn: str = ARN

    def __post_init__(self) -> None:
        self.stopping = Pauses()
        self.poller = Poller(
            self, self, self.mapping, stopping=self.stopping, new_id=lambda: "id", now_ms=lambda: self.now_ms,
            steady_s=lambda: self.steady_s, say=self.said.append,
        )  # fmt: skip

    def read(self) -> Sequence[Record]:
        found, self.waiting = self.waiting, []
        return found

    def invoke(self, _: str, payload: bytes) -> Invoked:
        self.events.append(json.loads(payload)["Records"])
        return Invoked(self.outcome(len(self.events)), 0.0, None)

    def told(self) -> list[list[str]]:
        return [[each["dynamodb"]["Keys"]["pk"]["S"] for each in event] for event in self.events]


class Pauses(threading.Event):
    """Notes how long somebody would wait, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0)
        return self.is_set()


def test_a_batch_goes_when_its_window_is_over_or_it_is_full() -> None:
    world = World()
    world.waiting = [record(1), record(2)]
    assert not world.poller.step()
    world.steady_s = 0.9
    world.waiting = [record(3)]
    assert not world.poller.step()
    world.steady_s = 1.0
    assert world.poller.step()
    world.waiting = [record(number) for number in range(25)]
    assert [world.poller.step() for _ in range(3)] == [True, True, False]
    world.steady_s = 2.0
    assert world.poller.step()
    assert [len(each) for each in world.told()] == [3, 10, 10, 5]
    assert world.told()[0] == ["1", "2", "3"]


def test_an_event_has_the_form_of_aws() -> None:
    (found,) = json.loads(encode_event([record(7, key={"B": b"\x00\xff"})], ARN))["Records"]
    assert found == {
        "eventID": f"{7:032x}", "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1", "eventSourceARN": ARN,
        "dynamodb": {
            "ApproximateCreationDateTime": NOW_MS // 1000, "Keys": {"pk": {"B": "AP8="}},
            "SequenceNumber": "100000000000000000007", "SizeBytes": 3, "StreamViewType": "KEYS_ONLY",
        },
    }  # fmt: skip


def test_a_batch_that_fails_comes_again_and_then_the_next_does() -> None:
    world = World(outcome=lambda number: Failed("planted") if number < 3 else Answered(b"null"))
    world.waiting, world.steady_s = [record(1)], 0.0
    world.poller.step()
    world.steady_s = 1.0
    world.poller.step()
    assert world.told() == [["1"]] * 3
    assert world.stopping.waits == [0.2, 0.4]
    assert (world.poller.counts.told, world.poller.counts.given_up) == (1, 0)


@pytest.mark.parametrize("failure", [Failed("planted"), NotInvoked("no sandbox")])
def test_a_batch_that_always_fails_is_given_up_and_said(failure: Outcome) -> None:
    world = World(outcome=lambda _: failure)
    world.waiting = [record(number) for number in range(10)]
    assert world.poller.step()
    assert len(world.events) == 3
    assert world.poller.counts.given_up == 10
    assert "10 changes are not told, after 3 attempts" in world.said[0]


def test_what_is_old_is_no_news() -> None:
    world = World()
    world.waiting = [record(1, age_s=61), *(record(number, age_s=60) for number in range(2, 11))]
    world.poller.step()
    assert len(world.told()[0]) == 9
    assert world.poller.counts.too_old == 1


def test_a_function_that_fails_for_long_is_given_up_by_age() -> None:
    forever = ChangesMapping(batch_size=1, window_ms=0, max_retry_attempts=-1, max_record_age_ms=60_000)

    def fail(number: int) -> Outcome:
        world.now_ms += 10_000
        return Failed("planted")

    world = World(outcome=fail, mapping=forever)
    world.waiting = [record(1)]
    world.poller.step()
    assert (len(world.events), world.poller.counts.too_old) == (7, 1)
    assert max(world.stopping.waits) == 10.0


def test_an_event_that_is_too_large_goes_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller_module, "PAYLOAD_BYTES", 1_000)
    world = World()
    world.waiting = [record(number) for number in range(10)]
    world.poller.step()
    assert [each for event in world.told() for each in event] == [str(number) for number in range(10)]
    assert max(map(len, world.told())) <= 3


@given(
    cuts=st.lists(st.integers(0, 30), max_size=8), gaps=st.lists(st.integers(0, 2_000), min_size=8, max_size=8),
    fails=st.sets(st.integers(1, 40)),
)  # fmt: skip
def test_whatever_comes_when_each_change_is_told_in_order_or_counted(
    cuts: list[int], gaps: list[int], fails: set[int]
) -> None:
    world = World(outcome=lambda number: Failed("planted") if number in fails else Answered(b"null"))
    first = 0
    for size, gap_ms in zip(cuts, gaps, strict=False):
        world.waiting += [record(number) for number in range(first, first + size)]
        first += size
        while world.poller.step():
            assert len(world.poller._pending) <= 10 + 30
        world.steady_s += gap_ms / 1000
    world.steady_s += 10
    while world.poller.step():
        pass
    counts = world.poller.counts
    assert (counts.read, counts.told + counts.given_up) == (first, first)
    seen = list(dict.fromkeys(int(each) for event in world.told() for each in event))
    assert seen == list(range(first))


class Streams:
    """boto3's two clients in one, as far as a reader asks; ``errors`` are raised first."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.begun: list[str] = []
        self.answers: list[dict[str, Any]] = []
        self.arn = ARN

    def describe_table(self, **_: Any) -> dict[str, Any]:
        return {"Table": {"LatestStreamArn": self.arn}}

    def describe_stream(self, **_: Any) -> dict[str, Any]:
        return {"StreamDescription": {"Shards": [{"ShardId": "old"}, {"ShardId": "new"}]}}

    def get_shard_iterator(self, **asked: Any) -> dict[str, Any]:
        self.begun.append(asked["ShardIteratorType"])
        assert asked["ShardId"] == "new"
        return {"ShardIterator": f"i{len(self.begun)}"}

    def get_records(self, **_: Any) -> dict[str, Any]:
        if self.errors:
            raise self.errors.pop(0)
        return self.answers.pop(0)


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "planted"}}, "GetRecords")


def test_a_stream_is_read_on_over_an_outage_and_from_its_end_where_the_place_is_lost() -> None:
    streams, said = Streams(), list[str]()
    reader = StreamReader(streams, streams, "t", say=said.append)
    streams.errors = [EndpointConnectionError(endpoint_url="x"), EndpointConnectionError(endpoint_url="x")]
    assert [list(reader.read()), list(reader.read())] == [[], []]
    assert (streams.begun, len(said)) == (["LATEST"], 1)  # said once, and not begun anew
    streams.answers = [{"Records": [record(1)], "NextShardIterator": "i"}]
    assert len(reader.read()) == 1
    for code in (
        "ExpiredIteratorException",
        "TrimmedDataAccessException",
        "ResourceNotFoundException",
        "InternalServerError",
    ):
        streams.errors = [client_error(code)]
        assert reader.read() == []
        assert not reader.is_reading
        streams.answers = [{"Records": [], "NextShardIterator": "i"}]
        reader.read()
    assert streams.begun == ["LATEST"] * 5
    assert reader.stream_arn == ARN


def test_behind_a_shard_that_was_closed_the_next_is_read_from_its_begin() -> None:
    streams = Streams()
    reader = StreamReader(streams, streams, "t", say=lambda _: None)
    streams.answers = [{"Records": [record(1)]}]
    assert len(reader.read()) == 1
    assert streams.begun == ["LATEST", "TRIM_HORIZON"]


def test_a_mapping_is_read_with_the_defaults_of_aws() -> None:
    assert mapping_of(LATEST) == ChangesMapping(
        batch_size=100, window_ms=0, max_retry_attempts=-1, max_record_age_ms=-1
    )


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"StartingPosition": "TRIM_HORIZON"}, "from LATEST on"),
        ({**LATEST, "BisectBatchOnFunctionError": True}, "BisectBatchOnFunctionError is not carried out"),
        ({**LATEST, "FilterCriteria": {"Filters": [{"Pattern": "{}"}]}}, "FilterCriteria is not carried out"),
        ({**LATEST, "DestinationConfig": {"OnFailure": {}}}, "DestinationConfig is not carried out"),
        ({**LATEST, "BatchSize": 0}, "BatchSize is 0"),
        ({**LATEST, "MaximumRecordAgeInSeconds": "x"}, "MaximumRecordAgeInSeconds is 'x'"),
    ],
)
def test_what_is_not_carried_out_is_refused(properties: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        mapping_of(properties)
