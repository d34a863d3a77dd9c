"""An Avro float stands for the shortest decimal that reads back as it, on every way by which it is read."""

import json
import struct
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.formats.avro import AvroReader, AvroSchema
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.formats.blocks.decimal_column import DecimalColumn
from streamgage.formats.blocks.reader import BlockReader
from streamgage.formats.singles import _REMEMBERED, _SHORTEST, read_singles, shortest
from streamgage.reading.record_reader import RecordReader
from streamgage.records import StreamRecord, UserRecord
from support.examples import examples
from support.fakes import World, invoke
from support.strategies import ARRIVAL_MS, aggregated

MANY = settings(max_examples=examples(400, whole=1500), deadline=None)


def of_bits(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def single(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


LARGEST = of_bits(0x7F7FFFFF)
POWERS = st.builds(
    lambda exponent, sign: sign * 2.0**exponent, st.integers(-149, 127), st.sampled_from([1, -1])
)
SINGLES = (
    st.integers(0, 2**32 - 1).map(of_bits).filter(lambda value: value - value == 0)
    | POWERS
    | st.builds(lambda n, places: single(n / 10**places), st.integers(-(10**7), 10**7), st.integers(0, 7))
    | st.integers(1, 500).map(of_bits)  # the subnormal ones with the fewest bits
)


def search(value: float) -> Decimal:
    """Return the shortest decimal that reads back as the single *value*, of all of them the closest: by trying all."""
    exact = Fraction(value)
    bits = struct.unpack("<I", struct.pack("<f", abs(value)))[0]
    below = Fraction(of_bits(bits - 1))
    above = Fraction(of_bits(bits + 1)) if bits < 0x7F7FFFFF else 2 * Fraction(LARGEST) - below
    low, high = (abs(exact) + below) / 2, (abs(exact) + above) / 2
    has_ends = bits % 2 == 0  # halfway, the even one is read
    for digits in range(1, 10):
        units = [Fraction(10) ** exponent for exponent in range(-55, 40)]
        found = [
            number * unit
            for unit in units
            for number in {-(-low // unit), high // unit, abs(exact) // unit, abs(exact) // unit + 1}
            if 0 < number < 10**digits
            and (low < number * unit < high or (has_ends and low <= number * unit <= high))
        ]
        if found:
            closest = min(found, key=lambda each: abs(each - abs(exact)))
            return Decimal(-1 if value < 0 else 1) * closest.numerator / closest.denominator
    raise AssertionError(f"nine digits tell {value} apart")


@MANY
@given(value=SINGLES)
@example(value=single(0.1))
@example(value=2.0**-126)
@example(value=2.0**87)
@example(value=-(2.0**-44))
@example(value=of_bits(1))
@example(value=LARGEST)
@example(value=single(9.8607613e-32))
def test_a_single_is_read_as_the_shortest_decimal_that_a_plain_search_finds(value: float) -> None:
    if value == 0:
        assert repr(shortest(value)) == repr(value)
    else:
        assert Decimal(repr(shortest(value))) == search(value)
    assert single(shortest(value)) == value, "nothing is lost"


def test_every_power_of_two_is_read_as_the_shortest_decimal_that_a_plain_search_finds() -> None:
    """Their neighbours below are closer than those above: the closest decimal may not be the one."""
    for exponent in range(-149, 128):
        assert Decimal(repr(shortest(2.0**exponent))) == search(2.0**exponent)


@MANY
@given(text=st.decimals(-999999, 999999, places=3).map(str) | st.integers(-999_999, 999_999).map(str))
def test_what_a_sender_wrote_with_six_digits_is_what_is_read(text: str) -> None:
    written = Decimal(text)
    if len(written.as_tuple().digits) <= 6 and written:
        assert Decimal(repr(shortest(single(float(text))))) == written


def test_what_is_remembered_is_bounded_and_changes_nothing() -> None:
    nan = float("nan")
    values = [0.0, -0.0, nan, float("inf"), -float("inf"), nan]
    assert repr(read_singles(values * 2)) == repr(values * 2)
    many = [of_bits(number) for number in range(10**9, 10**9 + 3 * _REMEMBERED)]
    assert read_singles(many) == [shortest(each) for each in many]
    assert len(_SHORTEST) <= _REMEMBERED


# --- on every way ---

WRITER = json.dumps(
    {
        "type": "record",
        "name": "Near",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "ts", "type": "long"},
            {"name": "value", "type": "float"},
            {"name": "maybe", "type": ["null", "float"], "default": None},
            {"name": "one", "type": "float", "default": 1},
            {"name": "wide", "type": "double"},
            {"name": "either", "type": ["null", "double", "float", "string"], "default": None},
            {
                "name": "points",
                "type": {
                    "type": "array",
                    "items": {"type": "record", "name": "P", "fields": [{"name": "x", "type": "float"}]},
                },
            },
            {"name": "again", "type": ["null", "P"], "default": None},
        ],
    }
)
READER = WRITER.replace('"name": "value", "type": "float"', '"name": "value", "type": "double"').replace(
    '["null", "float"]', '["null", "double"]'
)
assert READER != WRITER
COLUMNS = ("value", "maybe", "one", "wide")  # what blocks hold in columns of numbers
FIELDS = (*COLUMNS, "either", "points", "again")


def event(value: float) -> dict[str, Any]:
    return {
        "id": "d",
        "ts": ARRIVAL_MS,
        "value": value,
        "maybe": value,
        "one": value,
        "wide": single(value),
        "either": value,
        "points": [{"x": value}],
        "again": {"x": value},
    }


def one_by_one(writer: AvroSchema, reader: AvroReader, value: float) -> dict[str, Any]:
    return reader.decode(writer.encode(event(value)))


def in_a_block(raw: bool) -> Callable[[AvroSchema, AvroReader, float], dict[str, Any]]:  # noqa: FBT001 - of two kinds
    """Return how a block is read: of decimals, or of their bytes."""

    def read(writer: AvroSchema, reader: AvroReader, value: float) -> dict[str, Any]:
        more = [event(value), event(1e-30 if raw else 2.5)]
        data, blocks = BlockCodec(writer).encode(more), BlockReader(reader.reader, [writer])
        block, whole = blocks.decode(data, COLUMNS), blocks.decode(data, FIELDS)
        rows = reader.decode(block.row(0)), block.event(0)
        assert rows[0] == rows[1] == reader.decode(writer.encode(event(value)))
        found = {}
        for name, values in (whole.columns | block.columns).items():
            column = values
            if isinstance(column, DecimalColumn):
                column = [None if each is None else each / 10**column.places for each in column.values]
            found[name] = column[0]
        return found

    return read


WAYS = {
    "one by one": one_by_one,
    "in a block": in_a_block(raw=False),
    "in a block of bytes": in_a_block(raw=True),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reader_text", [WRITER, READER], ids=["float", "as double"])
@given(value=SINGLES | st.sampled_from([0.1, 0.7, -2.3]))
@settings(max_examples=60, deadline=None)
def test_floats_are_read_by_their_writers_type_and_doubles_stay_what_they_are(
    way: str, reader_text: str, value: float
) -> None:
    writer, reader = AvroSchema.parse(WRITER), AvroSchema.parse(reader_text)
    found = WAYS[way](writer, AvroReader(reader, [writer]), value)
    expected = shortest(single(value))
    assert (found["value"], found["maybe"], found["one"]) == (expected, expected, expected)
    assert found["wide"] == single(value), "its writer said so many digits"
    assert found["either"] == value, "it was written as the double of the union"
    assert (found["points"], found["again"]) == ([{"x": expected}], {"x": expected})


def near_pipeline(kind: str) -> Pipeline:
    schema = {
        "type": "record",
        "name": "Near",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "ts", "type": "long"},
            {"name": "value", "type": kind if kind == "float" else ["null", "float"]},
        ],
    }

    class Schema:
        def read(self, _path: str) -> str:
            return json.dumps(schema)

        def versions(self, _path: str) -> list[str]:
            return []

    return parse_pipeline(
        '[[sources]]\nname = "near"\nschema = "near.avsc"\npartition_key = "id"\nevent_time = "ts"\n'
        '[[rollups]]\nname = "r"\nsource = "near"\nkey = ["id"]\nwindows = ["1h"]\n'
        '[rollups.measures]\nvalue = ["count", "sum", "min", "max", "first"]\n',
        Schema(),
    )


@pytest.mark.parametrize("kind", ["float", "optional float"])
@pytest.mark.parametrize("way", ["rows", "rows read slowly", "plain rows", "a block", "JSON"])
def test_ten_times_a_tenth_is_one(way: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They summed to 1.00000001."""
    pipeline = near_pipeline(kind)
    schema = pipeline.sources["near"].schema
    tenth = {"id": "d", "ts": ARRIVAL_MS, "value": 0.1}
    rows = [schema.encode(tenth)] * 10
    if way == "rows read slowly":
        monkeypatch.setattr(RecordReader, "take", lambda _self, _data, position, _stop: position)
        monkeypatch.setattr("streamgage.reading.rows.RowReader.take_one", lambda _self, _data: False)
    datas = {
        "a block": [BlockCodec(schema).encode([tenth] * 10)],
        "JSON": [json.dumps({"source": "near", **tenth}).encode()] * 10,
    }.get(way, rows)
    held = datas if way == "plain rows" else [aggregated([UserRecord("k", each) for each in datas])]
    world = World(pipeline)
    records = [StreamRecord("s", 10 + n, "p", data, ARRIVAL_MS) for n, data in enumerate(held)]
    assert invoke(world.sandbox(), records) is None
    (row,) = world.ask("r", {"id": "d"}, "1h")
    tenths = {name: Decimal("0.1") for name in ("min", "max", "first")}
    assert row.values["value"] == {"count": 10, "sum": Decimal(1), **tenths}
