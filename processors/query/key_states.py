"""The states of a window: what chunks of items hold, merged over lanes; and where the items of a key stand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from streamgage.fold.chunk import Chunk
from streamgage.fold.items import chunk_number, lane_of
from streamgage.measures.layout import StatePlan, Table


@dataclass(frozen=True, slots=True)
class KeyStates:
    """The states of one window, of the keys that were asked for: of all lanes, merged.

    The n-th key's are the n-th entries of ``table``'s columns, counted from the arrival time ``begin_ms[n]`` on. Nobody changes
    them: who reads the same items later may be given the same.
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


def merged(plan: StatePlan, start_ms: int, chunks: list[tuple[Place, Chunk]]) -> KeyStates:
    """Merge what the lanes hold, in the order of their names: a child of a shard comes behind its parent.

    *chunks* is emptied: of a million keys nothing is held twice.
    """
    chunks.sort(key=lambda each: (lane_of(each[0].sk), each[0].among, each[0].number), reverse=True)
    _, first = chunks.pop()
    if not chunks:
        return KeyStates(start_ms, first.keys, first.table, [first.begin_ms] * len(first.keys))
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
