"""Encode and aggregate on the producer's side: ours beside aws_kinesis_agg's aggregator and async-kinesis."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.events import SHARD_ID, Workload, kinesis_records
from benchmarks.harness import (
    Contestant,
    Headline,
    Progress,
    Result,
    Role,
    Series,
    Table,
    WrongAnswerError,
    per_event_us,
    take_turns,
    timed,
)
from benchmarks.peers import kinesis_agg
from benchmarks.peers.external import ABSENT, are_installed, input_file
from producers.client.batcher import BatcherConfig, PutEntry
from producers.client.core import CoreConfig, ProducerCore
from producers.client.encoder import encoder_of
from producers.client.identity import Identity
from producers.client.ports import PutResult, PutStored
from streamgage.formats.blocks.reader import BlockReader
from streamgage.formats.kpl import decode_aggregate
from streamgage.shards import Shard

QUESTION = "What does a producer spend to encode and aggregate an event?"
OURS = "streamgage, rows"
BLOCKS = "streamgage, blocks"
SEND = "streamgage, blocks, Producer.send"
MANY = "streamgage, blocks, Producer.put_many"
AGG = "fastavro + aws_kinesis_agg"
ASYNC_LIST = "async-kinesis, JSON list"
ASYNC_LINES = "async-kinesis, JSON lines"
IN_BLOCKS = (BLOCKS, SEND, MANY)
_PROCESSORS = {ASYNC_LIST: "JsonListProcessor", ASYNC_LINES: "JsonLineProcessor"}
_ASYNC_MAX_KIB = 50  # what aggregates of 50 kB come closest to in its units of 25 KiB


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Measure from events to the data of Kinesis records."""
    workload = Workload.of(events=1_500 if quick else 30_000, devices=20 if quick else 1_000, seed=seed)
    producer = _Producer(workload, seed)
    contestants: dict[str, Contestant] = {
        OURS: timed(producer.rows),
        BLOCKS: timed(producer.blocks),
        SEND: timed(producer.sent),
        MANY: timed(producer.put_many),
        AGG: timed(producer.with_agg),
    }
    missing: dict[str, str] = {}
    with input_file({"events": workload.events, "max_size_kib": _ASYNC_MAX_KIB}) as given:
        for label, processor in _PROCESSORS.items():
            if are_installed():
                contestants[label] = given.contestant("async_kinesis_put", processor)
            else:
                missing[label] = ABSENT
        seconds = take_turns(
            contestants,
            rounds=1 if quick else 7,
            check=producer.check,
            progress=progress,
        )
    count = len(workload.events)
    cpu = tuple(Series(label, _role(label), per_event_us(each, count)) for label, each in seconds.items())
    sizes = tuple(Series(label, _role(label), (size / count,)) for label, size in producer.sent_bytes.items())
    table = Table(title="Encode and aggregate", unit="µs of CPU an event", series=cpu, baseline=OURS)
    return Result(
        name="producer",
        question=QUESTION,
        method=(
            "From events (dicts) to the data of Kinesis records of about 50 kB; nothing is sent. What each made is read again, "
            "and compared with the events. Ours checks each event, predicts its shard, and marks each record for dedupe; rows and "
            "blocks in the batcher alone, the two of the producer in front of a stream that stores everything at no cost."
        ),
        tables=(
            table,
            Table(title="Bytes on the wire", unit="bytes an event", series=sizes, baseline=OURS),
        ),
        configuration=workload.describe(),
        facts={"bytes an event in blocks, the same events in random order": producer.shuffled_bytes()},
        missing=missing,
        headlines=_headlines(table),
        limits=(
            "Here each device has its place in every second, which helps blocks to compress; the fact above is without it.",
            "async-kinesis sends JSON, and its own aggregates, which no other client reads; its KPL processor is aws_kinesis_agg.",
            "aws_kinesis_agg gathers everything in one row, whatever shard it is for, and checks nothing.",
        ),
    )


