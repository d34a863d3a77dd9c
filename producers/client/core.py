"""The producer that works in its caller's calls: gathered, retried, accounted for; for threads, forks and Ctrl-C."""

import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import NoReturn, Self

from producers.client.batcher import TagsFor
from producers.client.engine import Engine
from producers.client.forks import renew_in_children
from producers.client.many import RefusedEvents, take_many, untold
from producers.client.ports import KinesisPort
from producers.client.sender import Keep
from producers.client.settings import CoreConfig, ProducerStats
from producers.client.unsent import Unsent
from producers.clock import Clock
from streamgage.definition.pipeline import Source
from streamgage.formats.avro import Event
from streamgage.records import SealedRecord, UserRecord
from streamgage.shards import ShardMap

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
        shards: ShardMap | None = None,
    ) -> None:
        """List the shards of the stream, unless *shards* are given, until they turn out to be others.

        Raises:
            ConfigError: there is no such stream, or no right to it.
            RetryableError: Kinesis did not answer for as long as the retries last.
        """
        self._lock = threading.RLock()
        self._engine = Engine(
            port, clock=clock, rng=rng, config=config or CoreConfig(), tags_for=tags_for, shards=shards
        )
        self.stats = self._engine.stats
        self._closed = False
        self._unsent = Unsent(self, self._engine)
        renew_in_children(self)

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
        self._engine.renew()
        self.stats = self._engine.stats

    @property
    def buffered_bytes(self) -> int:
        """The bytes of all that was put and is not known to be stored."""
        return self._engine.buffered_bytes

    @property
    def waiting_for(self) -> str | None:
        """Why a shard gets nothing just now: "throttled", "credentials", "no answer", or a code of Kinesis; else None.

        Any thread may ask, also while another waits in a call.
        """
        return self._engine.sender.waiting_for

    def tell_waiting(self, tell: Callable[[str], None]) -> None:
        """Have *tell* called with ``waiting_for`` whenever a call begins to wait, from within it: it must not call back."""
        self._engine.sender.on_waiting = tell

    def on_shards(self, tell: Callable[[ShardMap], None]) -> None:
        """Have *tell* called with the shards when they changed, from within a call: it must not call back."""
        self._engine.sender.on_shards = tell

    def put(self, record: UserRecord) -> None:
        """Take *record*, send what is due, and wait while too much is buffered.

        Raises:
            UnsendableRecord: Kinesis cannot take it; it was not taken here either.
            DeliveryError: user records, perhaps this one, were given up. Those not named are stored or still here:
                do not put them again.
        """
        with self._lock:
            self._check_open()
            self._engine.take(record)
            self._send_taken()
            self._raise_given_up()

    def put_sealed(self, record: SealedRecord) -> None:
        """Take what a producer sealed before, this one or another, to be sent with the same bytes, mark and all.

        Raises: as ``put`` does.
        """
        with self._lock:
            self._check_open()
            engine = self._engine
            engine.take_sealed(record)
            if engine.outbox.buffered_bytes >= engine.config.batching.request_bytes:
                engine.send_due()
                engine.send_until(engine.config.max_buffered_bytes)
            self._raise_given_up()

    def send(self, source: Source, event: Event) -> None:
        """Take *event* of *source*: into a block where the pipeline says so, else as a user record of its own.

        Raises:
            ValueError: it would be quarantined on arrival; it was not taken.
            UnsendableRecord, DeliveryError: as ``put`` does.
        """
        with self._lock:
            self._check_open()
            self._take_event(source, event)
            self._raise_given_up()

    def put_many(
        self, source: Source, events: Sequence[Event], taken_so_far: Callable[[int], None] = untold
    ) -> None:
        """Take *events* of *source* as ``send`` would, one after the other, to the same bytes, in half the time.

        All of them are taken but those that ``send`` would have refused. Where the source has no blocks a fifth is gained;
        where each Kinesis record has one key, nothing. *taken_so_far* is told now and then how many were taken.

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
            self._raise_given_up()

    def poll(self) -> None:
        """Send what is due, without waiting for the rest. Raises DeliveryError as ``put`` does."""
        with self._lock:
            self._engine.send_due()
            self._raise_given_up()

    def next_due_ms(self) -> int | None:
        """Return when ``poll`` will have something to do, on the producer's clock; None if that is up to others."""
        with self._lock:
            return self._engine.next_due_ms()

    def flush(self) -> None:
        """Send everything, and return when it is stored.

        Raises:
            DeliveryError: what could not be delivered, after everything else was.
        """
        with self._lock:
            self._engine.send_until(0)
            self._raise_given_up()

    def close(self) -> None:
        """Flush and take no more. Raises DeliveryError as ``flush`` does; closing again does nothing."""
        with self._lock:
            if not self._closed:
                self._engine.send_until(0)
                self._engine.sender.stop()
                self._closed = True
            self._raise_given_up()

    def give_up(self) -> None:
        """Hand back, as given up, all that is not known to be stored; wait for nothing.

        Raises:
            DeliveryError: if there is anything. What was under way may be stored all the same: its marks say so.
        """
        with self._lock:
            self._engine.give_up()
            self._raise_given_up()

    def unstored(self) -> Sequence[SealedRecord]:
        """Return what is sealed, and neither known to be stored nor handed back. Any of it may be stored all the same."""
        with self._lock:
            outbox = self._engine.outbox
            return [each.sealed for each in (*outbox.held, *outbox.given_up)]

    def divert(self, keep: Keep) -> None:
        """Send nothing more: *keep* is given what is buffered or under way, at once, and all that is put from now on, sealed.

        By their marks a consumer knows what of it was stored after all. *keep* must have it safe when it returns.
        """
        with self._lock:
            self._engine.divert(keep)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("put() on a closed producer")

    def _take_run(self, source: Source, events: Sequence[Event]) -> int:
        room_bytes = self._engine.config.max_buffered_bytes - self._engine.buffered_bytes
        taken = self._engine.take_run(source, events, room_bytes=room_bytes)
        if taken and not source.blocks:  # the last of a run of rows may have made something due
            self._send_taken()
        return taken

    def _take_event(self, source: Source, event: Event) -> None:
        self._engine.take_event(source, event)
        self._send_taken()

    def _send_taken(self) -> None:
        """Send what is due, and wait while too much is buffered."""
        engine = self._engine
        most_bytes = engine.config.max_buffered_bytes
        if engine.is_due or engine.buffered_bytes > most_bytes:
            engine.send_due()
            engine.send_until(most_bytes)

    def _raise_given_up(self) -> None:
        if self._engine.outbox.given_up:
            raise self._engine.hand_back()
