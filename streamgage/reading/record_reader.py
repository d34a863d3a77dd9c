"""Read Kinesis records into columns: aggregates, rows, blocks and JSON. What cannot be read is poison."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamgage.definition.pipeline import Source
from streamgage.errors import PoisonRecord
from streamgage.formats.avro import HEADER_BYTES, MARKER, AvroReader, Event
from streamgage.formats.blocks.decimal_column import Columns
from streamgage.formats.blocks.layout import MARKER as BLOCK_MARKER
from streamgage.formats.blocks.layout import MAX_RECORD_EVENTS
from streamgage.formats.blocks.reader import Block, BlockReader, events_in
from streamgage.formats.kpl import MAGIC, decode_aggregate, is_aggregated, walk_aggregate
from streamgage.formats.mark import Mark, decode_mark
from streamgage.reading.places import Places
from streamgage.reading.poison import Held, Poison, Refused, refusals, refused_whole
from streamgage.reading.rows import MAX_PLAIN_BYTES, RowReader
from streamgage.records import StreamRecord

if TYPE_CHECKING:
    from streamgage.reading.agent_records import AgentRecords

_BUCKETS_OF_AN_EVENT = 25  # as many take the 300 bytes of an event
_OURS = (MARKER, BLOCK_MARKER, MAGIC)  # no agent begins so
_SOURCE = b'"source"'
_NOTHING: Final[tuple[None, dict[str, Any]]] = (None, {})
_OF_AGENTS = frozenset({"resourceMetrics", "specversion"})  # OTLP and CloudEvents, whatever their source is
_LEFT = 8  # plain records that are read one by one behind one that is left: the next may be like it


class SourceReader:
    """Reads the events of one source, and keeps where each stands. What it read stays until ``drain``."""

    def __init__(self, source: Source, fields: tuple[str, ...]) -> None:
        self.source = source
        self.rows = RowReader(source, fields)
        self._fields = fields
        self._held_buckets = 0
        refine = {name: self._point for name in fields if name in source.histograms} or None
        self.events = AvroReader(source.schema, source.writers, refine)
        self._blocks = BlockReader(source.schema, source.writers, refine)
        self._places = Places()

    @property
    def weight(self) -> int:
        """How many events, by the memory that they take, were read: one with a histogram of many buckets is several."""
        return self.rows.count + self._held_buckets // _BUCKETS_OF_AN_EVENT

    def _point(self, value: Any) -> Any:
        from streamgage.measures.histogram_points import point_of  # noqa: PLC0415 - by who has histograms

        point = point_of(value)
        self._held_buckets += len(point.places) + _BUCKETS_OF_AN_EVENT
        return point

    @property
    def block_prefixes(self) -> frozenset[bytes]:
        """The first ten bytes of each block of this source."""
        return self._blocks.prefixes

    def decode_block(self, data: bytes) -> Block:
        """Return the block in *data*. Raises: PoisonRecord."""
        return self._blocks.decode(data, self._fields)

    def stand(self, record: StreamRecord, lane: int, sub_sequence_number: int, ordinal: int) -> None:
        """Take note that the events from *ordinal* on stand in *record* from *sub_sequence_number* on."""
        if not self._places.goes_on(ordinal, sub_sequence_number, record):
            self._places.begin(ordinal, sub_sequence_number, record, lane)

    def stand_each(self, records: Sequence[StreamRecord], lanes: Sequence[int], ordinal: int) -> None:
        """Take note that the events from *ordinal* on stand in *records*, one in each."""
        self._places.begin_each(ordinal, records, lanes)

    def forget(self, record: StreamRecord) -> None:
        """Forget what was read of *record*, the last one."""
        while self._places.records and self._places.records[-1] is record:
            self.rows.truncate(self._places.forget_last())

    def drain(self) -> tuple[Columns, Places]:
        """Return the columns of all events that were read and where they stand, and begin anew."""
        columns, places, self._held_buckets = self.rows.drain(), self._places, 0
        places.count = columns.count
        self._places = Places()
        return columns, places


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in one Kinesis record: its mark, the number of its events, and those of them that are poison."""

    mark: Mark | None
    events: int
    poison: list[Poison]


class LargeRecord(Exception):
    """A Kinesis record says that it holds more events than may be unpacked at once. Nothing of it was kept."""


class _TooManyEvents(Exception):
    """The blocks of a Kinesis record say that they hold more events than those of any may."""


class _Bad(NamedTuple):
    """A user record of which something is poison, before its partition key is known."""

    sub_sequence_number: int
    partition_key_index: int
    data: bytes
    events: int
    refused: tuple[Refused, ...]


