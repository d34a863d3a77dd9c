"""Batches of messages into the spool: each step is done once, and one that fails may be tried again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from producers.mqtt.messages import Message
from producers.mqtt.reading import Read, Reader, Reading
from streamgage.definition.pipeline import Source
from streamgage.formats.avro import Event
from streamgage.records import SealedRecord


@dataclass(slots=True)
class Counts:
    """What became of messages: each is ``taken``, or one of the others. ``events`` are in the spool.

    ``duplicates`` were known by their id; of JSON whose objects have ids, ``duplicate_events`` too. ``gaps``: a Sparkplug node
    left numbers out. ``unacknowledged`` came with QoS 0: nobody sends them again.
    """

    messages: int = 0
    events: int = 0
    quarantined: int = 0
    duplicates: int = 0
    duplicate_events: int = 0
    retained: int = 0
    passed_over: int = 0
    historical: int = 0
    gaps: int = 0
    unacknowledged: int = 0

    def add(self, other: "Counts") -> None:
        """Add *other* to it."""
        for name in Counts.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Memory(Protocol):
    """What remembers: a Journal. Each call raises SpoolError, and may be made again."""

    def known(self, ids: Iterator[bytes], /) -> set[bytes]:
        """Return those of *ids* that are remembered."""

    def write(
        self, ids: Sequence[bytes], records: Sequence[SealedRecord], facts: Mapping[str, str], *, now_ms: int
    ) -> None:
        """Remember all of it, the records until they are struck out."""

    def strike_out(self) -> None:
        """Forget the records."""


class Seals(Protocol):
    """What seals: a Sealer."""

    def put(self, source: Source, event: Event, now_ms: int) -> None:
        """Take *event*. Raises: ValueError, it would be quarantined."""

    def seal(self) -> list[SealedRecord]:
        """Return all that was put since, sealed."""


Append = Callable[[Sequence[SealedRecord]], None]
"""Has records on the disk when it returns, all or none: ``Spool.append``. Raises: SpoolError, and may be called again."""
Keep = Callable[[Sequence[tuple[Message, Sequence[str]]]], None]
"""Has messages and why they are quarantined on the disk: ``Quarantine.keep``. Raises: SpoolError, QuarantineFull."""


@dataclass(slots=True)
class Batch:
    """Messages on their way, and how far they are. ``counts`` and ``rebirths_of`` are right once it is committed."""

    messages: Sequence[Message]
    counts: Counts = field(default_factory=Counts)
    rebirths_of: list[str] = field(default_factory=list)  # topics of commands
    known: set[bytes] | None = None
    readings: list[tuple[Message, bytes | None, Reading]] | None = None
    ids: dict[bytes, None] = field(default_factory=dict)
    refused: list[tuple[Message, Sequence[str]]] = field(default_factory=list)
    records: list[SealedRecord] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    is_quarantined: bool = False
    is_journaled: bool = False
    is_appended: bool = False


class Bridge:
    """Reads messages, and has them safe: what ``commit`` returned of may be acknowledged.

    The order matters. What is refused is on the disk first; then, in one transaction, the ids and the sealed records; then
    these are in the spool. Killed anywhere, the broker sends again what was not acknowledged, and ids tell what is safe already.
    """

    def __init__(
        self,
        reader: Reader,
        memory: Memory,
        sealer: Seals,
        *,
        append: Append,
        quarantine: Keep,
        now_ms: Callable[[], int],
    ) -> None:
        self._reader, self._memory, self._sealer = reader, memory, sealer
        self._append, self._quarantine, self._now_ms = append, quarantine, now_ms

    def recover(self, unfinished: Sequence[SealedRecord]) -> None:
        """Append what a bridge before this one may have appended or not: by its marks it counts once. Raises: SpoolError."""
        self._append(unfinished)
        self._memory.strike_out()

    def commit(self, batch: Batch) -> None:
        """Return once *batch* is safe. Called again after an error, it goes on where it was.

        Raises:
            SpoolError: the disk or the spool takes nothing just now.
            QuarantineFull: a person has to look.
        """
        if batch.known is None:
            ids = [self._reader.id_of(each) for each in batch.messages]
            batch.known = self._memory.known(each for each in ids if each is not None)
        if batch.readings is None:
            batch.readings = list(self._read(batch, batch.known))
            batch.facts = self._reader.nodes.changed()
        if batch.records is None:
            found = (each.id for _, _, reading in batch.readings for each in reading.events)
            known = self._memory.known(each for each in found if each is not None)
            for message, identity, reading in batch.readings:
                self._put(batch, message, identity, reading, known)
            batch.records = self._sealer.seal()
        if not batch.is_quarantined:
            self._quarantine(batch.refused)
            batch.is_quarantined = True
        if not batch.is_journaled and (batch.ids or batch.facts):
            self._memory.write(list(batch.ids), batch.records, batch.facts, now_ms=self._now_ms())
            batch.is_journaled = True
        if not batch.is_appended:
            self._append(batch.records)
            batch.is_appended = True
        if batch.is_journaled:
            self._memory.strike_out()

    def _read(self, batch: Batch, known: set[bytes]) -> Iterator[tuple[Message, bytes | None, Reading]]:
        """Yield what is in each message that is news."""
        counts, here = batch.counts, set[bytes]()
        for message in batch.messages:
            counts.messages += 1
            counts.unacknowledged += message.qos == 0
            subscription = self._reader.subscription_of(message.topic)
            if message.is_retained and subscription is not None and subscription.retained == "skip":
                counts.retained += 1
                continue
            identity = self._reader.id_of(message)
            if identity is not None and (identity in known or identity in here):
                counts.duplicates += 1
                continue
            reading = self._reader.read(message)
            # Nodes learn of a message once. Of others, whose first is refused, another of its id is news: _put tells.
            if identity is not None and subscription is not None and subscription.payload == "sparkplug":
                here.add(identity)
            if reading.rebirth_of is not None:
                batch.rebirths_of.append(reading.rebirth_of.command_topic)
            yield message, identity, reading

    def _put(
        self, batch: Batch, message: Message, identity: bytes | None, reading: Reading, known: set[bytes]
    ) -> None:
        """Have the events of a message sealed that are news and fit, and note the rest."""
        counts, taken = batch.counts, 0
        if identity is not None and identity in batch.ids:
            counts.duplicates += 1
            return
        for each in reading.events:
            if each.id is not None and (each.id in known or each.id in batch.ids):
                counts.duplicate_events += 1
            elif problem := self._refused(each):
                reading.refused.append(problem)
            else:
                taken += 1
                if each.id is not None:
                    batch.ids[each.id] = None
        counts.events += taken
        counts.passed_over += reading.passed_over
        counts.historical += reading.historical
        counts.gaps += reading.gaps
        if reading.refused:
            counts.quarantined += 1
            batch.refused.append((message, reading.refused))
        # What was refused as a whole may be published again, once the pipeline takes it.
        if identity is not None and (taken or not reading.refused):
            batch.ids[identity] = None

    def _refused(self, read: Read) -> str | None:
        """Have the event sealed, or return why not."""
        try:
            self._sealer.put(read.source, read.event, self._now_ms())
        except ValueError as error:
            return str(error)
        return None
