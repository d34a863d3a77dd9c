"""Send user records to a stream: gathered, retried, accounted for."""

import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from types import TracebackType
from typing import Self

from producers.client.batcher import Batcher, BatcherConfig, PutEntry, TagsFor
from producers.client.encoder import encoder_of
from producers.client.many import RefusedEvents, take_many, untold
from producers.client.outbox import Outbox, PutRequest, RetryConfig
from producers.client.ports import KinesisPort, PutFailed, PutResult
from producers.clock import Clock
from streamgage.definition.pipeline import Source
from streamgage.errors import ConfigError, DeliveryError, RetryableError
from streamgage.formats.avro import Event
from streamgage.limits import MIB
from streamgage.records import UserRecord
from streamgage.shards import ShardMap

_THROTTLED_CODES = {"ProvisionedThroughputExceededException", "KMSThrottlingException", "throttled"}
_REFRESH_EVERY_MS = (
    1_000  # ListShards at most so often: every entry of a request may be the one that shows a reshard
)
_GIVE_UP_S = 2.0  # for the answers to what is on its way


@dataclass(frozen=True, slots=True)
class ProducerConfig:
    """How a producer sends.

    Attributes:
        batching: how user records are gathered.
        retries: how long a Kinesis record is tried.
        concurrency: requests in flight. With 1 everything happens in the caller's thread, in an order that the port,
            the clock and the dice decide.
        max_buffered_bytes: ``put`` waits while more than this is buffered, data and keys as Kinesis counts them; in
            memory small user records take some four times as much.
    """

    batching: BatcherConfig = field(default_factory=BatcherConfig)
    retries: RetryConfig = field(default_factory=RetryConfig)
    concurrency: int = 2
    max_buffered_bytes: int = 8 * MIB

    def __post_init__(self) -> None:
        """Refuse what would never send."""
        if self.concurrency < 1 or self.max_buffered_bytes < 1:
            raise ConfigError(
                f"concurrency is {self.concurrency}, max_buffered_bytes is {self.max_buffered_bytes}; least is 1"
            )


@dataclass(slots=True)
class ProducerStats:
    """What a producer has done so far; for progress bars."""

    events_put: int = 0
    events_stored: int = 0
    events_undelivered: int = 0
    entries_stored: int = 0
    bytes_stored: int = 0
    requests: int = 0
    entries_failed: int = 0  # one entry may fail several times; how many of these were throttled:
    entries_throttled: int = 0
    entries_misrouted: int = 0  # stored on a shard other than predicted
    refreshes: int = 0


