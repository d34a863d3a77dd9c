"""The price table and the bill."""

from dataclasses import replace
from pathlib import Path

import pytest

from infra.aws.cost.model import GB, HOURS_A_MONTH, Bill, Usage, bill, on_demand_bytes, put_units
from infra.aws.cost.prices import NAMES, TABLE, load_prices
from streamgage.errors import ConfigError

NOTHING = Usage(hours=HOURS_A_MONTH, events=1_000_000)


def test_the_table_names_a_source_for_every_price() -> None:
    table = load_prices()
    assert (table.region, table.checked) == ("us-east-1", "2026-11-21")
    assert set(table.prices) == set(NAMES)
    assert all(price.source and price.unit for price in table.prices.values())


def test_every_problem_of_a_table_is_told_at_once(tmp_path: Path) -> None:
    text = TABLE.read_text(encoding="utf-8")
    path = tmp_path / "prices.toml"
    text = text.replace("usd = 0.625", "usd = -1").replace("[lambda_gb_s]", "[lambda_gbs]")
    path.write_text(text.replace("confirmed = true", 'confirmed = "yes"', 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_prices(path)
    told = "\n".join(caught.value.problems)
    assert "dynamodb_writes: usd is -1" in told
    assert "no price of lambda_gb_s" in told
    assert "lambda_gbs is no price" in told
    assert "kinesis_shard_hour: confirmed" in told


@pytest.mark.parametrize("content", [b"\xff", b"region = ", None])
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "prices.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"prices\.toml"):
        load_prices(path)


@pytest.mark.parametrize(
    ("name", "quantity", "line", "usd"),
    [
        ("shards", 2, "shards", 2 * 730 * 0.015),
        ("put_units", 3e6, "PUT payload units", 3 * 0.014),
        ("lambda_gb_s", 1e6, "duration", 13.3334),
        ("lambda_requests", 5e6, "requests", 1.0),
        ("write_units", 2e6, "writes", 1.25),
        ("read_units", 8e6, "reads", 1.0),
        ("stored_bytes", 4 * GB, "storage", 1.0),
        ("stored_bytes", 4 * GB, "point-in-time recovery", 0.8),
        ("log_bytes", 2 * GB, "logs", 1.0),
        ("metrics", 7, "metrics", 2.1),
    ],
)
def test_each_usage_has_its_line(name: str, quantity: float, line: str, usd: float) -> None:
    made = bill(replace(NOTHING, **{name: quantity}), load_prices(), mode="provisioned")
    assert sum(each.usd for each in made.lines if each.what == line) == pytest.approx(usd)


def usd_of(made: Bill, service: str) -> float:
    return sum(line.usd for line in made.lines if line.service == service)


def test_a_bill_is_the_sum_of_its_lines() -> None:
    used = replace(NOTHING, shards=2, put_units=1e6, write_units=4e6, sqs_requests=1e6, events=2e6)
    made = bill(used, load_prices(), mode="provisioned")
    assert made.usd == pytest.approx(2 * 730 * 0.015 + 0.014 + 4 * 0.625 + 0.4)
    assert made.usd_per_million_events == pytest.approx(made.usd / 2)
    assert usd_of(made, "DynamoDB") == pytest.approx(2.5)


def test_an_on_demand_stream_bills_bytes_and_no_shards() -> None:
    used = replace(NOTHING, shards=100, put_units=1e9, on_demand_in_bytes=10 * GB, on_demand_out_bytes=5 * GB)
    made = bill(used, load_prices(), mode="on-demand")
    assert usd_of(made, "Kinesis") == pytest.approx(730 * 0.04 + 10 * 0.08 + 5 * 0.04)


def test_storage_is_billed_by_the_time_it_stands() -> None:
    day = replace(NOTHING, hours=24, stored_bytes=365 * GB)
    assert usd_of(bill(day, load_prices(), mode="provisioned"), "DynamoDB") == pytest.approx(
        365 / 730 * 24 * 0.45
    )


@pytest.mark.parametrize(("record_bytes", "units"), [(1, 1), (25_600, 1), (25_601, 2), (50_000, 2)])
def test_put_units_round_up_a_record(record_bytes: int, units: int) -> None:
    assert put_units(record_bytes) == units


@pytest.mark.parametrize(("record_bytes", "billed"), [(1, 1024), (1024, 1024), (4608, 5120)])
def test_on_demand_rounds_a_record_up_to_a_kilobyte(record_bytes: int, billed: int) -> None:
    assert on_demand_bytes(record_bytes) == billed


def test_a_usage_that_nobody_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="write_units"):
        replace(NOTHING, write_units=-1)
    with pytest.raises(ValueError, match="log_bytes"):
        replace(NOTHING, log_bytes=float("nan"))
