"""Which source an item of an agent belongs to, and what its event is."""

import json

import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from streamgage.errors import PoisonRecord
from streamgage.formats.agents.decoder import AgentDecoder, Outcome, Taken
from streamgage.formats.agents.items import PART, PASSED_OVER, Item, Merged, Refused, pairs
from streamgage.formats.agents.otlp_json import points_of
from support.agents import (
    DEFINITION,
    SOURCES,
    agents_pipeline,
    cloud_event,
    decoded,
    decoder,
    gauge,
    otlp_json,
    parsed,
)

NOW_MS = 1_767_614_400_000
NS = NOW_MS * 1_000_000


def reading(device: str, metric: str, value: float, ts: int = NOW_MS, **more: object) -> Taken:
    return Taken("reading", {"device_id": device, "metric": metric, "ts": ts, "value": value, **more})


def why(outcome: Outcome) -> str:
    assert isinstance(outcome, Refused), outcome
    return f"{outcome.code}: {outcome.reason}"


def test_each_field_of_a_line_is_an_event_where_the_mapping_says_field() -> None:
    assert decoded(b"weather,host=a temp=1.5,hum=30i %d" % (NS + 1_999_999)) == [
        reading("a", "temp", 1.5, NOW_MS + 1, tags={"host": "a"}),
        reading("a", "hum", 30, NOW_MS + 1, tags={"host": "a"}),
    ]


def test_a_line_is_one_event_where_the_mapping_names_its_fields() -> None:
    assert decoded(b"hall temp=1.5,other=2 %d" % NS) == [reading("hall", "t", 1.5), PART]


def test_the_places_of_a_record_are_a_function_of_its_bytes() -> None:
    lines = b"hall temp=1,other=2 5\ndisk a=1,b=2,c=3 5\nbad\nweather,host=a t=1,h=2 5"
    other = parsed(DEFINITION.replace('= "weather"', '= "disk"').replace('["room", "hall"]', '"x"'))
    elsewhere = AgentDecoder(other.sources.values()).decode_whole(lines)
    assert len(decoded(lines)) == len(elsewhere) == 8


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"weather,host=a temp=1", "bad_time: line 1 field temp: no event time"),
        (
            b'weather,host=a temp="warm" 1767614400000000000',
            "undecodable: line 1 field temp: value: 'warm' is not a number",
        ),
        (
            b"weather,host=a temp=true 1767614400000000000",
            "undecodable: line 1 field temp: value: True is not a number",
        ),
        (b"weather temp=1 1767614400000000000", "undecodable: line 1 field temp: device_id"),
        (
            b"disk free=1 1767614400000000000",
            "unknown_schema: line 1: no source takes it (measurement 'disk')",
        ),
    ],
)
def test_an_item_that_cannot_be_an_event_is_refused_with_its_place_and_reason(
    line: bytes, reason: str
) -> None:
    assert why(decoded(line)[0]).startswith(reason)


def test_points_of_gauges_and_delta_sums_are_events_and_their_attributes_keys() -> None:
    total = {**gauge("hits", [3], ts_ms=NOW_MS), "sum": {"aggregationTemporality": 1, "isMonotonic": True}}
    total["sum"]["dataPoints"] = total.pop("gauge")["dataPoints"]
    assert decoded(otlp_json(gauge("t", [1.5, 2.5], ts_ms=NOW_MS), total)) == [
        reading("h", "t", 1.5),
        reading("h", "t", 2.5),
        reading("h", "hits", 3.0),
    ]


