"""The fold does not depend on how a batch was cut, and the query does not depend on how many shards there were."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamgage.reading.record_reader
from streamgage.errors import PoisonRecord
from streamgage.fold.batch import BatchFold, Folded
from streamgage.fold.items import ItemKey, Lanes, StoredItem
from streamgage.formats.kpl import DIGEST_BYTES, MAGIC, decode_aggregate, is_aggregated, walk_aggregate
from streamgage.reading.poison import Poison
from streamgage.reading.rows import RowReader
from streamgage.records import StreamRecord
from support import tables
from support.examples import examples
from support.fakes import KEY_LANES, LANES, World, invoke
from support.schedules import ROLLUPS, SIZES_MS, judge
from support.strategies import Entry, logs, pipeline, signed
from support.tables import Items, States, apply, states_folded, states_of

CALM = settings(max_examples=examples(50, whole=100), deadline=None)
OF_SHARD_OR_KEY = st.sampled_from([LANES, KEY_LANES])


def records_of(log: Sequence[Entry]) -> list[StreamRecord]:
    return [entry.record for entry in log]


def fold(batch_fold: BatchFold, records: Sequence[StreamRecord], *, room_bytes: int = 800) -> Folded:
    return tables.fold(batch_fold, pipeline(), records, room_bytes=room_bytes)


def states(folded: Folded) -> States:
    return states_folded(folded, pipeline())


def added(
    batch_fold: BatchFold, batches: Sequence[Sequence[StreamRecord]], *, room_bytes: int = 800
) -> States:
    """Return what the items hold to which *batches* are added, one after the other."""
    table: Items = {}
    for batch in batches:
        apply(fold(batch_fold, batch, room_bytes=room_bytes).items, table)
    return states_of(table, pipeline())


def seen(folded: Folded) -> tuple[States, list[Poison], int, int]:
    return states(folded), folded.poison, folded.kinesis_records, folded.user_records


@CALM
@given(
    log=logs(more_keys=True), data=st.data(), lanes=OF_SHARD_OR_KEY, room_bytes=st.sampled_from([1, 100, 800])
)
def test_folding_a_log_in_any_cuts_gives_what_one_fold_gives(
    log: list[Entry], data: st.DataObject, lanes: Lanes, room_bytes: int
) -> None:
    records, batch_fold = records_of(log), BatchFold(pipeline(), lanes)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(records) - 1)))))
    batches = [records[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True)]
    whole = fold(batch_fold, records)
    assert added(batch_fold, batches, room_bytes=room_bytes) == states(whole)
    assert [poison for batch in batches for poison in fold(batch_fold, batch).poison] == whole.poison
    assert whole.kinesis_records == len(records)
    assert whole.user_records == sum(len(entry.good) + len(entry.bad) for entry in log)


@CALM
@given(log=logs(more_keys=True), slice_events=st.integers(1, 12), lanes=OF_SHARD_OR_KEY)
def test_a_batch_folds_alike_whatever_slice_of_it_is_unpacked_at_once(
    log: list[Entry], slice_events: int, lanes: Lanes
) -> None:
    records = records_of(log)
    sliced = fold(BatchFold(pipeline(), lanes, slice_events=slice_events), records)
    assert seen(sliced) == seen(fold(BatchFold(pipeline(), lanes), records))


@CALM
@given(log=logs(), data=st.data(), lanes=OF_SHARD_OR_KEY, slice_events=st.sampled_from([1, 3, 1_000]))
def test_what_lies_beyond_a_fence_is_the_fold_of_the_records_beyond_it(
    log: list[Entry], data: st.DataObject, lanes: Lanes, slice_events: int
) -> None:
    records, batch_fold = records_of(log), BatchFold(pipeline(), lanes, slice_events=slice_events)
    whole = fold(batch_fold, records)
    fences: Items = {}  # items are left behind at different records
    for key in whole.items:
        fence = data.draw(st.sampled_from([0, *(each.sequence_number for each in records)]))
        before = fold(batch_fold, [each for each in records if each.sequence_number <= fence]).items
        if key in before:
            apply({key: before[key]}, fences)
    apply(whole.items, fences)
    assert states_of(fences, pipeline()) == states(whole)


@CALM
@given(log=logs(), data=st.data())
def test_redelivery_from_anywhere_to_anywhere_adds_nothing_twice(
    log: list[Entry], data: st.DataObject
) -> None:
    records, batch_fold, done = records_of(log), BatchFold(pipeline(), LANES), 0
    batches = []
    while done < len(records):
        start, stop = data.draw(st.integers(0, done)), data.draw(st.integers(done + 1, len(records)))
        batches.append(records[start:stop])
        done = stop
    assert added(batch_fold, batches) == states(fold(batch_fold, records))


@CALM
@given(log=logs(), lanes=OF_SHARD_OR_KEY)
def test_a_contribution_reaches_from_its_first_record_to_the_last_of_its_lane(
    log: list[Entry], lanes: Lanes
) -> None:
    records, batch_fold = records_of(log), BatchFold(pipeline(), lanes)
    last = {lanes.of(each.shard_id, each.partition_key): each.sequence_number for each in records}
    first: dict[ItemKey, int] = {}
    for record in records:
        for key in fold(batch_fold, [record]).items:
            first.setdefault(key, record.sequence_number)
    items = fold(batch_fold, records).items
    reaches = {key: (each.first, fence_of(each.joined(None).item)) for key, each in items.items()}
    assert reaches == {key: (number, last[key.sk.partition("|")[2]]) for key, number in first.items()}


def fence_of(item: StoredItem | None) -> int | None:
    return None if item is None else item.fence


class LongWay(RowReader):
    """Leaves every row to fastavro."""

    def take(self, data: bytes, position: int, stop: int) -> int:  # noqa: ARG002 - RowReader's
        return position

    def take_one(self, data: bytes) -> bool:  # noqa: ARG002 - RowReader's
        return False


@CALM
@given(log=logs(), flips=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 400), st.integers(1, 255))))
def test_rows_read_the_short_way_are_what_they_are_the_long_way(
    log: list[Entry], flips: list[tuple[int, int, int]]
) -> None:
    records = records_of(log)
    for number, at, bits in flips:
        if number < len(records):
            records[number] = flipped(records[number], at, bits)
    short = BatchFold(pipeline(), LANES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamgage.reading.record_reader, "RowReader", LongWay)
        long = BatchFold(pipeline(), LANES)
    assert seen(fold(short, records)) == seen(fold(long, records))


class Collector:
    """Takes no rows, and keeps what it is shown."""

    max_index = -1

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, int]] = []

    def take(self, data: bytes, position: int, stop: int) -> int:  # noqa: ARG002 - UserRecordReader's
        return position

    def visit(self, data: bytes, partition_key_index: int) -> None:
        self.seen.append((data, partition_key_index))


@settings(max_examples=examples(100, whole=300), deadline=None)
@given(entry=logs(max_size=3), at=st.integers(0, 200), bits=st.integers(0, 255))
def test_walking_an_aggregate_shows_what_decoding_it_does(entry: list[Entry], at: int, bits: int) -> None:
    for record in records_of(entry):
        data = flipped(record, at, bits).data
        if is_aggregated(data):
            assert walked(data) == decoded(data)


def walked(data: bytes) -> object:
    collector = Collector()
    try:
        keys, tags = walk_aggregate(data, collector)
    except PoisonRecord as poison:
        return poison.code, poison.reason
    return collector.seen, [key.decode() for key in keys], tags


def decoded(data: bytes) -> object:
    try:
        aggregate = decode_aggregate(data)
    except PoisonRecord as poison:
        return poison.code, poison.reason
    seen = list(zip(aggregate.datas, aggregate.partition_key_indexes, strict=True))
    return seen, aggregate.partition_keys, aggregate.tags


def flipped(record: StreamRecord, at: int, bits: int) -> StreamRecord:
    """Return *record* with a byte of its data, or of its message, changed."""
    data = bytearray(record.data)
    if not data:
        return record
    if not is_aggregated(record.data):
        data[at % len(data)] ^= bits
        return replace(record, data=bytes(data))
    message = data[len(MAGIC) : -DIGEST_BYTES]
    if message:
        message[at % len(message)] ^= bits
    return replace(record, data=signed(bytes(message)))


@CALM
@given(log=logs(), data=st.data())
def test_a_batch_that_repeats_and_reorders_its_records_folds_as_in_order(
    log: list[Entry], data: st.DataObject
) -> None:
    records, batch_fold = records_of(log), BatchFold(pipeline(), LANES)
    repeated = data.draw(st.permutations(records + data.draw(st.lists(st.sampled_from(records), max_size=4))))
    assert seen(fold(batch_fold, repeated)) == seen(fold(batch_fold, records))


@CALM
@given(log=logs(), lane_is_key=st.booleans())
def test_a_window_holds_what_direct_assignment_of_each_event_gives(
    log: list[Entry],
    lane_is_key: bool,  # noqa: FBT001 - drawn
) -> None:
    world = World(pipeline(), lanes=KEY_LANES if lane_is_key else LANES)
    assert invoke(world.sandbox(), records_of(log)) is None
    judge(world, log)


@CALM
@given(log=logs(), other=logs(shard_id="shardId-000000000001"))
def test_the_query_over_shards_equals_one_pass_over_all_events(log: list[Entry], other: list[Entry]) -> None:
    world = World(pipeline())
    invoke(world.sandbox(), records_of(log))
    invoke(world.sandbox(), records_of(other))
    judge(world, log + other)


@CALM
@given(log=logs())
def test_a_query_of_all_time_gives_every_window_once_in_order(log: list[Entry]) -> None:
    world = World(pipeline())
    invoke(world.sandbox(), records_of(log))
    sent = [(each.source, each.event) for entry in log for each in entry.good]
    for rollup, (source, names, labels, _) in ROLLUPS.items():
        for key in {tuple(event[name] for name in names) for kind, event in sent if kind == source}:
            for label in labels:
                size_ms = SIZES_MS[label]
                starts = {
                    event["ts"] // size_ms * size_ms
                    for kind, event in sent
                    if kind == source and tuple(event[name] for name in names) == key
                }
                rows = world.ask(rollup, dict(zip(names, key, strict=True)), label)
                assert [row.window.start_ms for row in rows] == sorted(starts)
