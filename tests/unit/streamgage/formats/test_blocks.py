import csv
import json
import math
import subprocess
import sys
import time
import tracemalloc
import zlib
from calendar import timegm
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from producers.simulators.fleet import FleetConfig, fleet_events
from streamgage.errors import PoisonRecord
from streamgage.formats.avro import AvroReader, AvroSchema, Event
from streamgage.formats.blocks.builder import BlockBuilder, BlockCodec
from streamgage.formats.blocks.decimal_column import DecimalColumn
from streamgage.formats.blocks.ints import encode_ints
from streamgage.formats.blocks.layout import DEFLATED, MAX_EVENTS, MAX_INFLATED_BYTES, RAW
from streamgage.formats.blocks.reader import BlockReader, open_block
from streamgage.formats.varint import encode_varint
from streamgage.limits import MIB
from support.paths import ROOT

READING = AvroSchema.parse((ROOT / "schemas/reading.avsc").read_text())
CODEC, READER = BlockCodec(READING), BlockReader(READING)
NEEDED = ("ts", "device_id", "metric", "value")
RECORDED = Path("/work/shared/data/telemetry")


def schema(*fields: tuple[Any, ...]) -> AvroSchema:
    keys = ("name", "type", "default")
    return AvroSchema.parse(
        json.dumps(
            {
                "type": "record",
                "name": "E",
                "fields": [dict(zip(keys, each, strict=False)) for each in fields],
            }
        )
    )


def reading(number: int = 0, **changes: Any) -> Event:
    event = {
        "device_id": f"d{number % 9}",
        "metric": "m",
        "ts": 1_700_000_000_000 + number,
        "value": number / 4,
    }
    return {**event, **changes}


def fleet(count: int, devices: int = 1000) -> list[Event]:
    config = FleetConfig(devices=devices, events=count, seed=3, start_ms=1_700_000_000_000)
    return list(fleet_events(config))


def bytes_an_event(events: list[Event], size: int) -> float:
    blocks = [CODEC.encode(events[at : at + size]) for at in range(0, len(events), size)]
    return sum(map(len, blocks)) / len(events)


# What comes back.


def test_needed_fields_come_as_columns_in_the_order_of_the_events() -> None:
    block = READER.decode(CODEC.encode(map(reading, range(3))), NEEDED)
    assert block.count == 3
    assert block.columns == {
        "ts": [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002],
        "device_id": ["d0", "d1", "d2"],
        "metric": ["m", "m", "m"],
        "value": DecimalColumn(2, [0, 25, 50]),
    }
    assert block.faults == {}


def test_an_event_is_had_whole_with_its_defaults() -> None:
    events = [reading(0), reading(1, tags={"room": "k"}), reading(2, tags=None)]
    block = READER.decode(CODEC.encode(events), ())
    assert [block.event(number) for number in range(3)] == [{"tags": None, **each} for each in events]
    assert block.row(1) == READING.encode(events[1])


@pytest.mark.parametrize("odd", [-0.0, math.nan, math.inf, 1 / 3, 1e15, 123456789.1234567])
def test_doubles_that_are_not_all_short_decimals_come_as_they_are(odd: float) -> None:
    block = READER.decode(CODEC.encode([reading(1), reading(2, value=odd)]), ("value",))
    assert repr(block.columns["value"]) == repr([0.25, odd])


def test_a_float_is_its_nearest_single_and_comes_as_its_shortest_decimal() -> None:
    single = schema(("x", "float"))
    block = BlockReader(single).decode(BlockCodec(single).encode([{"x": 0.1}, {"x": 3}, {"x": 1e39}]), ("x",))
    assert block.columns["x"] == [0.1, 3.0, math.inf]


def test_an_event_may_change_after_it_was_added() -> None:
    builder = BlockBuilder(CODEC)
    event = reading(1, tags={"room": "k"})
    builder.add(event)
    event["tags"]["room"] = event["device_id"] = "changed"
    assert READER.decode(builder.build(), ()).event(0) == reading(1, tags={"room": "k"})


