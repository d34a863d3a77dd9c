"""Put user records so that none is lost: what the stream does not take goes to a file."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from producers.client.encoder import encoder_of
from producers.client.many import put_one_by_one
from producers.client.undelivered import UndeliveredFile
from streamgage.definition.pipeline import Source
from streamgage.errors import DeliveryError
from streamgage.formats.avro import Event
from streamgage.records import SealedRecord, UserRecord


class Sink(Protocol):
    """What takes events and user records: a Producer. Each call raises DeliveryError with what was given up."""

    def send(self, source: Source, event: Event) -> None:
        """Take *event* as ``put`` takes a user record. Raises: also ValueError, it does not fit; it was not taken."""

    def put_many(self, source: Source, events: Sequence[Event], taken_so_far: Callable[[int], None]) -> None:
        """Take *events* as ``send`` would each. Raises: RefusedEvents, which do not fit; all others were taken."""

    def put(self, record: UserRecord) -> None:
        """Take *record*, and send it sooner or later. Raises: UnsendableRecord, it was not taken."""

    def put_sealed(self, record: SealedRecord) -> None:
        """Take what was sealed before, to be sent with the same bytes. Raises: UnsendableRecord, it was not taken."""

    def flush(self) -> None:
        """Return when everything is stored."""

    def divert(self, keep: Callable[[Sequence[SealedRecord]], None]) -> None:
        """Send nothing more: give *keep* what is here, at once, and whatever is taken from now on, by the next ``flush``."""


class NullSink:
    """Takes everything that would be taken, and sends nothing: a dry run."""

    def send(self, source: Source, event: Event) -> None:
        """Refuse what a stream would be spared, and forget the rest."""
        encoder_of(source).user_record(event)

    def put_many(self, source: Source, events: Sequence[Event], taken_so_far: Callable[[int], None]) -> None:
        """Refuse what ``send`` would, and forget the rest."""
        put_one_by_one(events, partial(self.send, source), taken_so_far)

    def put(self, record: UserRecord) -> None:
        """Forget *record*."""

    def put_sealed(self, record: SealedRecord) -> None:
        """Forget *record*."""

    def flush(self) -> None:
        """Do nothing."""

    def divert(self, keep: Callable[[Sequence[SealedRecord]], None]) -> None:
        """Do nothing."""


class Delivery:
    """A sink in front of a sink. Once something was given up, whatever comes goes to a file with it, unsent.

    So the file holds all that the stream lacks, as sealed records: sending it completes the job, and what the stream has
    after all counts once. ``failure`` is the first error; *warn* is told of it when it happens, since standard input may go
    on for days. ``taken`` and ``undelivered`` count events; both are right once everything is flushed.
    """

    def __init__(self, sink: Sink, undelivered: UndeliveredFile, *, warn: Callable[[str], None]) -> None:
        self.failure: DeliveryError | None = None
        self.file = undelivered
        self.taken = 0
        self._sink = sink
        self._warn = warn

    @property
    def undelivered(self) -> int:
        """How many events are in the file."""
        return self.file.events

    @property
    def delivered(self) -> int:
        """How many events were stored, once everything is flushed."""
        return self.taken - self.undelivered

    def send(self, source: Source, event: Event) -> None:
        """Take *event*. Raises: ValueError, UnsendableRecord, and ConfigError if the file cannot be written."""
        try:
            self._sink.send(source, event)
        except DeliveryError as error:
            self._give_up(error)
        self.taken += 1

    def put_many(self, source: Source, events: Sequence[Event]) -> None:
        """Take *events*. Raises: RefusedEvents once all others were taken, and ConfigError as ``send`` does."""
        before = self.taken

        def count(taken: int) -> None:
            self.taken = before + taken

        try:
            self._sink.put_many(source, events, count)
        except DeliveryError as error:
            self._give_up(error)

    def put(self, record: UserRecord) -> None:
        """Take *record*. Raises: UnsendableRecord, and ConfigError if the file cannot be written."""
        try:
            self._sink.put(record)
        except DeliveryError as error:
            self._give_up(error)
        self.taken += record.events

    def put_sealed(self, record: SealedRecord) -> None:
        """Take *record*. Raises: UnsendableRecord, and ConfigError if the file cannot be written."""
        try:
            self._sink.put_sealed(record)
        except DeliveryError as error:
            self._give_up(error)
        self.taken += record.events

    def flush(self) -> None:
        """Return when every record taken is stored or in the file."""
        try:
            self._sink.flush()
        except DeliveryError as error:
            self._give_up(error)

    def _give_up(self, error: DeliveryError) -> None:
        self.failure = error
        self.file.keep(error.sealed)
        try:
            self._sink.flush()  # what is still in the sink: stored now, or given up too
        except DeliveryError as more:
            self.file.keep(more.sealed)
        self._sink.divert(self.file.keep)
        self._warn(f"delivery failed ({error}); this and all that follows is kept in {self.file.path}")
