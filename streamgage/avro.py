"""User records: events in Avro single-object encoding, written by any schema ever released, read by today's.

Source: https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding
"""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form
from fastavro.validation import ValidationError, validate

from streamgage.errors import PoisonRecord

# "Single Avro objects are encoded as follows: A two-byte marker, C3 01, […] the 8-byte little-endian CRC-64-AVRO
# fingerprint of the object's schema, […] the object encoded using Avro's binary encoding."
MARKER = b"\xc3\x01"
HEADER_BYTES = 10

Event = dict[str, Any]

# The fewest bytes of a value; a varint (also an array's end, or an enum's number) takes one.
_PRIMITIVE_BYTES = {"null": 0, "float": 4, "double": 8}

# What fastavro raises on bytes that are not an object of the schema: cut short, a length or a branch out of range,
# text that is not UTF-8. An enumerated list, so that a bug of ours is not taken for a bad record.
_DECODE_ERRORS = (
    EOFError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    StopIteration,
    struct.error,
    fastavro.read.SchemaResolutionError,
)
# What parse_schema raises on JSON that is no schema: it looks for keys, and into values, before it knows that they fit.
_SCHEMA_ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    fastavro.schema.SchemaParseException,
    fastavro.schema.UnknownType,
)
_ENCODE_ERRORS = (
    ValidationError,
    RecursionError,  # JSON about a thousand deep parses, and is then too deep to be shown in a message
    TypeError,
    ValueError,
    AttributeError,
    KeyError,
    OverflowError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """A parsed schema. ``name`` is the record's full name, ``prefix`` the ten bytes before each object."""

    name: str
    fields: dict[str, Any] = field(hash=False)
    parsed: Any = field(repr=False, compare=False)
    prefix: bytes

    @classmethod
    def parse(cls, text: str) -> "AvroSchema":
        """Return the schema that *text* (JSON) describes.

        Logical types are dropped: a timestamp-millis stays the integer that it is on the wire.

        Refused are schemas by which a few hostile bytes would cost far more than themselves, whatever fastavro does:
        records that contain themselves (its decoder recurses in C: a record of 5 kB, nested a byte a level, ends the
        process) and arrays of items that take no bytes, such as null (five bytes ask for 2**30 of them).

        Raises:
            ValueError: it is not JSON, not a valid Avro schema, not a record, or refused.
        """
        try:
            raw = json.loads(text)
            plain = _without_logical_types(raw)
            parsed = parse_schema(plain)
            crc = fingerprint(to_parsing_canonical_form(raw), "CRC-64-AVRO")
            if not isinstance(raw, dict) or raw.get("type") != "record":
                raise ValueError("an event's schema must be a record")
            _fewest_bytes(parsed, {})
            fields = {each["name"]: each["type"] for each in plain["fields"]}
        except _SCHEMA_ERRORS as error:
            raise ValueError(f"not a valid Avro schema: {_schema_problem(error)}") from error
        return cls(parsed["name"], fields, parsed, MARKER + bytes.fromhex(crc)[:8])

    def encode(self, event: Event) -> bytes:
        """Return *event* as an Avro single object; unknown and missing fields are errors, defaults apply.

        Raises:
            ValueError: the event does not fit the schema; the message names the field.
        """
        out = BytesIO()
        out.write(self.prefix)
        try:
            if not validate(event, self.parsed, raise_errors=False):  # the writer alone would make 5 of 5.5
                validate(event, self.parsed)
            fastavro.schemaless_writer(out, self.parsed, event, strict_allow_default=True)
        except _ENCODE_ERRORS as error:
            raise ValueError(f"the event does not fit schema {self.name}: {_one_line(error)}") from error
        return out.getvalue()


class AvroReader:
    """Decode Avro single objects of one source: any *writers* schema, resolved to the *reader* schema."""

    def __init__(self, reader: AvroSchema, writers: Iterable[AvroSchema] = ()) -> None:
        self.reader = reader
        self._resolve = {each.prefix: (each.parsed, reader.parsed) for each in writers}
        self._resolve[reader.prefix] = (reader.parsed, None)

    @property
    def prefixes(self) -> frozenset[bytes]:
        """The first ten bytes of each object that this reader can decode."""
        return frozenset(self._resolve)

    def decode(self, data: bytes) -> Event:
        """Return the event in *data*.

        Raises:
            PoisonRecord: ``unknown_schema`` or ``undecodable``.
        """
        schemas = self._resolve.get(data[:HEADER_BYTES])
        if schemas is None:
            raise PoisonRecord("unknown_schema", f"no schema has the fingerprint {data[2:10].hex()}")
        stream = BytesIO(data)
        stream.seek(HEADER_BYTES)
        try:
            event: Event = fastavro.schemaless_reader(stream, *schemas)
        except _DECODE_ERRORS as error:
            # "… from <_io.BytesIO object at 0x7f…>": an address is not the same on every delivery.
            what = str(error).partition(" from <")[0]
            raise PoisonRecord(
                "undecodable", f"not an object of {self.reader.name}: {type(error).__name__}: {what}"
            ) from error
        if stream.tell() != len(data):
            raise PoisonRecord("undecodable", f"{len(data) - stream.tell()} bytes left over after the object")
        return event


def _fewest_bytes(schema: Any, named: dict[str, int | None]) -> int:
    """Return the fewest bytes that a value of *schema*, as parse_schema gives it, takes on the wire.

    *named* holds those of each named type, None while it is being looked into.

    Raises:
        ValueError: the schema is one of those that AvroSchema.parse refuses.
    """
    if isinstance(schema, list):
        for each in schema:
            _fewest_bytes(each, named)
        return 1  # the number of the branch
    if isinstance(schema, str):
        known = named.get(schema, _PRIMITIVE_BYTES.get(schema, 1))
        if known is None:
            raise ValueError(f"record {schema} contains itself; the depth of an event must be bounded")
        return known
    kind = schema["type"]
    if kind in ("record", "error", "fixed"):
        name = schema["name"]
        named[name] = None
        named[name] = size = _size_of(schema) if kind == "fixed" else _sum_of_fields(schema, named)
        return size
    if kind == "array" and _fewest_bytes(schema["items"], named) == 0:
        raise ValueError("an array has items that take no bytes: a record of a few bytes could hold billions")
    if kind == "map":  # an entry has a key, of a byte at least
        _fewest_bytes(schema["values"], named)
    return _PRIMITIVE_BYTES.get(kind, 1)


def _sum_of_fields(record: Any, named: dict[str, int | None]) -> int:
    total = 0
    for each in record["fields"]:
        if type(each["name"]) is not str:
            raise ValueError(f"{each['name']!r} is not the name of a field")
        total += _fewest_bytes(each["type"], named)
    return total


def _size_of(fixed: Any) -> int:
    size = fixed["size"]
    if type(size) is not int or size < 0:
        raise ValueError(f"fixed {fixed['name']} has the size {size!r}, not a number of bytes")
    return size


def _schema_problem(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return str(error)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).replace('"', "").replace("[", "").replace("]", "").split())


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(each) for each in schema]
    return schema
