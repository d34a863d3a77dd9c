"""What a definition may say of agents, and what it is told where it may not."""

import pytest

from streamgage.definition.fingerprint import counts_of
from streamgage.errors import ConfigError
from support.agents import parsed

BEGIN = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
"""
FIELDS = '{ device_id = "tag:host", metric = "field", value = "value", ts = "time" }'
INFLUX = f"""
[[sources.from]]
format = "influx"
match = {{ measurement = "weather" }}
fields = {FIELDS}
"""
END = """
[[rollups]]
name = "r"
source = "reading"
key = ["device_id"]
windows = ["1h"]
[rollups.measures]
value = ["sum"]
"""


def problems(*tables: str) -> list[str]:
    try:
        parsed(BEGIN + "".join(tables) + END)
    except ConfigError as error:
        return list(error.problems)
    return []


def fingerprint(*tables: str) -> str:
    pipeline = parsed(BEGIN + "".join(tables) + END)
    return counts_of(pipeline, pipeline.rollups["r"])


def test_a_definition_without_problems_says_what_agents_write() -> None:
    pipeline = parsed(BEGIN + INFLUX + END)
    (mapping,) = pipeline.sources["reading"].agents
    assert mapping.match == (("measurement", frozenset({"weather"})),)
    assert dict(mapping.fields)["device_id"] == "tag:host"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            '"influx"',
            '"inflix"',
            "sources[0].from[0].format: 'inflix' is not a format; did you mean 'influx'?",
        ),
        (
            '"tag:host"',
            '"tags:host"',
            "from[0].fields.'device_id': 'tags:host' is no selector; of influx there are:",
        ),
        (
            "device_id =",
            "device =",
            "from[0].fields.'device': the schema has no such field; did you mean 'device_id'?",
        ),
        ('device_id = "tag:host",', "", "from[0].fields: device_id missing"),
        (', ts = "time"', "", "from[0].fields: ts missing"),
        ('"weather"', "7", "from[0].match.'measurement': 7 is neither a text nor a list of texts"),
        ('"weather"', "[]", "neither a text nor a list of texts"),
        ("measurement", "time", "from[0].match.'time': no selector to match by"),
        ("measurement", '"field:temp"', "from[0].match.'field:temp': no selector to match by"),
        ("measurement", "tags", "from[0].match.'tags': no selector to match by"),
        ('"tag:host"', "3", "not a selector, which is a text"),
        ('metric = "field"', 'metric = "text:t"', "value without field"),
        ('value = "value"', 'value = "field:temp"', "take one of both"),
        ('metric = "field"', 'metric = "time"', "goes into the event time, 'ts'"),
        ("match =", 'time_unit = "h"\nmatch =', "'h' is not one of s, ms, us, ns"),
        ("match =", 'others = "drop"\nmatch =', """'drop' is neither "ignore" nor "quarantine\""""),
        ("match =", "mach = 1\nmatch =", "from[0].mach: unknown key; did you mean 'match'?"),
    ],
)
def test_what_is_wrong_is_told_with_what_would_be_right(old: str, new: str, problem: str) -> None:
    assert INFLUX.count(old) == 1
    assert any(problem in each for each in problems(INFLUX.replace(old, new))), problems(
        INFLUX.replace(old, new)
    )


def test_a_time_unit_is_line_protocols_alone() -> None:
    otlp = (
        INFLUX.replace('"influx"', '"otlp"')
        .replace("measurement", "metric")
        .replace("tag:host", "attribute:h")
    )
    otlp = otlp.replace('"field"', '"metric"')
    assert problems(otlp) == []
    assert "unknown key" in problems(otlp.replace("match", 'time_unit = "s"\nmatch'))[0]


@pytest.mark.parametrize(
    ("match", "overlaps"),
    [
        ('{ measurement = "other" }', False),
        ('{ measurement = ["weather", "other"] }', True),
        ("{ }", True),
        ('{ "tag:room" = "1" }', True),
        ('{ measurement = "weather", "tag:room" = "1" }', True),
        ('{ measurement = "other", "tag:room" = "1" }', False),
    ],
)
def test_two_mappings_that_may_mean_one_item_are_a_problem(match: str, overlaps: bool) -> None:  # noqa: FBT001 - a case
    found = problems(INFLUX, INFLUX.replace('{ measurement = "weather" }', match))
    assert bool(found) is overlaps
    assert all("may both mean the same influx item" in each for each in found)


def test_mappings_of_two_sources_are_compared_too() -> None:
    click = BEGIN.replace("reading", "click").replace("device_id", "visitor_id") + (
        '[[sources.from]]\nformat = "json"\nmatch = { kind = "reading" }\n'
    )
    json = '[[sources.from]]\nformat = "json"\nmatch = { kind = ["reading", "x"] }\n'
    (problem,) = problems(json, click)
    assert "source reading, from[0] and source click, from[0]" in problem


def test_json_that_names_its_source_belongs_to_it_and_to_no_mapping() -> None:
    (problem,) = problems('[[sources.from]]\nformat = "json"\nmatch = { source = "reading" }\n')
    assert "is an event of that source already" in problem


def test_who_says_nothing_of_agents_counts_what_he_counted_before() -> None:
    assert fingerprint() == "inuNtr5YHtk"


def test_what_makes_events_of_items_is_part_of_what_is_counted_and_the_rest_is_not() -> None:
    counted = fingerprint(INFLUX)
    assert counted != fingerprint()
    assert counted != fingerprint(INFLUX.replace("tag:host", "tag:hostname"))
    assert counted != fingerprint(INFLUX.replace('"weather"', '["weather", "rain"]'))
    assert counted == fingerprint(INFLUX.replace("match =", 'others = "ignore"\nmatch ='))
    rain = INFLUX.replace("weather", "rain")
    assert fingerprint(INFLUX, rain) == fingerprint(rain, INFLUX)
    two = [INFLUX.replace('"weather"', each) for each in ('["a", "b"]', '["b", "a"]')]
    assert fingerprint(two[0]) == fingerprint(two[1])
