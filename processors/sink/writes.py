"""What a store is asked to write, many items at once, and what became of each."""

from dataclasses import dataclass
from typing import NamedTuple

from streamgage.fold.items import ItemKey, StoredItem


class Write(NamedTuple):
    """An item to be written if the one that stands at *key* has *expected_fence*, or if none does and it is None."""

    key: ItemKey
    item: StoredItem
    expected_fence: int | None


@dataclass(frozen=True, slots=True)
class Written:
    """The item stands as it was asked for."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Another fence stands there; nothing was written. ``current`` is the item with it, None where there is none."""

    current: StoredItem | None


@dataclass(frozen=True, slots=True)
class Unsure:
    """Throttled, unreachable or timed out: it may or may not have been written. ``error`` says why."""

    error: str


Outcome = Written | Moved | Unsure
WRITTEN = Written()
