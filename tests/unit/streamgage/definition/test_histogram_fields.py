"""A field of histograms is known by its record; what may be asked of it, and put into it, is told by check."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from support.histograms import OTLP, ROLLUP, SCHEMA, SOURCE, OneSchema, pipeline

Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> OneSchema:
    schema = copy.deepcopy(SCHEMA)
    change(schema["fields"][2]["type"])
    return OneSchema(schema)


def problems(text: str, files: OneSchema | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refused:
        parse_pipeline(text, files or OneSchema(SCHEMA))
    return refused.value.problems


def without(name: str) -> Change:
    return lambda record: record.update(fields=[each for each in record["fields"] if each["name"] != name])


def as_type(name: str, avro_type: Any) -> Change:
    return lambda record: record.update(
        fields=[
            {"name": name, "type": avro_type} if each["name"] == name else each for each in record["fields"]
        ]
    )


def test_fields_that_hold_histograms_are_known_with_null_and_by_name() -> None:
    assert pipeline().sources["latency"].histograms == {"latency", "size"}
    assert pipeline().rollups["latencies"].layout.text == "latency@-2:histogram;size@-2:histogram;total@9:sum"


WHOLE = {
    "count": 0,
    "scale": 0,
    "zeroCount": 0,
    "zeroThreshold": 0,
    "positive": {"offset": 0, "bucketCounts": []},
    "negative": {"offset": 0, "bucketCounts": [0]},
}


def with_default(default: object) -> OneSchema:
    schema = copy.deepcopy(SCHEMA)
    schema["fields"][2]["default"] = default
    return OneSchema(schema)


@pytest.mark.parametrize(
    "default",
    [
        {**WHOLE, "positive": {"offset": 0}},
        {**WHOLE, "negative": {"offset": 0, "bucketCounts": [0.5]}},
        {**WHOLE, "zeroThreshold": "0"},
        {**WHOLE, "scale": None},
        {"count": 0, "scale": 0},
    ],
)
def test_a_default_is_a_whole_histogram_for_a_reader_takes_it_as_it_stands(default: object) -> None:
    assert parse_pipeline(SOURCE + ROLLUP, with_default(WHOLE))
    (problem, *_) = problems(SOURCE + ROLLUP, with_default(default))
    assert problem.startswith("sources[0].schema: latency: a default of it, or within it, is no whole value")


def test_so_is_a_default_within_it() -> None:
    def change(record: dict[str, Any]) -> None:
        record["fields"][-1]["default"] = {"offset": 0}

    (problem, *_) = problems(SOURCE + ROLLUP, changed(change))
    assert problem.startswith("sources[0].schema: latency: a default of it, or within it, is no whole value")


@pytest.mark.parametrize(
    "change",
    [
        *map(without, ("count", "scale", "zeroCount", "zeroThreshold", "negative")),
        as_type("count", "double"),
        as_type("zeroThreshold", "long"),
        as_type("zeroThreshold", ["null", "double"]),
        as_type("negative", "string"),
        as_type("negative", {"type": "record", "name": "Other", "fields": [{"name": "offset", "type": "int"}]}),
    ],
)  # fmt: skip
def test_a_record_that_is_no_histogram_is_told_what_one_has(change: Change) -> None:
    (problem, *_) = problems(SOURCE + ROLLUP, changed(change))
    assert problem.startswith(
        "rollups[0].measures.latency: 'latency' is a record, and not one of a histogram"
    )


@pytest.mark.parametrize("extra", ["sum", "min"])
def test_what_else_a_record_has_is_its_own_affair(extra: str) -> None:
    files = changed(lambda record: record["fields"].append({"name": extra, "type": ["null", "double"]}))
    assert parse_pipeline(SOURCE + ROLLUP, files).sources["latency"].histograms == {"latency", "size"}


@pytest.mark.parametrize("measure", ["count", "sum", "mean", "distinct", "sessions", "entry", "last", "time_weighted_mean"])  # fmt: skip
def test_what_buckets_do_not_tell_is_no_measure_of_them(measure: str) -> None:
    (problem,) = problems(SOURCE + ROLLUP.replace('size = ["p50"]', f'size = ["p50", "{measure}"]'))
    assert problem.startswith(f"rollups[0].measures.size: {measure} cannot be told from buckets")


def test_a_measure_that_is_none_is_told_as_of_any_field() -> None:
    (problem,) = problems(SOURCE + ROLLUP.replace('size = ["p50"]', 'size = ["p500"]'))
    assert problem.startswith("rollups[0].measures.size: 'p500' is not a measure")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('total = "sum"', 'total = "histogram"', "fields.total: histogram goes into a field of histograms"),
        (
            'latency = "histogram"',
            'latency = "sum"',
            "fields.latency: it holds histograms, and 'sum' is none",
        ),
    ],
)
def test_buckets_and_numbers_of_an_agent_go_where_they_fit(old: str, new: str, said: str) -> None:
    assert old in OTLP
    assert any(said in each for each in problems(SOURCE + OTLP.replace(old, new) + ROLLUP))


def test_a_histogram_is_no_key_and_no_time() -> None:
    assert any("key" in each for each in problems(SOURCE + ROLLUP.replace('["service"]', '["latency"]')))
