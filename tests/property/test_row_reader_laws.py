"""Whatever the bytes: the row reader gives what fastavro gives, or leaves them to whoever asks fastavro."""

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fuzz.promises import sign
from streamgage.definition.pipeline import Source
from streamgage.errors import PoisonRecord
from streamgage.formats.avro import AvroReader, AvroSchema
from streamgage.formats.kpl import DIGEST_BYTES, MAGIC, is_aggregated
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.reading import rows
from streamgage.reading.rows import RowReader
from streamgage.records import UserRecord
from support.row_oracle import RowVisitor, are_same, check_aggregate, read_slowly

_COLOUR = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN", "BLUE"]}
_FEWER = {**_COLOUR, "symbols": ["BLUE", "RED"]}
_ID = {"type": "fixed", "name": "Id", "size": 3}
_POINT = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "long"}]}
_LABELS = {"type": "map", "values": "string"}
_LONGS = {"type": "array", "items": "long"}

# Pairs of types, the writer's and the reader's, that fit; others are drawn too.
_SAME: tuple[Any, ...] = (
    "null",
    "boolean",
    "int",
    "long",
    "float",
    "double",
    "string",
    "bytes",
    {"type": "long"},
    ["null", "long"],
    ["null", "double"],
    ["double", "null"],
    ["null", "string"],
    ["null", "boolean"],
    ["string"],
    ["null", "long", "double", "string"],
    ["null", _LABELS],
    ["null", _POINT],
    _LABELS,
    _LONGS,
    _POINT,
    _ID,
    _COLOUR,
    ["null", _COLOUR],
)
_PROMOTED: tuple[tuple[Any, Any], ...] = (
    ("int", "long"),
    ("int", "double"),
    ("long", "float"),
    ("long", "double"),
    ("float", "double"),
    ("string", "bytes"),
    ("bytes", "string"),
    ("long", ["null", "double", "long"]),
    ("int", ["null", "long", "double"]),
    (["null", "int"], ["null", "double"]),
    (["null", "long"], "long"),
    (["long", "null"], ["null", "long"]),
    (["null", "bytes"], ["null", "string"]),
    (["null", "string", "long"], ["null", "long"]),
    (_COLOUR, _FEWER),
    (_FEWER, ["null", _COLOUR]),
    ("double", "long"),
    ("string", "long"),
)
_PAIRS = st.sampled_from(_SAME).map(lambda each: (each, each)) | st.sampled_from(_PROMOTED)
_DEFAULTS = st.sampled_from([("long", 7), ("double", 0.5), ("string", "none"), (["null", "long"], None)])

_INTS = st.integers(-(2**31), 2**31 - 1) | st.integers(-70, 70)
_LONG_INTS = _INTS | st.integers(-(2**63), 2**63 - 1) | st.integers(1_600_000_000_000, 1_800_000_000_000)
_STRINGS = (
    st.text(max_size=8) | st.integers(60, 130).map(lambda n: "é" + "x" * n) | st.sampled_from(["", "a"])
)


def _values(avro_type: Any) -> st.SearchStrategy[Any]:
    if isinstance(avro_type, list):
        return st.sampled_from(avro_type).flatmap(_values)
    kind = avro_type["type"] if isinstance(avro_type, dict) else avro_type
    if kind == "enum":
        return st.sampled_from(avro_type["symbols"])
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": _INTS,
        "long": _LONG_INTS,
        "float": st.floats(width=32),
        "double": st.floats(),
        "string": _STRINGS,
        "bytes": st.binary(max_size=5),
        "fixed": st.binary(min_size=3, max_size=3),
        "map": st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=1),
        "array": st.lists(_INTS, max_size=2),
        "record": st.fixed_dictionaries({"x": _INTS}),
    }[kind]


def _schema(fields: list[dict[str, Any]]) -> AvroSchema | None:
    try:
        return AvroSchema.parse(json.dumps({"type": "record", "name": "Event", "fields": fields}))
    except ValueError:  # a named type in two fields
        return None


