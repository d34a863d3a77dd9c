"""Our decoder of OTLP metrics says what the library says, in protobuf and in JSON, of any metrics and of any bytes."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from streamgage.errors import PoisonRecord
from streamgage.formats.agents import otlp_json, otlp_proto
from streamgage.formats.agents.items import Item, Merged, PassedOver, Refused

KEYS = st.sampled_from(["host", "ort", "é", ""])
VALUES = st.one_of(
    st.builds(AnyValue, string_value=st.text(st.characters(exclude_categories=["Cs"]), max_size=6)),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats(allow_nan=False)),
    st.just(AnyValue()),
)
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=2)
TIMES = st.integers(0, 2**64 - 1)
NUMBERS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"as_int": st.integers(-(2**63), 2**63 - 1)}),
    st.fixed_dictionaries({"as_double": st.floats(allow_nan=False)}),
    st.just({}),
)
OPTIONAL = st.fixed_dictionaries(
    {"count": st.integers(0, 2**64 - 1)},
    optional={
        "sum": st.floats(allow_nan=False),
        "min": st.floats(allow_nan=False),
        "max": st.floats(allow_nan=False),
    },
)
RUNS = st.fixed_dictionaries(
    {},
    optional={
        "offset": st.integers(-(2**31), 2**31 - 1),
        "bucket_counts": st.lists(st.integers(0, 3) | st.integers(0, 2**64 - 1), max_size=4),
    },
)
BUCKETS = st.fixed_dictionaries(
    {},
    optional={
        "scale": st.integers(-(2**31), 2**31 - 1),
        "zero_count": st.integers(0, 2**64 - 1),
        "zero_threshold": st.floats(allow_nan=False),
        "positive": RUNS,
        "negative": RUNS,
    },
)
KINDS = st.sampled_from(["gauge", "sum", "histogram", "exponential_histogram", "summary"])
NAMES = st.text("abcé.", max_size=5)
METRICS = st.lists(
    st.tuples(
        NAMES,
        NAMES,
        KINDS,
        st.sampled_from([0, 1, 1, 1, 2]),
        st.lists(
            st.tuples(ATTRIBUTES, TIMES, st.sampled_from([0, 0, 1]), NUMBERS, OPTIONAL, BUCKETS), max_size=3
        ),
    ),
    max_size=3,
)
REQUESTS = st.lists(st.tuples(ATTRIBUTES, st.lists(st.tuples(NAMES, METRICS), max_size=2)), max_size=2)


def built(request: list[Any]) -> ExportMetricsServiceRequest:
    made = ExportMetricsServiceRequest()
    for attributes, scopes in request:
        resource = made.resource_metrics.add()
        _add(resource.resource.attributes, attributes)
        for name, metrics in scopes:
            scope = resource.scope_metrics.add()
            scope.scope.name = name
            for metric_name, unit, kind, temporality, points in metrics:
                metric = scope.metrics.add(name=metric_name, unit=unit)
                data = getattr(metric, kind)
                data.SetInParent()
                if kind not in ("gauge", "summary"):
                    data.aggregation_temporality = temporality
                for own, time_ns, flags, number, histogram, buckets in points:
                    values = number if kind in ("gauge", "sum") else histogram if kind != "summary" else {}
                    values = values | buckets if kind == "exponential_histogram" else values
                    point = data.data_points.add(time_unix_nano=time_ns, flags=flags, **values)
                    _add(point.attributes, own)
    return made


def _add(attributes: Any, values: dict[str, Any]) -> None:
    attributes.extend(KeyValue(key=key, value=value) for key, value in values.items())


def expected(request: ExportMetricsServiceRequest) -> Iterator[Any]:
    """Yield what the library says of each point."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is None:
                    continue
                data = getattr(metric, kind)
                for point in data.data_points:
                    if kind == "summary" or (
                        kind != "gauge"
                        and data.aggregation_temporality
                        != AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
                    ):
                        yield "refused"
                    elif point.flags & 1:
                        yield "passed over"
                    else:
                        shared = {
                            f"resource:{each.key}": _value(each.value)
                            for each in resource.resource.attributes
                        }
                        shared |= {f"attribute:{each.key}": _value(each.value) for each in point.attributes}
                        shared |= {"scope": scope.scope.name, "metric": metric.name, "unit": metric.unit}
                        yield shared | {"time": point.time_unix_nano or None} | dict(_own(kind, point))


def _own(kind: str, point: Any) -> Iterator[tuple[str, object]]:
    if kind in ("gauge", "sum"):
        name = point.WhichOneof("value")
        yield "value", getattr(point, name) if name else None
        return
    yield "count", point.count
    yield from ((name, getattr(point, name)) for name in ("sum", "min", "max") if point.HasField(name))
    if kind == "exponential_histogram":
        yield (
            "histogram",
            {
                "count": point.count,
                "scale": point.scale,
                "zeroCount": point.zero_count,
                "zeroThreshold": point.zero_threshold,
                **{
                    name: {"offset": run.offset, "bucketCounts": list(run.bucket_counts)}
                    for name, run in (("positive", point.positive), ("negative", point.negative))
                },
            },
        )


