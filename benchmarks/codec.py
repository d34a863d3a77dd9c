"""The steps of the format one by one: encode, aggregate, deaggregate, decode; ours beside the libraries for each."""

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import fastavro
from aws_kinesis_agg.deaggregator import deaggregate_records

from benchmarks.events import STREAM_ARN, Workload, kinesis_records
from benchmarks.harness import (
    Contestant,
    Progress,
    Result,
    Series,
    Table,
    WrongAnswerError,
    per_event_us,
    take_turns,
    timed,
)
from benchmarks.peers import kinesis_agg
from producers.client.batcher import BatcherConfig
from producers.client.encoder import encoder_of
from streamgage.formats.avro import HEADER_BYTES, AvroReader
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.formats.blocks.reader import Block, BlockReader
from streamgage.formats.kinesis_event import encode_event
from streamgage.formats.kpl import decode_aggregate

QUESTION = "What does each step of the format cost: encode, aggregate, deaggregate, decode?"
OURS = "streamgage, rows"
BLOCKS = "streamgage, blocks"
AGG = "aws_kinesis_agg"
FASTAVRO = "fastavro alone"
_BLOCK_EVENTS = BatcherConfig().block_events
_FIELDS = ("device_id", "metric", "ts", "value")  # those that the reference definition needs
STEPS = ("encode", "aggregate", "deaggregate", "decode")


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Measure each step on what the step before it made."""
    workload = Workload.of(events=1_500 if quick else 30_000, devices=20 if quick else 1_000, seed=seed)
    steps = _Steps(workload, seed)
    rounds = 1 if quick else 7
    tables = [_measure(steps, step, rounds, progress) for step in STEPS]
    return Result(
        name="codec",
        question=QUESTION,
        method=(
            "Each step alone, on what the step before it made. Encode: an event to an Avro single object under its partition "
            "key (ours also checks that it fits the schema, is finite and has a time). Aggregate: user records to marked KPL "
            "records of 50 kB, by predicted shard (aws_kinesis_agg: in one row). Deaggregate: KPL records to user records "
            "(aws_kinesis_agg takes and gives base64, as it does in a Lambda function). Decode: user record to event; a block to "
            "the columns of the fields that rollups need."
        ),
        tables=tuple(tables),
        configuration=workload.describe(),
        limits=(
            "The fold reads columns and skips what no rollup needs: it costs less than the sum of these steps.",
        ),
    )


def _measure(steps: "_Steps", step: str, rounds: int, progress: Progress) -> Table:
    seconds = take_turns(
        steps.contestants(step),
        rounds=rounds,
        check=lambda label, answer: steps.check(step, label, answer),
        progress=lambda what: progress(f"{step}, {what}"),
    )
    series = tuple(
        Series(label, "ours" if label in (OURS, BLOCKS) else "peer", per_event_us(each, steps.events))
        for label, each in seconds.items()
    )
    return Table(title=step.capitalize(), unit="µs of CPU an event", series=series, baseline=OURS)


class _Steps:
    """The four steps, their inputs and what must come out."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self._workload, self._seed = workload, seed
        self.events = len(workload.events)
        self._source = workload.pipeline.sources["reading"]
        self._user_records = [encoder_of(self._source).user_record(each) for each in workload.events]
        self._datas = [each.data for each in self._user_records]
        self._pairs = [(each.partition_key, each.data) for each in self._user_records]
        self._end_ms = max(each["ts"] for each in workload.events)
        self._codec = BlockCodec(self._source.schema)
        self._reader = BlockReader(self._source.schema)
        self._blocks = self._encode_blocks()
        self._event = encode_event(workload.records, stream_arn=STREAM_ARN)

    def contestants(self, step: str) -> dict[str, Contestant]:
        """Return who does *step*."""
        ways: dict[str, dict[str, Callable[[], Any]]] = {
            "encode": {OURS: self._encode, BLOCKS: self._encode_blocks, FASTAVRO: self._fastavro_encode},
            "aggregate": {OURS: self._aggregate, AGG: self._agg_aggregate},
            "deaggregate": {OURS: self._deaggregate, AGG: self._agg_deaggregate},
            "decode": {OURS: self._decode, BLOCKS: self._decode_blocks, FASTAVRO: self._fastavro_decode},
        }
        return {label: timed(way) for label, way in ways[step].items()}

    def check(self, step: str, label: str, answer: Any) -> None:
        """Compare what came out with what went in."""
        match step:
            case _ if label == BLOCKS:
                right = self._right_blocks(answer)
            case "encode":
                right = answer == self._datas
            case "aggregate":
                right = _user_datas(answer) == self._datas
            case "deaggregate":
                right = answer == len(self._datas)
            case _:
                right = [_without_defaults(each) for each in answer] == self._workload.events
        if not right:
            raise WrongAnswerError(f"{step}: {label} did not give what went in")

    def _encode(self) -> list[bytes]:
        return [encoder_of(self._source).user_record(each).data for each in self._workload.events]

    def _encode_blocks(self) -> list[bytes]:
        events = self._workload.events
        return [
            self._codec.encode(events[start : start + _BLOCK_EVENTS])
            for start in range(0, len(events), _BLOCK_EVENTS)
        ]

    def _decode_blocks(self) -> list[Block]:
        return [self._reader.decode(each, _FIELDS) for each in self._blocks]

    def _right_blocks(self, answer: list[Any]) -> bool:
        if answer and isinstance(answer[0], bytes):
            return answer == self._blocks
        rows = [block.row(number) for block in answer for number in range(block.count)]
        return rows == self._datas and all(block.columns.keys() == set(_FIELDS) for block in answer)

    def _fastavro_encode(self) -> list[bytes]:
        return [kinesis_agg.encode(each, self._source.schema) for each in self._workload.events]

    def _aggregate(self) -> list[bytes]:
        made = kinesis_records(self._user_records, end_ms=self._end_ms, seed=self._seed)
        return [each.data for each in made]

    def _agg_aggregate(self) -> list[bytes]:
        return kinesis_agg.aggregate(self._pairs, max_bytes=BatcherConfig().aggregate_bytes)

    def _deaggregate(self) -> int:
        return sum(len(decode_aggregate(each.data).datas) for each in self._workload.records)

    def _agg_deaggregate(self) -> int:
        return len(deaggregate_records(self._event["Records"]))

    def _decode(self) -> list[Any]:
        decode = AvroReader(self._source.schema, self._source.writers).decode
        return [decode(each) for each in self._datas]

    def _fastavro_decode(self) -> list[Any]:
        schema = self._source.schema.parsed
        return [
            fastavro.schemaless_reader(BytesIO(each[HEADER_BYTES:]), schema, None) for each in self._datas
        ]


def _user_datas(kinesis_datas: Iterable[bytes]) -> list[bytes]:
    return [data for each in kinesis_datas for data in decode_aggregate(each).datas]


def _without_defaults(event: Any) -> Any:
    return {name: value for name, value in event.items() if value is not None}
