"""The fenced sink: each contribution counts once in its item, whatever Lambda does to the batch.

Invariant of every item: *state = fold of every contribution in its lane with sequence number ≤ fence*. A batch adds what
of it lies beyond the fence, and writes on the condition that the fence is still the one it read. One plain conditional
write an item and batch; no transaction, no token, no hash of the batch. See docs/delivery-semantics.md.

What is written, and where what has no room goes on to, the contribution says; here is only what waits for the table.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol

from processors.deadline import Deadline
from processors.sink.breaker import Breaker
from processors.sink.writes import Moved, Outcome, Unsure, Write, Written
from streamgage.errors import RetryableError
from streamgage.fold.cells import Contribution, Joined
from streamgage.fold.items import ItemKey, StoredItem, lane_of

_PORTION = 2_000  # items under way at once: their bodies take some MB
_ENTRY_BYTES = 700  # of a remembered item, besides its texts and its body


class ItemStore(Protocol):
    """Where items are kept, and written ``batch`` at a time. Called from several threads at once."""

    @property
    def batch(self) -> int:
        """How many writes it takes at once at best."""

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist, as the last completed write left them.

        Raises:
            RetryableError: throttled, unreachable, or not answered by *deadline*.
        """

    def put_many(self, writes: Sequence[Write], *, deadline: Deadline) -> Sequence[Outcome]:
        """Write each of *writes* (each item once) on its own condition; return what became of each, in their order."""


@dataclass(frozen=True, slots=True)
class SinkLimits:
    """How much the sink does at once, and when it gives up.

    An item is tried ``write_attempts`` times when other writers keep moving its fence. ``cached_bytes`` bounds what is
    remembered.
    """

    concurrency: int = 16
    write_attempts: int = 20
    cached_bytes: int = 64 * 1024 * 1024


@dataclass(slots=True)
class Applied:
    """What became of a batch: the lowest sequence number that is not durable in all its items, or None."""

    failed_from: int | None = None
    items: int = 0
    writes: int = 0
    conflicts: int = 0
    already_applied: int = 0
    reads: int = 0
    errors: list[str] = field(default_factory=list)

    def fail(self, first: int, error: str) -> None:
        """Note that what begins at sequence number *first* may not be durable."""
        self.errors.append(error)
        if self.failed_from is None or first < self.failed_from:
            self.failed_from = first


class _Writing(NamedTuple):
    """A contribution that is being written, and what follows once it is."""

    write: Write
    contribution: Contribution
    joined: Joined


