"""Progress of lanes through the function: repeats, what is durable before it, what a child inherits, where it began."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from processors.aggregate.progress import ProgressReader, Reader
from processors.deadline import Deadline
from streamgage.definition.fingerprint import reader_counts
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError
from streamgage.fold.items import ItemKey, Lanes, progress_pk
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.formats.mark import Mark, encode_mark
from streamgage.records import StreamRecord, UserRecord
from support import strategies
from support.fakes import (
    KEY_LANES,
    LANES,
    PLENTY,
    STREAM_ARN,
    InMemoryItemStore,
    InMemoryLineage,
    World,
    invoke,
    sink_over,
)
from support.read_body import read_progress
from support.strategies import REAL_SEQUENCE

ARRIVAL_MS = 1_700_000_000_000
SHARD = "shardId-000000000000"
PROGRESS = ItemKey(progress_pk("main"), f"telemetry/{SHARD}")


@pytest.fixture
def pipeline() -> Pipeline:
    return strategies.pipeline()


def record(
    sequence: int, mark: Mark | None, event: bytes, *, shard: str = SHARD, key: str = "d"
) -> StreamRecord:
    builder = AggregateBuilder(encode_mark(mark) if mark else None)
    builder.add(UserRecord("d", event))
    return StreamRecord(shard, REAL_SEQUENCE + sequence, key, builder.build(), ARRIVAL_MS + sequence)


def event(pipeline: Pipeline, n: int, *, ts: int = ARRIVAL_MS) -> bytes:
    return pipeline.sources["reading"].schema.encode({"device_id": "d", "metric": "m", "ts": ts, "value": n})


def counted(world: World) -> tuple[int, str]:
    (row,) = world.ask("device_metrics", {"device_id": "d", "metric": "m"}, "1h")
    return row.events, f"{row.values['value']['sum']:.0f}"


def test_a_record_that_was_stored_twice_counts_once_however_the_batch_is_cut(pipeline: Pipeline) -> None:
    log = [record(0, Mark("p", 1), event(pipeline, 1)), record(1, Mark("p", 2), event(pipeline, 10)),
           record(2, Mark("p", 1), event(pipeline, 1)), record(3, Mark("p", 3), event(pipeline, 100))]  # fmt: skip
    for cuts in ([log], [log[:1], log[1:3], log[3:]], [log[:3], log[2:], log], [log[:2], log[:4], log[2:3]]):
        world = World(pipeline)
        for batch in cuts:
            assert invoke(world.sandbox(), batch) is None
        assert counted(world) == (3, "111")


def test_a_redelivered_original_is_no_repeat_of_itself(pipeline: Pipeline) -> None:
    world = World(pipeline)
    batch = [record(0, Mark("p", 1), event(pipeline, 1))]
    world.store.writes.arm({0: "lost before"})  # the aggregate is not written, so the batch fails
    assert invoke(world.sandbox(), batch) == REAL_SEQUENCE
    world.store.writes.arm()
    assert invoke(world.sandbox(), batch) is None
    assert counted(world) == (1, "1")


def test_a_repeat_is_still_one_where_part_of_its_batch_is_folded_again(pipeline: Pipeline) -> None:
    """What lies beyond a fence is read again from the records: each verdict stays what it was."""
    log = [record(n, Mark("p", n % 3), event(pipeline, 10**n)) for n in range(5)]
    world = World(pipeline)
    assert invoke(world.sandbox(), log[:2]) is None
    del world.store.rows[PROGRESS]  # so the fences alone know that two records were applied
    assert invoke(world.sandbox(), log) is None
    assert counted(world) == (3, "111")


@pytest.mark.parametrize("parents", [("old",), ("left", "right")])
def test_a_retry_that_comes_to_a_child_of_the_shard_is_still_a_repeat(
    pipeline: Pipeline, parents: Sequence[str]
) -> None:
    world = World(pipeline, lineage=InMemoryLineage({"child": ["idle"], "idle": parents}))
    for number, parent in enumerate(parents):
        assert (
            invoke(world.sandbox(), [record(number, Mark("p", number), event(pipeline, 1), shard=parent)])
            is None
        )
    again = [record(10 + n, Mark("p", n), event(pipeline, 1), shard="child") for n in range(len(parents) + 1)]
    for batch in (again[:1], again[1:], again):
        assert invoke(world.sandbox(), batch) is None
    assert counted(world)[0] == len(parents) + 1


def test_with_lanes_by_key_each_key_has_progress_of_its_own(pipeline: Pipeline) -> None:
    world = World(pipeline, lanes=KEY_LANES)
    log = [record(0, Mark("p.1", 1), event(pipeline, 1), key="a"), record(1, Mark("p.2", 1), event(pipeline, 10), key="b"),
           record(2, Mark("p.1", 1), event(pipeline, 1), key="a")]  # fmt: skip
    assert invoke(world.sandbox(), log[1:2]) is None
    assert invoke(world.sandbox(), [log[0], log[2]]) is None
    assert counted(world) == (2, "11")
    progress = {key for key in world.store.rows if key.pk.startswith("~")}
    assert progress == {
        ItemKey(f"~progress|main|telemetry/{SHARD}", f"telemetry/{SHARD}|{key}") for key in "ab"
    }


def test_progress_is_never_ahead_of_what_is_durable(pipeline: Pipeline) -> None:
    world = World(pipeline)
    log = [record(n, Mark("p", n), event(pipeline, 1)) for n in range(4)]
    assert invoke(world.sandbox(), log[:2]) is None
    world.store.writes.arm({0: "lost before", 1: "lost before", 2: "lost before"})
    assert invoke(world.sandbox(), log[2:]) == REAL_SEQUENCE + 2
    assert world.store.item(PROGRESS).fence == REAL_SEQUENCE + 1
    world.store.writes.arm()
    assert invoke(world.sandbox(), log[2:]) is None
    assert world.store.item(PROGRESS).fence == REAL_SEQUENCE + 3


def test_progress_that_cannot_be_read_fails_the_batch_before_anything_is_judged(pipeline: Pipeline) -> None:
    world = World(pipeline)
    world.store.reads.arm({0: "lost before"})
    assert invoke(world.sandbox(), [record(0, Mark("p", 1), event(pipeline, 1))]) == REAL_SEQUENCE
    assert not world.store.rows


def test_progress_that_cannot_be_written_fails_the_batch(pipeline: Pipeline) -> None:
    world = World(pipeline)
    windows = len(pipeline.rollups["device_metrics"].windows)
    world.store.writes.arm({windows: "lost before"})
    batch = [record(0, Mark("p", 1), event(pipeline, 1))]
    assert invoke(world.sandbox(), batch) == REAL_SEQUENCE
    assert invoke(world.sandbox(), batch) is None
    assert counted(world) == (1, "1")


# --- whose progress it is ---


def reader(*, consumer: str = "main", arn: str = STREAM_ARN, lanes: Lanes = LANES) -> Reader:
    return Reader(consumer, lanes, reader_counts(consumer, arn))


def opened(store: InMemoryItemStore, who: Reader, records: Sequence[StreamRecord]) -> None:
    ProgressReader(sink_over(store), InMemoryLineage(), who).open(records, deadline=PLENTY)


def test_the_progress_of_another_stream_of_the_same_name_is_refused_and_says_the_mend(
    pipeline: Pipeline,
) -> None:
    """A stream that was deleted and made anew counts from lower sequence numbers: all would look redelivered."""
    world = World(pipeline)
    batch = [record(0, None, event(pipeline, 1))]
    assert invoke(world.sandbox(), batch) is None
    opened(world.store, reader(), batch)
    elsewhere = reader(arn=STREAM_ARN.replace("eu-central-1", "eu-west-1"))
    with pytest.raises(
        ConfigError, match=r"stream 'telemetry' was written for another stream.*next generation"
    ):
        opened(world.store, elsewhere, batch)


def test_a_damaged_progress_item_is_refused_and_names_its_consumer(pipeline: Pipeline) -> None:
    world = World(pipeline)
    batch = [record(0, None, event(pipeline, 1))]
    invoke(world.sandbox(), batch)
    fence, counts, body, expires_s = world.store.rows[PROGRESS]
    world.store.rows[PROGRESS] = (fence, counts, body[:-1], expires_s)
    with pytest.raises(ConfigError, match="progress item of consumer 'main' is damaged"):
        invoke(world.sandbox(), batch)


def test_two_consumers_of_a_stream_each_have_progress_of_their_own(pipeline: Pipeline) -> None:
    rollups = {
        name: replace(each, consumer="web" if each.source == "click" else "main")
        for name, each in pipeline.rollups.items()
    }
    world = World(replace(pipeline, rollups=rollups))
    web = World(world.pipeline, consumer="web", store=world.store)
    batch = [record(0, Mark("p", 1), event(pipeline, 1))]
    for each in (world, web, web, world):
        assert invoke(each.sandbox(), batch) is None
    assert counted(world) == (1, "1")
    assert {key for key in world.store.rows if key.pk.startswith("~")} == {
        ItemKey(progress_pk(consumer), f"telemetry/{SHARD}") for consumer in ("main", "web")
    }


# --- many lanes at once ---


class Counting(InMemoryLineage):
    """Counts what it is asked."""

    asked = 0

    def is_read_from_its_first_record(self, *, deadline: Deadline) -> bool:
        self.asked += 1
        return super().is_read_from_its_first_record(deadline=deadline)


def test_the_ancestors_of_many_lanes_are_looked_up_in_one_read_a_generation(pipeline: Pipeline) -> None:
    """With two thousand lanes of a split shard they were 2,080 reads, one after the other."""
    parents = {"child": ["dry"], "dry": ["left", "right"], "left": ["old"], "right": ["old"]}
    lineage = Counting(parents)
    world = World(pipeline, lanes=KEY_LANES, lineage=lineage)
    keys = [f"k{number}" for number in range(300)]
    marked = [record(n, Mark(key, 1), event(pipeline, 1), key=key, shard="old") for n, key in enumerate(keys)]
    assert invoke(world.sandbox(), marked) is None
    world.store.reads.arm()
    again = [
        record(1_000 + n, Mark(key, 1), event(pipeline, 1), key=key, shard="child")
        for n, key in enumerate([*keys, "new"])
    ]
    assert invoke(world.sandbox(), again) is None
    generations = 1 + 1 + 1 + 1  # child; dry; left and right; old
    assert world.store.reads.calls <= generations + 1, "and the items of the one event that is new"
    assert counted(world)[0] == 301


def test_where_a_stream_began_is_asked_once_a_sandbox_however_many_lanes_are_new(pipeline: Pipeline) -> None:
    lineage = Counting()
    world = World(pipeline, lanes=KEY_LANES, lineage=lineage)
    sandbox = world.sandbox()
    for start in (0, 50):
        keys = [f"k{number}" for number in range(start, start + 50)]
        assert (
            invoke(sandbox, [record(start + n, None, event(pipeline, 1), key=k) for n, k in enumerate(keys)])
            is None
        )
    assert lineage.asked == 1


# --- from where on it was counted ---

HOUR_MS = 3_600_000


def partial(world: World) -> dict[int, bool]:
    """Return by start whether the windows of an hour say that they were counted in part."""
    rows = world.ask("device_metrics", {"device_id": "d", "metric": "m"}, "1h")
    return {row.window.start_ms: row.partial for row in rows}


def test_a_stream_that_is_read_from_its_first_record_on_has_whole_windows(pipeline: Pipeline) -> None:
    world = World(pipeline)
    assert invoke(world.sandbox(), [record(0, None, event(pipeline, 1))]) is None
    assert read_progress(world.store.item(PROGRESS).body)[:2] == (ARRIVAL_MS, 0)
    assert set(partial(world).values()) == {False}


def test_windows_that_began_before_the_consumer_did_are_partial_and_later_ones_are_whole(
    pipeline: Pipeline,
) -> None:
    world = World(pipeline)
    world.lineage.from_first = False
    hour_ms = ARRIVAL_MS // HOUR_MS * HOUR_MS
    assert invoke(world.sandbox(), [record(0, None, event(pipeline, 1))]) is None
    later = replace(
        record(1, None, event(pipeline, 1, ts=hour_ms + HOUR_MS)), arrival_ms=hour_ms + HOUR_MS + 1
    )
    world.lineage.from_first = True  # it is asked where a lane begins only
    assert invoke(world.sandbox(), [later]) is None
    assert read_progress(world.store.item(PROGRESS).body)[1] == ARRIVAL_MS
    assert partial(world) == {hour_ms: True, hour_ms + HOUR_MS: False}


def test_a_window_is_partial_too_that_began_within_max_future_after_the_consumer_did(
    pipeline: Pipeline,
) -> None:
    """A clock that is ahead of its event's arrival: what arrived before the consumer began belongs to a later window."""
    future_ms = pipeline.sources["reading"].max_future_ms
    assert future_ms is not None
    hour_ms = ARRIVAL_MS // HOUR_MS * HOUR_MS + HOUR_MS
    for ahead_ms, is_partial in ((future_ms - 1, True), (future_ms, False)):
        world = World(pipeline)
        world.lineage.from_first = False
        first = replace(record(0, None, event(pipeline, 1, ts=hour_ms)), arrival_ms=hour_ms - ahead_ms)
        assert invoke(world.sandbox(), [first]) is None
        assert partial(world) == {hour_ms: is_partial}


@pytest.mark.parametrize("from_first", [True, False])
def test_a_child_of_a_shard_began_where_its_parents_did(pipeline: Pipeline, from_first: bool) -> None:  # noqa: FBT001 - of two
    world = World(pipeline, lineage=InMemoryLineage({"child": ["left", "right"]}))
    world.lineage.from_first = from_first
    invoke(world.sandbox(), [record(0, None, event(pipeline, 1), shard="left")])
    invoke(world.sandbox(), [record(5, None, event(pipeline, 1), shard="right")])
    world.lineage.from_first = not from_first
    invoke(world.sandbox(), [record(9, None, event(pipeline, 1), shard="child")])
    body = world.store.item(ItemKey(progress_pk("main"), "telemetry/child")).body
    assert read_progress(body)[1] == (0 if from_first else ARRIVAL_MS + 5)
