"""What it costs that events come by the collector."""

import pytest

from infra.aws.cost.collector import Collected, collector_bill
from infra.aws.cost.prices import load_prices
from streamgage.errors import ConfigError

MONTH_S = 730 * 3600
PER_S = 1e6 / MONTH_S  # a million events a month


def usd(collected: Collected) -> dict[str, float]:
    made = collector_bill(collected, PER_S, load_prices())
    assert made.usd == pytest.approx(sum(line.usd for line in made.lines))
    return {f"{line.service}: {line.what}": line.usd for line in made.lines}


def test_a_million_events_one_a_request_cost_a_million_of_everything() -> None:
    prices = load_prices()
    lines = usd(Collected(1))
    assert lines["API Gateway: requests"] == pytest.approx(prices.usd("http_api_requests"))
    assert lines["Lambda: requests"] == pytest.approx(prices.usd("lambda_requests"))
    assert lines["DynamoDB: writes"] == pytest.approx(prices.usd("dynamodb_writes"))


def test_a_hundred_in_a_request_cost_a_hundredth_but_for_the_work_on_each() -> None:
    one, many = usd(Collected(1)), usd(Collected(100))
    assert many["API Gateway: requests"] == pytest.approx(one["API Gateway: requests"] / 100)
    assert one["Lambda: duration"] / 100 < many["Lambda: duration"] < one["Lambda: duration"] / 50


def test_a_large_body_counts_as_several_requests() -> None:
    small, large = usd(Collected(1_000, bytes=100)), usd(Collected(1_000, bytes=1_000))
    assert large["API Gateway: requests"] == pytest.approx(2 * small["API Gateway: requests"])


def test_what_does_not_come_so_costs_nothing_and_what_is_no_request_is_refused() -> None:
    assert collector_bill(Collected(), PER_S, load_prices()).usd == 0
    with pytest.raises(ConfigError, match="--by-http is -1"):
        Collected(-1)
