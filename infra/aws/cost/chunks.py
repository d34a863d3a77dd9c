"""In how many items the keys of one cell (rollup, window, lane) stand, how many of them a batch writes, in which units.

The rules are those of fold/cells.py, on average: keys fall into chunks by chance (Poisson), or in groups that stand together,
a chunk takes new keys until its body is full, and what has no room goes on to chunks below it. A test holds the result
against the real code.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from infra.aws.cost.item_size import write_units
from streamgage.fold.cells import AIM, FEW, FULL_BYTES

MANY = 16  # events of a key, from where on its state hardly grows, if it is of numbers
FULL = 256  # and if it is a sketch
SAMPLE = 48  # keys, by which fold/cells.py judges what one takes
_NAME_DEFLATES = 16  # and it reckons with so much of a name beside
_DEPTH = 40  # of chunks: 2**40 of them
_LEAST = 1e-3  # chunks: what is less is nothing


@dataclass(frozen=True, slots=True)
class BodyBytes:
    """What a body takes: *head*, and a key with its state, of *one* event and of *many*; *name*: of a key's text alone.

    *full* is set where a state grows with its events (sketches): what it takes of FULL events, when it hardly grows any more.

    *sampled* is what fold/cells.py takes a key of many events for: by the first 48 that come, head included. A device's keys
    come together, and their names shrink more than those of keys that a hash put together. *around* is the rest of an
    item: its key, fence, fingerprint and the names of attributes.
    """

    head: float
    one: float
    many: float
    sampled: float
    name: float
    around: float
    full: float | None = None

    def key(self, events: float) -> float:
        """Return the bytes of a key of so many events: ``many - (many - one) / events²``; linear where a state grows."""
        if self.full is None:
            return self.many - (self.many - self.one) / max(events, 1.0) ** 2
        if events <= MANY:
            return self.one + (self.many - self.one) * (max(events, 1.0) - 1) / (MANY - 1)
        return self.many + (self.full - self.many) * min((events - MANY) / (FULL - MANY), 1.0)

    def judged(self, events: float, *, keys: float) -> float:
        """Return what fold/cells.py takes a key of so many events for, of a batch that adds *keys* keys."""
        together = self.sampled / (self.many + self.head / SAMPLE)
        return (self.key(events) + self.head / min(max(keys, 1.0), SAMPLE)) * together

    def room(self, events: float, *, keys: float) -> int:
        """Return how many such keys a chunk takes: at once, or a few a batch, each batch judged with a head of its own."""
        name = self.name / _NAME_DEFLATES
        if keys < SAMPLE:
            return max(1, int((FULL_BYTES - (1 + 1 / keys) * self.head - name) / self.key(events)))
        return max(1, int(FULL_BYTES / (self.judged(events, keys=keys) + name)))

    def item(self, keys: float, events: float) -> float:
        """Return the bytes of an item of so many keys, each of so many events."""
        return self.around + self.head + keys * self.key(events)


REFERENCE_BYTES = BodyBytes(head=112, one=8, many=19, sampled=18.7, name=25, around=164)
"""Of readings by device and metric, all eight measures: what ``streamgage bench write_units`` finds."""


@dataclass(frozen=True, slots=True)
class Level:
    """Chunks that are alike: so many, with room for *room* keys each; *mean* keys on average are sent there.

    They are sent in groups of *together* keys, which all go to one chunk. *exact*: it is not chance how many each gets.
    """

    chunks: float
    mean: float
    room: int
    together: float = 1.0
    exact: bool = False


def levels(
    keys: float, *, first: float, room: int, key_bytes: float, together: float = 1.0
) -> Iterator[Level]:
    """Yield the chunks in which *keys* keys stand, from the root on; *first* of them came with the first batch.

    Of keys in groups as large as a chunk, each group has chunk after chunk for itself.
    """
    in_root = min(keys, float(room)) if first <= room else 0.0
    yield Level(1.0, in_root, room, exact=True)
    left = keys - in_root
    if left <= 0:
        return
    came = max(1.0, min(first, left))
    chunks = max(math.floor(came * key_bytes / (AIM * FULL_BYTES)) + 1.0, float(FEW))
    if together >= room:
        whole, rest = divmod(together, room)
        yield Level(left / together * whole, float(room), room, exact=True)
        if rest >= 1:
            yield Level(left / together, rest, room, exact=True)
        return
    for _ in range(_DEPTH):
        yield Level(chunks, left / chunks, room, together)
        over, closed = _beyond(left / chunks, room, together)
        if together > 1 and closed:
            together = max(1.0, min(together, over / closed))
        left, chunks = over * chunks, closed * chunks * FEW
        if chunks < _LEAST or left < _LEAST:
            return


@dataclass(frozen=True, slots=True)
class Touched:
    """What a batch writes of a cell: *items*, and their *units*. Its keys stand in *standing* items of *stored_bytes*."""

    items: float
    units: float
    standing: float
    stored_bytes: float


def touched(
    keys: float,
    bytes_: BodyBytes,
    *,
    first: float,
    first_events: float,
    by_batch: float,
    events: float,
    together: float = 1.0,
) -> Touched:
    """Return what a batch of *by_batch* of the *keys* keys of a cell writes, each of which has *events* by then.

    *first* of them came with the cell's first batch, with *first_events* each. *together* of them share an item each.
    """
    share = min(1.0, by_batch / keys)
    room = bytes_.room(first_events, keys=first)
    judged = bytes_.judged(first_events, keys=first)
    items = units = standing = stored = 0.0
    for number, level in enumerate(levels(keys, first=first, room=room, key_bytes=judged, together=together)):
        if number == 0 and not level.mean:  # a root of no keys is written once, and says where they are
            standing, stored = standing + 1, stored + bytes_.item(0, 0)
            continue
        for count, chance in _chances(level):
            size_bytes = bytes_.item(count, events)
            written = level.chunks * chance * (1 - (1 - share) ** count)
            items += written
            units += written * write_units(round(size_bytes))
            standing += level.chunks * chance
            stored += level.chunks * chance * size_bytes
    return Touched(items, units, standing, stored)


def read_for_group(
    keys: float, bytes_: BodyBytes, *, first: float, first_events: float, together: float
) -> float:
    """Return how many items of a cell are read for one group of *together* keys, on average: those on its way."""
    room = bytes_.room(first_events, keys=first)
    judged = bytes_.judged(first_events, keys=first)
    items, reached = 0.0, 1.0
    if together >= room and keys > room:
        return 1 + math.ceil(together / room)
    for level in levels(keys, first=first, room=room, key_bytes=judged, together=together):
        items += reached
        if items > 1:  # how often the others that are sent there leave no room for all of the group
            free = max(0.0, room - level.together)
            reached *= _beyond(level.mean, int(free), level.together)[1]
    return items


def _chances(level: Level) -> Iterator[tuple[float, float]]:
    """Yield how many keys a chunk of *level* may hold, at least one, and the chance of it."""
    if level.exact:
        yield max(1, round(level.mean)), 1.0
        return
    mean = level.mean / level.together
    chance = below = math.exp(-mean)
    for count in range(1, math.ceil(level.room / level.together)):
        chance *= mean / count
        below += chance
        yield count * level.together, chance
    yield level.room, max(0.0, 1 - below)


@cache
def _beyond(mean: float, room: int, together: float = 1.0) -> tuple[float, float]:
    """Return how many of *mean* keys a chunk (Poisson) has no *room* for, and the chance that it has none for some.

    They come in groups of *together*.
    """
    groups = mean / together
    chance = below = math.exp(-groups)
    unused = room * chance
    for count in range(1, int(room / together) + 1):
        chance *= groups / count
        unused += (room - count * together) * chance
        below += chance
    return max(0.0, mean - room + unused), max(0.0, 1 - below)
