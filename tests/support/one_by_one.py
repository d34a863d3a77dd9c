"""Many writes through a store that makes one at a time."""

from collections.abc import Mapping, Sequence

from processors.sink.fenced import FenceMovedError, ItemStore
from processors.sink.writes import WRITTEN, Moved, Outcome, Unsure, Write
from streamgage.errors import RetryableError
from streamgage.fold.items import ItemKey, StoredItem


class OneByOne:
    """*store* as one that writes many items; ``batch`` is how many it is given at once."""

    def __init__(self, store: ItemStore, *, batch: int = 1) -> None:
        self._store, self.batch = store, batch

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist."""
        return self._store.get(keys)

    def put(self, key: ItemKey, item: StoredItem, *, expected_fence: int | None) -> None:
        """Write *item* on the condition that the fence is the expected one."""
        self._store.put(key, item, expected_fence=expected_fence)

    def put_many(self, writes: Sequence[Write]) -> Sequence[Outcome]:
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
