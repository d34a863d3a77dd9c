"""Have a producer's Kinesis records sent: requests in flight, answers, waiting, shards that change. For one thread at a time."""

import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import chain

from producers.client.batcher import Batcher
from producers.client.entry import PutEntry
from producers.client.handed_back import delivery_error
from producers.client.outbox import Outbox, PutRequest
from producers.client.outcomes import Delivered, Outcome
from producers.client.ports import THROTTLED_CODES, CredentialsRefused, KinesisPort, PutFailed, PutResult
from producers.client.settings import CoreConfig, ProducerStats
from producers.clock import Clock
from streamgage.errors import ConfigError, DeliveryError, RetryableError
from streamgage.limits import PUT_RECORDS_ENTRIES
from streamgage.records import SealedRecord
from streamgage.shards import ShardMap

_REFRESH_EVERY_MS = (
    1_000  # ListShards at most so often: every entry of a request may be the one that shows a reshard
)
_FIRST_CREDENTIALS_MS = 10_000  # so long are credentials waited for that never worked: they may be wrong

_REASONS = dict.fromkeys(THROTTLED_CODES, "throttled") | {RetryableError.code: "no answer"}

Keep = Callable[[Sequence[SealedRecord]], object]
"""Takes what is not to be sent, and has it safe when it returns."""


