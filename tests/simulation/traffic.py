"""Who works on the stream of a world: producers, strangers that put single records, operators."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from infra.local.kinesis.errors import KinesisError
from producers.client.batcher import BatcherConfig, PutEntry
from producers.client.core import CoreConfig, ProducerCore
from producers.client.identity import Identity
from producers.client.kinesis import BotoKinesis
from producers.client.outbox import RetryConfig
from producers.client.ports import PutResult
from simulation.definition import Sent, draw_broken_frame, draw_event, draw_poison
from simulation.mapping import Driver
from simulation.plan import TAIL_MS, Dice, Plan
from simulation.schedule import Scheduler
from simulation.stream import NAME, ProducerClient, Stream
from simulation.tally import Tally
from streamgage.errors import DeliveryError
from streamgage.records import UserRecord
from streamgage.shards import Shard

_STRANGERS = 0.15  # of the events
_RESHARDS, _RESTARTS = 3, 4  # attempts of each kind


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


class _NotingPort:
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


class _SkewedClock:
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
        self.clock = _SkewedClock(self._scheduler, skew_ms)
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
        port = _NotingPort(BotoKinesis(ProducerClient(stream), NAME), tally)
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


class Traffic:
    """Everything that is planned before the first step: who puts what and when, and when operators act."""

    def __init__(
        self, plan: Plan, *, stream: Stream, consumers: Sequence[Consumer], dice: Dice, rng: random.Random
    ) -> None:
        """*consumers* is a list that others may be added to."""
        self._stream, self._consumers, self._dice, self._rng = stream, consumers, dice, rng
        self._tally = tally = Tallies(consumers)
        self._devices = plan.devices
        scheduler = stream.scheduler
        skews = [
            dice.of("skew").randint(-240_000, 240_000) if dice.strikes("skew") else 0
            for _ in range(plan.producers)
        ]
        self.senders = [
            Sender(plan, stream, tally, skew_ms=skew_ms, rng=random.Random(rng.getrandbits(64)))
            for skew_ms in skews
        ]
        for number in range(plan.events):
            at_ms, seed = rng.randint(0, plan.span_ms), rng.getrandbits(64)
            if number not in plan.left_out:
                scheduler.after(at_ms, partial(self._put, number, seed))
        for fault, act in (
            ("split", stream.split),
            ("merge", partial(stream.merge, halves=False)),
            ("remerge", partial(stream.merge, halves=True)),
        ):
            for _ in range(_RESHARDS):
                at_ms = rng.randint(0, plan.span_ms + TAIL_MS // 4)
                scheduler.after(at_ms, partial(self._reshard, fault, act))
        for _ in range(_RESTARTS):
            scheduler.after(rng.randint(0, plan.span_ms + TAIL_MS), self._restart)

    def _put(self, number: int, seed: int) -> None:
        """Put the *number*-th event. Its dice are its own: it is the same in a world with fewer faults."""
        rng = random.Random(seed)
        sender = self.senders[rng.randrange(len(self.senders))]
        if self._dice.strikes("frame_poison"):
            self._put_plain("d0", draw_broken_frame(rng, number))
            return
        if self._dice.strikes("user_poison"):
            sent = draw_poison(rng, number)
        else:
            sent = draw_event(rng, number, sender.clock.now_ms(), devices=self._devices)
        self._tally.sent(sent)
        if rng.random() < _STRANGERS:
            self._tally.sealed(sent.record.data, (sent.record,))
            self._put_plain(sent.record.partition_key, sent.record.data)
        else:
            sender.put(sent)

    def _put_plain(self, partition_key: str, data: bytes) -> None:
        """Put one record as any client may, without a retry: what Kinesis refuses was never accepted."""
        try:
            self._stream.call("PutRecord", {"StreamName": NAME, "PartitionKey": partition_key, "Data": data})
        except KinesisError:
            return

    def _reshard(self, fault: str, act: Callable[[random.Random], bool]) -> None:
        if self._dice.strikes(fault) and not act(self._dice.of(fault)):
            self._dice.fired[fault] -= 1

    def _restart(self) -> None:
        for consumer in self._consumers:
            if self._dice.strikes("restart"):
                consumer.driver.start()
