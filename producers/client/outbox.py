"""What is to be sent next, and what after a failure: a queue a shard, full jitter between attempts.

No I/O, no clock: the caller says what time it is, carries the requests and reports what came of them.
"""

import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from producers.client.entry import PutEntry
from producers.client.pace import ShardPace, TokenBucket
from producers.client.ports import THROTTLED_CODES, PutFailed, PutResult
from streamgage.errors import ConfigError
from streamgage.limits import PUT_RECORDS_ENTRIES

# What no retry mends. Anything else is tried again, within bounds: of single records the API names
# ProvisionedThroughputExceededException and InternalFailure only.
PERMANENT_CODES = frozenset(
    {
        "AccessDeniedException",
        "InvalidArgumentException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSNotFoundException",
        "KMSOptInRequired",
        "ResourceNotFoundException",
        "ValidationException",
        ConfigError.code,
    }
)


_PACES = 10_000  # shards whose pace is remembered


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """How long a Kinesis record is tried.

    Attributes:
        base_ms: the n-th failure in a row of a shard is followed by a pause of 0 to min(cap_ms, base_ms * 2**(n-1)),
            evenly distributed: "full jitter" in
            https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (checked 2026-11-21).
        cap_ms: see base_ms.
        max_attempts: after so many a record is given up. Time should be what ends it: a shard that is throttled
            refuses often and briefly.
        max_per_s: over all shards, so many times a second at most one of them is tried again: while everything fails, that
            is all that a service in trouble gets from here.
        timeout_ms: a record that fails so long after its first user record was put is given up.
    """

    base_ms: int = 100
    cap_ms: int = 5_000
    max_attempts: int = 50
    timeout_ms: int = 120_000
    max_per_s: int = 50

    def __post_init__(self) -> None:
        """Refuse what would never try."""
        if min(self.base_ms, self.cap_ms, self.timeout_ms) < 0 or min(self.max_attempts, self.max_per_s) < 1:
            raise ConfigError(f"retries: {self} has a negative time, no attempt, or none in a second")

    def pause_ms(self, failures: int, rng: random.Random) -> int:
        """Return the pause after the *failures*-th failure in a row (the first is 1)."""
        return rng.randint(0, min(self.cap_ms, self.base_ms << min(failures - 1, 32)))


PATIENT = RetryConfig(cap_ms=30_000, max_attempts=2**31, timeout_ms=2**53)
"""Retries that give up nothing that may pass: so nothing overtakes what is tried again. What is in a spool is sent so."""


@dataclass(slots=True, eq=False)
class _Pending:
    entry: PutEntry
    attempts: int = 0
    first_ms: int = 0  # when it was first sent


