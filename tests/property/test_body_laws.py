"""A body says what its chunk holds, to us and to any reader of docs/formats.md; what is damaged is named, and is cheap."""

import tracemalloc
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamgage.fold.chunk import MAX_KEYS, Chunk, decode_chunk, encode_chunk
from streamgage.fold.items import key_text
from streamgage.limits import DYNAMODB_ITEM_BYTES, MIB
from streamgage.measures.catalogue import MEASURES
from streamgage.measures.codec import decode_table, encode_table
from streamgage.measures.layout import EventColumns, FieldLayout, StateLayout, Table, plan_of
from streamgage.measures.packing import (
    pack,
    read_varint,
    read_zigzag_varint,
    unpack,
    varint,
    zigzag_varint,
)
from support.examples import examples
from support.read_body import read_body
from support.strategies import DAY_MS, pipeline

CALM = settings(max_examples=examples(100, whole=200), deadline=None)
ROLLUP = pipeline().rollups["device_metrics"]
LAYOUTS = [each.layout for each in pipeline().rollups.values()] + [
    StateLayout(()),
    StateLayout((FieldLayout.of("x", 3, ("variance", "last")), FieldLayout.of("y", 0, ("min",)))),
    StateLayout((FieldLayout.of("x", 3, ("max", "time_weighted_mean")),)),
]
START_MS = 1_699_999_200_000

# --- integers ---

