"""Filters and derived fields: what counts, and under which key, is told of each event alone, however it came."""

import json
from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.pipeline_files import FilesIn
from producers.client.encoder import encoder_of
from streamgage.definition.fingerprint import counts_of
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from streamgage.fold.verdicts import checks_of, verdict
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.records import StreamRecord, UserRecord
from support.fakes import World, invoke
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, aggregated

DEFINITION = """
[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"
time_unit = "ms"
blocks = true
[sources.derive]
site = "properties.site"
file = "path(page)"
class = "bucket(status, 100)"
kilo = "bytes / 1000"
is_bad = "status >= 500"

[[rollups]]
name = "all"
source = "click"
key = ["file"]
windows = ["1h"]
[rollups.measures]
bytes = ["sum"]
kilo = ["sum", "max"]

[[rollups]]
name = "bad"
source = "click"
where = "status >= 500 and page not like '%.css'"
key = ["site", "is_bad"]
windows = ["1h"]
[rollups.measures]
bytes = ["count"]

[[rollups]]
name = "classes"
source = "click"
where = "referrer is not null"
key = ["class", "referrer_host"]
windows = ["1h", "1d"]
[rollups.measures]
status = ["max"]
""".replace('kilo = "bytes', 'referrer_host = "coalesce(host(referrer), \'\')"\nkilo = "bytes')


@cache
def defined() -> Pipeline:
    return parse_pipeline(DEFINITION, FilesIn(ROOT))


SCHEMA = defined().sources["click"].schema
CLICKS = st.fixed_dictionaries(
    {
        "visitor_id": st.sampled_from(["v1", "v2"]),
        "page": st.sampled_from(["/a?x=1", "/a#top", "https://h.example/a", "/style.css", "/b", ""]),
        "referrer": st.sampled_from([None, "http://one.example/x", "not a url", "//two.example"]),
        "action": st.just("view"),
        "ts": st.integers(ARRIVAL_MS - 3_600_000, ARRIVAL_MS),
        "status": st.sampled_from([None, 200, 204, 404, 500, 503]),
        "bytes": st.sampled_from([None, 0, 1, 1234, 999_999]),
        "properties": st.sampled_from([None, {}, {"site": "north"}, {"site": ""}, {"other": "x"}]),
    }
)
FORMS = st.sampled_from(["row", "block", "json", "aggregate"])


def records_of(parts: list[tuple[str, list[dict[str, Any]]]]) -> list[StreamRecord]:
    """Return the parts of a log as Kinesis records, each in its form: one or several."""
    datas: list[bytes] = []
    for form, events in parts:
        if form == "block":
            datas.append(aggregated([UserRecord("k", BlockCodec(SCHEMA).encode(events))]))
        elif form == "aggregate":
            datas.append(aggregated([UserRecord("k", SCHEMA.encode(each)) for each in events]))
        elif form == "row":
            datas += [SCHEMA.encode(each) for each in events]
        else:
            datas += [json.dumps({"source": "click", **each}).encode() for each in events]
    return [StreamRecord("shardId-0", number, "k", data, ARRIVAL_MS) for number, data in enumerate(datas, 1)]


def file_of(page: str) -> str:
    """The path of a page, by a second hand: these pages are few."""
    return {"/a?x=1": "/a", "/a#top": "/a", "https://h.example/a": "/a", "": "/"}.get(page, page)


def host_of(url: str | None) -> str:
    return {"http://one.example/x": "one.example", "//two.example": "two.example"}.get(url or "", "")


def told(world: World, rollup: str, window: str = "1h") -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for row in world.ask(rollup, None, window):
        assert row.key not in found or window == "1h"
        found[row.key] = found.get(row.key, 0) + row.events
    return found


