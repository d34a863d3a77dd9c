"""Blocks checked by hand, byte by byte: see docs/formats.md."""

import json
import zlib

from streamgage.formats.avro import AvroSchema
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.formats.blocks.decimal_column import DecimalColumn
from streamgage.formats.blocks.reader import BlockReader, open_block

SCHEMA = AvroSchema.parse(
    json.dumps(
        {
            "type": "record",
            "name": "Reading",
            "fields": [
                {"name": "id", "type": "string"},
                {"name": "ts", "type": "long"},
                {"name": "value", "type": ["null", "double"]},
                {"name": "on", "type": "boolean"},
                {"name": "tags", "type": {"type": "map", "values": "string"}},
            ],
        }
    )
)
EVENTS = [
    {"id": "d1", "ts": 1000, "value": 21.5, "on": True, "tags": {}},
    {"id": "é", "ts": 1250, "value": None, "on": True, "tags": {"a": "b"}},
    {"id": "d1", "ts": 1240, "value": -0.25, "on": True, "tags": {}},
]
HEAD = bytes.fromhex(
    "c3b1 6bbe0d45c2f71d2b"
)  # marker; fingerprint of the schema's canonical form, CRC-64-AVRO
BODY = bytes.fromhex(
    "0d 06 0c 02 12"  # the columns take 13, 6, 12, 2 and 18 bytes
    # id
    "01 02 05 6431 ff c3a9"  # a dictionary; of two texts; in 5 bytes: "d1", "é"
    "01 00 00 01 00"  # unsigned bytes; base 0; entries 0, 1, 0
    # ts
    "01 d00f 00 fa f0"  # unsigned bytes; base 1000; + 0, 250, 240
    # value
    "01 00 01 00 01"  # there, null, there
    "02"  # two decimal places
    "04 00 6608 e7ff"  # signed 16 bits; base 0; 2150, -25
    # on
    "00 02"  # all alike; 1
    # tags
    "01 02"  # a dictionary; of two values
    "01 00 01 06"  # which take 1 and 6 bytes
    "00"  # {}
    "02 0261 0262 00"  # {"a": "b"}
    "01 00 00 01 00"  # entries 0, 1, 0
)
RAW = HEAD + b"\x10\x03" + BODY  # layout 1, not deflated; three events
DEFLATED = HEAD + b"\x11\x03" + zlib.compress(BODY, 9)[2:-4]  # without zlib's frame: raw deflate
FIELDS = ("id", "ts", "value", "on")

# 60 events of one long, 1000 and then 7 more each time but every tenth: differences, in planes.
STEPS = AvroSchema.parse('{"type": "record", "name": "N", "fields": [{"name": "n", "type": "long"}]}')
NUMBERS = [1000 + at * 7 + at // 10 * 400 for at in range(60)]
STEPS_BODY = bytes.fromhex(
    "7b"  # 123 bytes
    "1c d00f"  # differences, planes, signed 16 bits; from 1000 on
    "00"
    + ("07" * 9 + "97") * 5
    + "07" * 9  # low bytes
    + "00"
    + ("00" * 9 + "01") * 5
    + "00" * 9  # high bytes
)


def test_each_thing_lies_where_the_format_puts_it() -> None:
    codec = BlockCodec(SCHEMA)
    assert codec.prefix == HEAD
    assert open_block(codec.encode(EVENTS)) == (3, BODY)


def test_the_block_written_by_hand_is_read_deflated_or_not() -> None:
    for data in (RAW, DEFLATED):
        block = BlockReader(SCHEMA).decode(data, FIELDS)
        assert block.columns == {
            "id": ["d1", "é", "d1"],
            "ts": [1000, 1250, 1240],
            "value": DecimalColumn(2, [2150, None, -25]),
            "on": [True, True, True],
        }
        assert [block.event(number) for number in range(3)] == EVENTS


def test_differences_lie_in_planes() -> None:
    block = BlockReader(STEPS).decode(BlockCodec(STEPS).prefix + b"\x10\x3c" + STEPS_BODY, ("n",))
    assert block.columns["n"] == NUMBERS


def test_what_grew_larger_deflated_is_sent_as_it_is() -> None:
    assert BlockCodec(STEPS).encode([{"n": 7}])[10:] == b"\x10\x01\x02\x00\x0e"
    assert BlockCodec(STEPS).encode([{"n": 7}] * 300)[10:] == b"\x10\xac\x02\x02\x00\x0e"


def test_a_row_is_the_avro_object_that_would_have_been_sent() -> None:
    row = BlockReader(SCHEMA).decode(RAW, ()).row(1)
    assert row == bytes.fromhex("c301 6bbe0d45c2f71d2b 04c3a9 c413 00 01 02 0261 0262 00")
