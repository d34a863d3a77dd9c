import json
from collections.abc import Sequence
from typing import Any

import pytest

from streamgage.definition.pipeline import Source
from streamgage.errors import PoisonRecord
from streamgage.formats.avro import AvroReader, AvroSchema, Event
from streamgage.formats.blocks.decimal_column import DecimalColumn, Span
from streamgage.formats.kpl import DIGEST_BYTES, MAGIC
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.reading import row_values, rows
from streamgage.reading.row_values import Interned, read_integers
from streamgage.reading.rows import RowReader
from streamgage.records import UserRecord
from support.paths import ROOT

READING = AvroSchema.parse((ROOT / "schemas/reading.avsc").read_text())
FIELDS = ("ts", "device_id", "metric", "value")
TS = 1_700_000_000_000


def schema(*fields: tuple[Any, ...], name: str = "Event") -> AvroSchema:
    keys = ("name", "type", "default")
    return AvroSchema.parse(
        json.dumps(
            {"type": "record", "name": name, "fields": [dict(zip(keys, f, strict=False)) for f in fields]}
        )
    )


def source(reader: AvroSchema, *writers: AvroSchema) -> Source:
    return Source("event", reader, writers, "id", "ts", None, None, {})


def reader_of(source: Source) -> AvroReader:
    return AvroReader(source.schema, source.writers)


def readings(fields: tuple[str, ...] = FIELDS) -> RowReader:
    return RowReader(source(READING), fields)


def reading(number: int, **changes: Any) -> Event:
    return {"device_id": f"d{number}", "metric": "temp", "ts": TS + number, "value": number / 8, **changes}


def message(datas: Sequence[bytes], keys: Sequence[str] | None = None) -> tuple[bytes, int, int]:
    """Return an aggregated record, where its records begin and where they end."""
    builder = AggregateBuilder()
    for number, data in enumerate(datas):
        builder.add(UserRecord(keys[number] if keys else "k", data))
    record = builder.build()
    position = len(MAGIC)
    while record[position] == 0x0A:
        position += 2 + record[position + 1]
    return record, position, len(record) - DIGEST_BYTES


def take(reader: RowReader, *datas: bytes) -> bool:
    """Return whether *reader* took all of *datas*."""
    record, position, stop = message(datas)
    return reader.take(record, position, stop) == stop


def test_rows_become_columns_of_the_needed_fields() -> None:
    reader = readings()
    assert take(reader, *(READING.encode(reading(number)) for number in range(2000)))
    assert reader.count == 2000
    columns = reader.drain()
    assert columns.count == 2000
    assert columns.lists == {
        "ts": [TS + number for number in range(2000)],
        "device_id": [f"d{number}" for number in range(2000)],
        "metric": ["temp"] * 2000,
        "value": [number / 8 for number in range(2000)],
    }
    assert columns.decimals == {}
    assert reader.drain().count == 0


def test_what_it_leaves_is_left_whole_and_it_goes_on_behind_it() -> None:
    plain, tagged = READING.encode(reading(1)), READING.encode(reading(2, tags={"room": "k"}))
    record, position, stop = message([plain, plain, tagged, plain])
    reader = readings()
    left = reader.take(record, position, stop)
    assert record[left + 6 : left + 6 + len(tagged)] == tagged
    assert reader.count == 2
    assert reader.take(record, left, stop) == left
    assert reader.count == 2
    reader.add(AvroReader(READING).decode(tagged))
    assert reader.take(record, left + 6 + len(tagged), stop) == stop
    assert reader.drain().lists["device_id"] == ["d1", "d1", "d2", "d1"]


def test_nothing_is_taken_where_nothing_is() -> None:
    assert readings().take(b"", 0, 0) == 0
    assert readings().take(bytes(16), 0, 0) == 0
    for data in (b"\x1a", b"\x1a\x02\x08\x00", b"\x0a\x01k", b"\x1a\x80\x80\x80\x01"):
        assert readings().take(data + bytes(16), 0, len(data)) == 0


