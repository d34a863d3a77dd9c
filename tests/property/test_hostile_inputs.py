"""Laws of every parser that meets bytes from outside: what is hostile is refused as documented, and costs little.

tests/fuzz runs the same promises under a coverage-guided fuzzer, tests/golden/test_hostile_bytes.py holds what was found.
"""

import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.promises import (
    ARN,
    ARRIVAL_MS,
    DEFINITION,
    check_avro,
    check_event,
    check_event_value,
    check_fold,
    check_import,
    check_kpl,
    check_quarantine,
    check_schema,
    check_toml,
    pipelines,
    readers,
    sign,
)
from processors.quarantine.message import encode_poison, encode_reference
from streamgage.errors import PoisonRecord
from streamgage.formats.avro import AvroReader, AvroSchema
from streamgage.formats.kinesis_event import encode_event
from streamgage.formats.kpl import DIGEST_BYTES, MAGIC
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.limits import MIB
from streamgage.reading.poison import Poison, refused_whole
from streamgage.records import StreamRecord, UserRecord
from support.examples import examples

# Seconds for milliseconds of work: no timing is judged, a hang is.
_SETTINGS = settings(deadline=10_000, max_examples=150)

_NUMBERS = st.sampled_from([0, 1, -1, -2, 2**31, 2**40, 2**60, 2**63 - 1, -(2**63)])


def _varint(value: int) -> bytes:
    left = (value << 1 ^ value >> 63) & (2**64 - 1)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes((*out, left))


@st.composite
def mutants(draw: st.DrawFn, seeds: Callable[[], list[bytes]], words: tuple[bytes, ...] = ()) -> bytes:
    """Draw one of *seeds* with some bytes changed, cut, repeated, or replaced by *words*."""
    data = bytearray(draw(st.sampled_from(seeds())))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(data)))
        stop = min(len(data), at + draw(st.sampled_from([0, 0, 1, 2, 8, 64])))
        kind = draw(st.sampled_from(["put", "word", "cut", "repeat"]))
        if kind == "put":
            data[at:stop] = draw(st.binary(max_size=10))
        elif kind == "word" and words:
            data[at:stop] = draw(st.sampled_from(words))
        elif kind == "cut":
            del data[at:stop]
        else:
            data[at:at] = data[at:stop] * draw(st.sampled_from([1, 2, 200]))
    return bytes(data)


def _users() -> list[UserRecord]:
    shipped, every = pipelines()
    reading = {"device_id": "d1", "metric": "m", "ts": ARRIVAL_MS, "value": 21.5, "tags": {"room": "k"}}
    event = {"id": "d", "ts": ARRIVAL_MS, "colour": "RED", "value": 1, "blob": b"b", "points": [None]}
    return [
        UserRecord("k", shipped.sources["reading"].schema.encode(reading)),
        UserRecord("j", json.dumps({"source": "reading", **reading}).encode(), 7),
        UserRecord("k", every.sources["everything"].schema.encode(event)),
        UserRecord("é", json.dumps({"source": "everything", **event, "blob": "b"}).encode()),
    ]


def _aggregates() -> list[bytes]:
    builder = AggregateBuilder({"pid": "x-17"})
    for user in _users():
        builder.add(user)
    return [builder.build(), builder.build()[len(MAGIC) : -DIGEST_BYTES]]


def _records() -> list[bytes]:
    return [*_aggregates(), *(user.data for user in _users())]


KPL_WORDS = (
    MAGIC,
    b"\x0a\x01a",
    b"\x1a\x04\x08\x00\x1a\x00",
    b"\x12\x011",
    b"\x80" * 9 + b"\x02",
    b"\x22\x03\x0a\x01k",
)
JSON_WORDS = (
    b"1e999999999",
    b"NaN",
    b'"\\ud800"',
    b"9" * 4301,
    b"[" * 1000,
    b"null",
    b"-0",
    b"{}",
    b'"source":5,',
)


@_SETTINGS
@given(data=mutants(_aggregates, KPL_WORDS) | st.binary(max_size=80))
def test_any_bytes_are_an_aggregate_or_poison(data: bytes) -> None:
    check_kpl(data)


@_SETTINGS
@given(data=mutants(_records, KPL_WORDS + JSON_WORDS) | st.binary(max_size=80))
def test_any_kinesis_record_folds_to_items_or_to_poison_that_can_be_kept(data: bytes) -> None:
    check_fold(data)
    check_fold(sign(data))


@settings(_SETTINGS, max_examples=examples(150, whole=500))
@given(
    number=st.integers(0, 255),
    body=st.binary(max_size=60)
    | st.lists(_NUMBERS.map(_varint) | st.binary(max_size=9), max_size=8).map(b"".join),
)
def test_any_body_behind_a_known_prefix_is_an_event_or_undecodable(number: int, body: bytes) -> None:
    check_avro(bytes((number,)) + body)


_LEAVES = st.sampled_from(
    ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
) | st.builds(lambda size: {"type": "fixed", "size": size}, st.integers(0, 5))