class AggregateSink:
    """Apply contributions to items. Keeps the items it wrote, so that a warm batch reads little.

    A stale memory costs a conflict, never an event: the fence decides. One ``apply`` at a time, and none returns or
    raises before its last write has ended.
    """

    def __init__(
        self,
        store: ItemStore,
        *,
        breaker: Breaker | None = None,
        limits: SinkLimits | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store, self._sleep = store, sleep
        self._limits = limits or SinkLimits()
        self._breaker = breaker or Breaker(clock=time.monotonic, random=random.random)
        self._known: OrderedDict[ItemKey, StoredItem | None] = OrderedDict()
        self._known_bytes = 0
        self._pool = (
            ThreadPoolExecutor(self._limits.concurrency, thread_name_prefix="sink")
            if self._limits.concurrency > 1
            else None
        )

    def apply(self, items: Mapping[ItemKey, Contribution], *, deadline: Deadline) -> Applied:
        """Make every contribution durable, or say from which sequence number on some are not.

        Applying a batch again, cut anywhere, changes nothing.

        Raises:
            ConfigError: an item counts something else, or is damaged; a person has to decide.
        """
        if pause_s := self._breaker.pause_s():  # else redeliveries at once would spin
            self._sleep(min(pause_s, deadline.left_s()))
        applied = Applied()
        attempts: dict[ItemKey, int] = {}
        pending = dict(items)
        while pending:
            portion = {key: pending.pop(key) for key in list(islice(pending, _PORTION))}
            if not self._read([key for key in portion if key not in self._known], applied, deadline):
                for contribution in (*portion.values(), *pending.values()):
                    applied.fail(
                        contribution.first, "no time left in this invocation, or the table does not answer"
                    )
                break
            writing, following = self._join(portion, applied)
            pending.update(self._write(writing, attempts, applied, deadline))
            pending.update(following)
            self._forget_surplus()
        return applied

    def refresh(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist, as the table has them now, and remember them.

        Where one is not as it was remembered, another sandbox has worked on its lane: what is remembered of that lane's
        items is forgotten, for a write on top of it would only meet a fence that moved. So each of *keys* stands for a
        lane, and has its name for its sort key.

        Raises:
            RetryableError: the table did not answer.
        """
        found = self._store.get(keys, deadline=deadline)
        moved = {key.sk for key in keys if _fence(self._known.get(key)) != _fence(found.get(key))}
        if moved:
            for key in [key for key in self._known if lane_of(key.sk) in moved]:
                self._forget(key)
        for key in keys:
            self._remember(key, found.get(key))
        return found

    def _read(self, keys: Sequence[ItemKey], applied: Applied, deadline: Deadline) -> bool:
        """Remember what *keys* hold. Where it cannot be had nothing could be written either: False."""
        if deadline.has_passed:
            return False
        if not keys:
            return True
        applied.reads += len(keys)
        try:
            found = self._store.get(keys, deadline=deadline)
        except RetryableError as error:
            applied.errors.append(str(error))
            return False
        for key in keys:
            self._remember(key, found.get(key))
        return True

    def _join(
        self, pending: Mapping[ItemKey, Contribution], applied: Applied
    ) -> tuple[list[_Writing], dict[ItemKey, Contribution]]:
        """Return what is to be written, and what goes on at once: its item is there, and is full."""
        writing: list[_Writing] = []
        following: dict[ItemKey, Contribution] = {}
        for key, contribution in pending.items():
            known = self._known[key]
            joined = contribution.joined(known)
            if joined.item is not None:
                write = Write(key, joined.item, _fence(known))
                writing.append(_Writing(write, contribution, joined))
                continue
            following.update(joined.onward)
            applied.already_applied += not joined.onward
        return writing, following

    def _write(
        self, writing: Sequence[_Writing], attempts: dict[ItemKey, int], applied: Applied, deadline: Deadline
    ) -> dict[ItemKey, Contribution]:
        """Write, and return what is to be tried on top of fences that had moved, or goes on to other items."""
        chunks = _chunks(writing, self._store.batch)
        applied.items += len(writing)
        pending: dict[ItemKey, Contribution] = {}
        for chunk, outcomes in zip(chunks, self._put_all(chunks, deadline), strict=True):
            for each, outcome in zip(chunk, outcomes, strict=True):
                key = each.write.key
                if isinstance(outcome, Written):
                    applied.writes += 1
                    self._remember(key, each.write.item)
                    pending.update(each.joined.onward)
                elif isinstance(outcome, Moved):
                    applied.writes += 1
                    applied.conflicts += 1
                    applied.items -= 1
                    self._remember(key, outcome.current)
                    attempts[key] = attempts.get(key, 0) + 1
                    if attempts[key] < self._limits.write_attempts:
                        pending[key] = each.contribution
                    else:
                        applied.fail(each.joined.first, f"its fence moved {attempts[key]} times")
                else:
                    self._forget(key)
                    applied.fail(each.joined.first, outcome.error)
        return pending

    def _put_all(
        self, chunks: Sequence[Sequence[_Writing]], deadline: Deadline
    ) -> Iterable[Sequence[Outcome]]:
        """Write each chunk; all of them have ended, or never began, when this returns or raises."""
        if self._pool is None or len(chunks) < 2:
            return [self._put(chunk, deadline) for chunk in chunks]
        futures = [self._pool.submit(self._put, chunk, deadline) for chunk in chunks]
        ended = []
        failure: BaseException | None = None
        for future in futures:
            try:
                ended.append(future.result())
            except BaseException as error:  # noqa: BLE001 - raised below, when nothing writes any more
                failure = failure or error
                for each in futures:
                    each.cancel()
        if failure is not None:
            raise failure
        return ended

    def _put(self, chunk: Sequence[_Writing], deadline: Deadline) -> Sequence[Outcome]:
        if deadline.has_passed:
            return [Unsure("no time left in this invocation")] * len(chunk)
        if not self._breaker.admits():
            return [Unsure("the table takes no writes at the moment: it is left alone for a while")] * len(
                chunk
            )
        outcomes = self._store.put_many([each.write for each in chunk], deadline=deadline)
        if any(isinstance(outcome, Unsure) for outcome in outcomes):
            self._breaker.failed()
        else:
            self._breaker.worked()
        return outcomes

    def _remember(self, key: ItemKey, item: StoredItem | None) -> None:
        self._forget(key)
        self._known[key] = item
        self._known_bytes += _size_bytes(key, item)

    def _forget(self, key: ItemKey) -> None:
        if key in self._known:
            self._known_bytes -= _size_bytes(key, self._known.pop(key))

    def _forget_surplus(self) -> None:
        while self._known_bytes > self._limits.cached_bytes:
            key, item = self._known.popitem(last=False)
            self._known_bytes -= _size_bytes(key, item)


def _size_bytes(key: ItemKey, item: StoredItem | None) -> int:
    return _ENTRY_BYTES + len(key.pk) + len(key.sk) + (len(item.body) if item else 0)


def _fence(item: StoredItem | None) -> int | None:
    return None if item is None else item.fence


def _chunks(each: Sequence[_Writing], size: int) -> list[Sequence[_Writing]]:
    return [each[start : start + size] for start in range(0, len(each), size)]
