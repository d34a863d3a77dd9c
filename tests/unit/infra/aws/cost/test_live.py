"""What live updates cost."""

from dataclasses import replace

import pytest

from infra.aws.cost.chunks import REFERENCE_BYTES
from infra.aws.cost.flow import Flow
from infra.aws.cost.live import PARTITIONS, live_bill, told_per_s
from infra.aws.cost.load import Load, Questions, RollupLoad
from infra.aws.cost.plan import make_plan
from infra.aws.cost.prices import load_prices

MONTH_S = 730 * 3600


@pytest.fixture(scope="module")
def flow() -> Flow:
    rollup = RollupLoad(name="r", keys=100, windows_ms=(60_000,), bytes=REFERENCE_BYTES, keep_s=86_400)
    return make_plan(Load(events_per_s=1_000, devices=100, rollups=(rollup,)), load_prices()).flow


def usd(questions: Questions, flow: Flow) -> dict[str, float]:
    return {
        f"{line.service}: {line.what}": line.usd for line in live_bill(questions, flow, load_prices()).lines
    }


def test_a_listener_costs_his_minutes_and_his_messages(flow: Flow) -> None:
    slow = replace(flow, invocations_per_s=0.1, write_units_per_s=50.0)
    lines = usd(Questions(listeners=10), slow)
    assert lines["API Gateway: connections"] == pytest.approx(10 * MONTH_S / 60 / 1e6 * 0.25)
    assert lines["API Gateway: messages"] == pytest.approx(10 * PARTITIONS * 0.1 * MONTH_S / 1e6)


def test_news_is_told_once_a_second_of_each_shard_at_most(flow: Flow) -> None:
    assert told_per_s(replace(flow, invocations_per_s=50.0, write_units_per_s=50.0)) == PARTITIONS
    assert told_per_s(replace(flow, invocations_per_s=50.0, write_units_per_s=9_500.0)) == 10


def test_who_is_told_again_and_again_is_waited_for_and_where_nobody_listens_nobody_waits(flow: Flow) -> None:
    busy = replace(flow, invocations_per_s=50.0, write_units_per_s=50.0)
    gb_s = PARTITIONS * MONTH_S * 0.25
    price = load_prices().usd("lambda_gb_s")
    assert usd(Questions(listeners=1), busy)["Lambda: duration"] == pytest.approx(gb_s * price)
    assert told_per_s(busy, listens=False) == 4 * PARTITIONS
    assert usd(Questions(), busy)["Lambda: duration"] == pytest.approx(4 * gb_s * 0.030 * price)


def test_where_nobody_listens_only_the_function_that_would_tell_costs(flow: Flow) -> None:
    lines = usd(Questions(), flow)
    assert {name for name, each in lines.items() if each} == {
        "Lambda: duration", "Lambda: requests", "DynamoDB: reads", "CloudWatch: logs",
    }  # fmt: skip
