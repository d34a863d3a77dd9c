"""What a chunk's body says is what docs/formats.md says: an independent reader finds the states that were written."""

from hypothesis import given
from hypothesis import strategies as st

from streamgage.fold.chunk import Chunk, decode_chunk, encode_chunk
from streamgage.fold.lane_log import Entry, LaneLog
from streamgage.formats.mark import Mark
from streamgage.measures.catalogue import MEASURES
from streamgage.measures.layout import EventColumns, FieldLayout, StateLayout, Table, plan_of
from support.read_body import read_body, read_progress

START_MS = 1_700_000_000_000 // 86_400_000 * 86_400_000
FIELDS = st.builds(
    FieldLayout.of,
    st.sampled_from(["value", "other"]),
    st.integers(0, 18),
    st.lists(st.sampled_from(sorted(MEASURES)), min_size=1, unique=True),
)
LAYOUTS = st.lists(FIELDS, max_size=2, unique_by=lambda each: each.field).map(tuple).map(StateLayout)
NUMBERS = st.one_of(
    st.none(),
    st.integers(-(10**25), 10**25),
    st.integers(-300, 300),
    st.integers(-3, 3).map(lambda each: each * 10**9),
)
KEYS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=9), unique=True
)


@st.composite
def chunks(draw: st.DrawFn) -> tuple[StateLayout, Chunk]:
    """Draw a layout, and a chunk of it whose states are folds of events."""
    layout, keys = draw(LAYOUTS), draw(KEYS)
    plan = plan_of(layout)
    table: Table = plan.empty()
    if keys:
        groups, events = [], 0
        for _ in keys:
            count = draw(st.integers(1, 3))
            groups.append(range(events, events + count))
            events += count
        values = tuple(draw(st.lists(NUMBERS, min_size=events, max_size=events)) for _ in layout.fields)
        times = draw(st.lists(st.integers(START_MS, START_MS + 86_399_999), min_size=events, max_size=events))
        gaps = tuple(None in each for each in values)
        table = plan.fold(EventColumns(values, gaps, times), groups)
    begin_ms, onward = draw(st.sampled_from([0, START_MS + 7])), draw(st.sampled_from([0, 4, 1190]))
    return layout, Chunk(begin_ms, table, keys, onward)


@given(drawn=chunks())
def test_a_reader_of_the_document_alone_finds_what_was_written(drawn: tuple[StateLayout, Chunk]) -> None:
    layout, chunk = drawn

    found = read_body(encode_chunk(chunk, layout, start_ms=START_MS), layout.text, START_MS)

    assert (found.begin_ms, found.onward) == (chunk.begin_ms, chunk.onward)
    assert list(found.states) == chunk.keys
    assert found.states == {
        key: [column[row] for column in chunk.table] for row, key in enumerate(chunk.keys)
    }


@given(drawn=chunks())
def test_a_chunk_comes_back_from_its_body(drawn: tuple[StateLayout, Chunk]) -> None:
    layout, chunk = drawn

    assert decode_chunk(encode_chunk(chunk, layout, start_ms=START_MS), layout, start_ms=START_MS) == chunk


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 300)), max_size=20),
    st.integers(0, 2**45),
)
def test_a_reader_of_the_document_alone_finds_the_progress_of_a_lane(
    marks: list[tuple[str, int]], begin_ms: int
) -> None:
    log = LaneLog(begin_ms=begin_ms)
    for number, (producer, counter) in enumerate(marks):
        log.append(Entry(number, START_MS + number, Mark(producer, counter)))

    found = read_progress(log.to_body())

    assert found == (log.applied_ms, log.begin_ms, log.dropped, log.forgotten)
