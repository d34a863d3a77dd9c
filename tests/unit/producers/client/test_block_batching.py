"""Events that go in blocks: which come together, in what order, and what becomes of those that cannot be sent."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from processors.pipeline_files import load_pipeline
from producers.client.batcher import Batcher, BatcherConfig, PutEntry
from producers.client.core import CoreConfig, ProducerCore
from producers.client.encoder import encoder_of
from producers.client.identity import Identity
from producers.client.outbox import RetryConfig
from producers.client.ports import PutFailed, PutResult, PutStored
from streamgage.errors import DeliveryError
from streamgage.formats.avro import Event
from streamgage.formats.blocks.reader import BlockReader
from streamgage.formats.kpl import decode_aggregate, is_aggregated
from streamgage.formats.mark import decode_mark
from streamgage.limits import KINESIS_RECORD_BYTES
from streamgage.records import UserRecord
from streamgage.shards import Shard, ShardMap, hash_key_of
from support.paths import ROOT

READING = replace(load_pipeline(ROOT / "pipeline.toml").sources["reading"], blocks=True)
HALF = 2**127
LOW, HIGH = Shard("low", 0, HALF - 1), Shard("high", HALF, 2 * HALF - 1)
SHARDS = ShardMap([LOW, HIGH])


class VirtualWorld:
    """A stream of SHARDS that stores everything, or fails everything; and its clock."""

    def __init__(self) -> None:
        self.failure: PutFailed | None = None
        self.stored: list[PutEntry] = []
        self._now_ms = 0

    def list_shards(self) -> Sequence[Shard]:
        return [LOW, HIGH]

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        if self.failure:
            return [self.failure] * len(entries)
        self.stored += entries
        return [PutStored(entry.shard_id, len(self.stored)) for entry in entries]

    def now_ms(self) -> int:
        return self._now_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self._now_ms += duration_ms


def reading(number: int, *, device: str | None = None, **more: Any) -> Event:
    return {
        "device_id": device or f"device-{number % 7}",
        "metric": "celsius",
        "ts": 1_700_000_000_000 + number,
        "value": number / 10,
        "tags": None,
        **more,
    }


def events_of(entries: list[PutEntry]) -> dict[str, list[Event]]:
    """Return the events in *entries* by shard, in their order."""
    reader = BlockReader(READING.schema)
    found: dict[str, list[Event]] = {}
    for entry in entries:
        datas = decode_aggregate(entry.data).datas if is_aggregated(entry.data) else [entry.data]
        for data in datas:
            block = reader.decode(data, ())
            found.setdefault(entry.shard_id, []).extend(block.event(at) for at in range(block.count))
    return found


def test_events_of_one_shard_share_a_block_and_keep_their_order() -> None:
    batcher, events = Batcher(SHARDS, BatcherConfig()), [reading(number) for number in range(1000)]
    for event in events:
        batcher.put_event(READING, event, 0)
    entries = batcher.take_all()
    assert len(entries) == 2
    assert sum(entry.events for entry in entries) == 1000
    expected: dict[str, list[Event]] = {}
    for event in events:
        expected.setdefault(SHARDS.shard_for(hash_key_of(event["device_id"])), []).append(event)
    assert events_of(entries) == expected


def test_with_one_key_per_record_a_block_holds_one_key() -> None:
    batcher = Batcher(SHARDS, BatcherConfig(one_key_per_record=True))
    for number in range(70):
        batcher.put_event(READING, reading(number), 0)
    entries = batcher.take_all()
    assert len(entries) == 7
    for entry in entries:
        (events,) = events_of([entry]).values()
        assert {each["device_id"] for each in events} == {entry.partition_key}


def test_a_block_lingers_and_is_due_like_a_user_record() -> None:
    batcher = Batcher(SHARDS, BatcherConfig(linger_ms=100))
    batcher.put_event(READING, reading(1), 1000)
    assert batcher.next_deadline_ms() == 1100
    assert not batcher.take(1099)
    batcher.put(UserRecord("device-2", b"a row"), 1050)
    (entry,) = batcher.take(1100)
    assert entry.events == 1
    assert batcher.next_deadline_ms() == 1150
    assert len(batcher.take(1150)) == 1
    assert batcher.next_deadline_ms() is None
    assert batcher.buffered_bytes == 0


def test_a_block_is_closed_when_it_has_its_events() -> None:
    batcher = Batcher(SHARDS, BatcherConfig(block_events=10))
    for number in range(95):
        batcher.put_event(READING, reading(number, device="one"), 0)
    assert [entry.events for entry in batcher.take_all()] == [10] * 9 + [5]


@pytest.mark.parametrize("sizes", [[400_000] * 5, [1_000] * 3 + [900_000, 900_000, 10], [499_000, 700_000]])
def test_however_large_its_events_a_block_fits_into_a_kinesis_record(sizes: list[int]) -> None:
    batcher, dice = Batcher(SHARDS, BatcherConfig()), random.Random(5)
    events = [
        reading(number, device="one", tags={"noise": "".join(map(chr, dice.choices(range(128), k=size)))})
        for number, size in enumerate(sizes)
    ]
    for event in events:
        batcher.put_event(READING, event, 0)
    entries = batcher.take_all()
    assert max(entry.size_bytes for entry in entries) <= KINESIS_RECORD_BYTES
    assert [event for found in events_of(entries).values() for event in found] == events


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"value": float("nan")}, "not a finite number"),
        ({"ts": -1}, "not ms since 1970"),
        ({"ts": "yesterday"}, "ts"),
        ({"device_id": ""}, "a partition key has 1 to 256"),
        ({"device_id": None}, "device_id"),
        ({"unheard": 1}, "unheard"),
        ({"ts": 5.5}, "ts"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(wrong: dict[str, Any], message: str) -> None:
    batcher = Batcher(SHARDS, BatcherConfig())
    batcher.put_event(READING, reading(1), 0)
    before = batcher.buffered_bytes
    with pytest.raises(ValueError, match=message):
        batcher.put_event(READING, reading(2, **wrong), 0)
    assert batcher.buffered_bytes == before
    assert events_of(batcher.take_all()) == {SHARDS.shard_for(hash_key_of("device-1")): [reading(1)]}


def test_blocks_and_rows_of_a_shard_are_marked_one_after_the_other() -> None:
    batcher = Batcher(SHARDS, BatcherConfig(linger_ms=0), tags_for=Identity(random.Random(1)).tags_for)
    entries: list[PutEntry] = []
    for number in range(6):
        if number % 2:
            batcher.put_event(READING, reading(number, device="one"), number)
        else:
            batcher.put(UserRecord("one", b"a row"), number)
        entries += batcher.take(number)
    marks = [decode_mark(decode_aggregate(entry.data).tags) for entry in entries]
    assert [mark.counter if mark else None for mark in marks] == [1, 2, 3, 4, 5, 6]


def test_new_shards_close_the_open_blocks() -> None:
    batcher = Batcher(SHARDS, BatcherConfig())
    batcher.put_event(READING, reading(1), 0)
    batcher.set_shards(ShardMap([Shard("all", 0, 2 * HALF - 1)]))
    batcher.put_event(READING, reading(2), 0)
    assert [entry.shard_id for entry in batcher.take_all()] == [
        SHARDS.shard_for(hash_key_of("device-1")),
        "all",
    ]


def test_a_block_that_is_given_up_comes_back_as_a_user_record_that_can_be_sent_again() -> None:
    world = VirtualWorld()
    world.failure = PutFailed("InternalFailure", "no")
    retries = RetryConfig(max_attempts=1)
    producer = ProducerCore(
        world, clock=world, rng=random.Random(0), config=CoreConfig(concurrency=1, retries=retries)
    )
    for number in range(20):
        producer.send(READING, reading(number, device="one"))
    with pytest.raises(DeliveryError, match="20 events in 1 Kinesis records") as caught:
        producer.flush()
    (block,) = caught.value.undelivered
    assert producer.stats.events_undelivered == block.events == 20
    world.failure = None
    (sealed,) = caught.value.sealed
    assert sealed.events == 20
    producer.put_sealed(sealed)
    producer.flush()
    assert producer.stats.events_stored == 20
    assert [each["value"] for each in events_of(world.stored)[SHARDS.shard_for(hash_key_of("one"))]] == [
        number / 10 for number in range(20)
    ]


def test_a_source_without_blocks_sends_rows() -> None:
    world = VirtualWorld()
    producer = ProducerCore(world, clock=world, rng=random.Random(0), config=CoreConfig(concurrency=1))
    producer.send(replace(READING, blocks=False), reading(1))
    producer.flush()
    (entry,) = world.stored
    assert entry.data == encoder_of(READING).user_record(reading(1)).data
