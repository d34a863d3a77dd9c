"""A list of events: what is refused is named, the rest is taken, and plain events go in runs."""

import random
from dataclasses import replace
from typing import Any

import pytest

from processors.pipeline_files import load_pipeline
from producers.client.batcher import Batcher, BatcherConfig, UnsendableRecord
from producers.client.core import CoreConfig, ProducerCore
from producers.client.encoder import encoder_of
from producers.client.many import RefusedEvents, take_many
from producers.client.outbox import RetryConfig
from producers.client.ports import PutFailed
from streamgage.errors import DeliveryError
from streamgage.formats.avro import Event
from streamgage.formats.blocks.builder import BlockBuilder
from streamgage.shards import Shard, ShardMap
from support.paths import ROOT
from unit.producers.client.test_block_batching import READING, SHARDS, VirtualWorld, reading

MIB = 2**20


def producer_of(world: VirtualWorld) -> ProducerCore:
    config = CoreConfig(concurrency=1, retries=RetryConfig(max_attempts=1))
    return ProducerCore(world, clock=world, rng=random.Random(0), config=config)


def test_what_is_refused_is_named_by_its_place_and_all_others_are_taken() -> None:
    producer = producer_of(VirtualWorld())
    events = [reading(number) for number in range(2_000)]
    events[7] = reading(7, value=float("nan"))
    events[1_500] = reading(1_500, device_id="\ud800")
    with pytest.raises(
        RefusedEvents, match=r"2 of 2,000 events were refused: event 7: value is nan"
    ) as caught:
        producer.put_many(READING, events)
    assert [each.at for each in caught.value.refused] == [7, 1_500]
    assert isinstance(caught.value.refused[1].error, UnsendableRecord)
    producer.close()
    assert producer.stats.events_stored == producer.stats.events_put == 1_998


def test_the_message_shows_the_first_refusals_only() -> None:
    with pytest.raises(RefusedEvents, match=r"5 of 6 .* event 2: .*; and 2 more$"):
        producer_of(VirtualWorld()).put_many(READING, [*[reading(1, ts=-1)] * 5, reading(1)])


def test_what_is_given_up_while_others_are_refused_is_named_by_the_next_call() -> None:
    world = VirtualWorld()
    world.failure = PutFailed("InternalFailure", "no")
    producer = producer_of(world)
    producer.put_many(READING, [reading(1, device="one")])
    world.sleep_ms(1_000)  # both are due
    with pytest.raises(RefusedEvents):
        producer.put_many(READING, [reading(2, device="one"), reading(3, ts=-1)])
    with pytest.raises(DeliveryError, match="2 events"):
        producer.poll()


@pytest.mark.parametrize("odd", [None, "device-1", 5, [("device_id", "one")]])
def test_what_is_no_event_at_all_is_refused_like_one_that_does_not_fit(odd: Any) -> None:
    producer = producer_of(VirtualWorld())
    with pytest.raises(RefusedEvents, match=r"event 1: .* is no event") as caught:
        producer.put_many(READING, [reading(0), odd, reading(2)])
    assert [each.at for each in caught.value.refused] == [1]
    assert producer.stats.events_put == 2


def test_a_list_without_events_is_nothing() -> None:
    producer = producer_of(VirtualWorld())
    producer.put_many(READING, [])
    assert producer.stats.events_put == 0


def test_a_closed_producer_takes_no_list() -> None:
    producer = producer_of(VirtualWorld())
    producer.close()
    with pytest.raises(ValueError, match="closed"):
        producer.put_many(READING, [reading(1)])


@pytest.mark.parametrize("shards", [1, 16])
def test_plain_events_are_taken_in_one_run(shards: int) -> None:
    ends = [2**128 * at // shards for at in range(shards + 1)]
    found = [Shard(f"s{at}", ends[at], ends[at + 1] - 1) for at in range(shards)]
    batcher = Batcher(ShardMap(found), BatcherConfig())
    events = [reading(number, device=f"device-{number % 300}") for number in range(1_000)]
    assert batcher.put_run(READING, events, 0, room_bytes=MIB) == 1_000


def test_a_run_ends_before_the_event_that_fills_a_block() -> None:
    batcher = Batcher(SHARDS, BatcherConfig(block_events=100))
    events = [reading(number, device="one") for number in range(1_000)]
    assert batcher.put_run(READING, events, 0, room_bytes=MIB) == 99
    assert batcher.put_run(READING, events[99:], 0, room_bytes=MIB) == 0


def test_nothing_is_in_a_run_once_something_is_due() -> None:
    batcher = Batcher(SHARDS, BatcherConfig(linger_ms=100))
    assert batcher.put_run(READING, [reading(1)], 0, room_bytes=MIB) == 1
    assert batcher.next_deadline_ms() == 100
    assert batcher.put_run(READING, [reading(2)], 100, room_bytes=MIB) == 0


def test_one_that_does_not_fit_has_few_others_asked_one_by_one() -> None:
    runs: list[int] = []
    alone: list[Event] = []
    told: list[int] = []
    events = [{"n": number} for number in range(5_000)]

    def take_run(run: list[Event]) -> int:  # as the batcher: all of it or none
        taken = 0 if events[3_333] in run else len(run)
        runs.append(taken)
        return taken

    assert take_many(events, take_run, alone.append, told.append) == []  # type: ignore[arg-type]
    assert events[3_333] in alone
    assert len(alone) <= 16
    assert sum(runs) + len(alone) == told[-1] == 5_000


def test_rows_go_as_they_do_one_by_one() -> None:
    source = replace(load_pipeline(ROOT / "pipeline.toml").sources["reading"], blocks=False)
    worlds = VirtualWorld(), VirtualWorld()
    events = [reading(number) for number in range(50)]
    with producer_of(worlds[0]) as at_once:
        at_once.put_many(source, events)
    with producer_of(worlds[1]) as one_by_one:
        for event in events:
            one_by_one.send(source, event)
    assert [each.data for each in worlds[0].stored] == [each.data for each in worlds[1].stored]


def test_a_long_text_of_a_run_makes_room_for_as_few_events_as_one_by_one() -> None:
    codec = encoder_of(READING).blocks
    events = [reading(number, metric="m" * 700_000) for number in range(20)]
    at_once, one_by_one = BlockBuilder(codec), BlockBuilder(codec)
    columns = codec.prepare_all(events[:5], {})
    assert columns is not None
    at_once.add_all(columns, at_once.room_for(columns, MIB))
    assert [one_by_one.add_within(each, MIB) for each in events[:5]]
    later = [at_once.add_within(each, MIB) for each in events[5:]]
    assert later == [one_by_one.add_within(each, MIB) for each in events[5:]]
    assert later.count(0) == 9
    assert at_once.build() == one_by_one.build()
