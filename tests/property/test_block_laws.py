"""Laws of blocks: events come back as their rows would, with the same verdicts; anything else is refused."""

import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from fuzz.block_promises import check_block, plain, seeds_of_blocks
from streamgage.errors import PoisonRecord
from streamgage.formats.avro import AvroReader, AvroSchema
from streamgage.formats.blocks.builder import BlockBuilder, BlockCodec
from streamgage.formats.blocks.decimal_column import DecimalColumn
from streamgage.formats.blocks.floats import MAX_NUMERATOR, MAX_PLACES
from streamgage.formats.blocks.ints import LONG_MAX, LONG_MIN, decode_ints, encode_ints
from streamgage.formats.blocks.layout import MAX_EVENTS
from streamgage.formats.blocks.reader import BlockReader
from streamgage.measures.decimals import scale_number
from support.examples import examples

_SETTINGS = settings(deadline=None, max_examples=100)

# Types and what may stand in a field of them. A number drawn often is one of few, so that blocks repeat themselves.
_INTS = st.sampled_from([0, 1, -1, 70_000, -(2**31), 2**31 - 1]) | st.integers(-(2**31), 2**31 - 1)
_LONGS = st.sampled_from([0, LONG_MIN, LONG_MAX]) | st.integers(LONG_MIN, LONG_MAX) | st.integers(-300, 300)
_DECIMALS = st.builds(lambda m, s: m / 10**s, st.integers(-(10**6), 10**6), st.sampled_from([0, 1, 2, 9]))
_DOUBLES = _DECIMALS | st.floats() | st.sampled_from([0.0, -0.0, 1e22, 1e300, 5e-324, math.inf]) | _INTS
_TEXTS = st.sampled_from(["", "d1", "d2", "\0", "é\U0001f600"]) | st.text(
    st.characters(codec="utf-8"), max_size=4
)
_COLOUR = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN", "BLUE"]}
_ID = {"type": "fixed", "name": "Id", "size": 2}
_POINT = {
    "type": "record",
    "name": "Point",
    "fields": [
        {"name": "x", "type": "double"},
        {"name": "c", "type": ["null", _COLOUR]},
        {"name": "d", "type": "string", "default": "?"},
    ],
}
_POINTS = st.fixed_dictionaries({"x": _DOUBLES, "c": st.none() | st.just("RED")}, optional={"d": _TEXTS})
_MAPS = st.dictionaries(_TEXTS, _LONGS, max_size=2)
_KINDS: dict[str, tuple[Any, st.SearchStrategy[Any], Any]] = {
    "boolean": ("boolean", st.booleans(), True),
    "int": ("int", _INTS, 7),
    "long": ({"type": "long"}, _LONGS, -7),
    "float": ("float", st.floats(width=32) | _DECIMALS | _INTS, 1),
    "double": ("double", _DOUBLES, 2),
    "string": ("string", _TEXTS, "s"),
    "enum": (_COLOUR, st.sampled_from(_COLOUR["symbols"]), "GREEN"),
    "null": ("null", st.none(), None),
    "bytes": ("bytes", st.binary(max_size=3), "b"),
    "fixed": (_ID, st.binary(min_size=2, max_size=2), "ab"),
    "record": (_POINT, _POINTS, {"x": 0.5, "c": None}),
    "array": ({"type": "array", "items": "string"}, st.lists(_TEXTS, max_size=3), []),
    "map": ({"type": "map", "values": "long"}, _MAPS, {}),
    "union": (
        ["null", "string", "long", "float", "double", {"type": "map", "values": "long"}],
        st.none() | _TEXTS | _LONGS | _DOUBLES | _MAPS | st.tuples(st.just("double"), st.just(0.1)),
        None,
    ),
    "points": ({"type": "array", "items": ["null", _POINT]}, st.lists(st.none() | _POINTS, max_size=2), []),
}
_Maker = tuple[dict[str, Any], st.SearchStrategy[Any]]


@st.composite
def _fields(draw: st.DrawFn, name: str) -> _Maker:
    """Draw a field of a schema, and the strategy of what an event may have there."""
    avro_type, values, default = _KINDS[draw(st.sampled_from(sorted(_KINDS)))]
    order = draw(st.sampled_from(["plain", "null first", "null last"]))
    if order != "plain" and avro_type != "null" and not isinstance(avro_type, list):
        values = st.none() | values
        avro_type = ["null", avro_type] if order == "null first" else [avro_type, "null"]
        default = None if order == "null first" else default
    field = {"name": name, "type": avro_type}
    if draw(st.booleans()):
        field["default"] = default
    return field, values


