"""The fenced sink: each contribution counts once in its item, whatever Lambda does to the batch.

Invariant of every item: *state = fold of every contribution in its lane with sequence number ≤ fence*. A batch adds what
of it lies beyond the fence, and writes on the condition that the fence is still the one it read. One plain conditional
write a (key, window, batch); no transaction, no token, no hash of the batch. See docs/delivery-semantics.md.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from processors.deadline import Deadline
from processors.sink.writes import Moved, Outcome, Unsure, Write
from streamgage.errors import ConfigError, RetryableError
from streamgage.fold.items import ItemKey, StoredItem, decode_state, encode_state, lane_of
from streamgage.limits import DYNAMODB_BATCH_GET_KEYS
from streamgage.measures.monoids import State
from streamgage.reading.contributions import Part

ANSWER_MS = 200
"""What is kept of an invocation's time for its answer: no call lasts longer."""

In = TypeVar("In")
Out = TypeVar("Out")


class Contribution(Protocol):
    """What a batch adds to one item, and how it joins what stands there. Asked from any thread."""

    @property
    def layout(self) -> str:
        """What stands where in the item's state."""

    @property
    def keep_ms(self) -> int:
        """How long the item is kept after this write."""

    def after(self, fence: int | None) -> Part | None:
        """Return what lies beyond *fence* (None: the item is new), or None where nothing does.

        Whatever *fence* is: it may lie inside the batch, where a part of it was applied before.
        """

    def merge(self, known: State | None, part: Part) -> State:
        """Return the state of *known* (None: nothing was written yet) and *part*; both stay as they were."""

    def mend(self) -> str:
        """Say what a person does where an item of another layout stands."""


