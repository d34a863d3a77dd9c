"""From rows to events: columns, constants, types, times."""

import pytest

from producers.client.encoder import encoder_of
from producers.files.mapping import EventMapping, plan_mapping
from producers.files.times import time_parser
from streamgage.definition.pipeline import Source
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError

PIPELINE = """
[[sources]]
name = "all"
schema = "all.avsc"
partition_key = "name"
event_time = "ts"

[[rollups]]
name = "r"
source = "all"
key = ["name"]
windows = ["1h"]
keep = "1d"
"""
SCHEMA = """{"type": "record", "name": "All", "fields": [
  {"name": "name", "type": "string"},
  {"name": "ts", "type": "long"},
  {"name": "value", "type": "double"},
  {"name": "size", "type": ["null", "long"], "default": null},
  {"name": "up", "type": "boolean", "default": true},
  {"name": "kind", "type": "string", "default": "plain"},
  {"name": "tags", "type": ["null", {"type": "map", "values": "string"}], "default": null},
  {"name": "counts", "type": {"type": "map", "values": "int"}, "default": {}}
]}"""


class OneSchema:
    """A folder with one schema."""

    def read(self, path: str) -> str:
        assert path == "all.avsc"
        return SCHEMA

    def versions(self, path: str) -> list[str]:
        assert path == "all.avsc"
        return []


SOURCE: Source = parse_pipeline(PIPELINE, OneSchema()).sources["all"]


def mapping(
    *columns: str, maps: dict[str, str] | None = None, constants: dict[str, str] | None = None
) -> EventMapping:
    return plan_mapping(
        SOURCE,
        columns=columns or None,
        maps=maps or {},
        constants=constants or {},
        parse_time=time_parser(),
    )


def test_text_becomes_what_the_schema_says() -> None:
    row = {
        "name": " n ",
        "ts": "2014-02-14 14:30:00",
        "value": "51.846000000000004",
        "size": "94.0",
        "up": "no",
    }
    event = mapping(*row).event(row)
    assert event == {"name": " n ", "ts": 1392388200000, "value": 51.846000000000004, "size": 94, "up": False}
    encoder_of(SOURCE).user_record(event)


def test_an_empty_cell_is_the_default_where_there_is_one() -> None:
    row = {"name": "n", "ts": "1392388200", "value": "1", "size": "", "kind": ""}
    assert mapping(*row).event(row) == {"name": "n", "ts": 1392388200000, "value": 1.0}


def test_columns_are_mapped_and_constants_set_also_into_maps() -> None:
    plan = mapping(
        "device",
        "when",
        "reading",
        "site",
        "junk",
        maps={"name": "device", "ts": "when", "value": "reading", "tags.site": "site"},
        constants={"tags.floor": "2", "counts.a": "7", "kind": "x=y"},
    )
    row = {"device": "d", "when": "1392388200123", "reading": "1e3", "site": "north", "junk": "?"}
    expected = {
        "name": "d",
        "ts": 1392388200123,
        "value": 1000.0,
        "tags": {"floor": "2", "site": "north"},
        "counts": {"a": 7},
        "kind": "x=y",
    }
    assert plan.event(row) == expected
    assert plan.event({**row, "site": ""})["tags"] == {"floor": "2"}
    assert plan.event(row) == expected  # rows share nothing
    assert list(plan.ignored) == ["junk"]


def test_a_map_without_an_entry_is_left_to_its_default() -> None:
    plan = mapping("name", "ts", "value", "site", maps={"tags.site": "site"})
    assert "tags" not in plan.event({"name": "n", "ts": "1392388200", "value": "1", "site": ""})


def test_json_values_convert_and_dotted_columns_walk() -> None:
    plan = mapping(maps={"value": "payload.temp", "tags": "labels"})
    row = {
        "name": 12,
        "ts": 1392388200.5,
        "payload": {"temp": 3},
        "labels": {"a": "b"},
        "size": None,
        "up": False,
    }
    assert plan.event(row) == {
        "name": "12",
        "ts": 1392388200500,
        "value": 3.0,
        "tags": {"a": "b"},
        "up": False,
    }
    with pytest.raises(ValueError, match=r"value: there is no 'payload.temp'; there are 'name', 'ts'"):
        plan.event({"name": "n", "ts": 1392388200})


