"""Decode and fold one Lambda batch: ours beside the ways it is done otherwise."""

from dataclasses import replace
from typing import Any

from benchmarks.events import (
    STREAM_ARN,
    Totals,
    Workload,
    check_totals,
    totals_of,
)
from benchmarks.harness import (
    Contestant,
    Headline,
    Progress,
    Result,
    Role,
    Series,
    Table,
    per_event_us,
    take_turns,
    timed,
)
from benchmarks.peers import aws_sample
from benchmarks.peers.external import ABSENT, Input, are_installed, as_text, input_file
from benchmarks.peers.powertools_batch import PowertoolsFunction
from benchmarks.sandbox import PlainFold
from producers.client.encoder import encoder_of
from streamgage.formats.avro import HEADER_BYTES
from streamgage.formats.kinesis_event import decode_event, encode_event
from streamgage.records import StreamRecord

QUESTION = "What does it cost to decode and fold an event, ours and otherwise?"
OURS = "streamgage, rows"
BLOCKS = "streamgage, blocks"
PLAIN = "streamgage, plain records: one event each"
_OURS = (OURS, BLOCKS, PLAIN)
POWERTOOLS = "Powertools + aws_kinesis_agg + fastavro"
PLAIN_LOOP = "aws_kinesis_agg + fastavro, plain loop"
AWS_SAMPLE = "AWS sample: JSON + UpdateItem a record"
BYTEWAX = "Bytewax"
QUIX = "Quix Streams"
_PEER_EVENTS = {AWS_SAMPLE: 2_000}  # a call of boto3 each: more would only take longer


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Measure from the event that Lambda hands over to the folded totals."""
    workload = Workload.of(events=1_500 if quick else 60_000, devices=20 if quick else 1_000, seed=seed)
    expected = workload.totals()
    contestants = _in_process(workload, seed)
    with input_file(_peer_input(workload)) as given:
        missing = _external(contestants, given)
        seconds = take_turns(
            contestants,
            rounds=1 if quick else 5,
            check=lambda label, answer: _check(label, answer, workload, expected),
            progress=progress,
        )
    series = tuple(
        Series(label, _role(label), per_event_us(each, _events_of(label, workload)))
        for label, each in seconds.items()
    )
    table = Table(
        title="Decode and fold of one Lambda batch",
        unit="µs of CPU an event",
        series=series,
        baseline=OURS,
        log_x=True,
    )
    return Result(
        name="fold",
        question=QUESTION,
        method=(
            "From the JSON-decoded Lambda event to totals in memory: count, sum and maximum by device and metric, in windows "
            "of a minute and of an hour. Avro readings in KPL-aggregated records of about 50 kB; blocks: the same readings, column-wise and compressed, up to "
            "10,000 in a user record. Contestants take turns; all "
            "totals are compared in every round."
        ),
        tables=(table,),
        configuration={**workload.describe(), "events_of_the_aws_sample": _events_of(AWS_SAMPLE, workload)},
        facts={f"events/s a core, {each.label}": round(1e6 / each.median) for each in series},
        missing=missing,
        headlines=_headlines(table),
        limits=(
            "No network and no database: what a write costs is in the function benchmark.",
            "The AWS sample keeps count and sum of one window only, and gets each event as a Kinesis record of its own.",
            (
                "Bytewax and Quix Streams get user records already taken out of their Kinesis records, and Quix Streams runs "
                "without the Kafka broker, changelog topics and commits that it has when deployed."
            ),
            "Peers add floats; ours adds integers, exact in any order, and judges each event (finite, not too far in the future).",
        ),
    )


def _in_process(workload: Workload, seed: int) -> dict[str, Contestant]:
    pipeline = workload.pipeline
    folder = PlainFold(pipeline)
    event = encode_event(workload.records, stream_arn=STREAM_ARN)
    powertools = PowertoolsFunction(pipeline.sources["reading"].schema)
    sample = aws_sample.SampleFunction()
    sampled = workload.events[: _events_of(AWS_SAMPLE, workload)]
    json_event = aws_sample.json_event(
        sampled, stream_arn=STREAM_ARN, arrival_ms=workload.records[0].arrival_ms
    )
    in_plain = encode_event(_plain_records(workload), stream_arn=STREAM_ARN)
    in_blocks = encode_event(workload.blocks(seed=seed), stream_arn=STREAM_ARN)
    contestants: dict[str, Contestant] = {
        OURS: timed(lambda: folder.fold(decode_event(event))),
        BLOCKS: timed(lambda: folder.fold(decode_event(in_blocks))),
        PLAIN: timed(lambda: folder.fold(decode_event(in_plain))),
    }

    def powertools_way() -> PowertoolsFunction:
        powertools.handle(event)
        return powertools

    def plain_loop() -> PowertoolsFunction:
        powertools.without_powertools(event)
        return powertools

    def sample_way() -> list[bytes]:
        sample.requests = []
        sample.handle(json_event)
        return sample.requests

    return contestants | {
        POWERTOOLS: timed(powertools_way),
        PLAIN_LOOP: timed(plain_loop),
        AWS_SAMPLE: timed(sample_way),
    }


def _plain_records(workload: Workload) -> list[StreamRecord]:
    """Return each event of *workload* as a Kinesis record of its own."""
    user_record, first = encoder_of(workload.pipeline.sources["reading"]).user_record, workload.records[0]
    return [
        replace(
            first,
            sequence_number=first.sequence_number + at,
            partition_key=each.partition_key,
            data=each.data,
        )
        for at, each in enumerate(map(user_record, workload.events))
    ]


def _peer_input(workload: Workload) -> dict[str, Any]:
    """Return what the peers of the other environment read: the same user records, without their framing."""
    source = workload.pipeline.sources["reading"]
    return {
        "schema": source.schema.parsed,
        "keys": [f"{each['device_id']}|{each['metric']}" for each in workload.events],
        "times": [each["ts"] for each in workload.events],
        "payloads": as_text([source.schema.encode(each)[HEADER_BYTES:] for each in workload.events]),
    }


def _external(contestants: dict[str, Contestant], given: Input) -> dict[str, str]:
    """Add the peers that are installed; return those that are not, with the reason."""
    if not are_installed():
        return {BYTEWAX: ABSENT, QUIX: ABSENT}
    contestants[BYTEWAX] = given.contestant("bytewax_fold")
    contestants[QUIX] = given.contestant("quix_fold")
    return {}


def _check(label: str, answer: Any, workload: Workload, expected: Totals) -> None:
    match label:
        case _ if label in _OURS:
            check_totals(label, totals_of(answer), expected)
        case _ if label in (POWERTOOLS, PLAIN_LOOP):
            check_totals(label, answer.totals(), expected)
        case _ if label == AWS_SAMPLE:
            sampled = Workload(workload.pipeline, workload.events[: _events_of(label, workload)], [])
            less = {key: total for key, total in sampled.totals().items() if key.startswith("1m|")}
            check_totals(label, aws_sample.with_maxima(aws_sample.totals_of(answer), less), less)
        case _:
            check_totals(label, answer, expected)


def _events_of(label: str, workload: Workload) -> int:
    return min(_PEER_EVENTS.get(label, len(workload.events)), len(workload.events))


def _role(label: str) -> Role:
    return "ours" if label in _OURS else "peer"


def _headlines(table: Table) -> tuple[Headline, ...]:
    found = []
    for ours, peer, target in (
        (OURS, POWERTOOLS, "≥ 8"),
        (BLOCKS, POWERTOOLS, ""),
    ):
        mine, other = table.median_of(ours), table.median_of(peer)
        if mine and other:
            form = ours.partition(", ")[2]
            found.append(
                Headline(
                    what=f"decode + fold, {form}, against Powertools + aws_kinesis_agg + fastavro",
                    ours=f"{mine:.2f} µs an event",
                    peer=f"{other:.2f} µs",
                    ratio=other / mine,
                    target=target,
                )
            )
    return tuple(found)
