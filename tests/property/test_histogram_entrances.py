"""Histograms come to the same by whichever entrance they came, and are refused for the same reasons."""

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from fuzz.promises import check_agents, check_fold
from producers.client.encoder import encoder_of
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.formats.avro import AvroSchema
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.measures import histogram
from streamgage.measures.histogram_points import point_of
from streamgage.reading.record_reader import SourceReader
from streamgage.records import StreamRecord, UserRecord
from support.fakes import World, invoke
from support.histograms import (
    EVENT,
    FIELD,
    ROLLUP,
    SCHEMA,
    SOURCE,
    OneSchema,
    counted,
    event,
    pipeline,
)
from support.strategies import ARRIVAL_MS, aggregated

Events = Sequence[dict[str, Any]]
Encode = Callable[[Events], list[bytes]]
METRIC = "http.server.request.duration"


def in_rows(events: Events) -> list[bytes]:
    schema = pipeline().sources["latency"].schema
    return [aggregated([UserRecord("web", schema.encode(each)) for each in events])]


def in_plain_rows(events: Events) -> list[bytes]:
    schema = pipeline().sources["latency"].schema
    return [schema.encode(each) for each in events]


def in_a_block(events: Events) -> list[bytes]:
    return [BlockCodec(pipeline().sources["latency"].schema).encode(events)]


def in_json(events: Events) -> list[bytes]:
    return [json.dumps({"source": "latency", **each}).encode() for each in events]


def otlp(events: Events) -> ExportMetricsServiceRequest:
    """Return what an SDK writes, by the library."""
    made = ExportMetricsServiceRequest()
    for each in events:
        resource = made.resource_metrics.add()
        attribute = resource.resource.attributes.add(key="service.name")
        attribute.value.string_value = each["service"]
        data = resource.scope_metrics.add().metrics.add(name=METRIC).exponential_histogram
        data.aggregation_temporality = 1
        value = each["latency"]
        point = data.data_points.add(
            time_unix_nano=each["ts"] * 1_000_000,
            count=value["count"],
            scale=value["scale"],
            zero_count=value["zeroCount"],
            zero_threshold=value["zeroThreshold"],
            **({} if each["total"] is None else {"sum": each["total"]}),
        )
        for name in ("positive", "negative"):
            run = getattr(point, name)
            run.offset = value[name]["offset"]
            run.bucket_counts.extend(value[name]["bucketCounts"])
    return made


def in_otlp(events: Events) -> list[bytes]:
    return [otlp(events).SerializeToString()]


def in_otlp_json(events: Events) -> list[bytes]:
    return [json.dumps(MessageToDict(otlp(events), use_integers_for_enums=True)).encode()]


ENTRANCES: dict[str, Encode] = {
    "aggregated rows": in_rows,
    "rows": in_plain_rows,
    "a block": in_a_block,
    "JSON": in_json,
    "OTLP": in_otlp,
    "OTLP in JSON": in_otlp_json,
}


def records(datas: Sequence[bytes]) -> list[StreamRecord]:
    return [
        StreamRecord("shardId-0", number, "web", data, ARRIVAL_MS) for number, data in enumerate(datas, 1)
    ]


def told(world: World) -> dict[str, Any]:
    (row,) = world.ask("latencies", None, "1h")
    return {f"{field}.{name}": value for field, each in row.values.items() for name, value in each.items()}


VALUES = st.lists(
    st.floats(1e-6, 1e6) | st.integers(-3, 10).map(lambda n: 2.0**n) | st.sampled_from([0.0, -1.5]),
    max_size=12,
)
EVENTS = st.lists(st.tuples(VALUES, st.integers(-2, 7)), min_size=1, max_size=6)


