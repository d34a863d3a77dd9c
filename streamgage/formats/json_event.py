"""What a JSON event may look like: one set of rules for every entrance, written down in docs/formats.md.

The function applies it to Kinesis records, `streamgage send ndjson` to the lines of a file, and so every rule of IoT Core
that puts JSON into the stream. A value is taken exactly or refused: nothing is rounded, cut or guessed.

Source: where Avro leaves JSON open, Protobuf's mapping is followed (https://protobuf.dev/programming-guides/json/): a
number may stand in quotes, a whole number may be written 1.0, and null is the same as absent.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from decimal import ROUND_FLOOR, Context, Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, get_args

from streamgage.errors import PoisonCode, PoisonRecord
from streamgage.formats.avro import AvroSchema, Event
from streamgage.formats.iso_time import parse_iso_time

TimeUnit = Literal["s", "ms", "us", "ns"]
TIME_UNITS: tuple[str, ...] = get_args(TimeUnit)
ReadValue = Callable[[object], object]
"""Returns what an Avro field takes. Raises JsonRefused."""

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,400})(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")
_RANGES = {"int": 1 << 31, "long": 1 << 63}
_PER_MS = {"s": Decimal("0.001"), "ms": Decimal(1), "us": Decimal(1000), "ns": Decimal(1_000_000)}
_TO_MS = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
# Of an undeclared unit, numbers that can only be ms are taken: 1973 to 5138. Below it could be s, above it µs or ns.
_SURELY_MS = (10**11, 10**14)
_FLOOR = Context(prec=400, rounding=ROUND_FLOOR, Emax=999_999, Emin=-999_999)
_MAX_MS_DIGITS = 18
_MOST_MS = 10**_MAX_MS_DIGITS
_NATIVE: dict[type, frozenset[str]] = {
    str: frozenset({"string", "enum", "bytes", "fixed"}),
    bool: frozenset({"boolean"}),
    int: frozenset({"int", "long", "float", "double"}),
    float: frozenset({"float", "double"}),
    dict: frozenset({"record", "map"}),
    list: frozenset({"array"}),
}
_REMEMBERED_SCHEMAS = 128
_MAX_UNKNOWN = 50  # names of unknown fields that are kept


class JsonRefused(ValueError):
    """A value that no event may hold; ``code`` is that of its poison."""

    def __init__(self, reason: str, code: PoisonCode = "undecodable") -> None:
        self.code: PoisonCode = code
        super().__init__(reason)


def parse_json_object(data: bytes | str) -> dict[str, Any]:
    """Return the JSON object in *data*, UTF-8; of a repeated key the last value counts.

    Raises:
        PoisonRecord: ``undecodable``, or ``bad_value`` for NaN and Infinity, which are not JSON.
    """
    try:
        # Decoded here: json itself would guess UTF-16, and read the surrogates that UTF-8 forbids.
        text = data if isinstance(data, str) else data.decode()
        values = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PoisonRecord("undecodable", f"not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise PoisonRecord("undecodable", "not a JSON object")
    return values


class JsonEvents:
    """Makes events of one schema from JSON objects. ``unknown`` counts fields that the schema does not have, by name."""

    def __init__(self, schema: AvroSchema, event_time: str, unit: TimeUnit | None) -> None:
        self.unknown: Counter[str] = Counter()
        named: dict[str, ReadValue] = {}
        self._readers = {each["name"]: type_reader(each["type"], named) for each in schema.parsed["fields"]}
        self._readers[event_time] = lambda value: json_time_ms(value, unit)
        self._optional = frozenset(each["name"] for each in schema.parsed["fields"] if "default" in each)

    @property
    def names(self) -> Collection[str]:
        """The fields of the schema."""
        return self._readers.keys()

    def reader(self, name: str) -> ReadValue:
        """Return what reads the values of the field *name*."""
        return self._readers[name]

    def event(self, values: Mapping[str, object]) -> Event:
        """Return the event in *values*, which fits the schema; what may be absent is left to its default.

        Raises:
            PoisonRecord: a value is missing or refused; the reason names the field.
        """
        event: Event = {}
        for name, read in self._readers.items():
            value = values.get(name)
            if value is None and name in self._optional:
                continue
            if value is None and name not in values:
                raise PoisonRecord("undecodable", f"{name}: missing, and the schema has no default for it")
            try:
                event[name] = read(value)
            except JsonRefused as error:
                raise PoisonRecord(error.code, f"{name}: {error}") from error
        if not values.keys() <= self._readers.keys():
            self._note(values)
        return event

    def _note(self, values: Mapping[str, object]) -> None:
        for name in values:
            if name not in self._readers and (name in self.unknown or len(self.unknown) < _MAX_UNKNOWN):
                self.unknown[name] += 1


@lru_cache(maxsize=_REMEMBERED_SCHEMAS)
def json_events_of(schema: AvroSchema, event_time: str, unit: TimeUnit | None) -> JsonEvents:
    """Return what JSON events of *schema* may look like, the same each time: what it counts is of the whole process."""
    return JsonEvents(schema, event_time, unit)


def json_time_ms(value: object, unit: TimeUnit | None) -> int:
    """Return the event time that *value* says, in ms since the epoch, UTC, rounded down.

    A number is of *unit*; of an undeclared one (None) it is ms where it can be nothing else, and is refused otherwise:
    1767614400 could be 2026 in s, or three weeks into 1970 in ms. A text is a number in quotes, or ISO 8601 with an
    offset.

    Raises:
        JsonRefused: ``bad_time`` where nobody can tell which instant is meant, ``undecodable`` where none is.
    """
    if unit is not None and type(value) is int:  # what nearly all are: the long way costs five times as much
        multiplier, divisor = _TO_MS[unit]
        if -_MOST_MS < (plain_ms := value * multiplier // divisor) < _MOST_MS:
            return plain_ms
    if unit is None and type(value) is int and _SURELY_MS[0] <= value < _SURELY_MS[1]:
        return value
    number = _decimal(value)
    if number is None:
        if not isinstance(value, str):
            raise JsonRefused(
                f"{_shown(value)} is not a time: a number since 1970, or ISO 8601 with an offset"
            )
        try:
            local_ms, offset_ms = parse_iso_time(value.strip())
        except ValueError as error:
            raise JsonRefused(str(error)) from error
        if offset_ms is None:
            raise JsonRefused(
                f"{_shown(value)} has no offset, such as Z or +01:00: which zone is meant?", "bad_time"
            )
        return local_ms - offset_ms
    if unit is None and not _SURELY_MS[0] <= abs(number) < _SURELY_MS[1]:
        raise JsonRefused(
            f"{_shown(value)} could be s, ms, µs or ns since 1970; say which: time_unit of the source in pipeline.toml",
            "bad_time",
        )
    scaled = _FLOOR.divide(number, _PER_MS[unit or "ms"])
    if scaled.adjusted() >= _MAX_MS_DIGITS:
        raise JsonRefused(f"{_shown(value)} is outside the years 1970 to 9999", "bad_time")
    return int(scaled.to_integral_value(context=_FLOOR))


def type_reader(avro_type: Any, named: dict[str, ReadValue]) -> ReadValue:
    """Return what reads JSON as *avro_type*; *named* holds the readers of the types that were named before."""
    if isinstance(avro_type, list):
        return _union([(_kind(each), type_reader(each, named)) for each in avro_type])
    kind = _kind(avro_type)
    if isinstance(avro_type, str):
        return named.get(kind) or _SIMPLE[kind]
    read = _complex(kind, avro_type, named) or type_reader(avro_type["type"], named)
    if "name" in avro_type:
        named[avro_type["name"]] = read
    return read


def _kind(avro_type: Any) -> str:
    return str(avro_type["type"] if isinstance(avro_type, dict) else avro_type)


def _complex(kind: str, avro_type: Any, named: dict[str, ReadValue]) -> ReadValue | None:
    if kind == "array":
        items = type_reader(avro_type["items"], named)
        return lambda value: [items(each) for each in _of(list, value, "a JSON array")]
    if kind == "map":
        values = type_reader(avro_type["values"], named)
        return lambda value: {name: values(each) for name, each in _of(dict, value, "a JSON object").items()}
    if kind in ("record", "error"):
        return _record(avro_type, named)
    if kind == "enum":
        symbols = frozenset(avro_type["symbols"])
        return lambda value: _symbol(value, symbols)
    if kind == "fixed":
        return lambda value: _fixed(value, avro_type["size"])
    return _SIMPLE.get(kind)


def _record(avro_type: Any, named: dict[str, ReadValue]) -> ReadValue:
    fields = [
        (each["name"], type_reader(each["type"], named), "default" in each) for each in avro_type["fields"]
    ]

    def read(value: object) -> object:
        given, made = _of(dict, value, "a JSON object"), {}
        for name, read_field, optional in fields:
            found = given.get(name)
            if found is None and optional:
                continue
            if found is None and name not in given:
                raise JsonRefused(f"{name} is missing")
            made[name] = read_field(found)
        return made

    return read


def _union(branches: list[tuple[str, ReadValue]]) -> ReadValue:
    nullable = any(kind == "null" for kind, _ in branches)
    others = [each for each in branches if each[0] != "null"]

    def read(value: object) -> object:
        if value is None and nullable:
            return None
        native = _NATIVE.get(type(value), frozenset())
        problem = JsonRefused(f"{_shown(value)} is refused: only null is possible")
        # What JSON says it is comes first, so that of a long and a string "5" is the string.
        for _, branch in sorted(others, key=lambda each: each[0] not in native):
            try:
                return branch(value)
            except JsonRefused as error:
                problem = error
        raise problem

    return read


def _of(kind: type, value: object, what: str) -> Any:
    if not isinstance(value, kind):
        raise JsonRefused(f"{_shown(value)} is not {what}")
    return value


def _decimal(value: object) -> Decimal | None:
    """Return the number that *value* is, or has in quotes; None where it is none. Raises: JsonRefused, not finite."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        if value - value != 0:
            raise JsonRefused(f"{value!r} is not a finite number", "bad_value")
        return Decimal(repr(value))
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value)
    return None


