"""Whether today's schema can read what older ones wrote: seen by reading events of each of them, not by comparing texts.

The function resolves an old event when it meets one, weeks after a schema was changed; what cannot be read is in the
quarantine then. So a definition is vouched for only after events of every older schema were made, of every branch of a
union, every symbol of an enum, arrays and maps with and without items, and read by the reader that the function uses.

Source: https://avro.apache.org/docs/1.12.0/specification/#schema-resolution
"""

import json
from collections.abc import Iterator
from typing import Any

from streamgage.definition.meanings import bad_defaults, changed_meanings
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.errors import PoisonRecord
from streamgage.formats.avro import AvroReader, AvroSchema

_MOST_VALUES = 100_000  # of an event that is made; one of more would not fit a record either
_PLAIN: dict[str, tuple[Any, ...]] = {
    "null": (None,),
    "boolean": (False, True),
    "int": (0, 2**31 - 1, -(2**31)),
    "long": (0, 2**63 - 1, -(2**63)),
    "float": (0.5, -1e30),
    "double": (0.5, -1e300),
    "bytes": (b"a", b""),
    "string": ("a", ""),
}
_OTHER_RECORD = "Schema mismatch: {'type': 'record'"  # how fastavro begins where records have different names
_NAMED = ("record", "error", "enum", "fixed")


def problems_of(pipeline: Pipeline) -> list[str]:
    """Return what events of older schemas would come to: a sentence for each schema and field; none where all is well."""
    problems: list[str] = []
    for source in pipeline.sources.values():
        used = {name for each in pipeline.rollups_of(source.name) for name in (*each.key, *each.measures)}
        problems += [*_problems(source), *changed_meanings(source, used)]
    return problems


def defaults_of(source: Source, keys: frozenset[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield (path, field, default) where a field among *keys* is not in an older schema: its events get the default."""
    defaults = {each["name"]: each.get("default") for each in source.schema.parsed["fields"]}
    for path, writer in zip(source.paths[1:], source.writers, strict=False):
        for name in sorted(keys - writer.fields.keys() - _renamed(source.schema, writer)):
            yield path, name, defaults[name]


def _problems(source: Source) -> Iterator[str]:
    for place, reason in bad_defaults(source.schema):
        yield (
            f"source {source.name}: the default of {place} is none of its type ({reason}): the first event without "
            f"{place} would be quarantined"
        )
    reader = AvroReader(source.schema, source.writers)
    for path, writer in zip(source.paths[1:], source.writers, strict=True):
        reason = _unreadable(reader, writer)
        if reason:
            yield (
                f"source {source.name}: an event of {path} cannot be read by today's schema ({reason}): it would be "
                "quarantined. Change today's schema so that it can (a default, a union, a wider type), or, where no such "
                "event is left in the stream or with its senders, delete the file"
            )
    for path, name, default in defaults_of(source, frozenset({source.event_time})):
        yield (
            f"source {source.name}: {path} has no {name!r}: all of its events would count at the default time, "
            f"{default!r}. Give {name!r} in today's schema no default, or an alias"
        )


def _unreadable(reader: AvroReader, writer: AvroSchema) -> str:
    """Return why an event of *writer* cannot be read; "" where each that was made can."""
    try:
        events = samples(writer)
    except ValueError as error:
        return str(error)
    for event in events:
        try:
            reader.decode(writer.encode(event, fits=True))  # the check does not know all pairs
        except PoisonRecord as error:
            return _with_field(_short(error.reason), reader.reader, writer)
        except ValueError as error:  # a bug of ours, or a schema that fastavro parses and cannot write
            return f"none could be made: {error}"
    return ""


def _with_field(reason: str, reader: AvroSchema, writer: AvroSchema) -> str:
    """Return *reason* with the first field that cannot be read by itself, where one is to be found."""
    if reason.startswith(_OTHER_RECORD) and _simple(writer.name) != _simple(reader.name):
        return f"its record is {writer.name}, today's {reader.name}; give today's the alias {writer.name!r}"
    for name in writer.fields.keys() & reader.fields.keys():
        try:
            old, new = (_only(each, name) for each in (writer, reader))
            one = AvroReader(new, (old,))
            for event in samples(old):
                one.decode(old.encode(event, fits=True))
        except PoisonRecord as error:
            return f"{name}: {_short(error.reason)}"
        except ValueError:  # its type is defined in another field
            continue
    return reason


def _simple(name: str) -> str:
    return name.rpartition(".")[2]


def _short(reason: str) -> str:
    return reason.rpartition("SchemaResolutionError: ")[2]


def _only(schema: AvroSchema, name: str) -> AvroSchema:
    fields = [{"name": name, "type": schema.fields[name]}]
    return AvroSchema.parse(json.dumps({"type": "record", "name": schema.name, "fields": fields}))


def _renamed(reader: AvroSchema, writer: AvroSchema) -> set[str]:
    return {
        each["name"]
        for each in reader.parsed["fields"]
        if writer.fields.keys() & set(each.get("aliases", ()))
    }


def samples(schema: AvroSchema) -> list[dict[str, Any]]:
    """Return events of *schema* in which each branch, symbol and extreme that it allows is found at least once.

    A branch of a union is written as fastavro's pair (name, value).

    Raises:
        ValueError: an event of it has too many values to be made, or to be sent.
    """
    named: dict[str, tuple[list[Any], int]] = {}
    return _samples(schema.parsed, named)[0]


def _samples(schema: Any, named: dict[str, tuple[list[Any], int]]) -> tuple[list[Any], int]:
    """Return values of *schema*, and how many single values the largest holds. *named* holds those of named types."""
    if isinstance(schema, list):
        parts = [(_name(each), *_samples(each, named)) for each in schema]
        return [(name, value) for name, values, _ in parts for value in values], max(
            size for *_, size in parts
        )
    if isinstance(schema, str):
        return named[schema] if schema in named else (list(_PLAIN[schema]), 1)
    kind = schema["type"]
    if kind == "array":
        values, size = _samples(schema["items"], named)
        made: tuple[list[Any], int] = [values[:1], values, []], size * len(values)
    elif kind == "map":
        values, size = _samples(schema["values"], named)
        whole = {f"k{number}": each for number, each in enumerate(values)}
        made = [{"k": values[0]}, whole, {}], size * len(values)
    elif kind in ("record", "error"):
        made = _records(schema, named)
    elif kind == "enum":
        made = list(schema["symbols"]), 1
    elif kind == "fixed":
        made = [bytes(_bounded(schema["size"]))], 1
    else:
        made = _samples(kind, named)
    _bounded(made[1])
    if kind in _NAMED:
        named[schema["name"]] = made
    return made


def _records(schema: Any, named: dict[str, tuple[list[Any], int]]) -> tuple[list[Any], int]:
    fields = {each["name"]: _samples(each["type"], named) for each in schema["fields"]}
    most = max((len(values) for values, _ in fields.values()), default=1)
    size = sum(size for _, size in fields.values())
    _bounded(size)
    return [
        {name: values[number % len(values)] for name, (values, _) in fields.items()} for number in range(most)
    ], size


def _bounded(size: int) -> int:
    if size > _MOST_VALUES:
        raise ValueError(f"an event of it has {size:,} values; at most {_MOST_VALUES:,} are tried")
    return size


def _name(schema: Any) -> str:
    if isinstance(schema, str):
        return schema
    return str(schema["name"] if schema["type"] in _NAMED else schema["type"])
