"""Clients and collectors of a world: what may count, what the table of keys keeps, and that the account is one."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pytest

from processors.awsjson.client import ServiceError
from simulation.collected import _lives
from simulation.collector import HOUR_MS
from simulation.collector_function import KeyTable
from simulation.plan import FAULTS, Dice, Plan, draw_plan
from simulation.schedule import Scheduler, SimulationError
from simulation.trace import Trace
from simulation.world import World


def calm(collects: Literal["server", "function"]) -> Plan:
    return replace(draw_plan(1), rates=dict.fromkeys(FAULTS, 0.0), collects=collects, batches=9)


@pytest.mark.parametrize(
    ("hours", "lives"), [((), 0), ((0, 1, 47), 1), ((0, 49), 2), ((0, 47, 49, 96, 98), 3), ((0, 500), 2)]
)
def test_a_key_may_be_taken_again_whenever_two_days_have_passed_since_it_was(
    hours: Sequence[int], lives: int
) -> None:
    assert _lives([each * HOUR_MS for each in hours]) == lives


@pytest.mark.parametrize("collects", ["server", "function"])
def test_in_a_calm_world_each_batch_is_answered_once_and_counts_once(
    collects: Literal["server", "function"],
) -> None:
    world = World(calm(collects))
    world.run()
    assert world.traffic.clients is not None
    posted = world.traffic.clients.posted
    assert [(each.first, each.repeated, each.refused, each.unknown) for each in posted] == [(1, 0, 0, 0)] * 9


@pytest.mark.parametrize("collects", ["server", "function"])
def test_an_answer_that_the_log_does_not_bear_out_is_told(collects: Literal["server", "function"]) -> None:
    world = World(calm(collects))
    world.run()
    assert world.traffic.clients is not None
    each = world.traffic.clients.posted[3]
    each.first += 1
    with pytest.raises(SimulationError, match="counts 1 times, not 2"):
        world.traffic.clients.judge(world.tally)
    each.first = 0
    with pytest.raises(SimulationError, match="counts 1 times, not 0 to 0"):
        world.traffic.clients.judge(world.tally)


def test_the_table_of_keys_keeps_the_first_until_its_time_and_says_what_stands_there() -> None:
    trace = Trace()
    scheduler = Scheduler(start_ms=0, rng=random.Random(1), trace=trace)
    table = KeyTable(scheduler, Dice(calm("function"), trace), Counter(), lambda: None)

    def put(content: str) -> None:
        item = {"id": {"S": "k"}, "content": {"S": content}, "expires": {"N": "3600"}}
        table("PutItem", json.dumps({"Item": item, "ConditionExpression": "attribute_not_exists(id)"}))

    put("first")
    with pytest.raises(ServiceError) as refused:
        put("second")
    assert refused.value.error == "ConditionalCheckFailedException"
    assert refused.value.answer["Item"]["content"] == {"S": "first"}
    scheduler.now_ms = 3 * HOUR_MS
    put("third")
