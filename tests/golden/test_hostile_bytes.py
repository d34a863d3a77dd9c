"""Bytes that once broke a parser, or that were made to: each input by hand, with what must become of it.

What fuzzing found is here; tests/fuzz holds the fuzz targets, tests/property the laws.
"""

import json
import subprocess
import sys
import tracemalloc
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Any

import pytest

from fuzz.promises import (
    ARRIVAL_MS,
    check_event_value,
    check_fold,
    check_import,
    pipelines,
    sign,
)
from processors.quarantine.bulk import decode_bulk
from processors.quarantine.message import decode_message, decode_poison
from producers.files.convert import converter
from producers.files.csv import MAX_ROW_LINES, _Records, read_csv
from producers.files.lines import Line, read_lines
from producers.files.rows import BadRow, Row
from streamgage.errors import PoisonRecord
from streamgage.fold.batch import BatchFold, Folded
from streamgage.formats.avro import HEADER_BYTES, AvroReader, AvroSchema
from streamgage.formats.kinesis_event import decode_event
from streamgage.formats.kpl import decode_aggregate
from streamgage.limits import MIB
from streamgage.records import StreamRecord
from support import tables
from support.fakes import LANES
from support.tables import fold_plainly

MAX_PEAK_BYTES = MIB  # a record of 100 bytes must not allocate megabytes


def peak_bytes(action: Callable[[], object]) -> int:
    """Return how many bytes Python held at most, at once, while *action* ran."""
    action()  # what is imported, compiled and cached is not the input's doing
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def schema(*types: Any) -> str:
    fields = [{"name": f"f{number}", "type": each} for number, each in enumerate(types)]
    return json.dumps({"type": "record", "name": "Event", "fields": fields})


