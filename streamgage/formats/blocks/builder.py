"""What a producer makes blocks with: events are checked one by one as they come, and encoded column by column."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from streamgage.errors import PoisonRecord
from streamgage.formats.avro import HEADER_BYTES, AvroReader, AvroSchema, Event
from streamgage.formats.blocks.check import EXACT_TYPES, RANGES, compile_check, values_by_column
from streamgage.formats.blocks.columns import ColumnType, column_types
from streamgage.formats.blocks.ints import MAX_INTS_HEAD_BYTES, deflate
from streamgage.formats.blocks.layout import (
    DEFLATED,
    MAX_EVENTS,
    PREFIX_BYTES,
    RAW,
    block_prefix,
)
from streamgage.formats.blocks.row import compile_row
from streamgage.formats.varint import encode_varint
from streamgage.limits import KINESIS_RECORD_BYTES, MIB

# Half of what a block may hold: whatever its last event was, a block that was not full before is within its limits.
_FULL_BYTES = 8 * MIB
_ANY_BYTES = 1 << 62
_HEAD_BYTES = PREFIX_BYTES + 1 + 3  # marker and fingerprint, layout, number of events
# Upper bounds of what a value takes before deflate, and of what stands before a column's values.
_VALUE_BYTES = {"boolean": 1, "int": 4, "long": 8, "float": 8, "double": 8, "string": 4, "enum": 4, "avro": 4}
_COLUMN_BYTES = 4 + 2 * MAX_INTS_HEAD_BYTES + 12


class BlockCodec:
    """Encode events of one row schema in blocks. Made once a schema; holds nothing of the events."""

    def __init__(self, schema: AvroSchema) -> None:
        self.schema = schema
        self.prefix = block_prefix(schema)
        self.columns = column_types(schema)
        self._reader = AvroReader(schema)
        self._alone = {each.name: alone(schema, each) for each in self.columns if each.kind == "avro"}
        self._defaults = _defaults(schema, self.columns)
        self._names = frozenset(each.name for each in self.columns)
        self._read = compile_check(self.columns, self._defaults)
        self._write_row = compile_row(self.columns, schema.prefix)

    def encode(self, events: Iterable[Event]) -> bytes:
        """Return a block of *events*, 1 to 65,536, which come back as their rows would, in their order.

        Raises:
            ValueError: an event does not fit; the message names it (from 0) and the field. Or there are none, or more
                than a block holds.
        """
        builder = BlockBuilder(self)
        for at, event in enumerate(events):
            try:
                builder.add(event)
            except ValueError as error:
                raise ValueError(f"event {at}: {error}") from error
        return builder.build()

    def prepare(self, event: Event) -> tuple[Any, ...]:
        """Return the values of *event* by column, of exact types and in range, Avro values encoded.

        Raises:
            ValueError: it does not fit the schema; the message names the field.
        """
        return self._read(event) or self._fitting(event) or self._as_row(event)

    def prepare_all(
        self, events: Sequence[Event], ranges: Mapping[str, tuple[int, int]]
    ) -> list[list[Any]] | None:
        """Return by column what ``prepare`` gives of each of *events*, at least one; None: only one by one it can tell.

        *ranges* are of integers, by field, and no wider than the field's own.
        """
        return values_by_column(self.columns, self._defaults, ranges, events)

    def requires(self, name: str) -> bool:
        """Tell whether there is no event without the field *name*."""
        return name not in self._defaults

    def row(self, event: Event) -> bytes:
        """Return *event* as a row, an Avro single object: in half of the time where it plainly fits.

        Raises:
            ValueError: it does not fit the schema; the message names the field.
        """
        values = self._read(event)
        if values is not None:
            try:
                return self._write_row(values)
            except (ValueError, OverflowError):
                pass  # the row encoder says why
        return self.schema.encode(event)

    def _fitting(self, event: Event) -> tuple[Any, ...] | None:
        """Return what ``prepare`` does, or None where that takes the row encoder to tell."""
        if type(event) is not dict or not self._names.issuperset(event):
            return None
        given = {**self._defaults, **event}
        try:
            return tuple([self._fit(column, given[column.name]) for column in self.columns])
        except (KeyError, ValueError, OverflowError):
            return None

    def _as_row(self, event: Event) -> tuple[Any, ...]:
        """Leave it to the row encoder to refuse *event*, with a reason, or to say what is made of it."""
        row = self.schema.encode(event)
        try:
            plain = self._reader.decode(row)
            # An Avro value from the event itself: there the branch of a union may be named.
            given = {**plain, **{name: event[name] for name in self._alone if event.get(name) is not None}}
            values = tuple([self._fit(column, given[column.name]) for column in self.columns])
        except (ValueError, OverflowError, PoisonRecord) as error:
            raise ValueError(f"the event fits schema {self.schema.name} only as a row: {error}") from error
        pieces = [column.wire(value) for column, value in zip(self.columns, values, strict=True)]
        if self.schema.prefix + b"".join(pieces) != row:
            raise ValueError(f"the event fits schema {self.schema.name} only as a row")
        return values

    def _fit(self, column: ColumnType, value: Any) -> Any:
        """Return *value* as ``prepare`` does. Raises: ValueError, OverflowError: the row encoder is to say what it is."""
        if value is None and column.null_branch is not None:
            return None
        if column.kind == "avro":
            if (
                column.null_branch is not None and type(value) is tuple
            ):  # to fastavro, a union's branch by name
                raise ValueError(f"{column.name} is {value!r:.80}")
            return self._alone[column.name].encode({column.name: value})[HEADER_BYTES:]
        found = type(value)
        if found is int and column.kind in ("float", "double"):
            return float(value)
        if found is EXACT_TYPES[column.kind] and (
            (found is float or found is bool)
            or (found is int and RANGES[column.kind][0] <= value <= RANGES[column.kind][1])
            or (found is str and (column.kind == "string" or value in column.symbols))
        ):
            return value
        raise ValueError(f"{column.name} is {value!r:.80}")


@dataclass(frozen=True, slots=True)
class Room:
    """What a block can surely take of a run of events: the first ``fits`` of them, in no more than ``grown_bytes``.

    ``fresh`` are the texts of the whole run that are new to the block, by column of texts or Avro values.
    """

    fits: int
    grown_bytes: int
    fresh: tuple[set[Any], ...]
    most_events: int


class BlockBuilder:
    """A block as it grows. Adding an event is O(1); what it takes deflated is known when it is built."""

    def __init__(self, codec: BlockCodec) -> None:
        self._codec = codec
        self._count = 0
        self._values: list[
            Any
        ] = []  # event after event: no object an event, which the garbage collector would visit
        self._runs: list[list[list[Any]]] = []  # what came before _values, by run and column
        # By column of texts or Avro values, those that were there: each is stored once.
        self._known: list[tuple[int, set[Any]]] = [
            (at, {None}) for at, each in enumerate(codec.columns) if each.kind in ("string", "avro")
        ]
        self._event_bytes = sum(map(_most_bytes, codec.columns))
        self._inflated_bytes = _COLUMN_BYTES * len(codec.columns)
        self._most_events = MAX_EVENTS

    @property
    def count(self) -> int:
        """The number of events."""
        return self._count

    @property
    def estimated_bytes(self) -> int:
        """An upper bound of the length of ``build()``, which is often a fifth of it."""
        return _HEAD_BYTES + self._inflated_bytes

    def add(self, event: Event) -> None:
        """Add *event* behind the others. What becomes of the dict afterwards does not matter.

        Raises:
            ValueError: it does not fit the schema (the message names the field), takes more than 1 MiB, or the block
                was full, whatever the limit. The builder is as it was.
        """
        if not self.add_within(event, _ANY_BYTES):
            raise ValueError(f"the block is full: {self._count:,} events, {self._inflated_bytes:,} bytes")

    def add_within(self, event: Event, limit_bytes: int) -> int:
        """Add *event* and return by how much ``estimated_bytes`` grew, or return 0: the block is full.

        It is where it holds all it may, or where it holds something and could be longer than *limit_bytes* then.

        Raises:
            ValueError: it does not fit the schema (the message names the field), or takes more than 1 MiB.
        """
        if self._count >= self._most_events or self._inflated_bytes >= _FULL_BYTES:
            return 0
        values = self._codec.prepare(event)
        grown = self._event_bytes
        for at, known in self._known:
            if values[at] not in known:
                grown = self._learn(values, event, limit_bytes)
                break
        else:
            if self._count and self._inflated_bytes + grown + _HEAD_BYTES > limit_bytes:
                return 0
        if grown:
            self._inflated_bytes += grown
            self._values += values
            self._count += 1
        return grown

    def _learn(self, values: tuple[Any, ...], event: Event, limit_bytes: int) -> int:
        """Note the texts and Avro values that are new, and return what the event takes; 0: too much for the limit."""
        fresh, grown, longest = [], 0, 1
        for at, known in self._known:
            value = values[at]
            if value is not None and value not in known:
                fresh.append((known, value))
                try:
                    size = len(value if type(value) is bytes else value.encode()) + 1
                except UnicodeEncodeError:
                    self._codec.schema.encode(event)  # says which field
                    raise
                grown += size
                longest = max(longest, size)
        if grown > KINESIS_RECORD_BYTES:
            raise ValueError(
                f"the event takes {grown:,} bytes; a Kinesis record holds {KINESIS_RECORD_BYTES:,}"
            )
        grown += self._event_bytes
        if self._count and self._inflated_bytes + grown + _HEAD_BYTES > limit_bytes:
            return 0
        for known, value in fresh:
            known.add(value)
        self._most_events = min(self._most_events, _FULL_BYTES // longest)
        return grown

    @property
    def event_bytes(self) -> int:
        """By how much ``estimated_bytes`` grows with an event, new texts aside."""
        return self._event_bytes

    def room_for(self, columns: Sequence[Sequence[Any]], limit_bytes: int) -> Room:
        """Return how many of a run of events ``add_within`` would surely add: perhaps too few, never too many.

        *columns* are as ``BlockCodec.prepare_all`` gives them.
        """
        count, fresh, text_bytes, longest = len(columns[0]), [], 0, 1
        for at, known in self._known:
            new = set(columns[at]) - known
            fresh.append(new)
            if new:
                try:  # of Avro values a run has none
                    sizes = [len(each.encode()) + 1 for each in new]
                except UnicodeEncodeError:
                    return Room(0, 0, (), 0)
                text_bytes += sum(sizes)
                longest = max(longest, *sizes)
        if text_bytes > KINESIS_RECORD_BYTES:
            return Room(0, 0, (), 0)
        most = min(self._most_events, _FULL_BYTES // longest)
        left = min(limit_bytes - _HEAD_BYTES, _FULL_BYTES) - self._inflated_bytes - text_bytes
        fits = max(0, min(count, most - self._count, left // self._event_bytes))
        return Room(fits, text_bytes + fits * self._event_bytes, tuple(fresh), most)

    def add_all(self, columns: list[list[Any]], room: Room) -> None:
        """Add a run of events of which ``room_for`` said that all fit."""
        if self._values:
            width = len(columns)
            run = [self._values[at::width] for at in range(width)]
            self._runs, self._values = (
                [*self._runs, run],
                [],
            )  # at once: no interrupt finds it in both, or in none
        for (_, known), new in zip(self._known, room.fresh, strict=True):
            known.update(new)
        self._most_events = room.most_events
        self._inflated_bytes += room.grown_bytes
        self._runs.append(columns)
        self._count += room.fits

    def take_back(self, columns: list[list[Any]]) -> None:
        """Forget the run that ``add_all`` was given, whether or not it was added; call ``mend`` then."""
        self._runs = [run for run in self._runs if run is not columns]

    def mend(self) -> None:
        """Take in what an interrupt left half added: an event whose values are all there counts."""
        runs = sum(len(run[0]) for run in self._runs)
        self._count = runs + len(self._values) // len(self._codec.columns)

    def build(self) -> bytes:
        """Return the data of a user record that holds all events added so far; more may follow.

        Raises:
            ValueError: there are none.
        """
        if not self._count:
            raise ValueError("a block holds at least one event")
        types = self._codec.columns
        columns = [each.encode(self._column(at, len(types))) for at, each in enumerate(types)]
        body = b"".join([*(encode_varint(len(each)) for each in columns), *columns])
        deflated = deflate(body)
        layout, body = (DEFLATED, deflated) if len(deflated) < len(body) else (RAW, body)
        return b"".join((self._codec.prefix, bytes((layout,)), encode_varint(self._count), body))

    def _column(self, at: int, width: int) -> list[Any]:
        last = self._values[at::width]
        return [*chain.from_iterable(run[at] for run in self._runs), *last] if self._runs else last


def _most_bytes(column: ColumnType) -> int:
    return _VALUE_BYTES[column.kind] + (column.null_branch is not None)


def _defaults(schema: AvroSchema, columns: Iterable[ColumnType]) -> dict[str, Any]:
    """Return what is in the row of an event that lacks a field, by field; none that the row encoder refuses."""
    defaults = {}
    for column, each in zip(columns, schema.parsed["fields"], strict=True):
        if "default" in each:
            only = alone(schema, column, {"default": each["default"]})
            with suppress(ValueError, PoisonRecord):
                defaults[column.name] = AvroReader(only).decode(only.encode({}))[column.name]
    return defaults


def alone(schema: AvroSchema, column: ColumnType, extra: dict[str, Any] | None = None) -> AvroSchema:
    """Return the schema of a record of *column*'s field only: it encodes as the field does, null aside."""
    avro_type = column.avro_type
    if column.null_branch is not None and extra:
        avro_type = ["null", avro_type] if column.null_branch == 0 else [avro_type, "null"]
    field = {"name": column.name, "type": avro_type, **(extra or {})}
    return AvroSchema.parse(json.dumps({"type": "record", "name": schema.name, "fields": [field]}))
