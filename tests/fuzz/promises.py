"""What must hold of any bytes whatever, as functions that the property tests and the fuzz targets share.

Each takes hostile input, feeds it to one parser, and raises (an AssertionError, or whatever escaped the parser) where
a promise is broken: no exception but the documented one, nothing lost, nothing that cannot be stored.
"""

import hashlib
import json
import math
import zlib
from collections.abc import Iterable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from processors.quarantine.bulk import decode_bulk, encode_bulk
from processors.quarantine.message import decode_message, decode_poison, encode_poison
from producers.client.encoder import encoder_of
from producers.files.access_log import COLUMNS, read_access_log
from producers.files.csv import read_csv
from producers.files.lines import read_lines
from producers.files.mapping import EventMapping, plan_mapping
from producers.files.ndjson import read_ndjson
from producers.files.rows import BadRow, Row
from producers.files.times import time_parser
from streamgage.definition.fingerprint import counts_of
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import POISON_CODES, ConfigError, PoisonRecord
from streamgage.fold.batch import BatchFold, Counting
from streamgage.fold.items import Lanes
from streamgage.formats.agents.decoder import AgentDecoder, Taken
from streamgage.formats.agents.items import Refused
from streamgage.formats.avro import AvroReader, AvroSchema
from streamgage.formats.kinesis_event import decode_event, encode_event
from streamgage.formats.kpl import MAGIC, decode_aggregate, is_aggregated
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.formats.mark import Mark
from streamgage.formats.varint import encode_varint
from streamgage.limits import DYNAMODB_ITEM_BYTES, DYNAMODB_PARTITION_KEY_BYTES, DYNAMODB_SORT_KEY_BYTES
from streamgage.reading.poison import Poison, counted
from streamgage.records import StreamRecord
from support.agents import agents_pipeline
from support.histograms import pipeline as of_histograms

ROOT = Path(__file__).parents[2]
ARRIVAL_MS = 1_700_000_000_000
ARN = "arn:aws:kinesis:eu-central-1:000000000000:stream/s"


def _record(name: str, *fields: tuple[Any, ...]) -> dict[str, Any]:
    keys = ("name", "type", "default")
    return {
        "type": "record",
        "name": name,
        "fields": [dict(zip(keys, each, strict=False)) for each in fields],
    }


def _array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _map(values: Any) -> dict[str, Any]:
    return {"type": "map", "values": values}


_COLOUR = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN", "BLUE"]}
_MORE = {**_COLOUR, "symbols": [*_COLOUR["symbols"], "MAUVE"]}
_ID = {"type": "fixed", "name": "Id", "size": 4}
_POINT = _record("Point", ("x", "double"), ("y", "double"), ("label", ["null", "string"], None))
_TYPES: tuple[Any, ...] = (
    "null",
    "boolean",
    "int",
    "long",
    "float",
    "double",
    "bytes",
    "string",
    _COLOUR,
    _ID,
    _POINT,
    ["null", "string", "long", "double", _map("long"), _array("string")],
    _array(["null", "boolean"]),
    _array(_array(_array("boolean"))),
    _array(_POINT),
    _array(_map(["null", _POINT])),
    _map("null"),
    _map(_map(_map("null"))),
    _map(_array(_COLOUR)),
    ["null", _record("A", ("x", "long")), _record("B", ("x", "long"), ("ys", _array(_ID), []))],
)
_EVERYTHING_OLD = _record(
    "Everything",
    ("id", "string"),
    ("ts", "int"),
    ("colour", _MORE),
    ("value", "long"),
    ("blob", "string"),
    ("gone", _map(_array(_POINT))),
    ("either", ["null", "int", "string"]),
)
_EVERYTHING = _record(
    "Everything",
    ("id", "string"),
    ("ts", "long"),
    ("colour", _COLOUR),
    ("value", ["null", "double", "long"]),
    ("blob", "bytes"),
    ("points", _array(["null", _POINT]), []),
    ("either", ["null", "long", "double", "string"], None),
    ("deep", _map(_map(_array("boolean"))), {}),
    ("code", ["null", _ID], None),
)
DEFINITION = """
[[sources]]
name = "everything"
schema = "everything.avsc"
partition_key = "id"
event_time = "ts"
max_future = "5m"
max_lateness = "30d"

[[rollups]]
name = "by_colour"
source = "everything"
key = ["colour", "id"]
windows = ["1m", "1h"]
keep = "90d"

[rollups.measures]
value = ["count", "sum", "min", "max", "mean", "variance", "first", "last"]
ts = ["min", "max"]
"""


