"""Blocks: windows that are read together, and remembered together with the items that they were made of.

What the states of a block are follows from its items and from what is asked of them, and from nothing else. Its items are
read each time anew; while these are the ones that it was made of, to the byte, its states are the same. So an answer is never
older than what was read for it: a late event, or a window that is new, is another item.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from processors.query.key_states import KeyStates, Place
from streamgage.fold.items import ItemKey, StoredItem

_ITEM_BYTES, _STATE_BYTES, _WINDOW_BYTES = (
    400,
    64,
    600,
)  # beside a body; of a state, and of what is made of it

Root = tuple[str, StoredItem]
"""A root and its sort key."""
Items = Sequence[Root] | Mapping[ItemKey, StoredItem]
"""What is read of a block at once: its roots, then the items below these, level by level."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where a level of items leads to: ``following`` are to be read next. ``onward``: as ``fetch`` takes it, of roots."""

    following: Mapping[ItemKey, Place]
    onward: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Block:
    """The states of some windows, in the order of time.

    ``made`` holds what somebody made of them, by a name of his own: it is remembered for as long as they are.
    """

    states: Iterable[KeyStates]
    made: dict[Hashable, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """A block, and what it was made of: of each level the items, and where they lead to.

    It is the same for who asks at an instant in ``[from_ms, until_ms)``: later, some of its windows are not kept any more.
    """

    levels: Sequence[Items]
    steps: Sequence[Step]
    block: Block
    from_ms: int
    until_ms: int
    size_bytes: int


class BlockMemory:
    """The blocks that a sandbox has made, bounded in bytes; those are forgotten that nobody asked for the longest."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[Hashable, Kept] = {}

    def takes(self, size_bytes: int) -> bool:
        """Return whether a block of so many bytes is remembered: one that is large would be alone."""
        return size_bytes <= self._most_bytes // 8

    def find(self, name: Hashable, now_ms: int) -> Kept | None:
        """Return what was kept by *name*, of which all windows are those of *now_ms*."""
        kept = self._kept.get(name)
        return kept if kept is not None and kept.from_ms <= now_ms < kept.until_ms else None

    def keep(self, name: Hashable, kept: Kept) -> None:
        """Remember *kept* as what was asked for last."""
        self._kept.pop(name, None)
        self._kept[name] = kept
        # Counted anew each time: the timer that ends a request may come between any two instructions.
        held_bytes = sum(each.size_bytes for each in self._kept.values())
        while held_bytes > self._most_bytes:
            held_bytes -= self._kept.pop(next(iter(self._kept))).size_bytes

    def touch(self, name: Hashable, kept: Kept) -> None:
        """Take note that *kept*, which was found by *name*, was asked for."""
        self._kept.pop(name, None)
        self._kept[name] = kept


@runtime_checkable
class Remembering(Protocol):
    """A store that has a memory of blocks beside it."""

    @property
    def blocks(self) -> BlockMemory:
        """The blocks that were made of its items."""


def memory_of(store: object) -> BlockMemory | None:
    """Return the memory beside *store*; None: it has none."""
    return store.blocks if isinstance(store, Remembering) else None


def size_bytes(levels: Sequence[Items], *, states: int, windows: int) -> int:
    """Return about how many bytes a block takes, of so many *states* (of one key and column) in so many *windows*."""
    bodies = 0
    for level in levels:
        items = level.values() if isinstance(level, Mapping) else [item for _, item in level]
        bodies += sum(len(each.body) + _ITEM_BYTES for each in items)
    return bodies + states * _STATE_BYTES + windows * _WINDOW_BYTES
