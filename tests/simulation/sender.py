"""The senders of a world: the real producer, polled when it says so."""

import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from producers.client.batcher import BatcherConfig, PutEntry
from producers.client.kinesis import BotoKinesis
from producers.client.outbox import RetryConfig
from producers.client.outcomes import Outcome
from producers.client.ports import PutResult
from producers.client.settings import CoreConfig, ProducerStats
from simulation.definition import Sent
from simulation.faced import Faced, WorldConfig
from simulation.mapping import Driver
from simulation.plan import Plan
from simulation.schedule import Scheduler, SimulationError
from simulation.stream import NAME, ProducerClient, Stream
from simulation.tally import Tally
from streamgage.errors import DeliveryError
from streamgage.records import UserRecord
from streamgage.shards import Shard

logging.getLogger("streamgage.producer").addHandler(
    logging.NullHandler()
)  # that a shard takes nothing is no news here
_ASKING = 0.5  # of the senders: what became of each event is told by its callback, and raised nowhere


def batching_of(plan: Plan) -> BatcherConfig:
    """Return how the senders of a plan gather."""
    return BatcherConfig(
        aggregate_bytes=plan.aggregate_bytes, linger_ms=plan.linger_ms, one_key_per_record=plan.parallel
    )


class Consumer(Protocol):
    """Who reads the stream."""

    @property
    def tally(self) -> Tally:
        """Its account of what was sent and stored."""

    @property
    def driver(self) -> Driver:
        """Its mapping."""


class Tallies:
    """The accounts of all consumers, told alike."""

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        self._consumers = consumers

    def sent(self, sent: Sent) -> None:
        """Take note of what a user record is."""
        for each in self._consumers:
            each.tally.sent(sent)

    def accepted(self, sent: Sent) -> None:
        """Take note that a producer took a user record."""
        for each in self._consumers:
            each.tally.accepted(sent)

    def given_up(self, record: UserRecord) -> None:
        """Take note that a producer handed a user record back."""
        for each in self._consumers:
            each.tally.given_up(record)

    def sealed(self, data: bytes, records: Iterable[UserRecord]) -> None:
        """Take note of what the data of a Kinesis record holds."""
        held = tuple(records)
        for each in self._consumers:
            each.tally.sealed(data, held)


class NotingPort:
    """A producer's port that tells the tally which user records an aggregated record holds."""

    def __init__(self, port: BotoKinesis, tally: "Tallies") -> None:
        self._port, self._tally = port, tally

    def list_shards(self) -> Sequence[Shard]:
        """Return the shards of the stream."""
        return self._port.list_shards()

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        """Put *entries* in one request."""
        for entry in entries:
            self._tally.sealed(entry.data, entry.records)
        return self._port.put_records(entries)


class SkewedClock:
    """A producer's clock; waiting lets everything else go on."""

    def __init__(self, scheduler: Scheduler, skew_ms: int) -> None:
        self._scheduler, self._skew_ms = scheduler, skew_ms

    def now_ms(self) -> int:
        """Return ms since the epoch, wrongly."""
        return self._scheduler.now_ms + self._skew_ms

    def sleep_ms(self, duration_ms: int) -> None:
        """Return after *duration_ms*."""
        self._scheduler.pause(duration_ms)


class Sender:
    """One process that puts events: the real library, which does what is due when it says so. One call at a time."""

    def __init__(
        self, plan: Plan, stream: Stream, tally: "Tallies", *, skew_ms: int, rng: random.Random
    ) -> None:
        self._scheduler, self._tally = stream.scheduler, tally
        self.clock = SkewedClock(self._scheduler, skew_ms)
        self._waiting: deque[Sent] = deque()
        self._busy = False
        self._armed_ms: int | None = None
        self._puts = 0
        self._asks = rng.random() < _ASKING
        engine = CoreConfig(
            batching=batching_of(plan),
            retries=RetryConfig(timeout_ms=plan.put_timeout_ms, cap_ms=2_000),
            max_buffered_bytes=plan.max_buffered_bytes,
        )
        port = NotingPort(BotoKinesis(ProducerClient(stream), NAME), tally)
        self.faced = Faced(port, WorldConfig(engine=engine), clock=self.clock, rng=rng)

    @property
    def stats(self) -> ProducerStats:
        """What it has sent."""
        return self.faced.producer.stats

    def put(self, sent: Sent) -> None:
        """Put an event, now or after what waits for it."""
        self._waiting.append(sent)
        self._work()

    def close(self) -> None:
        """Leave nothing behind."""
        self.faced.forget()

    def check_idle(self) -> None:
        """Check that it holds nothing any more, and closes."""
        if self.faced.buffered_bytes:
            raise SimulationError(f"a producer still holds {self.faced.buffered_bytes} bytes")
        self._guard(self.faced.producer.close)
        stats = self.stats
        if not stats.events_put == stats.events_stored + stats.events_undelivered == self._puts:
            raise SimulationError(f"of {self._puts} events a producer knows something else: {stats}")

    def _work(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                sent = self._waiting.popleft()
                self._tally.accepted(sent)
                tell = partial(self._told, sent) if self._asks else None
                while not self._guard(partial(self.faced.put, sent, tell)):
                    pass  # others were handed back, and it was not taken
                self._puts += 1
            self.faced.turn()
        finally:
            self._busy = False
        due_ms = self.faced.next_due_ms()
        if due_ms is None:
            return
        if self._armed_ms is None or due_ms < self._armed_ms or self._armed_ms <= self.clock.now_ms():
            self._armed_ms = max(due_ms, self.clock.now_ms() + 1)
            self._scheduler.after(self._armed_ms - self.clock.now_ms(), self._wake)

    def _wake(self) -> None:
        self._armed_ms = None
        self._work()

    def _told(self, sent: Sent, outcome: Outcome) -> None:
        if isinstance(outcome, DeliveryError):
            self._tally.given_up(sent.record)

    def _guard(self, call: Callable[[], object]) -> bool:
        """Return whether it went through; what was handed back is noted."""
        try:
            call()
        except DeliveryError as error:
            for record in error.undelivered:
                self._tally.given_up(record)
            return False
        return True
