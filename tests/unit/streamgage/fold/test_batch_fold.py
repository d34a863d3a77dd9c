"""How much a fold takes: a bounded memory, and each thing once, whatever stands in a batch."""

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.pipeline_files import FilesIn
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import PoisonRecord
from streamgage.fold.batch import SLICE_EVENTS, BatchFold, Folded
from streamgage.fold.cells import FOREVER_S
from streamgage.fold.items import Lanes, StoredItem
from streamgage.fold.states import KeyMemory, RollupFold
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.limits import MIB
from streamgage.reading.poison import counted
from streamgage.reading.record_reader import RecordReader
from streamgage.records import StreamRecord, UserRecord
from support.examples import examples
from support.fakes import LANES, World, counting_of, invoke
from support.paths import ROOT
from support.strategies import (
    ARRIVAL_MS,
    DAY_MS,
    DEFINITION,
    MINUTE_MS,
    aggregated,
    click,
    pipeline,
    reading,
)
from support.tables import Items, apply, fold, fold_plainly, states_folded, states_of

SCHEMA = pipeline().sources["reading"].schema
CODEC = BlockCodec(SCHEMA)
SHARD = "shardId-000000000000"


def record(*datas: bytes, number: int = 0, arrival_ms: int = ARRIVAL_MS) -> StreamRecord:
    users = [UserRecord("k", data) for data in datas]
    return StreamRecord(SHARD, 10**55 + number, "p", aggregated(users), arrival_ms)


def seen(folded: Folded) -> Any:
    return states_folded(folded, pipeline()), folded.poison, folded.user_records, folded.kinesis_records


# --- slices ---

LAGS = st.sampled_from([0, 0, 0, -MINUTE_MS, -8 * DAY_MS, DAY_MS])
EVENTS = st.lists(
    st.builds(
        lambda device, lag, value: reading(device, "temp", ARRIVAL_MS + lag, value),
        st.sampled_from(["d1", "d2", "d3"]),
        LAGS,
        st.sampled_from([1.5, 0.1, 1e29, -7.25]),
    ),
    min_size=1,
    max_size=12,
)
CLICK = pipeline().sources["click"].schema.encode(click("v", "/", ARRIVAL_MS, 5))


@st.composite
def records(draw: st.DrawFn) -> list[StreamRecord]:
    """Draw records of blocks, rows, blocks that are torn, and events of another source; some of a block alone."""
    made = []
    for number in range(draw(st.integers(1, 3))):
        datas = []
        for events in draw(st.lists(EVENTS, min_size=1, max_size=4)):
            kind = draw(st.sampled_from(["block", "block", "rows", "torn", "click"]))
            if kind == "rows":
                datas += [SCHEMA.encode(each) for each in events]
            elif kind == "click":
                datas.append(CLICK)
            else:
                data = CODEC.encode(events)
                datas.append(data[:-1] if kind == "torn" else data)
        if draw(st.sampled_from([False, False, True])):
            made.append(StreamRecord(SHARD, 10**55 + number, "p", datas[0], ARRIVAL_MS))
        else:
            made.append(record(*datas, number=number))
    return made


@settings(max_examples=examples(100, whole=300), deadline=None)
@given(batch=records(), slice_events=st.integers(1, 40))
def test_a_batch_of_blocks_folds_alike_whatever_slice_of_it_is_unpacked_at_once(
    batch: list[StreamRecord], slice_events: int
) -> None:
    whole = fold(BatchFold(pipeline(), LANES), pipeline(), batch)
    sliced = fold(BatchFold(pipeline(), LANES, slice_events=slice_events), pipeline(), batch)
    assert seen(sliced) == seen(whole)


@settings(max_examples=examples(50, whole=100), deadline=None)
@given(batch=records(), slice_events=st.integers(1, 12), fence=st.integers(0, 2))
def test_what_lies_beyond_a_fence_is_unpacked_in_slices_too(
    batch: list[StreamRecord], slice_events: int, fence: int
) -> None:
    batch_fold = BatchFold(pipeline(), LANES, slice_events=slice_events)
    table: Items = {}
    apply(fold(batch_fold, pipeline(), batch[: fence + 1]).items, table)
    apply(fold(batch_fold, pipeline(), batch).items, table)
    assert states_of(table, pipeline()) == states_folded(fold_plainly(pipeline(), batch), pipeline())