def test_the_largest_partition_key_index_is_kept_until_the_next_begins() -> None:
    keys = [f"k{number}" for number in range(300)]
    record, position, stop = message([READING.encode(reading(number)) for number in range(300)], keys)
    reader = readings()
    assert reader.max_index == -1
    assert reader.take(record, position, stop) == stop
    assert reader.max_index == 299
    reader.begin()
    assert reader.max_index == -1
    record, position, stop = message([READING.encode(reading(1))])
    assert reader.take(record, position, stop) == stop
    assert reader.max_index == 0


def test_an_index_of_more_bytes_than_it_needs_is_what_it_is() -> None:
    data = READING.encode(reading(1))
    record = b"\x1a" + bytes((len(data) + 5,)) + b"\x08\x85\x00\x1a" + bytes((len(data),)) + data
    reader = readings()
    assert reader.take(record + bytes(16), 0, len(record)) == len(record)
    assert reader.max_index == 5


def test_a_record_with_an_explicit_hash_key_or_a_tag_is_left() -> None:
    data = READING.encode(reading(1))
    for builder, record in (
        (AggregateBuilder(), UserRecord("k", data, 7)),
        (AggregateBuilder({"pid": "p"}), UserRecord("k", data)),
    ):
        builder.add(record)
        whole = builder.build()
        at = whole.index(b"\x1a", len(MAGIC))
        assert readings().take(whole, at, len(whole) - DIGEST_BYTES) == at


def test_a_plain_user_record_is_taken_or_left() -> None:
    reader, data = readings(), READING.encode(reading(1))
    assert reader.take_one(data)
    for other in (b"", b"{}", data[:-1], data + b"\0", data[:9], READING.encode(reading(2, tags={"a": "b"}))):
        assert not reader.take_one(other)
    assert reader.max_index == -1
    assert reader.drain().lists == {"ts": [TS + 1], "device_id": ["d1"], "metric": ["temp"], "value": [0.125]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x04d1",
        b"\x04d1\x08temp\x06" + bytes(8),  # no tags
        b"\x04d1\x08temp\x06" + bytes(8) + b"\x00\x00",  # a byte too many
        b"\x04d1\x08temp\x06" + bytes(8) + b"\x04",  # a branch that is not there
        b"\x04d1\x08temp\x06" + bytes(8) + b"\x01",  # one counted from the end
        b"\x04d\xff\x08temp\x06" + bytes(8) + b"\x00",
        b"\x04d1\x08tem\xff\x06" + bytes(8) + b"\x00",
        b"\x03d1\x08temp\x06" + bytes(8) + b"\x00",  # a negative length
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01d1\x08temp\x06" + bytes(8) + b"\x00",
        b"\x04d1\x08temp" + b"\x80" * 9 + b"\x01" + bytes(8) + b"\x00",  # a number of more than eight bytes
        b"\x04d1\x08temp" + b"\x80" * 40,
    ],
)
@pytest.mark.parametrize("fields", [FIELDS, ("ts", "value"), ()])
def test_hostile_bytes_are_left_and_their_neighbours_taken(body: bytes, fields: tuple[str, ...]) -> None:
    good, bad = READING.encode(reading(1)), READING.prefix + body
    record, position, stop = message([good, bad, good])
    reader = readings(fields)
    left = reader.take(record, position, stop)
    assert record[left:].startswith(b"\x1a" + bytes((len(bad) + 4,)) + b"\x08\x00\x1a")
    assert record[left + 6 : left + 6 + len(bad)] == bad
    assert reader.count == 1
    assert not reader.take_one(bad)
    assert reader.take(record, left + 6 + len(bad), stop) == stop
    assert all(len(each) == 2 for each in reader.drain().lists.values())


def test_a_text_that_fastavro_skips_need_not_be_utf_8() -> None:
    old = schema(("id", "string"), ("gone", "string"), ("ts", "long"))
    events = source(schema(("id", "string"), ("ts", "long")), old)
    data = old.prefix + b"\x02a\x02\xff\x06"
    assert reader_of(events).decode(data) == {"id": "a", "ts": 3}
    reader = RowReader(events, ("ts",))
    assert take(reader, data)
    assert reader.drain().lists == {"ts": [3]}


