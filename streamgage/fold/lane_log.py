"""Producer duplicates: a PutRecords that timed out may have been stored, and its retry gets a new sequence number.

Each aggregated record carries its producer's mark, *(producer, counter)*, in a KPL tag, which other consumers ignore. Per
lane, a fenced item keeps which counters were seen, as ranges: a producer counts without gaps within a group, so there is
mostly one. A record beyond the fence whose mark was seen is a repeat. A record up to the fence was dealt with before, for
the item is written only when everything up to its fence is durable: redelivered, it is passed over. So each verdict is a
function of the lane's log before the record, whatever Lambda does to a batch.

The bound is in bytes, counted alike after each record: what goes beyond is forgotten, the producer that was last seen
longest ago first, and counted. Forgetting may let a repeat count; it never drops an event that was not seen.

::

    body     = 01 | applied | begin | dropped | forgotten | producers | producer…
    producer = 8 bytes of the BLAKE2b of its name | ranges | (low - the high before | high - low)…

All numbers are varints; producers stand in the order in which they were last seen.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from streamgage.formats.mark import Mark
from streamgage.measures.packing import read_varint, varint

LOG_BYTES = 26_000  # 1,000 producers: at most 26 write units a batch
RANGES = 32  # of one producer
_VERSION = 1
_NAME_BYTES = 8
_PRODUCER_BYTES, _RANGE_BYTES = (
    _NAME_BYTES + 2,
    16,
)  # as they count against the bound: never less than they take

Ranges = list[list[int]]


class Entry(NamedTuple):
    """One Kinesis record in a lane's log, as far as progress needs to know it."""

    sequence_number: int
    arrival_ms: int
    mark: Mark | None


@dataclass(slots=True)
class LaneLog:
    """What is known of a lane up to a point of its log. ``producers`` is in the order in which they were last seen.

    ``applied_ms`` is the latest arrival time up to that point; ``begin_ms`` the arrival time from which on the lane was
    read, 0 from its first record on. ``dropped`` and ``forgotten`` count repeats, and what the bound made us forget.
    """

    applied_ms: int = 0
    begin_ms: int = 0
    dropped: int = 0
    forgotten: int = 0
    producers: dict[bytes, Ranges] = field(default_factory=dict)
    _ranges: int = 0

    @classmethod
    def of_body(cls, body: bytes) -> "LaneLog":
        """Return the log that *body* holds. Raises: ValueError, where it is damaged, or of a newer version."""
        try:
            if body[0] != _VERSION:
                raise ValueError(f"version {body[0]}, not {_VERSION}: a newer streamgage wrote it")
            applied_ms, at = read_varint(body, 1)
            begin_ms, at = read_varint(body, at)
            dropped, at = read_varint(body, at)
            forgotten, at = read_varint(body, at)
            log = cls(applied_ms, begin_ms, dropped, forgotten)
            count, at = read_varint(body, at)
            for _ in range(count):
                name = body[at : at + _NAME_BYTES]
                ranges, at = _read_ranges(body, at + _NAME_BYTES)
                log.producers[name] = ranges
                log._ranges += len(ranges)
        except IndexError as error:
            raise ValueError("cut short") from error
        if at != len(body):
            raise ValueError(f"{len(body) - at} bytes left over, or too few")
        return log

    def to_body(self) -> bytes:
        """Return the log as an item stores it."""
        heads = (self.applied_ms, self.begin_ms, self.dropped, self.forgotten, len(self.producers))
        pieces = [bytes((_VERSION,)), *map(varint, heads)]
        for name, ranges in self.producers.items():
            pieces += [name, varint(len(ranges)), *_ranges_as_bytes(ranges)]
        return b"".join(pieces)

    def copy(self) -> "LaneLog":
        """Return a log that shares nothing with this one."""
        producers = {name: [list(each) for each in ranges] for name, ranges in self.producers.items()}
        return LaneLog(self.applied_ms, self.begin_ms, self.dropped, self.forgotten, producers, self._ranges)

    def saw(self, mark: Mark | None) -> bool:
        """Tell whether a record with *mark* came before."""
        ranges = self.producers.get(_name_of(mark.producer)) if mark else None
        return ranges is not None and mark is not None and _find(ranges, mark.counter) is not None

    def append(self, entry: Entry) -> None:
        """Take note of the next record of the lane."""
        self.applied_ms = max(self.applied_ms, entry.arrival_ms)
        if entry.mark is None:
            return
        self.dropped += self.saw(entry.mark)
        name = _name_of(entry.mark.producer)
        ranges = self.producers.pop(name, [])
        self.producers[name] = ranges  # last seen: last forgotten
        self._note(ranges, entry.mark.counter, entry.mark.counter)
        self._forget()

    def inherit(self, parent: "LaneLog") -> None:
        """Know of producers what *parent* knew: a retry may come to a child of the shard that holds the original."""
        self.begin_ms = max(self.begin_ms, parent.begin_ms)
        for name, ranges in parent.producers.items():
            known = self.producers.setdefault(name, [])
            for low, high in ranges:
                self._note(known, low, high)
        self._forget()

    def _note(self, ranges: Ranges, low: int, high: int) -> None:
        before = len(ranges)
        _add(ranges, low, high)
        over = len(ranges) - RANGES
        if over > 0:
            self.forgotten += over
            del ranges[:over]
        self._ranges += len(ranges) - before

    def _forget(self) -> None:
        """Forget the producers last seen longest ago, while what is known takes more than LOG_BYTES."""
        while (
            len(self.producers) * _PRODUCER_BYTES + self._ranges * _RANGE_BYTES > LOG_BYTES
            and len(self.producers) > 1
        ):
            self._ranges -= len(self.producers.pop(next(iter(self.producers))))
            self.forgotten += 1


@lru_cache(maxsize=4096)
def _name_of(producer: str) -> bytes:
    return blake2b(producer.encode("utf-8", "surrogatepass"), digest_size=_NAME_BYTES).digest()


def _ranges_as_bytes(ranges: Ranges) -> Iterator[bytes]:
    before = 0
    for low, high in ranges:
        yield varint(low - before)
        yield varint(high - low)
        before = high


def _read_ranges(body: bytes, at: int) -> tuple[Ranges, int]:
    count, at = read_varint(body, at)
    ranges: Ranges = []
    before = 0
    for _ in range(count):
        low, at = read_varint(body, at)
        span, at = read_varint(body, at)
        ranges.append([before + low, before + low + span])
        before += low + span
    return ranges, at


def _find(ranges: Ranges, counter: int) -> int | None:
    """Return the place of the range that holds *counter*; ranges are disjoint, not adjacent, and ascending."""
    if ranges and ranges[-1][0] <= counter:
        return len(ranges) - 1 if counter <= ranges[-1][1] else None
    place = bisect_right(ranges, counter, key=lambda each: each[0]) - 1
    return place if place >= 0 and counter <= ranges[place][1] else None


def _add(ranges: Ranges, low: int, high: int) -> None:
    """Add ``low … high`` to *ranges*, joining what it touches."""
    if ranges and ranges[-1][1] + 1 == low:
        ranges[-1][1] = high
        return
    joined = [each for each in ranges if each[0] <= high + 1 and each[1] >= low - 1]
    apart = [each for each in ranges if not (each[0] <= high + 1 and each[1] >= low - 1)]
    low, high = min([low, *(each[0] for each in joined)]), max([high, *(each[1] for each in joined)])
    ranges[:] = sorted([*apart, [low, high]])
