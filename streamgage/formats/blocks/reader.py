"""Blocks: one user record that holds many events of one source, column by column, deflated. Layout: docs/formats.md."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from streamgage.errors import PoisonRecord
from streamgage.formats.avro import AvroReader, AvroSchema, Event, Refine
from streamgage.formats.blocks.columns import ColumnType, Values, column_types
from streamgage.formats.blocks.decimal_column import DecimalColumn
from streamgage.formats.blocks.ints import decode_unsigned, malformed
from streamgage.formats.blocks.layout import (
    DEFLATED,
    MAX_EVENTS,
    MAX_INFLATED_BYTES,
    PREFIX_BYTES,
    RAW,
    block_prefix,
)

_WIDER = {("int", "long"), ("float", "double")}  # the same number in Python
_AS_FLOAT = {("int", "float"), ("int", "double"), ("long", "float"), ("long", "double")}


class Block:
    """The events of one block, in their order: ``count`` of them.

    ``columns``: by needed field, in the reader's terms, the values of all events. A column of doubles may be a
    DecimalColumn. ``faults``: events (from 0) that are poison by themselves, as their rows would be: the reader's
    schema does not resolve them. Nearly always empty; in every column such an event has None.
    """

    __slots__ = ("_columns", "_parts", "_reader", "_types", "_writer", "columns", "count", "faults")

    def __init__(
        self,
        count: int,
        parts: list[bytes],
        *,
        types: tuple[ColumnType, ...],
        writer: AvroSchema,
        reader: AvroReader,
    ) -> None:
        self.count = count
        self.columns: dict[str, Values] = {}
        self.faults: dict[int, PoisonRecord] = {}
        self._parts = parts
        self._types = types
        self._writer = writer
        self._reader = reader
        self._columns: list[Values | None] = [None] * len(parts)

    def row(self, number: int) -> bytes:
        """Return event *number* as the Avro single object that its writer would have sent.

        For what resolves it to another schema, and for what sends it anew from the quarantine.

        Raises:
            PoisonRecord: ``undecodable``: a column that is not needed is malformed. No event of the block can be shown
                whole then.
        """
        pieces = [self._writer.prefix]
        for at, column in enumerate(self._types):
            values = self.column(at)
            if isinstance(values, DecimalColumn):
                numerator = values.values[number]
                value = None if numerator is None else numerator / 10**values.places
            else:
                value = values[number]
            pieces.append(column.wire(value))
        return b"".join(pieces)

    def event(self, number: int) -> Event:
        """Return event *number* whole, in the reader's terms. Raises: PoisonRecord, as ``row``, or a fault."""
        return self._reader.decode(self.row(number))

    def column(self, at: int) -> Values:
        """Return the writer's column *at*, decoded once. Raises: PoisonRecord ``undecodable``."""
        values = self._columns[at]
        if values is None:
            values = self._columns[at] = self._types[at].decode(self._parts[at], self.count)
        return values


@dataclass(frozen=True, slots=True)
class _Field:
    """Where a reader's field comes from: a writer's column (as floats where ``as_float``), or its default."""

    column: int | None
    as_float: bool
    default: Any


class BlockReader:
    """Decode blocks of one source: rows of any *writers* schema, resolved to the *reader* schema, as AvroReader does."""

    def __init__(
        self,
        reader: AvroSchema,
        writers: Iterable[AvroSchema] = (),
        refine: Mapping[str, Refine] | None = None,
    ) -> None:
        self.schema = reader
        writers = list(writers)
        self._rows = AvroReader(reader, writers, refine)
        self._sources = {block_prefix(each): _Source.resolved(each, reader) for each in writers}
        self._sources[block_prefix(reader)] = _Source.resolved(reader, reader)

    @property
    def prefixes(self) -> frozenset[bytes]:
        """The first ten bytes of each block that this reader can decode."""
        return frozenset(self._sources)

    def decode(self, data: bytes, fields: tuple[str, ...]) -> Block:
        """Return the block in *data* with its columns of *fields*, names of the reader's schema; no other is looked at.

        Raises:
            PoisonRecord: ``unknown_schema`` or ``undecodable``.
        """
        source = self._sources.get(data[:PREFIX_BYTES])
        if source is None:
            raise PoisonRecord("unknown_schema", f"no schema has the fingerprint {data[2:10].hex()}")
        count, body = open_block(data)
        parts = _split(body, len(source.types))
        block = Block(count, parts, types=source.types, writer=source.writer, reader=self._rows)
        plan = source.fields
        if plan is None or not all(name in plan for name in fields):
            _resolve_each(block, fields)
            return block
        for name in fields:
            field = plan[name]
            if field.column is None:
                block.columns[name] = [field.default] * count
            else:
                values = block.column(field.column)
                if field.as_float:  # of integers, so it is a list
                    values = [None if each is None else float(each) for each in cast("list[Any]", values)]
                block.columns[name] = values
        return block


