"""The events of a source as they are sent: checked by what would become of them on arrival, and encoded."""

from functools import lru_cache

from streamgage.definition.pipeline import INTEGER_TYPES, Source, branches
from streamgage.formats.avro import Event
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.limits import KINESIS_PARTITION_KEY_CHARS
from streamgage.measures.windows import MAX_EVENT_TIME_MS
from streamgage.records import UserRecord

_REMEMBERED_SOURCES = 128


class SourceEncoder:
    """Encode events of one source. Made once a source, by ``encoder_of``; holds nothing of the events."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.blocks = BlockCodec(source.schema)
        # The measurable fields that can hold a float.
        self._floats = tuple(
            name for name in source.scales if branches(source.schema.fields[name]) - {"null"} - INTEGER_TYPES
        )

    def user_record(self, event: Event) -> UserRecord:
        """Return *event* as it is sent by itself: Avro, under its partition key.

        Raises:
            ValueError: it would be quarantined on arrival: it does not fit the schema, or a value is not finite.
        """
        data = self.source.schema.encode(event, fits=self.blocks.fits(event))
        return UserRecord(self.key_of(event), data)

    def key_of(self, event: Event) -> str:
        """Return the partition key of *event*, whose types are checked by whoever encodes it.

        Raises:
            ValueError: it would be quarantined on arrival: a value is not finite, its time or its key out of range.
        """
        source = self.source
        for name in self._floats:
            value = event.get(name)
            if isinstance(value, float) and value - value != 0:
                raise ValueError(f"{name} is {value!r}, which is not a finite number")
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


@lru_cache(maxsize=_REMEMBERED_SOURCES)
def encoder_of(source: Source) -> SourceEncoder:
    """Return the encoder of *source*, the same each time."""
    return SourceEncoder(source)
