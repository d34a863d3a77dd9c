"""How events become batches and writes: the formulas of the planner, for one choice of shards and batching window.

A test compares them with the write units that the real function makes (benchmarks/write_units.py): within 15 %.
"""

from dataclasses import dataclass, fields
from functools import cache
from typing import Literal

from infra.aws.cost.chunks import BodyBytes, Touched, touched
from infra.aws.cost.item_size import STORED_OVERHEAD_BYTES, write_units
from infra.aws.cost.load import Load, RollupLoad
from infra.aws.cost.model import on_demand_bytes, put_units
from streamgage.limits import ESM_PAYLOAD_BYTES

_AGGREGATE_BYTES = 50_000  # BatcherConfig.aggregate_bytes
_BLOCK_EVENTS = 10_000  # BatcherConfig.block_events
_FRAME_BYTES = 90  # magic, MD5, the mark of a producer
_PRODUCER_BYTES = 16  # of a producer's ranges in the progress item
_PROGRESS_BYTES = 190
_LIFE = (1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12)  # moments of a window's life that are looked at
REMEMBERED_BYTES = 1_500  # of an item that a sandbox remembers
CACHED_BYTES = 64 * 1024 * 1024  # processors/sink/fenced.py, SinkLimits

Bound = Literal["batching window", "6 MB of payload", "batch size"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What flows, on average. Rates are of the whole stream, per second; a batch is of one lane.

    ``batch_s`` are the seconds that a batch covers, and ``bound`` what ends it. ``writes`` and ``reads`` count requests
    of aggregates and progress; ``write_units`` adds those of conditions that fail. ``batch_keys`` are the keys whose states
    a batch adds to, once a window size. ``freshness_s`` is of the oldest event
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
    batch_keys: float
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
        rollups = sum(
            (rollup_flow(load, each, lanes=lanes, batch_s=batch_s) for each in load.rollups), RollupFlow()
        )
        writes = rollups.items
        progress = _progress_writes(load, shards=shards, batch_s=batch_s, one_key=one_key)
        duration_s = load.speeds.duration_s(
            events=lane_events_per_s * batch_s,
            keys=rollups.keys,
            writes=writes + progress,
            memory_mb=load.memory_mb,
        )
        # What arrives while a batch is handled is the next batch: it grows until it keeps up, or is full.
        if duration_s <= batch_s or batch_s >= full_s:
            break
        batch_s = duration_s
    progress_units = write_units(int(_PROGRESS_BYTES + _PRODUCER_BYTES * load.producers))
    batches_per_s = lanes / batch_s
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
        batch_keys=rollups.keys,
        batch_writes=writes + progress,
        writes_per_s=(writes + progress) * batches_per_s,
        progress_writes_per_s=progress * batches_per_s,
        write_units_per_s=(rollups.units * (1 + load.conflicts) + progress * progress_units) * batches_per_s,
        read_units_per_s=(rollups.reads + progress) * batches_per_s,
        invocations_per_s=batches_per_s,
        duration_s=duration_s,
        freshness_s=load.linger_s + batch_s + duration_s,
        stored_items=rollups.stored_items,
        stored_bytes=rollups.stored_bytes,
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


@dataclass(frozen=True, slots=True)
class RollupFlow:
    """What one rollup writes a batch, on average over the lives of its windows; what begins a second, and stands.

    ``keys`` are states merged, once a window size; ``reads`` are of items that the sandbox does not know yet.
    """

    keys: float = 0.0
    items: float = 0.0
    units: float = 0.0
    reads: float = 0.0
    stored_items: float = 0.0
    stored_bytes: float = 0.0

    def __add__(self, other: "RollupFlow") -> "RollupFlow":
        """Return the sums."""
        return RollupFlow(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def rollup_flow(load: Load, rollup: RollupLoad, *, lanes: float, batch_s: float) -> RollupFlow:
    """Return what a batch of one of *lanes* invocations at once writes of *rollup*."""
    cells, keys, together = cells_of(load, rollup, lanes=lanes)
    key_events_per_s = load.events_per_s / lanes / cells / keys
    total = RollupFlow()
    for window_ms in rollup.windows_ms:
        of_window = _window_flow(
            rollup.bytes,
            keys,
            key_events_per_s,
            batch_s=batch_s,
            window_s=window_ms / 1000,
            together=together,
        )
        begun_per_s = 1000 / window_ms * lanes * cells
        # Each item is read when it is met first; those of cells that outgrow the memory, each time.
        reads = of_window.standing * batch_s * 1000 / window_ms
        if cells * of_window.standing * REMEMBERED_BYTES > CACHED_BYTES:
            reads = max(reads, of_window.items)
        kept_s = rollup.keep_s + window_ms / 1000
        total += RollupFlow(
            cells
            * keys
            * items_a_key(events_per_s=key_events_per_s, batch_s=batch_s, window_s=window_ms / 1000),
            cells * of_window.items,
            cells * of_window.units,
            cells * reads,
            begun_per_s * kept_s * of_window.standing,
            begun_per_s * kept_s * (of_window.stored_bytes + of_window.standing * STORED_OVERHEAD_BYTES),
        )
    return total


def cells_of(load: Load, rollup: RollupLoad, *, lanes: float) -> tuple[float, float, float]:
    """Return how many cells a window has in one of *lanes*, how many keys each has, and how many of these stand together."""
    # Where order holds by partition key only, a device is a lane, and no item holds keys of two.
    cells = load.devices / lanes if load.parallelization_factor > 1 else 1.0
    keys = float(rollup.keys) if rollup.spread else max(1.0, rollup.keys / lanes / cells)
    together = rollup.together.keys_of(rollup.keys, of_cell=keys) if rollup.together else 1.0
    return cells, keys, together


@cache
def _window_flow(
    bytes_: BodyBytes,
    keys: float,
    key_events_per_s: float,
    *,
    batch_s: float,
    window_s: float,
    together: float,
) -> Touched:
    """Return what a batch writes of cells of one window size: the mean over the life of a window; standing at its end."""
    batches = 1 + window_s / batch_s  # that meet one window
    by_batch = keys * items_a_key(events_per_s=key_events_per_s, batch_s=batch_s, window_s=window_s)
    by_batch /= 1 + batch_s / window_s  # so many cells does a batch meet
    first_s = _first_s(batch_s, window_s)
    first, first_events = first_batch(keys, key_events_per_s, batch_s=batch_s, window_s=window_s)
    items = units = 0.0
    for quantile in _LIFE:
        heard = key_events_per_s * max(quantile * window_s, first_s)
        so_far = max(first, by_batch, keys * min(1.0, heard))
        each = touched(
            so_far,
            bytes_,
            first=first,
            first_events=first_events,
            by_batch=by_batch,
            events=max(1.0, heard),
            together=max(1.0, together * so_far / keys),
        )
        items += each.items / len(_LIFE)
        units += each.units / len(_LIFE)
    at_end = touched(
        max(first, keys * min(1.0, key_events_per_s * window_s)),
        bytes_,
        first=first,
        first_events=first_events,
        by_batch=by_batch,
        events=max(1.0, key_events_per_s * window_s),
        together=max(1.0, together * min(1.0, key_events_per_s * window_s)),
    )
    cells = batches * batch_s / window_s
    return Touched(items * cells, units * cells, at_end.standing, at_end.stored_bytes)


def first_batch(
    keys: float, key_events_per_s: float, *, batch_s: float, window_s: float
) -> tuple[float, float]:
    """Return how many of *keys* keys the first batch of a window has, and how many events of each."""
    first_s = _first_s(batch_s, window_s)
    return max(1.0, keys * min(1.0, key_events_per_s * first_s)), max(1.0, key_events_per_s * first_s)


def _first_s(batch_s: float, window_s: float) -> float:
    return min(batch_s, window_s) / 2  # of the first batch's events, on average


def _progress_writes(load: Load, *, shards: int, batch_s: float, one_key: bool) -> float:
    """Return the progress items that a batch writes: one a lane, and lanes are devices where order holds by key only."""
    if not one_key:
        return 1.0
    devices = load.devices / (shards * load.parallelization_factor)
    return devices * min(1.0, load.events_per_s / load.devices * batch_s)
