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
_ENCODE_ERRORS = (
    ValidationError,
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

        Raises:
            ValueError: it is not JSON, not a valid Avro schema, or not a record.
        """
        try:
            raw = json.loads(text)
            parsed = parse_schema(_without_logical_types(raw))
        except (ValueError, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
            raise ValueError(f"not a valid Avro schema: {error}") from error
        if not isinstance(raw, dict) or raw.get("type") != "record":
            raise ValueError("an event's schema must be an Avro record")
        crc = fingerprint(to_parsing_canonical_form(raw), "CRC-64-AVRO")
        fields = {each["name"]: each["type"] for each in _without_logical_types(raw)["fields"]}
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).replace('"', "").replace("[", "").replace("]", "").split())


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(each) for each in schema]
    return schema
