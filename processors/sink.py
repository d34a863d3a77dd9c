"""The fenced sink: each contribution counts once in its item, whatever Lambda does to the batch.

Invariant of every item: *state = fold of every contribution in its lane with sequence number ≤ fence*. A batch adds what
of it lies beyond the fence, and writes on the condition that the fence is still the one it read. One plain conditional
write a (key, window, batch); no transaction, no token, no hash of the batch. See docs/delivery-semantics.md.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from streamgage.contributions import Part
from streamgage.errors import ConfigError, RetryableError, StreamgageError
from streamgage.items import ItemKey, StoredItem
from streamgage.limits import DYNAMODB_BATCH_GET_KEYS
from streamgage.measures import State

In = TypeVar("In")
Out = TypeVar("Out")


class FenceMovedError(StreamgageError):
    """A conditional write met another fence than it expected. ``current`` is the item that stands there now."""

    code = "fence_moved"

    def __init__(self, current: StoredItem | None) -> None:
        self.current = current
        super().__init__(f"the fence is {current.fence if current else 'absent'}")


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
    """Where items are kept. Called from several threads at once."""

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* (at most 100) that exist, as the last completed write left them.

        Raises:
            RetryableError: throttled, unreachable or timed out.
        """

    def put(self, key: ItemKey, item: StoredItem, *, expected_fence: int | None) -> None:
        """Write *item* if the one that stands there has *expected_fence*, or if none does and it is None.

        Raises:
            FenceMovedError: another fence stands there; nothing was written.
            RetryableError: it may or may not have been written.
        """


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
        chunks = _chunks([key for key in items if key not in self._known])
        applied.reads = len(chunks)
        self._each(lambda chunk: self._read(chunk, remaining_ms), chunks)
        for outcome in self._each(lambda each: self._apply_item(*each, remaining_ms), items.items()):
            applied.writes += outcome.writes
            applied.conflicts += outcome.conflicts
            applied.already_applied += outcome.already_applied
            if outcome.failed_from is not None:
                applied.errors += outcome.errors
                if applied.failed_from is None or outcome.failed_from < applied.failed_from:
                    applied.failed_from = outcome.failed_from
        while len(self._known) > self._limits.cached_items:
            self._known.popitem(last=False)
        return applied

    def refresh(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist, as the table has them now, and remember them.

        Raises:
            RetryableError: the table did not answer.
        """
        found: dict[ItemKey, StoredItem] = {}
        for chunk in _chunks(keys):
            found.update(self._store.get(chunk))
        for key in keys:
            self._known[key] = found.get(key)
        return found

    def _each(self, work: Callable[[In], Out], inputs: Iterable[In]) -> list[Out]:
        return list(self._pool.map(work, inputs)) if self._pool else [work(each) for each in inputs]

    def _read(self, keys: Sequence[ItemKey], remaining_ms: Callable[[], int]) -> None:
        """Remember what *keys* hold. A read that fails only costs a conflict later."""
        if remaining_ms() < self._limits.margin_ms:
            return
        try:
            found = self._store.get(keys)
        except RetryableError:
            return
        for key in keys:
            self._known[key] = found.get(key)

    def _apply_item(
        self, key: ItemKey, contribution: Contribution, remaining_ms: Callable[[], int]
    ) -> Applied:
        outcome = Applied()
        known = self._known.get(key)
        part = contribution.after(None if known is None else known.fence)
        for _ in range(self._limits.write_attempts):
            if part is None:
                outcome.already_applied += outcome.writes == 0
                self._remember(key, known)
                return outcome
            if remaining_ms() < self._limits.margin_ms:
                return _failed(outcome, part, "no time left in this invocation")
            item = self._merged(key, known, part, contribution)
            try:
                outcome.writes += 1
                self._store.put(key, item, expected_fence=None if known is None else known.fence)
            except FenceMovedError as moved:
                outcome.conflicts += 1
                known = moved.current
                missed, part = part, contribution.after(None if known is None else known.fence)
            except RetryableError as error:
                self._known.pop(key, None)
                return _failed(outcome, part, str(error))
            else:
                self._remember(key, item)
                return outcome
        self._known.pop(key, None)
        return _failed(outcome, missed, f"its fence moved {self._limits.write_attempts} times")

    def _merged(
        self, key: ItemKey, known: StoredItem | None, part: Part, contribution: Contribution
    ) -> StoredItem:
        if known is not None and known.layout != contribution.layout:
            raise ConfigError(
                f"{key.pk} {key.sk} was written with {known.layout!r}, which is now {contribution.layout!r}. "
                + contribution.mend()
            )
        state = contribution.merge(None if known is None else known.state, part)
        return StoredItem(
            part.fence, contribution.layout, state, self._now_s() + contribution.keep_ms // 1000
        )

    def _remember(self, key: ItemKey, item: StoredItem | None) -> None:
        self._known[key] = item
        self._known.move_to_end(key)


def _failed(outcome: Applied, part: Part, error: str) -> Applied:
    outcome.failed_from = part.first
    outcome.errors.append(error)
    return outcome


def _chunks(keys: Sequence[ItemKey]) -> list[Sequence[ItemKey]]:
    return [
        keys[start : start + DYNAMODB_BATCH_GET_KEYS]
        for start in range(0, len(keys), DYNAMODB_BATCH_GET_KEYS)
    ]