def test_a_text_that_is_read_as_bytes_is_utf_8_all_the_same() -> None:
    old = schema(("id", "string"), ("ts", "long"))
    events = source(schema(("id", "bytes"), ("ts", "long")), old)
    reader = RowReader(events, ("ts",))
    assert take(reader, old.prefix + b"\x02a\x06")
    assert not take(reader, old.prefix + b"\x02\xff\x06")
    with pytest.raises(PoisonRecord):
        reader_of(events).decode(old.prefix + b"\x02\xff\x06")


def test_a_boolean_is_true_whatever_but_zero_its_byte_is() -> None:
    flags = schema(("flag", "boolean"), ("ts", "long"))
    reader = RowReader(source(flags), ("flag",))
    assert take(reader, *(flags.prefix + bytes((byte, 6)) for byte in (0, 1, 2, 255)))
    assert reader.drain().lists["flag"] == [False, True, True, True]


def test_a_writer_of_a_renamed_field_is_left() -> None:
    new = {"name": "ts", "type": "long", "default": 0, "aliases": ["at"]}
    reader = AvroSchema.parse(json.dumps({"type": "record", "name": "Event", "fields": [new]}))
    old = schema(("at", "long"))
    events = source(reader, old)
    assert reader_of(events).decode(old.encode({"at": 5})) == {"ts": 5}
    assert RowReader(events, ("ts",)).prefixes == {reader.prefix}


def test_a_record_that_is_longer_than_what_is_matched_at_once_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "_MIN_WINDOW_BYTES", 10)
    assert take(readings(), *(READING.encode(reading(1, metric="m" * 100)) for _ in range(3)))


def test_two_halves_of_a_letter_in_two_events_are_no_text() -> None:
    letters = schema(("id", "string"), ("ts", "long"))
    half = letters.prefix + b"\x02\xc3\x02"
    for other in (
        b"\x02\xa9\x02",
        b"\x80\x01" + b"x" * 64 + b"\x02",
    ):  # also where a length begins as it goes on
        record, position, stop = message([half, letters.prefix + other])
        for fields in (("ts",), ("id",)):
            assert RowReader(source(letters), fields).take(record, position, stop) == position


def test_older_writers_are_resolved() -> None:
    new = schema(
        ("id", "string"),
        ("ts", "long"),
        ("value", ["null", "double"], None),
        ("unit", "string", "C"),
        ("colour", {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}),
    )
    colours = {"type": "enum", "name": "Colour", "symbols": ["BLUE", "RED", "MAUVE"]}
    old = schema(("colour", colours), ("value", "float"), ("ts", "int"), ("more", "double"), ("id", "string"))
    oldest = schema(("id", "string"), ("ts", "long"), ("value", ["null", "int"]), ("colour", colours))
    events = source(new, old, oldest)
    written = [
        new.encode({"id": "a", "ts": TS, "value": 2.5, "unit": "F", "colour": "RED"}),
        old.encode({"id": "b", "ts": -5, "value": 0.1, "more": 1.0, "colour": "BLUE"}),
        oldest.encode({"id": "c", "ts": 7, "value": None, "colour": "RED"}),
        oldest.encode({"id": "d", "ts": 2**54, "value": 300, "colour": "BLUE"}),
        new.encode({"id": "e", "ts": TS, "value": None, "unit": "K", "colour": "RED"}),
    ]
    reader = RowReader(events, tuple(new.fields))
    assert reader.prefixes == {new.prefix, old.prefix, oldest.prefix}
    assert take(reader, *written)
    lists = reader.drain().lists
    assert repr(lists["value"]) == repr([2.5, 0.1, None, 300.0, None])
    assert lists["ts"] == [TS, -5, 7, 2**54, TS]
    assert lists["unit"] == ["F", "C", "C", "C", "K"]
    assert lists["colour"] == ["RED", "BLUE", "RED", "BLUE", "RED"]
    mauve = old.encode({"id": "b", "ts": -5, "value": 0.1, "more": 1.0, "colour": "MAUVE"})
    assert not reader.take_one(mauve)