def number(value: int) -> bytes:
    """Return *value* as Avro writes a long: zigzag, then a varint."""
    left = (value << 1) ^ (value >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes((*out, left))


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def values(items: Any) -> dict[str, Any]:
    return {"type": "map", "values": items}


def undecodable(reader: AvroReader, body: bytes) -> str:
    with pytest.raises(PoisonRecord) as caught:
        reader.decode(reader.reader.prefix + body)
    assert caught.value.code == "undecodable"
    return caught.value.reason


def folded(data: bytes) -> list[str]:
    """Return the codes of the poison in *data*, read by the shipped pipeline."""
    record = StreamRecord("shardId-000000000000", 7, "key", data, ARRIVAL_MS)
    return codes_of(fold_plainly(pipelines()[0], [record]))


def codes_of(folded: Folded) -> list[str]:
    return [code for each in folded.poison for code in each.codes]


def shown(value: object) -> str:
    """Return a short name of a parameter; some are a megabyte long."""
    return repr(value)[:40]


def deep(levels: int, opening: str, closing: str, core: str = "") -> str:
    return opening * levels + core + closing * levels


# Schemas.

EMPTY = {"type": "record", "name": "Empty", "fields": []}
NULLS = {
    "type": "record",
    "name": "Nulls",
    "fields": [{"name": "a", "type": "null"}, {"name": "b", "type": EMPTY}],
}


@pytest.mark.parametrize(
    "items",
    ["null", EMPTY, NULLS, {"type": "fixed", "name": "None_", "size": 0}, {"type": "null"}],
)
def test_an_array_of_items_that_take_no_bytes_is_no_schema(items: Any) -> None:
    """Read by it, five bytes ask for a list of 2**30 items: fastavro makes it, and the process is out of memory."""
    for kind in (array(items), ["null", array(items)], values(array(items)), array(array(items))):
        with pytest.raises(ValueError, match="items that take no bytes"):
            AvroSchema.parse(schema(kind))


def test_no_bytes_are_no_matter_elsewhere() -> None:
    for kind in (
        "null",
        NULLS,
        values("null"),
        values(EMPTY),
        array(["null"]),
        array(array("long")),
        array(values("null")),
    ):
        read = AvroReader(AvroSchema.parse(schema(kind)))
        assert peak_bytes(partial(_decode, read, number(2**40) + bytes(80))) < MAX_PEAK_BYTES


@pytest.mark.parametrize(
    "kind",
    [
        "Event",
        ["null", "Event"],
        array("Event"),
        values("Event"),
        array({"type": "record", "name": "Leaf", "fields": [{"name": "up", "type": ["null", "Event"]}]}),
    ],
)
def test_a_record_that_contains_itself_is_no_schema(kind: Any) -> None:
    with pytest.raises(ValueError, match="record Event contains itself"):
        AvroSchema.parse(schema(kind))
    with pytest.raises(ValueError, match=r"record a\.b\.Event contains itself"):
        AvroSchema.parse(json.dumps({**json.loads(schema(kind)), "namespace": "a.b"}))


def test_why_a_record_that_contains_itself_is_refused_fastavro_ends_the_process() -> None:
    """A guard for the guard: should fastavro bound its depth one day, recursive schemas can be let in."""
    code = (
        "import io, fastavro\n"
        "node = {'type': 'record', 'name': 'Node', 'fields': [{'name': 'next', 'type': ['null', 'Node']}]}\n"
        "fastavro.schemaless_reader(io.BytesIO(b'\\x02' * 500_000 + b'\\0'), node)\n"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False, capture_output=True).returncode < 0


def test_a_type_that_is_used_twice_does_not_contain_itself() -> None:
    point = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "double"}]}
    parsed = AvroSchema.parse(schema(point, "Point", array("Point"), ["null", "Point"]))
    event = {"f0": {"x": 1.0}, "f1": {"x": 2.0}, "f2": [{"x": 3.0}], "f3": None}
    assert AvroReader(parsed).decode(parsed.encode(event)) == event


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "null",
        "[]",
        "{}",
        '"string"',
        '{"a":' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"type":"record"}',
        '{"type":["record"]}',
        '{"type":"record","name":5,"fields":[]}',
        '{"type":"record","name":null,"fields":[]}',
        '{"type":"record","name":"N"}',
        '{"type":"record","name":"N","fields":null}',
        '{"type":"record","name":"N","fields":5}',
        '{"type":"record","name":"N","fields":[5]}',
        '{"type":"record","name":"N","fields":[{"name":5,"type":"int"}]}',
        '{"type":"record","name":"N","fields":[{"name":["x"],"type":"int"}]}',
        '{"type":"record","name":"N","fields":[{"name":"\\ud800","type":"int"}]}',
        schema(5),
        schema(None),
        schema({}),
        schema({"type": []}),
        schema({"type": {"type": "string"}}),
        schema({"type": "array"}),
        schema({"type": "map"}),
        schema({"type": "enum", "name": "E"}),
        schema({"type": "enum", "name": "E", "symbols": 5}),
        schema({"type": "fixed", "name": "F"}),
        schema({"type": "fixed", "name": "F", "size": "4"}),
        schema({"type": "fixed", "name": "F", "size": -1}),
        schema({"type": "fixed", "name": "F", "size": 1.5}),
        '{"type":"record","name":"N","fields":[{"name":"a","type":'
        + deep(600, '{"type":"array","items":', "}", '"int"')
        + "}]}",
    ],
    ids=shown,
)
def test_what_is_no_schema_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a valid Avro schema: ."):
        AvroSchema.parse(text)


# Avro bodies.

SIZES = (2**20, 2**31, 2**40, 2**62, 2**63 - 1, -1, -(2**40), -(2**63))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "kind", ["string", "bytes", values("null"), values(values("long")), array("long"), array("boolean")]
)
def test_a_length_that_lies_is_poison_and_allocates_nothing(kind: Any, size: int) -> None:
    reader = AvroReader(AvroSchema.parse(schema(kind, "string", "long")))
    for body in (number(size), number(size) + b"\x01" * 80, number(-1) + number(size) + b"\x01" * 80):
        assert peak_bytes(partial(undecodable, reader, body)) < MAX_PEAK_BYTES


