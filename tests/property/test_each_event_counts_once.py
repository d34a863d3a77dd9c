"""The property that the project stands on, over generated logs and schedules."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.examples import examples
from support.fakes import KEY_LANES, World
from support.schedules import Attack, judge, shared_out
from support.strategies import SCHEDULES, Entry, Step, logs, pipeline
from support.watched import WatchedStore

LOG = logs()
OTHER_LOG = logs(shard_id="shardId-000000000001", max_size=4)
SLOW_TO_DRAW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def watched(**more: Any) -> World:
    """Return a world whose table looks at each write, too."""
    return World(pipeline(), store=WatchedStore(pipeline()), **more)


@settings(max_examples=examples(300, whole=1_000), deadline=None, suppress_health_check=SLOW_TO_DRAW)
@given(log=LOG, other=st.just([]) | OTHER_LOG, steps=SCHEDULES)
def test_however_lambda_cuts_crashes_and_redelivers_each_event_counts_once(
    log: list[Entry], other: list[Entry], steps: list[Step]
) -> None:
    world = watched()
    Attack(world, [each for each in (log, other) if each]).run(steps)
    judge(world, log + other)


@settings(max_examples=examples(100, whole=200), deadline=None, suppress_health_check=SLOW_TO_DRAW)
@given(log=LOG, steps=SCHEDULES, shares=st.sampled_from([1, 2, 9]))
def test_it_holds_with_parallel_lanes_by_partition_key(
    log: list[Entry], steps: list[Step], shares: int
) -> None:
    world = watched(lanes=KEY_LANES)
    Attack(world, shared_out(log, shares)).run(steps)
    judge(world, log)


@settings(max_examples=examples(40, whole=100), deadline=None, suppress_health_check=SLOW_TO_DRAW)
@given(log=LOG, steps=SCHEDULES)
def test_it_holds_with_concurrent_writes_and_a_memory_of_two_items(
    log: list[Entry], steps: list[Step]
) -> None:
    world = watched(concurrency=4, cached_bytes=2_000)
    Attack(world, [log]).run(steps)
    judge(world, log)


@settings(max_examples=examples(200, whole=400), deadline=None, suppress_health_check=SLOW_TO_DRAW)
@given(
    log=logs(more_keys=True),
    steps=SCHEDULES,
    room_bytes=st.sampled_from([1, 60, 120]),
    slices=st.sampled_from([1, 3, 1_000]),
)
def test_it_holds_where_keys_have_no_room_in_the_first_item_whatever_slice_is_unpacked(
    log: list[Entry], steps: list[Step], room_bytes: int, slices: int
) -> None:
    world = watched(room_bytes=room_bytes, slice_events=slices)
    Attack(world, [log]).run(steps)
    judge(world, log)