class _Producer:
    """The contestants of this process, and the check of what each made."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self._workload, self._seed = workload, seed
        self._source = workload.pipeline.sources["reading"]
        self._datas = [encoder_of(self._source).user_record(each).data for each in workload.events]
        self._sum = sum(round(each["value"] * 10**4) for each in workload.events)
        self.sent_bytes: dict[str, int] = {}

    def blocks(self) -> list[bytes]:
        """Gather in blocks, in the batcher."""
        return [each.data for each in self._workload.blocks(seed=self._seed)]

    def sent(self) -> list[bytes]:
        """Send event by event, in blocks, to a stream that takes no time."""
        stream, source = _Stream(), replace(self._source, blocks=True)
        with self._opened(stream) as producer:
            for event in self._workload.events:
                producer.send(source, event)
        return stream.datas

    def put_many(self) -> list[bytes]:
        """Send what ``sent`` does, the whole list at once."""
        stream = _Stream()
        with self._opened(stream) as producer:
            producer.put_many(replace(self._source, blocks=True), self._workload.events)
        return stream.datas

    def _opened(self, stream: "_Stream") -> ProducerCore:
        dice = random.Random(self._seed)  # noqa: S311 - seeded, to be the same in every run
        config = CoreConfig(concurrency=1)
        return ProducerCore(stream, clock=stream, rng=dice, config=config, tags_for=Identity(dice).tags_for)

    def rows(self) -> list[bytes]:
        """Encode, and gather in the batcher."""
        user_records = map(encoder_of(self._source).user_record, self._workload.events)
        made = kinesis_records(user_records, end_ms=self._workload.end_ms, seed=self._seed)
        return [each.data for each in made]

    def with_agg(self) -> list[bytes]:
        """Encode with fastavro, and gather in aws_kinesis_agg's aggregator."""
        schema = self._source.schema
        pairs = ((each["device_id"], kinesis_agg.encode(each, schema)) for each in self._workload.events)
        return kinesis_agg.aggregate(pairs, max_bytes=BatcherConfig().aggregate_bytes)

    def shuffled_bytes(self) -> float:
        """Return the bytes an event takes in blocks where no order helps to compress them."""
        events = list(self._workload.events)
        random.Random(self._seed).shuffle(events)  # noqa: S311 - seeded, to be the same in every run
        shuffled = Workload(self._workload.pipeline, events, [])
        return round(sum(len(each.data) for each in shuffled.blocks(seed=self._seed)) / len(events), 2)

    def check(self, label: str, answer: Any) -> None:
        """Compare what *label* made with the events, and note its size."""
        if label in _PROCESSORS:
            right = (answer["events"], answer["sum"]) == (len(self._workload.events), self._sum)
            size = answer["bytes"]
        elif label in IN_BLOCKS:
            right = self._rows_in(_user_datas(answer)) == self._datas
            size = sum(map(len, answer))
        else:
            right = _user_datas(answer) == self._datas
            size = sum(map(len, answer))
        if not right:
            raise WrongAnswerError(f"{label} did not send what it was given")
        self.sent_bytes[label] = size

    def _rows_in(self, blocks: Iterable[bytes]) -> list[bytes]:
        reader = BlockReader(self._source.schema)
        opened = [reader.decode(each, ()) for each in blocks]
        return [block.row(number) for block in opened for number in range(block.count)]


class _Stream:
    """A stream of one shard that stores everything, and a clock that stands still."""

    def __init__(self) -> None:
        self.datas: list[bytes] = []

    def list_shards(self) -> Sequence[Shard]:
        """Return the one shard."""
        return [Shard(SHARD_ID, 0, 2**128 - 1)]

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        """Store *entries*."""
        self.datas += [each.data for each in entries]
        return [PutStored(each.shard_id, len(self.datas)) for each in entries]

    def now_ms(self) -> int:
        """Return the beginning of time."""
        return 0

    def sleep_ms(self, duration_ms: int) -> None:
        """Return at once: nothing here has to wait."""


def _user_datas(kinesis_datas: Iterable[bytes]) -> list[bytes]:
    return [data for each in kinesis_datas for data in decode_aggregate(each).datas]


def _role(label: str) -> Role:
    return "ours" if label in (OURS, *IN_BLOCKS) else "peer"


def _headlines(table: Table) -> tuple[Headline, ...]:
    found = []
    for label in (OURS, BLOCKS):
        mine, other = table.median_of(label), table.median_of(AGG)
        if mine and other:
            found.append(
                Headline(
                    what=f"encode + aggregate, {label.partition(', ')[2]}, against fastavro + aws_kinesis_agg",
                    ours=f"{mine:.2f} µs an event",
                    peer=f"{other:.2f} µs",
                    ratio=other / mine,
                    target="≥ 4",
                )
            )
    one, many = table.median_of(SEND), table.median_of(MANY)
    if one and many:
        found.append(
            Headline(
                what="events into blocks, Producer.put_many against Producer.send",
                ours=f"{many:.2f} µs an event",
                peer=f"{one:.2f} µs",
                ratio=one / many,
                target="≥ 2.4",
            )
        )
    return tuple(found)