def test_a_named_type_may_be_used_by_many_fields() -> None:
    point = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "double"}]}
    both = schema(("a", point), ("b", ["null", "Point"]), ("c", {"type": "array", "items": "Point"}))
    event = {"a": {"x": 1.0}, "b": {"x": 2.0}, "c": [{"x": 3.0}]}
    assert BlockReader(both).decode(BlockCodec(both).encode([event]), ()).event(0) == event


# How small.


def test_the_simulated_fleet_takes_less_than_five_bytes_an_event() -> None:
    events = fleet(6000)
    assert bytes_an_event(events, 2000) < 5
    assert bytes_an_event(events, 100) < 7
    assert bytes_an_event(events, 10) < 18
    rows = b"".join(map(READING.encode, events))
    assert bytes_an_event(events, 6000) < len(zlib.compress(rows, 9)) / len(events) / 2


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded telemetry is not here")
def test_recorded_telemetry_takes_less_than_six_bytes_an_event_in_the_order_of_time() -> None:
    events = []
    for path in sorted(RECORDED.glob("*.csv")):
        with path.open() as lines:
            for when, value in islice(csv.reader(lines), 1, 2000):
                ts = timegm(time.strptime(when[:19], "%Y-%m-%d %H:%M:%S")) * 1000
                events.append(reading(device_id=path.stem, ts=ts, value=float(value)))
    assert bytes_an_event(events, 2000) < 4
    events.sort(key=lambda each: each["ts"])
    assert bytes_an_event(events, 2000) < 6
    block = READER.decode(CODEC.encode(events[:2000]), NEEDED)
    assert [block.row(number) for number in range(0, 2000, 50)] == [
        READING.encode(each) for each in events[:2000:50]
    ]


# What is refused on the way in.


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ts": 5.5}, "ts"),
        ({"ts": True}, "ts"),
        ({"ts": 2**63}, "ts"),
        ({"value": "warm"}, "value"),
        ({"value": 10**400}, "too large"),
        ({"device_id": None}, "device_id"),
        ({"device_id": "\ud800"}, "surrogates"),
        ({"colour": "red"}, "colour"),
        ({"tags": {"a": 1}}, "tags"),
    ],
)
def test_an_event_that_does_not_fit_is_refused_by_its_place_and_field(
    change: dict[str, Any], named: str
) -> None:
    events = [reading(1), reading(2), reading(3, **change)]
    with pytest.raises(ValueError, match=rf"^event 2: .*does not fit schema streamgage.Reading.*{named}"):
        CODEC.encode(events)


@pytest.mark.parametrize("missing", NEEDED)
def test_a_missing_field_is_refused_by_name(missing: str) -> None:
    event = reading()
    del event[missing]
    with pytest.raises(ValueError, match=missing):
        CODEC.encode([event])


def test_a_field_without_default_may_not_be_missing_though_it_may_be_null_and_another_is_there_instead() -> (
    None
):
    nullable = schema(("x", ["null", "string"]), ("y", "long"))
    with pytest.raises(ValueError, match="unknown"):
        BlockCodec(nullable).encode([{"unknown": None, "y": 1}])
    with pytest.raises(ValueError, match="x is specified in the schema but missing"):
        BlockCodec(nullable).encode([{"y": 1}])


def test_a_text_counts_once_in_the_estimate() -> None:
    builder, sizes = BlockBuilder(CODEC), []
    for _ in range(3):
        builder.add(reading(device_id="d" * 1000, tags={"k": "v" * 1000}))
        sizes.append(builder.estimated_bytes)
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] < 50
    assert len(builder.build()) <= sizes[2]


def test_the_branch_of_a_union_that_an_event_names_is_kept() -> None:
    either = schema(("n", ["null", "long"]), ("x", ["null", "float", "double"]))
    event = {"n": ("long", 5), "x": ("float", 0.1)}
    block = BlockReader(either).decode(BlockCodec(either).encode([event]), ("n", "x"))
    assert block.columns == {"n": [5], "x": [0.1]}
    assert block.row(0) == either.encode(event)