@pytest.mark.parametrize("kind", ["histogram", "exponentialHistogram"])
def test_a_delta_histogram_has_a_sum_and_a_count_and_no_value(kind: str) -> None:
    point = {
        "count": "4",
        "sum": 10.5,
        "timeUnixNano": str(NS),
        "attributes": gauge("", [1], ts_ms=0)["gauge"]["dataPoints"][0]["attributes"],
    }
    metric = {"name": "took", "unit": "s", kind: {"aggregationTemporality": 1, "dataPoints": [point]}}
    resource = {"host.name": "r"}
    assert decoded(otlp_json(metric, resource=resource, scope="latency")) == [reading("r", "s", 10.5)]
    assert "it has no value" in why(decoded(otlp_json(metric))[0])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"sum": {"aggregationTemporality": 2}}, "a cumulative sum"),
        ({"histogram": {"aggregationTemporality": 2}}, "a cumulative histogram"),
        ({"exponentialHistogram": {"aggregationTemporality": 2}}, "a cumulative exponential histogram"),
        ({"sum": {}}, "neither delta"),
        ({"summary": {}}, "a summary"),
    ],
)
def test_what_cannot_be_added_up_is_refused_with_what_to_do(
    data: dict[str, dict[str, object]], reason: str
) -> None:
    (kind, held), *_ = data.items()
    points = gauge("", [1.0], ts_ms=NOW_MS)["gauge"]["dataPoints"]
    assert reason in why(decoded(otlp_json({"name": "m", kind: {**held, "dataPoints": points}}))[0])


def test_a_point_that_says_it_has_no_value_is_nobodys() -> None:
    stale = gauge("t", [0], ts_ms=NOW_MS)
    stale["gauge"]["dataPoints"][0] = {"flags": 1, "timeUnixNano": str(NS)}
    assert decoded(otlp_json(stale)) == [PASSED_OVER]


def test_a_value_that_is_not_finite_is_refused() -> None:
    metric = gauge("t", [1], ts_ms=NOW_MS)
    metric["gauge"]["dataPoints"][0]["asDouble"] = "NaN"
    assert why(decoded(otlp_json(metric))[0]).startswith("bad_value")


def test_cloud_events_come_alone_or_in_a_batch() -> None:
    one = cloud_event(1.5, ts="2026-01-05T12:00:00Z")
    assert decoded(json.dumps(one).encode()) == [reading("c", "t", 1.5)]
    batch = decoded(
        json.dumps([one, {**one, "type": "other"}, {**one, "id": ""}, {**one, "specversion": "0.3"}]).encode()
    )
    assert batch[0] == reading("c", "t", 1.5)
    assert [why(each).split(":")[0] for each in batch[1:]] == ["unknown_schema", "undecodable", "undecodable"]
    binary = {key: value for key, value in one.items() if key != "data"} | {"data_base64": "aGk="}
    assert "data_base64" in why(decoded(json.dumps(binary).encode())[0])


def test_objects_of_several_sources_stand_in_one_record_and_those_that_name_their_source_beside_them() -> (
    None
):
    found = decoded(
        b'{"kind": "reading", "sensor": {"id": 7}, "metric": "t", "ts": %d, "v": 2}'
        b'{"kind": "click", "who": "v", "url": "/p", "action": "view", "status": 200, "ts": %d}\n'
        b'{"source": "reading", "device_id": "d", "metric": "t", "ts": %d, "value": "3"}'
        % (NOW_MS, NOW_MS, NOW_MS)
    )
    assert found[0] == reading("7", "t", 2.0)
    assert isinstance(found[1], Taken)
    assert found[1].source == "click"
    assert found[2] == reading("d", "t", 3.0)


def test_of_a_source_that_is_passed_over_items_are_known_and_not_judged() -> None:
    sources = agents_pipeline().sources
    passing = AgentDecoder([sources["click"]], [sources["reading"]])
    assert passing.decode_whole(b'weather,host=a temp="warm" 5') == [PASSED_OVER]
    assert passing.decode_whole(b'{"source": "reading"}{"kind": "reading"}') == [PASSED_OVER] * 2


def test_otlp_in_protobuf_is_read_at_whatever_size_also_where_that_is_the_byte_of_a_bracket() -> None:
    lengths = set[int]()
    for padding in range(200):
        text = otlp_json(gauge("t", [1.5], ts_ms=NOW_MS), resource={"x": "y" * padding})
        data = Parse(text, ExportMetricsServiceRequest()).SerializeToString()
        lengths.add(data[1])
        assert decoder().takes(data)
        assert decoded(data) == [reading("h", "t", 1.5)]
    assert {ord("{"), ord("[")} <= lengths