class Memory:
    """The files around a definition, in memory: *schema* for each path that the tests do not know."""

    def __init__(self, schema: str = "") -> None:
        self._schema = schema

    def read(self, path: str) -> str:
        """Return the text of *path*."""
        if path == "everything.avsc":
            return json.dumps(_EVERYTHING)
        if path == "everything.1.avsc":
            return json.dumps(_EVERYTHING_OLD)
        if path in ("schemas/reading.avsc", "schemas/click.avsc"):
            return (ROOT / path).read_text()
        if not self._schema:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self._schema

    def versions(self, path: str) -> Iterable[str]:
        """Return the older schemas of *path*."""
        return ["everything.1.avsc"] if path == "everything.avsc" else []


@cache
def readers() -> tuple[AvroReader, ...]:
    """Return a reader a type that a field may have, one of all of them, and one that resolves an older schema."""
    parsed = [AvroSchema.parse(json.dumps(_record("Event", ("field", each)))) for each in _TYPES]
    old = AvroSchema.parse(json.dumps(_EVERYTHING_OLD))
    everything = AvroReader(AvroSchema.parse(json.dumps(_EVERYTHING)), [old])
    return (*map(AvroReader, parsed), everything)


@cache
def pipelines() -> tuple[Pipeline, ...]:
    """Return the shipped pipeline, and one whose schema uses every kind of type and has an older version."""
    shipped = parse_pipeline((ROOT / "pipeline.toml").read_text(), Memory())
    return (shipped, parse_pipeline(DEFINITION, Memory()))


LANES = Lanes("s")


@cache
def _folds() -> tuple[tuple[BatchFold, Counting], ...]:
    return tuple((BatchFold(each, LANES), counting_of(each)) for each in (*pipelines(), of_histograms()))


def counting_of(pipeline: Pipeline) -> Counting:
    """Return how the cells of *pipeline* are counted."""
    return Counting({name: counts_of(pipeline, each) for name, each in pipeline.rollups.items()})


def _never_repeated(_record: StreamRecord, _mark: Mark | None) -> bool:
    return False


def sign(message: bytes) -> bytes:
    """Return *message* framed as an aggregated record."""
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


def check_kpl(data: bytes) -> None:
    """Bytes, as they are and as a signed message, are poison or an aggregate that can be built anew."""
    for framed in (data, sign(data)):
        try:
            aggregate = decode_aggregate(framed)
        except PoisonRecord as poison:
            assert poison.code == "bad_kpl_framing"
            continue
        assert is_aggregated(framed)
        records = list(aggregate.user_records())
        assert sum(len(each.data) for each in records) <= len(framed)
        builder = AggregateBuilder(aggregate.tags if records else None)
        for each in records:
            builder.add(each)
        if records:
            again = decode_aggregate(builder.build())
            assert list(again.user_records()) == records
            assert again.tags == aggregate.tags


