"""A definition is vouched for when events of every older schema, of every kind that it allows, were read by today's."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgage.definition.evolution import defaults_of, problems_of, samples
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from streamgage.formats.avro import AvroReader, AvroSchema

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
measures = {v = ["sum"]}
"""
FIELDS = {"dev": "string", "ts": "long", "v": "double"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
E = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
WIDE = {"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}


class Files:
    """Schemas by path."""

    def __init__(self, schemas: Mapping[str, str]) -> None:
        self._schemas = schemas

    def read(self, path: str) -> str:
        return self._schemas[path]

    def versions(self, path: str) -> list[str]:
        return [each for each in self._schemas if each != path]


def schema(fields: Mapping[str, Any], **more: dict[str, Any]) -> str:
    """Return a schema of *fields*; *more* is what else stands beside the type of one."""
    described = [{"name": name, "type": kind, **more.get(name, {})} for name, kind in fields.items()]
    return json.dumps({"type": "record", "name": "M", "fields": described})


def pipeline(today: str, *older: str) -> Pipeline:
    schemas = {f"m.v{number}.avsc": each for number, each in enumerate(older, start=1)}
    return parse_pipeline(DEFINITION, Files({"m.avsc": today, **schemas}))


@pytest.mark.parametrize(
    ("today", "before", "word"),
    [
        ("double", "string", "string is not double"),
        ("double", ["null", "double"], "null"),
        ({"type": "array", "items": "long"}, {"type": "array", "items": "string"}, "x"),
        ({"type": "map", "values": "int"}, {"type": "map", "values": "long"}, "x"),
        (E, WIDE, "C not found"),
        ("int", "long", "long is not int"),
        (["null", "long"], ["null", "string"], "x"),
        ({"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 8}, "x"),
        (
            {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]},
            {"type": "record", "name": "R", "fields": [{"name": "b", "type": "long"}]},
            "No default value",
        ),
    ],
)
def test_an_older_schema_that_cannot_be_read_is_named_with_its_field(
    today: Any, before: Any, word: str
) -> None:
    (problem,) = problems_of(pipeline(schema({**FIELDS, "x": today}), schema({**FIELDS, "x": before})))
    assert "m.v1.avsc" in problem
    assert "(x: " in problem
    assert word in problem


@pytest.mark.parametrize(
    ("today", "before"),
    [
        ("double", "long"),
        ("string", "bytes"),
        (["null", "string"], "string"),
        (WIDE, E),
        ({**E, "default": "A"}, WIDE),
        ({"type": "array", "items": ["null", "double"]}, {"type": "array", "items": "float"}),
    ],
)
def test_what_avro_resolves_is_no_problem(today: Any, before: Any) -> None:
    assert problems_of(pipeline(schema({**FIELDS, "x": today}), schema({**FIELDS, "x": before}))) == []


def test_each_older_schema_is_tried() -> None:
    today = schema({**FIELDS, "x": "long"})
    older = (schema({**FIELDS, "x": "int"}), schema({**FIELDS, "x": "string"}), schema(FIELDS))
    problems = problems_of(pipeline(today, *older))
    assert ["m.v2.avsc" in problems[0], "m.v3.avsc" in problems[1], len(problems)] == [True, True, 2]


def test_a_time_that_old_events_lack_is_no_default() -> None:
    today = schema(FIELDS, ts={"default": 0})
    (problem,) = problems_of(pipeline(today, schema({"dev": "string", "v": "double"})))
    assert "m.v1.avsc has no 'ts'" in problem


def test_a_time_by_its_former_name_is_no_default() -> None:
    today = schema(FIELDS, ts={"default": 0, "aliases": ["at"]})
    assert problems_of(pipeline(today, schema({"dev": "string", "at": "long", "v": "double"}))) == []


def test_keys_that_old_events_get_by_default_are_told() -> None:
    today = schema({**FIELDS, "site": "string"}, site={"default": "somewhere"})
    source = pipeline(today, schema(FIELDS)).sources["m"]
    assert list(defaults_of(source, frozenset({"dev", "site"}))) == [("m.v1.avsc", "site", "somewhere")]


@pytest.mark.parametrize(
    "kind",
    [
        MICROS,
        {"type": "long", "logicalType": "timestamp-nanos"},
        {"type": "long", "logicalType": "local-timestamp-millis"},
        {"type": "long", "logicalType": "time-micros"},
        {"type": "long", "logicalType": "invented"},
    ],
)
def test_an_event_time_of_another_meaning_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigError, match=rf"event_time: 'ts' is {kind['logicalType']} in 'm.avsc'"):
        pipeline(schema({**FIELDS, "ts": kind}))


def test_a_logical_type_beside_the_type_is_seen_too() -> None:
    with pytest.raises(ConfigError, match="timestamp-micros"):
        pipeline(schema(FIELDS, ts={"logicalType": "timestamp-micros"}))


def test_an_event_time_that_had_another_meaning_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"timestamp-micros in 'm\.v1\.avsc'"):
        pipeline(schema({**FIELDS, "ts": MILLIS}), schema({**FIELDS, "ts": MICROS}))


def test_millis_and_logical_types_of_other_fields_are_taken() -> None:
    found = pipeline(schema({**FIELDS, "ts": MILLIS, "made": MICROS})).sources["m"]
    assert found.schema.logical == {"ts": "timestamp-millis", "made": "timestamp-micros"}


def test_a_schema_whose_events_double_with_each_type_is_bounded() -> None:
    inner: Any = "null"
    for number in range(40):
        twice = {"type": "record", "name": f"R{number}", "fields": [{"name": "a", "type": inner}]}
        inner = {"type": "record", "name": f"S{number}", "fields": [
            {"name": "a", "type": twice}, {"name": "b", "type": f"R{number}"},
        ]}  # fmt: skip
    before = schema({**FIELDS, "x": inner})
    (problem,) = problems_of(pipeline(schema(FIELDS), before))
    assert "values; at most" in problem


PLAIN = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
KINDS = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        inner.filter(lambda each: each != "null").map(lambda each: {"type": "array", "items": each}),
        inner.map(lambda each: {"type": "map", "values": each}),
        st.lists(PLAIN, min_size=1, max_size=4, unique=True).map(
            lambda each: [*each, {"type": "map", "values": "long"}, {"type": "array", "items": "int"}]
        ),
    ),
    max_leaves=4,
)


@given(st.lists(KINDS, min_size=1, max_size=5))
def test_whatever_a_schema_allows_its_samples_are_events_of_it(kinds: list[Any]) -> None:
    own = AvroSchema.parse(schema({f"f{number}": each for number, each in enumerate(kinds)}))
    for event in samples(own):
        assert AvroReader(own).decode(own.encode(event, fits=True)).keys() == event.keys()
