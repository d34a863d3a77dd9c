"""The fold does not depend on how a batch was cut, and the query does not depend on how many shards there were."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamgage.fold.folder import Folder, Lane
from streamgage.measures.monoids import State, compile_layout
from streamgage.reading.contributions import Contributions

import streamgage.reading.record_reader
from streamgage.errors import PoisonRecord
from streamgage.fold.items import ItemKey, lane_of_key, lane_of_shard
from streamgage.formats.kpl import DIGEST_BYTES, MAGIC, decode_aggregate, is_aggregated, walk_aggregate
from streamgage.reading.rows import RowReader
from streamgage.records import StreamRecord
from support.fakes import World, invoke
from support.schedules import ROLLUPS, SIZES_MS, judge
from support.strategies import CLICKS, READINGS, Entry, logs, pipeline, signed

CALM = settings(max_examples=100, deadline=None)
SHARD = "shardId-000000000000"


def records_of(log: Sequence[Entry]) -> list[StreamRecord]:
    return [entry.record for entry in log]


def added(folder: Folder, batches: Sequence[Sequence[StreamRecord]]) -> dict[ItemKey, tuple[int, State]]:
    """Return the fence and the state of each item to which *batches* are added, one after the other."""
    items: dict[ItemKey, tuple[int, State]] = {}
    for batch in batches:
        for key, contributions in folder.fold(batch).items.items():
            fence, state = items.get(key, (None, None))
            if part := contributions.after(fence):
                items[key] = part.fence, contributions.merge(state, part)
    return items


LANES = st.sampled_from([lane_of_shard, lane_of_key])


@CALM
@given(log=logs(), data=st.data(), lane=LANES)
def test_folding_a_log_in_any_cuts_gives_what_one_fold_gives(
    log: list[Entry], data: st.DataObject, lane: Lane
) -> None:
    records, folder = records_of(log), Folder(pipeline(), lane)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(records) - 1)))))
    batches = [records[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True)]
    whole = folder.fold(records)
    states = {key: state for key, (_, state) in added(folder, batches).items()}
    assert states == {key: each.state for key, each in whole.items.items()}
    assert [poison for batch in batches for poison in folder.fold(batch).poison] == whole.poison
    assert whole.kinesis_records == len(records)
    assert whole.user_records == sum(len(entry.good) + len(entry.bad) for entry in log)


@CALM
@given(log=logs(), data=st.data(), lane=LANES)
def test_what_lies_beyond_a_fence_is_the_fold_of_the_records_beyond_it(
    log: list[Entry], data: st.DataObject, lane: Lane
) -> None:
    records, folder = records_of(log), Folder(pipeline(), lane)
    whole = folder.fold(records).items
    for fence in data.draw(st.lists(st.sampled_from([*(each.sequence_number for each in records), 0]))):
        beyond = folder.fold([record for record in records if record.sequence_number > fence]).items
        parts = {key: part for key, each in whole.items() if (part := each.after(fence))}
        assert parts == {key: each.after(None) for key, each in beyond.items()}


@CALM
@given(log=logs(), data=st.data())
def test_redelivery_from_anywhere_to_anywhere_adds_nothing_twice(
    log: list[Entry], data: st.DataObject
) -> None:
    records, folder, done = records_of(log), Folder(pipeline()), 0
    batches = []
    while done < len(records):
        start, stop = data.draw(st.integers(0, done)), data.draw(st.integers(done + 1, len(records)))
        batches.append(records[start:stop])
        done = stop
    states = {key: state for key, (_, state) in added(folder, batches).items()}
    assert states == {key: each.state for key, each in folder.fold(records).items.items()}


@CALM
@given(log=logs(), lane=LANES)
def test_a_part_reaches_from_its_first_record_to_the_last_of_its_lane(log: list[Entry], lane: Lane) -> None:
    records, folder = records_of(log), Folder(pipeline(), lane)
    last = {lane(each.shard_id, each.partition_key): each.sequence_number for each in records}
    first: dict[ItemKey, int] = {}
    for record in records:
        for key in folder.fold([record]).items:
            first.setdefault(key, record.sequence_number)
    parts = {key: each.after(None) for key, each in folder.fold(records).items.items()}
    assert {key: part and (part.first, part.fence) for key, part in parts.items()} == {
        key: (number, last[key.sk.partition("|")[2]]) for key, number in first.items()
    }


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
    short = Folder(pipeline())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamgage.reading.record_reader, "RowReader", LongWay)
        long = Folder(pipeline())
    assert short.fold(records) == long.fold(records)


class Collector:
    """Takes no rows, and keeps what it is shown."""

    max_index = -1

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, int]] = []

    def take(self, data: bytes, position: int, stop: int) -> int:  # noqa: ARG002 - UserRecordReader's
        return position

    def visit(self, data: bytes, partition_key_index: int) -> None:
        self.seen.append((data, partition_key_index))


@settings(max_examples=300, deadline=None)
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
    records, folder = records_of(log), Folder(pipeline())
    repeated = data.draw(st.permutations(records + data.draw(st.lists(st.sampled_from(records), max_size=4))))
    assert folder.fold(repeated) == folder.fold(records)


@CALM
@given(log=logs(), lane_is_key=st.booleans())
def test_a_window_holds_what_direct_assignment_of_each_event_gives(
    log: list[Entry],
    lane_is_key: bool,  # noqa: FBT001 - drawn
) -> None:
    world = World(pipeline(), lane=lane_of_key) if lane_is_key else World(pipeline())
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


MakeEvent = Any


@CALM
@given(makes=st.lists(READINGS | CLICKS, min_size=1, max_size=8), data=st.data())
def test_contributions_merge_in_any_grouping(makes: list[MakeEvent], data: st.DataObject) -> None:
    records = [
        StreamRecord(SHARD, 10**55 + number, "p", make(1_699_999_200_000)[2], 1_699_999_200_000)
        for number, make in enumerate(makes)
    ]
    folder = Folder(pipeline())
    alone = [folder.fold([record]).items for record in records]
    for key, whole in folder.fold(records).items.items():
        order = data.draw(st.permutations([each[key].state for each in alone if key in each]))
        cut = data.draw(st.integers(0, len(order)))
        assert merged(whole, [order[:cut], order[cut:]]) == whole.state


def merged(contributions: Contributions, groups: Sequence[Sequence[State]]) -> State:
    monoid = compile_layout(contributions.rollup.layout)
    total = monoid.identity()
    for group in groups:
        state = monoid.identity()
        for part in group:
            monoid.merge(state, part)
        monoid.merge(total, state)
    return total
