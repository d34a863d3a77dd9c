"""What a sink remembers, and when it had better forget: a write on top of a stale item costs one that fails."""

from processors.aggregate.progress import lane_key
from processors.sink.fenced import AggregateSink, Applied
from streamgage.definition.pipeline import Rollup
from streamgage.fold.items import ItemKey, window_prefix
from streamgage.measures.monoids import FieldLayout, StateLayout
from streamgage.measures.windows import TumblingWindows
from support.fakes import PLENTY, PLENTY_MS, InMemoryItemStore, RemainingTime, contributions_of, sink_over

LANE, OTHER = "shardId-000000000000", "shardId-000000000001"
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
    progress, item = lane_key(lane, lane), ItemKey("device_metrics.1|1m|d", f"{window_prefix(0)}|{lane}")
    sink.refresh([progress], deadline=PLENTY)
    applied = sink.apply(
        {item: contributions_of(ROLLUP, [(number, (1,))])}, remaining_ms=RemainingTime(PLENTY_MS)
    )
    sink.apply({progress: contributions_of(ROLLUP, [(number, (1,))])}, remaining_ms=RemainingTime(PLENTY_MS))
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