def test_a_refused_event_leaves_the_builder_as_it_was() -> None:
    builder = BlockBuilder(CODEC)
    builder.add(reading(1))
    before = (builder.count, builder.estimated_bytes, builder.build())
    for bad in (
        reading(2, device_id="new", metric="\ud800"),
        reading(2, ts=5.5),
        reading(2, metric="x" * MIB),
    ):
        with pytest.raises(ValueError, match=r"."):
            builder.add(bad)
    assert (builder.count, builder.estimated_bytes, builder.build()) == before
    builder.add(reading(2, device_id="new"))
    fresh = BlockBuilder(CODEC)
    for event in (reading(1), reading(2, device_id="new")):
        fresh.add(event)
    assert (builder.count, builder.estimated_bytes, builder.build()) == (
        2,
        fresh.estimated_bytes,
        fresh.build(),
    )


def test_a_block_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one event"):
        CODEC.encode([])


def test_a_builder_is_full_before_any_limit_of_a_block_is_reached() -> None:
    many, large, wide = BlockBuilder(CODEC), BlockBuilder(CODEC), BlockBuilder(CODEC)
    while many.add_within(reading(many.count), 16 * MIB):
        pass
    while large.add_within(reading(large.count, device_id=f"{large.count:05}" * 20_000), 16 * MIB):
        pass
    while wide.add_within(reading(0, device_id="x" * 200_000), 16 * MIB):
        pass  # each event is small, and would be 200 kB in a row
    assert (many.count, large.count, wide.count) == (MAX_EVENTS, 83, 41)
    for builder in (many, large, wide):
        assert READER.decode(builder.build(), NEEDED).count == builder.count
        with pytest.raises(ValueError, match="full"):
            builder.add(reading())


# Other schemas.


def test_an_older_writers_block_is_read_with_defaults_and_promotions_and_without_what_is_gone() -> None:
    old = schema(("id", "string"), ("gone", "bytes"), ("n", "int"), ("x", "float"), ("m", ["null", "long"]))
    new = schema(
        ("unit", "string", "C"),
        ("m", ["double", "null"]),
        ("id", ["null", "string"]),
        ("n", "long"),
        ("x", "double"),
    )
    events = [
        {"id": "a", "gone": b"g", "n": 7, "x": 0.5, "m": None},
        {"id": "b", "gone": b"", "n": 8, "x": 2, "m": 9},
    ]
    reader = BlockReader(new, [old])
    block = reader.decode(BlockCodec(old).encode(events), ("unit", "id", "n", "x", "m"))
    assert repr(block.columns["n"]) == "[7, 8]"
    assert repr(block.columns["m"]) == "[None, 9.0]"
    assert (block.columns["unit"], block.columns["id"], block.columns["x"]) == (
        ["C", "C"],
        ["a", "b"],
        [0.5, 2.0],
    )
    assert reader.prefixes == {BlockCodec(old).prefix, BlockCodec(new).prefix}
    assert block.row(0) == old.encode(events[0])
    assert block.event(1) == {"unit": "C", "id": "b", "n": 8, "x": 2.0, "m": 9.0}


def test_an_event_that_does_not_resolve_is_a_fault_and_the_others_are_not() -> None:
    old = schema(("c", {"type": "enum", "name": "C", "symbols": ["RED", "MAUVE"]}), ("n", "int"))
    new = schema(("c", {"type": "enum", "name": "C", "symbols": ["RED"]}), ("n", "int"))
    events = [{"c": "RED", "n": 1}, {"c": "MAUVE", "n": 2}, {"c": "RED", "n": 3}]
    block = BlockReader(new, [old]).decode(BlockCodec(old).encode(events), ("n",))
    assert block.columns == {"n": [1, None, 3]}
    assert {number: poison.code for number, poison in block.faults.items()} == {1: "undecodable"}
    assert block.row(1) == old.encode(events[1])
    with pytest.raises(PoisonRecord, match="MAUVE"):
        AvroReader(new, [old]).decode(block.row(1))