def test_a_repeat_of_many_events_is_dropped_before_any_is_unpacked() -> None:
    batch_fold, events = BatchFold(pipeline(), LANES, slice_events=10), [reading("d", "m", ARRIVAL_MS, 1.0)]
    many = record(*[CODEC.encode(events * 8)] * 5)
    asked = list[int]()

    def is_repeat(each: StreamRecord, _: object) -> bool:
        asked.append(each.sequence_number)
        return True

    folded = batch_fold.fold([many], is_repeat, counting_of(pipeline()))
    assert (folded.items, folded.repeated_records, folded.user_records) == ({}, 40, 0)
    assert asked == [many.sequence_number]


def test_a_record_of_many_events_whose_framing_is_broken_counts_nothing() -> None:
    data = record(*[CODEC.encode([reading("d", "m", ARRIVAL_MS, 1.0)] * 8)] * 5).data
    torn = StreamRecord(SHARD, 10**55, "p", data[:-1] + bytes((data[-1] ^ 1,)), ARRIVAL_MS)
    folded = fold(BatchFold(pipeline(), LANES, slice_events=10), pipeline(), [torn])
    assert (folded.items, counted(folded.poison)) == ({}, {"bad_kpl_framing": 1})


# --- memory ---


def peak_bytes(batch: Sequence[StreamRecord], *, slice_events: int) -> tuple[Folded, int]:
    batch_fold = BatchFold(pipeline(), LANES, slice_events=slice_events)
    fold(batch_fold, pipeline(), [record(SCHEMA.encode(reading("d", "m", ARRIVAL_MS, 1.0)))])
    tracemalloc.start()
    try:
        return fold(batch_fold, pipeline(), batch), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


BLOCK_EVENTS = 16_384


@pytest.mark.parametrize("lag_ms", [0, -8 * DAY_MS], ids=["good", "late"])
def test_five_kilobytes_that_claim_millions_of_events_are_poison_before_they_are_unpacked(
    lag_ms: int,
) -> None:
    """They stalled a shard: each delivery worked through 6.5 million events, and no deadline was long enough."""
    small = CODEC.encode([reading("d1", "temp", ARRIVAL_MS + lag_ms, 1.5)] * 65_536)
    data = record(*[small] * 100)
    assert len(data.data) < 5_400
    folded, peak = peak_bytes([data], slice_events=SLICE_EVENTS)
    assert (folded.items, folded.user_records) == ({}, 1)
    assert [(each.data, each.sub_sequence_number, *each.codes) for each in folded.poison] == [
        (data.data, None, "undecodable")
    ]
    assert "6,553,600" in folded.poison[0].refused[0].reason
    assert peak < 32 * MIB


@pytest.mark.parametrize("slice_events", [10_000, SLICE_EVENTS])
def test_a_record_of_as_many_events_as_may_be_counts_and_of_one_more_does_not(slice_events: int) -> None:
    events = [reading("d1", "temp", ARRIVAL_MS, 1.5)]
    row, half = SCHEMA.encode(events[0]), CODEC.encode(events * 32_768)
    for blocks, poison in (([half, half], 0), ([half, half, CODEC.encode(events)], 1)):
        for rows in ([], [row] * 3):  # rows take their bytes: they are not counted
            batch = BatchFold(pipeline(), LANES, slice_events=slice_events)
            folded = fold(batch, pipeline(), [record(*rows, *blocks, *rows)])
            assert len(folded.poison) == poison
            assert folded.user_records == (1 if poison else 65_536 + 2 * len(rows))


