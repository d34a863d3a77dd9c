"""Producer duplicates: a PutRecords that timed out may have been stored, and its retry gets a new sequence number.

Each aggregated record carries its producer's mark, *(producer, counter)*, in a KPL tag, which other consumers ignore. Per
lane, a fenced item keeps which counters were seen, as ranges: a producer counts without gaps within a group, so there is
mostly one. A record beyond the fence whose mark was seen is a repeat. A record up to the fence was dealt with before, for
the item is written only when everything up to its fence is durable: redelivered, it is passed over. So each verdict is a
function of the lane's log before the record, whatever Lambda does to a batch.

The bound: PRODUCERS groups of producers, RANGES ranges of counters each; what goes beyond is forgotten, oldest first, and
counted. Forgetting may let a repeat count; it never drops an event that was not seen.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from streamgage.formats.mark import Mark
from streamgage.measures.monoids import State

LAYOUT = "progress@1"

PRODUCERS = 1_000
RANGES = 32


class Entry(NamedTuple):
    """One Kinesis record in a lane's log, as far as progress needs to know it."""

    sequence_number: int
    arrival_ms: int
    mark: Mark | None


@dataclass(slots=True)
class LaneLog:
    """What is known of a lane up to a point of its log. ``producers`` is in the order in which they were last seen.

    ``applied_ms`` is the latest arrival time up to that point. ``dropped`` and ``forgotten`` count repeats, and what the
    bound made us forget.
    """

    applied_ms: int
    producers: dict[str, list[list[int]]]
    dropped: int
    forgotten: int

    @classmethod
    def empty(cls) -> "LaneLog":
        """Return what is known before the first record."""
        return cls(0, {}, 0, 0)

    @classmethod
    def of_state(cls, state: State) -> "LaneLog":
        """Return the log that *state* holds, sharing nothing with it."""
        applied_ms, producers, dropped, forgotten = state
        return cls(
            applied_ms,
            {name: [list(each) for each in ranges] for name, ranges in producers.items()},
            dropped,
            forgotten,
        )

    def to_state(self) -> State:
        """Return the log as what an item stores."""
        return [self.applied_ms, self.producers, self.dropped, self.forgotten]

    def saw(self, mark: Mark | None) -> bool:
        """Tell whether a record with *mark* came before."""
        ranges = self.producers.get(mark.producer) if mark else None
        return ranges is not None and mark is not None and _find(ranges, mark.counter) is not None

    def append(self, entry: Entry) -> None:
        """Take note of the next record of the lane."""
        self.applied_ms = max(self.applied_ms, entry.arrival_ms)
        if entry.mark is None:
            return
        self.dropped += self.saw(entry.mark)
        self._see(entry.mark)

    def inherit(self, parent: "LaneLog") -> None:
        """Know of producers what *parent* knew: a retry may come to a child of the shard that holds the original."""
        for producer, ranges in parent.producers.items():
            known = self.producers.setdefault(producer, [])
            for low, high in ranges:
                _add(known, low, high)
        self._forget()

    def _see(self, mark: Mark) -> None:
        ranges = self.producers.pop(mark.producer, [])
        _add(ranges, mark.counter, mark.counter)
        self.producers[mark.producer] = ranges  # last seen: last forgotten
        self._forget(mark.producer)

    def _forget(self, *touched: str) -> None:
        for name in touched or tuple(self.producers):
            ranges = self.producers[name]
            self.forgotten += max(len(ranges) - RANGES, 0)
            del ranges[:-RANGES]
        while len(self.producers) > PRODUCERS:
            del self.producers[next(iter(self.producers))]
            self.forgotten += 1


def _find(ranges: list[list[int]], counter: int) -> int | None:
    """Return the place of the range that holds *counter*; ranges are disjoint, not adjacent, and ascending."""
    if ranges and ranges[-1][0] <= counter:
        return len(ranges) - 1 if counter <= ranges[-1][1] else None
    place = bisect_right(ranges, counter, key=lambda each: each[0]) - 1
    return place if place >= 0 and counter <= ranges[place][1] else None


def _add(ranges: list[list[int]], low: int, high: int) -> None:
    """Add ``low … high`` to *ranges*, joining what it touches."""
    if ranges and ranges[-1][1] + 1 == low:
        ranges[-1][1] = high
        return
    joined = [each for each in ranges if each[0] <= high + 1 and each[1] >= low - 1]
    apart = [each for each in ranges if not (each[0] <= high + 1 and each[1] >= low - 1)]
    low, high = min([low, *(each[0] for each in joined)]), max([high, *(each[1] for each in joined)])
    ranges[:] = sorted([*apart, [low, high]])