def test_a_null_that_the_reader_does_not_know_is_a_fault() -> None:
    old, new = schema(("n", ["null", "long"])), schema(("n", "long"))
    block = BlockReader(new, [old]).decode(BlockCodec(old).encode([{"n": 1}, {"n": None}]), ("n",))
    assert (block.columns, list(block.faults)) == ({"n": [1, None]}, [1])


def test_a_field_that_was_renamed_is_found_by_its_alias_and_not_given_its_default() -> None:
    old = schema(("n", "long"))
    field = {"name": "number", "aliases": ["n"], "type": "long", "default": 0}
    new = AvroSchema.parse(json.dumps({"type": "record", "name": "E", "fields": [field]}))
    block = BlockReader(new, [old]).decode(BlockCodec(old).encode([{"n": 5}]), ("number",))
    assert block.columns == {"number": [5]}


def test_a_record_of_another_name_resolves_or_not_as_its_rows_do() -> None:
    old = schema(("n", "long"))
    new = AvroSchema.parse(
        json.dumps({"type": "record", "name": "Other", "fields": [{"name": "n", "type": "long"}]})
    )
    block = BlockReader(new, [old]).decode(BlockCodec(old).encode([{"n": 5}]), ("n",))
    with pytest.raises(PoisonRecord) as poison:
        AvroReader(new, [old]).decode(old.encode({"n": 5}))
    assert str(block.faults[0]) == str(poison.value)


def test_a_malformed_block_is_poison_whole_where_its_events_are_resolved_one_by_one() -> None:
    old, new = schema(("n", ["null", "long"])), schema(("n", "long"))
    data = BlockCodec(old).prefix + b"\x10\x02" + b"\x02\x00\x04"  # neither there nor not
    with pytest.raises(PoisonRecord, match="neither there nor not"):
        BlockReader(new, [old]).decode(data, ("n",))


# What is refused on the way out.


def _poison(data: bytes, fields: tuple[str, ...] = NEEDED) -> PoisonRecord:
    with pytest.raises(PoisonRecord) as poison:
        READER.decode(data, fields)
    return poison.value


def test_a_block_of_an_unknown_schema_says_which() -> None:
    poison = _poison(b"\xc3\xb1" + bytes(range(8)) + b"\x10\x01")
    assert (poison.code, "0001020304050607" in poison.reason) == ("unknown_schema", True)


def test_a_block_cut_anywhere_or_with_bytes_left_over_is_poison() -> None:
    small, large = CODEC.encode([reading()]), CODEC.encode(map(reading, range(300)))
    assert (small[10], large[10]) == (RAW, DEFLATED)
    for whole in (small, large):
        for size in range(len(whole)):
            assert _poison(whole[:size]).code == ("undecodable" if size >= 10 else "unknown_schema")
        assert "left over" in _poison(large + b"\x00").reason
        assert _poison(whole + b"\x00").code == "undecodable"


def test_any_byte_of_a_body_changed_is_a_block_or_poison_and_nothing_else() -> None:
    count, body = open_block(CODEC.encode([reading(1), reading(2, tags={"a": "b"}), reading(30)]))
    head = CODEC.prefix + bytes((RAW, count))
    seen = set()
    for at in range(len(body)):
        for byte in range(256):
            try:
                block = READER.decode(head + body[:at] + bytes((byte,)) + body[at + 1 :], NEEDED)
                block.event(1)
            except PoisonRecord as poison:
                assert poison.code == "undecodable"  # noqa: PT017 - many changes raise nothing
                seen.add(poison.reason)
    assert len(seen) > 20


def _block(count: int, *columns: bytes, layout: int = RAW) -> bytes:
    body = b"".join([*(encode_varint(len(each)) for each in columns), *columns])
    return CODEC.prefix + bytes((layout,)) + encode_varint(count) + body