def _integer(kind: str) -> ReadValue:
    def read(value: object) -> object:
        if type(value) is int:
            number = value
        else:
            exact = _decimal(value)
            if exact is None or exact.adjusted() > 20 or exact != exact.to_integral_value():
                raise JsonRefused(f"{_shown(value)} is not a whole number")
            number = int(exact)
        if not -_RANGES[kind] <= number < _RANGES[kind]:
            raise JsonRefused(f"{_shown(value)} is beyond what {kind} holds")
        return number

    return read


def _float(value: object) -> object:
    if type(value) is float and value - value == 0:
        return value
    number = _decimal(value)
    if number is None:
        raise JsonRefused(f"{_shown(value)} is not a number")
    made = float(number) if number.adjusted() < 310 else float("inf")
    if made - made != 0:
        raise JsonRefused(f"{_shown(value)} is larger than a double holds")
    return made


def _boolean(value: object) -> object:
    if not isinstance(value, bool):
        raise JsonRefused(f"{_shown(value)} is neither true nor false")
    return value


def _string(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # an id that was written as a number
    return _of(str, value, "a text")


def _symbol(value: object, symbols: frozenset[str]) -> object:
    if not isinstance(value, str) or value not in symbols:
        raise JsonRefused(f"{_shown(value)} is not one of {', '.join(sorted(symbols))[:200]}")
    return value


def _bytes(value: object) -> bytes:
    # Avro: "bytes […] values are encoded as JSON strings, where Unicode code points 0-255 are mapped to bytes".
    try:
        return str(_of(str, value, "a text")).encode("latin-1")
    except UnicodeEncodeError as error:
        raise JsonRefused(f"{_shown(value)} has characters beyond U+00FF; each stands for a byte") from error


def _fixed(value: object, size: int) -> bytes:
    data = _bytes(value)
    if len(data) != size:
        raise JsonRefused(f"{_shown(value)} is {len(data)} bytes; {size} are needed")
    return data


def _null(value: object) -> None:
    if value is not None:
        raise JsonRefused(f"{_shown(value)} is not null")


def _shown(value: object) -> str:
    try:
        text = "null" if value is None else repr(_begin_of(value))
    except (RecursionError, ValueError):  # ValueError: more digits than Python shows
        return "what is nested so deep, or so long,"
    return text if len(text) <= 80 else text[:77] + "…"


def _begin_of(value: object) -> object:
    """Return as much of *value* as is shown: what many events share may be long, and each of them is refused by itself."""
    if isinstance(value, str | bytes):
        return value[:80]
    if isinstance(value, dict):
        return {str(name)[:80]: _begin_of(each) for name, each in islice(value.items(), 40)}
    return [_begin_of(each) for each in value[:40]] if isinstance(value, list) else value


def _refuse_constant(name: str) -> float:
    raise PoisonRecord("bad_value", f"{name} is not a finite number")


_SIMPLE: dict[str, ReadValue] = {
    "null": _null,
    "string": _string,
    "int": _integer("int"),
    "long": _integer("long"),
    "float": _float,
    "double": _float,
    "boolean": _boolean,
    "bytes": _bytes,
}