class RecordReader:
    """Reads Kinesis records, one at a time, into the columns of each source."""

    def __init__(self, sources: Mapping[str, SourceReader], passed_over: Iterable[Source] = ()) -> None:
        passed_over = list(passed_over)
        own = [each.source for each in sources.values()]
        self._names_agents = any(each.agents for each in (*own, *passed_over))
        self._agents: AgentRecords | None = None  # until one of them wrote a record
        self._parsed: tuple[bytes | None, dict[str, Any]] = _NOTHING
        self._passed_over = passed_over
        self._by_name = sources
        self._passed_names = {each.name for each in passed_over}
        self._passed = {prefix for each in passed_over for prefix in each.prefixes}
        self._passed_blocks = {
            prefix for each in passed_over for prefix in BlockReader(each.schema, each.writers).prefixes
        }
        self._by_prefix = {prefix: each for each in sources.values() for prefix in each.source.prefixes}
        self._by_block = {prefix: each for each in sources.values() for prefix in each.block_prefixes}
        self._source = next(iter(sources.values()))  # whose the last row was: the next is mostly its too
        self._record: StreamRecord
        self._lane = 0
        self._events = 0
        self._parts = 0  # of them no events of their own
        self._claimed = 0
        self._bad: list[_Bad] = []
        self._most_events: int | None = None
        self._after_block: Callable[[], None] | None = None
        self._held: tuple[StreamRecord, list[Held]] | None = None

    def read(
        self,
        record: StreamRecord,
        lane: int,
        *,
        most_events: int | None = None,
        after_block: Callable[[], None] | None = None,
    ) -> Reading:
        """Read *record*, of lane number *lane*. *after_block* may take out what was read, behind each of its blocks.

        Raises:
            PoisonRecord: its framing is broken, or it says that it holds more than any may; nothing of it was kept.
            LargeRecord: it may hold more than *most_events*; nothing of it was kept.
        """
        self._record, self._lane, self._events, self._claimed, self._bad = record, lane, 0, 0, []
        self._most_events, self._after_block = most_events, after_block
        if self._agents is not None:
            self._agents.begin()
        self._parts = 0
        mark, partition_keys = None, None
        if is_aggregated(record.data):
            for each in self._by_name.values():
                each.rows.begin()
            try:
                partition_keys, tags = walk_aggregate(record.data, self)
            except (PoisonRecord, LargeRecord):
                self.forget(record)
                raise
            except _TooManyEvents:
                self.forget(record)
                self.survey(record)  # tells how many
                raise
            mark = decode_mark(tags)
        else:
            self.visit(record.data, 0)
        poison = [
            Poison(
                record.shard_id,
                record.sequence_number,
                bad.sub_sequence_number,
                record.partition_key
                if partition_keys is None
                else partition_keys[bad.partition_key_index].decode(),
                record.arrival_ms,
                bad.data,
                bad.events,
                bad.refused,
            )
            for bad in self._bad
        ]
        return Reading(mark, self._events - self._parts, poison)

    def plain_rows(self, records: Sequence[StreamRecord], start: int, most: int) -> int:
        """Return how many of *records* from *start* on, at most *most*, are plain, and say they are rows of one source."""
        source = self._by_prefix.get(records[start].data[:HEADER_BYTES])
        if source is None:
            return 0
        count = 0
        for record in records[start : start + most]:
            data = record.data
            if len(data) >= MAX_PLAIN_BYTES or self._by_prefix.get(data[:HEADER_BYTES]) is not source:
                break
            count += 1
        return count

    def read_rows(self, records: Sequence[StreamRecord], lanes: Sequence[int]) -> Iterator[Reading]:
        """Read *records*, of which ``plain_rows`` said so, with the outcome of ``read`` for each; yield what was found."""
        source = self._by_prefix[records[0].data[:HEADER_BYTES]]
        datas, at = [record.data for record in records], 0
        while at < len(records):
            count = source.rows.count
            taken = source.rows.take_plain(datas[at:] if at else datas)
            if taken:
                source.stand_each(records[at : at + taken], lanes[at : at + taken], count)
                yield Reading(None, taken, [])
                at += taken
            for each in range(at, min(at + _LEFT, len(records))):
                yield self.read(records[each], lanes[each])
            at += _LEFT

    def survey(self, record: StreamRecord) -> tuple[Mark | None, int]:
        """Return the mark of *record*, and how many events it says it holds; nothing is unpacked.

        Raises:
            PoisonRecord: its framing is broken, or they are more than any may hold.
        """
        survey = _Survey(self._by_block.keys() | self._passed_blocks, self._agent_events)
        if self._agents is not None:
            self._agents.begin()
        if not is_aggregated(record.data):
            survey.visit(record.data, 0)
            return None, survey.events
        _, tags = walk_aggregate(record.data, survey)
        if survey.claimed > MAX_RECORD_EVENTS:
            raise PoisonRecord(
                "undecodable",
                f"its blocks say that they hold {survey.claimed:,} events; those of a Kinesis record hold {MAX_RECORD_EVENTS:,} at most",
            )
        return decode_mark(tags), survey.events

    def forget(self, record: StreamRecord) -> None:
        """Forget what was read of *record*, the last one: it is poison, or a repeat."""
        for each in self._by_name.values():
            each.forget(record)

    # What walk_aggregate asks of its reader.

    @property
    def max_index(self) -> int:
        """The largest partition key index of the rows that were taken."""
        return max(each.rows.max_index for each in self._by_name.values())

    def take(self, data: bytes, position: int, stop: int) -> int:
        """Read consecutive rows of the source that was met last."""
        rows = self._source.rows
        count = rows.count
        reached = rows.take(data, position, stop)
        if reached > position:
            self._source.stand(self._record, self._lane, self._events, count)
            self._events += rows.count - count
        return reached

    def visit(self, data: bytes, partition_key_index: int) -> None:
        """Read one user record, or put it with what is bad."""
        try:
            block_source = self._by_block.get(data[:HEADER_BYTES])
            if block_source is not None:
                self._add_block(block_source, data, partition_key_index)
            elif self._is_of_agent(data):
                self._add_agent_record(data, partition_key_index)
            else:
                self._add_event(data)
        except PoisonRecord as poison:
            self._bad.append(_Bad(self._events, partition_key_index, data, 1, refused_whole(poison)))
            self._events += 1

    def _add_event(self, data: bytes) -> None:
        source = self._by_prefix.get(data[:HEADER_BYTES])
        if source is not None:
            self._source, rows = source, source.rows
            if not rows.take_one(data):
                rows.add(source.events.decode(data))
        elif passed := self._passed_events(data):
            self._events += self._claim(passed) if data[:HEADER_BYTES] in self._passed_blocks else passed
            return
        else:
            decoded = self._decode_json(data)
            if decoded is None:
                self._events += 1
                return
            source, event = decoded
            source.rows.add(event)
        source.stand(self._record, self._lane, self._events, source.rows.count - 1)
        self._events += 1

    def _is_of_agent(self, data: bytes) -> bool:
        """Tell whether some agent wrote *data*, and none of our producers."""
        if not self._names_agents or data.startswith(_OURS) or self._is_own_json(data):
            return False
        return self._readers_of_agents().takes(data)

    def _is_own_json(self, data: bytes) -> bool:
        """Tell whether *data* is one event that names its source. Agents' readers read it as the same; but they take loading."""
        if data[:1] != b"{" or _SOURCE not in data:
            return False
        from streamgage.formats.json_event import parse_json_object  # noqa: PLC0415 - see _decode_json

        try:
            values = parse_json_object(data)
        except PoisonRecord:
            return False
        name = values.get("source")
        is_named = isinstance(name, str) and (name in self._by_name or name in self._passed_names)
        self._parsed = data, values  # parsed once: _decode_json is next
        return is_named and _OF_AGENTS.isdisjoint(values)

    def _readers_of_agents(self) -> "AgentRecords":
        """Return what reads the records of agents; loaded at the first one, for a cold start without it is shorter."""
        if self._agents is None:
            from streamgage.reading.agent_records import AgentRecords  # noqa: PLC0415 - see above

            sources = {name: (each.source, each.events) for name, each in self._by_name.items()}
            self._agents = AgentRecords(sources, self._passed_over)
        return self._agents

    def _add_agent_record(self, data: bytes, partition_key_index: int) -> None:
        events, faults, parts = self._readers_of_agents().read(data)
        self._parts += parts
        for name, event in events:
            if name:
                source = self._by_name[name]
                source.stand(self._record, self._lane, self._events, source.rows.count)
                source.rows.add(event)
            self._events += 1
        if faults:
            first = self._events - len(events)
            self._bad.append(_Bad(first, partition_key_index, data, len(events), refusals(faults)))

    def _agent_events(self, data: bytes) -> int:
        """Return how many events stand in the user record *data*, which is no block."""
        return self._readers_of_agents().count(data) if self._is_of_agent(data) else 1

    def _claim(self, events: int) -> int:
        """Count what a block says it holds, before it is unpacked."""
        self._claimed += events
        if self._claimed > MAX_RECORD_EVENTS:
            raise _TooManyEvents
        return events

    def _add_block(self, source: SourceReader, data: bytes, partition_key_index: int) -> None:
        claimed = self._claim(events_in(data))
        if self._most_events is not None and self._events + claimed > self._most_events:
            raise LargeRecord
        self._unpack(source, data, partition_key_index)
        if self._after_block is not None:
            self._after_block()

    def _unpack(self, source: SourceReader, data: bytes, partition_key_index: int) -> None:
        block, rows = source.decode_block(data), source.rows
        if not block.faults:
            source.stand(self._record, self._lane, self._events, rows.count)
            rows.add_columns(block.columns, block.count)
            self._events += block.count
            return
        faults = refusals(sorted(block.faults.items()))
        self._bad.append(_Bad(self._events, partition_key_index, data, block.count, faults))
        for number in range(block.count):
            if number not in block.faults:
                source.stand(self._record, self._lane, self._events, rows.count)
                rows.add(block.event(number))
            self._events += 1

    def _passed_events(self, data: bytes) -> int:
        """Return how many events of a source that is passed over stand in *data*; 0: it is none of these."""
        prefix = data[:HEADER_BYTES]
        if prefix in self._passed:
            return 1
        return events_in(data) if prefix in self._passed_blocks else 0

    def _decode_json(self, data: bytes) -> tuple[SourceReader, Event] | None:
        """Return the event in *data* and its source; None where that is passed over. Raises: PoisonRecord."""
        if data[:1] != b"{":
            if data[:2] in (MARKER, BLOCK_MARKER):
                raise PoisonRecord("unknown_schema", f"no schema has the Avro fingerprint {data[2:10].hex()}")
            raise PoisonRecord(
                "unknown_format",
                f"begins with {data[:4].hex() or 'nothing'}: neither Avro single-object nor JSON",
            )
        # Few streams hold JSON: a cold start without it is shorter.
        from streamgage.formats.json_event import json_events_of, parse_json_object  # noqa: PLC0415 - see above

        (parsed, values), self._parsed = self._parsed, _NOTHING
        if parsed is not data:
            values = parse_json_object(data)
        name = values.pop("source", None)
        source = self._by_name.get(name) if isinstance(name, str) else None
        if source is None and isinstance(name, str) and name in self._passed_names:
            return None
        if source is None:
            raise PoisonRecord(
                "unknown_schema", f'"source" is {name!r}; it must be one of: {", ".join(self._by_name)}'
            )
        of = source.source
        event = json_events_of(of.schema, of.event_time, of.time_unit).event(values)
        try:
            return source, source.events.decode(of.schema.encode(event))
        except ValueError as error:
            raise PoisonRecord("undecodable", str(error)) from error

    def held(self, record: StreamRecord) -> list[Held]:
        """Return the user records of *record*, which was read before, as they are. For the quarantine."""
        if self._held is None or self._held[0] is not record:  # asked once a slice of it
            self._held = record, list(self._find_held(record))
        return self._held[1]

    def _find_held(self, record: StreamRecord) -> Iterator[Held]:
        users: Iterable[tuple[bytes, str]] = [(record.data, record.partition_key)]
        if is_aggregated(record.data):
            aggregate = decode_aggregate(record.data)
            users = [(each.data, each.partition_key) for each in aggregate.user_records()]
        sub_sequence_number = 0
        if self._agents is not None:
            self._agents.begin()
        for data, partition_key in users:
            if passed := self._passed_events(data):
                sub_sequence_number += passed  # nobody refused any of them
                continue
            source = self._by_block.get(data[:HEADER_BYTES])
            events = self._agent_events(data) if source is None else 1
            if source is not None:
                with suppress(PoisonRecord):  # it stands in the quarantine already, as one user record
                    events = source.decode_block(data).count
            yield Held(sub_sequence_number, data, partition_key, events)
            sub_sequence_number += events


class _Survey:
    """Counts the events that user records say they hold, and unpacks none."""

    max_index = -1  # take reads nothing

    def __init__(self, block_prefixes: Collection[bytes], events_of: Callable[[bytes], int]) -> None:
        self._block_prefixes, self._events_of = block_prefixes, events_of
        self.events = self.claimed = 0  # claimed: by blocks

    def take(self, _data: bytes, position: int, _stop: int) -> int:
        return position

    def visit(self, data: bytes, _partition_key_index: int) -> None:
        if data[:HEADER_BYTES] in self._block_prefixes:
            self.claimed += events_in(data)
            self.events += events_in(data)
        else:
            self.events += self._events_of(data)
