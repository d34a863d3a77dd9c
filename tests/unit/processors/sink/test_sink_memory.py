"""What a sink remembers, and when it had better forget: a write on top of a stale item costs one that fails."""

from processors.sink.fenced import AggregateSink, Applied
from streamgage.definition.pipeline import Rollup
from streamgage.fold.items import ItemKey, progress_pk, sort_key
from streamgage.measures.layout import FieldLayout, StateLayout
from streamgage.measures.windows import TumblingWindows
from support.fakes import PLENTY, InMemoryItemStore, contribution_of, sink_over

LANE, OTHER = "telemetry/shardId-000000000000", "telemetry/shardId-000000000001"
ROLLUP = Rollup(
    name="device_metrics",
    source="reading",
    key=("device_id",),
    windows=(TumblingWindows(60_000),),
    keep_ms=1000,
    generation=1,
    measures={"value": ("count", "sum")},
    layout=StateLayout((FieldLayout.of("value", 9, ("count", "sum")),)),
)


def batch(sink: AggregateSink, number: int, *, lane: str = LANE) -> Applied:
    """Apply the lane's *number*-th batch as the function does: its progress is read first, and written last."""
    progress = ItemKey(progress_pk("main"), lane)
    item = ItemKey("device_metrics.1|1m|0", sort_key(0, lane))
    sink.refresh([progress], deadline=PLENTY)
    applied = sink.apply({item: contribution_of(ROLLUP, [(number, (1,))])}, deadline=PLENTY)
    sink.apply({progress: contribution_of(ROLLUP, [(number, (1,))])}, deadline=PLENTY)
    return applied


def test_two_sandboxes_that_take_turns_meet_no_moved_fence() -> None:
    store = InMemoryItemStore()
    sandboxes = [sink_over(store), sink_over(store)]
    turns = [batch(sandboxes[number % 2], number) for number in range(1, 9)]
    assert [each.conflicts for each in turns] == [0] * 8
    assert [each.reads for each in turns] == [1] * 8


def test_a_sandbox_that_has_a_lane_to_itself_reads_its_items_once() -> None:
    sink = sink_over(InMemoryItemStore())
    assert [batch(sink, number).reads for number in range(1, 5)] == [1, 0, 0, 0]


def test_what_happens_in_one_lane_is_no_reason_to_forget_another() -> None:
    store = InMemoryItemStore()
    mine, foreign = sink_over(store), sink_over(store)
    batch(mine, 1)
    batch(mine, 1, lane=OTHER)
    batch(foreign, 2)
    assert batch(mine, 2, lane=OTHER).reads == 0
    assert batch(mine, 3).reads == 1


def test_what_a_sink_remembers_takes_no_more_bytes_than_it_may_and_the_latest_stay() -> None:
    """90,000 long keys held 295 MB: the bound is in bytes, not in items."""
    sink = sink_over(InMemoryItemStore(), cached_bytes=100_000)
    keys = [ItemKey("device_metrics.1|1m|0", sort_key(number, "x" * 700)) for number in range(300)]
    one = {"x" * size: contribution_of(ROLLUP, [(1, (1,))], key="k" * size) for size in (1, 2_000)}
    sink.apply({key: one["x" * (1 if at % 2 else 2_000)] for at, key in enumerate(keys)}, deadline=PLENTY)
    held = sum(
        len(key.pk) + len(key.sk) + (len(item.body) if item else 0) for key, item in sink._known.items()
    )
    assert 50_000 < held + 700 * len(sink._known) == sink._known_bytes <= 100_000
    assert list(sink._known) == keys[-len(sink._known) :]


def test_to_look_for_an_item_that_is_not_there_costs_its_place_in_the_memory_too() -> None:
    sink = sink_over(InMemoryItemStore(), cached_bytes=10_000)
    sink.refresh([ItemKey("~progress|main", f"telemetry/{number}") for number in range(50)], deadline=PLENTY)
    assert sink._known_bytes == sum(700 + len(key.pk) + len(key.sk) for key in sink._known)
    sink.apply({ItemKey("a", "b"): contribution_of(ROLLUP, [(1, (1,))])}, deadline=PLENTY)
    assert sink._known_bytes <= 10_000