def _schema(fields: list[dict[str, Any]], name: str = "Event") -> AvroSchema:
    # A named type is written out where it is first used, and named from there on.
    seen: set[str] = set()

    def named(avro_type: Any) -> Any:
        if isinstance(avro_type, list):
            return [named(each) for each in avro_type]
        if not isinstance(avro_type, dict):
            return avro_type
        if avro_type.get("name") in seen:
            return avro_type["name"]
        seen.update({avro_type["name"]} if "name" in avro_type else ())
        whole = {
            key: named(value) if key in ("items", "values") else value for key, value in avro_type.items()
        }
        if "fields" in whole:
            whole["fields"] = [{**each, "type": named(each["type"])} for each in whole["fields"]]
        return whole

    whole = [{**each, "type": named(each["type"])} for each in fields]
    return AvroSchema.parse(json.dumps({"type": "record", "name": name, "fields": whole}))


@st.composite
def _events(
    draw: st.DrawFn, makers: list[_Maker], sizes: tuple[int, ...] = (1, 2, 7, 60)
) -> list[dict[str, Any]]:
    required = {field["name"]: values for field, values in makers if "default" not in field}
    optional = {field["name"]: values for field, values in makers if "default" in field}
    each = st.fixed_dictionaries(required, optional=optional)
    size = draw(st.sampled_from(sizes))
    # Long blocks are made of few different events: what is drawn is bounded.
    few = draw(st.lists(each, min_size=min(size, 7), max_size=min(size, 7)))
    return [few[at % len(few)] for at in draw(st.permutations(range(size)))]


_MAKERS = (
    st.integers(1, 5).flatmap(lambda count: st.tuples(*(_fields(f"f{at}") for at in range(count)))).map(list)
)


def _row(schema: AvroSchema, event: dict[str, Any]) -> bytes | None:
    try:
        return schema.encode(event)
    except ValueError:
        return None


@_SETTINGS
@given(makers=_MAKERS, data=st.data())
def test_every_event_of_a_block_is_the_one_that_its_row_gives(
    makers: list[_Maker], data: st.DataObject
) -> None:
    schema = _schema([field for field, _ in makers])
    events = data.draw(_events(makers))
    rows = [_row(schema, each) for each in events]
    if None not in rows:
        assert list(map(BlockCodec(schema).row, events)) == rows
    if None in rows:  # fastavro has limits of its own, such as bytes' defaults
        assert _refused(schema, events, rows.index(None))
        return
    block = BlockReader(schema).decode(BlockCodec(schema).encode(events), tuple(schema.fields))
    assert block.count == len(events)
    assert [block.row(number) for number in range(block.count)] == rows
    decoded = [AvroReader(schema).decode(row) for row in rows if row is not None]
    assert not block.faults
    for name, values in block.columns.items():
        assert repr(plain(values)) == repr([each[name] for each in decoded])
    assert repr([block.event(number) for number in range(block.count)]) == repr(decoded)


@settings(deadline=None, max_examples=examples(100, whole=300))
@given(makers=_MAKERS, data=st.data())
def test_a_run_of_events_is_in_columns_what_each_of_them_is_by_itself(
    makers: list[_Maker], data: st.DataObject
) -> None:
    schema = _schema([field for field, _ in makers])
    codec = BlockCodec(schema)
    # Fields that no event has are a way of their own.
    optional = [field["name"] for field, _ in makers if "default" in field]
    nowhere = data.draw(st.sets(st.sampled_from(optional))) if optional else set()
    drawn = data.draw(_events(makers, (1, 2, 9)))
    events: list[Any] = [{name: each[name] for name in each if name not in nowhere} for each in drawn]
    changes: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [{}, {}, {}, {"unheard": 1}, {"f0": None}, {"f0": True}, {"f0": 2**63}, {"f0": "a"}]
    )
    events[-1] = {**events[-1], **data.draw(changes)}
    columns = codec.prepare_all(events, {})
    plain_ones = None not in list(map(codec._read, events))
    assert (columns is not None) == plain_ones
    if columns is not None:
        assert repr(list(zip(*columns, strict=True))) == repr(list(map(codec.prepare, events)))


@pytest.mark.parametrize("avro_type", ["null", ["null", "string", "long"]])
def test_a_null_that_is_encoded_as_a_value_is_in_no_run(avro_type: Any) -> None:
    codec = BlockCodec(
        _schema([{"name": "a", "type": "long"}, {"name": "b", "type": avro_type, "default": None}])
    )
    assert codec.prepare_all([{"a": 1}], {}) is None
    assert BlockReader(codec.schema).decode(codec.encode([{"a": 1}]), ()).event(0) == {"a": 1, "b": None}


