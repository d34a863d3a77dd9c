"""What a million events cost on AWS, line by line: counted usage x the dated price table."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.clicks import CLICK_SHARDS, CLICKS_PER_S, PAGES, VISITORS, click_pipeline, clicks_of
from benchmarks.harness import Headline, Progress, Result, Role, Series, Table
from benchmarks.shard_slice import START_MS, ReferenceLoad
from benchmarks.write_units import METHOD, PEER, WINDOWS, Case, measure, wire_at_full_rate
from infra.aws.cost.chunks import REFERENCE_BYTES
from infra.aws.cost.flow import Flow, flow_of
from infra.aws.cost.item_size import STORED_OVERHEAD_BYTES
from infra.aws.cost.load import Load, RollupLoad, Speeds, Weights
from infra.aws.cost.model import (
    HOURS_A_MONTH,
    SECONDS_A_MONTH,
    StreamMode,
    Usage,
    bill,
    on_demand_bytes,
    put_units,
)
from infra.aws.cost.plan import fewest_shards, usage_of
from infra.aws.cost.prices import PriceTable, load_prices
from infra.aws.cost.weigh import weigh
from streamgage.durations import parse_duration

QUESTION = "what does a million events cost on AWS, and which service takes it?"
LIMITS = (
    "List prices without free tier, taxes, savings plans or data transfer; infra/aws/cost/prices.toml says which are unconfirmed.",
    "Lambda's GB-seconds are computed: CPU an event and a write as measured on this machine, 10 ms an answer of DynamoDB to 25 writes, 5 ms to the peer's one.",
    "Storage is that of a table that has run for its whole keep (90 days), the same for all.",
    "Batches of a shard are taken to stay in one sandbox; write_units says what it costs where they do not.",
)
MODES: tuple[StreamMode, ...] = ("provisioned", "on-demand")
BATCHING_S = 60
OURS = "ours: blocks, 12 shards, 3 windows"
CLICKS = "ours: clickstream in the evening, a rollup a visitor and one a page, blocks, 4 shards"
_KEYS = (300, 3_000, 30_000, 300_000, 3_000_000, 30_000_000)
_KEEP_S = 90 * 86_400
_PEER_SPEEDS = Speeds(
    batch_ms=0, event_us=10, key_us=0, write_us=900, request_ms=5, batch=1, concurrency=1
)  # a loop, boto3: docs/adr/0006


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to do it, and what it uses in a month."""

    label: str
    role: Role
    usage: Usage


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Count what each contestant uses at the reference load, and price it."""
    prices, load = load_prices(), ReferenceLoad(seed=seed)
    if quick:
        load = replace(load, devices=1_200, period_ms=2_000)
    seconds = 60 if quick else 120
    contestants = [_peer(load, windows=windows) for windows in WINDOWS]
    for label, windows, shards, blocks in (
        ("ours: rows, 24 shards, 1 window", "1 window", 24, False),
        ("ours: blocks, 4 shards, 1 window", "1 window", 4, True),
        ("ours: rows, 24 shards, 3 windows", "3 windows", 24, False),
        ("ours: blocks, 4 shards, 3 windows", "3 windows", 4, True),
        (OURS, "3 windows", 12, True),
    ):
        progress(label)
        case = Case(replace(load, shards=shards), windows, blocks, BATCHING_S)
        contestants.append(Contestant(label, "ours", _counted(case, seconds=seconds)))
    progress(CLICKS)
    contestants.append(Contestant(CLICKS, "ours", _clicks(quick=quick)))
    tables = tuple(_table(contestants, prices, mode) for mode in MODES)
    medians = {each.label: each.median for each in tables[0].series}
    peer = contestants[1].label
    return Result(
        name="cost",
        question=QUESTION,
        method=f"{METHOD} Prices of {prices.region}, {prices.checked}.",
        tables=(*tables, _by_keys(load, prices)),
        configuration={
            "events_per_s": load.events_per_s, "devices": load.devices, "metrics": load.metrics,
            "batching_window_s": BATCHING_S, "region": prices.region, "prices_checked": prices.checked,
            "unconfirmed_prices": prices.unconfirmed,
        },
        facts={each.label: _lines(each, prices) for each in contestants},
        headlines=(
            Headline(
                what="$ a million events, all services, 30,000 keys x 3 windows kept 90 days, blocks, 12 shards, 60 s",
                ours=f"${medians[OURS]:.4f}",
                peer=f"${medians[peer]:.3f}",
                ratio=medians[peer] / medians[OURS],
                target="≤ $0.006",
                first=True,
            ),
            Headline(
                what="$ a million clicks in the evening, a rollup a visitor (1,000,000 a day) and one a page, 3,000/s, 60 s",
                ours=f"${medians[CLICKS]:.4f}",
                peer="",
                ratio=None,
                target="≤ $0.012",
            ),
        ),
        limits=LIMITS,
    )  # fmt: skip


def planner_load(load: ReferenceLoad, *, windows: str, blocks: bool) -> Load:
    """Return the reference load as the planner takes it."""
    rollup = RollupLoad(
        name="device_metrics",
        keys=load.devices * load.metrics,
        windows_ms=tuple(map(parse_duration, WINDOWS[windows])),
        bytes=REFERENCE_BYTES,
        keep_s=_KEEP_S,
    )
    return Load(events_per_s=load.events_per_s, devices=load.devices, rollups=(rollup,), blocks=blocks)


def _counted(case: Case, *, seconds: float) -> Usage:
    """Return the planner's usage, with what was counted in place of what was computed."""
    driven, wire = measure(case, seconds=seconds), wire_at_full_rate(case.load, blocks=case.blocks)
    load = planner_load(case.load, windows=case.windows, blocks=case.blocks)
    planned = flow_of(load, shards=case.load.shards, batching_window_s=case.batching_s)
    flow = _with_batches(planned, driven.batch_seconds)
    month_events = case.load.events_per_s * SECONDS_A_MONTH
    return replace(
        usage_of(load, flow),
        put_units=wire.put_units * month_events,
        on_demand_in_bytes=wire.on_demand_bytes * month_events,
        on_demand_out_bytes=wire.data_bytes * month_events,
        write_units=driven.write_units_per_million / 1e6 * month_events,
        read_units=driven.read_units_per_million / 1e6 * month_events,
    )


