"""The counting table, and batches as Lambda cuts them: the ground of the write-unit benchmark."""

from collections.abc import Sequence
from itertools import count

import pytest

from benchmarks.shard_slice import (
    CACHED_BYTES,
    SHARD,
    STREAM_ARN,
    Put,
    ReferenceLoad,
    cut,
    drive,
    shard_map,
    shard_records,
    wire_of,
)
from benchmarks.write_units import pipeline_of
from infra.aws.cost.counting import CountingTable
from infra.local.function.outcome import Answered
from infra.local.mapping.config import MappingConfig
from infra.local.mapping.shard import Invocation, ShardMapping
from processors.sink.writes import WRITTEN, Moved, Write
from streamgage.fold.items import ItemKey, StoredItem, progress_pk
from streamgage.records import StreamRecord
from streamgage.shards import hash_key_of
from support.fakes import PLENTY

PROGRESS = progress_pk("main")


def write(pk: str, *, fence: int = 1, body: bytes = b"", expected: int | None = None) -> Write:
    return Write(ItemKey(pk, "lane"), StoredItem(fence, "", body, 5), expected)


def test_a_put_counts_the_larger_of_the_item_before_and_after() -> None:
    table = CountingTable()
    for each in (
        write("a", body=b"x" * 2000),
        write("a", fence=2, expected=1),
        write("a", fence=3, expected=2),
    ):
        assert table.put_many([each], deadline=PLENTY) == [WRITTEN]
    assert (table.items.writes, table.items.write_units) == (3, 2 + 2 + 1)


def test_a_condition_that_fails_is_billed_and_changes_nothing() -> None:
    table = CountingTable()
    first = write("a", body=b"x" * 2000)
    failing = [write("a", fence=9, expected=8), write("a", fence=9), write("b", expected=1)]
    assert table.put_many([first, *failing], deadline=PLENTY) == [
        WRITTEN, Moved(first.item), Moved(first.item), Moved(None)
    ]  # fmt: skip
    assert (table.items.failed_writes, table.items.failed_write_units) == (3, 2 + 2 + 1)
    assert (table.items.writes, table.items.all_write_units) == (1, 2 + 5)
    assert list(table.rows) == [("a", "lane")]


def test_reads_are_counted_for_absent_items_too_and_progress_apart() -> None:
    table = CountingTable()
    writes = [write(PROGRESS), write("a", body=b"x" * 5000)]
    table.put_many(writes, deadline=PLENTY)
    keys = [ItemKey(pk, "lane") for pk in ("a", "b", PROGRESS)]
    assert table.get(keys, deadline=PLENTY) == {each.key: each.item for each in writes}
    assert (table.items.reads, table.items.read_units) == (2, 2 + 1)
    assert (table.progress.reads, table.progress.read_units, table.progress.writes) == (1, 1, 1)


def put(number: int, *, data_bytes: int, arrival_ms: int, events: int = 1) -> Put:
    record = StreamRecord(SHARD, 10**55 + number, f"device-{number}", b"x" * data_bytes, arrival_ms)
    return Put(record, events)


def as_lambda_cuts(puts: Sequence[Put], *, window_ms: int, until_ms: int) -> list[list[int]]:
    """Return the batches of the emulator's event source mapping, ms by ms, its function taking no time."""
    config = MappingConfig(batch_size=10_000, window_ms=window_ms, buffer_bytes=10**9, buffer_records=10**9)
    mapping = ShardMapping(SHARD, config=config, stream_arn=STREAM_ARN, checkpoint=None, ids=count())
    batches: list[list[int]] = []
    waiting = list(puts)
    for now_ms in range(until_ms):
        while waiting and waiting[0].record.arrival_ms <= now_ms:
            mapping.feed([waiting.pop(0).record], now_ms)
            due(mapping, now_ms, batches)
        due(mapping, now_ms, batches)
    return batches


