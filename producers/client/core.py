"""The producer: user records and events into a stream, gathered, retried, accounted for; for threads, forks and Ctrl-C."""

import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from types import TracebackType
from typing import NoReturn, Self

from producers.client.batcher import Batcher, TagsFor
from producers.client.encoder import encoder_of
from producers.client.forks import renew_in_children
from producers.client.many import RefusedEvents, take_many, untold
from producers.client.outbox import GivenUp
from producers.client.ports import KinesisPort
from producers.client.sender import Keep, Sender, first_shards
from producers.client.settings import CoreConfig, ProducerStats
from producers.client.unsent import Unsent
from producers.clock import Clock
from streamgage.definition.pipeline import Source
from streamgage.errors import DeliveryError
from streamgage.formats.avro import Event
from streamgage.records import SealedRecord, UserRecord

__all__ = ["CoreConfig", "ProducerCore", "ProducerStats"]


class ProducerCore:
    """Puts user records into a stream, at least once each, or says which it could not.

    Several threads may call it; one call at a time does its work, and the others wait, also while it waits for Kinesis.
    What was put and is never flushed, because the producer was not closed, is lost, which is logged as an error.
    Nothing happens between calls: a source that may fall silent calls ``poll`` now and then, or what it put last waits
    until the next put, ``flush`` or ``close``. A forked child has a producer with nothing in it, and another identity where
    *tags_for* is an Identity's; what the parent put, the parent sends. It cannot be pickled.

    Every user record is, at any moment, stored, or buffered here, or was handed back by a ``DeliveryError``. A
    producer that raised one goes on as before. A request that timed out may have been stored, and sending it again
    may store it twice: its bytes are the same both times, and *tags_for* can mark them so that a consumer knows. What
    was stored on another shard than predicted (the stream was resharded) is not sent again; streamgage counts it
    where it is, while the KCL drops user records that its shard's hash keys do not cover.

    A call that is interrupted (KeyboardInterrupt, or whatever a signal handler raises) leaves it so too: each event was
    taken whole or not at all, ``stats.events_put`` says how many were, and the next call goes on. Where the interrupt meets
    a DeliveryError on its way to the caller, that is its ``__context__``.
    """

    def __init__(
        self,
        port: KinesisPort,
        *,
        clock: Clock,
        rng: random.Random,
        config: CoreConfig | None = None,
        tags_for: TagsFor | None = None,
    ) -> None:
        """List the shards of the stream.

        Raises:
            ConfigError: there is no such stream, or no right to it.
            RetryableError: Kinesis did not answer for as long as the retries last.
        """
        self.stats = ProducerStats()
        self._lock = threading.RLock()
        self._port, self._clock, self._rng, self._tags_for = port, clock, rng, tags_for
        self._config = config or CoreConfig()
        shards = first_shards(port, clock, rng, self._config)
        self._batcher = Batcher(shards, self._config.batching, tags_for=tags_for)
        self._sender = self._new_sender()
        self._closed = False
        self._unsent = Unsent(self, self._batcher, self._outbox)
        renew_in_children(self)

    def _new_sender(self) -> Sender:
        sender = Sender(
            self._port,
            self._batcher,
            clock=self._clock,
            rng=self._rng,
            config=self._config,
            stats=self.stats,
        )
        self._outbox = sender.outbox
        return sender

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close, after an exception too: what was put is to be sent."""
        self.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: two producers of one identity would have each other's events dropped."""
        raise TypeError(
            "a producer cannot be pickled or copied: its identity and its connections are its own. "
            "Make one in each process"
        )

    def renew_in_child(self) -> None:
        """Begin anew, in a forked child: what is buffered is the parent's to send, and so is what it counted."""
        self._lock = threading.RLock()
        self.stats = ProducerStats()
        self._batcher = Batcher(self._batcher.shards, self._config.batching, tags_for=self._tags_for)
        self._sender = self._new_sender()
        self._unsent.batcher, self._unsent.outbox = self._batcher, self._outbox

    @property
    def buffered_bytes(self) -> int:
        """The bytes of all that was put and is not known to be stored."""
        return self._batcher.buffered_bytes + self._outbox.buffered_bytes

    @property
    def waiting_for(self) -> str | None:
        """Why a shard gets nothing just now: "throttled", "credentials", "no answer", or a code of Kinesis; else None.

        Any thread may ask, also while another waits in a call.
        """
        return self._sender.waiting_for

    def tell_waiting(self, tell: Callable[[str], None]) -> None:
        """Have *tell* called with ``waiting_for`` whenever a call begins to wait, from within it: it must not call back."""
        self._sender.on_waiting = tell

    def put(self, record: UserRecord) -> None:
        """Take *record*, send what is due, and wait while too much is buffered.

        Raises:
            UnsendableRecord: Kinesis cannot take it; it was not taken here either.
            DeliveryError: user records, perhaps this one, were given up. Those not named are stored or still here:
                do not put them again.
        """
        with self._lock:
            self._check_open()
            now_ms = self._clock.now_ms()
            try:
                self._batcher.put(record, now_ms)
                self.stats.events_put += record.events
            except ValueError:
                raise
            except BaseException:
                self._mend_taken()
                raise
            if self._batcher.due(now_ms) or self.buffered_bytes > self._config.max_buffered_bytes:
                self._send_taken(now_ms)
            if self._outbox.given_up:
                raise self._hand_back()

    def put_sealed(self, record: SealedRecord) -> None:
        """Take what a producer sealed before, this one or another, to be sent with the same bytes, mark and all.

        Raises: as ``put`` does.
        """
        with self._lock:
            self._check_open()
            now_ms = self._clock.now_ms()
            try:
                entry = self._batcher.sealed(record, now_ms)
                self._outbox.extend([entry])
                self.stats.events_put += entry.events
            except ValueError:
                raise
            except BaseException:
                self._mend_taken()
                raise
            if self._outbox.buffered_bytes >= self._config.batching.request_bytes:
                self._send_taken(now_ms)
            if self._outbox.given_up:
                raise self._hand_back()

    def send(self, source: Source, event: Event) -> None:
        """Take *event* of *source*: into a block where the pipeline says so, else as a user record of its own.

        Raises:
            ValueError: it would be quarantined on arrival; it was not taken.
            UnsendableRecord, DeliveryError: as ``put`` does.
        """
        with self._lock:
            self._check_open()
            self._take_event(source, event)
            if self._outbox.given_up:
                raise self._hand_back()

    def put_many(
        self, source: Source, events: Sequence[Event], taken_so_far: Callable[[int], None] = untold
    ) -> None:
        """Take *events* of *source* as ``send`` would, one after the other, to the same bytes, in half the time.

        All of them are taken but those that ``send`` would have refused. Where the source has no blocks, or each Kinesis
        record one key, nothing is gained. *taken_so_far* is told now and then how many were taken.

        Raises:
            RefusedEvents: which of them were refused, each with its error. If others were given up meanwhile, the next
                call raises the DeliveryError.
            DeliveryError: as ``put`` does, once all were taken.
        """
        with self._lock:
            self._check_open()
            refused = take_many(
                events, partial(self._take_run, source), partial(self._take_event, source), taken_so_far
            )
            if refused:
                raise RefusedEvents(refused, len(events))
            if self._outbox.given_up:
                raise self._hand_back()

    def poll(self) -> None:
        """Send what is due, without waiting for the rest. Raises DeliveryError as ``put`` does."""
        with self._lock:
            try:
                self._sender.send_due(self._clock.now_ms())
            except BaseException:
                self._mend_sent()
                raise
            if self._outbox.given_up:
                raise self._hand_back()

    def next_due_ms(self) -> int | None:
        """Return when ``poll`` will have something to do, on the producer's clock; None if that is up to others."""
        with self._lock:
            due_ms = (self._batcher.next_deadline_ms(), self._outbox.next_due_ms())
            return min((due for due in due_ms if due is not None), default=None)

    def flush(self) -> None:
        """Send everything, and return when it is stored.

        Raises:
            DeliveryError: what could not be delivered, after everything else was.
        """
        with self._lock:
            self._send_all()
            if self._outbox.given_up:
                raise self._hand_back()

    def close(self) -> None:
        """Flush and take no more. Raises DeliveryError as ``flush`` does; closing again does nothing."""
        with self._lock:
            if not self._closed:
                self._send_all()
                self._sender.stop()
                self._closed = True
            if self._outbox.given_up:
                raise self._hand_back()

    def give_up(self) -> None:
        """Hand back, as given up, all that is not known to be stored; wait for nothing.

        Raises:
            DeliveryError: if there is anything. What was under way may be stored all the same: its marks say so.
        """
        with self._lock:
            try:
                self._batcher.move(self._outbox.extend, None)
                self._sender.give_up()
            except BaseException:
                self._mend_sent()
                raise
            if self._outbox.given_up:
                raise self._hand_back()

    def divert(self, keep: Keep) -> None:
        """Send nothing more: *keep* is given what is buffered or under way, at once, and all that is put from now on, sealed.

        By their marks a consumer knows what of it was stored after all. *keep* must have it safe when it returns.
        """
        with self._lock:
            try:
                self._sender.divert(keep)
                self._batcher.move(self._outbox.extend, None)
                self._sender.send_due(self._clock.now_ms())
            except BaseException:
                self._mend_sent()
                raise

    def _send_all(self) -> None:
        """Return when everything is stored or given up."""
        try:
            self._batcher.move(self._outbox.extend, None)
            while self._outbox:
                self._sender.send_or_wait()
        except BaseException:
            self._mend_sent()
            raise

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("put() on a closed producer")

    def _take_run(self, source: Source, events: Sequence[Event]) -> int:
        """Take the first of *events* by which nothing becomes due and nothing waits, and return how many."""
        if not source.blocks:
            return 0
        now_ms = self._clock.now_ms()
        room_bytes = self._config.max_buffered_bytes - self.buffered_bytes
        try:
            taken = self._batcher.put_run(source, events, now_ms, room_bytes=room_bytes)
            self.stats.events_put += taken
        except BaseException:
            self._mend_taken()
            raise
        return taken

    def _take_event(self, source: Source, event: Event) -> None:
        now_ms = self._clock.now_ms()
        try:
            if source.blocks:
                self._batcher.put_event(source, event, now_ms)
            else:
                self._batcher.put(encoder_of(source).user_record(event), now_ms)
            self.stats.events_put += 1
        except ValueError:
            raise
        except BaseException:
            self._mend_taken()
            raise
        if self._batcher.due(now_ms) or self.buffered_bytes > self._config.max_buffered_bytes:
            self._send_taken(now_ms)

    def _send_taken(self, now_ms: int) -> None:
        """Send what is due, and wait while too much is buffered."""
        try:
            self._sender.send_due(now_ms)
            while self.buffered_bytes > self._config.max_buffered_bytes:
                if not self._outbox:
                    self._batcher.move(self._outbox.extend, None)
                self._sender.send_or_wait()
        except BaseException:
            self._mend_sent()
            raise

    def _mend_taken(self) -> None:
        """After an interrupt in taking: what is here was put, and nothing else."""
        self._sender.mend()
        stats = self.stats
        stats.events_put = stats.events_stored + stats.events_undelivered + self._events_here()

    def _mend_sent(self) -> None:
        """After an interrupt in sending: what was put and is not here was stored, or kept."""
        self._sender.mend()
        stats = self.stats
        gone = stats.events_put - self._events_here()
        if self._sender.diverted:
            stats.events_undelivered = gone - stats.events_stored
        else:
            stats.events_stored = gone - stats.events_undelivered

    def _events_here(self) -> int:
        return self._batcher.events + self._outbox.events

    def _hand_back(self) -> DeliveryError:
        """Return the error to raise, with all that was given up: it is the caller's from then on."""
        outbox, stats = self._outbox, self.stats
        given_up, undelivered = outbox.given_up, stats.events_undelivered
        error = _delivery_error(list(given_up.values()))
        try:
            outbox.given_up, stats.events_undelivered = (
                {},
                undelivered + sum(each.events for each in given_up),
            )
            return error  # noqa: TRY300 - an interrupt on this line too finds it here
        except BaseException:
            outbox.given_up, stats.events_undelivered = given_up, undelivered
            raise


def _delivery_error(given_up: Sequence[GivenUp]) -> DeliveryError:
    entries = [each.entry for each in given_up]
    numbered = [pair for entry in entries for pair in zip(entry.numbers, entry.records, strict=True)]
    numbered.sort(key=itemgetter(0))
    last = given_up[-1]
    times = "once" if last.attempts == 1 else f"{last.attempts} times in {last.tried_ms / 1000:.1f} s"
    return DeliveryError(
        f"{sum(record.events for _, record in numbered)} events in {len(entries)} Kinesis records were not delivered; "
        f"the last failed with {last.failure.code}: {last.failure.message} (shard {last.entry.shard_id}; tried {times})",
        [record for _, record in numbered],
        [entry.sealed for entry in entries],
    )
