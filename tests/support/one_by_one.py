"""Many writes through a store that makes one at a time."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from processors.deadline import Deadline
from processors.sink.writes import WRITTEN, Moved, Outcome, Unsure, Write
from streamgage.errors import RetryableError, StreamgageError
from streamgage.fold.items import ItemKey, StoredItem


class FenceMovedError(StreamgageError):
    """A conditional write met another fence than it expected. ``current`` is the item that stands there now."""

    code = "fence_moved"

    def __init__(self, current: StoredItem | None) -> None:
        self.current = current
        super().__init__(f"the fence is {current.fence if current else 'absent'}")


class SingleStore(Protocol):
    """Where items are kept, and written one at a time. Called from several threads at once."""

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:
        """As an ItemStore's."""

    def put(self, key: ItemKey, item: StoredItem, *, expected_fence: int | None) -> None:
        """Write *item* if the one that stands there has *expected_fence*, or if none does and it is None.

        Raises:
            FenceMovedError: another fence stands there; nothing was written.
            RetryableError: it may or may not have been written.
        """


class OneByOne:
    """The ItemStore over *store*: as one that writes many items; ``batch`` is how many it is given at once."""

    def __init__(self, store: SingleStore, *, batch: int = 1) -> None:
        self._store, self.batch = store, batch

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist."""
        return self._store.get(keys, deadline=deadline)

    def put_many(self, writes: Sequence[Write], *, deadline: Deadline) -> Sequence[Outcome]:  # noqa: ARG002 - it has none
        """Write each of *writes* on its own condition, and return what became of each, in their order."""
        return [self._put(write) for write in writes]

    def _put(self, write: Write) -> Outcome:
        try:
            self._store.put(write.key, write.item, expected_fence=write.expected_fence)
        except FenceMovedError as moved:
            return Moved(moved.current)
        except RetryableError as error:
            return Unsure(str(error))
        return WRITTEN