_ID, _TS, _VALUE, _TAGS = b"\x01\x01\x02d1\x00\x00", b"\x00\x02", b"\x00\x00\x02", b"\x00\x00"


def test_the_columns_that_the_malformed_ones_are_made_of_are_a_block() -> None:
    block = READER.decode(_block(2, _ID, _ID, _TS, _VALUE, _TAGS), NEEDED)
    assert block.event(1) == {"device_id": "d1", "metric": "d1", "ts": 1, "value": 1.0, "tags": None}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_block(0, _ID, _ID, _TS, _VALUE, _TAGS), "0 events"),
        (_block(MAX_EVENTS + 1, _ID, _ID, _TS, _VALUE, _TAGS), "65,537 events"),
        (_block(2, _ID, _ID, _TS, _VALUE, _TAGS, layout=0x12), "layout"),
        (_block(2, _ID, _ID, _TS, _VALUE, _TAGS, layout=DEFLATED), "inflate"),
        (_block(2, _ID, _ID, _TS, _VALUE), "columns take"),
        (_block(2, _ID, _ID, _TS + b"\x00", _VALUE, _TAGS), "column ts has bytes left over"),
        (_block(2, _ID, _ID, b"", _VALUE, _TAGS), "cut short"),
        (_block(2, _ID, _ID, b"\x02\x00\x01", _VALUE, _TAGS), "cut short"),
        (_block(2, _ID, _ID, b"\x08\x00", _VALUE, _TAGS), "code 8"),
        (_block(2, _ID, _ID, b"\x20\x00", _VALUE, _TAGS), "code 32"),
        (_block(2, _ID, _ID, b"\x11\x00\x00\x00", _VALUE, _TAGS), "code 17"),
        (_block(2, _ID, _ID, b"\x01\xfe" + b"\xff" * 8 + b"\x01\x00\x01", _VALUE, _TAGS), "64 bits"),
        (
            _block(2, _ID, _ID, b"\x0f\x00" + b"\xff" * 7 + b"\x7f" + b"\xff" * 7 + b"\x7f", _VALUE, _TAGS),
            "64 bits",
        ),
        (_block(2, _ID, _ID, b"\x00" + b"\xff" * 10, _VALUE, _TAGS), "64 bits"),
        (_block(2, b"\x02\x02a\xff", _ID, _TS, _VALUE, _TAGS), "form 2"),
        (_block(2, b"\x00\x02aa", _ID, _TS, _VALUE, _TAGS), "not 2 texts"),
        (_block(2, b"\x00\x7fa\xffa", _ID, _TS, _VALUE, _TAGS), "not 2 texts"),
        (_block(2, b"\x00\x03a\xff\xc3", _ID, _TS, _VALUE, _TAGS), "not UTF-8"),
        (_block(2, b"\x01\x03\x05a\xffb\xffc\x00\x00", _ID, _TS, _VALUE, _TAGS), "dictionary of 3 for 2"),
        (_block(2, b"\x01\x00\x00\x00\x00", _ID, _TS, _VALUE, _TAGS), "dictionary of 0"),
        (_block(2, b"\x01\x01\x01a\x00\x02", _ID, _TS, _VALUE, _TAGS), "beyond the 1 entries"),
        (_block(2, b"\x01\x01\x01a\x00\x01", _ID, _TS, _VALUE, _TAGS), "negative"),
        (_block(2, _ID, _ID, _TS, b"\x17\x00\x02", _TAGS), "23 decimal places"),
        (_block(2, _ID, _ID, _TS, b"\xff" + bytes(15), _TAGS), "cut short"),
        (_block(2, _ID, _ID, _TS, b"\x02" + encode_ints([10**15]), _TAGS), "15 digits"),
        (_block(2, _ID, _ID, _TS, b"\x02" + encode_ints([0, -(10**15)]), _TAGS), "15 digits"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_malformed_says_how(data: bytes, reason: str) -> None:
    poison = _poison(data)
    assert poison.code == "undecodable"
    assert poison.reason.startswith("not a block: ")
    assert reason in poison.reason


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (b"\x00\x04", "neither there nor not"),
        (b"\x00\x02", "form None"),
        (b"\x00\x02\x00\x00\x01", "not 2 Avro values"),
        (b"\x00\x02\x00\x00\x10", "not 2 Avro values"),
        (b"\x00\x02\x01\x01\x00\x02\x00\x00\x00\x00", "left over"),
    ],
)
def test_a_column_that_is_not_needed_is_looked_at_only_for_a_whole_event(tags: bytes, reason: str) -> None:
    block = READER.decode(_block(2, _ID, _ID, _TS, _VALUE, tags), NEEDED)
    assert block.columns["ts"] == [1, 1]
    for whole in (block.row, block.event):
        with pytest.raises(PoisonRecord, match=reason):
            whole(0)