@pytest.mark.parametrize("way", ENTRANCES)
@settings(max_examples=15)
@given(drawn=EVENTS, cuts=st.sets(st.integers(1, 6)))
def test_histograms_of_every_entrance_come_to_that_of_their_values(
    way: str, drawn: list[tuple[list[float], int]], cuts: set[int]
) -> None:
    events = [
        {**event(values, scale, ts=ARRIVAL_MS + at), "total": 0.5} for at, (values, scale) in enumerate(drawn)
    ]
    world = World(pipeline(), slice_events=2)
    sent = records(ENTRANCES[way](events))
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), len(sent)], strict=True):
        batch = sent[max(first - 1, 0) : last]  # some of it comes again
        assert not batch or invoke(world.sandbox(), batch) is None
    assert world.quarantine.kept == []
    state = histogram.united([point_of(counted(values, scale)) for values, scale in drawn])
    right = {fraction: histogram.quantile(state, fraction) for fraction in (0.5, 0.99)}
    shown = {key: None if value is None else Decimal(f"{value:.6g}") for key, value in right.items()}
    found = told(world)
    assert json.loads(str(found["latency.histogram"])) == histogram.in_opentelemetry(state)
    assert (found["latency.p50"], found["latency.p99"]) == (shown[0.5], shown[0.99])
    assert found["size.p50"] is None
    assert found["total.sum"] == Decimal("0.5") * len(events)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "count": ({"count": 4}, "latency: its count is 4, and its buckets hold 3"),
    "scale": ({"scale": 21}, "latency: its scale is 21; it is from -10 to 20"),
    "coarse": ({"scale": -11}, "latency: its scale is -11"),
    "offset": ({"positive": {"offset": 2**30, "bucketCounts": [3]}}, "beyond all doubles"),
    "threshold": (
        {"zeroThreshold": 0.1, "zeroCount": 3, "positive": {"offset": 0, "bucketCounts": []}},
        "latency: its zeroThreshold is 0.1, and 3 values lie within",
    ),
    "counts": ({"positive": {"offset": 0, "bucketCounts": [0] * 8193}, "zeroCount": 3}, "8,192 at most"),
    "values": ({"count": 2**53, "zeroCount": 2**53 - 3}, "9,007,199,254,740,991 at most"),
}
NEGATIVE = {
    "a count": ({"positive": {"offset": 0, "bucketCounts": [4, -1]}}, "positive has a count of -1"),
    "zeros": ({"zeroCount": -1, "positive": {"offset": 0, "bucketCounts": [4]}}, "its zeroCount is -1"),
    "a threshold": ({"zeroThreshold": -1.0}, "its zeroThreshold is -1.0"),
}


def bad(changes: dict[str, Any]) -> dict[str, Any]:
    made = event([1.5, 1.5, 1.5], 0, ts=ARRIVAL_MS)
    return {**made, "latency": {**made["latency"], **changes}}


@pytest.mark.parametrize("way", ENTRANCES)
@pytest.mark.parametrize("what", BAD)
def test_a_histogram_that_contradicts_itself_is_quarantined_by_every_entrance(way: str, what: str) -> None:
    changes, reason = BAD[what]
    events = [event([1.0], 0, ts=ARRIVAL_MS), bad(changes), event([2.0], 0, ts=ARRIVAL_MS)]
    world = World(pipeline())
    assert invoke(world.sandbox(), records(ENTRANCES[way](events))) is None
    (poison,) = world.quarantine.kept
    assert [each.code for each in poison.refused] == ["bad_value"]
    assert reason in poison.refused[0].reason
    assert json.loads(str(told(world)["latency.histogram"]))["count"] == 2


@pytest.mark.parametrize(("changes", "reason"), [*BAD.values(), *NEGATIVE.values()])
def test_a_producer_does_not_send_it(changes: dict[str, Any], reason: str) -> None:
    encoder = encoder_of(pipeline().sources["latency"])
    with pytest.raises(ValueError, match="latency: ") as refused:
        encoder.user_record(bad(changes))
    assert reason in str(refused.value)
    assert encoder.user_record(bad({})).data


def test_the_event_of_the_page_counts() -> None:
    world = World(pipeline())
    sent = {**EVENT, "ts": ARRIVAL_MS}
    assert invoke(world.sandbox(), records([json.dumps(sent).encode()])) is None
    assert world.quarantine.kept == []
    assert json.loads(str(told(world)["latency.histogram"])) == {
        "count": 7,
        "scale": 3,
        "zeroCount": 1,
        "positive": {"offset": 40, "bucketCounts": [2, 0, 4]},
        "negative": {"offset": 0, "bucketCounts": []},
    }


NONE = counted([], 0)