def due(mapping: ShardMapping, now_ms: int, batches: list[list[int]]) -> None:
    while work := mapping.due(now_ms):
        for each in work:
            assert isinstance(each, Invocation)
            batches.append([record.sequence_number for record in each.records])
            mapping.settle(each.invocation_id, Answered(b""), now_ms)


@pytest.mark.parametrize("window_ms", [100, 399, 400, 1000])
@pytest.mark.parametrize("data_bytes", [500, 900_000])
def test_batches_are_cut_as_the_event_source_mapping_cuts_them(window_ms: int, data_bytes: int) -> None:
    puts = [put(number, data_bytes=data_bytes, arrival_ms=7 + 133 * number) for number in range(20)]
    ours = [[each.record.sequence_number for each in batch] for batch in cut(puts, window_ms=window_ms)]
    theirs = as_lambda_cuts(puts, window_ms=window_ms, until_ms=133 * 20 + 8)
    assert ours == theirs[: len(ours)]
    assert len(theirs) - len(ours) <= 1  # we leave out what is neither full nor due at the end
    assert len(ours) > 1


def test_a_share_of_a_batch_is_cut_by_events() -> None:
    puts = [put(number, data_bytes=9, arrival_ms=number, events=3) for number in range(10)]
    assert [len(each) for each in cut(puts, window_ms=10_000, batch_events=7)] == [2, 2, 2, 2]


def test_the_slice_is_of_the_first_shard_only() -> None:
    load = ReferenceLoad(devices=60, shards=12)
    puts = shard_records(load, pipeline_of("1 window"), seconds=3)
    assert sum(each.events for each in puts) == 5 * 3 * 3
    shards = shard_map(12)
    assert {shards.shard_for(hash_key_of(each.record.partition_key)) for each in puts} == {SHARD}
    arrivals = [each.record.arrival_ms for each in puts]
    assert arrivals == sorted(arrivals)


def test_blocks_carry_the_same_events_in_a_fraction_of_the_bytes() -> None:
    load = ReferenceLoad(shards=64)
    rows, blocks = (
        shard_records(load, pipeline_of("1 window"), seconds=2, blocks=each) for each in (False, True)
    )
    assert sum(each.events for each in rows) == sum(each.events for each in blocks)
    assert wire_of(blocks).data_bytes < wire_of(rows).data_bytes / 5


def test_keys_share_items_so_a_shard_is_driven_whole() -> None:
    """Ten times the keys at the same rate are ten times the items, but of three keys, which share one either way."""
    units = {}
    for devices in (8, 80, 800):
        load = ReferenceLoad(devices=devices, period_ms=10 * devices, shards=8)
        driven = drive(
            cut(shard_records(load, pipeline_of("1 window"), seconds=130), window_ms=20_000),
            pipeline_of("1 window"),
        )
        units[devices] = driven.write_units_per_million - driven.progress_write_units_per_million
    assert units[80] == pytest.approx(units[8], rel=0.05)
    assert units[800] > 5 * units[80]


def test_sandboxes_without_affinity_read_again_and_fail_no_write() -> None:
    load = ReferenceLoad(devices=600, shards=12)
    pipeline = pipeline_of("3 windows")
    puts = shard_records(load, pipeline, seconds=200)
    alone, many, forgetful = (
        drive(cut(puts, window_ms=10_000), pipeline, sandboxes=sandboxes, cached_bytes=cached, warm_up=4)
        for sandboxes, cached in ((1, CACHED_BYTES), (2, CACHED_BYTES), (2, 0))
    )
    assert alone.failed_write_units_per_million == 0
    assert many.failed_write_units_per_million == 0
    assert many.read_units_per_million > alone.read_units_per_million
    assert forgetful.failed_write_units_per_million == 0
    assert forgetful.read_units_per_million >= many.read_units_per_million


def test_a_drive_that_counts_nothing_says_so() -> None:
    pipeline = pipeline_of("1 window")
    puts = shard_records(ReferenceLoad(devices=24), pipeline, seconds=2)
    with pytest.raises(ValueError, match="drive more seconds"):
        drive(cut(puts, window_ms=60_000), pipeline)
