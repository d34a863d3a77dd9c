"""What a plan should make a person think twice about, said before it is deployed."""

from collections.abc import Iterator

from infra.aws.cost.flow import Flow
from infra.aws.cost.item_size import write_units
from infra.aws.cost.load import Load
from infra.aws.cost.model import ON_DEMAND_ROUND_BYTES
from streamgage.limits import SHARD_IN_BYTES_PER_S, SHARD_IN_RECORDS_PER_S

PARTITION_WRITE_UNITS_PER_S = 1000
_MANY_EVENTS = 1000
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html (2026-11-21)


def warnings_of(load: Load, flow: Flow, *, window_s: int, fewest_shards: int) -> Iterator[str]:
    """Yield the warnings, the ones that lose or stall data first."""
    yield from _hot_shard(load, flow, fewest_shards)
    yield from _hot_partition(load, flow)
    yield from _slow_function(load, flow)
    yield from _batching(load, flow, window_s)
    yield from _costs(load, flow)


def _hot_shard(load: Load, flow: Flow, fewest_shards: int) -> Iterator[str]:
    if flow.shards < fewest_shards:
        yield (
            f"{flow.shards} shards are too few: {load.peak:g} x the average rate needs {fewest_shards} "
            "(1 MB/s or 1,000 records/s each). PutRecords will be throttled"
        )
    device_events = load.device_events_per_s * load.peak
    # All of a device's events go to one shard, in records that it shares with others.
    device_records = device_events * flow.records_per_s / load.events_per_s
    device_bytes = device_records * flow.record_bytes
    if device_bytes > SHARD_IN_BYTES_PER_S or device_records > SHARD_IN_RECORDS_PER_S:
        yield (
            f"hot key: the busiest device sends {device_bytes / 1e6:.1f} MB/s in {device_records:,.0f} records/s, and one "
            "shard takes 1 MB/s and 1,000 records/s. More shards do not help: give it several partition keys"
        )
    elif load.hottest_share and load.hottest_share * flow.shards > 1:
        yield (
            f"hot shard: the busiest device alone is {load.hottest_share * flow.shards:.1f} x a shard's average load; size "
            "the stream by that shard, not by the average"
        )


def _hot_partition(load: Load, flow: Flow) -> Iterator[str]:
    for rollup in load.rollups:
        item_bytes = rollup.bytes.item(1, _MANY_EVENTS)
        units = write_units(round(item_bytes))
        # The smallest window weighs most. All lanes write the same chunk, the root in the end, in one partition.
        lanes_per_s = flow.progress_writes_per_s * units
        per_s = lanes_per_s * (1 + flow.batch_s * 1000 / min(rollup.windows_ms))
        if per_s > PARTITION_WRITE_UNITS_PER_S:
            yield (
                f"hot partition: a chunk of {rollup.name} takes {per_s:,.0f} write units/s from all lanes; a DynamoDB "
                "partition takes 1,000. Batch longer, or use fewer shards"
            )
        if units > 1:
            yield (
                f"a key of {rollup.name} takes {item_bytes:,.0f} bytes with its item: each write of one costs {units} units. "
                "Shorter keys, fewer measures, or two rollups of 1 kB"
            )
    progress_partitions = flow.shards if load.parallelization_factor > 1 else 1
    progress_per_s = flow.progress_writes_per_s / progress_partitions
    if progress_per_s > PARTITION_WRITE_UNITS_PER_S:
        yield (
            f"hot partition: progress takes {progress_per_s:,.0f} write units/s in one partition, which takes 1,000. "
            "Batch longer"
        )


def _slow_function(load: Load, flow: Flow) -> Iterator[str]:
    if flow.duration_s > 0.8 * load.timeout_s:
        yield (
            f"an invocation takes about {flow.duration_s:.0f} s, its timeout is {load.timeout_s} s: more shards, more "
            "memory, or a longer timeout"
        )
    if flow.duration_s * load.peak > flow.batch_s:
        yield (
            f"a batch of {flow.batch_s:.1f} s takes {flow.duration_s:.1f} s to handle, and the peak is {load.peak:g} x the "
            "average: the shard falls behind. More shards, or more memory"
        )


def _batching(load: Load, flow: Flow, window_s: int) -> Iterator[str]:
    if flow.freshness_s > load.freshness_s:
        yield (
            f"an event can be read after up to {flow.freshness_s:.0f} s; you asked for {load.freshness_s:g} s. Lower the "
            f"batching window ({window_s} s)"
        )
    if flow.bound != "batching window" and window_s > flow.batch_s + 1:
        yield (
            f"the batching window of {window_s} s is not reached: {flow.bound} ends a batch after {flow.batch_s:.0f} s. "
            + (
                "More shards let it last longer"
                if load.blocks
                else "--blocks or more shards let it last longer"
            )
        )


def _costs(load: Load, flow: Flow) -> Iterator[str]:
    if flow.record_bytes < ON_DEMAND_ROUND_BYTES:
        times = ON_DEMAND_ROUND_BYTES / flow.record_bytes
        yield (
            f"an on-demand stream rounds each Kinesis record of {flow.record_bytes:.0f} bytes up to 1 kB: you would pay "
            f"for {times:.1f} x the bytes. Aggregate events, or let producers linger longer"
        )
    if load.parallelization_factor > 1:
        share = flow.progress_writes_per_s / flow.writes_per_s if flow.writes_per_s else 0
        yield (
            f"ParallelizationFactor {load.parallelization_factor}: each Kinesis record holds one partition key "
            f"({load.events_per_s / flow.records_per_s:.1f} events a record), and progress is written a key: "
            f"{share:.0%} of all writes. More shards do the same for less"
        )
