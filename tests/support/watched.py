"""A table in memory that watches each write: what no item may ever do, whatever the function was delivered."""

from collections.abc import Sequence

from streamgage.definition.pipeline import Pipeline
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.limits import DYNAMODB_ITEM_BYTES, DYNAMODB_PARTITION_KEY_BYTES, DYNAMODB_SORT_KEY_BYTES
from support.fakes import InMemoryItemStore
from support.read_body import ReadBody, read_body

_NAMES_BYTES = 100  # of the attributes, their types, and what DynamoDB adds


class WatchedStore(InMemoryItemStore):
    """See ``write``. ``written`` holds the keys of all writes, in their order."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self._layouts = {
            f"{each.name}.{each.generation}": each.layout.text for each in pipeline.rollups.values()
        }
        self.written: list[ItemKey] = []

    def read(self, key: ItemKey, item: StoredItem) -> ReadBody:
        """Return what an item of a cell holds."""
        return read_body(item.body, self._layouts[key.pk.partition("|")[0]], int(key.sk[:15]))

    def _put(self, key: ItemKey, item: StoredItem, expected_fence: int | None) -> None:
        before = self.item(key) if key in self.rows else None
        super()._put(key, item, expected_fence)
        self.written.append(key)
        assert size_bytes(key, item) < DYNAMODB_ITEM_BYTES
        assert len(key.pk.encode()) <= DYNAMODB_PARTITION_KEY_BYTES
        assert len(key.sk.encode()) <= DYNAMODB_SORT_KEY_BYTES
        if before is not None:
            assert item.fence > before.fence, "a fence never goes back, and every write moves it on"
            assert item.expires_s >= before.expires_s
        if not key.pk.startswith("~"):
            self._check(key, item, before)

    def _check(self, key: ItemKey, item: StoredItem, before: StoredItem | None) -> None:
        now = self.read(key, item)
        assert now.states or now.onward, "an item that says nothing"
        if before is None:
            return
        was = self.read(key, before)
        assert list(now.states)[: len(was.states)] == list(was.states), "a key stays where it stands"
        assert now.begin_ms == was.begin_ms
        for name, state in was.states.items():
            assert now.states[name][0] >= state[0], "what was counted stays counted"
        if was.onward:
            assert now.onward == was.onward, "what an item says of where to go on it says for good"
            assert len(now.states) == len(was.states), "an item that was closed takes no new key"


def size_bytes(key: ItemKey, item: StoredItem) -> int:
    """Return about how large DynamoDB says that *item* is, and no less."""
    texts = (key.pk, key.sk, str(item.fence), item.counts, str(item.expires_s))
    return sum(len(each.encode()) for each in texts) + len(item.body) + _NAMES_BYTES


def held_once(store: WatchedStore) -> dict[tuple[str, str], Sequence[object]]:
    """Return the state of each key of each cell by (cell, key); each stands in one item."""
    found: dict[tuple[str, str], Sequence[object]] = {}
    for key in store.rows:
        if not key.pk.startswith("~"):
            cell = f"{key.pk.rpartition('|')[0]} {key.sk}"
            for name, state in store.read(key, store.item(key)).states.items():
                assert (cell, name) not in found, f"{name} stands in two items of {cell}"
                found[cell, name] = state
    return found