@dataclass(frozen=True, slots=True)
class Made:
    """A source, the needed fields, and user records that its producers wrote."""

    source: Source
    fields: tuple[str, ...]
    datas: tuple[bytes, ...]


@st.composite
def sources(draw: st.DrawFn) -> Made:
    reader_fields: list[dict[str, Any]] = []
    writers_fields: list[list[dict[str, Any]]] = [[], []]
    for number in range(draw(st.integers(1, 5))):
        name = f"f{number}"
        writer_type, reader_type = draw(_PAIRS)
        reader_fields.append({"name": name, "type": reader_type})
        for fields in writers_fields:
            fields.append({"name": name, "type": writer_type})
    for fields in writers_fields:
        if draw(st.booleans()):
            fields.insert(
                draw(st.integers(0, len(fields))), {"name": "gone", "type": draw(st.sampled_from(_SAME))}
            )
        fields[:] = draw(st.permutations(fields))
    if draw(st.booleans()):
        added, default = draw(_DEFAULTS)
        reader_fields.append({"name": "new", "type": added, "default": default})
    reader, *writers = (_schema(fields) for fields in (reader_fields, *writers_fields))
    assume(reader is not None)  # not where a named type is defined twice
    assert reader
    needed = draw(st.lists(st.sampled_from([each["name"] for each in reader_fields]), unique=True))
    datas = []
    for _ in range(draw(st.integers(0, 12))):
        schema = draw(st.sampled_from([reader, *filter(None, writers)]))
        event = draw(
            st.fixed_dictionaries({name: _values(avro_type) for name, avro_type in schema.fields.items()})
        )
        datas.append(draw(_perhaps_hurt(schema.encode(event))))
    source = Source("event", reader, tuple(filter(None, writers)), "f0", "f0", None, None, {})
    return Made(source, tuple(needed), tuple(datas))


@st.composite
def _perhaps_hurt(draw: st.DrawFn, data: bytes) -> bytes:
    """Return *data*, as it is most of the time."""
    if draw(st.integers(0, 3)):
        return data
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.binary(max_size=2)) + data[at + draw(st.integers(0, 2)) :]


@settings(deadline=None, max_examples=100)
@given(
    made=sources(), numbers=st.lists(st.tuples(st.integers(0, 300), st.booleans()), min_size=12, max_size=12)
)
def test_an_aggregated_record_gives_what_fastavro_gives_of_each_user_record(
    made: Made, numbers: list[tuple[int, bool]]
) -> None:
    slow, reader = AvroReader(made.source.schema, made.source.writers), RowReader(made.source, made.fields)
    builder = AggregateBuilder({"pid": "p", "n": "1"})
    for number in range(200):  # so that some indexes take two bytes
        builder.add(UserRecord(f"k{number}", b""))
    for data, (number, has_hash_key) in zip(made.datas, numbers, strict=False):
        builder.add(UserRecord(f"k{number}", data, number if has_hash_key else None))
    record = builder.build()
    for _ in range(2):  # with nothing remembered, and with all
        check_aggregate(reader, slow, made.fields, record)


@settings(deadline=None, max_examples=100)
@given(made=sources(), data=st.data())
def test_a_message_that_was_hurt_gives_the_verdict_and_the_events_of_the_strict_decoder(
    made: Made, data: st.DataObject
) -> None:
    slow, reader = AvroReader(made.source.schema, made.source.writers), RowReader(made.source, made.fields)
    builder = AggregateBuilder()
    for number, each in enumerate(made.datas):
        builder.add(UserRecord(f"k{number % 3}", each, 5 if number % 7 == 6 else None))
    message = builder.build()[len(MAGIC) : -DIGEST_BYTES]
    if message:
        for _ in range(data.draw(st.integers(1, 2))):
            message = data.draw(_perhaps_hurt(message) | _a_byte_changed(message))
    record = sign(message)
    if is_aggregated(record):
        check_aggregate(reader, slow, made.fields, record)


def _a_byte_changed(message: bytes) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda at, bit: message[:at] + bytes((message[at] ^ 1 << bit,)) + message[at + 1 :],
        st.integers(0, len(message) - 1),
        st.integers(0, 7),
    )


