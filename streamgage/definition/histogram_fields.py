"""Which fields of a schema hold histograms: records with the names of OTLP's data point, and the types that these take.

Imported by definitions whose schemas have records. docs/formats.md has a schema to copy.
"""

from typing import Any

from streamgage.definition.pipeline import INTEGER_TYPES, branches
from streamgage.formats.avro import AvroSchema

_FLOATS = frozenset({"float", "double"})
_NUMBERS = {
    "count": INTEGER_TYPES,
    "scale": INTEGER_TYPES,
    "zeroCount": INTEGER_TYPES,
    "zeroThreshold": _FLOATS,
}
_RUNS = ("positive", "negative")

Named = dict[str, Any]
"""Types by their full names."""


def histogram_fields(schema: AvroSchema) -> frozenset[str]:
    """Return the names of the fields of *schema* that hold a histogram, or one or null."""
    named: Named = {}
    _collect(schema.parsed, named)
    return frozenset(
        each["name"] for each in schema.parsed["fields"] if _is_histogram(_not_null(each["type"]), named)
    )


def partial_defaults(schema: AvroSchema) -> list[str]:
    """Return the histograms of *schema* with a default, of theirs or of a field within, that is no whole value.

    A reader takes a default as it stands: what it leaves to the defaults of its own fields would be missing.
    """
    named: Named = {}
    _collect(schema.parsed, named)
    histograms = histogram_fields(schema)
    found = [each for each in schema.parsed["fields"] if each["name"] in histograms]
    return [each["name"] for each in found if not _has_whole_defaults(each, named)]


def _has_whole_defaults(field: Any, named: Named) -> bool:
    inner = _not_null(field["type"])
    is_whole = "default" not in field or _is_value(field["default"], field["type"], named)
    whole = named.get(inner) if isinstance(inner, str) else inner
    within = whole.get("fields", ()) if isinstance(whole, dict) else ()
    return is_whole and all(_has_whole_defaults(each, named) for each in within)


def _is_value(value: Any, avro_type: Any, named: Named) -> bool:
    """Tell whether *value*, out of JSON, is all of one of *avro_type*, as far as histograms have such types."""
    if value is None:
        return "null" in branches(avro_type)
    inner = _not_null(avro_type)
    fields = _fields(inner, named)
    if fields:
        return isinstance(value, dict) and all(
            name in value and _is_value(value[name], each, named) for name, each in fields.items()
        )
    kinds = branches(inner)
    if kinds <= INTEGER_TYPES:
        return type(value) is int
    if kinds <= _FLOATS:
        return type(value) in (int, float)
    if kinds == {"array"}:
        return isinstance(value, list) and all(_is_value(each, inner["items"], named) for each in value)
    return True


def _collect(avro_type: Any, named: Named) -> None:
    """Add each type that *avro_type* defines to *named*."""
    if isinstance(avro_type, list):
        for each in avro_type:
            _collect(each, named)
    elif isinstance(avro_type, dict):
        if "name" in avro_type:
            named[avro_type["name"]] = avro_type
        for each in (*avro_type.get("fields", ()), avro_type):
            _collect(each["type"], named)
        for key in ("items", "values"):
            _collect(avro_type.get(key), named)


def _not_null(avro_type: Any) -> Any:
    if isinstance(avro_type, list) and len(avro_type) == 2 and "null" in avro_type:
        return avro_type[1 - avro_type.index("null")]
    return avro_type


def _is_histogram(avro_type: Any, named: Named) -> bool:
    fields = _fields(avro_type, named)
    return (
        fields.keys() >= {*_NUMBERS, *_RUNS}
        and all(branches(fields[name]) <= types for name, types in _NUMBERS.items())
        and all(_is_run(fields[name], named) for name in _RUNS)
    )


def _is_run(avro_type: Any, named: Named) -> bool:
    fields = _fields(avro_type, named)
    if not fields.keys() >= {"offset", "bucketCounts"}:
        return False
    counts = fields["bucketCounts"]
    return (
        branches(fields["offset"]) <= INTEGER_TYPES
        and branches(counts) == {"array"}
        and isinstance(counts, dict)
        and branches(counts.get("items", "null")) <= INTEGER_TYPES
    )


def _fields(avro_type: Any, named: Named) -> dict[str, Any]:
    """Return the types of a record's fields; none of what is no record."""
    whole = named.get(avro_type) if isinstance(avro_type, str) else avro_type
    if not isinstance(whole, dict) or whole["type"] != "record":
        return {}
    return {each["name"]: each["type"] for each in whole["fields"]}
