"""Cells: what a batch adds to one (rollup, window, lane), and in which items its keys stand.

A key stands in exactly one item of a cell. It is looked for from the root on: an item either holds it, or takes it, or
(where it says ``onward``) takes no new key any more and says among how many chunks the others are found. What an item says so it says for good, and no key ever moves. So nothing has to be split, no step can be
half done, and a reader who goes the same way meets each key once.

An item takes new keys up to about one write unit. How many chunks follow the root is chosen by the keys that come first,
so that dense keys fill items of some thirty each at once, and a single key has a single item.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streamgage.definition.pipeline import Rollup
from streamgage.errors import ConfigError
from streamgage.fold.chunk import Chunk, decode_chunk, encode_chunk
from streamgage.fold.chunk_memory import CellName, ChunkMemory
from streamgage.fold.items import (
    ItemKey,
    StoredItem,
    chunk_key,
    chunk_name,
    chunk_number,
    sort_key,
)
from streamgage.fold.states import Key
from streamgage.measures.layout import StatePlan, Table
from streamgage.measures.windows import TumblingWindows

FULL_BYTES = 800
"""A body takes new keys up to so many bytes. With its key, fence and names of attributes an item then has some 970 of
the 1,024 of a write unit."""
_MOST_BYTES = 390_000  # of a body, were all its states as large as they can be: an item holds 400 kB
AIM = 0.68  # of the room, when the number of chunks is chosen: keys do not spread evenly, and states grow
FEW, _MANY = 2, 8  # chunks that follow one that is full: where few keys had no room, and where many had none
_MOST = 2**56  # chunks of a cell
_SAMPLE = 48  # keys, by which the bytes of one are judged
_DEFLATES = 16  # a long name is thought to deflate to so much: a bound on what names of any length take
FOREVER_S = 253_402_300_799  # 9999-12-31, what an item without `keep` expires at


@dataclass(frozen=True, slots=True)
class Joined:
    """What becomes of a contribution where it was looked for: ``item`` is to be written (None: nothing is).

    ``onward`` goes to other items, once this one is written. ``first`` is the sequence number of the first Kinesis record
    that is not durable until then.
    """

    item: StoredItem | None
    onward: "Mapping[ItemKey, Contribution]"
    first: int = 0


class Contribution(Protocol):
    """What a batch adds at one item. The same on every delivery; asked again where another writer was faster."""

    @property
    def first(self) -> int:
        """The sequence number of the first Kinesis record in it."""

    def joined(self, known: StoredItem | None) -> Joined:
        """Return what is to be written on top of *known* (None: there is no item).

        Whatever fence it has: what lies up to it was added before.

        Raises:
            ConfigError: *known* counts something else, or is damaged; a person has to look.
        """


@dataclass(slots=True)
class Cell:
    """What a batch adds to one rollup, window and lane. ``fence`` is the lane's last sequence number in the batch.

    ``beyond(fence)`` returns the cell's states of what lies beyond *fence*, folded again: it is asked only where a
    part of the batch was applied before.
    """

    rollup: Rollup
    windows: TumblingWindows
    plan: StatePlan
    counts: str
    start_ms: int
    lane: str
    fence: int
    begin_ms: int
    expires_s: int
    beyond: "Callable[[Cell, int], Cell | None]"
    room_bytes: int = FULL_BYTES
    memory: ChunkMemory = field(default_factory=ChunkMemory)
    keys: list[Key] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    table: Table = field(default_factory=list)
    _key_bytes: float = 0.0
    _rows: dict[str, int] | None = None
    _texts: list[str] = field(default_factory=list)

    @property
    def root(self) -> ItemKey:
        """Where each of its keys is looked for first."""
        return self.item_key(0, 0)

    @property
    def name(self) -> CellName:
        """What its bodies need to be understood."""
        return self.plan, self.windows.size_ms, self.start_ms

    @property
    def identity(self) -> tuple[str, int, int, str]:
        """Which of the batch's cells it is."""
        return self.rollup.name, self.windows.size_ms, self.start_ms, self.lane

    def item_key(self, among: int, number: int) -> ItemKey:
        """Return the key of the item of chunk *number* among so many; among 0: the root."""
        return chunk_key(
            self.rollup, self.windows, chunk_name(among, number), sort_key(self.start_ms, self.lane)
        )

    def contribution(self) -> "ChunkContribution":
        """Return all of it, as it is looked for at the root."""
        return ChunkContribution(self, range(len(self.keys)))

    def onward(self, rows: Sequence[int], among: int) -> dict[ItemKey, Contribution]:
        """Return the keys at *rows* as contributions to their chunks *among* so many."""
        by_chunk: dict[int, list[int]] = {}
        keys = self.keys
        for row in rows:
            by_chunk.setdefault(chunk_number(keys[row].hash, among), []).append(row)
        return {
            self.item_key(among, number): ChunkContribution(self, chunk, among)
            for number, chunk in by_chunk.items()
        }

    def texts_of(self, rows: Sequence[int]) -> list[str]:
        """Return the keys at *rows*, as a chunk holds them."""
        if len(self._texts) < len(self.keys):
            self._texts = [key.text for key in self.keys]
        if isinstance(rows, range):
            return self._texts[rows.start : rows.stop]
        return list(map(self._texts.__getitem__, rows))

    def rows_of(self, keys: Sequence[str]) -> list[int | None]:
        """Return where each of *keys* stands here."""
        if self._rows is None:
            self._rows = dict(zip(self.texts_of(range(len(self.keys))), range(len(self.keys)), strict=True))
        return [self._rows.get(each) for each in keys]

    def key_bytes(self) -> float:
        """Return about how many bytes a key of it takes in a body, from a sample."""
        if not self._key_bytes:
            rows = range(min(len(self.keys), _SAMPLE))
            chunk = Chunk(0, self.plan.empty())
            self.add(chunk, rows)
            size = len(encode_chunk(chunk, self.rollup.layout, start_ms=self.start_ms))
            self._key_bytes = max(size / len(rows), 1.0)
        return self._key_bytes

    def add(self, chunk: Chunk, rows: Sequence[int]) -> None:
        """Append the keys at *rows* to *chunk*, which has none of them."""
        chunk.keys += self.texts_of(rows)
        self.plan.add(chunk.table, self.table, rows)


