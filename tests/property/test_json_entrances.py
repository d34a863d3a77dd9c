"""One set of rules for JSON: the same event as a Kinesis record and as a line of a file has one verdict and one value."""

import io
import json
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from producers.client.encoder import encoder_of
from producers.files.rows import BadRow, Row
from producers.files.tables import FileTables, ReadOptions
from producers.files.verdict import ConsumerRules
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError, PoisonRecord
from streamgage.formats.agents.decoder import AgentDecoder
from streamgage.formats.agents.items import PassedOver, Refused
from streamgage.formats.avro import AvroReader, Event
from streamgage.formats.json_event import json_events_of
from streamgage.reading.record_reader import RecordReader, SourceReader
from streamgage.records import StreamRecord
from support.examples import examples
from support.paths import ROOT
from support.tables import fold_plainly

NOW_MS = 1_767_614_400_000
PIPELINE = """
[[sources]]
name = "all"
schema = "all.avsc"
partition_key = "name"
event_time = "ts"
max_future = "5m"
{unit}
[[rollups]]
name = "r"
source = "all"
key = ["name"]
windows = ["1h"]
[rollups.measures]
value = ["sum"]
size = ["max"]
"""
SCHEMA = """{"type": "record", "name": "All", "fields": [
  {"name": "name", "type": "string"},
  {"name": "ts", "type": "long"},
  {"name": "value", "type": "double"},
  {"name": "size", "type": ["null", "long"], "default": null},
  {"name": "small", "type": "int", "default": 7},
  {"name": "near", "type": ["null", "float"], "default": null},
  {"name": "up", "type": "boolean", "default": true},
  {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["RED", "BLUE"]}, "default": "RED"},
  {"name": "again", "type": ["null", "Kind"], "default": null},
  {"name": "blob", "type": ["null", "bytes"], "default": null},
  {"name": "either", "type": ["null", "long", "string", "boolean"], "default": null},
  {"name": "tags", "type": ["null", {"type": "map", "values": "string"}], "default": null},
  {"name": "points", "type": {"type": "array", "items": {"type": "record", "name": "P", "fields": [
     {"name": "x", "type": "double"}, {"name": "y", "type": ["null", "int"], "default": null}]}}, "default": []}
]}"""
UNITS = (None, "s", "ms", "us", "ns")


class OneSchema:
    """A folder with one schema."""

    def read(self, path: str) -> str:
        assert path == "all.avsc"
        return SCHEMA

    def versions(self, path: str) -> list[str]:
        assert path == "all.avsc"
        return []


PIPELINES: dict[str | None, Pipeline] = {
    unit: parse_pipeline(PIPELINE.format(unit=f'time_unit = "{unit}"' if unit else ""), OneSchema())
    for unit in UNITS
}
REFUSED = "refused"
AGENTS = """
[[sources.from]]
format = "otlp"
fields = {name = "metric", ts = "time", value = "value"}
"""
WITH_AGENTS = parse_pipeline(PIPELINE.format(unit=AGENTS), OneSchema())


def from_stream(pipeline: Pipeline, data: bytes) -> Event | str:
    """Return the event that the function reads of a Kinesis record, if it counts it."""
    record = StreamRecord("shardId-000000000000", 7, "key", data, NOW_MS)
    if fold_plainly(pipeline, [record]).poison:
        return REFUSED
    reader = RecordReader({name: SourceReader(source, ()) for name, source in pipeline.sources.items()})
    try:
        decoded = reader._decode_json(data)
    except PoisonRecord:
        return REFUSED
    assert decoded is not None  # no source is passed over
    return decoded[1]


def from_file(pipeline: Pipeline, source: Source, data: bytes) -> Event | str:
    """Return the event that `send ndjson` sends of a line, if it sends it."""
    try:
        return _of_line(pipeline, source, data)
    except ConfigError:  # the whole input: it is binary
        return REFUSED


def _of_line(pipeline: Pipeline, source: Source, data: bytes) -> Event | str:
    options, rules = ReadOptions("ndjson"), ConsumerRules(pipeline, source)
    tables = FileTables(["-"], options, source, folder=ROOT, stdin=io.BytesIO(data), warn=print)
    for table in tables:
        for row in table.rows:
            if isinstance(row, BadRow):
                return REFUSED
            assert isinstance(row, Row)
            try:
                event = table.mapping.event(row.values)
                rules.check(event, NOW_MS)
                return AvroReader(source.schema, source.writers).decode(
                    encoder_of(source).user_record(event).data
                )
            except ValueError:
                return REFUSED
    raise AssertionError