def test_a_length_that_lies_is_poison_too_where_an_older_schema_has_a_field_that_is_skipped() -> None:
    old = AvroSchema.parse(schema("long", values(array("string")), "string"))
    reader = AvroReader(AvroSchema.parse(schema("long")), [old])
    for size in SIZES:
        body = number(1) + number(size) + b"\x01" * 80
        with pytest.raises(PoisonRecord, match="undecodable"):
            reader.decode(old.prefix + body)


def test_a_number_of_more_bytes_than_it_can_have_ends() -> None:
    reader = AvroReader(AvroSchema.parse(schema("long", "string")))
    for byte in (b"\x80", b"\xff"):
        assert "Error" in undecodable(reader, byte * MIB)


@pytest.mark.parametrize("index", [2, 2**31, 2**62, 2**63 - 1, -(2**63)])
def test_a_branch_or_a_symbol_that_is_not_there_is_poison(index: int) -> None:
    enum = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
    for kind in (["null", "long"], enum):
        assert "IndexError" in undecodable(
            AvroReader(AvroSchema.parse(schema(kind))), number(index) + b"\0" * 9
        )


def test_a_fixed_of_a_terabyte_is_poison_where_the_bytes_are_not_there() -> None:
    reader = AvroReader(AvroSchema.parse(schema({"type": "fixed", "name": "F", "size": 2**40})))
    assert peak_bytes(lambda: undecodable(reader, b"abc")) < MAX_PEAK_BYTES


def test_bytes_left_over_are_poison() -> None:
    reader = AvroReader(AvroSchema.parse(schema("long", array("long"))))
    assert reader.decode(reader.reader.prefix + b"\x02\0") == {"f0": 1, "f1": []}
    assert "left over" in undecodable(reader, b"\x02\0\0")


def _decode(reader: AvroReader, body: bytes) -> None:
    with suppress(PoisonRecord):
        reader.decode(reader.reader.prefix + body)


# JSON user records, and what folds them.

HEAD = '{"source":"reading","device_id":"d","metric":"m","ts":1700000000000,"value":'


@pytest.mark.parametrize(
    ("rest", "codes"),
    [
        ("1}", []),
        ("9" * 4300 + "}", ["undecodable"]),  # larger than a double holds
        ("9" * 4301 + "}", ["undecodable"]),  # more digits than Python reads
        ("9" * MIB + "}", ["undecodable"]),
        ("1" + "0" * 300 + ".0}", ["bad_value"]),
        ("1." + "9" * MIB + "}", []),
        ("1e999999999}", ["bad_value"]),
        ("-1e999999999}", ["bad_value"]),
        ("1e-999999999}", []),
        ("1e" + "9" * MIB + "}", ["bad_value"]),
        ("NaN}", ["bad_value"]),
        ("true}", ["undecodable"]),
        ('"\\ud800"}', ["undecodable"]),
        ('1,"\\ud800":1}', []),  # an unknown field, whatever its name
        ('1,"metric":"\\ud800"}', ["undecodable"]),
        ('1,"tags":{"\\ud800":"\\udfff"}}', ["undecodable"]),
        ('1,"tags":{"\\u0000":"\\u0000"}}', []),
        ('1,"source":"\\ud800"}', ["unknown_schema"]),
        ('1,"source":{}}', ["unknown_schema"]),
        ("1" + ',"value":2' * 1000 + "}", []),  # of a repeated key the last counts
        ("[" * 100_000, ["undecodable"]),
        ('1,"x":' + deep(100_000, "{", "}"), ["undecodable"]),
        ('1,"ts":99999999999999999999}', ["bad_time"]),  # of which unit?
        ('1,"ts":1e12}', []),
    ],
    ids=shown,
)
def test_a_hostile_json_record_has_its_verdict(rest: str, codes: list[str]) -> None:
    data = (HEAD + rest).encode()
    check_fold(data)
    assert folded(data) == codes


