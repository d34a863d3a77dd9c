"""Read the items of windows: from the root of each lane on, along the way that a key took when it was written."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any, Protocol

from processors.query.blocks import Block, Items, Kept, Root, Step, memory_of, size_bytes
from processors.query.fetch import fetch, range_of_windows
from processors.query.key_states import KeyStates, Place, below, merged
from processors.query.plain_answers import answer_plainly
from processors.sink.attributes import stored_item
from streamgage.definition.pipeline import Rollup
from streamgage.errors import ConfigError, RetryableError
from streamgage.fold.chunk import Chunk, decode_chunk
from streamgage.fold.items import (
    ROOT,
    ItemKey,
    StoredItem,
    chunk_key,
    chunk_name,
    key_hash,
    window_prefix,
    window_start_ms,
)
from streamgage.limits import DYNAMODB_BATCH_GET_KEYS
from streamgage.measures.layout import StateLayout, plan_of
from streamgage.measures.windows import TumblingWindows

_ROOTS = 500  # items at once: what is held in memory while a long range is read
_BLOCK_WINDOWS = 64  # aligned: a range that moves on has the same blocks but for its ends
_FOREVER_MS = 2**63
_READERS = 8
_ROUNDS = 8  # of a BatchGetItem that leaves keys unprocessed


class PartialStore(Protocol):
    """Where items are read from."""

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Yield (sk, item) of the partition *pk* with first_sk ≤ sk ≤ last_sk, in the order of sk."""

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys*, any number, that exist."""


class CountingStore(PartialStore, Protocol):
    """A PartialStore that says what its reads cost."""

    @property
    def read_units(self) -> float:
        """The read units of all its reads so far."""

    def eventually(self) -> "CountingStore":
        """Return the same table, read with eventual consistency; it counts its own read units."""


class DynamoPartialStore:
    """Items in DynamoDB, by paginated Query and by BatchGetItem in parallel.

    *client* is a boto3 DynamoDB client, which then answers these two as ``answer_plainly`` says.

    Not *consistent*, its reads cost half, and an item may be returned as it was before, or not at all: DynamoDB says
    not for how long. ``read_units`` adds up what the reads cost.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.ReadConsistency.html (checked 2026-11-29)
    """

    def __init__(self, client: Any, table: str, *, consistent: bool = True) -> None:
        answer_plainly(client)
        self._client, self._table, self._consistent = client, table, consistent
        self._alone = Lock()
        self.read_units = 0.0

    def eventually(self) -> "DynamoPartialStore":
        """Return the same table, read with eventual consistency; it counts its own read units."""
        return DynamoPartialStore(self._client, self._table, consistent=False)

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Yield the items of the range."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues={":pk": {"S": pk}, ":first": {"S": first_sk}, ":last": {"S": last_sk}},
            ConsistentRead=self._consistent,
            ReturnConsumedCapacity="TOTAL",
        )
        for page in pages:
            self._count(page.get("ConsumedCapacity"))
            for item in page["Items"]:
                yield item["sk"]["S"], stored_item(item)

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist."""
        starts = range(0, len(keys), DYNAMODB_BATCH_GET_KEYS)
        chunks = [keys[start : start + DYNAMODB_BATCH_GET_KEYS] for start in starts]
        if len(chunks) < 2:
            return self._get(chunks[0]) if chunks else {}
        with ThreadPoolExecutor(min(_READERS, len(chunks))) as pool:
            return {key: item for found in pool.map(self._get, chunks) for key, item in found.items()}

    def _get(self, keys: Sequence[ItemKey]) -> dict[ItemKey, StoredItem]:
        found: dict[ItemKey, StoredItem] = {}
        wanted: Any = {
            self._table: {
                "Keys": [{"pk": {"S": key.pk}, "sk": {"S": key.sk}} for key in keys],
                "ConsistentRead": self._consistent,
            }
        }
        for _ in range(_ROUNDS):
            answer = self._client.batch_get_item(RequestItems=wanted, ReturnConsumedCapacity="TOTAL")
            for each in answer.get("ConsumedCapacity") or ():
                self._count(each)
            for item in answer["Responses"].get(self._table, ()):
                found[ItemKey(item["pk"]["S"], item["sk"]["S"])] = stored_item(item)
            wanted = answer.get("UnprocessedKeys") or {}
            if not wanted:
                return found
        raise RetryableError(f"table {self._table} is throttled: keys were left unread {_ROUNDS} times")

    def _count(self, capacity: Mapping[str, Any] | None) -> None:
        with self._alone:  # requests are under way in several threads
            self.read_units += float(capacity["CapacityUnits"]) if capacity else 0.0