def test_json_behind_a_line_end_is_json_beside_otlp() -> None:
    data = b"\n" + otlp_json(gauge("t", [1.5], ts_ms=NOW_MS))
    assert decoded(data) == decoded(b" \r\n\t" + data) == [reading("h", "t", 1.5)]


def test_items_that_no_source_takes_are_passed_over_where_the_definition_says_so() -> None:
    pipeline = parsed(
        SOURCES.replace('"weather" }', '"weather" }\nothers = "ignore"')
        + '[[rollups]]\nname="r"\nsource="reading"\nkey=["metric"]\nwindows=["1h"]\n'
    )
    ignoring = AgentDecoder(pipeline.sources.values())
    assert ignoring.decode_whole(b"disk free=1 5") == [PASSED_OVER]
    assert isinstance(ignoring.decode_whole(b'{"kind": "x"}')[0], Refused)


def test_a_record_whose_events_share_so_much_text_that_no_function_holds_them_is_poison() -> None:
    fields = ",".join(f"f{number}=1" for number in range(1_000))
    line = f"weather,host={'h' * 100_000} {fields} {NS}".encode()
    with pytest.raises(PoisonRecord, match="share long names, tags or attributes: send smaller batches"):
        decoder().decode_whole(line)
    assert len(decoded(line.replace(b"h" * 100_000, b"h"))) == 1_000
    tags = ",".join(f"{number}=" for number in range(2_000)).replace("=", "=t")
    with pytest.raises(PoisonRecord, match="send smaller batches"):  # each event has a map of them
        decoder().decode_whole(f"weather,host=h,{tags} {fields} {NS}".encode())


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("weather,host={long} {texts} 5", "value: 'x' is not a number"),
        ("weather,host={long} {texts}", "no event time"),
        ("weather,host=h,t={long} {texts} 5", "value: 'x' is not a number"),  # in a map of each
    ],
)
def test_what_refused_events_share_is_bounded_as_it_is_of_those_that_count(line: str, refusal: str) -> None:
    """Else a record of a long tag and many fields would hold up the function for as long as one times the other."""
    (found,) = decoded(line.format(long="h" * 100_000, texts='f="x"').encode())
    assert refusal in why(found)
    texts = ",".join(f'f{number}="x"' for number in range(1_000))
    assert len(decoded(line.format(long="h", texts=texts).encode())) == 1_000
    with pytest.raises(PoisonRecord, match="send smaller batches"):
        decoded(line.format(long="h" * 100_000, texts=texts).encode())


def test_points_share_the_many_attributes_of_their_resource_and_copy_none_of_them() -> None:
    resource = {f"a{number}": "b" for number in range(100)}
    data = json.loads(otlp_json(gauge("t", [1, 2], ts_ms=NOW_MS), resource=resource))
    one, other = (each.values for each in points_of(data, ()) if isinstance(each, Item))
    assert isinstance(one, Merged)
    assert isinstance(other, Merged)
    assert one.base is other.base
    assert isinstance(one.base, Merged)
    assert [one.get(each) for each in ("metric", "value", "resource:a99", "resource:b")] == [
        "t",
        1,
        "b",
        None,
    ]


def test_a_name_that_stands_there_twice_is_found_without_comparing_each_with_each() -> None:
    compared = 0

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str(self) == other

    names = [Name(f"f{number}") for number in range(500)]
    with pytest.raises(ValueError, match="field 'f499' stands there twice"):
        pairs([(each, 1) for each in [*names, Name("f499")]], "field")
    assert compared < 5_000


def test_a_record_with_more_events_than_a_kinesis_record_may_hold_is_poison() -> None:
    data = b"weather,host=a t=1,h=2 5\n" * 50
    assert len(decoder().decode_whole(data, most_items=100)) == 100
    with pytest.raises(PoisonRecord, match="more than 99 events"):
        decoder().decode_whole(data, most_items=99)


@pytest.mark.parametrize(
    "data",
    [b"\x0a\x05oops", b"\x0a", b"\x0a\x02\x09\x00", b'{"resourceMetrics": 5}', b'{"resourceMetrics": [5]}'],
)
def test_what_claims_to_be_metrics_and_is_not_is_poison(data: bytes) -> None:
    with pytest.raises(PoisonRecord):
        decoded(data)
