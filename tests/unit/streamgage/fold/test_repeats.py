"""Producer duplicates: what is seen, what is forgotten, and what a child of a shard inherits."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamgage.fold.repeats import PRODUCERS, RANGES, Entry, LaneLog

from processors.aggregate.progress import SHARDS_PK, lane_key
from producers.client.identity import Identity
from streamgage.definition.pipeline import Pipeline
from streamgage.fold.items import lane_of_key
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.formats.mark import Mark, decode_mark, encode_mark
from streamgage.records import StreamRecord, UserRecord
from support import strategies
from support.fakes import InMemoryLineage, World, invoke
from support.strategies import REAL_SEQUENCE

ARRIVAL_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    "tags", [{}, {"sg": ""}, {"sg": "p"}, {"sg": ":1"}, {"sg": "p:"}, {"sg": "p:-1"}, {"sg": "p:٣"}, {"sg": "p:1e3"},
             {"sg": "p" * 65 + ":1"}, {"sg": "p:" + "9" * 16}, {"other": "p:1"}],
)  # fmt: skip
def test_a_tag_of_somebody_elses_making_is_no_mark(tags: dict[str, str]) -> None:
    assert decode_mark(tags) is None


def test_a_mark_survives_its_tag() -> None:
    assert decode_mark(encode_mark(Mark("a:b.7", 12))) == Mark("a:b.7", 12)


def test_an_identity_counts_each_group_without_gaps_and_shares_marks_with_no_other() -> None:
    identity, other = Identity(Random(1)), Identity(Random(2))
    marks = [decode_mark(identity.tags_for(group)) for group in ("s0", "s1", "s0", ("s0", "k"), "s0")]
    assert [mark.counter for mark in marks if mark] == [1, 1, 2, 1, 3]
    assert len({mark.producer for mark in marks if mark}) == 3
    assert decode_mark(other.tags_for("s0")) not in marks


COUNTERS = st.lists(st.integers(1, 60), max_size=80)


@given(counters=COUNTERS)
@settings(deadline=None)
def test_a_counter_is_seen_exactly_if_it_came_before(counters: list[int]) -> None:
    log, naive = LaneLog.empty(), set[int]()
    for number, counter in enumerate(counters):
        assert log.saw(Mark("p", counter)) == (counter in naive)
        log.append(Entry(number, ARRIVAL_MS, Mark("p", counter)))
        naive.add(counter)
        log = LaneLog.of_state(log.to_state())
    ranges = log.producers.get("p", [])
    assert {n for low, high in ranges for n in range(low, high + 1)} == naive
    assert all(before[1] + 1 < after[0] for before, after in pairwise(ranges))
    assert log.dropped == len(counters) - len(naive)


def test_beyond_the_bound_the_oldest_is_forgotten_and_counted_and_no_unseen_event_is_dropped() -> None:
    log = LaneLog.empty()
    for number in range(RANGES + 5):
        log.append(Entry(number, ARRIVAL_MS, Mark("p", 2 * number)))
    assert log.forgotten == 5
    assert not log.saw(Mark("p", 0))
    assert not any(log.saw(Mark("p", 2 * number + 1)) for number in range(RANGES + 5))
    assert log.saw(Mark("p", 2 * (RANGES + 4)))
    for number in range(PRODUCERS):
        log.append(Entry(number, ARRIVAL_MS, Mark(f"q{number}", 1)))
    assert len(log.producers) == PRODUCERS
    assert "p" not in log.producers
    assert log.forgotten == 5 + 1


@pytest.fixture
def pipeline() -> Pipeline:
    return strategies.pipeline()


def record(
    sequence: int, mark: Mark | None, event: bytes, *, shard: str = "shardId-000000000000", key: str = "d"
) -> StreamRecord:
    builder = AggregateBuilder(encode_mark(mark) if mark else None)
    builder.add(UserRecord("d", event))
    return StreamRecord(shard, REAL_SEQUENCE + sequence, key, builder.build(), ARRIVAL_MS + sequence)


def event(pipeline: Pipeline, n: int) -> bytes:
    return pipeline.sources["reading"].schema.encode(
        {"device_id": "d", "metric": "m", "ts": ARRIVAL_MS, "value": n}
    )


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
    world = World(pipeline, lane=lane_of_key)
    log = [record(0, Mark("p.1", 1), event(pipeline, 1), key="a"), record(1, Mark("p.2", 1), event(pipeline, 10), key="b"),
           record(2, Mark("p.1", 1), event(pipeline, 1), key="a")]  # fmt: skip
    assert invoke(world.sandbox(), log[1:2]) is None
    assert invoke(world.sandbox(), [log[0], log[2]]) is None
    assert counted(world) == (2, "11")
    assert not [key for key in world.store.rows if key.pk == SHARDS_PK]


def test_progress_is_never_ahead_of_what_is_durable(pipeline: Pipeline) -> None:
    world = World(pipeline)
    log = [record(n, Mark("p", n), event(pipeline, 1)) for n in range(4)]
    assert invoke(world.sandbox(), log[:2]) is None
    key = lane_key("shardId-000000000000", "shardId-000000000000")
    world.store.writes.arm({0: "lost before", 1: "lost before", 2: "lost before"})
    assert invoke(world.sandbox(), log[2:]) == REAL_SEQUENCE + 2
    assert world.store.item(key).fence == REAL_SEQUENCE + 1
    world.store.writes.arm()
    assert invoke(world.sandbox(), log[2:]) is None
    assert world.store.item(key).fence == REAL_SEQUENCE + 3


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