class _TwoSchemas(OneSchema):
    """A source whose events had no histogram before."""

    def __init__(self, default: object) -> None:
        field = {**FIELD, "default": default}
        if default is None:
            field["type"] = ["null", field["type"]]
        super().__init__({**SCHEMA, "fields": [*BEFORE["fields"], field, *SCHEMA["fields"][3:]]})

    def read(self, path: str) -> str:
        return json.dumps(BEFORE) if path == "before.avsc" else super().read(path)

    def versions(self, _path: str) -> list[str]:
        return ["before.avsc"]


BEFORE: dict[str, Any] = {**SCHEMA, "fields": SCHEMA["fields"][:2]}


@pytest.mark.parametrize("default", [NONE, None])
def test_events_from_before_there_were_histograms_count_by_the_default_in_rows_and_in_blocks(
    default: object,
) -> None:
    before, events = AvroSchema.parse(json.dumps(BEFORE)), [{"service": "web", "ts": ARRIVAL_MS}] * 2
    world = World(parse_pipeline(SOURCE + ROLLUP, _TwoSchemas(default)))
    sent = [*map(before.encode, events), BlockCodec(before).encode(events)]
    assert invoke(world.sandbox(), records(sent)) is None
    assert world.quarantine.kept == []
    (row,) = world.ask("latencies", None, "1h")
    assert row.events == 4
    assert json.loads(str(told(world)["latency.histogram"]))["count"] == 0


def test_a_count_beyond_a_long_is_refused_with_its_item_and_the_others_count() -> None:
    request = otlp([event([1.0], 0, ts=ARRIVAL_MS)] * 2)
    point = request.resource_metrics[0].scope_metrics[0].metrics[0].exponential_histogram.data_points[0]
    point.positive.bucket_counts[0] = point.count = 2**64 - 1
    world = World(pipeline())
    assert invoke(world.sandbox(), records([request.SerializeToString()])) is None
    (poison,) = world.quarantine.kept
    assert "latency: 18446744073709551615 is beyond what long holds" in poison.refused[0].reason
    assert json.loads(str(told(world)["latency.histogram"]))["count"] == 1


def test_explicit_buckets_are_not_read_and_say_so_where_they_are_needed() -> None:
    request = otlp([event([1.0], 0, ts=ARRIVAL_MS)])
    metric = request.resource_metrics[0].scope_metrics[0].metrics.add(name=METRIC)
    metric.histogram.aggregation_temporality = 1
    metric.histogram.data_points.add(
        time_unix_nano=ARRIVAL_MS * 1_000_000, count=1, sum=2.0, bucket_counts=[1, 0], explicit_bounds=[5.0]
    )
    world = World(pipeline())
    assert invoke(world.sandbox(), records([request.SerializeToString()])) is None
    (poison,) = world.quarantine.kept
    assert "explicit ones, which are not read: have exponential ones sent" in poison.refused[0].reason
    assert json.loads(str(told(world)["latency.histogram"]))["count"] == 1


WHOLE = [
    encode([event([1.5, 0.0, -2.0], 7, ts=ARRIVAL_MS), event([300.0], 2, ts=ARRIVAL_MS)])[0]
    for encode in ENTRANCES.values()
]


@settings(max_examples=60)
@given(st.sampled_from(WHOLE), st.integers(0, 400), st.integers(0, 3), st.binary(max_size=4))
def test_damaged_bytes_of_histograms_keep_every_promise(data: bytes, at: int, cut: int, junk: bytes) -> None:
    damaged = data[:at] + junk + data[at + cut :]
    check_fold(damaged)
    check_agents(damaged)


def test_one_slice_of_a_batch_holds_fewer_events_of_many_buckets() -> None:
    """160 buckets are some seven events' worth of memory: a slice ends before it holds a number of events alone."""
    reader = SourceReader(pipeline().sources["latency"], ("service", "ts", "latency"))
    schema = pipeline().sources["latency"].schema
    values = [2.0 ** (each / 40) for each in range(160)]
    for number in range(10):
        reader.rows.add(reader.events.decode(schema.encode(event(values, 6, ts=ARRIVAL_MS + number))))
    assert reader.rows.count == 10
    assert reader.weight > 50
    reader.drain()
    assert reader.weight == 0
