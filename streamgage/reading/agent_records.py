"""The records of agents among those of a stream: what their items are, within what one Kinesis record may hold.

Imported where a source says ``[[sources.from]]``. Events pass the schema as single JSON events do: encoded, and read again.
"""

from collections.abc import Iterable, Mapping

from streamgage.definition.pipeline import Source
from streamgage.errors import PoisonRecord
from streamgage.formats.agents.decoder import MAX_ITEMS, AgentDecoder, Outcome
from streamgage.formats.agents.inflate import MAX_INFLATED_BYTES, inflated, is_compressed
from streamgage.formats.agents.items import PassedOver, Refused
from streamgage.formats.avro import AvroReader, Event

Faults = list[tuple[int, PoisonRecord]]
_NOBODYS: tuple[str, Event] = ("", {})


class AgentRecords:
    """Reads them. Between ``begin`` and the next one it counts what the user records of one Kinesis record held so far."""

    def __init__(
        self, sources: Mapping[str, tuple[Source, AvroReader]], passed_over: Iterable[Source]
    ) -> None:
        self._decoder = AgentDecoder([each for each, _ in sources.values()], passed_over)
        self._sources = sources
        self.takes = self._decoder.takes
        self.begin()

    def begin(self) -> None:
        """Begin a Kinesis record."""
        self._items, self._bytes = MAX_ITEMS, MAX_INFLATED_BYTES

    def read(self, data: bytes) -> tuple[list[tuple[str, Event]], Faults, int]:
        """Return at each place a source and an event, which were refused, and how many places are no items of their own.

        Of what was refused, of nobody's, and of such a place the source is "".

        Raises:
            PoisonRecord: all of *data* is poison, as one event.
        """
        events: list[tuple[str, Event]] = []
        faults: Faults = []
        parts = 0
        for number, outcome in enumerate(self._outcomes(data)):
            found = _NOBODYS
            if isinstance(outcome, PassedOver):
                parts += not outcome.is_item
            elif isinstance(outcome, Refused):
                faults.append((number, PoisonRecord(outcome.code, outcome.reason)))
            else:
                source, reader = self._sources[outcome.source]
                try:
                    found = source.name, reader.decode(source.schema.encode(outcome.event))
                except ValueError as error:
                    faults.append((number, PoisonRecord("undecodable", str(error))))
                except PoisonRecord as poison:
                    faults.append((number, poison))
            events.append(found)
        return events, faults, parts

    def count(self, data: bytes) -> int:
        """Return how many places *data* has: of what cannot be taken apart, one."""
        try:
            return len(self._outcomes(data))
        except PoisonRecord:
            return 1

    def _outcomes(self, data: bytes) -> list[Outcome]:
        plain = data
        if is_compressed(data):
            plain = inflated(data, self._bytes)
            self._bytes -= len(plain)
        found = self._decoder.decode_whole(plain, most_items=self._items)
        self._items -= len(found)
        return found
