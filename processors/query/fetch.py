"""Fetch the items below the roots: neighbours by one Query, the others each by itself.

DynamoDB rounds an item that is got by itself up to 4 kB, and of a Query the sum of its items; ours have one kB. Items of one
chunk, of many windows or of the lanes of many shards, stand beside each other. So a history of reshards, and a key's over
a day of minutes, cost a quarter.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html (checked 2026-11-29)
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import accumulate, pairwise
from typing import NamedTuple, Protocol

from streamgage.fold.items import ItemKey, StoredItem, window_prefix

_LEAST = 3  # items that are read by a Query: of fewer, a hundred fit into one request for as many read units
_STRANGERS = 3  # items that nobody asked for, between two that are: with these, four make a read unit
_READERS = 8
_SPAN_WINDOWS = 256  # of a Query: a read unit is rounded up once in so many
_MOST_SPANS = 32  # of one range: "all there is" begins in 1970
_AHEAD = 3  # spans, while one is decoded


class Fetched(Protocol):
    """Where items are fetched from; several threads ask at once."""

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Yield (sk, item) of the partition *pk* with first_sk ≤ sk ≤ last_sk."""

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys*, any number, that exist."""


class Span(NamedTuple):
    """Items of one partition, from one sort key to another, both included."""

    pk: str
    first_sk: str
    last_sk: str


def fetch(
    store: Fetched, wanted: Mapping[ItemKey, int], roots: Mapping[str, int]
) -> dict[ItemKey, StoredItem]:
    """Return those items of *wanted* that exist; each is of a chunk among so many as stands beside its key.

    *roots* says by sort key, in the order of these, among how many chunks each cell's keys go on; 0: they do not.
    """
    spans, alone = spans_of(wanted, roots)
    found = dict(store.get(alone)) if alone else {}
    for span, items in _read(store, spans):
        for sk, item in items:
            key = ItemKey(span.pk, sk)
            if key in wanted:
                found[key] = item
    return found


def range_of_windows(
    store: Fetched, pk: str, first_ms: int, to_ms: int, size_ms: int
) -> Iterator[tuple[str, StoredItem]]:
    """Yield (sk, item) of the windows of *size_ms* in *pk* that begin in ``[first_ms, to_ms)``, in the order of sk.

    A range of many windows is read as several at once, cut where it would also be cut a moment later.
    """
    span_ms = _SPAN_WINDOWS * size_ms
    if not 2 * span_ms <= to_ms - first_ms <= _MOST_SPANS * span_ms:
        yield from store.range(*_span(pk, first_ms, to_ms))
        return
    bounds = [first_ms, *range((first_ms // span_ms + 1) * span_ms, to_ms, span_ms), to_ms]
    spans = [_span(pk, *each) for each in pairwise(bounds)]
    with ThreadPoolExecutor(_AHEAD) as pool:
        ahead: deque[Future[list[tuple[str, StoredItem]]]] = deque()
        for span in spans:
            ahead.append(pool.submit(lambda span: list(store.range(*span)), span))
            if len(ahead) > _AHEAD:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def _span(pk: str, first_ms: int, to_ms: int) -> Span:
    """Return the span of the windows that begin in ``[first_ms, to_ms)``."""
    # "}" sorts after the "|" that ends a window's prefix; BETWEEN includes both its ends.
    return Span(pk, window_prefix(first_ms), window_prefix(to_ms - 1) + "}")


def _read(store: Fetched, spans: Sequence[Span]) -> Iterator[tuple[Span, list[tuple[str, StoredItem]]]]:
    if len(spans) < 2:
        yield from ((span, list(store.range(*span))) for span in spans)
        return
    with ThreadPoolExecutor(min(_READERS, len(spans))) as pool:
        yield from zip(spans, pool.map(lambda span: list(store.range(*span)), spans), strict=True)


def spans_of(wanted: Mapping[ItemKey, int], roots: Mapping[str, int]) -> tuple[list[Span], list[ItemKey]]:
    """Return *wanted* as spans, which hold few other items, and the keys that lie in none. The arguments are fetch's."""
    numbers = dict(zip(roots, range(len(roots)), strict=True))

    @cache
    def before(among: int) -> Sequence[int]:
        """Return how many cells before each may have an item of a chunk among so many."""
        may_have = (bool(onward) and among % onward == 0 for onward in roots.values())
        return [0, *accumulate(may_have)]

    by_chunk: dict[tuple[str, int], list[str]] = {}
    for key, among in wanted.items():
        by_chunk.setdefault((key.pk, among), []).append(key.sk)
    spans: list[Span] = []
    alone: list[ItemKey] = []
    for (pk, among), sks in by_chunk.items():
        if len(sks) < _LEAST:
            alone += (ItemKey(pk, sk) for sk in sks)
            continue
        for run in _runs(sorted(sks), numbers, before(among)):
            if len(run) < _LEAST:
                alone += (ItemKey(pk, sk) for sk in run)
            else:
                spans.append(Span(pk, run[0], run[-1]))
    return spans, alone


def _runs(sks: Iterable[str], numbers: Mapping[str, int], before: Sequence[int]) -> Iterator[list[str]]:
    """Yield *sks* in runs between which more than a few strangers may stand."""
    run: list[str] = []
    for sk in sks:
        if run and before[numbers[sk]] - before[numbers[run[-1]] + 1] > _STRANGERS:
            yield run
            run = []
        run.append(sk)
    if run:
        yield run
