"""The common workload: readings of a fleet at 1 Hz, as a producer sends them and as a Lambda batch brings them."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import WrongAnswerError
from processors.pipeline_files import FilesIn, load_pipeline
from producers.client.batcher import Batcher, BatcherConfig
from producers.client.encoder import encoder_of
from producers.client.identity import Identity
from producers.simulators.fleet import FleetConfig, fleet_events
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.fold.batch import Folded
from streamgage.fold.cells import Cell, ChunkContribution
from streamgage.fold.items import key_values
from streamgage.formats.avro import Event
from streamgage.records import StreamRecord, UserRecord
from streamgage.shards import Shard, ShardMap

DEFINITIONS = Path(__file__).parent / "definitions"
START_MS = (
    1_767_225_649_700  # 2026-01-01T00:00:49.7Z: a minute ends in the midst of a round, within every batch
)
METRICS = 3
SHARD_ID = "shardId-000000000000"
STREAM_ARN = "arn:aws:kinesis:eu-central-1:000000000000:stream/telemetry"
WINDOWS_MS = {"1m": 60_000, "1h": 3_600_000}
_SEQUENCE = (
    49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898  # 56 digits, as AWS gives them
)
_TRANSIT_MS = 250  # from the last event of a Kinesis record to its arrival

Totals = dict[str, tuple[int, float, float]]
"""Count, sum and maximum by ``window|start|device|metric``."""


def reference_pipeline() -> Pipeline:
    """Return the definition that ours and the peers fold by: count, sum, max over 1m and 1h."""
    return load_pipeline(DEFINITIONS / "reference.toml")


def variant_pipeline(*, windows: Sequence[str], measures: Sequence[str], rollups: int = 1) -> Pipeline:
    """Return the reference definition with other windows, measures, or several rollups of the same events."""
    text = (DEFINITIONS / "reference.toml").read_text(encoding="utf-8")
    head, _, _ = text.partition("[[rollups]]")
    for number in range(rollups):
        head += (
            f'[[rollups]]\nname = "rollup_{number}"\nsource = "reading"\nkey = ["device_id", "metric"]\n'
            f'windows = {list(windows)}\nkeep = "90d"\n[rollups.measures]\nvalue = {list(measures)}\n'
        )
    return parse_pipeline(head, FilesIn(DEFINITIONS))


def readings(*, events: int, devices: int, seed: int) -> list[Event]:
    """Return *events* readings of *devices* with three metrics each at 1 Hz, in the order they are sent; none is late."""
    config = FleetConfig(
        devices=devices,
        events=events,
        seed=seed,
        start_ms=START_MS,
        period_ms=1_000,
        metrics=METRICS,
        late_share=0,
    )
    return list(fleet_events(config))


def one_shard() -> ShardMap:
    """Return a stream of one shard."""
    return ShardMap([Shard(SHARD_ID, 0, 2**128 - 1)])


def kinesis_records(user_records: Iterable[UserRecord], *, end_ms: int, seed: int) -> list[StreamRecord]:
    """Return *user_records* as one shard's Kinesis records, aggregated and marked as our producer does.

    All of them arrive a moment after *end_ms*.
    """
    batcher = _batcher(seed)
    for record in user_records:
        batcher.put(record, 0)
    return _read_back(batcher, end_ms)


def block_records(source: Source, events: Iterable[Event], *, end_ms: int, seed: int) -> list[StreamRecord]:
    """Return *events* as Kinesis records of blocks, else as ``kinesis_records`` does."""
    batcher = _batcher(seed)
    for event in events:
        batcher.put_event(source, event, 0)
    return _read_back(batcher, end_ms)


def _batcher(seed: int) -> Batcher:
    dice = random.Random(seed)  # noqa: S311 - seeded, to be the same in every run
    return Batcher(one_shard(), BatcherConfig(), tags_for=Identity(dice).tags_for)


def _read_back(batcher: Batcher, end_ms: int) -> list[StreamRecord]:
    return [
        StreamRecord(
            shard_id=SHARD_ID,
            sequence_number=_SEQUENCE + number * 1_208_925,
            partition_key=entry.partition_key,
            data=entry.data,
            arrival_ms=end_ms + _TRANSIT_MS,
        )
        for number, entry in enumerate(batcher.take_all())
    ]


@dataclass(frozen=True, slots=True)
class Workload:
    """One batch of readings: the events, and the Kinesis records that carry them."""

    pipeline: Pipeline
    events: list[Event]
    records: list[StreamRecord]

    @classmethod
    def of(cls, *, events: int, devices: int, seed: int) -> "Workload":
        """Return the reference workload."""
        pipeline = reference_pipeline()
        source = pipeline.sources["reading"]
        made = readings(events=events, devices=devices, seed=seed)
        end_ms = max(each["ts"] for each in made)
        records = kinesis_records(map(encoder_of(source).user_record, made), end_ms=end_ms, seed=seed)
        return cls(pipeline, made, records)

    @property
    def end_ms(self) -> int:
        """The latest event time."""
        latest: int = max(each["ts"] for each in self.events)
        return latest

    def blocks(self, *, seed: int) -> list[StreamRecord]:
        """Return the events as Kinesis records of blocks."""
        source = self.pipeline.sources["reading"]
        return block_records(source, self.events, end_ms=self.end_ms, seed=seed)

    def describe(self) -> dict[str, Any]:
        """Return its size, as a result's configuration shows it."""
        keys = len({(each["device_id"], each["metric"]) for each in self.events})
        return {
            "events": len(self.events),
            "keys": keys,
            "kinesis_records": len(self.records),
            "bytes": sum(len(each.data) for each in self.records),
            "definition": "count, sum, max of one field by device and metric, windows 1m and 1h",
        }

    def totals(self) -> Totals:
        """Return what every contestant must find, folded in the plainest way."""
        found: dict[str, list[Any]] = {}
        for event in self.events:
            for label, size_ms in WINDOWS_MS.items():
                start_ms = event["ts"] - event["ts"] % size_ms
                key = total_key(label, start_ms, event["device_id"], event["metric"])
                total = found.setdefault(key, [0, 0.0, event["value"]])
                total[0] += 1
                total[1] += event["value"]
                total[2] = max(total[2], event["value"])
        return {key: (count, total, most) for key, (count, total, most) in found.items()}


