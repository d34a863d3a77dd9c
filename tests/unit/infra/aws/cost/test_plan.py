"""The planner: its formulas against the counted write units, its choices, its warnings."""

import math
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.clicks import click_pipeline, clicks_of
from benchmarks.shard_slice import ReferenceLoad
from benchmarks.write_units import WINDOWS, Case, chunk_keys, measure, pipeline_of, wire_at_full_rate
from infra.aws.cost.chunks import REFERENCE_BYTES, BodyBytes
from infra.aws.cost.flow import flow_of, items_a_key
from infra.aws.cost.item_size import item_size_bytes
from infra.aws.cost.load import Load, RollupLoad, Speeds, Weights
from infra.aws.cost.plan import fewest_shards, make_plan
from infra.aws.cost.prices import load_prices
from infra.aws.cost.render import render_plan
from infra.aws.cost.weigh import weigh
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError

DAY_S = 86_400
FAST = Speeds(batch_ms=0, event_us=0, key_us=0, write_us=0, request_ms=0)


def reference(windows: str = "1 window", **changes: Any) -> Load:
    rollup = RollupLoad(
        name="device_metrics",
        keys=30_000,
        windows_ms=tuple(map(parse_duration, WINDOWS[windows])),
        bytes=REFERENCE_BYTES,
        keep_s=90 * DAY_S,
    )
    return Load(**{"events_per_s": 30_000, "devices": 10_000, "rollups": (rollup,), **changes})


def fleet(windows: str, load: ReferenceLoad, **changes: Any) -> Load:
    """Return the load of the planner that *load* is."""
    (rollup,) = reference(windows).rollups
    of_fleet = replace(rollup, keys=load.devices * load.metrics)
    return reference(
        windows, events_per_s=load.events_per_s, devices=load.devices, rollups=(of_fleet,), **changes
    )


@pytest.mark.parametrize(
    ("windows", "devices", "period_ms", "batching_s"),
    [
        ("1 window", 2_400, 1_000, 5),
        ("1 window", 2_400, 1_000, 30),
        ("3 windows", 2_400, 1_000, 20),
        ("3 windows", 2_400, 1_000, 60),
        ("3 windows", 480, 200, 20),
        ("3 windows", 12, 10, 20),  # three keys a shard, in one item
        ("1 window", 2_400, 10_000, 5),  # a batch meets half of the keys
        ("3 windows", 2_400, 10_000, 20),
    ],
)
def test_the_plan_agrees_with_what_the_real_function_writes(
    windows: str, devices: int, period_ms: int, batching_s: int
) -> None:
    load = ReferenceLoad(devices=devices, period_ms=period_ms, shards=12)
    counted = measure(Case(load, windows, blocks=True, batching_s=batching_s), seconds=60)
    planned = flow_of(fleet(windows, load, blocks=True, speeds=FAST), shards=12, batching_window_s=batching_s)
    million_s = 1e6 / load.events_per_s
    assert planned.write_units_per_s * million_s == pytest.approx(counted.write_units_per_million, rel=0.12)
    assert planned.read_units_per_s * million_s == pytest.approx(counted.read_units_per_million, rel=0.25)


@pytest.mark.parametrize(("shards", "blocks"), [(4, False), (4, True)])
def test_a_batch_ends_where_the_real_payload_ends(*, shards: int, blocks: bool) -> None:
    load = ReferenceLoad(shards=shards)
    full_s = wire_at_full_rate(load, blocks=blocks).batch_events / load.shard_events_per_s
    planned = flow_of(reference(blocks=blocks, speeds=FAST), shards=shards, batching_window_s=300)
    assert planned.bound == "6 MB of payload"
    assert planned.batch_s == pytest.approx(full_s, rel=0.2)


@pytest.mark.parametrize("shards", [4, 24])
@pytest.mark.parametrize("blocks", [False, True])
def test_the_usual_weights_are_those_of_the_wire(*, shards: int, blocks: bool) -> None:
    wire = wire_at_full_rate(ReferenceLoad(shards=shards), blocks=blocks)
    flow = flow_of(reference(blocks=blocks, speeds=FAST), shards=shards, batching_window_s=1)
    assert flow.record_bytes * flow.records_per_s / 30_000 == pytest.approx(wire.data_bytes, rel=0.15)
    # The simulated fleet reports in bursts, so its records hold more events than an even flow would give them.
    assert flow.batch_payload_bytes / flow.batch_events == pytest.approx(wire.payload_bytes, rel=0.2)