def test_a_deflate_stream_without_its_end_is_poison_though_the_body_is_whole() -> None:
    _, body = open_block(CODEC.encode([reading()]))
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflater.compress(body) + deflater.flush(zlib.Z_SYNC_FLUSH)
    assert "cut short" in _poison(CODEC.prefix + bytes((DEFLATED, 1)) + packed).reason


# What hostile bytes cost.


def _peak_bytes(data: bytes) -> int:
    tracemalloc.start()
    try:
        assert _poison(data).code == "undecodable"
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _deflated(count: int, body: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflater.compress(body) + deflater.flush()
    return CODEC.prefix + bytes((DEFLATED,)) + encode_varint(count) + packed


def test_a_block_that_inflates_beyond_its_limit_is_refused_at_the_limit() -> None:
    bomb = _deflated(2, bytes(200 * MIB))
    assert "inflates to more" in _poison(bomb).reason
    assert _peak_bytes(bomb) < 3 * MAX_INFLATED_BYTES
    assert "inflates to more" in _poison(_deflated(2, bytes(MAX_INFLATED_BYTES + 1))).reason
    assert "inflates to more" not in _poison(_deflated(2, bytes(MAX_INFLATED_BYTES))).reason


def test_sixteen_million_empty_texts_are_counted_before_they_are_made() -> None:
    texts = b"\x00" + encode_varint(15 * MIB) + b"\xff" * (15 * MIB)
    body = b"".join([*(encode_varint(len(each)) for each in (texts, _ID, _TS, _VALUE, _TAGS)), texts])
    assert _peak_bytes(_deflated(2, body + _ID + _TS + _VALUE + _TAGS)) < 4 * MAX_INFLATED_BYTES


def test_a_few_bytes_that_stand_for_gigabytes_of_rows_are_refused() -> None:
    def column(text_bytes: int) -> bytes:
        return b"\x01\x01" + encode_varint(text_bytes) + b"x" * text_bytes + b"\x00\x00"

    for text_bytes, count in ((257, MAX_EVENTS), (MIB, 17)):
        assert "once expanded" in _poison(_block(count, column(text_bytes), _ID, _TS, _VALUE, _TAGS)).reason
        READER.decode(_block(count - 1 - count // 257, column(text_bytes), _ID, _TS, _VALUE, _TAGS), NEEDED)
    assert "more than a Kinesis record" in _poison(_block(1, column(MIB + 1), _ID, _TS, _VALUE, _TAGS)).reason


def test_reading_blocks_does_not_import_fastavro() -> None:
    code = "import sys, streamgage.formats.blocks.reader; assert 'fastavro' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd=ROOT)


def test_a_tuple_for_a_nullable_list_is_refused_as_in_a_row() -> None:
    """Fastavro takes a tuple in a union for (branch, value)."""
    items = {"type": "array", "items": "string"}
    schema = AvroSchema.parse(
        json.dumps({"type": "record", "name": "E", "fields": [{"name": "f", "type": ["null", items]}]})
    )
    for encode in (schema.encode, lambda event: BlockCodec(schema).encode([event])):
        with pytest.raises(ValueError, match="does not fit schema E"):
            encode({"f": ()})