def test_mapped_columns_that_never_came_are_known() -> None:
    plan = mapping(maps={"tags.site": "sit", "kind": "k"})
    plan.event({"name": "n", "ts": "1392388200", "value": 1, "k": "x"})
    assert plan.unseen == {"sit"}


def test_every_problem_of_a_mapping_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        mapping(
            "timestamp",
            "value",
            maps={"ts": "timestmp", "valu": "value", "kind.x": "value"},
            constants={"size": "many", "up": "true", "ts": "1392388200"},
        )
    problems = caught.value.problems
    assert len(problems) == 6
    text = "\n".join(problems)
    for part in (
        "both --map and --set",
        "no column 'timestmp'; the columns are 'timestamp', 'value'",
        "no field 'valu'; its fields are",
        "Did you mean 'value'?",
        "'kind' is not a map",
        "--set size=many: 'many' is not a whole number",
        "Say --map name=COLUMN or --set name=VALUE",
    ):
        assert part in text


def test_two_columns_of_one_name_are_not_guessed_between() -> None:
    with pytest.raises(ConfigError, match="two columns are named 'value'"):
        mapping("name", "ts", "value", "value")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("value", "1_000", "not a number"),
        ("value", "", "not a number"),
        ("value", True, "not a number"),
        ("value", 10**400, "larger than a double"),
        ("size", "1.5", "not a whole number"),
        ("size", "٣", "not a whole number"),
        ("size", "9" * 5000, "not a whole number"),
        ("size", 1.5, "not a whole number"),
        ("up", "maybe", "neither true nor false"),
        ("name", 1.5, "not a text"),
        ("name", None, "not a text"),
        ("tags", "x", "not a JSON object"),
        ("tags", "[1]", "not a JSON object"),
        ("ts", "yesterday", "not a time such as"),
        ("ts", "", "is empty"),
        ("ts", True, "not a time"),
    ],
)
def test_a_value_that_does_not_convert_names_its_field(column: str, value: object, reason: str) -> None:
    row = {"name": "n", "ts": "1392388200", "value": "1", column: value}
    with pytest.raises(ValueError, match=f"^{column}: .*{reason}"):
        mapping().event(row)


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("2014-02-14 14:30:00", 1392388200000),
        ("2014-02-14T14:30:00Z", 1392388200000),
        ("2014-02-14T15:30:00.5+01:00", 1392388200500),
        ("2014-02-14T23:59:59.999999", 1392422399999),
        ("1969-12-31T23:59:59.9999", -1),
        ("2014-02-14", 1392336000000),
        ("1392388200", 1392388200000),
        ("1392388200.1239", 1392388200123),
        ("1392388200123", 1392388200123),
    ],
)
def test_times_are_read_to_the_ms_and_rounded_down(text: str, expected_ms: int) -> None:
    assert time_parser()(text) == expected_ms


@pytest.mark.parametrize(
    "text", ["20140214", "20140214153000", "5", "0", "-1392388200.5.1", "2014-02-30", "24:00"]
)
def test_a_time_that_could_mean_several_things_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        time_parser()(text)


def test_units_and_forms_can_be_said() -> None:
    assert time_parser("s")("5") == 5000
    assert time_parser("s")(1.2345) == 1234
    assert time_parser("ms")("5") == 5
    assert time_parser(form="%d.%m.%Y %H:%M")("14.02.2014 14:30") == 1392388200000
    assert time_parser(form="%d.%m.%Y %H:%M %z")("14.02.2014 14:30 +0100") == 1392384600000
    with pytest.raises(ValueError, match="not a number of s"):
        time_parser("s")("2014-02-14")
