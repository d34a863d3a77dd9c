"""Keys that stand together: what one more question reads, and what writing costs, beside the same keys each by itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from benchmarks.events import START_MS, STREAM_ARN, variant_pipeline
from benchmarks.harness import Headline, Progress, Result, Series, Table, WrongAnswerError
from benchmarks.sandbox import function_over
from infra.aws.cost.counting import CountedReads, CountingTable
from processors.query.answer import Answer, Shape, answer
from processors.query.question import Question
from processors.sink.attributes import stored_item
from streamgage.definition.pipeline import Pipeline
from streamgage.formats.kinesis_event import encode_event
from streamgage.records import StreamRecord

QUESTION = "What does a question about all keys of one device read, where they stand together, and what do writes cost?"
APART, TOGETHER = "each by itself", "together"
_ROLLUP = "rollup_0"
_METRICS = 10
_MINUTE_MS = 60_000
_DAY_MINUTES = 1_440
_BATCHES = 2  # a minute
_MEASURES = ("count", "sum", "min", "max", "mean", "variance", "first", "last")


def run(*, quick: bool, seed: int, progress: Progress) -> Result:  # noqa: ARG001 - nothing is drawn here
    """Write the same events by both definitions, and ask both the same."""
    devices, minutes = (30, 3) if quick else (1_000, 30)
    apart = variant_pipeline(windows=["1m"], measures=_MEASURES)
    rollup = replace(apart.rollups[_ROLLUP], together=("device_id",))
    pipelines = {APART: apart, TOGETHER: replace(apart, rollups={_ROLLUP: rollup})}
    wrote: dict[str, int] = {}
    read: dict[tuple[str, str], CountedReads] = {}
    answers: dict[str, Answer] = {}
    for name, pipeline in pipelines.items():
        progress(f"{name}: writing")
        table = _written(pipeline, devices=devices, minutes=minutes)
        wrote[name] = table.items.all_write_units
        items = {key: stored_item(row) for key, row in table.rows.items() if not key.pk.startswith("~")}
        for asked, key in _asked(devices).items():
            progress(f"{name}: {asked}")
            store = CountedReads(items)
            given = _answer(store, pipeline, key, minutes)
            if answers.setdefault(asked, given) != given:
                raise WrongAnswerError(f"{asked}: {name} answers something else")
            read[asked, name] = store
    return _result(wrote, read, devices=devices, minutes=minutes)


def _asked(devices: int) -> dict[str, Mapping[str, str]]:
    device = _device(devices // 2)
    return {
        f"the {_METRICS} keys of one device": {"device_id": device},
        "one key": {"device_id": device, "metric": _metric(0)},
        "all keys": {},
    }


def _answer(store: CountedReads, pipeline: Pipeline, key: Mapping[str, str], minutes: int) -> Answer:
    question = Question.parse(
        pipeline,
        rollup=_ROLLUP,
        key=key,
        window="1m",
        from_ms=START_MS,
        to_ms=START_MS + minutes * _MINUTE_MS,
    )
    return answer(store, question, Shape(), applied_ms=2**42, now_ms=0)


def _written(pipeline: Pipeline, *, devices: int, minutes: int) -> CountingTable:
    """Return what the function itself makes of a reading of each key in each batch, two of them a minute."""
    table = CountingTable()
    function = function_over(
        table, pipeline, stream_arn=STREAM_ARN, now_ms=START_MS + 10**8, report=lambda _: None
    )
    for batch in _batches(pipeline, devices=devices, minutes=minutes):
        said = function.handle(encode_event(batch, stream_arn=STREAM_ARN), remaining_ms=lambda: 60_000)
        if said != {"batchItemFailures": []}:
            raise WrongAnswerError(f"the function answered {said}")
    return table


def _batches(pipeline: Pipeline, *, devices: int, minutes: int) -> Iterator[Sequence[StreamRecord]]:
    schema = pipeline.sources["reading"].schema
    sequence = 10**55
    for number in range(minutes * _BATCHES):
        ts = START_MS + number * _MINUTE_MS // _BATCHES
        records = []
        for device in range(devices):
            for metric in range(_METRICS):
                value = (device * 7919 + metric * 31 + number * 104_729) % 100_003 / 100
                event = {"device_id": _device(device), "metric": _metric(metric), "ts": ts, "value": value}
                sequence += 1
                records.append(
                    StreamRecord("shardId-000000000000", sequence, "p", schema.encode(event), ts + 1_000)
                )
        yield records


def _device(number: int) -> str:
    return f"device-{number:07d}"


def _metric(number: int) -> str:
    return f"metric-{number:02d}"


def _result(
    wrote: Mapping[str, int],
    read: Mapping[tuple[str, str], CountedReads],
    *,
    devices: int,
    minutes: int,
) -> Result:
    events = devices * _METRICS * minutes * _BATCHES
    (group, *_) = _asked(devices)
    reads = {place: (float(store.read_units),) for place, store in read.items()}
    day = {name: read[group, name].read_units * _DAY_MINUTES / minutes for name in (APART, TOGETHER)}
    written = wrote[TOGETHER] / wrote[APART] - 1
    return Result(
        name="together",
        question=QUESTION,
        method=(
            f"The function itself writes {minutes} windows of a minute of {devices:,} devices with {_METRICS} keys each, all of "
            f"which are heard of in each of {_BATCHES} batches a minute, eight measures, one shard: by a definition that keeps "
            "the keys of a device together, and by one that does not. Read and write units are counted in memory by the rules "
            "that AWS publishes, reads consistently. The answers of both are compared."
        ),
        tables=(
            Table(
                title="What an answer reads",
                unit="read units",
                series=tuple(
                    Series(f"{asked}, {name}", "ours", units) for (asked, name), units in reads.items()
                ),
            ),
            Table(
                title="What is written",
                unit="write units a million events",
                series=tuple(Series(name, "ours", (units / events * 1e6,)) for name, units in wrote.items()),
            ),
        ),
        configuration={"devices": devices, "keys a device": _METRICS, "minutes": minutes},
        facts={
            "requests": {", ".join(place): store.requests for place, store in read.items()},
            "write units": dict(wrote),
        },
        headlines=(
            Headline(
                f"read units of {_DAY_MINUTES:,} windows of {group}, of {devices * _METRICS:,} keys in all, together "
                f"({written:+.0%} write units)",
                f"{day[TOGETHER]:,.0f}",
                f"{day[APART]:,.0f} ({APART})",
                day[APART] / day[TOGETHER],
            ),
        ),
        limits=(
            f"A day is {_DAY_MINUTES / minutes:g} times the range that is read: windows are read by themselves.",
            "Every key is heard of in every batch, where keys together cost most: what a batch writes is each item.",
        ),
    )