def _refused(schema: AvroSchema, events: list[dict[str, Any]], first: int) -> bool:
    try:
        BlockCodec(schema).encode(events)
    except ValueError as error:
        return str(error).startswith(f"event {first}: ")
    return False


_JUNK = st.sampled_from(
    [
        *(None, True, 5, 5.5, 2**31, -(2**31) - 1, 2**63, -(2**63) - 1, 10**400, 1e39, math.nan, -0.0, "RED"),
        *(
            "MAUVE",
            "\ud800",
            b"",
            b"ab",
            bytearray(b"ab"),
            [],
            (),
            {},
            ("long", 5),
            ("string", "s"),
            {"x": 1},
        ),
        *({"x": 1.0, "c": None}, [None], ["s"], {"a": 1}, {1: 2}, Decimal(3), {"x": 1.0, "c": "RED", "z": 0}),
    ]
)


@_SETTINGS
@given(makers=_MAKERS, data=st.data())
def test_whatever_rows_refuse_blocks_refuse_by_event_and_field_and_no_more(
    makers: list[_Maker], data: st.DataObject
) -> None:
    schema = _schema([field for field, _ in makers])
    event = data.draw(_events(makers, (1,)))[0]
    names = [*schema.fields, "unknown"]
    for name in data.draw(st.lists(st.sampled_from(names), max_size=2)):
        if data.draw(st.booleans()):
            event.pop(name, None)
        else:
            event[name] = data.draw(_JUNK)
    codec = BlockCodec(schema)
    why, refusal = _refusal(schema.encode, event), _refusal(codec.encode, [event])
    assert refusal == (why and f"event 0: {why}")
    assert _refusal(codec.row, event) == why
    if not why:
        assert codec.row(event) == schema.encode(event)
        assert BlockReader(schema).decode(codec.encode([event]), ()).row(0) == schema.encode(event)


def _refusal(encode: Callable[[Any], bytes], what: Any) -> str | None:
    try:
        encode(what)
    except ValueError as error:
        return str(error)
    return None


@_SETTINGS
@given(makers=_MAKERS, data=st.data())
def test_a_builder_is_never_longer_than_it_says_and_a_refusal_leaves_it_as_it_was(
    makers: list[_Maker], data: st.DataObject
) -> None:
    schema = _schema([field for field, _ in makers])
    events = [each for each in data.draw(_events(makers)) if _row(schema, each) is not None]
    assume(events)
    codec = BlockCodec(schema)
    builder = BlockBuilder(codec)
    for at, event in enumerate(events):
        builder.add(event)
        before = builder.estimated_bytes
        for bad in ({**event, "unknown": 1}, {**event, "f0": object()}):
            try:
                builder.add(bad)
            except ValueError:
                assert (builder.count, builder.estimated_bytes) == (at + 1, before)
        assert not builder.add_within(event, before)
        assert (builder.count, builder.estimated_bytes) == (at + 1, before)
        if at in (0, 6, len(events) - 1):
            block = builder.build()
            assert block == codec.encode(events[: at + 1])
            assert len(block) <= builder.estimated_bytes


@st.composite
def _evolved(draw: st.DrawFn) -> tuple[list[_Maker], list[dict[str, Any]], str]:
    """Draw a writer's fields, and the fields and the name of a reader that may or may not resolve them."""
    writer = draw(_MAKERS)
    reader = []
    for field, _ in writer:
        kind = draw(st.sampled_from(["same", "same", "same", "wider", "other", "gone", "renamed"]))
        if kind == "gone":
            continue
        changed = dict(field)
        if kind == "wider":
            changed["type"] = draw(st.sampled_from(_WIDER))(field["type"])
            changed.pop("default", None)
        if kind == "other":
            changed = {**draw(_fields(field["name"]))[0]}
        if kind == "renamed":
            changed |= {"name": f"new_{field['name']}", "aliases": [field["name"]]}
        reader.append(changed)
    for at in range(draw(st.integers(0, 2))):
        reader.insert(draw(st.integers(0, len(reader))), draw(_fields(f"more{at}"))[0])
    return writer, reader, draw(st.sampled_from(["Event", "Event", "Event", "Other"]))


def _nullable(avro_type: Any) -> Any:
    return avro_type if isinstance(avro_type, list) or avro_type == "null" else ["null", avro_type]


def _promoted(avro_type: Any) -> Any:
    if isinstance(avro_type, list):
        return [_promoted(each) for each in avro_type]
    if isinstance(avro_type, dict):
        return _promoted(avro_type["type"]) if avro_type["type"] == "long" else avro_type
    wider = {
        "int": "long",
        "long": "double",
        "float": "double",
        "double": "float",
        "string": "bytes",
        "bytes": "string",
    }
    return wider.get(avro_type, avro_type)


