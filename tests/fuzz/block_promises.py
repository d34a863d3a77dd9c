"""What must hold of any bytes that claim to be a block, for the property tests and the fuzz target alike."""

from functools import cache
from itertools import islice
from typing import Any

from fuzz.promises import Memory, readers
from streamgage.errors import PoisonRecord
from streamgage.formats.avro import AvroSchema
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.formats.blocks.columns import Values
from streamgage.formats.blocks.decimal_column import DecimalColumn
from streamgage.formats.blocks.floats import MAX_NUMERATOR, MAX_PLACES
from streamgage.formats.blocks.layout import MARKER, MAX_EVENTS, PREFIX_BYTES, RAW
from streamgage.formats.blocks.reader import Block, BlockReader, open_block
from streamgage.formats.varint import encode_varint

_LONGS = range(-(2**63), 2**63)


@cache
def codecs() -> tuple[tuple[BlockCodec, BlockReader], ...]:
    """Return writer and reader of each schema that rows are tested with; the last reader's is not the writer's."""
    schemas = [each.reader for each in readers()]
    old = AvroSchema.parse(Memory().read("everything.1.avsc"))
    return (
        *((BlockCodec(each), BlockReader(each)) for each in schemas),
        (BlockCodec(old), BlockReader(schemas[-1], [old])),
    )


def fields_of(reader: BlockReader) -> tuple[str, ...]:
    """Return the names of all fields that *reader* gives."""
    return tuple(reader.schema.fields)


def plain(values: Values) -> list[Any]:
    """Return *values* as rows give them."""
    if isinstance(values, DecimalColumn):
        return [None if each is None else each / 10**values.places for each in values.values]
    return values


def check_block(data: bytes) -> None:
    """Bytes behind a known prefix, and as a body of so many events as the second says, are undecodable or a block."""
    if len(data) < 2:
        return
    codec, reader = codecs()[data[0] % len(codecs())]
    check_one(codec, reader, codec.prefix + data[1:])
    check_one(codec, reader, codec.prefix + bytes((RAW,)) + encode_varint(data[1] + 1) + data[2:])


def check_one(codec: BlockCodec, reader: BlockReader, data: bytes) -> None:
    """*data* is undecodable, the same way each time, or a block whose columns and rows agree."""
    assert data.startswith(MARKER)
    reasons = []
    for _ in range(2):
        try:
            block = reader.decode(data, fields_of(reader))
        except PoisonRecord as poison:
            assert poison.code == "undecodable"
            reasons.append(poison.reason)
    assert len(set(reasons)) <= 1
    assert len(reasons) in (0, 2)
    if not reasons:
        _check_columns(block)
        _check_rows(codec, reader, block)


def _check_columns(block: Block) -> None:
    assert 0 < block.count <= MAX_EVENTS
    assert set(block.faults) <= set(range(block.count))
    for values in block.columns.values():
        each_of = values.values if isinstance(values, DecimalColumn) else values
        assert len(each_of) == block.count
        if isinstance(values, DecimalColumn):
            assert 0 <= values.places <= MAX_PLACES
            assert all(each is None or abs(each) < MAX_NUMERATOR for each in each_of)
        assert all(each in _LONGS for each in each_of if type(each) is int)


def _check_rows(codec: BlockCodec, reader: BlockReader, block: Block) -> None:
    """Every event is there whole, or is a fault; what there is can be sent in a block again."""
    events = []
    has_avro = any(each.kind == "avro" for each in codec.columns)
    for number in islice(range(block.count), 5):
        try:
            event = block.event(number)
        except PoisonRecord as poison:
            assert poison.code == "undecodable"
            continue
        assert block.row(number).startswith(codec.schema.prefix)
        # An Avro value longer than its type says shifts what follows it: an event of its own making, but an event.
        if not has_avro:
            assert repr(event) == repr(
                {name: plain(values)[number] for name, values in block.columns.items()}
            )
        events.append(event)
    own = BlockCodec(reader.schema)
    for event in events:
        try:
            again = own.encode([event])
        except ValueError:
            continue  # fastavro reads an int of 60 bits, and refuses to write it
        reader.decode(again, fields_of(reader))


_VALUES: tuple[Any, ...] = (
    (None, None),
    (True, False),
    (7, -(2**31)),
    (1.5, float("nan"), -0.0),
    (b"\x01\x02\x03\x04", b"abcd"),
    ("text", "", "täxt"),
    ("RED", "BLUE"),
    ([None, True], []),
    ([[[True]]],),
    ({"a": None}, {}),
    ({"x": 1},),
)


@cache
def seeds_of_blocks() -> tuple[bytes, ...]:
    """Return inputs of ``check_block`` that are blocks: deflated, and the body alone."""
    seeds = []
    for number, (codec, _) in enumerate(codecs()):
        for values in _VALUES:
            events = [{"field": each} for each in values * 20]
            seeds += _seed(number, codec, events)
        seeds += _seed(number, codec, [_everything(at) for at in range(40)])
    return tuple(seeds)


def _everything(at: int) -> dict[str, Any]:
    return {
        "id": f"d{at % 3}",
        "ts": 1_700_000 + at,
        "colour": "RED",
        "value": at,
        "blob": "b",
        "gone": {"a": []},
        "either": at if at % 2 else "x",
    }


def _seed(number: int, codec: BlockCodec, events: list[dict[str, Any]]) -> list[bytes]:
    try:
        block = codec.encode(events)
    except ValueError:
        return []  # values of another schema
    count, body = open_block(block)
    return [bytes((number,)) + block[PREFIX_BYTES:], bytes((number, count - 1)) + body]