HUGE = 2 ** (8 * 63 - 1) - 1
INTS = (
    st.integers(-3, 300)
    | st.integers(-(2**64) - 1, 2**64 + 1)
    | st.integers(-HUGE // 2, HUGE // 2)
    | st.integers(-9, 9).map(lambda n: n * 10**40)
    | st.sampled_from([0, 255, 256, 2**64 - 1, 2**64, -(2**63)])
)
COLUMNS = (
    st.lists(INTS, max_size=20)
    | st.lists(st.none() | INTS, max_size=20)
    | st.builds(lambda value, count: [value] * count, st.none() | INTS, st.integers(0, 20))
)


@CALM
@given(column=COLUMNS, before=st.binary(max_size=3), after=st.binary(max_size=3))
@example(column=[None], before=b"", after=b"")
@example(column=[10**255 // 10**104, 0], before=b"", after=b"")
def test_a_column_of_integers_survives_packing_and_ends_where_it_says(
    column: list[int | None], before: bytes, after: bytes
) -> None:
    packed = pack(column)
    data = before + packed + after
    assert unpack(data, len(before), len(column)) == (column, len(before) + len(packed))


@CALM
@given(numbers=st.lists(st.integers(0, 2**70), min_size=1, max_size=30), scale=st.integers(0, 30))
def test_integers_that_lie_close_together_or_end_alike_take_few_bytes(numbers: list[int], scale: int) -> None:
    near = [10**30 + number % 256 for number in numbers]
    assert len(pack(near)) <= len(numbers) + 2 + 15
    round_ones = [number % 256 * 10**scale for number in numbers]
    assert len(pack(round_ones)) <= len(numbers) + 4
    assert len(pack([7] * len(numbers))) == 3


@pytest.mark.parametrize("column", [[0, 2 ** (8 * 63)], [2 ** (8 * 63)], [-(2 ** (8 * 63))] * 2])
def test_what_has_more_bytes_than_can_be_said_is_refused_and_not_cut(column: list[int]) -> None:
    with pytest.raises(ValueError, match="more than 63 bytes"):
        pack(column)


@CALM
@given(value=st.integers(0, 2**500) | st.integers(0, 300), sign=st.sampled_from([1, -1]))
def test_a_varint_survives_and_ends_where_it_says(value: int, sign: int) -> None:
    data = b"x" + varint(value) + zigzag_varint(sign * value) + b"\xff"
    read, at = read_varint(data, 1)
    assert (read, *read_zigzag_varint(data, at)) == (value, sign * value, len(data) - 1)


# --- tables and bodies ---

VALUES = st.none() | st.integers(-(10**38) + 1, 10**38 - 1) | st.integers(-50, 50)
KEYS = st.lists(
    st.tuples(st.text(max_size=4), st.sampled_from(["temp", "a|b", "a\nb", "%0A"])), unique=True, max_size=6
)


@st.composite
def tables(draw: st.DrawFn, layout: StateLayout, count: int) -> Table:
    """Draw states of *count* keys, folded from events: some of them without a value of some field."""
    if not count:
        return plan_of(layout).empty()
    sizes = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    total = sum(sizes)
    values = tuple(draw(st.lists(VALUES, min_size=total, max_size=total)) for _ in layout.fields)
    times = draw(st.lists(st.integers(START_MS, START_MS + 86_399_999), min_size=total, max_size=total))
    ordinals = iter(range(total))
    groups = [[next(ordinals) for _ in range(size)] for size in sizes]
    events = EventColumns(values, tuple(None in each for each in values), times)
    return plan_of(layout).fold(events, groups)


@st.composite
def chunks(draw: st.DrawFn) -> tuple[StateLayout, Chunk]:
    """Draw a chunk, and its layout."""
    layout = draw(st.sampled_from(LAYOUTS))
    keys = [key_text(ROLLUP, key) for key in draw(KEYS)]
    begin_ms = draw(st.sampled_from([0, START_MS]))
    onward = draw(st.sampled_from([0, 2, 2**56]))
    return layout, Chunk(begin_ms, draw(tables(layout, len(keys))), keys, onward)


@CALM
@given(drawn=chunks())
def test_a_table_survives_its_bytes(drawn: tuple[StateLayout, Chunk]) -> None:
    layout, chunk = drawn
    data = encode_table(layout, chunk.table, start_ms=START_MS)
    again = decode_table(layout, b"x" + data, 1, count=len(chunk.keys), start_ms=START_MS)
    assert again == chunk.table


@CALM
@given(drawn=chunks())
def test_a_chunk_survives_its_body_which_anybody_reads_by_the_documentation_alone(
    drawn: tuple[StateLayout, Chunk],
) -> None:
    layout, chunk = drawn
    body = encode_chunk(chunk, layout, start_ms=START_MS)
    assert decode_chunk(body, layout, start_ms=START_MS) == chunk
    read = read_body(body, layout.text, START_MS)
    assert (read.begin_ms, read.onward, list(read.states)) == (chunk.begin_ms, chunk.onward, chunk.keys)
    assert list(read.states.values()) == [list(state) for state in zip(*chunk.table, strict=True)]


@CALM
@given(drawn=chunks())
def test_states_of_any_values_take_no_more_bytes_than_their_parts_say(
    drawn: tuple[StateLayout, Chunk],
) -> None:
    """By it an item is kept below what DynamoDB holds, whatever becomes of its numbers."""
    layout, chunk = drawn
    plan, heads_bytes = plan_of(layout), 60 * (1 + 9 * len(layout.fields))
    data = encode_table(layout, chunk.table, start_ms=START_MS)
    assert len(data) <= heads_bytes + len(chunk.keys) * plan.most_key_bytes(DAY_MS)


def test_the_largest_states_take_about_what_their_parts_say_and_no_more() -> None:
    layout, most, n, end_ms = LAYOUTS[0], 10**38 - 1, 2**63 - 1, START_MS + 2**47
    plan, count = plan_of(layout), 1_000
    parts = {
        "n": (1, n),
        "sum": (most, n * most),
        "sumsq": (most**2, n * most**2),
        "min": (most, -most),
        "max": (most, most),
        "first": ((START_MS, most), (end_ms, most)),
        "last": ((START_MS, most), (end_ms, most)),
    }
    columns = [(1, n), *(parts[name] for name in layout.fields[0].parts)]
    data = encode_table(layout, [list(each) * (count // 2) for each in columns], start_ms=START_MS)
    most_bytes = count * plan.most_key_bytes(DAY_MS)
    assert 0.9 * most_bytes < len(data) <= most_bytes + 200


@pytest.mark.parametrize("counts", [(15, 16, 17), (20, 33, 34), (1, 40, 41)])
def test_a_chunk_that_was_written_and_grew_is_written_as_if_it_were_new(counts: tuple[int, ...]) -> None:
    """The names are deflated once, and again where there are more."""
    layout = LAYOUTS[0]
    plan = plan_of(layout)
    most = counts[-1]
    whole = plan.fold(
        EventColumns(([*range(most)],), (False,), [START_MS] * most), [[at] for at in range(most)]
    )
    growing = Chunk(0, plan.empty())
    for count in counts:
        known = len(growing.keys)
        growing.keys += [f"device-{at:04d}|m" for at in range(known, count)]
        plan.add(growing.table, whole, range(known, count))
        body = encode_chunk(growing, layout, start_ms=START_MS)
        new = Chunk(0, [list(column) for column in growing.table], list(growing.keys))
        assert body == encode_chunk(new, layout, start_ms=START_MS)
        assert decode_chunk(body, layout, start_ms=START_MS) == new


# --- damage ---


def peak_bytes(body: bytes, layout: StateLayout) -> int:
    tracemalloc.start()
    try:
        with suppress(ValueError):
            decode_chunk(body, layout, start_ms=START_MS)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@CALM
@given(drawn=chunks())
def test_every_cut_of_a_body_is_named(drawn: tuple[StateLayout, Chunk]) -> None:
    layout, chunk = drawn
    body = encode_chunk(chunk, layout, start_ms=START_MS)
    for size in range(len(body)):
        with pytest.raises(ValueError, match="."):  # noqa: RUF043 - any
            decode_chunk(body[:size], layout, start_ms=START_MS)
    with pytest.raises(ValueError, match="left over"):
        decode_chunk(body + b"\0", layout, start_ms=START_MS)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[StateLayout, bytes]:
    """Draw a body with some bytes changed: of what is deflated, also before that."""
    layout, chunk = draw(chunks())
    body = encode_chunk(chunk, layout, start_ms=START_MS)
    head = len(b"".join(map(varint, (chunk.onward, chunk.begin_ms, len(chunk.keys))))) + 2
    if body[1] & 1 and draw(st.booleans()):
        body = body[:1] + b"\0" + body[2:head] + zlib.decompress(body[head:], -zlib.MAX_WBITS)
    changed = bytearray(body)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(changed) - 1))
        how = draw(st.sampled_from(["flip", "put", "drop", "ff"]))
        if how == "flip":
            changed[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "put":
            changed[at:at] = draw(st.binary(min_size=1, max_size=4))
        elif how == "ff":
            changed[at:at] = b"\xff" * draw(st.integers(1, 90))
        elif len(changed) > 1:
            del changed[at]
    return layout, bytes(changed)


@settings(CALM, max_examples=examples(400, whole=1500))
@given(drawn=damaged())
def test_a_damaged_body_is_another_chunk_or_named_and_takes_little(drawn: tuple[StateLayout, bytes]) -> None:
    layout, body = drawn
    chunk = None
    with suppress(ValueError):
        chunk = decode_chunk(body, layout, start_ms=START_MS)
    if chunk is not None:
        assert {len(column) for column in chunk.table} == {len(chunk.keys)}
    assert peak_bytes(body, layout) < MIB


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_flip_of_every_bit_of_a_plain_body_is_another_chunk_or_named(layout: StateLayout) -> None:
    values = tuple([number, -number, None] for number, _ in enumerate(layout.fields, 10**9))
    events = EventColumns(values, tuple(True for _ in values), [START_MS, START_MS + 5, START_MS + 7])
    chunk = Chunk(0, plan_of(layout).fold(events, [[0, 1], [2]]), ["a", "b"])
    body = encode_chunk(chunk, layout, start_ms=START_MS)
    if body[1]:
        body = body[:1] + b"\0" + body[2:5] + zlib.decompress(body[5:], -zlib.MAX_WBITS)
    assert decode_chunk(body, layout, start_ms=START_MS) == chunk
    others = 0
    for at, bit in ((at, bit) for at in range(len(body)) for bit in range(8)):
        flipped = bytearray(body)
        flipped[at] ^= 1 << bit
        with suppress(ValueError):
            others += decode_chunk(bytes(flipped), layout, start_ms=START_MS) != chunk
    assert others > 0


def test_of_what_a_part_always_has_no_entry_is_missing() -> None:
    layout = StateLayout((FieldLayout.of("x", 0, ("count", "sum")),))
    for at in range(3):
        columns: list[list[Any]] = [[1, 1], [1, 1], [5, 5]]
        columns[at] = [None, 1]
        with pytest.raises(ValueError, match="missing"):
            decode_table(layout, b"".join(map(pack, columns)), 0, count=2, start_ms=0)


DEEP = (st.integers(1, 9), st.integers(0, 255))


@pytest.mark.parametrize(
    "payload",
    [
        varint(4 * MIB - 40) + b"\n" * (4 * MIB - 40) + b"\0" * 30,
        varint(MAX_KEYS) + b"\n" * MAX_KEYS + b"\0" * 30,
        varint(1) + b"a" + b"\x3f\0\0" + b"\xff" * 4_000_000,
        b"\xff" * 4_000_000,
        b"\0" * 64 * MIB,
    ],
    ids=["names", "a few names too many", "a wide column", "a number", "more than is inflated"],
)
def test_a_body_that_claims_much_costs_little(payload: bytes) -> None:
    """An item holds 400 kB; deflated, that is 400 MB."""
    layout = StateLayout((FieldLayout.of("value", 9, tuple(MEASURES)),))
    for count in {payload.count(b"\n") + 1, 1, 2**40}:
        deflated = zlib.compress(payload, 9, wbits=-zlib.MAX_WBITS)
        body = b"\x01\x01\x00\x00" + varint(count) + deflated
        assert len(body) < DYNAMODB_ITEM_BYTES
        with pytest.raises(ValueError, match="."):  # noqa: RUF043 - any
            decode_chunk(body, layout, start_ms=START_MS)
        assert peak_bytes(body, layout) < 24 * MIB


def test_a_body_of_a_newer_version_says_so() -> None:
    body = encode_chunk(Chunk(0, [[]], []), StateLayout(()), start_ms=0)
    with pytest.raises(ValueError, match="a newer streamgage"):
        decode_chunk(b"\x02" + body[1:], StateLayout(()), start_ms=0)
