"""OTLP metrics in JSON: Protobuf's mapping, lowerCamelCase, with 64-bit numbers that may stand in quotes.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding (checked 2026-11-29): "Values of enum fields MUST be
encoded as integer values"; "receivers MUST ignore message fields with unknown names".
"""

from collections.abc import Iterator, Mapping
from typing import Any

from streamgage.formats.agents.items import Item, PassedOver, Place, Refused, Values, pairs, undecodable
from streamgage.formats.agents.mapping import HISTOGRAM
from streamgage.formats.agents.otlp_points import (
    ARRAY,
    BYTES,
    CUMULATIVE,
    DELTA,
    KEY_VALUES,
    Attributes,
    metric_values,
    point,
    refused_kind,
    resource_values,
)

_KINDS = {
    "gauge": "gauge",
    "sum": "sum",
    "histogram": "histogram",
    "exponentialHistogram": "exponential histogram",
    "summary": "summary",
}
_TEMPORALITIES = {"AGGREGATION_TEMPORALITY_DELTA": DELTA, "AGGREGATION_TEMPORALITY_CUMULATIVE": CUMULATIVE}
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def points_of(
    document: Mapping[str, Any], place: Place, *, with_buckets: bool = False
) -> Iterator[Item | Refused | PassedOver]:
    """Yield the data points of a document with ``resourceMetrics``, in their order; their buckets where they are asked for.

    Raises:
        PoisonRecord: something is not of the kind that it should be; nobody knows what else is wrong.
    """
    for resource in _list(document, "resourceMetrics"):
        attributes = _attributes(_object(resource, "resource"))
        shared = resource_values(attributes)
        for scope in _list(resource, "scopeMetrics"):
            name = _text(_object(scope, "scope"), "name")
            for metric in _list(scope, "metrics"):
                values = metric_values(shared, name, _text(metric, "name"), _text(metric, "unit"))
                yield from _metric(metric, values, place, with_buckets=with_buckets)


def _metric(
    metric: Mapping[str, Any], shared: Values, place: Place, *, with_buckets: bool
) -> Iterator[Item | Refused | PassedOver]:
    for key, kind in _KINDS.items():
        if metric.get(key) is None:
            continue
        data = _object(metric, key)
        temporality = None if kind in ("gauge", "summary") else _temporality(data)
        for count, each in enumerate(_list(data, "dataPoints")):
            own_place = (*place, kind, str(shared.get("metric")), "point", count)
            refused = refused_kind(kind, temporality, own_place)
            yield refused or _point(each, kind, shared, own_place, with_buckets=with_buckets)


def _point(
    each: Mapping[str, Any], kind: str, shared: Values, place: Place, *, with_buckets: bool
) -> Item | Refused | PassedOver:
    try:
        attributes = pairs(_key_values(each), "attribute")
        if kind in ("gauge", "sum"):
            own: dict[str, object] = {"value": _number(each)}
        else:
            own = {"count": _integer(each, "count")}
            own |= {name: _double(each[name]) for name in ("sum", "min", "max") if each.get(name) is not None}
        if with_buckets and kind == "exponential histogram":
            own[HISTOGRAM] = {"count": own["count"], **_buckets(each)}
        time_ns, flags = _integer(each, "timeUnixNano"), _integer(each, "flags")
    except ValueError as error:
        return Refused.at(place, str(error))
    return point(shared, attributes, own, place, time_ns=time_ns, flags=flags)


def _buckets(each: Mapping[str, Any]) -> dict[str, object]:
    threshold = each.get("zeroThreshold")
    return {
        "scale": _integer(each, "scale"),
        "zeroCount": _integer(each, "zeroCount"),
        "zeroThreshold": 0.0 if threshold is None else _double(threshold),
        "positive": _run(_object(each, "positive")),
        "negative": _run(_object(each, "negative")),
    }


def _run(run: Mapping[str, Any]) -> dict[str, object]:
    counts = run.get("bucketCounts") or []
    if not isinstance(counts, list) or None in counts:
        raise ValueError("bucketCounts is not an array of numbers")
    return {
        "offset": _integer(run, "offset"),
        "bucketCounts": [
            each if type(each) is int else _integer({"bucketCounts": each}, "bucketCounts") for each in counts
        ],
    }


def _number(each: Mapping[str, Any]) -> object:
    if each.get("asInt") is not None:
        return _integer(each, "asInt")
    return None if each.get("asDouble") is None else _double(each["asDouble"])


def _temporality(data: Mapping[str, Any]) -> int:
    value = data.get("aggregationTemporality", 0)
    if isinstance(value, str) and value in _TEMPORALITIES:
        return _TEMPORALITIES[value]
    return value if type(value) is int else 0


def _attributes(resource: Mapping[str, Any]) -> Attributes:
    try:
        return pairs(_key_values(resource), "attribute of a resource")
    except ValueError as error:
        raise undecodable(str(error)) from error


def _key_values(holder: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [(_text(each, "key"), _any_value(_object(each, "value"))) for each in _list(holder, "attributes")]


def _any_value(value: Mapping[str, Any]) -> object:
    if isinstance(text := value.get("stringValue"), str):
        return text
    if isinstance(truth := value.get("boolValue"), bool):
        return truth
    if value.get("intValue") is not None:
        return _integer(value, "intValue")
    if value.get("doubleValue") is not None:
        return _double(value["doubleValue"])
    named = {"arrayValue": ARRAY, "kvlistValue": KEY_VALUES, "bytesValue": BYTES}
    return next((what for name, what in named.items() if name in value), None)


def _integer(holder: Mapping[str, Any], name: str) -> int:
    """Return the 64-bit number under *name*, 0 where there is none. Raises: ValueError."""
    value = holder.get(name)
    if value is None:
        return 0
    if isinstance(value, str) and value.isascii() and len(value) <= 20:
        digits = value.removeprefix("-")
        value = int(value) if digits.isdigit() else value
    if type(value) is not int or not -(2**63) <= value < 2**64:
        raise ValueError(f"{name} {str(value)[:80]!r} is not a whole number of 64 bits")
    return value


def _double(value: object) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if isinstance(value, str) and len(value) <= 400 and value.isascii() and "_" not in value:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{str(value)[:80]!r} is not a number")  # noqa: TRY004 - what JSON says, not what a caller gave
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(
            f"a whole number of {value.bit_length()} bits" if isinstance(value, int) else ""
        ) from error


def _list(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = holder.get(name) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise undecodable(f"{name} is not an array of objects")
    return found


def _object(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = holder.get(name) or {}
    if not isinstance(found, dict):
        raise undecodable(f"{name} is not an object")
    return found


def _text(holder: Mapping[str, Any], name: str) -> str:
    found = holder.get(name) or ""
    if not isinstance(found, str):
        raise undecodable(f"{name} is not a text")
    return found
