"""What Avro resolves without a word and nobody meant: another unit by another name, a default that is no value."""

import json
from typing import Any

import pytest

from streamgage.definition.evolution import problems_of
from streamgage.definition.meanings import bad_defaults
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.formats.avro import AvroSchema

DEFINITION = """
[[sources]]
name = "m"
schema = "m.avsc"
partition_key = "dev"
event_time = "ts"

[[rollups]]
name = "r"
source = "m"
key = ["dev"]
windows = ["1h"]
measures = {v = ["sum"], seen = ["max"]}
"""
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
FIELDS: dict[str, Any] = {"dev": "string", "ts": MILLIS, "v": "double", "seen": MILLIS}
INNER = {"type": "record", "name": "N", "fields": [{"name": "a", "type": "int"}]}


class Files:
    """Today's schema, and one that is older."""

    def __init__(self, today: str, before: str) -> None:
        self._texts = {"m.avsc": today, "m.v1.avsc": before}

    def read(self, path: str) -> str:
        return self._texts[path]

    def versions(self, path: str) -> list[str]:
        return [each for each in self._texts if each != path]


def schema(fields: dict[str, Any], *, name: str = "M", **more: dict[str, Any]) -> str:
    described = [{"name": each, "type": kind, **more.get(each, {})} for each, kind in fields.items()]
    return json.dumps({"type": "record", "name": name, "fields": described})


def pipeline(today: str, before: str) -> Pipeline:
    return parse_pipeline(DEFINITION, Files(today, before))


def renamed(old: str, kind: Any) -> dict[str, Any]:
    """Return the fields, in which *old* of *kind* stands for the event time."""
    return {old if name == "ts" else name: kind if name == "ts" else each for name, each in FIELDS.items()}


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (MICROS, "timestamp-micros"),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, "local-timestamp-millis"),
        ("int", "an int, too small"),
    ],
)
def test_an_event_time_that_meant_something_else_by_its_former_name_is_refused(kind: Any, what: str) -> None:
    today = schema(FIELDS, ts={"aliases": ["at"]})
    (problem,) = problems_of(pipeline(today, schema(renamed("at", kind))))
    assert f"'at' is {what}" in problem
    assert "m.v1.avsc" in problem


def test_an_event_time_that_was_an_int_is_refused_by_its_own_name_too() -> None:
    (problem,) = problems_of(pipeline(schema(FIELDS), schema({**FIELDS, "ts": "int"})))
    assert "'ts' is an int" in problem


def test_a_measured_field_of_another_unit_is_refused() -> None:
    (problem,) = problems_of(pipeline(schema(FIELDS), schema({**FIELDS, "seen": MICROS})))
    assert "'seen' is timestamp-micros" in problem
    assert "both would be added up" in problem


def test_a_former_name_of_the_same_meaning_or_of_none_is_no_problem() -> None:
    today = schema({**FIELDS, "made": MICROS}, ts={"aliases": ["at"]}, made={"default": 0})
    for kind in (MILLIS, "long"):
        before = schema({**renamed("at", kind), "made": MILLIS})  # nothing counts what it holds
        assert problems_of(pipeline(today, before)) == []


def test_a_record_of_another_name_is_told_with_the_alias_that_it_needs() -> None:
    (problem,) = problems_of(pipeline(schema(FIELDS), schema(FIELDS, name="Old")))
    assert "its record is Old, today's M; give today's the alias 'Old'" in problem


@pytest.mark.parametrize(
    ("kind", "default", "reason"),
    [
        ("int", 3_000_000_000, "beyond what int holds"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "Z", "is not one of A"),
        ("bytes", "\u0100", "beyond U+00FF"),
        ({"type": "fixed", "name": "F", "size": 2}, "a", "2 are needed"),
        ({"type": "array", "items": "int"}, [1, "x"], "not a whole number"),
        ({"type": "map", "values": INNER}, {"k": {}}, "a is missing"),
        (INNER, {}, "a is missing"),
    ],
)
def test_a_default_that_is_none_of_its_type_is_refused(kind: Any, default: Any, reason: str) -> None:
    today = schema({**FIELDS, "x": kind}, x={"default": default})
    problem, *others = problems_of(pipeline(today, schema(FIELDS)))
    assert "the default of x is none of its type" in problem
    assert reason in problem
    assert others == []


def test_a_default_within_a_record_is_found_and_types_are_known_by_their_names() -> None:
    inner = {"type": "record", "name": "N", "fields": [{"name": "a", "type": "int", "default": 2**40}]}
    text = schema({"x": {"type": "array", "items": inner}, "y": "N"}, y={"default": {"a": "b"}})
    assert [place for place, _ in bad_defaults(AvroSchema.parse(text))] == ["x.a", "y"]


def test_two_fields_of_one_name_are_no_schema() -> None:
    twice = json.loads(schema(FIELDS))
    twice["fields"].append({"name": "v", "type": "long"})
    with pytest.raises(ValueError, match="M has two fields named 'v'"):
        AvroSchema.parse(json.dumps(twice))
