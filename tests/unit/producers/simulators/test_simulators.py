"""The simulators, and the totals that they write down."""

import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from processors.pipeline_files import load_pipeline
from producers.client.encoder import encoder_of
from producers.simulators.fleet import FleetConfig, fleet_events
from producers.simulators.totals import FieldTotals, Tally, read_totals, write_totals
from producers.simulators.visitors import VisitorsConfig, visitor_events
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError
from support.paths import ROOT

START_MS = 1_700_000_000_000
FLEET = FleetConfig(devices=20, events=5_000, seed=7, start_ms=START_MS)
VISITORS = VisitorsConfig(visitors=300, events=5_000, seed=7, start_ms=START_MS)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(ROOT / "pipeline.toml")


def test_a_seed_gives_the_same_events_and_another_seed_others() -> None:
    assert list(fleet_events(FLEET)) == list(fleet_events(FLEET))
    assert list(fleet_events(FLEET)) != list(fleet_events(replace(FLEET, seed=8)))
    assert list(visitor_events(VISITORS)) == list(visitor_events(VISITORS))
    assert list(visitor_events(VISITORS)) != list(visitor_events(replace(VISITORS, seed=8)))


def test_no_two_readings_of_a_metric_have_the_same_time_so_first_and_last_have_no_ties() -> None:
    for period_ms in (4, 1_000, 10_000):
        events = list(fleet_events(replace(FLEET, period_ms=period_ms)))
        times = {(event["device_id"], event["metric"], event["ts"]) for event in events}
        assert len(times) == len(events) == 5_000


def test_a_fleet_has_its_devices_and_metrics_and_stays_in_its_span() -> None:
    events = list(fleet_events(FLEET))
    assert len({event["device_id"] for event in events}) == 20
    assert len({event["metric"] for event in events}) == 3
    assert all(START_MS <= event["ts"] < START_MS + FLEET.span_ms for event in events)
    assert FLEET.span_ms == 84 * 10_000


def test_the_stated_share_is_late_and_no_event_is_lost_by_it() -> None:
    config = replace(FLEET, events=20_000, late_share=0.1, late_by_ms=60_000)
    late, on_time = list(fleet_events(config)), list(fleet_events(replace(config, late_share=0)))
    key = json.dumps
    assert sorted(map(key, late)) == sorted(map(key, on_time))
    newest_ms, behind = 0, 0
    for event in late:
        behind += event["ts"] < newest_ms - 10_000
        newest_ms = max(newest_ms, event["ts"])
        assert newest_ms - event["ts"] <= 60_000 + 10_000
    assert 0.05 < behind / len(late) < 0.1


def test_values_are_rounded_as_a_sensor_does_and_some_are_spikes() -> None:
    events = list(fleet_events(replace(FLEET, spike_share=0.01)))
    temperatures = [event["value"] for event in events if event["metric"] == "temperature"]
    assert all(round(value, 2) == value for value in temperatures)
    assert 1 < sum(value > 35 for value in temperatures) < 50


def test_clicks_come_in_order_of_time_from_returning_visitors_on_pages_of_unequal_fame() -> None:
    clicks = list(visitor_events(VISITORS))
    assert len(clicks) == 5_000
    assert all(a["ts"] <= b["ts"] for a, b in pairwise(clicks))
    pages = Counter(click["page"] for click in clicks).most_common()
    assert pages[0][1] > 5 * pages[len(pages) // 2][1]
    assert {click["status"] for click in clicks} == {200, 304, 404, 500}
    assert any(click["bytes"] is None for click in clicks)
    assert any(click["referrer"] is None for click in clicks)
    assert 0.5 < (clicks[-1]["ts"] - START_MS) / VISITORS.span_ms < 2


def test_every_simulated_event_fits_its_source(pipeline: Pipeline) -> None:
    for event in fleet_events(FLEET):
        encoder_of(pipeline.sources["reading"]).user_record(event)
    for event in visitor_events(VISITORS):
        encoder_of(pipeline.sources["click"]).user_record(event)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"devices": 0}, "devices is 0"),
        ({"metrics": 9}, "metrics is 9"),
        ({"period_ms": 1, "events": 0}, "events is 0"),
    ],
)
def test_a_fleet_that_is_none_is_refused(change: dict[str, int], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        replace(FLEET, **change)


def test_totals_are_those_a_person_adds_up(pipeline: Pipeline) -> None:
    tally = Tally(pipeline)
    for ts, value in ((60_000, 0.1), (119_999, 0.2), (60_001, -3.5), (120_000, 1e22)):
        tally.add("reading", {"device_id": "d", "metric": "m", "ts": ts, "value": value})
    rows = tally.totals["device_metrics"]
    minute = rows[("d", "m"), "1m", 60_000]
    assert minute.events == 3
    assert minute.fields["value"] == FieldTotals(
        count=3,
        sum=Decimal("-3.2"),
        min=Decimal("-3.5"),
        max=Decimal("0.2"),
        first=Decimal("0.1"),
        last=Decimal("0.2"),
        first_ms=60_000,
        last_ms=119_999,
    )
    assert rows[("d", "m"), "1h", 0].fields["value"].sum == Decimal("9999999999999999999996.8")
    assert sorted(label for _, label, _ in rows) == ["1d", "1h", "1m", "1m"]


def test_totals_take_a_float_for_the_decimal_that_was_written(pipeline: Pipeline) -> None:
    tally = Tally(pipeline)
    for ts in (1, 2):
        tally.add("reading", {"device_id": "d", "metric": "m", "ts": ts, "value": 123456789012.3456})
    row = tally.totals["device_metrics"][("d", "m"), "1m", 0]
    assert row.fields["value"].sum == Decimal("246913578024.6912")


def test_totals_leave_nulls_out_of_a_field_but_count_their_events(pipeline: Pipeline) -> None:
    tally = Tally(pipeline)
    for size in (None, 5):
        tally.add("click", {"visitor_id": "v", "page": "/", "ts": 1, "bytes": size})
    row = tally.totals["page_views"][("/",), "1h", 0]
    assert (row.events, row.fields["bytes"].count, row.fields["bytes"].sum) == (2, 1, Decimal(5))
    assert tally.totals["visits"][("v",), "1d", 0].fields["ts"].min == Decimal(1)


def test_totals_come_back_from_their_file_as_they_were(pipeline: Pipeline, tmp_path: Path) -> None:
    tally = Tally(pipeline)
    for event in fleet_events(FLEET):
        tally.add("reading", event)
    for event in visitor_events(VISITORS):
        tally.add("click", event)
    write_totals(tally.totals, tmp_path / "t.json")
    assert read_totals(tmp_path / "t.json") == tally.totals


def test_a_file_that_holds_no_totals_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"r": [{"key": []}]}')
    for name in ("t.json", "missing.json"):
        with pytest.raises(ConfigError, match="not a file of totals"):
            read_totals(tmp_path / name)