def _bare(avro_type: Any) -> Any:
    return next(each for each in avro_type if each != "null") if isinstance(avro_type, list) else avro_type


_WIDER: list[Callable[[Any], Any]] = [
    _nullable,
    _promoted,
    lambda each: _nullable(_promoted(each)),
    _bare,
    lambda each: each[::-1] if isinstance(each, list) else each,
    lambda each: (
        {**each, "symbols": each["symbols"][:2]} if isinstance(each, dict) and "symbols" in each else each
    ),
]


@settings(deadline=None, max_examples=examples(100, whole=250))
@given(evolved=_evolved(), data=st.data())
def test_another_schemas_blocks_are_read_as_its_rows_are_with_the_same_verdict_on_each_event(
    evolved: tuple[list[_Maker], list[dict[str, Any]], str], data: st.DataObject
) -> None:
    makers, wanted, name = evolved
    writer = _schema([field for field, _ in makers])
    try:
        reader = _schema(wanted, name)
    except ValueError:
        reject()  # two fields of one name, say
    assume(reader.fields)
    events = [each for each in data.draw(_events(makers, (1, 7))) if _row(writer, each) is not None]
    assume(events)
    rows = AvroReader(reader, [writer])
    fields = tuple(data.draw(st.lists(st.sampled_from(sorted(reader.fields)), unique=True)))
    block = BlockReader(reader, [writer]).decode(BlockCodec(writer).encode(events), fields)
    for number, event in enumerate(events):
        row = writer.encode(event)
        assert block.row(number) == row
        expected: dict[str, Any] = dict.fromkeys(fields)
        reason = None
        try:
            expected = rows.decode(row)
        except PoisonRecord as poison:
            reason = str(poison)
        assert reason == (str(block.faults[number]) if number in block.faults else None)
        found = {each: plain(block.columns[each])[number] for each in fields}
        assert repr(found) == repr({each: expected[each] for each in fields})


@_SETTINGS
@given(
    values=st.lists(_LONGS, min_size=1, max_size=80)
    | st.lists(st.integers(-200, 200), min_size=1, max_size=300)
    | st.lists(st.sampled_from([LONG_MIN, LONG_MAX, 0]), min_size=1, max_size=40)
)
def test_integers_of_64_bits_come_back(values: list[int]) -> None:
    data = encode_ints(values)
    assert len(data) <= 11 + 8 * len(values)
    assert decode_ints(b"x" + data + b"y", 1, len(values)) == (values, len(data) + 1)


@_SETTINGS
@given(
    places=st.integers(0, MAX_PLACES),
    numerators=st.lists(st.integers(1 - MAX_NUMERATOR, MAX_NUMERATOR - 1), min_size=1, max_size=40),
    more=st.integers(0, 9),
)
def test_a_decimal_column_scales_as_its_doubles_do(places: int, numerators: list[int], more: int) -> None:
    schema = _schema([{"name": "x", "type": "double"}])
    values = [each / 10**places for each in numerators]
    block = BlockReader(schema).decode(BlockCodec(schema).encode([{"x": each} for each in values]), ("x",))
    column = block.columns["x"]
    assert isinstance(column, DecimalColumn)
    assert column.places <= places
    scale = column.places + more
    assert [each * 10**more for each in column.values if each is not None] == [
        scale_number(each, scale) for each in values
    ]


_WORDS = (
    b"\x10\x02",
    b"\x11\x02",
    b"\xff" * 9 + b"\x01",
    b"\x80\x80\x04",
    b"\x0f\x00",
    b"\x1f\x00",
    b"\x01\x02",
    b"\xfe",
)


@settings(deadline=None, max_examples=examples(100, whole=400))
@given(seed=st.sampled_from(seeds_of_blocks()), data=st.data())
def test_any_bytes_are_undecodable_or_a_block_whose_columns_and_rows_agree(
    seed: bytes, data: st.DataObject
) -> None:
    changed = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(1, len(changed)))
        stop = min(len(changed), at + data.draw(st.sampled_from([0, 0, 1, 2, 8])))
        changed[at:stop] = data.draw(st.binary(max_size=4) | st.sampled_from(_WORDS))
    check_block(bytes(changed))


def test_the_limit_of_events_is_a_block_and_one_more_is_not() -> None:
    schema = _schema([{"name": "x", "type": "long"}])
    builder = BlockBuilder(BlockCodec(schema))
    for number in range(MAX_EVENTS):
        builder.add({"x": number})
    assert not builder.add_within({"x": 0}, 10**9)
    assert BlockReader(schema).decode(builder.build(), ("x",)).columns["x"] == list(range(MAX_EVENTS))