@pytest.mark.parametrize(
    "other",
    [
        schema(("id", "string"), ("ts", "long"), name="Another"),
        schema(("ts", "long")),
        schema(("id", "long"), ("ts", "long")),
        schema(("id", "string"), ("ts", {"type": "record", "name": "P", "fields": []})),
    ],
)
def test_writers_that_do_not_fit_are_left(other: AvroSchema) -> None:
    events = source(schema(("id", "string"), ("ts", "long")), other)
    assert RowReader(events, ("ts",)).prefixes == {events.schema.prefix}


def test_a_needed_field_of_a_type_that_no_column_holds_is_left() -> None:
    for kind in ("bytes", {"type": "fixed", "name": "F", "size": 2}, {"type": "map", "values": "long"}):
        events = source(schema(("id", kind), ("ts", "long")))
        assert RowReader(events, ("ts", "id")).prefixes == frozenset()
        assert RowReader(events, ("ts",)).prefixes == {events.schema.prefix}


@pytest.mark.parametrize("size", [0, 1, 63, 64, 127])
def test_texts_of_up_to_127_bytes_are_taken(size: int) -> None:
    reader = readings()
    assert take(reader, READING.encode(reading(1, metric="m" * size)))
    assert reader.drain().lists["metric"] == ["m" * size]


def test_longer_texts_are_left() -> None:
    assert not take(readings(), READING.encode(reading(1, metric="m" * 128)))


@pytest.mark.parametrize("count", [1, 2, 5000])
def test_integers_of_up_to_eight_bytes_are_exact(count: int) -> None:
    edges = [0, 1, -1, 63, -64, 64, 2**20, TS, -TS, 2**55 - 1, -(2**55)]
    for values in (edges, edges[-2:], [TS], [-1], [64, 1, 8192]):
        numbers = (values * count)[: max(count, len(values))]
        longs = schema(("ts", "long"))
        assert read_integers([longs.encode({"ts": each})[10:] for each in numbers]) == numbers
    assert not take(RowReader(source(longs), ("ts",)), longs.encode({"ts": 2**55}))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_values, "_REMEMBERED", 10)
    interned = Interned(bytes.decode)
    raws = [str(number).encode() for number in range(95)]
    assert interned.read(raws) == [str(number) for number in range(95)]
    assert len(interned) <= 10


def test_equal_texts_are_one_object() -> None:
    reader = readings()
    assert take(reader, *(READING.encode(reading(1)) for _ in range(3)))
    assert len(set(map(id, reader.drain().lists["device_id"]))) == 1


def test_columns_of_a_block_stand_among_rows_with_their_decimals() -> None:
    reader, data = readings(("ts", "value")), READING.encode(reading(4))
    assert reader.take_one(data)
    reader.add_columns({"ts": [1, 2], "value": DecimalColumn(3, [10, None]), "unneeded": []}, 2)
    reader.add(reading(8))
    reader.add_columns({"ts": [5], "value": [0.25]}, 1)
    reader.add_columns({"ts": [6, 7], "value": DecimalColumn(0, [1, 2])}, 2)
    assert reader.count == 7
    columns = reader.drain()
    assert columns.lists["ts"] == [TS + 4, 1, 2, TS + 8, 5, 6, 7]
    assert columns.lists["value"] == [0.5, 10, None, 1.0, 0.25, 1, 2]
    assert columns.decimals == {"value": [Span(1, 3, 3), Span(5, 7, 0)]}


@pytest.mark.parametrize("count", range(6))
def test_truncate_forgets_events_and_their_decimals(count: int) -> None:
    reader = readings(("ts", "value"))
    reader.add(reading(0))
    reader.add_columns({"ts": [1, 2], "value": DecimalColumn(3, [10, 20])}, 2)
    reader.add_columns({"ts": [3, 4], "value": DecimalColumn(2, [30, 40])}, 2)
    reader.truncate(count)
    assert reader.count == count
    columns = reader.drain()
    assert columns.lists["ts"] == [TS, 1, 2, 3, 4][:count]
    assert columns.lists["value"] == [0.0, 10, 20, 30, 40][:count]
    places = {
        at: each.places for each in columns.decimals.get("value", []) for at in range(each.start, each.stop)
    }
    assert places == {at: place for at, place in {1: 3, 2: 3, 3: 2, 4: 2}.items() if at < count}
    assert reader.count == 0
    assert reader.drain().decimals == {}