@dataclass(slots=True, eq=False)
class _ShardQueue:
    pending: deque[_Pending] = field(default_factory=deque)
    in_flight: bool = False
    failures: int = 0  # requests in a row that stored nothing here
    not_before_ms: int = 0
    failure: PutFailed | None = None  # why it pauses


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An entry that is tried no more, and for how long it was."""

    entry: PutEntry
    failure: PutFailed
    attempts: int
    tried_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class PutRequest:
    """Entries for one PutRecords call: within its limits, those of a shard in the order they were sealed."""

    entries: tuple[PutEntry, ...]
    pending: tuple[_Pending, ...]


class Outbox:
    """The Kinesis records that are not known to be stored.

    A shard has at most one request in flight, and a record that failed goes before those behind it: so records of a
    shard keep their order, except where PutRecords stores the later of two in one request only. A throttled
    shard waits without holding up the others.

    Each request that ``next_request`` returns must come back by ``settle``. ``held`` has what is queued or in flight;
    ``given_up`` what is tried no more, until somebody takes it from there. Who was interrupted calls ``mend``.

    *paced*: a shard is written to no faster than it takes, and slower while it throttles; see ShardPace.
    """

    def __init__(
        self, config: RetryConfig, *, request_bytes: int, rng: random.Random, paced: bool = False
    ) -> None:
        self._config = config
        self._request_bytes = request_bytes
        self._rng = rng
        self._retries = TokenBucket(config.max_per_s, config.max_per_s)
        self._paced = paced
        self._paces: dict[str, ShardPace] = {}
        self._queues: dict[str, _ShardQueue] = {}
        self.held: dict[PutEntry, _Pending] = {}  # in the order they came
        self.given_up: dict[PutEntry, GivenUp] = {}
        self.buffered_bytes = self.memory_bytes = 0
        self.failing: PutFailed | None = (
            None  # why a shard pauses whose last request stored nothing; for any thread
        )

    def __bool__(self) -> bool:
        """Tell whether anything is queued or in flight."""
        return bool(self.held)

    @property
    def events(self) -> int:
        """How many events are held or given up. Counts them all: for who was interrupted."""
        return sum(each.events for each in chain(self.held, self.given_up))

    def extend(self, entries: Iterable[PutEntry]) -> None:
        """Queue *entries* behind the others."""
        for entry in entries:
            self.held[entry] = pending = _Pending(entry)  # from here on it is not lost: see mend
            self._queues.setdefault(entry.shard_id, _ShardQueue()).pending.append(pending)
            self.buffered_bytes += entry.size_bytes
            self.memory_bytes += entry.memory_bytes

    def next_due_ms(self) -> int | None:
        """Return when ``next_request`` will have one, unless an answer comes earlier; None when only answers can."""
        idle = [queue.not_before_ms for queue in self._queues.values() if not queue.in_flight]
        return min(idle, default=None)

    def next_request(self, now_ms: int) -> PutRequest | None:
        """Return what may be sent now: an entry a shard in turn, the longest waiting shard first."""
        queues = [
            (shard_id, queue)
            for shard_id, queue in self._queues.items()
            if not queue.in_flight and queue.not_before_ms <= now_ms
        ]
        if not queues:
            return None
        queues.sort(key=lambda each: each[1].pending[0].entry.opened_ms)
        chosen: list[_Pending] = []
        room_bytes = self._request_bytes
        while queues:
            for each in tuple(queues):
                shard_id, queue = each
                size_bytes = queue.pending[0].entry.size_bytes
                full = bool(chosen) and (len(chosen) == PUT_RECORDS_ENTRIES or size_bytes > room_bytes)
                full = full or not self._may_go(shard_id, queue, now_ms)
                if not full:
                    queue.in_flight = True
                    chosen.append(queue.pending.popleft())
                    room_bytes -= size_bytes
                if full or not queue.pending:
                    queues.remove(each)
        for pending in chosen:
            if not pending.attempts:
                pending.first_ms = now_ms
        if not chosen:  # each has to wait, by its pace or for others that are tried again
            return None
        return PutRequest(tuple(pending.entry for pending in chosen), tuple(chosen))

    def settle(self, request: PutRequest, results: Sequence[PutResult], *, now_ms: int) -> None:
        """Take the answer to *request*, a result an entry.

        What failed is queued again, before what is behind it, or given up.
        """
        again: dict[str, list[_Pending]] = {pending.entry.shard_id: [] for pending in request.pending}
        stored: set[str] = set()
        failures: dict[str, PutFailed] = {}
        for pending, result in zip(request.pending, results, strict=True):
            entry = pending.entry
            pending.attempts += 1
            if isinstance(result, PutFailed):
                failures[entry.shard_id] = result
                if not self._is_hopeless(pending, result, now_ms):
                    again[entry.shard_id].append(pending)
                    continue
                self.given_up[entry] = GivenUp(entry, result, pending.attempts, now_ms - pending.first_ms)
            else:
                stored.add(entry.shard_id)
            self.drop(entry)
        for shard_id, pendings in again.items():
            queue = self._queues[shard_id]
            queue.failures = queue.failures + 1 if pendings and shard_id not in stored else 0
            queue.failure = failures.get(shard_id)
            if self._paced:
                throttled = queue.failure is not None and queue.failure.code in THROTTLED_CODES
                self._pace_of(shard_id).answered(throttled=throttled, now_ms=now_ms)
            if pendings:
                queue.not_before_ms = now_ms + self._config.pause_ms(max(queue.failures, 1), self._rng)
            self._put_back(shard_id, pendings)
        self._note_failing()

    def drop(self, entry: PutEntry) -> None:
        """Hold *entry* no more: somebody else does."""
        del self.held[entry]
        self.buffered_bytes -= entry.size_bytes
        self.memory_bytes -= entry.memory_bytes

    def drop_oldest(self) -> PutEntry | None:
        """Hold the oldest that is not in flight no more, and return it; None where there is none."""
        waiting = [queue for queue in self._queues.values() if queue.pending]
        oldest = min(waiting, key=lambda queue: queue.pending[0].entry.opened_ms, default=None)
        if oldest is None:
            return None
        entry = oldest.pending.popleft().entry
        self.drop(entry)
        if not oldest.pending and not oldest.in_flight:
            del self._queues[entry.shard_id]
        return entry

    def give_up(self, failure: PutFailed, now_ms: int) -> None:
        """Give up everything; nothing is in flight any more."""
        for entry, pending in list(self.held.items()):
            tried_ms = now_ms - pending.first_ms if pending.attempts else 0
            self.given_up[entry] = GivenUp(entry, failure, pending.attempts, tried_ms)
            self.drop(entry)
        self.mend(())

    def mend(self, in_flight: Iterable[PutRequest]) -> None:
        """Take in what an interrupt left half done. What is in none of the requests *in_flight* is queued again.

        Nobody may know what came of it then: it is sent again, with the same bytes.
        """
        for entry in self.given_up:
            self.held.pop(entry, None)
        self.buffered_bytes = sum(entry.size_bytes for entry in self.held)
        self.memory_bytes = sum(entry.memory_bytes for entry in self.held)
        before, self._queues = self._queues, {}
        flying = {pending.entry for request in in_flight for pending in request.pending}
        for entry, pending in self.held.items():
            queue = self._queues.setdefault(entry.shard_id, _ShardQueue())
            if entry in flying:
                queue.in_flight = True
            else:
                queue.pending.append(pending)
        for shard_id, queue in self._queues.items():
            if shard_id in before:
                was = before[shard_id]
                queue.failures, queue.failure = was.failures, was.failure
                queue.not_before_ms = was.not_before_ms
        self._note_failing()

    def _may_go(self, shard_id: str, queue: _ShardQueue, now_ms: int) -> bool:
        """Tell whether the next of *queue* may go now; if not, the queue waits for it."""
        size_bytes = queue.pending[0].entry.size_bytes
        is_again = queue.pending[0].attempts > 0 and not queue.in_flight
        wait_ms = self._retries.wait_ms(1, now_ms) if is_again else 0
        if self._paced:
            wait_ms = max(wait_ms, self._pace_of(shard_id).wait_ms(size_bytes, now_ms))
        if wait_ms:
            queue.not_before_ms = max(queue.not_before_ms, now_ms + wait_ms)
            return False
        if is_again:
            self._retries.take(1, now_ms)
        if self._paced:
            self._pace_of(shard_id).take(size_bytes, now_ms)
        return True

    def _pace_of(self, shard_id: str) -> ShardPace:
        pace = self._paces.get(shard_id)
        if pace is None:
            if len(self._paces) >= _PACES:  # shards that went long ago
                self._paces.clear()
            pace = self._paces[shard_id] = ShardPace()
        return pace

    def _note_failing(self) -> None:
        self.failing = next((each.failure for each in self._queues.values() if each.failures), None)

    def _is_hopeless(self, pending: _Pending, failure: PutFailed, now_ms: int) -> bool:
        return (
            failure.code in PERMANENT_CODES
            or pending.attempts >= self._config.max_attempts
            or now_ms - pending.entry.opened_ms >= self._config.timeout_ms
        )

    def _put_back(self, shard_id: str, again: list[_Pending]) -> None:
        queue = self._queues[shard_id]
        queue.in_flight = False
        queue.pending.extendleft(reversed(again))
        if not queue.pending:
            del self._queues[shard_id]