@settings(deadline=None, max_examples=100)
@given(made=sources())
def test_a_plain_user_record_is_read_as_fastavro_reads_it_or_left(made: Made) -> None:
    slow, reader = AvroReader(made.source.schema, made.source.writers), RowReader(made.source, made.fields)
    for data in made.datas:
        before = reader.count
        if reader.take_one(data):
            assert are_same(reader.drain(), read_slowly(made.fields, slow, [data]))
        else:
            assert reader.count == before
            assert all(len(each) == before for each in reader.drain().lists.values())


@st.composite
def _disagreeing_records(draw: st.DrawFn) -> tuple[bytes, int]:
    """Return the bytes of records of the source below, some with a length or a size that is off, and how many."""
    out = b""
    count = draw(st.integers(1, 40))
    for _ in range(count):
        text = draw(st.text(max_size=3)).encode() if draw(st.booleans()) else b"ab"
        if not draw(st.integers(0, 5)):
            text = draw(st.binary(max_size=3))
        data = _TEXTS.prefix + bytes((2 * len(text),)) + text + b"\x08"
        off, off_too = draw(
            st.sampled_from([(0, 0)] * 60 + [(1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, -1)])
        )
        out += (
            bytes((0x1A, len(data) + 4 + off, 0x08, draw(st.integers(0, 127)), 0x1A, len(data) + off_too))
            + data
        )
    return out, count


_TEXTS = AvroSchema.parse(
    '{"type":"record","name":"T","fields":[{"name":"s","type":"string"},{"name":"n","type":"long"}]}'
)


@settings(deadline=None, max_examples=100)
@given(made=_disagreeing_records(), fields=st.sampled_from([("s", "n"), ("n",), ()]))
@example(made=(b"\x1a\x12\x08\0\x1a\x0e" + _TEXTS.prefix + b"\x04\xc3\xa9\x08", 1), fields=("n",))
def test_it_stops_at_the_first_record_that_is_not_as_it_should_be(
    made: tuple[bytes, int], fields: tuple[str, ...]
) -> None:
    """The lengths, sizes and texts of these records lie one against another; and stay within the message."""
    message = made[0]
    reader, slow = RowReader(Source("t", _TEXTS, (), "s", "n", None, None, {}), fields), AvroReader(_TEXTS)
    reached = reader.take(message + bytes(DIGEST_BYTES), 0, len(message))
    expected, position, index = [], 0, -1
    while position < len(message):
        length, number, size = message[position + 1], message[position + 3], message[position + 5]
        data = message[position + 6 : position + 6 + size]
        try:
            event = slow.decode(data)
        except PoisonRecord:
            break
        if length != size + 4 or len(data) < size or message[position + 4] != 0x1A:
            break
        expected.append(event)
        index = max(index, number)
        position += 2 + length
    assert reached == position
    assert reader.max_index == index
    assert are_same(reader.drain(), {name: [each[name] for each in expected] for name in fields})


@settings(deadline=None, max_examples=50)
@given(made=sources(), sizes=st.tuples(st.integers(1, 300), st.integers(1, 300)))
def test_how_much_is_matched_at_once_does_not_matter(made: Made, sizes: tuple[int, int]) -> None:
    before = rows._MIN_WINDOW_BYTES, rows._MAX_WINDOW_BYTES
    builder = AggregateBuilder()
    for each in made.datas * 3:
        builder.add(UserRecord("k", each))
    record = builder.build()
    read = []
    try:
        for rows._MIN_WINDOW_BYTES, rows._MAX_WINDOW_BYTES in (sizes, before):
            visitor = RowVisitor(
                RowReader(made.source, made.fields), AvroReader(made.source.schema, made.source.writers)
            )
            assert visitor.read(record)
            read.append((visitor.left, repr(visitor.rows.drain())))
    finally:
        rows._MIN_WINDOW_BYTES, rows._MAX_WINDOW_BYTES = before
    assert read[0] == read[1]