def _larger(kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    records = st.lists(kinds, max_size=3).map(lambda each: {"type": "record", "kinds": each})
    unions = st.lists(kinds.filter(lambda each: not isinstance(each, list)), min_size=1, max_size=3)
    return (
        kinds.map(lambda each: {"type": "array", "items": each})
        | kinds.map(lambda each: {"type": "map", "values": each})
        | records
        | unions
    )


def _named(kind: Any, numbers: "count[int]") -> Any:
    """Return *kind* with a name for each type that has one."""
    if isinstance(kind, list):
        return [_named(each, numbers) for each in kind]
    if not isinstance(kind, dict):
        return kind
    named = {key: _named(each, numbers) if key in ("items", "values") else each for key, each in kind.items()}
    if kind["type"] in ("record", "fixed"):
        named["name"] = f"N{next(numbers)}"
    if kind["type"] == "record":
        named["fields"] = [
            {"name": f"f{at}", "type": _named(each, numbers)} for at, each in enumerate(named.pop("kinds"))
        ]
    return named


SCHEMAS = st.lists(st.recursive(_LEAVES, _larger, max_leaves=6), min_size=1, max_size=3).map(
    lambda kinds: json.dumps(_named({"type": "record", "kinds": kinds}, count()))
)


@settings(_SETTINGS, max_examples=examples(100, whole=250))
@given(
    text=SCHEMAS,
    body=st.lists(_NUMBERS.map(_varint) | st.binary(max_size=9), max_size=12)
    .map(b"".join)
    .map(lambda each: each[:100]),
)
def test_a_small_record_of_any_schema_allocates_no_megabytes(text: str, body: bytes) -> None:
    with suppress(ValueError):  # refused: an array of items that take no bytes
        schema = AvroSchema.parse(text)
        reader = AvroReader(schema)
        tracemalloc.start()
        try:
            with suppress(PoisonRecord):
                reader.decode(schema.prefix + body)
            assert tracemalloc.get_traced_memory()[1] < MIB
        finally:
            tracemalloc.stop()


def _schemas() -> list[bytes]:
    parsed = [each.reader.parsed for each in readers()]
    return [
        json.dumps({key: value for key, value in each.items() if not key.startswith("__")}).encode()
        for each in parsed
    ]


SCHEMA_WORDS = tuple(
    b'"%s"' % each
    for each in (b"type", b"name", b"items", b"record", b"array", b"null", b"fixed", b"Event", b"Point")
)


@_SETTINGS
@given(text=mutants(_schemas, (*SCHEMA_WORDS, *JSON_WORDS)))
def test_any_text_is_a_schema_or_says_why_not(text: bytes) -> None:
    check_schema(text)


def _events() -> list[bytes]:
    record = StreamRecord("shardId-000000000000", 2**180 + 7, "key", b"data", ARRIVAL_MS)
    return [json.dumps(encode_event([record] * number, stream_arn=ARN)).encode() for number in (1, 2)]


def _messages() -> list[bytes]:
    refused = refused_whole(PoisonRecord("undecodable", "why"))
    poison = [Poison("s", 7, None, "key", ARRIVAL_MS, data, 1, refused) for data in (b"", b"x")]
    return [
        *(encode_poison(each, deflate=True).encode() for each in poison),
        encode_reference("bucket", "key", poison).encode(),
    ]


@_SETTINGS
@given(text=mutants(_events, JSON_WORDS))
def test_any_json_is_an_event_of_lambda_or_refused(text: bytes) -> None:
    check_event(text)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just(10**400)
    | st.just("1e400"),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=5,
)


@_SETTINGS
@given(
    changes=st.dictionaries(
        st.sampled_from(["partitionKey", "sequenceNumber", "data", "approximateArrivalTimestamp"]),
        _JSON,
        min_size=1,
    ),
    event_id=st.just("s:1") | _JSON,
)
def test_an_event_with_any_json_in_its_fields_is_read_or_refused(
    changes: dict[str, Any], event_id: Any
) -> None:
    kinesis = {"partitionKey": "k", "sequenceNumber": "1", "data": "", "approximateArrivalTimestamp": 1.0}
    check_event_value({"Records": [{"kinesis": {**kinesis, **changes}, "eventID": event_id}]})


@_SETTINGS
@given(text=mutants(_messages, (*JSON_WORDS, b'"object":', b'"refused":', b'"data":')))
def test_any_json_is_a_message_of_the_quarantine_or_refused(text: bytes) -> None:
    check_quarantine(text)


TOML_WORDS = (
    b"[[sources]]\n",
    b"[[rollups]]\n",
    b"1979-05-27",
    b'"""',
    b"a.a.a.a",
    b"[" * 900,
    b"inf",
    b"{a=",
    b"[]",
    b"-1",
)


@_SETTINGS
@given(text=mutants(lambda: [DEFINITION.encode()], TOML_WORDS))
def test_any_text_is_a_definition_or_tells_its_problems(text: bytes) -> None:
    check_toml(text)


def _files() -> list[bytes]:
    log = b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 203023 "r" "u \\"a\\""\n'
    table = b'device_id,metric,ts,value\nd1,m,1700000000,1.5\n"d\n2",m,2014-02-14 14:30:00,"2"\n\nx,y\n"'
    lines = b'{"device_id":"d1","metric":"m","ts":1700000000000,"value":1.5,"tags":{"a":"b"}}\n\n[]\n'
    return [b"\0" + table, b"\3" + table.replace(b",", b";"), b"\1" + lines * 2, b"\2" + log * 2]


FILE_WORDS = (
    b'a","\n',
    b'"',
    b'""',
    b"\r\n",
    b"\xef\xbb\xbf",
    b"\0",
    b'{"ts":',
    b"17/May/2015:10:05:03 +0000",
    b"\\",
)


@_SETTINGS
@given(data=mutants(_files, (*FILE_WORDS, *JSON_WORDS)))
def test_any_file_is_refused_or_each_of_its_rows_is_accounted_for(data: bytes) -> None:
    check_import(data)
