"""A Sparkplug B payload: bytes to metrics, as far as they hold single values.

Fields and data types: https://github.com/eclipse-tahu/tahu/blob/master/sparkplug_b/sparkplug_b.proto, and chapter 6 of
https://sparkplug.eclipse.org/specification/version/3.0/documents/sparkplug-specification-3.0.0.pdf (checked 2026-11-29).
"""

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct

from streamgage.errors import PoisonRecord
from streamgage.formats.agents.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    read_double,
    wire_fields,
    wire_text,
)
from streamgage.formats.varint import encode_varint

MOST_METRICS = 65_536
_WHAT = "Sparkplug B payload"
_PAYLOAD = {1: VARINT, 2: BYTES, 3: VARINT}
_INT, _LONG, _FLOAT, _DOUBLE, _BOOLEAN, _STRING = range(10, 16)
_METRIC = {
    **dict.fromkeys((2, 3, 4, 5, 7, _INT, _LONG, _BOOLEAN), VARINT),
    **dict.fromkeys((1, _STRING, 16, 17, 18), BYTES),
    _FLOAT: FIXED32,
    _DOUBLE: FIXED64,
}
_OTHERS = {16: "bytes or an array", 17: "a DataSet", 18: "a Template", 19: "an extension"}
_SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}
_UNSIGNED_BITS = {5: 8, 6: 16, 7: 32, 8: 64}
_DATE_TIME, _BOOLEAN_TYPE, _STRING_TYPES = 13, 11, {12, 14, 15}
_NAMES = {15: "UUID", 16: "DataSet", 17: "Bytes", 18: "File", 19: "Template", 20: "PropertySet"}
_read_float = Struct("<f").unpack_from

Single = int | float | bool | str

_NUMBERS = (2, 3, 4, 5, 7)
_VALUES: dict[int, Callable[[bytes, int, int], Single]] = {
    _INT: lambda _, at, __: at & 0xFFFFFFFF,  # protobuf's uint32: what is above is cut off
    _LONG: lambda _, at, __: at,
    _FLOAT: lambda data, at, _: float(_read_float(data, at)[0]),
    _DOUBLE: lambda data, at, _: float(read_double(data, at)[0]),
    _BOOLEAN: lambda _, at, __: at != 0,
    _STRING: wire_text,
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it was sent. ``field`` is that of its value, None where it has none; ``raw`` is what stood there."""

    name: str | None = None
    alias: int | None = None
    time_ms: int | None = None
    data_type: int | None = None
    is_historical: bool = False
    is_null: bool = False
    field: int | None = None
    raw: Single | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """What one message holds; ``time_ms`` is when it was sent, ``seq`` its number, 0 to 255."""

    time_ms: int | None
    seq: int | None
    metrics: tuple[Metric, ...]


def decode_payload(data: bytes) -> Payload:
    """Return the payload in *data*.

    Raises:
        PoisonRecord: it is none, or holds more than 65,536 metrics.
    """
    time_ms: int | None = None
    seq: int | None = None
    metrics: list[Metric] = []
    for number, begin, end in wire_fields(data, 0, len(data), _PAYLOAD, _WHAT):
        if number == 1:
            time_ms = begin
        elif number == 3:
            seq = begin
        elif number == 2:
            if len(metrics) == MOST_METRICS:
                raise PoisonRecord("undecodable", f"more than {MOST_METRICS:,} metrics")
            metrics.append(_metric(data, begin, end))
    if seq is not None and seq > 255:
        raise PoisonRecord("undecodable", f"seq is {seq}, not from 0 to 255")
    return Payload(time_ms, seq, tuple(metrics))


def _metric(data: bytes, begin: int, stop: int) -> Metric:
    name: str | None = None
    numbers: dict[int, int] = {}
    field: int | None = None
    raw: Single | None = None
    for number, at, end in wire_fields(data, begin, stop, _METRIC, _WHAT):
        if number == 1:
            name = wire_text(data, at, end)
        elif number in _NUMBERS:
            numbers[number] = at
        elif number in _VALUES:
            field, raw = number, _VALUES[number](data, at, end)
        elif number in _OTHERS:
            field, raw = number, None
    return Metric(
        name,
        numbers.get(2),
        numbers.get(3),
        numbers.get(4, 0) & 0xFFFFFFFF or None,
        bool(numbers.get(5, 0)),
        bool(numbers.get(7, 0)),
        field,
        raw,
    )


def value_of(metric: Metric, data_type: int | None) -> Single | None:
    """Return the value of *metric*, of *data_type* where it does not say its own; None where it is null, or has none.

    A signed integer is written as an unsigned one: by its own bits (Tahu in Python), or by 32 (Tahu in Java). Both are read.

    Raises:
        ValueError: it is no single value, or not of its type; says which.
    """
    kind = metric.data_type or data_type
    if metric.is_null or metric.field is None:
        return None
    if metric.field in _OTHERS:
        raise ValueError(f"{_OTHERS[metric.field]}, which no field takes")
    if kind is None:
        raise ValueError("of no data type, and no birth told it")
    raw, field = metric.raw, metric.field
    if kind in _SIGNED_BITS and field in (_INT, _LONG) and isinstance(raw, int):
        return _signed(raw, _SIGNED_BITS[kind], 32 if field == _INT else 64)
    if kind in _UNSIGNED_BITS and field in (_INT, _LONG) and isinstance(raw, int):
        if raw >> _UNSIGNED_BITS[kind]:
            raise ValueError(f"{raw} has more than {_UNSIGNED_BITS[kind]} bits")
        return raw
    if (
        (kind == _DATE_TIME and field == _LONG)
        or (kind == _BOOLEAN_TYPE and field == _BOOLEAN)
        or (kind in _STRING_TYPES and field == _STRING)
        or (kind in (9, 10) and field in (_FLOAT, _DOUBLE))
    ):
        return raw
    raise ValueError(f"of data type {_NAMES.get(kind, kind)}, and its value stands in field {field}")


def _signed(raw: int, bits: int, field_bits: int) -> int:
    if raw < 1 << bits:
        return raw - (1 << bits) if raw >> (bits - 1) else raw
    value = raw - (1 << field_bits)
    if value < -(1 << (bits - 1)):
        raise ValueError(f"{raw} is no signed number of {bits} bits")
    return value


def rebirth_command(now_ms: int) -> bytes:
    """Return the payload of an NCMD that asks a node for its births: ``Node Control/Rebirth`` is true."""
    name = b"Node Control/Rebirth"
    metric = b"\x0a%c%s\x18%s\x20%c\x70\x01" % (len(name), name, encode_varint(now_ms), _BOOLEAN_TYPE)
    return b"\x08%s\x12%c%s" % (encode_varint(now_ms), len(metric), metric)