def test_a_definition_is_weighed_by_the_real_code() -> None:
    pipeline = pipeline_of("3 windows")
    weighed = weigh(pipeline, pipeline.sources["reading"], devices=10, metrics=3, keys={})
    assert weighed.event_bytes == pytest.approx(Weights().event_bytes, rel=0.15)
    (rollup,) = weighed.rollups
    assert (rollup.keys, rollup.windows_ms, rollup.spread) == (30, (60_000, 3_600_000, 86_400_000), False)
    for keys in (3, 30):
        for events in (1, 60):
            weighed_bytes, usual = (each.item(keys, events) for each in (rollup.bytes, REFERENCE_BYTES))
            assert weighed_bytes == pytest.approx(usual, rel=0.15)


def test_the_usual_bytes_are_those_of_the_items_that_the_real_function_writes() -> None:
    load = ReferenceLoad(devices=2_400, shards=12)
    pipeline = pipeline_of("1 window")
    driven = measure(Case(load, "1 window", blocks=True, batching_s=30), seconds=60)
    items = [item for (pk, _), item in driven.table.rows.items() if not pk.startswith("~")]
    full = [(item_size_bytes(item), chunk_keys(item, pipeline)) for item in items]
    for size_bytes, keys in full:
        if keys > 5:
            assert REFERENCE_BYTES.item(keys, 60) == pytest.approx(size_bytes, rel=0.1)


def test_measured_fields_that_may_be_null_are_weighed_with_values() -> None:
    driven = clicks_of(batching_s=5, evening=True, quick=True)
    pipeline = click_pipeline()
    weighed = weigh(pipeline, pipeline.sources["click"], devices=1_000, metrics=1, keys={"page_views": 1_000})
    for rollup in weighed.rollups:
        for (pk, _), item in driven.table.rows.items():
            keys = chunk_keys(item, pipeline) if pk.startswith(rollup.name) else 0
            if keys > 10:  # made up clicks are all alike, so they take less
                said = [rollup.bytes.item(keys, events) for events in (1, 100)]
                assert said[0] * 0.7 < item_size_bytes(item) < said[1] * 1.25


class TestItemsAKey:
    def test_one_key_writes_one_item_and_one_more_for_each_boundary(self) -> None:
        assert items_a_key(events_per_s=1, batch_s=31, window_s=60) == pytest.approx(1.5)

    def test_a_key_that_is_seldom_heard_writes_an_item_an_event(self) -> None:
        assert items_a_key(events_per_s=0.001, batch_s=30, window_s=60) == pytest.approx(0.03)
        assert items_a_key(events_per_s=0.01, batch_s=300, window_s=60) == pytest.approx(3)

    def test_it_never_writes_more_items_than_events(self) -> None:
        for rate in (0.001, 0.1, 1, 50):
            for batch_s in (1, 30, 300):
                assert items_a_key(events_per_s=rate, batch_s=batch_s, window_s=60) <= rate * batch_s + 1e-9