class Producer:
    """Puts user records into a stream, at least once each, or says which it could not.

    For one thread at a time. Nothing happens between calls: a source that may fall silent calls ``poll`` now and
    then, or what it put last waits until the next put, ``flush`` or ``close``.

    Every user record is, at any moment, stored, or buffered here, or was handed back by a ``DeliveryError``. A
    producer that raised one goes on as before. A request that timed out may have been stored, and sending it again
    may store it twice: its bytes are the same both times, and *tags_for* can mark them so that a consumer knows. What
    was stored on another shard than predicted (the stream was resharded) is not sent again; streamgage counts it
    where it is, while the KCL drops user records that its shard's hash keys do not cover.
    """

    def __init__(
        self,
        port: KinesisPort,
        *,
        clock: Clock,
        rng: random.Random,
        config: ProducerConfig | None = None,
        tags_for: TagsFor | None = None,
    ) -> None:
        """List the shards of the stream.

        Raises:
            ConfigError: there is no such stream, or no right to it.
            RetryableError: Kinesis did not answer for as long as the retries last.
        """
        self.stats = ProducerStats()
        self._port = port
        self._clock = clock
        self._rng = rng
        self._config = config or ProducerConfig()
        self._refreshed_ms = clock.now_ms()
        self._batcher = Batcher(self._first_shards(), self._config.batching, tags_for=tags_for)
        self._outbox = Outbox(
            self._config.retries, request_bytes=self._config.batching.request_bytes, rng=rng
        )
        self._pool = ThreadPoolExecutor(self._config.concurrency) if self._config.concurrency > 1 else None
        self._in_flight: dict[Future[Sequence[PutResult]], PutRequest] = {}
        self._undelivered: list[PutEntry] = []
        self._last_failure = self._last_code = ""
        self._reshard_seen = False
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close, after an exception too: what was put is to be sent."""
        self.close()

    @property
    def buffered_bytes(self) -> int:
        """The bytes of all that was put and is not known to be stored."""
        return self._batcher.buffered_bytes + self._outbox.buffered_bytes

    def put(self, record: UserRecord) -> None:
        """Take *record*, send what is due, and wait while too much is buffered.

        Raises:
            UnsendableRecord: Kinesis cannot take it; it was not taken here either.
            DeliveryError: user records, perhaps this one, were given up. Those not named are stored or still here:
                do not put them again.
        """
        self._check_open()
        now_ms = self._clock.now_ms()
        self._batcher.put(record, now_ms)
        self._taken(now_ms, record.events)
        if self._undelivered:
            self._raise_undelivered()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("put() on a closed producer")

    def _taken(self, now_ms: int, events: int = 1) -> None:
        self.stats.events_put += events
        if self._batcher.due(now_ms):
            self._send_due(now_ms)
        while self.buffered_bytes > self._config.max_buffered_bytes:
            if not self._outbox:
                self._outbox.extend(self._batcher.take_all())
            self._send_or_wait()

    def send(self, source: Source, event: Event) -> None:
        """Take *event* of *source*: into a block where the pipeline says so, else as a user record of its own.

        Raises:
            ValueError: it would be quarantined on arrival; it was not taken.
            UnsendableRecord, DeliveryError: as ``put`` does.
        """
        self._check_open()
        self._take_event(source, event)
        if self._undelivered:
            self._raise_undelivered()

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
        self._check_open()
        refused = take_many(
            events, partial(self._take_run, source), partial(self._take_event, source), taken_so_far
        )
        if refused:
            raise RefusedEvents(refused, len(events))
        self._raise_undelivered()

    def _take_run(self, source: Source, events: Sequence[Event]) -> int:
        """Take the first of *events* by which nothing becomes due and nothing waits, and return how many."""
        if not source.blocks:
            return 0
        now_ms = self._clock.now_ms()
        room_bytes = self._config.max_buffered_bytes - self.buffered_bytes
        taken = self._batcher.put_run(source, events, now_ms, room_bytes=room_bytes)
        self.stats.events_put += taken
        return taken

    def _take_event(self, source: Source, event: Event) -> None:
        now_ms = self._clock.now_ms()
        if source.blocks:
            self._batcher.put_event(source, event, now_ms)
        else:
            self._batcher.put(encoder_of(source).user_record(event), now_ms)
        self._taken(now_ms)

    def poll(self) -> None:
        """Send what is due, without waiting for the rest. Raises DeliveryError as ``put`` does."""
        self._send_due(self._clock.now_ms())
        self._raise_undelivered()

    def next_due_ms(self) -> int | None:
        """Return when ``poll`` will have something to do, on the producer's clock; None if that is up to others."""
        due_ms = [
            due for due in (self._batcher.next_deadline_ms(), self._outbox.next_due_ms()) if due is not None
        ]
        return min(due_ms, default=None)

    def flush(self) -> None:
        """Send everything, and return when it is stored.

        Raises:
            DeliveryError: what could not be delivered, after everything else was.
        """
        self._outbox.extend(self._batcher.take_all())
        while self._outbox:
            self._send_or_wait()
        self._raise_undelivered()

    @property
    def waiting_for(self) -> str | None:
        """Why a shard gets nothing just now: "throttled", or the code of its last failure; None where none pauses."""
        if not self._last_code or not self._outbox.has_failures:
            return None
        return "throttled" if self._last_code in _THROTTLED_CODES else self._last_code

    def give_up(self) -> None:
        """Hand back, as given up, all that is not known to be stored. What is on its way is waited for, not for long.

        Raises:
            DeliveryError: if there is anything. What was still on its way may be stored all the same.
        """
        self._outbox.extend(self._batcher.take_all())
        wait(self._in_flight, timeout=_GIVE_UP_S)
        self._collect()
        on_their_way = [entry for request in self._in_flight.values() for entry in request.entries]
        for entry in (*on_their_way, *self._outbox.clear()):
            self._undelivered.append(entry)
            self.stats.events_undelivered += entry.events
            self._last_failure = self._last_failure or "given up before there was an answer"
        if self._in_flight and self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = ThreadPoolExecutor(self._config.concurrency)
        self._in_flight.clear()
        self._raise_undelivered()

    def close(self) -> None:
        """Flush and take no more. Raises DeliveryError as ``flush`` does; closing again does nothing."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = not self._outbox  # else something unforeseen was raised: close again
            if self._closed and self._pool:
                self._pool.shutdown()

    def _send_due(self, now_ms: int) -> None:
        if self._batcher.due(now_ms):
            self._outbox.extend(self._batcher.take(now_ms))
        self._collect()
        self._start_requests()

    def _send_or_wait(self) -> None:
        """Start what may start now; if there is nothing, wait for an answer or for the end of a pause."""
        if self._start_requests():
            return
        due_ms = self._outbox.next_due_ms()
        pause_ms = None if due_ms is None else max(due_ms - self._clock.now_ms(), 0)
        if self._in_flight:
            may_start = pause_ms is not None and len(self._in_flight) < self._config.concurrency
            timeout_s = pause_ms / 1000 if may_start and pause_ms is not None else None
            wait(self._in_flight, timeout=timeout_s, return_when=FIRST_COMPLETED)
            self._collect()
        elif pause_ms:
            self._clock.sleep_ms(pause_ms)

    def _start_requests(self) -> int:
        """Start each request that may go now, and return how many; without a pool, answers come in here."""
        started = 0
        while len(self._in_flight) < self._config.concurrency:
            self._refresh_shards()
            request = self._outbox.next_request(self._clock.now_ms())
            if request is None:
                break
            started += 1
            self.stats.requests += 1
            if self._pool:
                self._in_flight[self._pool.submit(self._put_records, request)] = request
            else:
                self._settle(request, partial(self._put_records, request))
        return started

    def _collect(self) -> None:
        """Take the answers that are there."""
        for future in [future for future in self._in_flight if future.done()]:
            self._settle(self._in_flight.pop(future), future.result)

    def _put_records(self, request: PutRequest) -> Sequence[PutResult]:
        """Put *request* and return a result an entry, in whichever thread; touches nothing here."""
        try:
            return self._port.put_records(request.entries)
        except (RetryableError, ConfigError) as error:
            return [PutFailed(error.code, str(error))] * len(request.entries)

    def _settle(self, request: PutRequest, answer: Callable[[], Sequence[PutResult]]) -> None:
        try:
            results = answer()
        except BaseException:  # a bug, or Ctrl-C: it goes on its way, and the request is not lost
            self._outbox.restore(request)
            raise
        self._count(request.entries, results)
        for entry, failure in self._outbox.settle(request, results, now_ms=self._clock.now_ms()):
            self._undelivered.append(entry)
            self.stats.events_undelivered += entry.events
            tried_s = (self._clock.now_ms() - entry.opened_ms) / 1000
            self._last_failure = (
                f"{failure.code}: {failure.message} (shard {entry.shard_id}), tried for {tried_s:,.1f} s"
            )

    def _count(self, entries: Iterable[PutEntry], results: Iterable[PutResult]) -> None:
        stats = self.stats
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, PutFailed):
                stats.entries_failed += 1
                stats.entries_throttled += result.code in _THROTTLED_CODES
                self._last_code = result.code
                continue
            stats.entries_stored += 1
            stats.events_stored += entry.events
            stats.bytes_stored += entry.size_bytes
            if result.shard_id != entry.shard_id:
                stats.entries_misrouted += 1
                # What was predicted with shards that are known to be gone tells nothing new.
                self._reshard_seen |= entry.shard_id in self._batcher.shards.shard_ids

    def _refresh_shards(self) -> None:
        """List the shards again after a reshard. None goes unseen: a split or merge makes shards of other ids."""
        now_ms = self._clock.now_ms()
        if not self._reshard_seen or now_ms - self._refreshed_ms < _REFRESH_EVERY_MS:
            return
        self._refreshed_ms = now_ms
        try:
            shards = ShardMap(self._port.list_shards())
        except (RetryableError, ConfigError):
            return  # the old map still sends every record; only the prediction is worse
        self._reshard_seen = False
        self.stats.refreshes += 1
        if shards.shard_ids != self._batcher.shards.shard_ids:
            self._batcher.set_shards(shards)

    def _first_shards(self) -> ShardMap:
        retries = self._config.retries
        give_up_ms = self._clock.now_ms() + retries.timeout_ms
        failures = 0
        while True:
            try:
                return ShardMap(self._port.list_shards())
            except RetryableError:
                failures += 1
                if failures >= retries.max_attempts or self._clock.now_ms() >= give_up_ms:
                    raise
            self._clock.sleep_ms(retries.pause_ms(failures, self._rng))

    def _raise_undelivered(self) -> None:
        if not self._undelivered:
            return
        entries, self._undelivered = self._undelivered, []
        numbered = [pair for entry in entries for pair in zip(entry.numbers, entry.records, strict=True)]
        numbered.sort(key=itemgetter(0))
        raise DeliveryError(
            f"{sum(record.events for _, record in numbered)} events in {len(entries)} Kinesis records were not delivered; the last failed with "
            f"{self._last_failure}",
            [record for _, record in numbered],
        )