def total_key(window: str, start_ms: int, device_id: str, metric: str) -> str:
    """Return how a total is named."""
    return f"{window}|{start_ms}|{device_id}|{metric}"


def totals_of(folded: Folded) -> Totals:
    """Return our own fold as totals: what each cell would add to a table that is empty."""
    totals: Totals = {}
    for cell in cells_of(folded):
        (field,) = cell.rollup.layout.fields
        _, counts, sums, most = cell.table
        for at, key in enumerate(cell.keys):
            name = total_key(cell.windows.label, cell.start_ms, *key_values(key.text))
            totals[name] = (counts[at], sums[at] / 10**field.scale, most[at] / 10**field.scale)
    return totals


def cells_of(folded: Folded) -> list[Cell]:
    """Return the cells that *folded* adds to."""
    cells = []
    for contribution in folded.items.values():
        if not isinstance(contribution, ChunkContribution):
            raise WrongAnswerError(f"{contribution!r} is no contribution of a fold")
        cells.append(contribution.cell)
    return cells


def check_totals(label: str, found: Mapping[str, Sequence[float]], expected: Totals) -> None:
    """Compare counts and maxima exactly, sums to six decimals: peers add floats, whose last bits depend on order.

    Raises:
        WrongAnswerError: they differ.
    """
    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())
        raise WrongAnswerError(f"{label}: {len(odd)} totals too many or missing, the first: {odd[0]}")
    for key, (count, total, most) in expected.items():
        got = found[key]
        if got[0] != count or abs(got[1] - total) > 1e-6 or got[2] != most:
            raise WrongAnswerError(f"{label}: {key} is {tuple(got)}, expected {(count, total, most)}")
