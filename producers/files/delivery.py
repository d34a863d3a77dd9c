"""Put user records so that none is lost: what the stream does not take goes to a file."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from producers.client.encoder import encoder_of
from producers.client.many import put_one_by_one
from producers.files.rejects import NdjsonFile, encode_undelivered
from producers.files.stop import Patience
from streamgage.definition.pipeline import Source
from streamgage.errors import ConfigError, DeliveryError
from streamgage.formats.avro import Event
from streamgage.limits import MIB
from streamgage.records import UserRecord

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

    def poll(self) -> None:
        """Send what is due, and do not wait for the rest."""

    def give_up(self) -> None:
        """Raise DeliveryError with everything that is not known to be stored, if there is anything."""


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

    def poll(self) -> None:
        """Do nothing."""

    def give_up(self) -> None:
        """Do nothing."""


class Delivery:
    """A sink in front of a sink. Once something was given up, whatever comes goes to a file with it, unsent.

    So the file holds all that the stream lacks, and sending it completes the job. ``failure`` is the first error; *warn*
    is told of it when it happens, since standard input may go on for days. ``taken`` and ``undelivered`` count events;
    ``lost`` those of them that the file could not take either, for the reason ``broken``: then it is time to stop.

    Whatever waits does so here, in steps of *patience*: once someone wants an end, no longer than END_MS, and not at all
    once they insist. What is not stored then goes to the file. *tell_waiting* is told why, again and again.
    """

    def __init__(
        self, sink: Sink, undelivered: Path, *, warn: Callable[[str], None], patience: Patience
    ) -> None:
        self.failure: DeliveryError | None = None
        self.file = NdjsonFile(undelivered)
        self.taken = 0
        self.undelivered = 0
        self.lost = 0
        self.broken: ConfigError | None = None
        self.tell_waiting: Callable[[str | None], None] = lambda _: None
        self._sink = sink
        self._warn = warn
        self._patience = patience
        self._waited_ms = 0  # since someone wanted an end

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

        if self.failure is not None:
            encode = encoder_of(source).user_record
            put_one_by_one(events, lambda event: self._keep([encode(event)]), count)
            return
        try:
            self._sink.put_many(source, events, count)
        except DeliveryError as error:
            self._give_up(error)

    def put(self, record: UserRecord) -> None:
        """Take *record*. Raises: UnsendableRecord, it was not taken."""
        self._wait(FULL_BYTES)
        if self.failure is not None:
            self._keep([record])
        else:
            try:
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

    def _wait(self, most_bytes: int) -> None:
        """Return when the sink holds no more than *most_bytes*."""
        for pause_ms in _pauses_ms():
            if self._sink.buffered_bytes <= most_bytes:
                return
            if self._patience.stop.insisted or self._waited_ms >= END_MS:
                self._hand_back()
                return
            self.poll()
            if self._sink.buffered_bytes <= most_bytes:
                return
            self.tell_waiting(self._sink.waiting_for)
            self._patience.rest_ms(pause_ms)
            if self._patience.stop.asked:
                self._waited_ms += pause_ms

    def _hand_back(self) -> None:
        try:
            self._sink.give_up()
        except DeliveryError as error:
            self._give_up(error)

    def _give_up(self, error: DeliveryError) -> None:
        is_first, self.failure = self.failure is None, self.failure or error
        self._keep(error.undelivered)
        if is_first:
            self._warn(f"delivery failed ({error}); this and all that follows is kept in {self.file.path}")
            self._wait(0)  # what is still in the sink: stored now, or given up too

    def _keep(self, records: Iterable[UserRecord]) -> None:
        for record in records:
            self.undelivered += record.events
            try:
                self.file.write(encode_undelivered(record))
            except ConfigError as error:
                self.broken = error
                self.lost += record.events


def _pauses_ms() -> Iterator[int]:
    yield from _PAUSES_MS
    while True:
        yield _PAUSES_MS[-1]
