"""The planner: from a load to shards, mapping, memory, write units, dollars and warnings. Pure."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from infra.aws.cost.capacity import Capacity, capacity_of
from infra.aws.cost.collector import Collected, collected_told_of, collector_bill
from infra.aws.cost.flow import Flow, flow_of
from infra.aws.cost.live import live_bill, live_told_of
from infra.aws.cost.load import Load, Questions
from infra.aws.cost.model import HOURS_A_MONTH, SECONDS_A_MONTH, Bill, Usage, bill
from infra.aws.cost.prices import PriceTable
from infra.aws.cost.questions import questions_bill, told_of
from infra.aws.cost.together import Beside, beside
from infra.aws.cost.warn import warnings_of
from streamgage.errors import ConfigError
from streamgage.limits import ESM_WINDOW_S, SHARD_IN_BYTES_PER_S, SHARD_IN_RECORDS_PER_S

_MOST_SHARDS = 20_000
_SEARCH_FACTOR = 16  # how many times the fewest shards are looked at
_LOG_BYTES = 1_400  # START, END, REPORT, one log line and one line of metrics an invocation, measured on the local stack
_METRICS = 7  # processors/aggregate/function.py
_COLD_START_S = 0.14  # init and first invocation, docs/adr/0006
_SANDBOX_LIFE_S = 7_200  # an assumption: AWS publishes none
CURVE_WINDOWS_S = (0, 5, 10, 20, 30, 60, 120, 300)


@dataclass(frozen=True, slots=True)
class Point:
    """What a batching window would give at the plan's shards."""

    batching_window_s: int
    flow: Flow
    bill: Bill


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer. Bills are of a month, with a table on demand; ``curve`` shows what other batching windows would give.

    ``capacity`` is what the table would have instead, provisioned. ``asked`` is the bill of ``questions``, ``live`` that
    of telling what changed, ``collecting`` that of taking all events by HTTP, as ``collected``, beside the others.
    ``together``: rollups whose keys stand together, beside the same without.
    """

    load: Load
    batching_window_s: int
    flow: Flow
    provisioned: Bill
    on_demand: Bill
    capacity: Capacity
    curve: tuple[Point, ...]
    warnings: tuple[str, ...]
    questions: Questions
    asked: Bill
    live: Bill
    collected: Collected
    collecting: Bill
    together: tuple[Beside, ...] = ()

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters of infra/template/template.yaml."""
        return {
            "ShardCount": self.flow.shards,
            "BatchSize": self.load.batch_size,
            "BatchingWindow": self.batching_window_s,
            "ParallelizationFactor": self.load.parallelization_factor,
            "MemorySize": self.load.memory_mb,
            "Timeout": self.load.timeout_s,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        events = self.load.events_per_s
        return {
            "parameters": self.parameters,
            "batch": {
                "seconds": self.flow.batch_s,
                "ended_by": self.flow.bound,
                "events": self.flow.batch_events,
                "payload_bytes": self.flow.batch_payload_bytes,
                "keys": self.flow.batch_keys,
                "writes": self.flow.batch_writes,
                "duration_s": self.flow.duration_s,
            },
            "freshness_s": self.flow.freshness_s,
            "write_units_per_s": self.flow.write_units_per_s,
            "write_units_per_million_events": self.flow.write_units_per_s / events * 1e6,
            "usd_per_month": {"provisioned": _lines(self.provisioned), "on_demand": _lines(self.on_demand)},
            "capacity": {
                "parameters": self.capacity.parameters,
                "usd_per_month": {
                    "provisioned": self.capacity.usd,
                    "on_demand": self.capacity.on_demand_usd,
                },
            },
            "usd_per_million_events": {
                "provisioned": self.provisioned.usd_per_million_events,
                "on_demand": self.on_demand.usd_per_million_events,
            },
            "questions": told_of(self.questions, self.asked),
            "live": live_told_of(self.questions, self.live),
            "collector": collected_told_of(self.collected, self.collecting),
            "curve": [
                {
                    "batching_window_s": each.batching_window_s,
                    "batch_seconds": each.flow.batch_s,
                    "write_units_per_million_events": each.flow.write_units_per_s / events * 1e6,
                    "usd_per_million_events": each.bill.usd_per_million_events,
                }
                for each in self.curve
            ],
            "together": [asdict(each) for each in self.together],
            "warnings": list(self.warnings),
        }


def make_plan(
    load: Load,
    prices: PriceTable,
    questions: Questions | None = None,
    collected: Collected | None = None,
) -> Plan:
    """Return the cheapest plan that carries *load* at its peak and keeps its freshness; none are asked without *questions*.

    Without *collected* no event comes by HTTP.

    Raises:
        ConfigError: no number of shards carries it.
    """
    fewest = fewest_shards(load)
    candidates = [load.shards] if load.shards else _candidates(fewest)
    points = [_point(load, prices, shards=each, window_s=_window_s(load, shards=each)) for each in candidates]
    questions, collected = questions or Questions(), collected or Collected()
    best = min(points, key=lambda point: point.bill.usd)
    shards = best.flow.shards
    windows_s = sorted({*CURVE_WINDOWS_S, best.batching_window_s})
    return Plan(
        load,
        best.batching_window_s,
        best.flow,
        best.bill,
        bill(usage_of(load, best.flow), prices, mode="on-demand"),
        capacity_of(best.flow, prices, peak=load.peak, on_demand=best.bill),
        tuple(_point(load, prices, shards=shards, window_s=each) for each in windows_s),
        tuple(warnings_of(load, best.flow, window_s=best.batching_window_s, fewest_shards=fewest)),
        questions,
        questions_bill(questions, prices),
        live_bill(questions, best.flow, prices),
        collected,
        collector_bill(collected, load.events_per_s, prices),
        tuple(beside(load, best.flow)),
    )


def fewest_shards(load: Load) -> int:
    """Return the fewest shards that take the peak: 1 MB/s and 1,000 records/s each.

    Raises:
        ConfigError: none of up to 20,000 do.
    """
    shards = 1
    while shards <= _MOST_SHARDS:
        flow = flow_of(load, shards=shards, batching_window_s=0)
        records = flow.records_per_s * load.peak / SHARD_IN_RECORDS_PER_S
        volume = flow.records_per_s * flow.record_bytes * load.peak / SHARD_IN_BYTES_PER_S
        needed = math.ceil(max(records, volume, 1))
        if needed <= shards:
            return shards
        shards = max(shards + 1, min(needed, shards * 2))
    raise ConfigError(
        f"{flow.records_per_s * flow.record_bytes / 1e6:,.0f} MB/s in {flow.records_per_s:,.0f} records/s, {load.peak:g} times "
        f"that at the peak, fit into no {_MOST_SHARDS:,} shards (1 MB/s and 1,000 records/s each)"
    )


def usage_of(load: Load, flow: Flow) -> Usage:
    """Return what *flow* uses in a month."""
    month_s = SECONDS_A_MONTH
    sandboxes = math.ceil(flow.lanes * min(1.0, flow.duration_s / flow.batch_s))
    starts = sandboxes * month_s / _SANDBOX_LIFE_S
    running_s = flow.invocations_per_s * month_s * flow.duration_s + starts * _COLD_START_S
    return Usage(
        hours=HOURS_A_MONTH,
        events=load.events_per_s * month_s,
        shards=flow.shards,
        put_units=flow.put_units_per_s * month_s,
        on_demand_in_bytes=flow.on_demand_bytes_per_s * month_s,
        on_demand_out_bytes=flow.records_per_s * flow.record_bytes * month_s,
        lambda_requests=flow.invocations_per_s * month_s,
        lambda_gb_s=running_s * load.memory_mb / 1024,
        write_units=flow.write_units_per_s * month_s,
        read_units=flow.read_units_per_s * month_s,
        stored_bytes=flow.stored_bytes,
        log_bytes=flow.invocations_per_s * month_s * _LOG_BYTES,
        metrics=_METRICS,
    )


def _point(load: Load, prices: PriceTable, *, shards: int, window_s: int) -> Point:
    flow = flow_of(load, shards=shards, batching_window_s=window_s)
    return Point(window_s, flow, bill(usage_of(load, flow), prices, mode="provisioned"))


def _window_s(load: Load, *, shards: int) -> int:
    """Return the longest batching window that keeps the freshness, or the one that was asked for."""
    if load.batching_window_s is not None:
        return load.batching_window_s
    for window_s in range(min(ESM_WINDOW_S, int(load.freshness_s)), 0, -1):
        flow = flow_of(load, shards=shards, batching_window_s=window_s)
        if (
            flow.freshness_s <= load.freshness_s
        ):  # longer than what fills a batch would promise what never comes
            return window_s if flow.bound == "batching window" else min(window_s, math.ceil(flow.batch_s))
    return 0


def _candidates(fewest: int) -> list[int]:
    """Return numbers of shards to look at: from the fewest on, in steps of a tenth."""
    found, shards = [], fewest
    while shards <= min(fewest * _SEARCH_FACTOR, _MOST_SHARDS):
        found.append(shards)
        shards = max(shards + 1, shards * 11 // 10)
    return found


def _lines(each: Bill) -> dict[str, Any]:
    lines = {f"{line.service}: {line.what}": line.usd for line in each.lines if line.usd}
    return {**lines, "total": each.usd}
