"""What a schema says and no reader looks at: the unit that a field had under an older schema, and whether defaults fit.

Avro resolves a long to a long, whatever it meant: microseconds of a year ago are read as milliseconds of the year 57994,
and a default that is no value of its type is found by the first event that needs it. `streamgage check` looks.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from streamgage.definition.pipeline import Source
from streamgage.formats.avro import AvroSchema
from streamgage.formats.json_event import JsonRefused, ReadValue, type_reader

_TIME = "timestamp-millis"


def changed_meanings(source: Source, used: AbstractSet[str]) -> Iterator[str]:
    """Yield a sentence for each field among *used*, or event time, that meant something else in an older schema."""
    for path, writer in zip(source.paths[1:], source.writers, strict=True):
        for name in sorted({source.event_time, *used}):
            old = _old_name(source.schema, writer, name)
            if old is None:
                continue
            before, today = writer.logical.get(old, ""), source.schema.logical.get(name, "")
            if name == source.event_time:
                if before not in ("", _TIME):
                    yield _sentence(source, path, old, before, f"its events would count at a wrong {name}")
                elif writer.fields[old] == "int":
                    why = f"{2**31 - 1} ms are 25 days: its events would count in January 1970"
                    yield _sentence(source, path, old, "an int, too small for ms since 1970", why)
            elif before and today and before != today:
                yield _sentence(
                    source, path, old, before, f"today's {name!r} is {today}: both would be added up"
                )


def bad_defaults(schema: AvroSchema) -> Iterator[tuple[str, str]]:
    """Yield (path of a field, reason) of each default that is no value of its field's type, as Avro's JSON has it."""
    yield from _defaults(schema.parsed, "", {})


def _sentence(source: Source, path: str, field: str, what: str, why: str) -> str:
    return (
        f"source {source.name}: {field!r} is {what} in {path}; {why}. Give today's schema a field of another name for it, "
        "or, where no such event is left in the stream or with its senders, delete the file"
    )


def _old_name(reader: AvroSchema, writer: AvroSchema, name: str) -> str | None:
    """Return by which name of *writer* the field *name* is filled, None where it is not."""
    for each in reader.parsed["fields"]:
        if each["name"] == name:
            return next((old for old in (name, *each.get("aliases", ())) if old in writer.fields), None)
    return None


def _defaults(schema: Any, path: str, named: dict[str, ReadValue]) -> Iterator[tuple[str, str]]:
    """Look into *schema*, a type in any place, in the order in which it names types."""
    if isinstance(schema, list):
        for each in schema:
            yield from _defaults(each, path, named)
    if not isinstance(schema, dict):
        return
    for key in ("items", "values", "type"):
        if isinstance(schema.get(key), dict | list):
            yield from _defaults(schema[key], path, named)
    for each in schema.get("fields", ()):
        place = f"{path}.{each['name']}" if path else each["name"]
        yield from _defaults(each["type"], place, named)
        read = type_reader(each["type"], named)
        if "default" in each:
            try:
                read(each["default"])
            except JsonRefused as error:
                yield place, str(error)
    if "name" in schema:
        named[schema["name"]] = type_reader(schema, named)
