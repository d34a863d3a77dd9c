"""The property that the project stands on, over generated logs and schedules."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamgage.fold.items import lane_of_key
from support.fakes import World
from support.schedules import Attack, judge, shared_out
from support.strategies import SCHEDULES, Entry, Step, logs, pipeline

LOG = logs()
OTHER_LOG = logs(shard_id="shardId-000000000001", max_size=4)
SLOW_TO_DRAW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=500, deadline=None, suppress_health_check=SLOW_TO_DRAW)
@given(log=LOG, other=st.just([]) | OTHER_LOG, steps=SCHEDULES)
def test_however_lambda_cuts_crashes_and_redelivers_each_event_counts_once(
    log: list[Entry], other: list[Entry], steps: list[Step]
) -> None:
    world = World(pipeline())
    Attack(world, [each for each in (log, other) if each]).run(steps)
    judge(world, log + other)


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW_TO_DRAW)
@given(log=LOG, steps=SCHEDULES, shares=st.sampled_from([1, 2, 9]))
def test_it_holds_with_parallel_lanes_by_partition_key(
    log: list[Entry], steps: list[Step], shares: int
) -> None:
    world = World(pipeline(), lane=lane_of_key)
    Attack(world, shared_out(log, shares)).run(steps)
    judge(world, log)


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW_TO_DRAW)
@given(log=LOG, steps=SCHEDULES)
def test_it_holds_with_concurrent_writes_and_a_memory_of_two_items(
    log: list[Entry], steps: list[Step]
) -> None:
    world = World(pipeline(), concurrency=4, cached_items=2)
    Attack(world, [log]).run(steps)
    judge(world, log)
