from collections.abc import Iterable
from pathlib import Path

import pytest

from processors.pipeline_files import FilesIn, load_pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from support.paths import ROOT
from support.strategies import DEFINITION

SCHEMA = (ROOT / "schemas/reading.avsc").read_text()
SOURCE = """
[[sources]]
name = "reading"
schema = "reading.avsc"
partition_key = "device_id"
event_time = "ts"
"""
ROLLUP = """
[[rollups]]
name = "device_metrics"
source = "reading"
key = ["device_id"]
windows = ["1m"]
keep = "90d"
[rollups.measures]
value = ["sum"]
"""
GOOD = SOURCE + ROLLUP


class Texts:
    """Files that a test made up."""

    def __init__(self, **texts: str) -> None:
        self._texts = {f"{name}.avsc": text for name, text in {"reading": SCHEMA, **texts}.items()}

    def read(self, path: str) -> str:
        if path not in self._texts:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self._texts[path]

    def versions(self, path: str) -> Iterable[str]:
        stem = path.removesuffix("avsc")
        return sorted(each for each in self._texts if each.startswith(stem) and each != path)


def problems(text: str, files: Texts | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        parse_pipeline(text, files or Texts())
    return error.value.problems


def test_the_pipeline_of_the_repository_is_valid() -> None:
    pipeline = load_pipeline(ROOT / "pipeline.toml")
    assert pipeline.sources.keys() == {"reading", "click"}
    assert pipeline.rollups.keys() == {"device_metrics", "page_views", "visits"}
    assert [each.label for each in pipeline.rollups["device_metrics"].windows] == ["1m", "1h", "1d"]
    assert parse_pipeline(DEFINITION, FilesIn(ROOT)).sources["reading"].max_lateness_ms == 7 * 86_400_000


def test_a_windows_size_may_be_named_in_any_unit() -> None:
    rollup = parse_pipeline(GOOD.replace('["1m"]', '["60s", "2h"]'), Texts()).rollups["device_metrics"]
    assert rollup.window_named("1m") == rollup.window_named("60s") == rollup.windows[0]
    assert rollup.window_named("120m") == rollup.windows[1]
    assert rollup.window_named("1h") is None
    assert rollup.window_named("soon") is None


@pytest.mark.parametrize(
    ("old", "new", "path", "value", "right"),
    [
        ('name = "device_metrics"', 'name = "Devices"', "rollups[0].name", "'Devices'", "lower-case letters"),
        (
            '"device_id"\nev',
            '"device"\nev',
            "sources[0].partition_key",
            "'device'",
            "did you mean 'device_id'?",
        ),
        (
            'event_time = "ts"',
            'event_time = "value"',
            "sources[0].event_time",
            "'value' is double",
            "is long",
        ),
        ('event_time = "ts"', "event_time = 5", "sources[0].event_time", "5", "a text"),
        ('event_time = "ts"', "", "sources[0].event_time", "missing", "a text is needed"),
        (
            'event_time = "ts"',
            'event_time = "ts"\nmax_future = "5 min"',
            "sources[0].max_future",
            "'5 min'",
            '"5m"',
        ),
        (
            'event_time = "ts"',
            'event_time = "ts"\ntime_unit = "m"',
            "sources[0].time_unit",
            "'m'",
            "s, ms, us, ns",
        ),
        ('event_time = "ts"', 'event_time = "ts"\ntime_unit = [1]', "sources[0].time_unit", "[1]", "one of"),
        ('event_time = "ts"', 'event_time = "ts"\nmax_lateness = 7', "sources[0].max_lateness", "7", '"7d"'),
        (
            'event_time = "ts"',
            'event_time = "ts"\nmax_latenes = "7d"',
            "sources[0].max_latenes",
            "unknown key",
            "max_lateness",
        ),
        (
            'event_time = "ts"',
            'event_time = "ts"\nscale = {value = 19}',
            "sources[0].scale.value",
            "19",
            "0 to 18",
        ),
        (
            'event_time = "ts"',
            'event_time = "ts"\nscale = {value = true}',
            "sources[0].scale.value",
            "True",
            "0 to 18",
        ),
        (
            'event_time = "ts"',
            'event_time = "ts"\nscale = {metric = 2}',
            "sources[0].scale.metric",
            "'metric'",
            "ts, value",
        ),
        (
            '"reading.avsc"',
            '"raeding.avsc"',
            "sources[0].schema",
            "'raeding.avsc'",
            "relative to pipeline.toml",
        ),
        (
            'source = "reading"',
            'source = "redaing"',
            "rollups[0].source",
            "'redaing'",
            "did you mean 'reading'?",
        ),
        (
            'key = ["device_id"]',
            'key = ["device"]',
            "rollups[0].key[0]",
            "'device'",
            "did you mean 'device_id'?",
        ),
        ('key = ["device_id"]', 'key = ["value"]', "rollups[0].key[0]", "'value' is double", "string"),
        ('key = ["device_id"]', 'key = ["metric", "metric"]', "rollups[0].key", "'metric'", "twice"),
        ('key = ["device_id"]', 'key = "device_id"', "rollups[0].key", "'device_id'", "list of texts"),
        ('key = ["device_id"]', "key = []", "rollups[0].key", "[]", "list of texts"),
        (
            'windows = ["1m"]',
            'windows = ["1x"]',
            "rollups[0].windows[0]",
            "'1x'",
            "a whole number and a unit",
        ),
        (
            'windows = ["1m"]',
            'windows = ["500ms"]',
            "rollups[0].windows[0]",
            "'500ms'",
            "shorter than a second",
        ),
        ('windows = ["1m"]', 'windows = ["1m", "60s"]', "rollups[0].windows[1]", "'60s'", "twice"),
        ('keep = "90d"', "keep = 90", "rollups[0].keep", "90 is not a duration", '"7d"'),
        ('keep = "90d"', 'consumer = "Main"', "rollups[0].consumer", "'Main'", "lower-case letters"),
        ('keep = "90d"', "consumer = 5", "rollups[0].consumer", "5", "a text"),
        ('keep = "90d"', 'consumr = "x"', "rollups[0].consumr", "unknown key", "did you mean 'consumer'?"),
        ('keep = "90d"', 'keep = "0d"', "rollups[0].keep", "'0d'", "nothing at all"),
        ('keep = "90d"', 'keep = "90d"\ngeneration = 0', "rollups[0].generation", "0", "1 to 999999"),
        ('value = ["sum"]', 'value = ["summ"]', "rollups[0].measures.value", "'summ'", "did you mean 'sum'?"),
        (
            'value = ["sum"]',
            'value = "sum"',
            "rollups[0].measures.value",
            "'sum'",
            "a list of measures, such as",
        ),
        ('value = ["sum"]', 'metric = ["sum"]', "rollups[0].measures.metric", "'metric' is string", "double"),
    ],
)
def test_a_problem_names_path_value_and_what_would_be_right(
    old: str, new: str, path: str, value: str, right: str
) -> None:
    assert GOOD.count(old) == 1
    found = problems(GOOD.replace(old, new))
    assert len(found) == 1
    assert found[0].startswith(f"{path}: ")
    assert value in found[0]
    assert right in found[0]


def test_every_problem_is_reported_at_once() -> None:
    broken = (
        GOOD.replace('event_time = "ts"', 'event_time = "time"\nmax_future = "soon"')
        .replace('windows = ["1m"]', 'windows = ["1m", "one hour"]')
        .replace('keep = "90d"', 'kep = "90d"')
        .replace('value = ["sum"]', 'value = ["sum", "median"]')
    )
    assert [each.partition(":")[0] for each in problems(broken + "\n[extra]\n")] == [
        "sources[0].event_time",
        "sources[0].max_future",
        "rollups[0].windows[1]",
        "rollups[0].measures.value",
        "rollups[0].kep",
        "extra",
    ]


def test_an_empty_definition_says_what_a_pipeline_has() -> None:
    assert problems("") == (
        "sources: missing; a pipeline has at least one [[sources]]",
        "rollups: missing; a pipeline has at least one [[rollups]]",
    )
    assert "not an array of tables; write [[sources]]" in problems("sources = 3" + ROLLUP)[0]


def test_names_are_unique() -> None:
    assert "sources[1].name: 'reading' is used twice" in problems(SOURCE + SOURCE + ROLLUP)[0]
    assert "rollups[1].name: 'device_metrics' is used twice" in problems(GOOD + ROLLUP)[0]


def test_two_sources_of_one_schema_could_not_be_told_apart() -> None:
    twin = SOURCE.replace('name = "reading"', 'name = "other"')
    assert "share a schema" in problems(SOURCE + twin + ROLLUP)[0]


def test_a_broken_older_schema_is_named() -> None:
    found = problems(GOOD, Texts(**{"reading.v1": "{"}))
    assert len(found) == 1
    assert "'reading.v1.avsc'" in found[0]


def test_broken_toml_is_told_with_its_place() -> None:
    assert "line 2" in problems("a = 1\nb = = 2")[0]


def test_a_file_that_is_not_there_or_not_text_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pipeline\.toml: cannot be read .*--pipeline PATH"):
        load_pipeline(tmp_path / "pipeline.toml")
    (tmp_path / "pipeline.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load_pipeline(tmp_path / "pipeline.toml")


def test_problems_of_a_file_begin_with_its_path_and_older_schemas_stand_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text(GOOD)
    with pytest.raises(ConfigError) as error:
        load_pipeline(path)
    assert str(error.value).startswith(f"{path}: sources[0].schema: 'reading.avsc' cannot be read")
    (tmp_path / "reading.avsc").write_text(SCHEMA)
    (tmp_path / "reading.v1.avsc").write_text(SCHEMA.replace('"double"', '"float"'))
    source = load_pipeline(path).sources["reading"]
    assert len(source.writers) == 1
    assert len(source.prefixes) == 2


def test_a_key_of_two_types_is_refused_for_two_values_could_share_it() -> None:
    schema = SCHEMA.replace(
        '"name": "device_id", "type": "string"', '"name": "device_id", "type": ["string", "int"]'
    )
    assert schema != SCHEMA
    found = problems(GOOD, Texts(reading=schema))
    assert any("'device_id' is int or string" in each for each in found)


TWO = GOOD.replace('key = ["device_id"]', 'key = ["device_id", "metric"]\ntogether = {}')


def test_keys_stand_together_by_some_of_their_fields_in_the_order_of_the_key() -> None:
    three = TWO.replace('"metric"]', '"metric", "ts"]').format('["ts", "device_id"]')
    assert parse_pipeline(three, Texts()).rollups["device_metrics"].together == ("device_id", "ts")
    assert parse_pipeline(GOOD, Texts()).rollups["device_metrics"].together == ()


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ('"device_id"', "rollups[0].together: 'device_id' is not a list of texts"),
        ("[]", "rollups[0].together: [] is not a list of texts"),
        ('["device"]', "rollups[0].together[0]: 'device' is not part of the key; did you mean 'device_id'?"),
        ('["value"]', "rollups[0].together[0]: 'value' is not part of the key; known are device_id, metric"),
        ('["metric", "metric"]', "rollups[0].together: ['metric', 'metric'] names a field twice"),
        (
            '["metric", "device_id"]',
            "rollups[0].together: ['metric', 'device_id'] is the whole key: name fewer fields, or leave it out",
        ),
    ],
)
def test_what_cannot_keep_keys_together_is_refused(said: str, problem: str) -> None:
    assert problems(TWO.format(said)) == (problem,)