def check_avro(data: bytes) -> None:
    """A body behind any known prefix is undecodable or an event, and an event that is encoded can be read again."""
    if not data:
        return
    reader = readers()[data[0] % len(readers())]
    prefixes = sorted(reader.prefixes)
    prefix = prefixes[data[0] // 128 % len(prefixes)]
    try:
        event = reader.decode(prefix + data[1:])
    except PoisonRecord as poison:
        assert poison.code == "undecodable"
        assert " at 0x" not in poison.reason, "an address is another on each delivery"
        return
    assert event.keys() == reader.reader.fields.keys()
    try:
        encoded = reader.reader.encode(event)
    except ValueError:
        return  # fastavro reads an int of 60 bits, and refuses to write it
    reader.decode(encoded)


def check_schema(data: bytes) -> None:
    """A text is a schema or a ValueError; with what is a schema, a body is undecodable or an event."""
    text, _, body = data.decode("utf-8", "surrogateescape").rpartition("\0")
    try:
        schema = AvroSchema.parse(text)
    except ValueError as error:
        assert str(error)
        return
    for hostile in (body.encode("utf-8", "surrogateescape"), b"", b"\x80\x80\x80\x80\x80\x20", b"\x01" * 60):
        try:
            event = AvroReader(schema).decode(schema.prefix + hostile)
        except PoisonRecord as poison:
            assert poison.code == "undecodable"
        else:
            assert event.keys() == schema.fields.keys()


def check_fold(data: bytes) -> None:
    """A Kinesis record folds to items that can be stored, or to poison that can be quarantined, on each delivery."""
    for batch_fold, counting in _folds():
        record = StreamRecord("shardId-000000000000", 2**180 + 7, "key", data, ARRIVAL_MS)
        folded = batch_fold.fold([record], _never_repeated, counting)
        again = batch_fold.fold([record], _never_repeated, counting)
        assert folded.poison == again.poison
        assert folded.items.keys() == again.items.keys()
        assert folded.kinesis_records == 1
        refused = counted(folded.poison).total()
        assert refused <= folded.user_records
        assert bool(folded.items) == (refused < folded.user_records)
        for key, contribution in folded.items.items():
            assert len(key.pk.encode()) <= DYNAMODB_PARTITION_KEY_BYTES
            assert len(key.sk.encode()) <= DYNAMODB_SORT_KEY_BYTES
            joined, repeated = contribution.joined(None), again.items[key].joined(None)
            assert joined.item is not None
            assert joined.item == repeated.item
            assert joined.onward.keys() == repeated.onward.keys()
            assert len(joined.item.body) <= DYNAMODB_ITEM_BYTES
            assert contribution.joined(joined.item).item is None, "it was applied"
        for poison in folded.poison[:20]:
            assert poison.codes.keys() <= set(POISON_CODES)
            assert poison.refused[0].first >= 0
            assert poison.refused[-1].last < poison.events
            for deflate in (False, True):
                message = encode_poison(poison, deflate=deflate)
                assert message.isascii()
                assert "\n" not in message
                assert decode_poison(message) == poison
        if folded.poison:
            assert list(decode_bulk(encode_bulk(folded.poison).body)) == folded.poison


@cache
def _agents() -> tuple[tuple[Pipeline, BatchFold, Counting, AgentDecoder], ...]:
    return tuple(
        (each, BatchFold(each, LANES), counting_of(each), AgentDecoder(each.sources.values()))
        for each in (agents_pipeline(), of_histograms())
    )


def check_agents(data: bytes) -> None:
    """A record of an agent comes to events, refusals and what is nobody's, the same each time, and none is lost."""
    for pipeline, batch_fold, counting, decoder in _agents():
        _check_agents(data, pipeline, (batch_fold, counting), decoder)


def _check_agents(
    data: bytes, pipeline: Pipeline, fold: tuple[BatchFold, Counting], decoder: AgentDecoder
) -> None:
    batch_fold, counting = fold
    for held in (data, zlib.compress(data), b"\x0a" + encode_varint(len(data)) + data):
        record = StreamRecord("shardId-000000000000", 2**180 + 7, "key", held, ARRIVAL_MS)
        folded, again = (batch_fold.fold([record], _never_repeated, counting) for _ in range(2))
        assert folded.poison == again.poison
        assert folded.items.keys() == again.items.keys()
        for poison in folded.poison:
            assert poison.codes.keys() <= set(POISON_CODES)
            assert 0 <= poison.refused[0].first <= poison.refused[-1].last < poison.events
            assert " at 0x" not in str(poison.refused), "an address is another on each delivery"
            assert decode_poison(encode_poison(poison, deflate=False)) == poison
    try:
        outcomes = decoder.decode_whole(data)
    except PoisonRecord as poison:
        assert poison.code in POISON_CODES
        return
    for each in outcomes:
        if isinstance(each, Taken):
            pipeline.sources[each.source].schema.encode(each.event)
        elif isinstance(each, Refused):
            assert each.code in POISON_CODES
            assert each.reason


def check_event(text: bytes) -> None:
    """A JSON document is no event of a Kinesis stream, or one whose records have the types they should."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return
    check_event_value(event)


def check_event_value(event: Any) -> None:
    """See check_event; *event* is what JSON gave."""
    try:
        records = decode_event(event)
    except ValueError as error:
        assert "not a Kinesis event" in str(error)
        return
    for each in records:
        found = tuple(
            type(value)
            for value in (each.shard_id, each.sequence_number, each.partition_key, each.data, each.arrival_ms)
        )
        assert found == (str, int, str, bytes, int)
        again = decode_event(encode_event([each], stream_arn=ARN))
        # The time travels as a double of seconds: exact to the ms for the years that exist.
        assert again[0].arrival_ms == each.arrival_ms or abs(each.arrival_ms) > 2**52 / 1000
        assert (again[0].data, again[0].partition_key) == (each.data, each.partition_key)


def check_toml(data: bytes) -> None:
    """A definition and the schema it names (behind a NUL) load and fold, or every problem is told."""
    text, _, schema = data.decode("utf-8", "surrogateescape").partition("\0")
    try:
        pipeline = parse_pipeline(text, Memory(schema))
    except ConfigError as error:
        assert error.problems
        assert all(error.problems)
        return
    record = StreamRecord("shardId-000000000000", 1, "k", b'{"source":"x"}', ARRIVAL_MS)
    BatchFold(pipeline, LANES).fold([record], _never_repeated, counting_of(pipeline))


def check_quarantine(text: bytes) -> None:
    """A message from a queue is poison, a reference to an object, or a ValueError; so is a line of an object."""
    try:
        found = decode_message(text)
    except ValueError as error:
        assert str(error)
        return
    if isinstance(found, Poison):
        assert decode_poison(encode_poison(found, deflate=True)).refused == found.refused


@cache
def _mappings() -> tuple[EventMapping, ...]:
    shipped, every = pipelines()
    return (
        plan_mapping(
            shipped.sources["reading"], columns=None, maps={}, constants={}, parse_time=time_parser()
        ),
        plan_mapping(
            every.sources["everything"], columns=None, maps={}, constants={}, parse_time=time_parser("s")
        ),
        plan_mapping(
            shipped.sources["click"],
            columns=COLUMNS,
            maps={"action": "status"},
            constants={},
            parse_time=time_parser(None, "%Y-%m-%dT%H:%M:%S%z"),
        ),
        plan_mapping(
            shipped.sources["reading"],
            columns=None,
            maps={"device_id": "a.b", "tags.site": "c"},
            constants={"tags.x": "y"},
            parse_time=time_parser("ms"),
        ),
    )


def check_import(data: bytes) -> None:
    """A file is refused as a whole, or each of its rows becomes an event or is told with its reason; none is lost."""
    if not data:
        return
    kind, file = data[0], data[1:]
    lines = read_lines(BytesIO(file), "file")
    mappings = _mappings()
    end_bytes = number = 0
    try:
        if kind % 3 == 0:
            table = read_csv(lines, "file", delimiter=",;\t|"[kind // 3 % 4])
            rows, sources = iter(table.rows), mappings
        elif kind % 3 == 1:
            rows, sources = read_ndjson(lines, "file"), mappings
        else:
            rows, sources = read_access_log(lines, "file"), mappings[2:3]
        for row in rows:
            number += 1
            assert row.end_bytes > end_bytes
            end_bytes = row.end_bytes
            if isinstance(row, BadRow):
                assert row.reason
            elif isinstance(row, Row):
                for at, mapping in enumerate(sources):
                    _check_row(row, mapping, kind % 3 == 2 or at == 2, at)
    except ConfigError as error:
        assert error.problems
        return
    assert end_bytes == len(file)


def _check_row(row: Row, mapping: EventMapping, clicks: bool, at: int) -> None:  # noqa: FBT001 - of two kinds
    shipped, every = pipelines()
    source = (
        shipped.sources["click"] if clicks else (shipped, every, shipped, shipped)[at].sources.get("reading")
    )
    source = source or every.sources["everything"]
    try:
        record = encoder_of(source).user_record(mapping.event(row.values))
    except ValueError as error:
        assert str(error)
        return
    event = AvroReader(source.schema, source.writers).decode(record.data)
    assert all(math.isfinite(event[each]) for each in source.scales if isinstance(event[each], float))
