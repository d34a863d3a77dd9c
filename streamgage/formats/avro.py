"""User records: events in Avro single-object encoding, written by any schema ever released, read by today's.

fastavro does the work, in ``streamgage.formats.avro_codec``, and is imported when it is first needed.

Source: https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from streamgage.errors import PoisonRecord

# "Single Avro objects are encoded as follows: A two-byte marker, C3 01, […] the 8-byte little-endian CRC-64-AVRO
# fingerprint of the object's schema, […] the object encoded using Avro's binary encoding."
MARKER = b"\xc3\x01"
HEADER_BYTES = 10

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """A parsed schema. ``name`` is the record's full name, ``prefix`` the ten bytes before each object.

    ``logical`` names the logical types of its fields, of those that have one: nothing reads by them, and who gives a field
    a meaning looks whether it is the meant one.
    """

    name: str
    fields: dict[str, Any] = field(hash=False)
    parsed: Any = field(repr=False, compare=False)
    prefix: bytes
    logical: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

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
        from streamgage.formats.avro_codec import parse  # noqa: PLC0415 - see the module

        name, fields, parsed, crc, logical = parse(text)
        return cls(name, fields, parsed, MARKER + crc[:8], logical)

    def encode(self, event: Event, *, fits: bool = False) -> bytes:
        """Return *event* as an Avro single object; unknown and missing fields are errors, defaults apply.

        Where the caller knows that it *fits*, most of the time that this takes is saved.

        Raises:
            ValueError: the event does not fit the schema; the message names the field.
        """
        return self.prefix + _encoder()(event, self.parsed, self.name, fits)


Refine = Callable[[Any], Any]
"""Makes of a value what a column holds in its place. Raises ValueError: nothing can be made of it."""


class AvroReader:
    """Decode Avro single objects of one source: any *writers* schema, resolved to the *reader* schema.

    ``refine`` names fields whose values are not kept as Avro has them, null aside.
    """

    def __init__(
        self,
        reader: AvroSchema,
        writers: Iterable[AvroSchema] = (),
        refine: Mapping[str, Refine] | None = None,
    ) -> None:
        self.reader = reader
        self._refine = refine
        self._resolve = {each.prefix: (each.parsed, reader.parsed) for each in writers}
        self._resolve[reader.prefix] = (reader.parsed, None)
        self._ready: dict[bytes, tuple[Any, Any]] = {}

    @property
    def prefixes(self) -> frozenset[bytes]:
        """The first ten bytes of each object that this reader can decode."""
        return frozenset(self._resolve)

    def decode(self, data: bytes) -> Event:
        """Return the event in *data*.

        Raises:
            PoisonRecord: ``unknown_schema`` or ``undecodable``; ``bad_value`` of what is refined.
        """
        prefix = data[:HEADER_BYTES]
        schemas = self._ready.get(prefix)
        if schemas is None:
            schemas = self._ready[prefix] = self._prepare(prefix)
        event = _decoder()(data, HEADER_BYTES, schemas, self.reader.name)
        return event if self._refine is None else _refined(event, self._refine)

    def _prepare(self, prefix: bytes) -> tuple[Any, Any]:
        """Return the writer's schema, as it is read by, and the reader's; None where they are the same."""
        schemas = self._resolve.get(prefix)
        if schemas is None:
            raise PoisonRecord("unknown_schema", f"no schema has the fingerprint {prefix[2:].hex()}")
        from streamgage.formats.avro_codec import with_singles  # noqa: PLC0415 - see the module

        return with_singles(schemas[0]), schemas[1]


def _refined(event: Event, refine: Mapping[str, Refine]) -> Event:
    for name, made_of in refine.items():
        value = event[name]
        if value is not None:
            try:
                event[name] = made_of(value)
            except ValueError as error:
                raise PoisonRecord("bad_value", f"{name}: {error}") from error
    return event


# An import statement costs 0.8 µs a call where the module is there already; a cached function, 0.1.
@cache
def _encoder() -> Callable[[Event, Any, str, bool], bytes]:
    from streamgage.formats.avro_codec import encode  # noqa: PLC0415 - see the module

    return encode


@cache
def _decoder() -> Callable[[bytes, int, tuple[Any, Any], str], Event]:
    from streamgage.formats.avro_codec import decode  # noqa: PLC0415 - see the module

    return decode
