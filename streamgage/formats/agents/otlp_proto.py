"""OTLP metrics in protobuf, as the Collector's awskinesis exporter (``otlp_proto``) and OTLP/HTTP send them.

A decoder of our own, of the messages that are needed: the library would add a second and a half MB to the function, and its
import to the cold start (docs/adr/0045). tests/property/test_otlp_laws.py compares it with the library.

Source: https://github.com/open-telemetry/opentelemetry-proto/blob/v1.9.0/opentelemetry/proto/metrics/v1/metrics.proto.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from streamgage.errors import PoisonRecord
from streamgage.formats.agents.items import Item, PassedOver, Place, Refused, Values, pairs, undecodable
from streamgage.formats.agents.mapping import HISTOGRAM
from streamgage.formats.agents.otlp_points import (
    ARRAY,
    BYTES,
    KEY_VALUES,
    Attributes,
    metric_values,
    point,
    refused_kind,
    resource_values,
)
from streamgage.formats.agents.protobuf import (
    packed_varints,
    read_double,
    read_fixed64,
    read_sfixed64,
    wire_fields,
    wire_text,
)

Found = Item | Refused | PassedOver
_KINDS = {5: "gauge", 7: "sum", 9: "histogram", 10: "exponential histogram", 11: "summary"}
# By message, the wire types of its fields.
_REQUEST = {1: 2}  # resource_metrics
_RESOURCE_METRICS = {1: 2, 2: 2}  # resource, scope_metrics
_RESOURCE = {1: 2}  # attributes
_SCOPE_METRICS = {1: 2, 2: 2}  # scope, metrics
_SCOPE = {1: 2, 2: 2}  # name, version
_METRIC = {1: 2, 2: 2, 3: 2, **dict.fromkeys(_KINDS, 2)}  # name, description, unit, data
_DATA = {1: 2, 2: 0, 3: 0}  # data_points, aggregation_temporality, is_monotonic
_NUMBER: Final = {2: 1, 3: 1, 4: 1, 6: 1, 7: 2, 8: 0}  # start, time, as_double, as_int, attributes, flags
_EXPLICIT: Final = {2: 1, 3: 1, 4: 1, 5: 1, 9: 2, 10: 0, 11: 1, 12: 1}
_EXPONENTIAL: Final = {1: 2, 2: 1, 3: 1, 4: 1, 5: 1, 10: 0, 12: 1, 13: 1}
_BUCKETS: Final = {
    1: 2,
    6: 0,
    7: 1,
    8: 2,
    9: 2,
    14: 1,
}  # scale, zero_count, positive, negative, zero_threshold
_RUN: Final = {1: 0, 2: 2}  # offset, bucket_counts: packed, as all write them
# What the two histograms call the same: attributes, flags, min, max. Time is 3, count 4, sum 5 in both.
_OF_HISTOGRAMS = {
    "histogram": (_EXPLICIT, 9, 10, 11, 12),
    "exponential histogram": (_EXPONENTIAL, 1, 10, 12, 13),
}
_KEY_VALUE = {1: 2, 2: 2}
_ANY_VALUE = {1: 2, 2: 0, 3: 0, 4: 1, 5: 2, 6: 2, 7: 2}
_MESSAGES = 262_144  # of a request, four for each event that one may hold: an empty one takes two bytes, and a microsecond
_REMEMBERED, _REMEMBERED_BYTES = 4096, 256


class _Reading:
    """How one request is read, and how many messages it may still have."""

    __slots__ = ("left", "with_buckets")

    def __init__(self, *, with_buckets: bool) -> None:
        self.with_buckets, self.left = with_buckets, _MESSAGES

    def count(self, messages: int) -> None:
        """Raise PoisonRecord for so many of them that reading them would take long, and bring nothing."""
        self.left -= messages
        if self.left < 0:
            raise undecodable(
                f"more than {_MESSAGES:,} messages, of resources, their attributes, scopes, metrics and points: send smaller batches"
            )


class _Around(NamedTuple):
    """What a point stands in."""

    kind: str
    shared: Values
    place: Place
    with_buckets: bool


def points_of(body: bytes, *, with_buckets: bool = False) -> Iterator[Found]:
    """Yield the data points of an ``ExportMetricsServiceRequest``, or of ``MetricsData``, in their order.

    Buckets are read where they are asked for: a point has more of them than of all else.

    Raises:
        PoisonRecord: it is none. What was yielded before counts for nothing: nobody knows what else is wrong.
    """
    reading = _Reading(with_buckets=with_buckets)
    for number, begin, end in wire_fields(body, 0, len(body), _REQUEST):
        if number == 1:
            yield from _resource(body, begin, end, reading)


def _resource(body: bytes, begin: int, end: int, reading: _Reading) -> Iterator[Found]:
    spans: list[tuple[int, int]] = []
    scopes: list[tuple[int, int]] = []
    for number, at, stop in wire_fields(body, begin, end, _RESOURCE_METRICS):
        if number == 1:
            spans += _spans(body, at, stop, _RESOURCE, 1)
        elif number == 2:
            scopes.append((at, stop))
    reading.count(1 + len(spans) + len(scopes))
    shared = resource_values(_attributes(body, spans))
    for at, stop in scopes:
        yield from _scope(body, at, stop, shared, reading)


def _scope(body: bytes, begin: int, end: int, shared: Values, reading: _Reading) -> Iterator[Found]:
    name = ""
    metrics: list[tuple[int, int]] = []
    for number, at, stop in wire_fields(body, begin, end, _SCOPE_METRICS):
        if number == 1:
            for of_scope, start, until in wire_fields(body, at, stop, _SCOPE):
                name = wire_text(body, start, until) if of_scope == 1 else name
        elif number == 2:
            metrics.append((at, stop))
    reading.count(len(metrics))
    for at, stop in metrics:
        yield from _metric(body, at, stop, (shared, name), reading)


def _metric(
    body: bytes, begin: int, end: int, above: tuple[Values, str], reading: _Reading
) -> Iterator[Found]:
    name = unit = kind = ""
    datas: list[tuple[int, int]] = []
    for number, at, stop in wire_fields(body, begin, end, _METRIC):
        if number == 1:
            name = wire_text(body, at, stop)
        elif number == 3:
            unit = wire_text(body, at, stop)
        elif (
            number in _KINDS
        ):  # one of them: "if multiple values are set, the last one wins", and the same twice is joined
            datas = datas if _KINDS[number] == kind else []
            kind = _KINDS[number]
            datas.append((at, stop))
    shared = metric_values(*above, name, unit)
    temporality, spans = _data(body, datas, kind)
    reading.count(len(datas) + len(spans))
    for count, (start, until) in enumerate(spans):
        around = _Around(kind, shared, (kind, name, "point", count), reading.with_buckets)
        read = _histogram if kind in _OF_HISTOGRAMS else _number
        yield refused_kind(kind, temporality, around.place) or read(body, start, until, around)


def _data(body: bytes, datas: list[tuple[int, int]], kind: str) -> tuple[int | None, list[tuple[int, int]]]:
    """Return the temporality of a metric's data, None where it has none, and where its points stand."""
    temporality = None if kind in ("gauge", "summary") else 0
    spans: list[tuple[int, int]] = []
    for begin, end in datas:
        for number, at, stop in wire_fields(body, begin, end, _DATA):
            if number == 1:
                spans.append((at, stop))
            elif number == 2 and temporality is not None:
                temporality = at
    return temporality, spans