@pytest.mark.parametrize(
    "make",
    [
        lambda levels: HEAD + deep(levels, "[", "]") + "}",
        lambda levels: HEAD + '1,"tags":' + deep(levels, '{"a":', "}", "1") + "}",
        lambda levels: HEAD + '1,"none":' + deep(levels, "[", "]") + "}",
        lambda levels: '{"source":' + deep(levels, "[", "]") + "}",
    ],
)
def test_json_nested_to_any_depth_is_poison(make: Callable[[int], str]) -> None:
    """A little below the depth that json refuses, a message that shows the value is what recursed too deep."""
    batch_fold = BatchFold(pipelines()[0], LANES)
    for levels in (*range(2, 900, 100), *range(900, 1010)):
        record = StreamRecord("shardId-000000000000", 7, "key", make(levels).encode(), ARRIVAL_MS)
        assert codes_of(tables.fold(batch_fold, pipelines()[0], [record])) in (
            ["undecodable"],
            ["unknown_schema"],
            [],
        )


def test_json_in_another_encoding_is_read_or_poison() -> None:
    for encoding in ("utf-16-le", "utf-32-le", "utf-8"):
        check_fold((HEAD + "1}").encode(encoding))
    assert folded(HEAD.encode() + b'1,"\xed\xa0\x80":1}') == ["undecodable"]


# Aggregated records.


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a\xff\xff\xff\xff\x0f",  # a key of 4 GB
        b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0a\x00\x1a\x0d\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x00",  # key index 2**64 - 1
        b"\x0a\x00\x1a\x06\x08\x00\x10\x7f\x1a\x00",  # a hash key index that points nowhere
        b"\x12\x27" + b"9" * 39,
        b"\x12\x81\x40" + b"9" * 8193,  # a hash key of more digits than Python reads
        b"\x12\x03\xd9\xa3\xd9",
        b"\x80" * 80,
        b"\x1b" * 80,  # groups, nested
        b"\x22\xff\xff\xff\xff\x07",
    ],
    ids=shown,
)
def test_a_hostile_aggregate_is_poison_and_allocates_nothing(message: bytes) -> None:
    data = sign(message)

    def decode() -> None:
        with pytest.raises(PoisonRecord, match="bad_kpl_framing"):
            decode_aggregate(data)

    assert peak_bytes(decode) < MAX_PEAK_BYTES
    assert folded(data) == ["bad_kpl_framing"]


@pytest.mark.parametrize(
    "entry", [b"\x0a\x00", b"\x0a\x02%02d", b"\x12\x02%02d", b"\x0a\x00\x1a\x04\x08\x00\x1a\x00", b"\x7a\x00"]
)
def test_tables_as_large_as_the_record_cost_a_multiple_of_it(entry: bytes) -> None:
    entries = [entry % (10 + at % 90) if b"%" in entry else entry for at in range(100_000 // len(entry))]
    data = sign(b"".join(entries))
    assert peak_bytes(lambda: decode_aggregate(data)) < 40 * len(data)


# Events of Lambda.


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("approximateArrivalTimestamp", float("inf")),
        ("approximateArrivalTimestamp", float("nan")),
        ("approximateArrivalTimestamp", 10**400),
        ("approximateArrivalTimestamp", "1e400"),
        ("approximateArrivalTimestamp", None),
        ("sequenceNumber", float("inf")),
        ("sequenceNumber", "9" * 5000),
        ("sequenceNumber", None),
        ("partitionKey", None),
        ("partitionKey", 5),
        ("partitionKey", ["k"]),
        ("data", None),
        ("data", "é"),
        ("data", "a"),
        ("data", ["a"]),
    ],
)
def test_an_event_with_a_value_of_another_kind_is_refused(key: str, value: Any) -> None:
    kinesis = {"partitionKey": "k", "sequenceNumber": "1", "data": "", "approximateArrivalTimestamp": 1.0}
    assert len(decode_event({"Records": [{"kinesis": kinesis, "eventID": "s:1"}]})) == 1
    event = {"Records": [{"kinesis": {**kinesis, key: value}, "eventID": "s:1"}]}
    with pytest.raises(ValueError, match="not a Kinesis event"):
        decode_event(event)
    check_event_value(event)