@given(
    st.lists(st.tuples(FORMS, st.lists(CLICKS, min_size=1, max_size=6)), min_size=1, max_size=6),
    st.sets(st.integers(1, 20)),
    st.integers(1, 7),
)
def test_each_event_counts_where_its_own_values_say(
    parts: list[tuple[str, list[dict[str, Any]]]], cuts: set[int], slice_events: int
) -> None:
    world, records = World(defined(), slice_events=slice_events), records_of(parts)
    bounds = [0, *sorted(each for each in cuts if each < len(records)), len(records)]
    for first, last in pairwise(bounds):
        assert first == last or invoke(world.sandbox(), records[first:last]) is None
    events = [each for _, those in parts for each in those]
    assert world.quarantine.kept == []

    assert told(world, "all") == Counter((file_of(each["page"]),) for each in events)
    bad = [each for each in events if (each["status"] or 0) >= 500 and not each["page"].endswith(".css")]
    sites = Counter(((each["properties"] or {}).get("site", ""), "true") for each in bad)
    assert told(world, "bad") == sites
    classes = Counter(
        ("" if each["status"] is None else str(each["status"] // 100 * 100), host_of(each["referrer"]))
        for each in events
        if each["referrer"] is not None
    )
    assert told(world, "classes") == classes

    sums: dict[str, int] = defaultdict(int)
    for each in events:
        sums[file_of(each["page"])] += each["bytes"] or 0
    rows = world.ask("all", None, "1h")
    kilos: dict[str, Any] = defaultdict(int)
    for row in rows:
        kilos[row.key[0]] += row.values["kilo"]["sum"] or 0
    assert {name: value * 1000 for name, value in kilos.items()} == sums


def test_a_key_that_no_rollup_takes_is_no_reason_to_refuse() -> None:
    long = {**CLICK, "page": "/" + "x" * 3000, "properties": {"site": "y" * 3000}}
    world = World(defined())
    assert invoke(world.sandbox(), records_of([("row", [long])])) is None
    (refused,) = world.quarantine.kept  # by "all", which takes every event
    assert refused.refused[0].code == "bad_key"
    only = parse_pipeline(DEFINITION.replace('key = ["file"]', 'key = ["visitor_id"]'), FilesIn(ROOT))
    world = World(only)
    assert invoke(world.sandbox(), records_of([("row", [long])])) is None
    assert world.quarantine.kept == []
    source = only.sources["click"]
    assert verdict(checks_of(source, tuple(only.rollups.values())), long, ARRIVAL_MS) is None
    bad = {**long, "status": 500}
    poison = verdict(checks_of(source, tuple(only.rollups.values())), bad, ARRIVAL_MS)
    assert poison is not None
    assert poison.code == "bad_key"


CLICK = {
    "visitor_id": "v", "page": "/a", "referrer": None, "action": "view", "ts": ARRIVAL_MS, "status": 200, "bytes": 1,
    "properties": None,
}  # fmt: skip


@pytest.mark.parametrize("values", [(1.0, 1), (-0.0, 0.0), (2.5, 2.5)])
@pytest.mark.parametrize("turned", [False, True])
def test_equal_numbers_are_one_key_whichever_came_first(values: tuple[float, float], *, turned: bool) -> None:
    text = DEFINITION.replace('class = "bucket(status, 100)"', 'class = "bytes / 2 * 2 / 2 * 2"').replace(
        "referrer is not null", "true"
    )
    pipeline = parse_pipeline(text, FilesIn(ROOT))
    events = [{**CLICK, "bytes": round(each)} for each in values]
    world = World(pipeline)
    assert invoke(world.sandbox(), records_of([("row", events[::-1] if turned else events)])) is None
    keys = {row.key[0] for row in world.ask("classes", None, "1h")}
    assert keys == {str(round(each)) for each in values}


def test_events_of_a_source_with_derived_fields_are_sent_as_they_are() -> None:
    for text in (DEFINITION, READINGS):
        source = next(iter(parse_pipeline(text, FilesIn(ROOT)).sources.values()))
        event = (
            CLICK
            if source.name == "click"
            else {"device_id": "d", "metric": "m", "ts": ARRIVAL_MS, "value": 1.5}
        )
        assert source.schema.prefix in encoder_of(source).user_record(event).data


def test_what_is_counted_is_in_the_fingerprint() -> None:
    own = {name: counts_of(defined(), rollup) for name, rollup in defined().rollups.items()}
    for old, new, changed in [
        ("status >= 500 and", "status >= 400 and", {"bad"}),
        ("path(page)", "lower(page)", {"all"}),
        ('status >= 500"', 'status >= 400"', {"bad"}),
        ("bytes / 1000", "bytes / 1024", {"all"}),
        ('site = "', 'unused = "1 + 1"\nsite = "', set()),
    ]:  # fmt: skip
        assert old in DEFINITION
        other = parse_pipeline(DEFINITION.replace(old, new), FilesIn(ROOT))
        assert {n for n, rollup in other.rollups.items() if counts_of(other, rollup) != own[n]} == changed


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("status >= 500 and", "staus >= 500 and", r"rollups\[1\]\.where: 'staus' is not known here"),
        ("path(page)", "hour(ts, 'Europe/Berlin')", r"derive\.file: what is counted is counted by UTC"),
        ('file = "path(page)"', "file = 3", r"derive\.file: 3 is not an expression"),
        ('file = "', 'page = "', r"derive\.page: the schema has a field of that name"),
        ('file = "', '"a b" = "', r"derive\.'a b': not a name"),
        ('key = ["file"]', 'key = ["fill"]', "the schema has no field 'fill'"),
        ('where = "referrer is not null"', "where = 5", "where: 5 is not a filter"),
        ("referrer is not null", "status", "a filter is true or false"),
        ("bytes / 1000", "page", "'kilo' is string"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, problem: str) -> None:
    assert old in DEFINITION
    with pytest.raises(ConfigError, match=problem):
        parse_pipeline(DEFINITION.replace(old, new, 1), FilesIn(ROOT))


READINGS = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
blocks = true
derive = {half = "value / 2", step = "bucket(value, 0.5)"}
[[rollups]]
name = "high"
source = "reading"
where = "value >= 0.3"
key = ["step"]
windows = ["1h"]
measures = {half = ["sum"]}
"""


@cache
def readings() -> Pipeline:
    return parse_pipeline(READINGS, FilesIn(ROOT))


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=20), st.booleans())
def test_doubles_are_what_they_say_in_blocks_too(tenths: list[int], in_a_block: bool) -> None:  # noqa: FBT001 - drawn
    """In a block a column of decimals comes as integers."""
    pipeline = readings()
    schema = pipeline.sources["reading"].schema
    events = [
        {"device_id": "d", "metric": "m", "ts": ARRIVAL_MS, "value": each / 10, "tags": None}
        for each in tenths
    ]
    datas = [BlockCodec(schema).encode(events)] if in_a_block else [schema.encode(each) for each in events]
    world = World(pipeline)
    records = [
        StreamRecord("shardId-0", 1, "k", aggregated([UserRecord("k", each) for each in datas]), ARRIVAL_MS)
    ]
    assert invoke(world.sandbox(), records) is None
    right: dict[tuple[str, ...], int] = defaultdict(int)
    for each in tenths:
        if each >= 3:
            right[{0: "0", 1: "0.5", 2: "1", 3: "1.5", 4: "2"}[each // 5],] += each
    told = {row.key: row.values["half"]["sum"] for row in world.ask("high", None, "1h")}
    assert {key: (value or 0) * 20 for key, value in told.items()} == right