class Sender:
    """Carries what a batcher gathered to the stream, by an outbox.

    After an exception that is not its own, Ctrl-C above all, ``mend`` is to be called before anything else.

    ``on_waiting`` is told ``waiting_for`` whenever it begins to wait for the end of a pause; ``on_answer``, in any thread,
    when there is something to collect.
    """

    def __init__(
        self,
        port: KinesisPort,
        batcher: Batcher,
        *,
        clock: Clock,
        rng: random.Random,
        config: CoreConfig,
        stats: ProducerStats,
    ) -> None:
        self.batcher, self.stats = batcher, stats
        self._port, self._clock, self._config = port, clock, config
        self.outbox = Outbox(
            config.retries, request_bytes=config.batching.request_bytes, rng=rng, paced=config.paced
        )
        self.on_waiting: Callable[[str], None] = _tell_nobody
        self._refreshed_ms = clock.now_ms()
        self.on_answer: Callable[[], None] = _do_nothing
        self.on_shards: Callable[[ShardMap], None] = _ignore
        self.settled: list[tuple[PutEntry, Outcome]] = []  # of entries that somebody wants to know of
        self._pool = self._new_pool()
        self._listing: Future[ShardMap | None] | None = None
        self._in_flight: dict[Future[Sequence[PutResult]], PutRequest] = {}
        self._reshard_seen = False
        self._keep: Keep | None = None

    def _new_pool(self) -> ThreadPoolExecutor | None:
        concurrency = self._config.concurrency
        if concurrency == 1 and not self._config.in_background:
            return None
        return ThreadPoolExecutor(concurrency, thread_name_prefix="streamgage-put")

    @property
    def has_room(self) -> bool:
        """Whether a request may start while others are under way."""
        return len(self._in_flight) < self._config.concurrency

    @property
    def waiting_for(self) -> str | None:
        """Why a shard gets nothing just now; None where none pauses after a failure."""
        failure = self.outbox.failing
        return None if failure is None else _REASONS.get(failure.code, failure.code)

    @property
    def diverted(self) -> bool:
        """Whether everything is kept elsewhere."""
        return self._keep is not None

    def send_due(self, now_ms: int) -> None:
        """Send what is due, and take the answers that are there."""
        if self.batcher.due(now_ms):
            self.batcher.move(self.outbox.extend, now_ms)
        if self._keep is not None:
            self._keep_held(self._keep)
            return
        self._collect()
        self._start_requests()

    def send_or_wait(self) -> None:
        """Start what may start now; if there is nothing, wait for an answer or for the end of a pause."""
        if self._keep is not None:
            self._keep_held(self._keep)
            return
        if self._start_requests():
            return
        due_ms = self.outbox.next_due_ms()
        pause_ms = None if due_ms is None else max(due_ms - self._clock.now_ms(), 0)
        if not self._in_flight and not pause_ms:
            return
        reason = self.waiting_for if pause_ms else None
        if reason is not None:
            self.on_waiting(reason)
        if self._in_flight:
            may_start = pause_ms is not None and len(self._in_flight) < self._config.concurrency
            timeout_s = pause_ms / 1000 if may_start and pause_ms is not None else None
            wait(self._in_flight, timeout=timeout_s, return_when=FIRST_COMPLETED)
            self._collect()
        elif pause_ms:
            self._clock.sleep_ms(pause_ms)

    def divert(self, keep: Keep) -> None:
        """Send nothing more: *keep* gets what is here, given up or under way, and all that comes, sealed.

        What is under way may be stored all the same: its mark says so.
        """
        self._keep = keep
        self._in_flight.clear()
        self.outbox.mend(())
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self._keep_held(keep)

    def give_up(self) -> None:
        """Give up all that is queued or under way."""
        self._in_flight.clear()
        self.outbox.mend(())
        failure = self.outbox.failing or PutFailed("given_up", "there was no answer yet")
        self.outbox.give_up(failure, self._clock.now_ms())
        self._note_given_up(self.outbox.given_up)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = self._new_pool()

    def drop_oldest(self) -> int:
        """Drop the oldest entry that is not under way, and return how many events it had; 0: there is none."""
        entry = self.outbox.drop_oldest()
        if entry is None:
            return 0
        self.stats.events_undelivered += entry.events
        self.stats.events_dropped += entry.events
        if entry.outcomes:
            error = DeliveryError(
                f"{entry.events} events were dropped: memory was full, and newer ones wait",
                entry.records,
                [entry.sealed],
            )
            self.settled.append((entry, error))
        return entry.events

    def mend(self) -> None:
        """Take in what an interrupt left half done: what is not known to be stored, kept or handed back is sent again."""
        self.outbox.mend(self._in_flight.values())
        self.batcher.mend({**self.outbox.held, **self.outbox.given_up})

    def stop(self) -> None:
        """End the threads. Raises: nothing; there is nothing to send."""
        if self._pool is not None:
            self._pool.shutdown()

    def _keep_held(self, keep: Keep) -> None:
        while entries := [*chain(self.outbox.given_up, self.outbox.held)][:PUT_RECORDS_ENTRIES]:
            keep([each.sealed for each in entries])
            for each in entries:
                self.stats.events_undelivered += each.events
                if each.outcomes:
                    self.settled.append((each, Delivered()))
                self.outbox.given_up.pop(each, None)
                if each in self.outbox.held:
                    self.outbox.drop(each)
            self.outbox.mend(())

    def _start_requests(self) -> int:
        """Start each request that may go now, and return how many; without a pool, answers come in here."""
        started = 0
        while len(self._in_flight) < self._config.concurrency:
            self._refresh_shards()
            request = self.outbox.next_request(self._clock.now_ms())
            if request is None:
                break
            started += 1
            self.stats.requests += 1
            if (future := self._submit(request)) is not None:
                self._in_flight[future] = request
            else:
                self._settle(request, partial(self._put_records, request))
        return started

    def _submit(self, request: PutRequest) -> Future[Sequence[PutResult]] | None:
        """Have another thread put *request*; None where there is none to do it."""
        if self._pool is None:
            return None
        try:
            future = self._pool.submit(self._put_records, request)
        except (
            RuntimeError
        ):  # the main thread has ended, and pools take nothing more; this thread may go on for long
            self._pool = None
            return None
        future.add_done_callback(lambda _: self.on_answer())
        return future

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
        results = answer()
        self._count(request.entries, results)
        self.outbox.settle(request, results, now_ms=self._clock.now_ms())
        self._note_given_up(each for each in request.entries if each in self.outbox.given_up)

    def _note_given_up(self, entries: Iterable[PutEntry]) -> None:
        given_up = self.outbox.given_up
        self.settled += [(each, delivery_error([given_up[each]])) for each in entries if each.outcomes]

    def _count(self, entries: Iterable[PutEntry], results: Iterable[PutResult]) -> None:
        stats = self.stats
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, PutFailed):
                stats.entries_failed += 1
                stats.entries_throttled += result.code in THROTTLED_CODES
                continue
            stats.entries_stored += 1
            stats.events_stored += entry.events
            stats.bytes_stored += entry.size_bytes
            if entry.outcomes:
                self.settled.append((entry, Delivered(result.shard_id, result.sequence_number)))
            if result.shard_id != entry.shard_id:
                stats.entries_misrouted += 1
                # What was predicted with shards that are known to be gone tells nothing new.
                self._reshard_seen |= entry.shard_id in self.batcher.shards.shard_ids

    def _refresh_shards(self) -> None:
        """List the shards again after a reshard. None goes unseen: a split or merge makes shards of other ids."""
        if self._listing is not None:
            if self._listing.done():
                listing, self._listing = self._listing, None
                self._take_shards(listing.result())
            return
        now_ms = self._clock.now_ms()
        if not self._reshard_seen or now_ms - self._refreshed_ms < _REFRESH_EVERY_MS:
            return
        self._refreshed_ms = now_ms
        if self._pool is not None and self._config.in_background:
            try:
                self._listing = self._pool.submit(self._list_shards)
            except RuntimeError:  # as in _submit
                self._pool = None
            else:
                self._listing.add_done_callback(lambda _: self.on_answer())
                return
        self._take_shards(self._list_shards())

    def _list_shards(self) -> ShardMap | None:
        """Return the shards, in whichever thread; None: the old map still sends every record, predicted worse."""
        try:
            return ShardMap(self._port.list_shards())
        except (RetryableError, ConfigError):
            return None

    def _take_shards(self, shards: ShardMap | None) -> None:
        if shards is None:
            return
        self._reshard_seen = False
        self.stats.refreshes += 1
        if shards.shard_ids != self.batcher.shards.shard_ids:
            self.batcher.set_shards(shards)
            self.on_shards(shards)


def first_shards(port: KinesisPort, clock: Clock, rng: random.Random, config: CoreConfig) -> ShardMap:
    """Return the shards of the stream.

    Raises:
        ConfigError: there is no such stream, or no right to it.
        RetryableError: Kinesis did not answer for as long as the retries last; or refuses the credentials.
    """
    retries = config.retries
    began_ms = clock.now_ms()
    failures = 0
    while True:
        try:
            return ShardMap(port.list_shards())
        except RetryableError as error:
            failures += 1
            patience_ms = retries.timeout_ms
            if isinstance(error, CredentialsRefused):
                patience_ms = min(patience_ms, _FIRST_CREDENTIALS_MS)
            if failures >= retries.max_attempts or clock.now_ms() - began_ms >= patience_ms:
                raise
        clock.sleep_ms(retries.pause_ms(failures, rng))


def _do_nothing() -> None:
    """Do nothing."""


def _ignore(_: ShardMap) -> None:
    """Do nothing."""


def _tell_nobody(_reason: str) -> None:
    """Tell nobody."""
