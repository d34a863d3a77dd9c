"""What ``streamgage.formats.avro`` needs fastavro for. Imported at the first use: fastavro is 16 ms of a cold start.

The function's batches of today's events need none of it (docs/adr/0011); its slow path, and all producers, do.
"""

import json
import struct
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form
from fastavro.validation import ValidationError, validate

from streamgage.errors import PoisonRecord
from streamgage.formats.singles import read_single

_SINGLE = "streamgage-single"  # a logical type of ours; those of schemas are dropped
fastavro.read.LOGICAL_READERS[f"float-{_SINGLE}"] = read_single

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


class Parsed(NamedTuple):
    """A schema: the record's full name, its fields' types, fastavro's form, the CRC-64-AVRO of its canonical form.

    ``logical`` holds the logical types of its fields, of those that have one.
    """

    name: str
    fields: dict[str, Any]
    parsed: Any
    crc: bytes
    logical: dict[str, str]


def parse(text: str) -> Parsed:
    """Return the schema that *text* describes; see AvroSchema.parse, which says what is refused. Raises: ValueError."""
    try:
        raw = json.loads(text)
        plain = _without_logical_types(raw)
        parsed = parse_schema(plain)
        crc = fingerprint(to_parsing_canonical_form(raw), "CRC-64-AVRO")
        if not isinstance(raw, dict) or raw.get("type") != "record":
            raise ValueError("an event's schema must be a record")
        _fewest_bytes(parsed, {})
        fields = {each["name"]: each["type"] for each in plain["fields"]}
        logical = {each["name"]: name for each in raw["fields"] if (name := _logical_type(each))}
    except _SCHEMA_ERRORS as error:
        raise ValueError(f"not a valid Avro schema: {_schema_problem(error)}") from error
    return Parsed(parsed["name"], fields, parsed, bytes.fromhex(crc), logical)


def encode(event: dict[str, Any], parsed: Any, name: str, fits: bool) -> bytes:  # noqa: FBT001 - called per event
    """Return *event* in Avro's binary encoding; *name* is the schema's. Raises: ValueError naming the field."""
    out = BytesIO()
    try:
        if not fits and not validate(
            event, parsed, raise_errors=False
        ):  # the writer alone would make 5 of 5.5
            validate(event, parsed)
        fastavro.schemaless_writer(out, parsed, event, strict_allow_default=True)
    except _ENCODE_ERRORS as error:
        raise ValueError(f"the event does not fit schema {name}: {_one_line(error)}") from error
    return out.getvalue()


def with_singles(parsed: Any) -> Any:
    """Return a writer's schema, as parse_schema gave it, by which each float is read as its shortest decimal."""
    plain = {key: value for key, value in parsed.items() if not key.startswith("__")}
    marked = _marked(plain)
    return parsed if marked == plain else parse_schema(marked)


def _marked(schema: Any) -> Any:
    """Return *schema*, a type in any place, with each float in it marked."""
    if isinstance(schema, list):
        return [_marked(each) for each in schema]
    if not isinstance(schema, dict):
        return {"type": "float", "logicalType": _SINGLE} if schema == "float" else schema
    if schema["type"] == "float":
        return {**schema, "logicalType": _SINGLE}
    parts = {key: _marked(schema[key]) for key in ("items", "values") if key in schema}
    if "fields" in schema:
        parts["fields"] = [_marked_field(each) for each in schema["fields"]]
    return schema | parts


def _marked_field(field: Any) -> Any:
    marked = _marked(field["type"])
    if marked == field["type"]:
        return field
    return {
        "name": field["name"],
        "type": marked,
    }  # a default is its reader's; one of a marked type would be refused


def decode(data: bytes, start: int, schemas: tuple[Any, Any], name: str) -> dict[str, Any]:
    """Return the object in *data* from *start* to its end. Raises: PoisonRecord ``undecodable``.

    *schemas* are the writer's and the reader's, None where they are the same; *name* is the reader's.
    """
    stream = BytesIO(data)
    stream.seek(start)
    try:
        event: dict[str, Any] = fastavro.schemaless_reader(stream, *schemas)
    except _DECODE_ERRORS as error:
        # "… from <_io.BytesIO object at 0x7f…>": an address is not the same on every delivery.
        what = str(error).partition(" from <")[0]
        raise PoisonRecord(
            "undecodable", f"not an object of {name}: {type(error).__name__}: {what}"
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
    total, names = 0, set[str]()
    for each in record["fields"]:
        if type(each["name"]) is not str:
            raise ValueError(f"{each['name']!r} is not the name of a field")
        if each["name"] in names:  # fastavro would write the one value twice
            raise ValueError(f"{record['name']} has two fields named {each['name']!r}")
        names.add(each["name"])
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


def _logical_type(field: Any) -> str:
    """Return the logical type of a record's *field*, "" where it has none.

    It stands in the type, in a branch of a union, or, by a common mistake, beside the type, where Avro passes it over: who
    wrote it meant it all the same.
    """
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    found = [
        each["logicalType"] for each in (*kinds, field) if isinstance(each, dict) and "logicalType" in each
    ]
    return " and ".join(dict.fromkeys(map(str, found)))


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(each) for each in schema]
    return schema