def _number(body: bytes, begin: int, end: int, around: _Around) -> Found:
    value: object = None
    time_ns = flags = 0
    spans: list[tuple[int, int]] = []
    for number, at, stop in wire_fields(body, begin, end, _NUMBER):
        if number == 7:
            spans.append((at, stop))
        elif number == 3:
            (time_ns,) = read_fixed64(body, at)
        elif number == 4:
            (value,) = read_double(body, at)
        elif number == 6:
            (value,) = read_sfixed64(body, at)
        elif number == 8:
            flags = at
    return _point(body, spans, {"value": value}, around, (time_ns, flags))


def _histogram(body: bytes, begin: int, end: int, around: _Around) -> Found:
    known, of_attributes, of_flags, of_min, of_max = _OF_HISTOGRAMS[around.kind]
    own: dict[str, object] = {"count": 0}
    time_ns = flags = 0
    spans: list[tuple[int, int]] = []
    for number, at, stop in wire_fields(body, begin, end, known):
        if number == of_attributes:
            spans.append((at, stop))
        elif number == of_flags:
            flags = at
        elif number == 3:
            (time_ns,) = read_fixed64(body, at)
        elif number == 4:
            (own["count"],) = read_fixed64(body, at)
        elif number == 5:
            (own["sum"],) = read_double(body, at)
        elif number == of_min:
            (own["min"],) = read_double(body, at)
        elif number == of_max:
            (own["max"],) = read_double(body, at)
    if around.with_buckets and known is _EXPONENTIAL:
        own[HISTOGRAM] = {"count": own["count"], **_buckets(body, begin, end)}
    return _point(body, spans, own, around, (time_ns, flags))


