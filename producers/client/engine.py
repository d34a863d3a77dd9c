"""What every producer is made of: a batcher, a sender, and their account of each event. For one thread at a time."""

import random
from collections.abc import Sequence

from producers.client.batcher import BLOCK_MEMORY, NEVER_MS, Batcher, TagsFor
from producers.client.encoder import encoder_of
from producers.client.entry import PutEntry
from producers.client.handed_back import delivery_error
from producers.client.outcomes import OnDelivery, Outcome
from producers.client.ports import KinesisPort
from producers.client.sender import Keep, Sender, first_shards
from producers.client.settings import CoreConfig, ProducerStats
from producers.clock import Clock
from streamgage.definition.pipeline import Source
from streamgage.errors import DeliveryError
from streamgage.formats.avro import Event
from streamgage.records import SealedRecord, UserRecord
from streamgage.shards import ShardMap


class Engine:
    """Takes events, sends them, and knows of each where it is: here, stored, kept, dropped or handed back.

    No lock, no thread of its own but for requests: whoever holds it calls one method at a time. Each may be interrupted
    (Ctrl-C) at any line: then each event was taken whole or not at all, and ``stats.events_put`` says how many were.
    """

    def __init__(
        self,
        port: KinesisPort,
        *,
        clock: Clock,
        rng: random.Random,
        config: CoreConfig,
        tags_for: TagsFor | None,
        shards: ShardMap | None = None,
    ) -> None:
        """List the shards of the stream, unless *shards* are given. Raises: as ``first_shards`` does."""
        self.config, self.clock = config, clock
        self._port, self._rng, self._tags_for = port, rng, tags_for
        shards = shards or first_shards(port, clock, rng, config)
        self._begin(Batcher(shards, config.batching, tags_for=tags_for))

    def _begin(self, batcher: Batcher) -> None:
        self.stats = ProducerStats()
        self.batcher = batcher
        self.sender = Sender(
            self._port, batcher, clock=self.clock, rng=self._rng, config=self.config, stats=self.stats
        )
        self.outbox = self.sender.outbox

    def renew(self) -> None:
        """Begin anew, with nothing in it, as a forked child does: what is here is the parent's to send."""
        self._begin(Batcher(self.batcher.shards, self.config.batching, tags_for=self._tags_for))

    @property
    def buffered_bytes(self) -> int:
        """The bytes of all that was put and is not known to be stored, as Kinesis counts them."""
        return self.batcher.buffered_bytes + self.outbox.buffered_bytes

    @property
    def memory_bytes(self) -> int:
        """What that takes in memory, never less."""
        return self.batcher.memory_bytes + self.outbox.memory_bytes

    @property
    def events(self) -> int:
        """How many events are here, given up ones too. Counts them all: for who was interrupted."""
        return self.batcher.events + self.outbox.events

    @property
    def is_due(self) -> bool:
        """Whether something is to be sent now."""
        return self.batcher.due(self.clock.now_ms())

    def take(self, record: UserRecord, outcome: OnDelivery | None = None) -> None:
        """Take *record*. Raises: UnsendableRecord, it was not taken."""
        try:
            self.batcher.put(record, self.clock.now_ms(), outcome)
            self.stats.events_put += record.events
        except ValueError:
            raise
        except BaseException:
            self.mend_taken()
            raise

    def take_sealed(self, record: SealedRecord) -> None:
        """Take what was sealed before. Raises: UnsendableRecord, it was not taken."""
        try:
            entry = self.batcher.sealed(record, self.clock.now_ms())
            self.outbox.extend([entry])
            self.stats.events_put += entry.events
        except ValueError:
            raise
        except BaseException:
            self.mend_taken()
            raise

    def take_event(self, source: Source, event: Event, outcome: OnDelivery | None = None) -> None:
        """Take *event* of *source*. Raises: ValueError, UnsendableRecord; it was not taken."""
        if not source.blocks:
            self.take(encoder_of(source).user_record(event), outcome)
            return
        try:
            self.batcher.put_event(source, event, self.clock.now_ms(), outcome)
            self.stats.events_put += 1
        except ValueError:
            raise
        except BaseException:
            self.mend_taken()
            raise

    def take_run(self, source: Source, events: Sequence[Event], *, room_bytes: int) -> int:
        """Take the first of *events* by which nothing becomes due and nothing waits, and return how many.

        Without blocks the last one taken may make something due, or fill *room_bytes*: the caller looks, as after one event.
        """
        if not source.blocks:
            return self._take_rows(source, events, room_bytes)
        try:
            taken = self.batcher.put_run(source, events, self.clock.now_ms(), room_bytes=room_bytes)
            self.stats.events_put += taken
        except BaseException:
            self.mend_taken()
            raise
        return taken

    def _take_rows(self, source: Source, events: Sequence[Event], room_bytes: int) -> int:
        """Take the first of *events* as user records, until one is refused, a request is full or *room_bytes* are used."""
        batcher, user_record, now_ms = self.batcher, encoder_of(source).user_record, self.clock.now_ms()
        taken, most_bytes = 0, batcher.buffered_bytes + room_bytes
        most_memory_bytes = batcher.memory_bytes + BLOCK_MEMORY * room_bytes
        try:
            for event in events:
                if batcher.due(now_ms) or batcher.buffered_bytes >= most_bytes:
                    break
                if (
                    batcher.memory_bytes >= most_memory_bytes
                ):  # small user records take more than their bytes say
                    break
                batcher.put(user_record(event), now_ms)
                taken += 1
        except ValueError:
            pass  # who puts it by itself is told
        except BaseException:
            self.mend_taken()
            raise
        self.stats.events_put += taken
        return taken

    def seal(self) -> None:
        """Have everything sent, however short of full."""
        try:
            self.batcher.move(self.outbox.extend, None)
        except BaseException:
            self.mend_sent()
            raise

    def send_due(self) -> None:
        """Send what is due, and do not wait for it."""
        try:
            self.sender.send_due(self.clock.now_ms())
        except BaseException:
            self.mend_sent()
            raise

    def send_until(self, most_bytes: int) -> None:
        """Send, and return when no more than *most_bytes* are here: with 0, when everything is stored or given up."""
        try:
            if most_bytes == 0:
                self.batcher.move(self.outbox.extend, None)
            while self.buffered_bytes > most_bytes or (most_bytes == 0 and self.outbox):
                if not self.outbox:
                    self.batcher.move(self.outbox.extend, None)
                self.sender.send_or_wait()
        except BaseException:
            self.mend_sent()
            raise

    def next_due_ms(self) -> int | None:
        """Return when ``send_due`` will have something to do, on the clock; None if that is up to others."""
        due_ms = (self.batcher.next_deadline_ms(), self.outbox.next_due_ms())
        return min((due for due in due_ms if due is not None), default=None)

    def next_turn_ms(self) -> int:
        """Return the same; answers under way are told of by ``sender.on_answer``. Never is NEVER_MS."""
        batched_ms = self.batcher.next_deadline_ms()
        queued_ms = self.outbox.next_due_ms() if self.sender.has_room else None
        return min(NEVER_MS if each is None else each for each in (batched_ms, queued_ms))

    def drop_oldest(self) -> int:
        """Drop the oldest Kinesis record that is not under way; return how many events it had, 0 where there is none."""
        try:
            if dropped := self.sender.drop_oldest():
                return dropped
            self.batcher.move(self.outbox.extend, None)
            return self.sender.drop_oldest()
        except BaseException:
            self.mend_sent()
            raise

    def give_up(self) -> None:
        """Give up all that is not known to be stored."""
        try:
            self.batcher.move(self.outbox.extend, None)
            self.sender.give_up()
        except BaseException:
            self.mend_sent()
            raise

    def divert(self, keep: Keep) -> None:
        """Send nothing more: *keep* is given everything, sealed, at once, and what is put from now on."""
        try:
            self.sender.divert(keep)
            self.batcher.move(self.outbox.extend, None)
            self.sender.send_due(self.clock.now_ms())
        except BaseException:
            self.mend_sent()
            raise

    def settled(self) -> Sequence[tuple[PutEntry, Outcome]]:
        """Return what became of the entries that somebody wants to know of, once. Whoever gave up is told so: not raised."""
        if not self.sender.settled:
            return ()
        settled, self.sender.settled = self.sender.settled, []
        for entry, _ in settled:
            if entry in self.outbox.given_up and len(entry.outcomes) == entry.events:
                del self.outbox.given_up[entry]
                self.stats.events_undelivered += entry.events
        return settled

    def mend_taken(self) -> None:
        """After an interrupt in taking: what is here was put, and nothing else."""
        self.sender.mend()
        stats = self.stats
        stats.events_put = stats.events_stored + stats.events_undelivered + self.events

    def mend_sent(self) -> None:
        """After an interrupt in sending: what was put and is not here was stored, or kept."""
        self.sender.mend()
        stats = self.stats
        gone = stats.events_put - self.events
        if self.sender.diverted:
            stats.events_undelivered = gone - stats.events_stored
        else:
            stats.events_stored = gone - stats.events_undelivered

    def hand_back(self) -> DeliveryError:
        """Return the error to raise, with all that was given up: it is the caller's from then on."""
        outbox, stats = self.outbox, self.stats
        given_up, undelivered = outbox.given_up, stats.events_undelivered
        error = delivery_error(list(given_up.values()))
        try:
            outbox.given_up, stats.events_undelivered = (
                {},
                undelivered + sum(each.events for each in given_up),
            )
            return error  # noqa: TRY300 - an interrupt on this line too finds it here
        except BaseException:
            outbox.given_up, stats.events_undelivered = given_up, undelivered
            raise
