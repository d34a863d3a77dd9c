"""How events become batches and writes: the formulas of the planner, for one choice of shards and batching window.

A test compares them with the write units that the real function makes (benchmarks/write_units.py): within 15 %.
"""

from dataclasses import dataclass
from typing import Literal

from infra.aws.cost.item_size import STORED_OVERHEAD_BYTES, write_units
from infra.aws.cost.load import Load, RollupLoad
from infra.aws.cost.model import on_demand_bytes, put_units
from streamgage.limits import ESM_PAYLOAD_BYTES

_AGGREGATE_BYTES = 50_000  # BatcherConfig.aggregate_bytes
_BLOCK_EVENTS = 10_000  # BatcherConfig.block_events
_FRAME_BYTES = 90  # magic, MD5, the mark of a producer
_PRODUCER_BYTES = 40  # of a producer's ranges in the progress item
_PROGRESS_BYTES = 150

Bound = Literal["batching window", "6 MB of payload", "batch size"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What flows, on average. Rates are of the whole stream, per second; a batch is of one lane.

    ``batch_s`` are the seconds that a batch covers, and ``bound`` what ends it. ``writes`` and ``reads`` count requests
    of aggregates and progress; ``write_units`` adds those of conditions that fail. ``freshness_s`` is of the oldest event
    of a batch when its aggregate can be read.
    """

    shards: int
    record_bytes: float
    records_per_s: float
    put_units_per_s: float
    on_demand_bytes_per_s: float
    lanes: float
    batch_s: float
    bound: Bound
    batch_events: float
    batch_payload_bytes: float
    batch_writes: float
    writes_per_s: float
    progress_writes_per_s: float
    write_units_per_s: float
    read_units_per_s: float
    invocations_per_s: float
    duration_s: float
    freshness_s: float
    stored_items: float
    stored_bytes: float


def items_a_key(*, events_per_s: float, batch_s: float, window_s: float) -> float:
    """Return the items that one key writes a batch: of evenly spaced events, those in distinct windows.

    ``min(1, n) + max(0, n - 1) * min(1, d / w)`` with ``n`` events a batch, ``d`` seconds between them and windows of
    ``w`` seconds: one for the first event, and one for each boundary between two events.
    """
    events = events_per_s * batch_s
    return min(1.0, events) + max(0.0, events - 1) * min(1.0, 1 / (events_per_s * window_s))


def flow_of(load: Load, *, shards: int, batching_window_s: float) -> Flow:
    """Return the flow of *load* through *shards*, where batches wait *batching_window_s*."""
    one_key = load.parallelization_factor > 1
    record_events, record_bytes = _kinesis_record(load, shards=shards, one_key=one_key)
    lanes = float(shards * load.parallelization_factor)
    lane_events_per_s = load.events_per_s / lanes
    payload_bytes = record_bytes * 4 / 3 + load.weights.record_bytes
    # A record comes every *record_s*, at the latest when its producer has lingered; a window begins with the first.
    record_s = record_events / lane_events_per_s
    full_s = min(ESM_PAYLOAD_BYTES / payload_bytes, load.batch_size) * record_s
    full_by: Bound = (
        "6 MB of payload" if ESM_PAYLOAD_BYTES / payload_bytes < load.batch_size else "batch size"
    )
    batch_s = max(batching_window_s + record_s / 2, record_s)
    while True:
        bound: Bound = "batching window" if batch_s < full_s else full_by
        batch_s = min(batch_s, full_s)
        writes, units = _batch_writes(load, lanes=lanes, batch_s=batch_s)
        progress = _progress_writes(load, shards=shards, batch_s=batch_s, one_key=one_key)
        duration_s = load.speeds.duration_s(
            events=lane_events_per_s * batch_s, writes=writes + progress, memory_mb=load.memory_mb
        )
        # What arrives while a batch is handled is the next batch: it grows until it keeps up, or is full.
        if duration_s <= batch_s or batch_s >= full_s:
            break
        batch_s = duration_s
    progress_units = write_units(int(_PROGRESS_BYTES + _PRODUCER_BYTES * load.producers))
    batches_per_s = lanes / batch_s
    new_items_per_s, stored_items, stored_bytes = _stored(load, shards=shards)
    return Flow(
        shards=shards,
        record_bytes=record_bytes,
        records_per_s=load.events_per_s / record_events,
        put_units_per_s=load.events_per_s / record_events * put_units(round(record_bytes)),
        on_demand_bytes_per_s=load.events_per_s / record_events * on_demand_bytes(round(record_bytes)),
        lanes=lanes,
        batch_s=batch_s,
        bound=bound,
        batch_events=lane_events_per_s * batch_s,
        batch_payload_bytes=payload_bytes * lane_events_per_s * batch_s / record_events,
        batch_writes=writes + progress,
        writes_per_s=(writes + progress) * batches_per_s,
        progress_writes_per_s=progress * batches_per_s,
        write_units_per_s=(units * (1 + load.conflicts) + progress * progress_units) * batches_per_s,
        read_units_per_s=new_items_per_s + progress * batches_per_s,
        invocations_per_s=batches_per_s,
        duration_s=duration_s,
        freshness_s=load.linger_s + batch_s + duration_s,
        stored_items=stored_items,
        stored_bytes=stored_bytes,
    )


def _kinesis_record(load: Load, *, shards: int, one_key: bool) -> tuple[float, float]:
    """Return the events of a Kinesis record, and its bytes: full, or what a producer gathers while it lingers."""
    weights = load.weights
    event_bytes = weights.block_event_bytes if load.blocks else weights.event_bytes
    if not load.aggregated:
        return 1.0, weights.event_bytes
    streams = load.devices if one_key else shards * load.producers
    gathered = max(1.0, load.events_per_s / streams * load.linger_s)
    full = _BLOCK_EVENTS if load.blocks else (_AGGREGATE_BYTES - _FRAME_BYTES) / event_bytes
    events = min(gathered, max(1.0, full))
    return events, events * event_bytes + _FRAME_BYTES


def _batch_writes(load: Load, *, lanes: float, batch_s: float) -> tuple[float, float]:
    """Return the items that a batch writes, and their write units."""
    writes = units = 0.0
    for rollup in load.rollups:
        keys = rollup.keys if rollup.spread else rollup.keys / lanes
        events_per_s = load.events_per_s / (rollup.keys * (lanes if rollup.spread else 1))
        items = sum(
            keys * items_a_key(events_per_s=events_per_s, batch_s=batch_s, window_s=window_ms / 1000)
            for window_ms in rollup.windows_ms
        )
        writes += items
        units += items * write_units(round(rollup.item_bytes))
    return writes, units


def _progress_writes(load: Load, *, shards: int, batch_s: float, one_key: bool) -> float:
    """Return the progress items that a batch writes: one a lane, and lanes are devices where order holds by key only."""
    if not one_key:
        return 1.0
    devices = load.devices / (shards * load.parallelization_factor)
    return devices * min(1.0, load.events_per_s / load.devices * batch_s)


def _stored(load: Load, *, shards: int) -> tuple[float, float, float]:
    """Return the items that begin each second, those that stand in the table in the end, and their bytes."""
    new_per_s = stored = stored_bytes = 0.0
    for rollup in load.rollups:
        partials = rollup.keys * (shards if rollup.spread else 1)
        key_events_per_s = load.events_per_s / partials
        for window_ms in rollup.windows_ms:
            begun_per_s = partials * min(key_events_per_s, 1000 / window_ms)
            new_per_s += begun_per_s
            items = begun_per_s * (rollup.keep_s + window_ms / 1000)
            stored += items
            stored_bytes += items * (rollup.item_bytes + STORED_OVERHEAD_BYTES)
    return new_per_s, stored, stored_bytes


def rollup_units(rollup: RollupLoad) -> int:
    """Return the write units of one write of *rollup*."""
    return write_units(round(rollup.item_bytes))