def _buckets(body: bytes, begin: int, end: int) -> dict[str, object]:
    """Return the buckets of the point from *begin* to *end*, named as in OTLP's JSON."""
    scale = zeros = 0
    threshold = 0.0
    runs: dict[int, list[tuple[int, int]]] = {8: [], 9: []}
    for number, at, stop in wire_fields(body, begin, end, _BUCKETS):
        if number == 6:
            scale = _signed(at)
        elif number == 7:
            (zeros,) = read_fixed64(body, at)
        elif number == 14:
            (threshold,) = read_double(body, at)
        elif number in runs:
            runs[number].append((at, stop))
    return {
        "scale": scale,
        "zeroCount": zeros,
        "zeroThreshold": threshold,
        "positive": _run(body, runs[8]),
        "negative": _run(body, runs[9]),
    }


def _run(body: bytes, spans: list[tuple[int, int]]) -> dict[str, object]:
    offset, counts = 0, list[int]()
    for begin, end in spans:
        for number, at, stop in wire_fields(body, begin, end, _RUN):
            if number == 1:
                offset = _signed(at)
            elif number == 2:
                counts += packed_varints(body, at, stop)
    return {"offset": offset, "bucketCounts": counts}


def _signed(number: int) -> int:
    """Return the sint32 that the varint *number* stands for."""
    low = number & 0xFFFFFFFF
    return (low >> 1) ^ -(low & 1)


def _point(
    body: bytes,
    spans: list[tuple[int, int]],
    own: dict[str, object],
    around: _Around,
    when: tuple[int, int],
) -> Found:
    time_ns, flags = when
    try:
        attributes = pairs([_key_value(body, *span) for span in spans], "attribute")
    except ValueError as error:
        return Refused.at(around.place, str(error))
    return point(around.shared, attributes, own, around.place, time_ns=time_ns, flags=flags)


def _spans(body: bytes, begin: int, end: int, known: dict[int, int], wanted: int) -> list[tuple[int, int]]:
    return [(at, stop) for number, at, stop in wire_fields(body, begin, end, known) if number == wanted]


def _attributes(body: bytes, spans: list[tuple[int, int]]) -> Attributes:
    try:
        return pairs([_key_value(body, *span) for span in spans], "attribute of a resource")
    except ValueError as error:
        raise undecodable(str(error)) from error


def _key_value(body: bytes, begin: int, end: int) -> tuple[str, object]:
    if end - begin <= _REMEMBERED_BYTES:
        try:
            return _remembered_key_value(body[begin:end])
        except PoisonRecord as error:
            raise undecodable(f"in the attribute at byte {begin}: {error.reason}") from error
    return _read_key_value(body, begin, end)


@lru_cache(maxsize=_REMEMBERED)  # they come again and again
def _remembered_key_value(data: bytes) -> tuple[str, object]:
    return _read_key_value(data, 0, len(data))


def _read_key_value(data: bytes, begin: int, end: int) -> tuple[str, object]:
    key, value = "", None
    for number, at, stop in wire_fields(data, begin, end, _KEY_VALUE):
        if number == 1:
            key = wire_text(data, at, stop)
        elif number == 2:
            value = _any_value(data, at, stop, value)
    return key, value


def _any_value(data: bytes, begin: int, end: int, value: object) -> object:
    for number, at, stop in wire_fields(data, begin, end, _ANY_VALUE):
        if number == 1:
            value = wire_text(data, at, stop)
        elif number == 2:
            value = at != 0
        elif number == 3:
            value = at - (1 << 64) if at >> 63 else at
        elif number == 4:
            (value,) = read_double(data, at)
        else:
            value = {5: ARRAY, 6: KEY_VALUES, 7: BYTES}.get(number, value)
    return value
