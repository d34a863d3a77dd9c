"""The events of a source as they are sent: checked by what would become of them on arrival, and encoded."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any

from streamgage.definition.pipeline import INTEGER_TYPES, Source, branches
from streamgage.errors import PoisonRecord
from streamgage.formats.avro import AvroReader, AvroSchema, Event
from streamgage.formats.blocks.builder import BlockCodec, alone
from streamgage.formats.blocks.check import RANGES
from streamgage.formats.blocks.columns import ColumnType
from streamgage.limits import KINESIS_PARTITION_KEY_CHARS
from streamgage.measures.windows import MAX_EVENT_TIME_MS
from streamgage.records import UserRecord

_REMEMBERED_SOURCES = 128


class SourceEncoder:
    """Encode events of one source. Made once a source, by ``encoder_of``; holds nothing of the events."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.blocks = BlockCodec(source.schema)
        # The measurable fields that can hold a float; derived ones are not sent.
        fields = source.schema.fields
        self._floats = tuple(
            name
            for name in source.scales
            if name in fields and branches(fields[name]) - {"null"} - INTEGER_TYPES
        )
        places = {each.name: at for at, each in enumerate(self.blocks.columns)}
        self._float_places = tuple(places[name] for name in self._floats)
        columns = [each for each in self.blocks.columns if each.name in source.histograms]
        self._histograms = [(each.name, _histogram_reader(source.schema, each)) for each in columns]
        self._key_place = places[source.partition_key]
        time = self.blocks.columns[places[source.event_time]]
        self._time_range = {time.name: (0, min(MAX_EVENT_TIME_MS - 1, RANGES.get(time.kind, (0, 0))[1]))}
        # In runs each event has its time, and its key: no default stands in for them.
        self._in_runs = (
            time.kind in RANGES
            and time.null_branch is None
            and all(map(self.blocks.requires, (source.event_time, source.partition_key)))
        )

    def user_record(self, event: Event) -> UserRecord:
        """Return *event* as it is sent by itself: Avro, under its partition key.

        Raises:
            ValueError: it would be quarantined on arrival: it does not fit the schema, a value is not finite, or a histogram
                contradicts itself.
        """
        data = self.blocks.row(event)
        return UserRecord(self.key_of(event), data)

    def key_of(self, event: Event) -> str:
        """Return the partition key of *event*, whose types are checked by whoever encodes it.

        Raises:
            ValueError: it would be quarantined on arrival: a value is not finite, a histogram contradicts itself, its time or its key
                is out of range.
        """
        source = self.source
        for name in self._floats:
            try:
                value = event.get(name)
            except AttributeError as error:
                raise ValueError(f"{event!r:.80} is no event, which has fields") from error
            if isinstance(value, float) and value - value != 0:
                raise ValueError(f"{name} is {value!r}, which is not a finite number")
        for name, check in self._histograms:
            if event.get(name) is not None:
                check(event[name])
        try:
            event_time_ms, key = event[source.event_time], event[source.partition_key]
            if type(key) is not str:
                key = str(key)
            in_range = 0 <= event_time_ms < MAX_EVENT_TIME_MS
        except (KeyError, TypeError) as error:
            source.schema.encode(event)  # says which field, where that is what is wrong
            raise ValueError(f"no event time or partition key: {error!r}") from error
        if not in_range:
            raise ValueError(
                f"{source.event_time} is {event_time_ms}, not ms since 1970 before the year 10000"
            )
        if not 0 < len(key) <= KINESIS_PARTITION_KEY_CHARS:
            raise ValueError(
                f"{source.partition_key} is {len(key)} characters; a partition key has 1 to {KINESIS_PARTITION_KEY_CHARS}"
            )
        return key

    def run_of(self, events: Sequence[Event]) -> tuple[list[str], list[list[Any]]] | None:
        """Return the partition keys of *events*, at least one, and their values by column; None: ask one by one.

        Where it returns, ``key_of`` and ``BlockCodec.prepare`` would give the same of each, but for a key's length.
        """
        columns = self.blocks.prepare_all(events, self._time_range) if self._in_runs else None
        if columns is None:
            return None
        for place in self._float_places:
            values = columns[place]
            # One that is not finite makes the sum so too. A sum beyond all doubles only costs the time of asking.
            if not isfinite(
                sum(values if self.blocks.columns[place].null_branch is None else filter(None, values))
            ):
                return None
        keys = columns[self._key_place]
        if self.blocks.columns[self._key_place].kind != "string" or None in keys:
            keys = list(map(str, keys))
        return keys, columns


def _histogram_reader(schema: AvroSchema, column: ColumnType) -> Callable[[Any], object]:
    """Return what reads a value of *column* as the consumer will. Raises: ValueError, it would be quarantined."""
    from streamgage.measures.histogram_points import point_of  # noqa: PLC0415 - by who has histograms

    whole = alone(schema, column, {"doc": "nullable as in the schema"})
    reader = AvroReader(whole, refine={column.name: point_of})

    def check(value: Any) -> object:
        try:
            return reader.decode(whole.encode({column.name: value}))
        except PoisonRecord as poison:
            raise ValueError(poison.reason) from poison

    return check


@lru_cache(maxsize=_REMEMBERED_SOURCES)
def encoder_of(source: Source) -> SourceEncoder:
    """Return the encoder of *source*, the same each time."""
    return SourceEncoder(source)