class ItemStore(Protocol):
    """Where items are kept. Called from several threads at once; nothing waits beyond the *deadline*."""

    @property
    def batch(self) -> int:
        """How many writes it takes at once at best."""

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys*, any number, that exist, as the last completed write left them.

        Raises:
            RetryableError: throttled, unreachable or timed out.
        """

    def put_many(self, writes: Sequence[Write], *, deadline: Deadline) -> Sequence[Outcome]:
        """Write each of *writes* (each item once) on its own condition; return what became of each, in their order."""


class _Pending(NamedTuple):
    """What is to be added to one item, on top of what is known to stand there."""

    key: ItemKey
    contribution: Contribution
    known: StoredItem | None
    part: Part


@dataclass(frozen=True, slots=True)
class SinkLimits:
    """How much the sink does at once, and when it gives up.

    ``margin_ms`` is kept of the invocation's time for the answer: no call begins with less. An item is tried
    ``write_attempts`` times when other writers keep moving its fence. ``cached_items`` bounds what is remembered.
    """

    concurrency: int = 16
    margin_ms: int = 2_000
    write_attempts: int = 20
    cached_items: int = 50_000


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


class AggregateSink:
    """Apply contributions to items. Keeps the items it wrote, so that a warm batch reads little.

    A stale memory costs a conflict, never an event: the fence decides. One ``apply`` at a time.
    """

    def __init__(
        self, store: ItemStore, *, now_s: Callable[[], int], limits: SinkLimits | None = None
    ) -> None:
        self._store = store
        self._now_s = now_s
        self._limits = limits or SinkLimits()
        self._known: OrderedDict[ItemKey, StoredItem | None] = OrderedDict()
        self._pool = (
            ThreadPoolExecutor(self._limits.concurrency, thread_name_prefix="sink")
            if self._limits.concurrency > 1
            else None
        )

    def apply(self, items: Mapping[ItemKey, Contribution], *, remaining_ms: Callable[[], int]) -> Applied:
        """Make every contribution durable, or say from which sequence number on some are not.

        *remaining_ms* tells how much of the invocation is left. Applying a batch again, cut anywhere, changes nothing.

        Raises:
            ConfigError: an item was written by another layout of the same rollup; a person has to decide.
        """
        applied = Applied(items=len(items))
        unknown = [key for key in items if key not in self._known]
        applied.reads = -(-len(unknown) // DYNAMODB_BATCH_GET_KEYS)
        self._read(unknown, remaining_ms)
        chunked = _chunks(list(items.items()), self._store.batch)
        for outcome in self._each(lambda chunk: self._apply_chunk(chunk, remaining_ms), chunked):
            applied.writes += outcome.writes
            applied.conflicts += outcome.conflicts
            applied.already_applied += outcome.already_applied
            if outcome.failed_from is not None:
                _fail(applied, outcome.failed_from, outcome.errors)
        while len(self._known) > self._limits.cached_items:
            self._known.popitem(last=False)
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
                del self._known[key]
        for key in keys:
            self._remember(key, found.get(key))
        return found

    def _each(self, work: Callable[[In], Out], inputs: Iterable[In]) -> list[Out]:
        return list(self._pool.map(work, inputs)) if self._pool else [work(each) for each in inputs]

    def _read(self, keys: Sequence[ItemKey], remaining_ms: Callable[[], int]) -> None:
        """Remember what *keys* hold. A read that fails only costs a conflict later."""
        if not keys or (left_ms := remaining_ms()) < self._limits.margin_ms:
            return
        try:
            found = self._store.get(keys, deadline=_until(left_ms))
        except RetryableError:
            return
        for key in keys:
            self._known[key] = found.get(key)

    def _apply_chunk(
        self, chunk: Sequence[tuple[ItemKey, Contribution]], remaining_ms: Callable[[], int]
    ) -> Applied:
        outcome = Applied()
        pending: list[_Pending] = []
        for key, contribution in chunk:
            if not self._add(pending, key, contribution, self._known.get(key)):
                outcome.already_applied += 1
        for _ in range(self._limits.write_attempts):
            if not pending:
                return outcome
            if (left_ms := remaining_ms()) < self._limits.margin_ms:
                return _fail_each(outcome, pending, "no time left in this invocation")
            pending = self._write(pending, outcome, _until(left_ms))
        for each in pending:
            self._known.pop(each.key, None)
        return _fail_each(outcome, pending, f"its fence moved {self._limits.write_attempts} times")

    def _add(
        self, pending: list[_Pending], key: ItemKey, contribution: Contribution, known: StoredItem | None
    ) -> bool:
        """Add to *pending* what is beyond what is *known*; where nothing is, remember that, and return False."""
        part = contribution.after(None if known is None else known.fence)
        if part is None:
            self._remember(key, known)
            return False
        pending.append(_Pending(key, contribution, known, part))
        return True

    def _write(self, pending: Sequence[_Pending], outcome: Applied, deadline: Deadline) -> list[_Pending]:
        """Write what is *pending*, and return what is to be written on top of fences that had moved."""
        writes = [
            Write(each.key, self._merged(each), None if each.known is None else each.known.fence)
            for each in pending
        ]
        outcome.writes += len(writes)
        again: list[_Pending] = []
        outcomes = self._store.put_many(writes, deadline=deadline)
        for each, write, became in zip(pending, writes, outcomes, strict=True):
            if isinstance(became, Moved):
                outcome.conflicts += 1
                self._add(again, each.key, each.contribution, became.current)
            elif isinstance(became, Unsure):
                self._known.pop(each.key, None)
                _fail_each(outcome, [each], became.error)
            else:
                self._remember(each.key, write.item)
        return again

    def _merged(self, pending: _Pending) -> StoredItem:
        key, contribution, known, part = pending
        if known is not None and known.counts != contribution.layout:
            raise ConfigError(
                f"{key.pk} {key.sk} was written with {known.counts!r}, which is now {contribution.layout!r}. "
                + contribution.mend()
            )
        state = contribution.merge(None if known is None else decode_state(known.body), part)
        return StoredItem(
            part.fence, contribution.layout, encode_state(state), self._now_s() + contribution.keep_ms // 1000
        )

    def _remember(self, key: ItemKey, item: StoredItem | None) -> None:
        self._known[key] = item
        self._known.move_to_end(key)


def _until(left_ms: int) -> Deadline:
    return Deadline.after((left_ms - ANSWER_MS) / 1000)


def _fence(item: StoredItem | None) -> int | None:
    return None if item is None else item.fence


def _fail_each(outcome: Applied, pending: Iterable[_Pending], error: str) -> Applied:
    for each in pending:
        _fail(outcome, each.part.first, [error])
    return outcome


def _fail(outcome: Applied, first: int, errors: Sequence[str]) -> None:
    outcome.errors += errors
    if outcome.failed_from is None or first < outcome.failed_from:
        outcome.failed_from = first


def _chunks(each: Sequence[In], size: int) -> list[Sequence[In]]:
    return [each[start : start + size] for start in range(0, len(each), size)]