TEXT = st.sampled_from(
    ["", "RED", "d1", "1.5", "12", "-0", "1e3", " 7", "NaN", "true", "null", "é", "\ud800", "\u0100"]
)
NUMBER = (
    st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(
        [1.0, 1.5, 0, -1, 2**31, 2**63, 1e300, 10**400, 1767614400, NOW_MS, NOW_MS * 1000, 1e12]
    )
)
TIME = (
    st.sampled_from(
        [
            NOW_MS,
            float(NOW_MS),
            NOW_MS + 0.5,
            str(NOW_MS),
            NOW_MS // 1000,
            NOW_MS / 1000 + 0.25,
            NOW_MS * 1000,
            NOW_MS * 10**6 + 1,
            NOW_MS + 10**9,
            "2026-01-05T12:00:00Z",
            "2026-01-05T12:00:00+01:00",
            "2026-01-05T12:00:00",
            "2026-01-05 11:00:00 UTC",
            -1,
            0,
            None,
            True,
        ]
    )
    | NUMBER
)
ANY = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "x", "y"]), inner, max_size=2)
    ),
    max_leaves=4,
)
EVENT = st.fixed_dictionaries(
    {"name": st.just("d1") | ANY, "ts": TIME, "value": NUMBER | ANY},
    optional=dict.fromkeys(
        [
            "size",
            "small",
            "near",
            "up",
            "kind",
            "again",
            "blob",
            "either",
            "tags",
            "points",
            "firmware",
            "Value",
        ],
        ANY,
    ),
)


@given(EVENT, st.sampled_from(UNITS))
@example({"name": "d1", "ts": 1767614400, "value": 1}, None)
@example({"name": "d1", "ts": 1767614400, "value": 1}, "s")
@example({"name": "d1", "ts": float(NOW_MS), "value": "1.5", "firmware": "1.2"}, None)
@example({"name": "d1", "ts": NOW_MS, "value": 1, "size": 1.0, "small": None, "up": None}, None)
@settings(deadline=None, max_examples=examples(100, whole=300))
def test_a_json_event_has_one_verdict_and_one_value_at_every_entrance(
    event: dict[str, Any], unit: str | None
) -> None:
    assume(event.get("name") != "")  # Kinesis takes no empty partition key; who sends JSON may have another
    pipeline = PIPELINES[unit]
    source = pipeline.sources["all"]
    data = json.dumps({"source": "all", **event}).encode()
    assert repr(from_file(pipeline, source, data)) == repr(from_stream(pipeline, data))


@given(st.binary(max_size=40))
@example(b'{"source":"all","name":"d","ts":1767614400000,"value":1,"value":2}')
@example(b'{"source":"all","name":"d","ts":1767614400000,"value":NaN}')
@example(b'{"source":"all","name":"d","ts":1767614400000,"value":1e999}')
@example(b'{"source":"all","name":"\xff","ts":1767614400000,"value":1}')
@example(b'{"source":"all","name":"\xed\xa0\x80","ts":1767614400000,"value":1}')
@example(b'{"source":["all"],"name":"d","ts":1767614400000,"value":1}')
@settings(deadline=None)
def test_bytes_that_begin_as_json_have_one_verdict_too(data: bytes) -> None:
    if data[:1] == b"{" and b"\n" not in data:
        pipeline = PIPELINES[None]
        assert repr(from_file(pipeline, pipeline.sources["all"], data)) == repr(from_stream(pipeline, data))


@given(
    st.binary(max_size=40) | st.builds(lambda event: json.dumps({"source": "all", **event}).encode(), EVENT)
)
@example(b'{"source":"all","name":"d","ts":1767614400000,"value":1,"source":"none"}')
@example(b'{"source":"none","name":"d","ts":1767614400000,"value":1}')
@example(b'{"\\u0073ource":"all","name":"d","ts":1767614400000,"value":1}')
@example(b'{"source":"all","name":"d","ts":1767614400000,"value":1,"specversion":"1.0"}')
@example(b'{"source":"all","name":"d","ts":1767614400000,"value":1,"resourceMetrics":[]}')
@example(b'{"source":"all","name":"d","ts":1767614400000,"value":1}\n\x1e ')
@settings(deadline=None, max_examples=50)
def test_an_event_in_json_is_the_same_to_what_reads_agents(data: bytes) -> None:
    """Which of both reads it is a question of what was loaded, and no other."""
    source = WITH_AGENTS.sources["all"]
    reader = RecordReader({"all": SourceReader(source, ())})
    if not reader._is_own_json(data):
        return  # what reads agents reads it
    try:
        decoded = reader._decode_json(data)
        assert decoded is not None  # no source is passed over
        own: Event | str = decoded[1]
    except PoisonRecord as poison:
        own = poison.code
    (outcome,) = AgentDecoder([source]).decode_whole(data)
    assert not isinstance(outcome, PassedOver)
    if isinstance(outcome, Refused):
        assert own == outcome.code
    else:
        try:
            assert own == AvroReader(source.schema).decode(source.schema.encode(outcome.event))
        except ValueError:
            assert own == "undecodable"