def _clicks(*, quick: bool) -> Usage:
    """Return what a clickstream uses: its load planned, its writes and reads counted."""
    driven = clicks_of(batching_s=5 if quick else BATCHING_S, evening=True, quick=quick)
    pipeline = click_pipeline()
    weighed = weigh(
        pipeline,
        pipeline.sources["click"],
        devices=VISITORS,
        metrics=1,
        keys={"page_views": PAGES, "visits": VISITORS},
    )
    load = Load(events_per_s=CLICKS_PER_S, devices=VISITORS, rollups=weighed.rollups, blocks=True)
    flow = flow_of(load, shards=CLICK_SHARDS, batching_window_s=BATCHING_S)
    month_events = CLICKS_PER_S * SECONDS_A_MONTH
    return replace(
        usage_of(load, _with_batches(flow, driven.batch_seconds)),
        write_units=driven.write_units_per_million / 1e6 * month_events,
        read_units=driven.read_units_per_million / 1e6 * month_events,
    )


def _by_keys(load: ReferenceLoad, prices: PriceTable) -> Table:
    """Return what the plan says for fewer and more keys at the same rate: dense, then so many that a batch meets few."""
    series = []
    for windows in WINDOWS:
        for keys in _KEYS:
            asked = planner_load(
                replace(load, devices=max(1, keys // load.metrics)), windows=windows, blocks=True
            )
            asked = replace(asked, events_per_s=load.events_per_s)
            flow = flow_of(asked, shards=12, batching_window_s=BATCHING_S)
            usd = bill(usage_of(asked, flow), prices, mode="provisioned").usd_per_million_events
            series.append(Series(windows, "ours", (usd,), keys))
    return Table(
        f"$ a million events by keys, planned, {load.events_per_s:,.0f} events/s, 12 shards, {BATCHING_S} s, blocks",
        "$",
        tuple(series),
        x="keys",
        log_x=True,
        log_y=True,
    )


def _with_batches(flow: Flow, batch_s: float) -> Flow:
    return replace(flow, batch_s=batch_s, invocations_per_s=flow.lanes / batch_s)


def _peer(load: ReferenceLoad, *, windows: str) -> Contestant:
    """Peer (a): a JSON record an event, one UpdateItem a record; its table holds the same windows."""
    event = {"device_id": "device-00001", "metric": "temperature", "ts": START_MS, "value": 21.37}
    size = len(json.dumps(event).encode()) + len(str(event["device_id"]))
    asked = replace(
        planner_load(load, windows=windows, blocks=False),
        aggregated=False,
        speeds=_PEER_SPEEDS,
        weights=Weights(event_bytes=size),
    )
    shards = fewest_shards(asked)
    flow = flow_of(asked, shards=shards, batching_window_s=BATCHING_S)
    month_events = load.events_per_s * SECONDS_A_MONTH
    seconds = _PEER_SPEEDS.duration_s(
        events=1, keys=1, writes=len(WINDOWS[windows]), memory_mb=asked.memory_mb
    )
    usage = Usage(
        hours=HOURS_A_MONTH,
        events=month_events,
        shards=shards,
        put_units=put_units(size) * month_events,
        on_demand_in_bytes=on_demand_bytes(size) * month_events,
        on_demand_out_bytes=size * month_events,
        lambda_requests=month_events / flow.batch_events,
        lambda_gb_s=seconds * month_events * asked.memory_mb / 1024,
        write_units=PEER * len(WINDOWS[windows]) / 1e6 * month_events,
        stored_bytes=_peer_stored_bytes(asked),
    )
    return Contestant(f"peer (a): a record, and an UpdateItem an event and window, {windows}", "peer", usage)


def _peer_stored_bytes(load: Load) -> float:
    """Return the bytes of an item a key and window, as large as ours of one key."""
    item_bytes = REFERENCE_BYTES.item(1, 60) + STORED_OVERHEAD_BYTES
    return sum(
        rollup.keys * (rollup.keep_s * 1000 / window_ms + 1) * item_bytes
        for rollup in load.rollups
        for window_ms in rollup.windows_ms
    )


def _table(contestants: list[Contestant], prices: PriceTable, mode: StreamMode) -> Table:
    return Table(
        f"$ a million events, {mode} stream, batching window {BATCHING_S} s",
        "$",
        tuple(
            Series(each.label, each.role, (bill(each.usage, prices, mode=mode).usd_per_million_events,))
            for each in contestants
        ),
        baseline=contestants[0].label,
    )


def _lines(contestant: Contestant, prices: PriceTable) -> Mapping[str, Any]:
    """Return $ a million events by line and mode."""
    millions = contestant.usage.events / 1e6
    return {
        mode: {
            f"{line.service}: {line.what}": line.usd / millions
            for line in bill(contestant.usage, prices, mode=mode).lines
            if line.usd
        }
        for mode in MODES
    }
