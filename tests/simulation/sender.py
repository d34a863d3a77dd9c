"""The senders of a world: the real producer, polled when it says so."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from producers.client.batcher import BatcherConfig, PutEntry
from producers.client.core import CoreConfig, ProducerCore
from producers.client.identity import Identity
from producers.client.kinesis import BotoKinesis
from producers.client.outbox import RetryConfig
from producers.client.ports import PutResult
from simulation.definition import Sent
from simulation.mapping import Driver
from simulation.plan import Plan
from simulation.schedule import Scheduler
from simulation.stream import NAME, ProducerClient, Stream
from simulation.tally import Tally
from streamgage.errors import DeliveryError
from streamgage.records import UserRecord
from streamgage.shards import Shard


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
    """One process that puts events: the real producer, polled when it says so. One call at a time."""

    def __init__(
        self, plan: Plan, stream: Stream, tally: "Tallies", *, skew_ms: int, rng: random.Random
    ) -> None:
        self._scheduler, self._tally = stream.scheduler, tally
        self.clock = SkewedClock(self._scheduler, skew_ms)
        self._waiting: deque[Sent] = deque()
        self._busy = False
        self._armed_ms: int | None = None
        config = CoreConfig(
            batching=BatcherConfig(
                aggregate_bytes=plan.aggregate_bytes,
                linger_ms=plan.linger_ms,
                one_key_per_record=plan.parallel,
            ),
            retries=RetryConfig(timeout_ms=plan.put_timeout_ms, cap_ms=2_000),
            concurrency=1,
            max_buffered_bytes=plan.max_buffered_bytes,
        )
        port = NotingPort(BotoKinesis(ProducerClient(stream), NAME), tally)
        identity = Identity(rng)
        self.producer = ProducerCore(
            port, clock=self.clock, rng=rng, config=config, tags_for=identity.tags_for
        )

    def put(self, sent: Sent) -> None:
        """Put an event, now or after what waits for it."""
        self._waiting.append(sent)
        self._work()

    def _work(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                sent = self._waiting.popleft()
                self._tally.accepted(sent)
                self._guard(partial(self.producer.put, sent.record))
            self._guard(self.producer.poll)
        finally:
            self._busy = False
        due_ms = self.producer.next_due_ms()
        if due_ms is None:
            return
        if self._armed_ms is None or due_ms < self._armed_ms or self._armed_ms <= self.clock.now_ms():
            self._armed_ms = max(due_ms, self.clock.now_ms() + 1)
            self._scheduler.after(self._armed_ms - self.clock.now_ms(), self._wake)

    def _wake(self) -> None:
        self._armed_ms = None
        self._work()

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except DeliveryError as error:
            for record in error.undelivered:
                self._tally.given_up(record)