@dataclass(slots=True)
class _Reading:
    """A block while it is read. It is decoded once its items are seen to be others than those of *known*."""

    name: Hashable
    levels: list[Items]
    known: Kept | None
    steps: list[Step] = field(default_factory=list)
    chunks: list[tuple[Place, Chunk]] = field(default_factory=list)
    until_ms: int = _FOREVER_MS


@dataclass(frozen=True, slots=True)
class CellReader:
    """Reads the cells of one rollup and window size. *counts* is the fingerprint that its items must have.

    Where all keys are read, those are left out that stand where no key has one of *hashes*; None: none is left out.
    Of their states only the columns of *layout* are read, of the keys that *wants* tells; None: all of them. *wanted* says
    what *wants* wants: the same of two that want the same; None: nobody knows, and no block is remembered.
    """

    store: PartialStore
    rollup: Rollup
    windows: TumblingWindows
    counts: str
    hashes: range | None = None
    layout: StateLayout | None = None
    wants: Callable[[str], bool] | None = None
    wanted: Hashable = None

    def read(
        self, from_ms: int, to_ms: int, keys: Sequence[str] | None, *, now_ms: int
    ) -> Iterator[KeyStates]:
        """Yield each window that overlaps ``[from_ms, to_ms)``, in the order of time; *keys* None: all keys.

        A window that is not kept any more by *now_ms* is passed over: what is left of it may be no whole.

        Raises:
            ConfigError: an item counts something else than the rollup, or is damaged.
        """
        for block in self.blocks(from_ms, to_ms, keys, now_ms=now_ms):
            yield from block.states

    def blocks(self, from_ms: int, to_ms: int, keys: Sequence[str] | None, *, now_ms: int) -> Iterator[Block]:
        """Yield the same, by blocks; what is remembered beside the store is what was read before. Raises: as ``read``."""
        reading = _BlockReader(self, keys, now_ms)
        held: list[_Reading] = []
        for roots in self._cut(self._roots(from_ms, to_ms)):
            held.append(reading.begin(roots))
            if sum(len(each.levels[0]) for each in held) >= _ROOTS:
                yield from reading.end(held)
                held = []
        yield from reading.end(held)

    def _roots(self, from_ms: int, to_ms: int) -> Iterator[Root]:
        first_ms = self.windows.assign(max(from_ms, 0)).start_ms
        pk = chunk_key(self.rollup, self.windows, ROOT, "").pk
        return range_of_windows(self.store, pk, first_ms, max(to_ms, 1), self.windows.size_ms)

    def _cut(self, roots: Iterator[Root]) -> Iterator[list[Root]]:
        """Yield *roots* in blocks: of so many windows, or of fewer, where these have many items."""
        block_ms = _BLOCK_WINDOWS * self.windows.size_ms
        block: list[Root] = []
        stop = ""
        for root in roots:
            sk = root[0]
            if sk >= stop or (len(block) >= _ROOTS and window_start_ms(sk) != window_start_ms(block[-1][0])):
                if block:
                    yield block
                block = []
                stop = window_prefix((window_start_ms(sk) // block_ms + 1) * block_ms)
            block.append(root)
        if block:
            yield block

    def deletable_ms(self, sk: str, root: StoredItem) -> int:
        """Return from when on some item of the window of *root* may be deleted.

        By the definition too: where `keep` was lowered, or the stream's retention changed, items of one window expire at
        different times, and those that are left look like the whole.
        """
        expires_ms = root.expires_s * 1000
        if self.rollup.keep_ms is None:
            return expires_ms
        return min(expires_ms, window_start_ms(sk) + self.windows.size_ms + self.rollup.keep_ms)

    def decoded(self, place: Place, item: StoredItem, wants: Callable[[str], bool] | None) -> Chunk:
        """Return what *item* at *place* holds. Raises: ConfigError, as ``read``."""
        what = f"an item of {self.rollup.name} at {place.sk}"
        if item.counts != self.counts:
            raise ConfigError(
                f"{what} was written by another definition ({item.counts}; pipeline.toml now says {self.counts}). Ask with "
                "the definition it was written by, or set the next generation of the rollup"
            )
        try:
            return decode_chunk(
                item.body,
                self.rollup.layout,
                start_ms=window_start_ms(place.sk),
                asked=self.layout,
                wanted=wants,
            )
        except ValueError as error:
            raise ConfigError(f"{what} is damaged: {error}") from error


class _BlockReader:
    """Reads the blocks of one range, of *keys*, for who asks at *now_ms*."""

    def __init__(self, cells: CellReader, keys: Sequence[str] | None, now_ms: int) -> None:
        self._cells, self._now_ms = cells, now_ms
        self._hashes = None if keys is None else {key: key_hash(cells.rollup, key) for key in keys}
        self._wants = cells.wants if keys is None else frozenset(keys).__contains__
        self._pk_of = cache(lambda chunk: chunk_key(cells.rollup, cells.windows, chunk, "").pk)
        self._plan = plan_of(cells.layout or cells.rollup.layout)
        is_known = keys is not None or cells.wants is None or cells.wanted is not None
        self._memory = memory_of(cells.store) if is_known else None
        self._name = (
            self._pk_of(ROOT),
            cells.counts,
            cells.rollup.layout,
            cells.rollup.keep_ms,
            cells.layout,
            cells.hashes,
            cells.wanted if keys is None else None,
            None if keys is None else tuple(keys),
        )

    def begin(self, roots: Sequence[Root]) -> _Reading:
        """Return the block of *roots*, of which nothing is decoded yet."""
        name = self._name, roots[0][0]
        known = None if self._memory is None else self._memory.find(name, self._now_ms)
        return _Reading(name, [roots], known)

    def end(self, readings: list[_Reading]) -> Iterator[Block]:
        """Yield the blocks of *readings*, in their order, which is emptied: what lies below all their roots is read together."""
        under_way = list(readings)
        steps = [self._step(each) for each in under_way]
        onward = {sk: among for step in steps for sk, among in step.onward.items()}
        while any(step.following for step in steps):
            wanted = {key: place.among for step in steps for key, place in step.following.items()}
            items = fetch(self._cells.store, wanted, onward)
            under_way = [each for each, step in zip(under_way, steps, strict=True) if step.following]
            for each, step in zip(under_way, [step for step in steps if step.following], strict=True):
                each.levels.append({key: items[key] for key in step.following if key in items})
            steps = [self._step(each) for each in under_way]
        readings.reverse()
        del under_way
        while readings:
            yield self._block(readings.pop())

    def _step(self, reading: _Reading) -> Step:
        """Return where the last level that was read leads to; of what is not as it is known, all levels are decoded."""
        at = len(reading.levels) - 1
        known = reading.known
        if known is not None and known.levels[at] == reading.levels[at]:
            return known.steps[at]
        reading.known = None
        for level in range(len(reading.steps), at + 1):
            reading.steps.append(self._decode(reading, level))
        return reading.steps[at]

    def _decode(self, reading: _Reading, level: int) -> Step:
        following: dict[ItemKey, Place] = {}
        onward: dict[str, int] = {}
        for place, item in self._placed(reading, level):
            chunk = self._cells.decoded(place, item, self._wants)
            if chunk.keys:
                reading.chunks.append((place, chunk))
            if not level:
                onward[place.sk] = chunk.onward
            if chunk.onward:
                for each in below(place, chunk, self._hashes, self._cells.hashes):
                    following[ItemKey(self._pk_of(chunk_name(each.among, each.number)), each.sk)] = each
        return Step(following, onward)

    def _placed(self, reading: _Reading, level: int) -> Iterator[tuple[Place, StoredItem]]:
        """Yield the items of a level with their places; of the roots those of windows that are kept."""
        items = reading.levels[level]
        if isinstance(items, Mapping):
            following = reading.steps[level - 1].following
            yield from ((following[key], item) for key, item in items.items())
            return
        for sk, item in items:
            deletable_ms = self._cells.deletable_ms(sk, item)
            if deletable_ms > self._now_ms:
                reading.until_ms = min(reading.until_ms, deletable_ms)
                yield Place(sk), item

    def _block(self, reading: _Reading) -> Block:
        if reading.known is not None and self._memory is not None:
            self._memory.touch(reading.name, reading.known)
            return reading.known.block
        by_window: dict[int, list[tuple[Place, Chunk]]] = {}
        for each in reading.chunks:
            by_window.setdefault(window_start_ms(each[0].sk), []).append(each)
        if self._memory is None:
            reading.chunks = []
            return Block(self._states(by_window))
        keys = sum(len(chunk.keys) for _, chunk in reading.chunks)
        reading.chunks = []
        columns = len(self._plan.empty())
        size = size_bytes(reading.levels, states=keys * 2 * (columns + 1), windows=len(by_window))
        if not self._memory.takes(size):
            return Block(self._states(by_window))
        block = Block(tuple(self._states(by_window)))
        kept = Kept(reading.levels, reading.steps, block, self._now_ms, reading.until_ms, size)
        self._memory.keep(reading.name, kept)
        return block

    def _states(self, by_window: dict[int, list[tuple[Place, Chunk]]]) -> Iterator[KeyStates]:
        for start_ms in sorted(by_window):
            states = merged(self._plan, start_ms, by_window.pop(start_ms))
            if states.keys:
                yield states