def _value(value: AnyValue) -> object:
    name = value.WhichOneof("value")
    return getattr(value, name) if name else None


def seen(found: Iterator[Any]) -> list[Any]:
    """Return what we say of each point."""
    return [_seen(each) for each in found]


def _seen(each: Item | Refused | PassedOver) -> Any:
    if isinstance(each, Refused):
        return "refused"
    if isinstance(each, PassedOver):
        return "passed over"
    found = _flat(each.values)
    return {key: value for key, value in found.items() if key not in ("resource", "attributes")}


def _flat(values: Any) -> dict[str, object]:
    return {**_flat(values.base), **values.own} if isinstance(values, Merged) else values


@settings(max_examples=150, deadline=None)
@given(request=REQUESTS)
def test_what_the_library_writes_is_read_as_the_library_reads_it(request: list[Any]) -> None:
    made = built(request)
    assert seen(otlp_proto.points_of(made.SerializeToString(), with_buckets=True)) == list(expected(made))


@settings(max_examples=100, deadline=None)
@given(request=REQUESTS)
def test_json_and_protobuf_of_the_same_metrics_come_to_the_same(request: list[Any]) -> None:
    made = built(request)
    document = json.loads(json.dumps(MessageToDict(made, use_integers_for_enums=True)))
    in_json = seen(otlp_json.points_of(document, (), with_buckets=True))
    in_bytes = seen(otlp_proto.points_of(made.SerializeToString(), with_buckets=True))
    assert in_json == in_bytes


def _texts(found: list[Any]) -> list[str]:
    """Return *found* as texts, in which a number that is not one is equal to itself."""
    return [str(sorted(each.items())) if isinstance(each, dict) else each for each in found]


@settings(max_examples=200, deadline=None)
@given(request=REQUESTS, at=st.integers(0, 400), junk=st.binary(max_size=3), cut=st.integers(0, 3))
def test_of_damaged_bytes_we_never_say_something_else_than_the_library(
    request: list[Any], at: int, junk: bytes, cut: int
) -> None:
    whole = built(request).SerializeToString()
    data = whole[:at] + junk + whole[at + cut :]
    try:
        ours = seen(otlp_proto.points_of(data, with_buckets=True))
    except PoisonRecord:
        return  # we may be stricter: a field with another wire type is unknown to the library, and no metrics to us
    if "refused" in ours:
        return  # an attribute that stands there twice
    try:
        library = ExportMetricsServiceRequest.FromString(data)
    except DecodeError:
        return  # in what we do not read
    theirs = [each for each in expected(library) if each != "refused"]
    assert _texts(ours) == _texts(theirs)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_read_as_it_is_in_both(value: float) -> None:
    made = built(
        [({}, [("", [("m", "", "gauge", 0, [({}, 1, 0, {"as_double": value}, {"count": 0}, {})])])])]
    )
    (in_bytes,) = seen(otlp_proto.points_of(made.SerializeToString(), with_buckets=True))
    (in_json,) = seen(otlp_json.points_of(MessageToDict(made), ()))
    assert str(in_bytes["value"]) == str(in_json["value"]) == str(value)


def test_buckets_that_nobody_asks_for_are_not_looked_at() -> None:
    values: tuple[Any, ...] = ({}, 1, 0, {}, {"count": 1}, {"positive": {"bucket_counts": [1]}})
    made = built([({}, [("", [("m", "", "exponential_histogram", 1, [values])])])])
    data = made.SerializeToString().replace(b"\x12\x01\x01", b"\x12\x01\x81")  # a count that is cut off
    (found,) = seen(otlp_proto.points_of(data))
    assert "histogram" not in found
    with pytest.raises(PoisonRecord, match="goes on behind its end"):
        seen(otlp_proto.points_of(data, with_buckets=True))


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({"bucketCounts": ["x"]}, "'x' is not a whole number"),
        ({"bucketCounts": [None]}, "not an array of numbers"),
        ({"bucketCounts": {"0": 1}}, "not an array of numbers"),
        ({"offset": 2**64}, "is not a whole number of 64 bits"),
    ],
)
def test_a_run_of_json_that_is_none_refuses_its_point(run: dict[str, Any], reason: str) -> None:
    point = {"count": "1", "timeUnixNano": "1", "positive": run}
    metric = {"name": "m", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [point]}}
    document = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}
    (found,) = otlp_json.points_of(document, (), with_buckets=True)
    assert isinstance(found, Refused)
    assert reason in found.reason
