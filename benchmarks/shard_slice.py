"""One shard of a stream: the real producer, the real function and a table that counts, without a network.

Keys are uniform: each shard gets the same rate of events. So the write units per event of one shard are those of the
stream. It is driven whole, with all its keys: how many of them share an item depends on how many there are.
"""

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.sandbox import function_over
from infra.aws.cost.counting import Consumed, CountingTable
from infra.aws.cost.model import on_demand_bytes, put_units
from infra.local.mapping.payload import ENVELOPE_BYTES, record_bytes
from processors.aggregate.batch import BatchReport
from processors.sink.fenced import SinkLimits
from producers.client.batcher import Batcher, BatcherConfig, PutEntry
from producers.client.encoder import encoder_of
from producers.client.identity import Identity
from producers.simulators.fleet import FleetConfig, fleet_events
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.formats.avro import Event
from streamgage.formats.kinesis_event import encode_event
from streamgage.limits import ESM_BATCH_RECORDS, ESM_PAYLOAD_BYTES, KINESIS_HASH_KEYS
from streamgage.records import StreamRecord
from streamgage.shards import Shard, ShardMap, hash_key_of

STREAM_ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/telemetry"
SHARD = "shardId-000000000000"
SOURCE = "reading"
CACHED_BYTES = SinkLimits().cached_bytes
# As Kinesis numbers its records: 56 digits. They stand in every fence.
_FIRST_SEQUENCE_NUMBER = 49590338271490256608559692538361571095921575989136588898
_SEQUENCE_STEP = 1_208_925_819_614_629_174_706_176
# 7.3 s past a minute, so that batches of half a minute do not happen to begin and end with the windows.
START_MS = 1_767_225_600_000 + 7_300


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceLoad:
    """``devices`` x ``metrics`` readings every ``period_ms``, through ``shards``, by one producer that lingers."""

    devices: int = 10_000
    metrics: int = 3
    period_ms: int = 1_000
    shards: int = 12
    linger_ms: int = 100
    late_share: float = 0.0
    seed: int = 1

    @property
    def events_per_s(self) -> float:
        """The rate of the whole stream."""
        return self.devices * self.metrics * 1000 / self.period_ms

    @property
    def shard_events_per_s(self) -> float:
        """The rate of one shard, on average."""
        return self.events_per_s / self.shards

    @property
    def shard_devices(self) -> int:
        """The devices of one shard, on average."""
        return max(1, round(self.devices / self.shards))


@dataclass(frozen=True, slots=True)
class Put:
    """One Kinesis record of the shard, and how many events it holds."""

    record: StreamRecord
    events: int