@pytest.mark.parametrize(
    ("lag_ms", "blocks", "slice_events", "most_mib"),
    [(0, 96, SLICE_EVENTS, 64), (-8 * DAY_MS, 8, 20_000, 24)],
    ids=["good", "late"],
)
def test_small_records_that_claim_millions_of_events_in_all_take_a_bounded_memory(
    lag_ms: int, blocks: int, slice_events: int, most_mib: int
) -> None:
    """They peaked at 670 MB: a block of 47 bytes says that it holds thousands of events, a batch holds a hundred."""
    small = CODEC.encode([reading("d1", "temp", ARRIVAL_MS + lag_ms, 1.5)] * BLOCK_EVENTS)
    batch = [record(*[small] * 4, number=number) for number in range(blocks // 4)]
    assert sum(len(each.data) for each in batch) < 6_000
    folded, peak = peak_bytes(batch, slice_events=slice_events)
    assert folded.user_records == blocks * BLOCK_EVENTS
    assert counted(folded.poison).total() == (blocks * BLOCK_EVENTS if lag_ms else 0)
    assert peak < most_mib * MIB


def test_keys_are_remembered_by_their_bytes() -> None:
    """90,000 long keys held 295 MB. One bound is for all rollups: ten of them would hold ten times as much."""
    memory = KeyMemory()
    folds = [RollupFold(pipeline().rollups["device_metrics"], memory) for _ in range(10)]
    for number in range(40_000):
        folds[number % 10]._key_of((f"{number:07d}" + "x" * 2_000, "m"))
    held = sum(sum(map(len, values)) + len(key.text) for each in folds for values, key in each._keys.items())
    assert 0 < held < 34 * MIB
    with pytest.raises(PoisonRecord, match="bad_key"):
        folds[0]._key_of(("x" * 2_100, "m"))


# --- each thing once ---


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a batch was grouped, and how often a Kinesis record was read."""
    counts = Counter[str]()
    group, read, read_rows = RollupFold.group, RecordReader.read, RecordReader.read_rows

    def counted_group(self: RollupFold, *rest: Any) -> Any:
        counts["group"] += 1
        return group(self, *rest)

    def counted_read(self: RecordReader, *rest: Any, **more: Any) -> Any:
        counts["read"] += 1
        return read(self, *rest, **more)

    def counted_rows(self: RecordReader, records: Any, lanes: Any) -> Any:
        counts["read"] += len(records)
        return read_rows(self, records, lanes)

    monkeypatch.setattr(RollupFold, "group", counted_group)
    monkeypatch.setattr(RecordReader, "read_rows", counted_rows)
    monkeypatch.setattr(RecordReader, "read", counted_read)
    return counts


def test_eight_hundred_blocks_of_which_events_are_refused_are_grouped_twice_at_most(
    calls: Counter[str],
) -> None:
    """The batch was grouped again for each of them: 29 s."""
    good, long = reading("d", "m", ARRIVAL_MS, 1.0), reading("x" * 2_100, "m", ARRIVAL_MS, 1.0)
    blocks = [CODEC.encode([{**good, "value": float(n)}, long]) for n in range(800)]
    folded = fold_plainly(pipeline(), [record(*blocks)])
    assert (len(folded.poison), counted(folded.poison)) == (800, {"bad_key": 800})
    assert {state[0] for state in states_folded(folded, pipeline()).values()} == {800}
    assert calls["group"] <= 2


def test_a_record_of_which_every_event_is_refused_is_looked_through_once_for_the_quarantine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not once a slice: of 80 blocks of 65,536 late events that would be thousands of decoded blocks."""
    found, counts = RecordReader._find_held, Counter[str]()

    def counted_held(self: RecordReader, *rest: Any) -> Any:
        counts["looked through"] += 1
        return found(self, *rest)

    monkeypatch.setattr(RecordReader, "_find_held", counted_held)
    late = CODEC.encode([reading("d", "m", ARRIVAL_MS - 8 * DAY_MS, 1.0)] * 8)
    batch_fold = BatchFold(pipeline(), LANES, slice_events=10)
    folded = fold(batch_fold, pipeline(), [record(*[late] * 40)])
    assert counted(folded.poison) == {"late": 320}
    assert counts == {"looked through": 1}


def test_items_that_were_left_behind_at_several_fences_by_turns_are_folded_again_once_a_fence(
    calls: Counter[str],
) -> None:
    """As after two batches of which a part failed: what is beyond each fence is the same for all its items."""
    batch = [
        record(
            *(
                SCHEMA.encode(reading("d", "m", ARRIVAL_MS - minute * 2 * MINUTE_MS, 1.0))
                for minute in range(40)
            ),
            number=number,
        )
        for number in range(6)
    ]
    batch_fold = BatchFold(pipeline(), LANES)
    table: Items = {}
    for stop in (2, 3, 4):
        before = fold(batch_fold, pipeline(), batch[:stop]).items
        apply({key: each for at, (key, each) in enumerate(before.items()) if at % 3 == stop - 2}, table)
    whole = fold(batch_fold, pipeline(), batch)
    calls.clear()
    apply(whole.items, table)
    assert calls["read"] == 4 + 3 + 2
    assert states_of(table, pipeline()) == states_folded(fold_plainly(pipeline(), batch), pipeline())


def test_a_batch_that_was_applied_before_is_not_folded_again(calls: Counter[str]) -> None:
    batch = [record(SCHEMA.encode(reading(f"d{n}", "m", ARRIVAL_MS, 1.0)), number=n) for n in range(3)]
    batch_fold = BatchFold(pipeline(), LANES)
    table: Items = {}
    apply(fold(batch_fold, pipeline(), batch).items, table)
    before, again = dict(table), fold(batch_fold, pipeline(), batch[:2])
    calls.clear()
    apply(again.items, table)
    assert (table, calls["read"]) == (before, 0)


def test_of_many_lanes_each_is_folded_again_by_itself(calls: Counter[str]) -> None:
    """As after a batch that failed, where each partition key is a lane: 400 fences took 37 s, of 800 records."""
    lanes = Lanes("telemetry", by_key=True)

    def of_lane(number: int) -> StreamRecord:
        data = SCHEMA.encode(reading(f"d{number % 50}", "m", ARRIVAL_MS, 1.0))
        return StreamRecord(SHARD, 10**55 + number, f"p{number % 50}", data, ARRIVAL_MS)

    batch = [of_lane(number) for number in range(150)]
    batch_fold = BatchFold(pipeline(), lanes)
    table: Items = {}
    apply(fold(batch_fold, pipeline(), batch[:50]).items, table)
    whole = fold(batch_fold, pipeline(), batch)
    calls.clear()
    apply(whole.items, table)
    assert calls["read"] == 100, "each record beyond its lane's fence, once"
    assert states_of(table, pipeline()) == states_folded(
        fold(BatchFold(pipeline(), lanes), pipeline(), batch), pipeline()
    )


# --- when items expire ---


def expiries(text: str, retention_ms: int) -> set[tuple[str, int, int]]:
    """Return window size, start and expiry (s) of the items of two batches, an hour apart, of the same events."""
    definition = parse_pipeline(text, FilesIn(ROOT))
    found = set()
    for arrival_ms in (ARRIVAL_MS, ARRIVAL_MS + 60 * MINUTE_MS):
        counting = counting_of(definition, retention_ms=retention_ms)
        data = record(SCHEMA.encode(reading("d", "m", ARRIVAL_MS, 1.0)), arrival_ms=arrival_ms)
        folded = BatchFold(definition, LANES).fold([data], lambda *_: False, counting)
        for key, contribution in folded.items.items():
            item = contribution.joined(None).item
            assert isinstance(item, StoredItem)
            found.add((key.pk.split("|")[1], int(key.sk[:15]), item.expires_s))
    return found


def test_all_items_of_a_window_expire_at_its_end_and_keep_and_what_the_stream_may_still_hold() -> None:
    sizes = {"1m": MINUTE_MS, "90s": 90_000, "1h": 60 * MINUTE_MS}
    found = expiries(DEFINITION, retention_ms=2 * DAY_MS)
    assert found == {
        (label, start, (start + sizes[label] + 90 * DAY_MS + 2 * DAY_MS) // 1000) for label, start, _ in found
    }
    assert len(found) == 3


def test_without_keep_an_item_expires_at_the_end_of_the_year_9999() -> None:
    assert {each[2] for each in expiries(DEFINITION.replace('keep = "90d"\n', ""), 0)} == {FOREVER_S}


def test_a_function_of_tiny_slices_counts_what_one_of_large_ones_does() -> None:
    events = [reading(f"d{n % 5}", "m", ARRIVAL_MS + n, float(n)) for n in range(60)]
    answers = []
    for slice_events in (1, 10_000):
        world = World(pipeline(), slice_events=slice_events)
        assert invoke(world.sandbox(), [record(CODEC.encode(events[:40]), CODEC.encode(events[40:]))]) is None
        answers.append(sorted(world.ask("device_metrics", None, "1h"), key=lambda row: row.key))
    assert answers[0] == answers[1]
    assert sum(row.events for row in answers[0]) == 60