@dataclass(frozen=True, slots=True)
class _Source:
    """A writer's schema seen from the reader's: ``fields`` by reader's name, None where no shortcut is safe."""

    writer: AvroSchema
    types: tuple[ColumnType, ...]
    fields: dict[str, _Field] | None

    @classmethod
    def resolved(cls, writer: AvroSchema, reader: AvroSchema) -> "_Source":
        types = column_types(writer)
        same = writer.prefix == reader.prefix
        return cls(writer, types, _own(types) if same else _shortcut(types, writer, reader))


def _own(types: tuple[ColumnType, ...]) -> dict[str, _Field]:
    return {
        each.name: _Field(at, as_float=False, default=None)
        for at, each in enumerate(types)
        if each.kind != "avro"
    }


def _shortcut(
    types: tuple[ColumnType, ...], writer: AvroSchema, reader: AvroSchema
) -> dict[str, _Field] | None:
    """Return how each field of *reader* is had from a column; None where a row of *writer* could fail to resolve."""
    if writer.name != reader.name:
        return None
    by_name = {each.name: (at, each) for at, each in enumerate(types)}
    fields = {}
    for field, wanted in zip(reader.parsed["fields"], column_types(reader), strict=True):
        at, written = by_name.get(wanted.name, (0, None))
        if "aliases" in field or (written is None and "default" not in field):
            return None
        if written is None:
            default = field["default"]
            if not (default and isinstance(default, dict | list)):  # a reader makes something of them
                fields[wanted.name] = _Field(None, as_float=False, default=default)
        elif not _is_safe(written, wanted):
            return None
        elif written.kind != "avro":
            as_float = (written.kind, wanted.kind) in _AS_FLOAT
            fields[wanted.name] = _Field(at, as_float=as_float, default=None)
    return fields


def _is_safe(written: ColumnType, wanted: ColumnType) -> bool:
    """Say whether each value of *written* resolves to *wanted*; a scalar to itself, or to its float."""
    if written.kind == "avro":
        return written == wanted
    if written.null_branch is not None and wanted.null_branch is None:
        return False
    return written.avro_type == wanted.avro_type or (written.kind, wanted.kind) in _WIDER | _AS_FLOAT


def _resolve_each(block: Block, fields: tuple[str, ...]) -> None:
    """Fill *block*'s columns through its rows: slow, and right whatever the schemas are."""
    block.row(0)  # a malformed column makes the block poison, not each event
    columns: list[list[Any]] = [[] for _ in fields]
    for number in range(block.count):
        try:
            event = block.event(number)
        except PoisonRecord as poison:
            block.faults[number] = poison
            event = dict.fromkeys(fields)
        for name, values in zip(fields, columns, strict=True):
            values.append(event[name])
    block.columns = dict(zip(fields, columns, strict=True))


def events_in(data: bytes) -> int:
    """Return how many events the block *data* says it has, unread; 1 where it does not: as poison it counts as one."""
    try:
        count, _ = decode_unsigned(data, PREFIX_BYTES + 1)
    except PoisonRecord:
        return 1
    return count if 0 < count <= MAX_EVENTS else 1


def open_block(data: bytes) -> tuple[int, bytes]:
    """Return the number of events of the block in *data*, and its body, inflated. Raises: PoisonRecord."""
    form = data[PREFIX_BYTES] if len(data) > PREFIX_BYTES else None
    count, at = decode_unsigned(data, PREFIX_BYTES + 1)
    if not 0 < count <= MAX_EVENTS:
        raise malformed(f"it has {count:,} events; a block has 1 to {MAX_EVENTS:,}")
    if form == RAW:
        body = data[at:]
    elif form == DEFLATED:
        body = _inflate(data[at:])
    else:
        raise malformed(f"no layout has the number {form}")
    if len(body) > MAX_INFLATED_BYTES:
        raise malformed(f"it inflates to more than {MAX_INFLATED_BYTES:,} bytes")
    return count, body


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        body = inflater.decompress(data, MAX_INFLATED_BYTES + 1)
    except zlib.error as error:
        raise malformed(f"it does not inflate: {error}") from error
    if len(body) <= MAX_INFLATED_BYTES and not inflater.eof:
        raise malformed("it is cut short")
    if inflater.unused_data:
        raise malformed(f"{len(inflater.unused_data):,} bytes left over")
    return body


def _split(body: bytes, columns: int) -> list[bytes]:
    """Return the columns' bytes: first stand their lengths."""
    at, lengths = 0, []
    for _ in range(columns):
        length, at = decode_unsigned(body, at)
        lengths.append(length)
    if at + sum(lengths) != len(body):
        raise malformed(f"its columns take {sum(lengths):,} bytes, {len(body) - at:,} are there")
    parts = []
    for length in lengths:
        parts.append(body[at : at + length])
        at += length
    return parts
