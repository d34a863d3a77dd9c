"""Put user records so that none is lost: what the stream does not take goes to a file."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from producers.client.encoder import encoder_of
from producers.client.many import put_one_by_one
from producers.client.undelivered import UndeliveredFile
from producers.files.stop import Patience
from streamgage.definition.pipeline import Source
from streamgage.errors import ConfigError, DeliveryError
from streamgage.formats.avro import Event
from streamgage.limits import MIB
from streamgage.records import SealedRecord, UserRecord

FULL_BYTES = (
    6 * MIB
)  # held by the sink: below what makes a producer wait by itself (8 MiB), deaf to any wish to end
END_MS = (
    6_000  # what is held may take so long to be stored once someone wants an end; docker kills after 10 s
)
_PAUSES_MS = (1, 2, 5, 10, 20, 50)


class Sink(Protocol):
    """What takes events and user records: a Producer. Each call raises DeliveryError with what was given up."""

    @property
    def buffered_bytes(self) -> int:
        """How much was taken, and is neither stored nor given up."""

    @property
    def waiting_for(self) -> str | None:
        """Why nothing is sent just now, such as "throttled"; None where something is."""

    def put_many(self, source: Source, events: Sequence[Event], taken_so_far: Callable[[int], None]) -> None:
        """Take *events*, and send them sooner or later. Raises: RefusedEvents, which do not fit; all others were taken."""

    def put(self, record: UserRecord) -> None:
        """Take *record*, and send it sooner or later. Raises: UnsendableRecord, it was not taken."""

    def put_sealed(self, record: SealedRecord) -> None:
        """Take what was sealed before, to be sent with the same bytes. Raises: UnsendableRecord, it was not taken."""

    def poll(self) -> None:
        """Send what is due, and do not wait for the rest."""

    def flush(self) -> None:
        """Return when everything is stored, or after ``divert`` kept."""

    def divert(self, keep: Callable[[Sequence[SealedRecord]], None]) -> None:
        """Send nothing more: give *keep* what is here, at once, and whatever is taken from now on, by the next ``flush``."""


class NullSink:
    """Takes everything that would be taken, and sends nothing: a dry run."""

    buffered_bytes = 0
    waiting_for: str | None = None

    def put_many(self, source: Source, events: Sequence[Event], taken_so_far: Callable[[int], None]) -> None:
        """Refuse what a stream would be spared, and forget the rest."""
        encode = encoder_of(source).user_record

        def check(event: Event) -> None:
            encode(event)

        put_one_by_one(events, check, taken_so_far)

    def put(self, record: UserRecord) -> None:
        """Forget *record*."""

    def put_sealed(self, record: SealedRecord) -> None:
        """Forget *record*."""

    def poll(self) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""

    def divert(self, keep: Callable[[Sequence[SealedRecord]], None]) -> None:
        """Do nothing."""


class Delivery:
    """A sink in front of a sink. Once something was given up, whatever comes goes to a file with it, unsent.

    So the file holds all that the stream lacks, as sealed records: sending it completes the job, and what the stream has
    after all counts once. ``failure`` is the first error; *warn* is told of it when it happens, since standard input may go
    on for days. ``taken``, ``undelivered`` and ``lost`` count events, and are right once everything is flushed; lost are
    those of the undelivered that the file could not take either, for the reason ``broken``: then it is time to stop.

    Whatever waits does so here, in steps of *patience*: once someone wants an end, no longer than END_MS, and not at all
    once they insist. What is not stored then goes to the file. *tell_waiting* is told why, again and again.
    """

    def __init__(
        self, sink: Sink, undelivered: UndeliveredFile, *, warn: Callable[[str], None], patience: Patience
    ) -> None:
        self.failure: DeliveryError | None = None
        self.file = undelivered
        self.taken = 0
        self.lost = 0
        self.broken: ConfigError | None = None
        self.tell_waiting: Callable[[str | None], None] = lambda _: None
        self._sink = sink
        self._warn = warn
        self._patience = patience
        self._is_diverted = False
        self._waited_ms = 0  # since someone wanted an end

    @property
    def undelivered(self) -> int:
        """How many events are not stored."""
        return self.file.events + self.lost

    @property
    def delivered(self) -> int:
        """How many events were stored, once everything is flushed."""
        return self.taken - self.undelivered

    @property
    def is_holding(self) -> bool:
        """Whether something is on its way."""
        return self._sink.buffered_bytes > 0

    def put_many(self, source: Source, events: Sequence[Event]) -> None:
        """Take *events*. Raises: RefusedEvents, once all others were taken."""
        self._wait(FULL_BYTES)
        before = self.taken

        def count(taken: int) -> None:
            self.taken = before + taken

        try:
            self._sink.put_many(source, events, count)
        except DeliveryError as error:
            self._give_up(error)

    def put(self, record: UserRecord | SealedRecord) -> None:
        """Take *record*. Raises: UnsendableRecord, it was not taken."""
        self._wait(FULL_BYTES)
        try:
            if isinstance(record, SealedRecord):
                self._sink.put_sealed(record)
            else:
                self._sink.put(record)
        except DeliveryError as error:
            self._give_up(error)
        self.taken += record.events

    def idle(self) -> bool:
        """Send what is due, and tell whether anything is still on its way."""
        self.poll()
        return self.is_holding

    def poll(self) -> None:
        """Send what is due."""
        try:
            self._sink.poll()
        except DeliveryError as error:
            self._give_up(error)

    def flush(self) -> None:
        """Return when every record taken is stored or in the file."""
        self._wait(0)

    def divert(self, why: str) -> None:
        """Send nothing more: what is not known to be stored goes to the file, and whatever comes."""
        if self.failure is None:
            self.failure = DeliveryError(why, ())
        self._is_diverted = True
        self._sink.divert(self._keep)
        self._warn(f"{why}; what is not known to be stored is kept in {self.file.path}")

    def _wait(self, most_bytes: int) -> None:
        """Return when the sink holds no more than *most_bytes*."""
        stop = self._patience.stop
        if self._is_diverted:
            if not most_bytes:
                self._sink.flush()  # at once: nothing is sent any more
            return
        for pause_ms in _pauses_ms():
            if self._sink.buffered_bytes <= most_bytes:
                return
            if stop.insisted or self._waited_ms >= END_MS:
                self.divert("interrupted" if stop.insisted else f"not stored within {END_MS // 1000} s")
                return
            self.poll()
            if self._is_diverted or self._sink.buffered_bytes <= most_bytes:
                return
            self.tell_waiting(self._sink.waiting_for)
            self._patience.rest_ms(pause_ms)
            if stop.asked:
                self._waited_ms += pause_ms

    def _give_up(self, error: DeliveryError) -> None:
        is_first, self.failure = self.failure is None, self.failure or error
        self._keep(error.sealed)
        if is_first:
            self._wait(0)  # what is still in the sink: stored now, or given up too
            if not self._is_diverted:
                self.divert(f"delivery failed ({error})")

    def _keep(self, records: Sequence[SealedRecord]) -> None:
        try:
            self.file.keep(records)
        except ConfigError as error:
            self.broken = error
            self.lost += sum(each.events for each in records)


def _pauses_ms() -> Iterator[int]:
    yield from _PAUSES_MS
    while True:
        yield _PAUSES_MS[-1]
