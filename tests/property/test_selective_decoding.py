"""What is decoded of a body for a question is what the whole body says, whatever is asked of it."""

from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors.pipeline_files import FilesIn
from processors.query.question import Question, Row, ask
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.fold.chunk import Chunk, decode_chunk, encode_chunk
from streamgage.measures.catalogue import MEASURES
from streamgage.measures.layout import EventColumns, FieldLayout, StateLayout, Table, plan_of
from streamgage.measures.named import in_order
from streamgage.measures.packing import pack, unpack
from streamgage.measures.parts import TEXT
from streamgage.records import StreamRecord
from support.examples import examples
from support.fakes import NOW_MS, Reads, World, invoke
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, DEFINITION, MINUTE_MS, reading

CALM = settings(max_examples=examples(60, whole=150), deadline=None)
START_MS = 1_699_999_200_000
DAY_MS = 86_400_000
NUMBERS = (*MEASURES, "p50", "p99", "distinct", "rate", "time_weighted_mean")
TEXTS = ("distinct", "sessions", "bounces", "entry", "exit@1h")
MOST_KEYS = 40  # of which one is few enough to be read by itself


@CALM
@given(
    column=st.lists(st.none() | st.integers(-(2**70), 2**70) | st.integers(0, 9), min_size=1, max_size=60),
    data=st.data(),
)
def test_entries_of_a_column_are_those_of_the_whole_column(
    column: list[int | None], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(0, len(column) - 1)))
    packed = b"x" + pack(column) + b"y"
    assert unpack(packed, 1, len(column), rows) == ([column[row] for row in rows], len(packed) - 1)


@st.composite
def states(draw: st.DrawFn) -> tuple[StateLayout, Table]:
    """Draw what is kept of two fields and a text, of some keys or many."""
    measures = {
        "a": draw(st.lists(st.sampled_from(NUMBERS), unique=True, min_size=1)),
        "b": draw(st.lists(st.sampled_from(NUMBERS), unique=True)),
        "c": draw(st.lists(st.sampled_from(TEXTS), unique=True)),
    }
    scales = {"a": 2, "b": 0, "c": TEXT}
    layout = StateLayout(
        tuple(FieldLayout.of(name, scales[name], asked) for name, asked in measures.items() if asked)
    )
    count = draw(st.integers(1, 3) | st.integers(20, MOST_KEYS))
    seed = draw(st.randoms(use_true_random=False))
    events = range(count + seed.randrange(count))
    groups: list[list[int]] = [[each] for each in range(count)]
    for each in events[count:]:
        groups[seed.randrange(count)].append(each)
    groups = [sorted(each) for each in groups]
    values: tuple[list[Any], ...] = tuple(
        [
            None
            if seed.random() < 0.2
            else f"v{seed.randrange(5)}"
            if each.scale == TEXT
            else seed.randrange(-(10**9), 10**9)
            for _ in events
        ]
        for each in layout.fields
    )
    times = [START_MS + seed.randrange(DAY_MS) for _ in events]
    columns = EventColumns(values, tuple(None in each for each in values), times)
    return layout, plan_of(layout).fold(columns, groups)


@CALM
@given(kept=states(), data=st.data())
def test_what_is_decoded_of_some_keys_and_columns_is_that_of_the_whole(
    kept: tuple[StateLayout, Table], data: st.DataObject
) -> None:
    layout, table = kept
    keys = [f"key-{number}" for number in range(len(table[0]))]
    body = encode_chunk(Chunk(7, table, keys, 2), layout, start_ms=START_MS)
    wanted = data.draw(
        st.none() | st.sets(st.sampled_from(keys), max_size=2) | st.sets(st.sampled_from(keys))
    )
    fields = []
    for each in layout.fields:
        parts = st.sampled_from(each.parts)
        some = data.draw(st.sets(parts, min_size=1, max_size=1) | st.sets(parts))
        if some:
            fields.append(FieldLayout(each.field, each.scale, in_order(some)))
    asked = StateLayout(tuple(fields))
    whole = decode_chunk(body, layout, start_ms=START_MS)
    rows = [row for row, key in enumerate(keys) if wanted is None or key in wanted]
    places = [("", "events"), *((each.field, part) for each in layout.fields for part in each.parts)]
    of_asked = {("", "events"), *((each.field, part) for each in asked.fields for part in each.parts)}
    columns = [column for place, column in zip(places, whole.table, strict=True) if place in of_asked]
    found = decode_chunk(
        body, layout, start_ms=START_MS, asked=asked, wanted=None if wanted is None else wanted.__contains__
    )
    assert (found.keys, found.begin_ms, found.onward) == ([keys[row] for row in rows], 7, 2)
    assert found.table == [[column[row] for row in rows] for column in columns]


PIPELINE = parse_pipeline(DEFINITION.replace('"first", "last"]', '"first", "last", "p95"]'), FilesIn(ROOT))
ALL = PIPELINE.rollups["device_metrics"].measures["value"]


EVENTS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 3), st.integers(-99, 99)), min_size=1, max_size=99
)


@settings(max_examples=30, deadline=None)
@given(events=EVENTS, measures=st.sets(st.sampled_from(ALL), max_size=1) | st.sets(st.sampled_from(ALL)))
@example(events=[(device, 0, device) for device in range(60)], measures={"max"})
def test_a_question_of_some_measures_is_answered_as_one_of_all(
    events: list[tuple[int, int, int]], measures: set[str]
) -> None:
    world, schema = World(PIPELINE), PIPELINE.sources["reading"].schema
    records = [
        StreamRecord(f"shardId-{device % 2}", number, "p", schema.encode(reading(f"d{device}", "temp", ARRIVAL_MS - minute * MINUTE_MS, value)), ARRIVAL_MS)
        for number, (device, minute, value) in enumerate(events)
    ]  # fmt: skip
    for shard in (0, 1):
        batch = [each for each in records if each.shard_id == f"shardId-{shard}"]
        assert not batch or invoke(world.sandbox(), batch) is None
    for key in ({}, {"device_id": "d1*"}, {"device_id": "d1", "metric": "temp"}):
        question = Question.parse(
            PIPELINE, rollup="device_metrics", key=key, window="1m", from_ms=0, to_ms=2**42
        )
        whole = ask(Reads(world.store), question, applied_ms=NOW_MS, now_ms=NOW_MS)
        rollup = replace(question.rollup, measures={"value": tuple(measures)})
        narrowed = replace(question, rollup=rollup)
        rows = ask(Reads(world.store), narrowed, applied_ms=NOW_MS, now_ms=NOW_MS)
        assert list(rows) == [_of(row, measures) for row in whole]


def _of(row: Row, measures: set[str]) -> Row:
    values = {name: row.values["value"][name] for name in measures}
    errors = {name: bound for name, bound in row.errors.items() if name.partition(".")[2] in measures}
    return replace(row, values={"value": values} if measures else {}, errors=errors)
