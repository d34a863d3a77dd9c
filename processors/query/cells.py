"""Read the items of windows: from the root of each lane on, along the way that a key took when it was written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from threading import Lock
from typing import Any, Protocol

from processors.query.fetch import fetch
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
    chunk_number,
    key_hash,
    lane_of,
    window_prefix,
    window_start_ms,
)
from streamgage.limits import DYNAMODB_BATCH_GET_KEYS
from streamgage.measures.layout import StateLayout, Table, plan_of
from streamgage.measures.windows import TumblingWindows

_ROOTS = 500  # items at once: what is held in memory while a long range is read
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


@dataclass(frozen=True, slots=True)
class KeyStates:
    """The states of one window, of the keys that were asked for: of all lanes, merged.

    The n-th key's are the n-th entries of ``table``'s columns, counted from the arrival time ``begin_ms[n]`` on.
    """

    start_ms: int
    keys: Sequence[str]
    table: Table
    begin_ms: Sequence[int]


@dataclass(frozen=True, slots=True)
class Place:
    """An item that was read, or is to be: of a window and lane, the chunk *number* among so many; among 0: the root."""

    sk: str
    among: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class CellReader:
    """Reads the cells of one rollup and window size. *counts* is the fingerprint that its items must have.

    Where all keys are read, those are left out that stand where no key has one of *hashes*; None: none is left out.
    Of their states only the columns of *layout* are read, of the keys that *wants* tells; None: all of them.
    """

    store: PartialStore
    rollup: Rollup
    windows: TumblingWindows
    counts: str
    hashes: range | None = None
    layout: StateLayout | None = None
    wants: Callable[[str], bool] | None = None

    def read(
        self, from_ms: int, to_ms: int, keys: Sequence[str] | None, *, now_ms: int
    ) -> Iterator[KeyStates]:
        """Yield each window that overlaps ``[from_ms, to_ms)``, in the order of time; *keys* None: all keys.

        A window that is not kept any more by *now_ms* is passed over: what is left of it may be no whole.

        Raises:
            ConfigError: an item counts something else than the rollup, or is damaged.
        """
        first = self.windows.assign(max(from_ms, 0)).start_ms
        # "}" sorts after the "|" that ends a window's prefix; BETWEEN includes both its ends.
        last = window_prefix(max(to_ms - 1, 0)) + "}"
        pk = chunk_key(self.rollup, self.windows, ROOT, "").pk
        roots = self.store.range(pk, window_prefix(first), last)
        alive = ((sk, item) for sk, item in roots if self._deletable_ms(sk, item) > now_ms)
        held: list[tuple[str, StoredItem]] = []
        for _, of_window in groupby(alive, key=lambda each: window_start_ms(each[0])):
            held += of_window
            if len(held) >= _ROOTS:
                yield from self._resolve(held, keys)
                held = []
        yield from self._resolve(held, keys)

    def _deletable_ms(self, sk: str, root: StoredItem) -> int:
        """Return from when on some item of the window of *root* may be deleted.

        By the definition too: where `keep` was lowered, or the stream's retention changed, items of one window expire at
        different times, and those that are left look like the whole.
        """
        expires_ms = root.expires_s * 1000
        if self.rollup.keep_ms is None:
            return expires_ms
        return min(expires_ms, window_start_ms(sk) + self.windows.size_ms + self.rollup.keep_ms)

    def _resolve(
        self, roots: Sequence[tuple[str, StoredItem]], keys: Sequence[str] | None
    ) -> Iterator[KeyStates]:
        by_window = self._chunks(roots, keys)
        for start_ms in sorted(by_window):
            states = self._merged(start_ms, by_window.pop(start_ms))
            if states.keys:
                yield states

    def _chunks(
        self, roots: Sequence[tuple[str, StoredItem]], keys: Sequence[str] | None
    ) -> dict[int, list[tuple[Place, Chunk]]]:
        """Return of each window what *roots* and the items below them hold."""
        found: dict[int, list[tuple[Place, Chunk]]] = {}
        onward: dict[str, int] = {}
        hashes = None if keys is None else {key: key_hash(self.rollup, key) for key in keys}
        pk_of = cache(lambda chunk: chunk_key(self.rollup, self.windows, chunk, "").pk)
        wants = self.wants if keys is None else frozenset(keys).__contains__
        level = {Place(sk): item for sk, item in roots}
        while level:
            following: dict[ItemKey, Place] = {}
            for place, item in level.items():
                chunk = self._decoded(place, item, wants)
                if chunk.keys:
                    found.setdefault(window_start_ms(place.sk), []).append((place, chunk))
                onward.setdefault(place.sk, chunk.onward)
                if chunk.onward:
                    for each in below(place, chunk, hashes, self.hashes):
                        following[ItemKey(pk_of(chunk_name(each.among, each.number)), each.sk)] = each
            items = fetch(self.store, {key: each.among for key, each in following.items()}, onward)
            level = {following[key]: item for key, item in items.items()}
        return found

    def _decoded(self, place: Place, item: StoredItem, wants: Callable[[str], bool] | None) -> Chunk:
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

    def _merged(self, start_ms: int, chunks: list[tuple[Place, Chunk]]) -> KeyStates:
        """Merge what the lanes hold, in the order of their names: a child of a shard comes behind its parent.

        *chunks* is emptied: of a million keys nothing is held twice.
        """
        chunks.sort(key=lambda each: (lane_of(each[0].sk), each[0].among, each[0].number), reverse=True)
        _, first = chunks.pop()
        if not chunks:
            return KeyStates(start_ms, first.keys, first.table, [first.begin_ms] * len(first.keys))
        plan = plan_of(self.layout or self.rollup.layout)
        places = {key: place for place, key in enumerate(first.keys)}
        table, begins = first.table, [first.begin_ms] * len(first.keys)
        while chunks:
            _, chunk = chunks.pop()
            if places.keys().isdisjoint(chunk.keys):  # as mostly: a key is of one shard
                plan.add(table, chunk.table, range(len(chunk.keys)))
                begins += [chunk.begin_ms] * len(chunk.keys)
                places |= zip(chunk.keys, range(len(places), len(begins)), strict=True)
                continue
            known = [row for row, key in enumerate(chunk.keys) if key in places]
            at = [places[chunk.keys[row]] for row in known]
            for place in at:
                begins[place] = max(begins[place], chunk.begin_ms)
            plan.merge(table, at, chunk.table, known)
            new = [row for row, key in enumerate(chunk.keys) if key not in places]
            plan.add(table, chunk.table, new)
            begins += [chunk.begin_ms] * len(new)
            for row in new:
                places[chunk.keys[row]] = len(places)
        return KeyStates(start_ms, list(places), table, begins)


def below(
    place: Place, chunk: Chunk, keys: Mapping[str, int] | None, hashes: range | None
) -> Iterator[Place]:
    """Yield where keys are that *chunk* has no room for: those of *keys*, which has their hashes, that it does not hold.

    Where *keys* is None: all of them, or those that have one of *hashes*.
    """
    among = chunk.onward
    if keys is None:
        for number in _numbers_below(place, among, hashes):
            yield Place(place.sk, among, number)
        return
    held = set(chunk.keys)
    for key, hash_ in keys.items():
        if key not in held and (not place.among or chunk_number(hash_, place.among) == place.number):
            yield Place(place.sk, among, chunk_number(hash_, among))


def _numbers_below(place: Place, among: int, hashes: range | None) -> range:
    """Return which chunks *among* so many take what the one at *place* has no room for; of *hashes* only."""
    share = among // max(place.among, 1)
    first, last = place.number * share, (place.number + 1) * share - 1
    if hashes is not None:
        first = max(first, chunk_number(hashes.start, among))
        last = min(last, chunk_number(hashes[-1], among))
    return range(first, last + 1)
