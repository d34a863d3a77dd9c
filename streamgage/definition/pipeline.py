"""The pipeline definition: what is sent, and what analysts get. ``pipeline.toml`` is its one source."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from streamgage.durations import parse_duration
from streamgage.formats.avro import AvroReader, AvroSchema, Event
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.limits import KINESIS_PARTITION_KEY_CHARS
from streamgage.measures.monoids import FieldLayout, StateLayout
from streamgage.measures.windows import MAX_EVENT_TIME_MS, TumblingWindows
from streamgage.records import UserRecord

if TYPE_CHECKING:
    from streamgage.formats.json_event import JsonEvents, TimeUnit

# The types of Avro that a key, an event time or a measure may have.
KEY_TYPES = frozenset({"string", "int", "long", "boolean", "enum"})
TIME_TYPES = frozenset({"long"})
INTEGER_TYPES = frozenset({"int", "long"})
NUMBER_TYPES = INTEGER_TYPES | {"float", "double"}
DEFAULT_SCALE = 9  # decimal places kept of a float; an integer has none


@dataclass(frozen=True)
class Source:
    """One kind of event: its schemas, and which of its fields say when and by whom.

    ``max_future_ms`` and ``max_lateness_ms`` bound event time against arrival time; None is no bound. ``scales`` holds
    the decimal places of each numeric field. ``blocks``: our producers send its events in blocks, many a user record.
    ``time_unit`` is that of event times which are numbers in JSON and in files; in Avro they are ms.
    """

    name: str
    schema: AvroSchema
    writers: tuple[AvroSchema, ...]
    partition_key: str
    event_time: str
    max_future_ms: int | None
    max_lateness_ms: int | None
    scales: dict[str, int]
    blocks: bool = False
    time_unit: "TimeUnit | None" = None

    @cached_property
    def _floats(self) -> tuple[str, ...]:
        """The measurable fields that can hold a float."""
        return tuple(
            name for name in self.scales if branches(self.schema.fields[name]) - {"null"} - INTEGER_TYPES
        )

    @cached_property
    def blocks_codec(self) -> BlockCodec:
        """The encoder of this source's blocks."""
        return BlockCodec(self.schema)

    @cached_property
    def reader(self) -> AvroReader:
        """The decoder of this source's user records."""
        return AvroReader(self.schema, self.writers)

    @cached_property
    def json_events(self) -> "JsonEvents":
        """What JSON events of this source may look like."""
        from streamgage.formats.json_event import JsonEvents  # noqa: PLC0415 - few streams hold JSON: a cold start saved

        return JsonEvents(self.schema, self.event_time, self.time_unit)

    def user_record(self, event: Event) -> UserRecord:
        """Return *event* as it is sent by itself: Avro, under its partition key.

        Raises:
            ValueError: it would be quarantined on arrival: it does not fit the schema, or a value is not finite.
        """
        data = self.schema.encode(event, fits=self.blocks_codec.fits(event))
        return UserRecord(self.key_of(event), data)

    def key_of(self, event: Event) -> str:
        """Return the partition key of *event*, whose types are checked by whoever encodes it.

        Raises:
            ValueError: it would be quarantined on arrival: a value is not finite, its time or its key out of range.
        """
        for name in self._floats:
            value = event.get(name)
            if isinstance(value, float) and value - value != 0:
                raise ValueError(f"{name} is {value!r}, which is not a finite number")
        try:
            event_time_ms, key = event[self.event_time], event[self.partition_key]
            if type(key) is not str:
                key = str(key)
            in_range = 0 <= event_time_ms < MAX_EVENT_TIME_MS
        except (KeyError, TypeError) as error:
            self.schema.encode(event)  # says which field, where that is what is wrong
            raise ValueError(f"no event time or partition key: {error!r}") from error
        if not in_range:
            raise ValueError(f"{self.event_time} is {event_time_ms}, not ms since 1970 before the year 10000")
        if not 0 < len(key) <= KINESIS_PARTITION_KEY_CHARS:
            raise ValueError(
                f"{self.partition_key} is {len(key)} characters; a partition key has 1 to {KINESIS_PARTITION_KEY_CHARS}"
            )
        return key


@dataclass(frozen=True)
class Rollup:
    """One table of aggregates: per key and window, the measures of some fields.

    ``keep_ms`` counts from the last write to an item. A changed ``generation`` starts the rollup afresh, beside the old.
    """

    name: str
    source: str
    key: tuple[str, ...]
    windows: tuple[TumblingWindows, ...]
    keep_ms: int
    generation: int
    measures: dict[str, tuple[str, ...]]
    layout: StateLayout

    def window_named(self, label: str) -> TumblingWindows | None:
        """Return the windows of this rollup that *label* (``"1h"``, ``"60m"``) names."""
        try:
            size_ms = parse_duration(label)
        except ValueError:
            return None
        return next((each for each in self.windows if each.size_ms == size_ms), None)


@dataclass(frozen=True)
class Pipeline:
    """The whole definition, valid: names are unique, fields exist and have fitting types.

    ``deploy`` holds parameters of the template by name, as text; the template judges the names.
    """

    sources: dict[str, Source]
    rollups: dict[str, Rollup]
    deploy: dict[str, str] = field(default_factory=dict)

    def rollups_of(self, source: str) -> Iterator[Rollup]:
        """Yield the rollups that read *source*."""
        return (each for each in self.rollups.values() if each.source == source)


def branches(avro_type: Any) -> set[str]:
    """Return the names of the types that a field of *avro_type* may hold."""
    if isinstance(avro_type, list):
        return {name for each in avro_type for name in branches(each)}
    if isinstance(avro_type, dict):
        return branches(avro_type["type"])
    return {str(avro_type)}


def default_scale(avro_type: Any) -> int:
    """Return the decimal places of a numeric field where the definition names none."""
    return 0 if branches(avro_type) - {"null"} <= INTEGER_TYPES else DEFAULT_SCALE


def layout_of(measures: dict[str, tuple[str, ...]], scales: dict[str, int]) -> StateLayout:
    """Return the layout of a rollup's state: its measured fields by name."""
    return StateLayout(tuple(FieldLayout.of(name, scales[name], measures[name]) for name in sorted(measures)))
