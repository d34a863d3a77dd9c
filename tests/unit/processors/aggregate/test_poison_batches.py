"""Batches with much poison, through the function and its real quarantine: a shard never waits for it, and nothing is lost."""

from collections.abc import Sequence
from dataclasses import replace

from processors.quarantine.queue import LeanQuarantine
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.reading.poison import Refused
from streamgage.records import StreamRecord, UserRecord
from support.fakes import World, invoke
from support.quarantine_server import FakeCloud, lean_quarantine, s3_error
from support.strategies import ARRIVAL_MS, DAY_MS, aggregated, pipeline, reading

SCHEMA = pipeline().sources["reading"].schema
GOOD = SCHEMA.encode(reading("d1", "temp", ARRIVAL_MS, 1.0))
BLOCK_EVENTS = 32_000


def record(data: bytes, number: int) -> StreamRecord:
    return StreamRecord("shardId-000000000000", 10**55 + number, "p", data, ARRIVAL_MS)


def flood(count: int) -> list[StreamRecord]:
    return [record(GOOD, 0), *(record(b"junk", number) for number in range(1, count + 1))]


def deliver(world: World, quarantine: LeanQuarantine, records: Sequence[StreamRecord]) -> int | None:
    """Invoke a new sandbox of *world* whose quarantine is *quarantine*, on the clock of this machine."""
    sandbox = world.sandbox()
    sandbox._quarantine = quarantine
    return invoke(sandbox, records)


def events_of(world: World) -> int:
    rows = world.ask("device_metrics", {"device_id": "d1", "metric": "temp"}, "1h")
    return sum(each.events for each in rows)


def test_eight_thousand_poison_records_are_quarantined_in_one_invocation_and_the_shard_goes_on() -> None:
    world, cloud = World(pipeline()), FakeCloud()
    with lean_quarantine(cloud) as (quarantine, service):
        assert deliver(world, quarantine, flood(8_000)) is None
        assert len(service.requests) == 2
    assert (cloud.puts, cloud.batches, len(cloud.kept())) == (1, [1], 8_000)
    assert (world.reports[0].poison, events_of(world)) == ({"unknown_format": 8_000}, 1)


def test_a_record_of_blocks_with_64_000_late_events_is_a_handful_of_calls() -> None:
    late = reading("d1", "temp", ARRIVAL_MS - 8 * DAY_MS, 1.0)
    good = reading("d1", "temp", ARRIVAL_MS, 1.0)
    block = BlockCodec(SCHEMA).encode([late] * BLOCK_EVENTS + [good])
    users = [UserRecord("d1", block), UserRecord("d1", GOOD), UserRecord("d1", block)]
    world, cloud = World(pipeline()), FakeCloud()
    with lean_quarantine(cloud) as (quarantine, service):
        assert deliver(world, quarantine, [record(aggregated(users), 0)]) is None
        assert len(service.requests) == 1
    assert world.reports[0].poison == {"late": 2 * BLOCK_EVENTS}
    assert events_of(world) == 3
    for each, sub in zip(cloud.kept(), (0, BLOCK_EVENTS + 2), strict=True):
        assert (each.data, each.events, each.sub_sequence_number) == (block, BLOCK_EVENTS + 1, sub)
        assert [replace(at, reason="") for at in each.refused] == [Refused(0, BLOCK_EVENTS - 1, "late", "")]


def test_while_s3_is_down_the_batch_is_redelivered_and_then_nothing_is_lost() -> None:
    world, cloud = World(pipeline()), FakeCloud()
    with lean_quarantine(cloud) as (quarantine, _):
        for _ in range(2):
            cloud.s3_answers.extend([s3_error("SlowDown", 503)] * 6)
            assert deliver(world, quarantine, flood(1_000)) == 10**55
        assert (cloud.messages, world.store.rows) == ([], {})
        assert "not all in the quarantine: S3 PutObject" in world.reports[0].error
        assert deliver(world, quarantine, flood(1_000)) is None
    assert (len(cloud.kept()), events_of(world)) == (1_000, 1)


def test_a_redelivery_of_a_batch_that_failed_afterwards_writes_over_its_object() -> None:
    world, cloud = World(pipeline()), FakeCloud()
    with lean_quarantine(cloud) as (quarantine, _):
        world.store.writes.arm({0: "lost before"})
        assert deliver(world, quarantine, flood(1_000)) == 10**55
        assert deliver(world, quarantine, flood(1_000)) is None
        assert (cloud.puts, len(cloud.objects)) == (2, 1)
        assert (
            deliver(world, quarantine, flood(1_000)) is None
        )  # all of it was dealt with: nothing is sent again
    assert (cloud.puts, events_of(world)) == (2, 1)
    assert len({each.id for each in cloud.kept()}) == 1_000


def test_what_was_held_back_is_not_reported_as_quarantined_and_what_came_again_is_reported_once() -> None:
    world, cloud = World(pipeline()), FakeCloud()
    with lean_quarantine(cloud) as (quarantine, _):
        cloud.s3_answers.extend([s3_error("SlowDown", 503)] * 6)
        assert deliver(world, quarantine, flood(1_000)) == 10**55  # not in the quarantine
        world.store.writes.arm({0: "lost before"})
        assert deliver(world, quarantine, flood(1_000)) == 10**55  # in it, and to come again
        assert deliver(world, quarantine, flood(1_000)) is None
    assert [each.poison.total() for each in world.reports] == [0, 0, 1_000]
    assert len({each.id for each in cloud.kept()}) == 1_000