@dataclass(frozen=True, slots=True)
class ChunkContribution:
    """The keys at *rows* of a cell, looked for in a chunk among so many; 0: in the root."""

    cell: Cell
    rows: Sequence[int]
    among: int = 0

    @property
    def first(self) -> int:
        """The sequence number of the first Kinesis record in it."""
        return min(map(self.cell.firsts.__getitem__, self.rows))

    def joined(self, known: StoredItem | None) -> Joined:
        """Return what is to be written on top of *known*, and what goes on to other chunks."""
        cell = self.cell
        chunk = Chunk(cell.begin_ms, cell.plan.empty()) if known is None else self._read(known)
        places = dict(zip(chunk.keys, range(len(chunk.keys)), strict=True))
        here, new = self._sorted(places)
        left: Sequence[int] = ()
        onward: Mapping[ItemKey, Contribution] = {}
        is_behind = known is not None and known.fence >= cell.fence
        closes = False
        if chunk.onward:
            left, new = new, ()
            onward = cell.onward(left, chunk.onward)
        elif new and not is_behind:
            taken = self._room(chunk, new, 0 if known is None else len(known.body))
            new, left = new[:taken], new[taken:]
            if left:
                closes = True
                among = self._onward(len(left), len(chunk.keys) + len(new))
                onward = cell.onward(left, among)
        if is_behind or not (closes or here or new):  # a write always moves the fence on
            self._keep(known, chunk)
            return Joined(None, onward)
        if closes:
            chunk.onward = among
        firsts = [*map(cell.firsts.__getitem__, here), *map(cell.firsts.__getitem__, new)]
        if known is not None and firsts and known.fence >= min(firsts):
            firsts = self._add_beyond(known.fence, chunk, places, here, new)
            if not firsts and not closes:
                self._keep(known, chunk)
                return Joined(None, onward)
        else:
            _merge(chunk, places, cell, here)
            cell.add(chunk, new)
        body = encode_chunk(chunk, cell.rollup.layout, start_ms=cell.start_ms)
        cell.memory.put(cell.name, body, chunk)
        first = min([*firsts, *map(cell.firsts.__getitem__, left)])
        return Joined(StoredItem(cell.fence, cell.counts, body, cell.expires_s), onward, first)

    def _sorted(self, places: Mapping[str, int]) -> tuple[Sequence[int], Sequence[int]]:
        """Return which rows are of keys that stand at *places*, and which are of others."""
        texts = self.cell.texts_of(self.rows)
        if all(map(places.__contains__, texts)):
            return self.rows, ()
        here: list[int] = []
        new: list[int] = []
        for row, text in zip(self.rows, texts, strict=True):
            (here if text in places else new).append(row)
        return here, new

    def _keep(self, known: StoredItem | None, chunk: Chunk) -> None:
        """Remember *chunk* as it was read."""
        if known is not None:
            self.cell.memory.put(self.cell.name, known.body, chunk)

    def _add_beyond(
        self, fence: int, chunk: Chunk, places: Mapping[str, int], here: Sequence[int], new: Sequence[int]
    ) -> list[int]:
        """Add to *chunk* what lies beyond *fence*, up to which it was added before; return where it begins, a key each."""
        rest = self.cell.beyond(self.cell, fence)
        if rest is None:
            return []
        known, fresh = (
            [row for row in rest.rows_of(self.cell.texts_of(rows)) if row is not None] for rows in (here, new)
        )
        _merge(chunk, places, rest, known)
        rest.add(chunk, fresh)
        return [rest.firsts[row] for rows in (known, fresh) for row in rows]

    def _room(self, chunk: Chunk, new: Sequence[int], size_bytes: float) -> int:
        """Return how many of the *new* keys *chunk* takes. The root of more keys than fit takes none of them."""
        cell = self.cell
        key_bytes, most_key_bytes = cell.key_bytes(), cell.plan.most_key_bytes(cell.windows.size_ms)
        most_bytes = len(chunk.keys) * most_key_bytes + len("".join(chunk.keys).encode())
        if size_bytes + len(new) * key_bytes < cell.room_bytes:  # mostly all of them fit
            names = "".join(cell.texts_of(new))
            grown_bytes = size_bytes + len(new) * key_bytes + len(names) / _DEFLATES
            largest_bytes = most_bytes + len(new) * most_key_bytes + len(names.encode())
            if grown_bytes <= cell.room_bytes and largest_bytes <= _MOST_BYTES:
                return len(new)
        for taken, row in enumerate(new):
            name = cell.keys[row].text
            size_bytes += key_bytes + len(name) / _DEFLATES
            most_bytes += most_key_bytes + len(name.encode())
            is_full = size_bytes > cell.room_bytes or most_bytes > _MOST_BYTES
            if is_full and (taken or chunk.keys):
                return taken if self.among or chunk.keys else 0
        return len(new)

    def _onward(self, left: int, here: int) -> int:
        """Return among how many chunks *left* keys are spread, that have no room beside those that are *here*."""
        if self.among:
            return min(self.among * (FEW if left < here else _MANY), _MOST)
        return max(int(left * self.cell.key_bytes() / (AIM * self.cell.room_bytes)) + 1, FEW)

    def _read(self, known: StoredItem) -> Chunk:
        cell = self.cell
        if known.counts != cell.counts:
            raise ConfigError(
                f"an item of {cell.rollup.name}, window {cell.windows.label} at {cell.start_ms}, was written by another "
                f"definition ({known.counts}; now it is {cell.counts}). What a rollup counts was changed: set "
                f"generation = {cell.rollup.generation + 1} and another consumer in pipeline.toml, and deploy it beside"
            )
        remembered = cell.memory.take(cell.name, known.body)
        if remembered is not None:
            return remembered
        try:
            return decode_chunk(known.body, cell.rollup.layout, start_ms=cell.start_ms)
        except ValueError as error:
            raise ConfigError(
                f"an item of {cell.rollup.name}, window {cell.windows.label} at {cell.start_ms}, is damaged: {error}"
            ) from error


def _merge(chunk: Chunk, places: Mapping[str, int], cell: Cell, rows: Sequence[int]) -> None:
    """Merge the keys at *rows* of *cell* into those of *chunk*, which has each."""
    at = list(map(places.__getitem__, cell.texts_of(rows)))
    cell.plan.merge(chunk.table, at, cell.table, rows)