# The quarantine.


def message(data: bytes = b"x", **more: Any) -> bytes:
    return json.dumps(
        {
            "shard_id": "s",
            "sequence_number": "7",
            "sub_sequence_number": 0,
            "partition_key": "k",
            "arrival_ms": 1,
            "events": 3,
            "reasons": {"late": "why"},
            "refused": [[0, 1, "late"]],
            "data": b64encode(data).decode(),
            **more,
        }
    ).encode()


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"[]",
        b"5",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        message(sequence_number="x"),
        message(sequence_number=None),
        message(arrival_ms="1e400"),
        message(events=[]),
        message(events=1e400),
        message(refused=[]),
        message(refused=[[0, 3, "late"]]),
        message(refused=[[-1, 0, "late"]]),
        message(refused=[[1, 0, "late"]]),
        message(refused=[[0, 1, "late"], [1, 2, "late"]]),
        message(refused=[[1, 1, "late"], [0, 0, "late"]]),
        message(refused=[[0, 1, "tired"]]),
        message(refused=[[0, 1, []]]),
        message(refused=[[0, 1, "future"]]),
        message(refused=[[0.0, 1, "late"]]),
        message(refused=[[0, 1]]),
        message(refused=5),
        message(reasons=[]),
        message().replace(b'"eA=="', b"5"),
        message().replace(b"eA==", "é".encode()),
        message().replace(b"eA==", b"a"),
        message().replace(b"eA==", b"!!!!"),
        message(compression="zlib"),
        message(b"", compression="zlib"),
        message(zlib.compress(b"x")[:-1], compression="zlib"),
        message(part=0, parts=2),
        message(object=5),
        message(object={}),
        message(object={"bucket": "b", "key": "k"}),
        message(object={"bucket": "b", "key": "k"}, poison=1, codes=[]),
        message(object={"bucket": "b", "key": "k"}, poison="x", codes={}),
    ],
    ids=lambda hostile: repr(hostile[-60:]),
)
def test_what_is_not_a_message_of_the_quarantine_says_so(hostile: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(not a|not whole)"):
        decode_message(hostile)


def test_a_message_of_an_older_release_is_one_event() -> None:
    old = json.loads(message()) | {"code": "late", "reason": "why"}
    del old["refused"], old["events"], old["reasons"]
    assert decode_poison(json.dumps(old)).codes == {"late": 1}


def test_a_payload_that_inflates_beyond_any_kinesis_record_is_refused() -> None:
    bomb = message(zlib.compress(bytes(64 * MIB)), compression="zlib")

    def decode() -> None:
        with pytest.raises(ValueError, match="larger than a Kinesis record"):
            decode_poison(bomb)

    assert peak_bytes(decode) < 40 * MIB


def gzipped(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=31)
    return deflater.compress(data) + deflater.flush()


@pytest.mark.parametrize(
    "hostile",
    [b"", b"x", gzipped(b"x"), gzipped(message()), gzipped(message() + b"\n")[:-9], gzipped(message() + b"\n") + b"x",
     gzipped(b"\n")],
    ids=["nothing", "no header", "no line", "no end of a line", "cut short", "left over", "an empty line"],
)  # fmt: skip
def test_what_is_not_an_object_of_the_quarantine_says_so(hostile: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(not a|an object of the quarantine)"):
        list(decode_bulk(hostile))


def test_an_object_whose_line_never_ends_is_refused() -> None:
    bomb = gzipped(bytes(256 * MIB))

    def decode() -> None:
        with pytest.raises(ValueError, match="a line of more than"):
            list(decode_bulk(bomb))

    assert peak_bytes(decode) < 160 * MIB


# Importers.


class _Counting(_Records):
    steps = most = 0

    def __next__(self) -> str:
        self.steps += 1
        assert self.steps <= self.most, "it reads lines again and again"
        return super().__next__()


def _steps(file: bytes, most: int) -> int:
    records = _Counting(iter(list(read_lines(BytesIO(file), "file"))), ",")
    records.most = most
    try:
        while True:
            records.record()
    except StopIteration:
        return records.steps


@pytest.mark.parametrize("line", [b'a","\n', b'aa,b","\n', b'a","' + b"x" * 200 + b"\n"])
def test_a_file_whose_lines_each_open_a_quote_is_read_in_linear_time(line: bytes) -> None:
    """Each line opens a quoted cell that none closes: all lines after it were read again, for each line."""
    count = 30_000
    # What may be read again: 4 MiB of lines once, and 8 times what is read.
    steps = _steps(line * count, most=10 * count + 4 * MIB // len(line))
    assert steps > 2 * count, "the file no longer does what this test is about"


def test_a_stray_quote_still_costs_one_line_in_a_long_file() -> None:
    rows = [b'd%d,"m\nn",1,2\n' % at for at in range(300)]
    rows[::100] = [b'x,"stray,1,2\n'] * 3
    table = read_csv(read_lines(BytesIO(b"a,b,c,d\n" + b"".join(rows)), "file"), "file")
    assert sum(isinstance(each, Row) for each in table.rows) >= 290


def test_a_cell_of_a_million_empty_lines_does_not_keep_them_all() -> None:
    def lines() -> Iterator[Line]:
        return read_lines(BytesIO(b'a\n"' + b"\n" * 50_000), "file")

    def read() -> None:
        bad = [each for each in read_csv(lines(), "file").rows if isinstance(each, BadRow)]
        assert [each.reason for each in bad] == [
            f"the row runs on, in quotes, for more than {MAX_ROW_LINES:,} lines"
        ]

    assert peak_bytes(read) < 8 * MIB


def test_json_that_is_too_deep_to_be_shown_is_a_bad_value() -> None:
    for kind in ("string", "double", "long", "boolean", values("string")):
        convert = converter(kind)
        for levels in (10, *range(900, 1000)):
            value: list[Any] = []
            for _ in range(levels):
                value = [value]
            with pytest.raises(ValueError, match=" is "):
                convert(value)


@pytest.mark.parametrize(
    "value",
    [
        *("1e999999999", "-1e308", "1e-400", "9" * 4300, "9" * 4301, "true", "null", "[]", "{}"),
        *(
            '"\\ud800"',
            '""',
            '"inf"',
            '"nan"',
            '"1_0"',
            '"1e' + "9" * 99_999 + '"',
            '"' + "9" * 99_999 + '"',
            '"٣"',
        ),
        *(deep(levels, "[", "]") for levels in (980, 985, 990, 2000)),
        deep(500, '{"a":', "}", "1"),
    ],
    ids=shown,
)
def test_a_hostile_value_in_any_column_is_a_row_with_its_reason(value: str) -> None:
    good = {
        "device_id": '"d"',
        "metric": '"m"',
        "ts": "1700000000000",
        "value": "1",
        "tags": "{}",
        "c": '"s"',
    }
    more = {"a": '{"b":"x"}', "id": '"i"', "colour": '"RED"', "blob": '"b"'}
    for column in good | more:
        row = {**good, **more, column: value}
        check_import(b"\1{%s}" % ",".join(f'"{key}":{each}' for key, each in row.items()).encode())


@pytest.mark.parametrize(
    "line",
    [
        b'"' * MIB,
        b"\\" * MIB,
        b"[ " * (MIB // 2),
        b"a - " + b" " * MIB,
        b"1 - " + b"\\" * MIB + b'"',
        b"\0" * MIB,
    ],
    ids=shown,
)
def test_a_log_line_of_a_megabyte_is_told_with_its_reason(line: bytes) -> None:
    check_import(b"\2" + line)


def test_the_body_of_a_known_prefix_is_all_that_reaches_the_decoder() -> None:
    reader = AvroReader(pipelines()[0].sources["reading"].schema)
    for length in range(HEADER_BYTES):
        with pytest.raises(PoisonRecord, match="unknown_schema"):
            reader.decode(reader.reader.prefix[:length])