def shard_map(shards: int) -> ShardMap:
    """Return *shards* shards that share the hash keys evenly; the first is SHARD."""
    edges = [KINESIS_HASH_KEYS * number // shards for number in range(shards + 1)]
    return ShardMap(
        Shard(f"shardId-{number:012d}", low, high - 1) for number, (low, high) in enumerate(pairwise(edges))
    )


def shard_records(
    load: ReferenceLoad, pipeline: Pipeline, *, seconds: float, blocks: bool = False
) -> list[Put]:
    """Return what the devices of the first shard put in *seconds*, as the real Batcher makes it.

    A record arrives when its producer takes it: when it is full, or has lingered. With *blocks* it holds one block.
    """
    shards = shard_map(load.shards)
    names = _device_names(shards, load, load.shard_devices)
    config = FleetConfig(
        devices=len(names),
        events=round(len(names) * load.metrics * seconds * 1000 / load.period_ms),
        seed=load.seed,
        start_ms=START_MS,
        period_ms=load.period_ms,
        metrics=load.metrics,
        late_share=load.late_share,
    )
    events = fleet_events(config)
    named = ({**event, "device_id": names[int(event["device_id"].rpartition("-")[2])]} for event in events)
    return put_all(
        named, pipeline.sources[SOURCE], shards, linger_ms=load.linger_ms, seed=load.seed, blocks=blocks
    )


def put_all(
    events: Iterable[Event], source: Source, shards: ShardMap, *, linger_ms: int, seed: int, blocks: bool
) -> list[Put]:
    """Return the Kinesis records of *events*, which are sent when they happen."""
    batcher = Batcher(
        shards,
        BatcherConfig(linger_ms=linger_ms),
        tags_for=Identity(random.Random(seed)).tags_for,  # noqa: S311 - a seeded simulation
    )
    puts: list[Put] = []
    now_ms = START_MS
    for event in events:
        now_ms = max(now_ms, event["ts"])
        while (deadline_ms := batcher.next_deadline_ms()) is not None and deadline_ms <= now_ms:
            puts_of(batcher.take(max(deadline_ms, START_MS)), max(deadline_ms, START_MS), puts)
        if blocks:
            batcher.put_event(source, event, now_ms)
        else:
            batcher.put(encoder_of(source).user_record(event), now_ms)
    puts_of(batcher.take_all(), now_ms + linger_ms, puts)
    return puts


def puts_of(entries: Iterable[PutEntry], now_ms: int, puts: list[Put]) -> None:
    """Append *entries* to *puts*, as Kinesis takes them at *now_ms*."""
    for entry in entries:
        number = _FIRST_SEQUENCE_NUMBER + len(puts) * _SEQUENCE_STEP
        record = StreamRecord(SHARD, number, entry.partition_key, entry.data, now_ms)
        puts.append(Put(record, entry.events))


def _device_names(shards: ShardMap, load: ReferenceLoad, count: int) -> list[str]:
    """Return *count* names of the fleet whose readings go to the first shard."""
    names = (f"device-{number:05d}" for number in range(load.devices * 4))
    mine = (name for name in names if shards.shard_for(hash_key_of(name)) == SHARD)
    return [name for name, _ in zip(mine, range(count), strict=False)]


@dataclass(frozen=True, slots=True)
class Wire:
    """What the shard's events take on the way, per event: measured at the full rate of one shard.

    ``payload_bytes`` is of the invocation's JSON; ``records`` Kinesis records.
    """

    data_bytes: float
    payload_bytes: float
    records: float
    put_units: float
    on_demand_bytes: float

    @property
    def batch_events(self) -> int:
        """The events of a full batch: what 6 MB of payload or 10,000 records hold."""
        return int(
            min((ESM_PAYLOAD_BYTES - ENVELOPE_BYTES) / self.payload_bytes, ESM_BATCH_RECORDS / self.records)
        )


def wire_of(puts: Sequence[Put]) -> Wire:
    """Return what *puts* take per event."""
    events = sum(each.events for each in puts)
    sizes = [len(each.record.data) + len(each.record.partition_key.encode()) for each in puts]
    payload = sum(record_bytes(each.record, stream_arn=STREAM_ARN) + 1 for each in puts)
    return Wire(
        sum(sizes) / events,
        payload / events,
        len(puts) / events,
        sum(map(put_units, sizes)) / events,
        sum(map(on_demand_bytes, sizes)) / events,
    )


def cut(puts: Sequence[Put], *, window_ms: int, batch_events: float | None = None) -> Iterator[list[Put]]:
    """Yield the batches that Lambda makes of *puts*, its function being fast: full, or after the batching window.

    The window begins when a batch's first record is there. Without *batch_events* a batch is full at 6 MB of payload or
    10,000 records; with it, at so many events. What is neither full nor due at the end is left out.
    """
    queue: deque[Put] = deque()
    size, opened_ms = _EMPTY, 0
    for put in puts:
        now_ms = put.record.arrival_ms
        if queue and now_ms - opened_ms > window_ms:
            yield list(queue)
            queue.clear()
        weight = put.events if batch_events else record_bytes(put.record, stream_arn=STREAM_ARN) + 1
        limit = batch_events or ESM_PAYLOAD_BYTES
        if queue and (size + weight > limit or len(queue) == ESM_BATCH_RECORDS):
            yield list(queue)
            queue.clear()
        if not queue:
            size, opened_ms = _EMPTY if not batch_events else 0, now_ms
        queue.append(put)
        size += weight


_EMPTY = ENVELOPE_BYTES - 1


@dataclass(frozen=True, slots=True)
class Driven:
    """What a shard's batches cost."""

    table: CountingTable
    events: int
    batches: int
    seconds: float

    @property
    def write_units_per_million(self) -> float:
        """Write units per million events: of aggregates, and of progress, once a batch."""
        return self._per_million(self.table.items.all_write_units, self.table.progress.all_write_units)

    @property
    def failed_write_units_per_million(self) -> float:
        """Of them, those of conditions that failed."""
        return self._per_million(self.table.items.failed_write_units, self.table.progress.failed_write_units)

    @property
    def progress_write_units_per_million(self) -> float:
        """Of them, those of the progress of the lanes."""
        return self._per_million(0, self.table.progress.all_write_units)

    @property
    def read_units_per_million(self) -> float:
        """Read units per million events."""
        return self._per_million(self.table.items.read_units, self.table.progress.read_units)

    @property
    def batch_seconds(self) -> float:
        """The seconds that a batch covers."""
        return self.seconds / self.batches

    def _per_million(self, of_items: int, of_progress: int) -> float:
        return (of_items + of_progress) / self.events * 1e6


def drive(
    batches: Iterator[list[Put]],
    pipeline: Pipeline,
    *,
    sandboxes: int = 1,
    cached_bytes: int = CACHED_BYTES,
    warm_up: int = 1,
    seed: int = 1,
) -> Driven:
    """Run the real function over *batches*; each goes to one of *sandboxes*, at random, as Lambda promises no affinity.

    Each sandbox remembers *cached_bytes* of items, as of its own last batch. The first *warm_up* batches are applied and not
    counted: they read what a long-running pipeline knows.

    Raises:
        ValueError: a batch failed, or a record of it was refused: the count would be of something else.
    """
    table, reports = CountingTable(), list[BatchReport]()
    limits = SinkLimits(concurrency=1, cached_bytes=cached_bytes)
    functions = [
        function_over(
            table, pipeline, stream_arn=STREAM_ARN, now_ms=START_MS, report=reports.append, limits=limits
        )
        for _ in range(sandboxes)
    ]
    dice = random.Random(seed)  # noqa: S311 - a seeded simulation
    events = count = span_ms = all_events = last_ms = 0
    for number, batch in enumerate(batches):
        if number == warm_up:
            table.items, table.progress = Consumed(), Consumed()
        records = [each.record for each in batch]
        function = functions[dice.randrange(sandboxes)]
        function.handle(encode_event(records, stream_arn=STREAM_ARN), remaining_ms=lambda: 60_000)
        all_events += sum(each.events for each in batch)
        if number >= warm_up:
            events += sum(each.events for each in batch)
            count += 1
            span_ms += records[-1].arrival_ms - last_ms
        last_ms = records[-1].arrival_ms
    applied = sum(each.user_records - each.poison.total() for each in reports)
    if applied != all_events or any(each.failed_from is not None for each in reports):
        raise ValueError(f"{applied} of {all_events} events were applied")
    if not count:
        raise ValueError("no batch was full or due after those that warm up: drive more seconds")
    return Driven(table, events, count, span_ms / 1000)
