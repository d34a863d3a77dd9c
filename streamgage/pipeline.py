"""The pipeline definition: what is sent, and what analysts get. ``pipeline.toml`` is its one source."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from streamgage.avro import AvroReader, AvroSchema, Event
from streamgage.durations import parse_duration
from streamgage.limits import KINESIS_PARTITION_KEY_CHARS
from streamgage.measures import FieldLayout, StateLayout
from streamgage.records import UserRecord
from streamgage.windows import MAX_EVENT_TIME_MS, TumblingWindows

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
    the decimal places of each numeric field.
    """

    name: str
    schema: AvroSchema
    writers: tuple[AvroSchema, ...]
    partition_key: str
    event_time: str
    max_future_ms: int | None
    max_lateness_ms: int | None
    scales: dict[str, int]

    @cached_property
    def reader(self) -> AvroReader:
        """The decoder of this source's user records."""
        return AvroReader(self.schema, self.writers)

    def user_record(self, event: Event) -> UserRecord:
        """Return *event* as it is sent: Avro, under its partition key.

        Raises:
            ValueError: it would be quarantined on arrival: it does not fit the schema, or a value is not finite.
        """
        data = self.schema.encode(event)
        for name in self.scales:
            value = event.get(name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value!r}, which is not a finite number")
        if not 0 <= event[self.event_time] < MAX_EVENT_TIME_MS:
            raise ValueError(
                f"{self.event_time} is {event[self.event_time]}, not ms since 1970 before the year 10000"
            )
        key = str(event[self.partition_key])
        if not 0 < len(key) <= KINESIS_PARTITION_KEY_CHARS:
            raise ValueError(
                f"{self.partition_key} is {len(key)} characters; a partition key has 1 to {KINESIS_PARTITION_KEY_CHARS}"
            )
        return UserRecord(key, data)


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
    """The whole definition, valid: names are unique, fields exist and have fitting types."""

    sources: dict[str, Source]
    rollups: dict[str, Rollup]

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
