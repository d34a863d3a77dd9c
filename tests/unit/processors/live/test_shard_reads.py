"""How fresh answers are, as a sandbox finds it out: it never says more than was checked."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.awsjson.client import AwsJsonClient
from processors.live.shard_reads import AGAIN_MS, ShardReads
from processors.query.progress import ShardProgress
from streamgage.errors import StreamgageError
from support.fakes import NOW_MS, PLENTY
from support.lean_server import Reply, Request, Service, client_of, serving


@dataclass
class Shard:
    """A shard: the arrival times of its records, whose sequence numbers are their places from 1 on."""

    arrived_ms: list[int] = field(default_factory=list)
    is_closed: bool = False
    is_trimmed: bool = False


@dataclass
class FakeKinesis:
    """Kinesis as far as it is asked; it answers at most one record, and says what a reader's end is."""

    shards: dict[str, Shard]
    now_ms: int = NOW_MS
    refuses: str = ""

    def __call__(self, request: Request) -> Reply:
        asked = request.json
        if self.refuses == request.operation:
            return Reply.error("AccessDeniedException")
        answer: Any = getattr(self, request.operation)(asked)
        return answer if isinstance(answer, Reply) else Reply.of(json.dumps(answer).encode())

    def ListShards(self, asked: Any) -> Any:  # noqa: N802 - Kinesis' name
        names = sorted(self.shards)
        at = int(asked.get("NextToken", "0"))
        found = [
            {"ShardId": each, "SequenceNumberRange": {"StartingSequenceNumber": "0", **({"EndingSequenceNumber": "9"} if self.shards[each].is_closed else {})}}
            for each in names[at : at + 2]
        ]  # fmt: skip
        return {"Shards": found, **({"NextToken": str(at + 2)} if at + 2 < len(names) else {})}

    def GetShardIterator(self, asked: Any) -> Any:  # noqa: N802 - the same
        if asked["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER":
            if self.shards[asked["ShardId"]].is_trimmed:
                return Reply.error("InvalidArgumentException")
            return {"ShardIterator": f"{asked['ShardId']} {asked['StartingSequenceNumber']}"}
        assert asked["ShardIteratorType"] == "TRIM_HORIZON"
        return {"ShardIterator": f"{asked['ShardId']} 0"}

    def GetRecords(self, asked: Any) -> Any:  # noqa: N802 - the same
        name, _, place = asked["ShardIterator"].partition(" ")
        shard, at = self.shards[name], int(place)
        records = [{"SequenceNumber": str(at + 1)}] if at < len(shard.arrived_ms) else []
        is_end = at + len(records) == len(shard.arrived_ms)
        following = None if is_end and shard.is_closed else f"{name} {at + len(records)}"
        return {"Records": records, "NextShardIterator": following, "MillisBehindLatest": 0 if is_end else 1}


@dataclass
class World:
    kinesis: FakeKinesis
    reads: ShardReads
    service: Service

    def applied_ms(self, *progress: ShardProgress) -> int:
        return self.reads.freshness(progress, deadline=PLENTY).applied_ms

    def calls(self) -> list[str]:
        found = [each.operation for each in self.service.requests]
        self.service.requests.clear()
        return found


@dataclass(frozen=True)
class Sandbox:
    """What lives as long as a sandbox: a client of *service*, and threads."""

    service: Service
    client: AwsJsonClient
    readers: ThreadPoolExecutor


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with serving(lambda _: Reply.of(b"{}")) as service, ThreadPoolExecutor(4) as readers:
        client = client_of(service, target="Kinesis_20131202")
        yield Sandbox(service, client, readers)
        client.close()


def world(sandbox: Sandbox, **shards: Shard) -> World:
    kinesis = FakeKinesis(dict(shards))
    sandbox.service.handler = kinesis
    sandbox.service.requests.clear()
    reads = ShardReads(sandbox.client, "telemetry", sandbox.readers, lambda: kinesis.now_ms)
    return World(kinesis, reads, sandbox.service)


def progress(shard: str, sequence_number: int, applied_ms: int) -> ShardProgress:
    return ShardProgress(shard, sequence_number, applied_ms, 0, 0, 0)


def test_a_shard_whose_progress_is_new_is_not_read(sandbox: Sandbox) -> None:
    told = world(sandbox, a=Shard([NOW_MS - 100]))
    assert told.applied_ms(progress("a", 1, NOW_MS - 100)) == NOW_MS - 100
    assert told.calls() == ["ListShards"]


def test_a_stream_that_fell_silent_is_not_called_stale(sandbox: Sandbox) -> None:
    told = world(sandbox, a=Shard([NOW_MS - 900_000]), b=Shard())
    assert told.applied_ms(progress("a", 1, NOW_MS - 900_000)) == NOW_MS
    assert sorted(set(told.calls())) == ["GetRecords", "GetShardIterator", "ListShards"]


def test_a_record_that_is_not_applied_is_what_its_shard_waits_for(sandbox: Sandbox) -> None:
    told = world(sandbox, a=Shard([NOW_MS - 900_000, NOW_MS - 800_000]), b=Shard())
    assert told.applied_ms(progress("a", 1, NOW_MS - 900_000)) == NOW_MS - 900_000


def test_a_shard_of_which_nothing_was_ever_applied_is_unknown_until_it_is_empty(sandbox: Sandbox) -> None:
    told = world(sandbox, a=Shard([NOW_MS - 100]), b=Shard())
    assert told.applied_ms() == 0
    assert world(sandbox, a=Shard(), b=Shard()).applied_ms() == NOW_MS


def test_what_was_found_stays_true_and_is_not_asked_for_again_at_once(sandbox: Sandbox) -> None:
    told = world(sandbox, a=Shard())
    assert told.applied_ms() == NOW_MS
    told.calls()
    told.kinesis.now_ms += AGAIN_MS - 1
    told.kinesis.shards["a"].arrived_ms.append(NOW_MS + 1)
    assert (told.applied_ms(), told.calls()) == (NOW_MS, [])
    told.kinesis.now_ms += 1
    assert (told.applied_ms(), len(told.calls())) == (NOW_MS, 2)
    assert (told.applied_ms(), told.calls()) == (NOW_MS, [])  # it was read, and it did not help


def test_a_closed_shard_that_is_read_to_its_end_holds_nobody_up(sandbox: Sandbox) -> None:
    old = Shard([NOW_MS - 9_000_000], is_closed=True)
    told = world(sandbox, a=old, b=Shard(), c=Shard())
    assert told.applied_ms(progress("a", 1, NOW_MS - 9_000_000)) == NOW_MS
    told = world(sandbox, a=old, b=Shard(), c=Shard())
    assert told.applied_ms(progress("a", 0, NOW_MS - 9_900_000)) == NOW_MS - 9_900_000


def test_of_a_shard_that_was_split_since_it_was_listed_nothing_is_said(sandbox: Sandbox) -> None:
    told = world(sandbox, a=Shard())
    assert told.applied_ms() == NOW_MS
    told.kinesis.now_ms += AGAIN_MS
    told.kinesis.shards |= {"a": Shard(is_closed=True), "b": Shard([NOW_MS + 1]), "c": Shard()}
    assert told.applied_ms() == NOW_MS  # what was true, and no more
    assert told.applied_ms() == 0  # it is listed anew: b has a record that nobody applied
    assert told.applied_ms(progress("b", 1, NOW_MS + 1)) >= NOW_MS + 1


def test_a_fence_that_the_stream_holds_no_more_is_read_from_its_oldest_record(sandbox: Sandbox) -> None:
    told = world(sandbox, a=Shard(is_trimmed=True))
    assert told.applied_ms(progress("a", 1, NOW_MS - 900_000)) == NOW_MS


@pytest.mark.parametrize("operation", ["GetRecords", "GetShardIterator"])
def test_a_shard_that_cannot_be_read_is_known_by_its_progress(sandbox: Sandbox, operation: str) -> None:
    told = world(sandbox, a=Shard())
    told.kinesis.refuses = operation
    assert told.applied_ms(progress("a", 1, NOW_MS - 900_000)) == NOW_MS - 900_000


def test_where_the_shards_cannot_be_listed_nobody_knows_of_those_that_are_missing(sandbox: Sandbox) -> None:
    told = world(sandbox, a=Shard())
    told.kinesis.refuses = "ListShards"
    with pytest.raises(StreamgageError, match="AccessDenied"):
        told.applied_ms(progress("a", 1, NOW_MS))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "apply", "split", "wait", "ask", "ask"]),
        st.integers(0, 5),
        st.integers(1, 20_000),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_everything_that_arrived_until_then_is_applied_whatever_happened(
    sandbox: Sandbox, steps: list[tuple[str, int, int]]
) -> None:
    """Against an oracle that sees all: no record that arrived until what is said may be unapplied."""
    told = world(sandbox, s0=Shard())
    kinesis, applied = told.kinesis, {"s0": 0}
    for what, number, pause_ms in steps:
        kinesis.now_ms += pause_ms
        names = sorted(kinesis.shards)
        name = names[number % len(names)]
        shard = kinesis.shards[name]
        if what == "arrive" and not shard.is_closed:
            shard.arrived_ms.append(kinesis.now_ms)
        elif what == "apply" and applied[name] < len(shard.arrived_ms):
            applied[name] += 1
        elif what == "split" and not shard.is_closed and len(names) < 12:
            shard.is_closed = True
            for child in (f"{name}a", f"{name}b"):
                kinesis.shards[child], applied[child] = Shard(), 0
        elif what == "ask":
            known = [
                progress(each, at, kinesis.shards[each].arrived_ms[at - 1])
                for each, at in applied.items()
                if at
            ]
            said_ms = told.applied_ms(*known)
            waiting = [ms for each, at in applied.items() for ms in kinesis.shards[each].arrived_ms[at:]]
            assert all(said_ms < each for each in waiting)