class TestChoice:
    def test_it_keeps_the_freshness_and_is_the_cheapest(self) -> None:
        load, prices = reference(), load_prices()
        plan = make_plan(load, prices)
        assert plan.flow.freshness_s <= load.freshness_s
        assert plan.warnings == ()
        for shards in (plan.flow.shards - 2, plan.flow.shards + 4):
            other = make_plan(replace(load, shards=shards), prices)
            assert other.provisioned.usd >= plan.provisioned.usd

    def test_shards_carry_the_peak(self) -> None:
        assert fewest_shards(reference(peak=1)) == 2  # 1.78 MB/s
        assert fewest_shards(reference(peak=2)) == 4
        assert fewest_shards(reference(peak=1, aggregated=False)) == 30  # 1,000 records/s each
        assert fewest_shards(reference(peak=1, blocks=True)) == 1

    def test_what_no_number_of_shards_carries_is_told(self) -> None:
        with pytest.raises(ConfigError, match=r"5,900 MB/s.* 100,000,000 records/s"):
            fewest_shards(reference(events_per_s=1e8, aggregated=False))

    def test_longer_windows_cost_less_and_the_curve_says_so(self) -> None:
        plan = make_plan(reference(blocks=True), load_prices())
        usd = [each.bill.usd_per_million_events for each in plan.curve]
        assert usd == sorted(usd, reverse=True)
        assert any(each.batching_window_s == plan.batching_window_s for each in plan.curve)

    def test_what_was_asked_for_is_kept(self) -> None:
        plan = make_plan(reference(shards=7, batching_window_s=11, memory_mb=1024), load_prices())
        assert plan.parameters == {
            "ShardCount": 7, "BatchSize": 10_000, "BatchingWindow": 11, "ParallelizationFactor": 1, "MemorySize": 1024,
            "Timeout": 60,
        }  # fmt: skip

    def test_an_invocation_longer_than_its_window_makes_the_next_batch_larger(self) -> None:
        slow = reference(speeds=Speeds(event_us=50), shards=4)
        flow = flow_of(slow, shards=4, batching_window_s=0)
        assert flow.batch_s >= flow.duration_s or flow.bound != "batching window"
        assert flow.batch_s > 1

    def test_a_rollup_that_every_shard_sees_is_written_by_every_shard(self) -> None:
        rollup = RollupLoad(
            name="pages",
            keys=100,
            windows_ms=(3_600_000,),
            bytes=REFERENCE_BYTES,
            keep_s=DAY_S,
            spread=True,
        )
        one, ten = (
            flow_of(reference(rollups=(rollup,)), shards=shards, batching_window_s=10) for shards in (20, 200)
        )
        assert ten.writes_per_s == pytest.approx(10 * one.writes_per_s, rel=0.05)
        assert ten.stored_items == pytest.approx(10 * one.stored_items, rel=0.05)

    def test_a_key_whose_item_has_more_than_a_kilobyte_costs_two_units(self) -> None:
        (rollup,) = reference().rollups
        small, large = (
            flow_of(
                reference(rollups=(replace(rollup, bytes=BodyBytes(100, size, size, size, 25, 164)),)),
                shards=12,
                batching_window_s=30,
            )
            for size in (740, 790)
        )
        assert large.write_units_per_s == pytest.approx(2 * small.write_units_per_s, rel=0.01)

    def test_keys_that_come_seldom_share_items_with_others_that_do_not_come(self) -> None:
        """A batch meets a hundredth of the keys of a day: most of them are a write, and a key never more than one."""
        (rollup,) = reference().rollups
        of_day = replace(rollup, windows_ms=(DAY_S * 1000,))
        load = reference(events_per_s=5, rollups=(of_day,), speeds=FAST)
        sparse = flow_of(load, shards=12, batching_window_s=60)
        assert sparse.batch_keys == pytest.approx(25, rel=0.05)
        assert 0.6 * sparse.batch_keys < sparse.batch_writes <= sparse.batch_keys + 1

    def test_order_by_partition_key_keeps_devices_apart(self) -> None:
        shared, apart = (
            flow_of(
                reference(parallelization_factor=each, blocks=True, speeds=FAST),
                shards=12,
                batching_window_s=30,
            )
            for each in (1, 2)
        )
        assert apart.write_units_per_s > 5 * shared.write_units_per_s
        assert apart.batch_writes >= 2 * 10_000 / 24  # of each device its progress, and an item at least

    def test_a_steady_load_is_told_the_capacity_of_its_average_used_to_70_percent(self) -> None:
        plan = make_plan(reference(shards=12, batching_window_s=30), load_prices())
        writes, reads = (
            math.ceil(each / 0.7) for each in (plan.flow.write_units_per_s, plan.flow.read_units_per_s)
        )
        assert plan.capacity.parameters == {"WriteCapacity": writes, "ReadCapacity": reads}
        assert plan.capacity.usd == pytest.approx(730 * (writes * 0.00065 + reads * 0.00013))
        of_table = [plan.provisioned.usd_of("DynamoDB", each) for each in ("writes", "reads")]
        assert plan.capacity.on_demand_usd == pytest.approx(sum(of_table))
        text = render_plan(plan, load_prices())
        assert f"WriteCapacity={writes} ReadCapacity={reads}: reads and writes for" in text

    def test_what_is_written_too_seldom_for_scaling_to_see_has_the_capacity_of_its_peak(self) -> None:
        often, seldom = (
            make_plan(reference(blocks=True, shards=24, batching_window_s=each, peak=2), load_prices())
            for each in (30, 90)
        )
        for plan, times in ((often, 1), (seldom, 2)):
            assert plan.capacity.write_units == math.ceil(plan.flow.write_units_per_s * times / 0.7)

    def test_capacity_is_not_advised_where_the_peaks_would_be_dearer_than_on_demand(self) -> None:
        """At these prices from 2.4 times the average on."""
        for peak, pays in ((2, True), (3, False)):
            plan = make_plan(reference(shards=60, batching_window_s=30, peak=peak), load_prices())
            assert bool(plan.capacity.parameters) is pays
            assert ("WriteCapacity=" in render_plan(plan, load_prices())) is pays

    def test_capacity_is_not_advised_where_one_unit_is_more_than_is_used(self) -> None:
        (rollup,) = reference().rollups
        few = (replace(rollup, keys=3),)
        load = reference(events_per_s=1, devices=1, rollups=few, shards=1, batching_window_s=60)
        assert not make_plan(load, load_prices()).capacity.parameters

    def test_conflicts_are_billed(self) -> None:
        calm, busy = (
            flow_of(reference(conflicts=each), shards=12, batching_window_s=30) for each in (0, 0.5)
        )
        assert busy.write_units_per_s == pytest.approx(1.5 * calm.write_units_per_s, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shards": 1}, "1 shards are too few: 1.5 x"),
        ({"hottest_share": 0.9}, "hot key: the busiest device sends"),
        ({"hottest_share": 0.2}, "hot shard"),
        ({"aggregated": False}, "rounds each Kinesis record of 59 bytes up to 1 kB"),
        ({"parallelization_factor": 4}, "ParallelizationFactor 4"),
        ({"batching_window_s": 100, "blocks": True}, "you asked for 60 s"),
        ({"shards": 4, "batching_window_s": 30}, "is not reached: 6 MB of payload ends a batch"),
        (
            {"shards": 12, "batching_window_s": 30, "batch_size": 10},
            "is not reached: batch size ends a batch",
        ),
        ({"blocks": True, "shards": 1, "freshness_s": 300, "timeout_s": 10}, "its timeout is 10 s"),
        ({"speeds": Speeds(event_us=2000), "shards": 12}, "the shard falls behind"),
    ],
)
def test_each_danger_is_warned_of(changes: dict[str, Any], said: str) -> None:
    plan = make_plan(reference(**changes), load_prices())
    assert any(said in each for each in plan.warnings), plan.warnings


def test_hot_partitions_and_large_items_are_warned_of() -> None:
    rollup = RollupLoad(
        name="all",
        keys=1,
        windows_ms=(60_000,),
        bytes=BodyBytes(100, 1_200, 1_200, 1_200, 1_000, 164),
        keep_s=DAY_S,
        spread=True,
    )
    load = reference(rollups=(rollup,), shards=1000, batching_window_s=1, linger_s=0.5)
    warnings = make_plan(load, load_prices()).warnings
    assert any("hot partition: a chunk of all takes" in each for each in warnings)
    assert any("each write of one costs 2 units" in each for each in warnings)


def test_every_problem_of_a_load_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        reference(
            events_per_s=0, peak=0.5, parallelization_factor=11, blocks=True, aggregated=False, rollups=()
        )
    told = "\n".join(caught.value.problems)
    for name in (
        "--events-per-s is 0",
        "--peak is 0.5",
        "--parallelization-factor is 11",
        "--blocks",
        "no rollup",
    ):
        assert name in told
