"""What a definition may say of agents, and what it is told where it may not."""

import re

import pytest

from infra.template.read import TEMPLATE
from streamgage.definition.build_index import BuildIndex, index_text
from streamgage.definition.fingerprint import (
    counts_of,
    definition_of,
    definition_text,
    differences,
    parse_definition,
    rollups_in,
    windows_in,
)
from streamgage.definition.pipeline import DeferredMappings, Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from support.agents import parsed
from support.paths import ROOT

READING, CLICK = ((ROOT / "schemas" / f"{name}.avsc").read_text() for name in ("reading", "click"))

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


class OneSchema:
    """A folder with one schema, *text*."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self, _path: str) -> str:
        return self._text

    def versions(self, _path: str) -> list[str]:
        return []


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
        (
            'metric = "field", value = "value"',
            'metric = "measurement_field", value = "field:temp"',
            "take one of both",
        ),
        ("measurement", "measurement_field", "from[0].match.'measurement_field': no selector to match by"),
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


def test_an_item_that_was_counted_stays_countable_whatever_agents_write_beside_it() -> None:
    assert fingerprint(INFLUX) == fingerprint()


def changes(before: tuple[str, ...], after: tuple[str, ...]) -> list[str]:
    """Return what a stack that recorded *before* is told of *after*."""
    one, other = (definition_of(parsed(BEGIN + "".join(each) + END), "main") for each in (before, after))
    return differences(parse_definition(definition_text(one)), other)


RAIN = INFLUX.replace("weather", "rain")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (INFLUX,)),
        ((INFLUX,), (RAIN, INFLUX)),
        ((INFLUX,), (INFLUX.replace("match =", 'others = "ignore"\nmatch ='),)),
        ((INFLUX.replace('"weather"', '["a", "b"]'),), (INFLUX.replace('"weather"', '["b", "a"]'),)),
    ],
)
def test_another_mapping_and_what_becomes_of_others_is_no_other_definition(
    before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    assert changes(before, after) == []


@pytest.mark.parametrize(
    "after",
    ["", RAIN, INFLUX.replace("tag:host", "tag:hostname"), INFLUX.replace('"weather"', '["weather", "x"]')],
)
def test_a_mapping_that_is_changed_or_gone_is_another_definition(after: str) -> None:
    (told,) = changes((INFLUX, INFLUX.replace("weather", "hail")), (after,))  # one sentence a source
    assert told.startswith("source reading would read of agents what it did otherwise")


def test_what_a_stack_records_of_mappings_is_what_its_template_takes_and_no_rollup() -> None:
    definition = definition_of(parsed(BEGIN + INFLUX + RAIN.replace("tag:", "tag:größe") + END), "main")
    pattern = re.search(r'  Definition:\n.*?AllowedPattern: "(.*?)"', TEMPLATE.read_text(), re.DOTALL)
    assert pattern is not None
    assert re.fullmatch(pattern[1], definition_text(definition))
    assert rollups_in(definition) == {"r.1"}
    assert windows_in(definition) == 1


def indexed(text: str, *, schema: str = READING) -> Pipeline:
    """Return the definition *text* as a bundle reads it that was built of it, with *schema* in its folder."""
    index = BuildIndex.of_text(index_text(schemas=[READING, CLICK], definition=text))
    return parse_pipeline(text, OneSchema(schema), index)


def test_a_bundle_reads_its_mappings_when_one_looks_into_them() -> None:
    text = BEGIN + INFLUX + END
    source, plain = indexed(text).sources["reading"], parsed(text).sources["reading"]
    assert isinstance(source.agents, DeferredMappings)
    assert source.agents._found is None
    assert source.agents  # there are some; which, nobody asked
    assert source.agents._found is None
    assert source == plain
    assert list(source.agents) == list(plain.agents)
    assert len(source.agents) == 1
    assert plain.agents == source.agents
    assert hash(source.agents) == hash(plain.agents)
    (mapping,) = plain.agents
    assert mapping in source.agents
    assert source.agents != []
    assert indexed(BEGIN + END).sources["reading"].agents == ()


def test_a_bundle_whose_schema_was_changed_or_exchanged_says_what_is_wrong_with_its_mappings() -> None:
    text = BEGIN + INFLUX.replace('metric = "field"', 'visitor_id = "field"') + END
    changed = READING.replace('"name": "metric"', '"name": "what"')
    told = r"from\[0\]\.fields\.'visitor_id': the schema has no such field"
    with pytest.raises(ConfigError, match=told):
        indexed(text, schema=changed)
    agents = indexed(text).sources["reading"].agents  # as if another had been there at the build
    for _ in range(2):
        with pytest.raises(ConfigError, match=told):
            list(agents)