@pytest.mark.parametrize(
    ("unit", "ts", "expected_ms"),
    [
        (None, NOW_MS, NOW_MS),
        (None, float(NOW_MS), NOW_MS),
        (None, str(NOW_MS), NOW_MS),
        (None, NOW_MS // 1000, None),  # 2026 in s, 1970 in ms
        (None, NOW_MS * 1000, None),
        (None, 5, None),
        ("s", NOW_MS // 1000, NOW_MS),
        ("s", NOW_MS / 1000 + 0.25, NOW_MS + 250),
        ("ms", 5, 5),
        ("us", NOW_MS * 1000 + 999, NOW_MS),
        ("ns", NOW_MS * 10**6 + 999_999, NOW_MS),
        (None, "2026-01-05T13:00:00+01:00", NOW_MS),
        ("s", "2026-01-05T12:00:00Z", NOW_MS),
        (None, "2026-01-05T12:00:00", None),
        (None, True, None),
    ],
)
def test_event_times_are_of_the_declared_unit_and_never_guessed(
    unit: str | None, ts: object, expected_ms: int | None
) -> None:
    data = json.dumps({"source": "all", "name": "d", "ts": ts, "value": 1}).encode()
    for found in (
        from_stream(PIPELINES[unit], data),
        from_file(PIPELINES[unit], PIPELINES[unit].sources["all"], data),
    ):
        assert (found if isinstance(found, str) else found["ts"]) == (
            REFUSED if expected_ms is None else expected_ms
        )


@pytest.mark.parametrize(
    ("field", "given", "taken"),
    [
        ("value", 1, 1.0),
        ("value", "1.5", 1.5),
        ("value", " 1.5", REFUSED),
        ("value", "1_0", REFUSED),
        ("value", "", REFUSED),
        ("value", None, REFUSED),
        ("value", "Infinity", REFUSED),
        ("value", True, REFUSED),
        ("size", 1.0, 1),
        ("size", "12", 12),
        ("size", 1.5, REFUSED),
        ("size", 2**63, REFUSED),
        ("size", None, None),
        ("small", None, 7),
        ("up", 1, REFUSED),
        ("up", "true", REFUSED),
        ("kind", "BLUE", "BLUE"),
        ("kind", "GREEN", REFUSED),
        ("again", "BLUE", "BLUE"),
        ("blob", "\u00ff", b"\xff"),
        ("blob", "\u0100", REFUSED),
        ("either", "5", "5"),
        ("either", 5, 5),
        ("either", True, True),
        ("name", 12, "12"),
        ("name", 1.5, REFUSED),
        ("tags", {"a": 1}, {"a": "1"}),
        ("points", [{"x": 1, "z": 2}], [{"x": 1.0, "y": None}]),
    ],
)
def test_each_type_takes_what_docs_formats_says(field: str, given: object, taken: object) -> None:
    data = json.dumps({"source": "all", "name": "d", "ts": NOW_MS, "value": 1, field: given}).encode()
    pipeline = PIPELINES[None]
    for found in (from_stream(pipeline, data), from_file(pipeline, pipeline.sources["all"], data)):
        assert (found if isinstance(found, str) else found[field]) == taken


def test_unknown_fields_are_ignored_and_counted() -> None:
    pipeline = PIPELINES[None]
    source = pipeline.sources["all"]
    events = json_events_of(source.schema, source.event_time, source.time_unit)
    events.unknown.clear()
    data = json.dumps({"source": "all", "name": "d", "ts": NOW_MS, "value": 1, "firmware": "1.2"}).encode()
    assert from_stream(pipeline, data) != REFUSED
    assert events.unknown["firmware"] >= 1


def test_lines_of_another_source_are_refused() -> None:
    data = b'{"source":"other","name":"d","ts":1767614400000,"value":1}'
    assert from_file(PIPELINES[None], PIPELINES[None].sources["all"], data) == REFUSED
