"""Sessions: runs of one key's events with no pause longer than a gap.

A state holds of each session when it began, when it ended and how many events it has, in the order of time, with pauses
longer than the gap between them. Merging two is a union: sessions that a new event brings together are one. So a state is a
function of the set of events, and an event that comes late and bridges two sessions corrects them, whenever it comes.

Over several keys sessions are added up, never united: two visitors are two sessions. Over windows of one key they are
united: a session that goes on past midnight is one of the week, though each of the days has its share as one of its own.
"""

from collections.abc import Sequence
from itertools import accumulate, chain, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from streamgage.measures.packing import pack, unpack_whole
from streamgage.measures.parts import Column, Groups

DEFAULT_GAP_S = 1_800
MOST_SESSIONS = 20_000
"""Of a key in a window: as many fit into an item. A gap that is too short for a window is refused with the definition."""
MOST_WITH_TEXTS = 3_000
"""Where each has a text: see ``session_texts``."""
_SESSION_BYTES = 5 + 5 + 8  # begin, length, events
_HELD_BYTES = 145  # of a session in memory

Sessions = tuple[tuple[int, int, int], ...]
"""A state: (begin in ms, end in ms, events) of each session."""


class Totals(NamedTuple):
    """What sessions of several keys come to."""

    sessions: int
    events: int
    length_ms: int
    bounces: int


NONE = Totals(0, 0, 0, 0)


def of_times(times: Sequence[int], gap_ms: int) -> Sessions:
    """Return the sessions of events at *times*, in any order."""
    return _united(((time, time, 1) for time in sorted(times)), gap_ms)


def _united(spans: Any, gap_ms: int) -> Sessions:
    """Return *spans*, in the order of their beginnings, those together that no longer pause parts."""
    found: list[tuple[int, int, int]] = []
    begin = end = events = 0
    for start, stop, count in spans:
        if events and start - end <= gap_ms:
            end, events = max(end, stop), events + count
            continue
        if events:
            found.append((begin, end, events))
        begin, end, events = start, stop, count
    return (*found, (begin, end, events)) if events else ()


def totals_of(state: Sessions | Totals) -> Totals:
    """Return what the sessions of a state come to. A bounce is a session of one event."""
    if isinstance(state, Totals):
        return state
    events = list(map(itemgetter(2), state))
    return Totals(len(state), sum(events), sum(end - begin for begin, end, _ in state), events.count(1))


class SessionsPart:
    """The sessions of each key, by one gap."""

    identity: Sessions = ()
    is_timed = True
    most_bytes = MOST_SESSIONS * _SESSION_BYTES

    def __init__(self, gap_s: int) -> None:
        self._gap_ms = gap_s * 1000

    def most_bytes_in(self, size_ms: int) -> int:
        """Return how many bytes the sessions of a window of *size_ms* take at most."""
        return min(size_ms // self._gap_ms + 1, MOST_SESSIONS) * _SESSION_BYTES + 2

    def held_bytes(self, column: Column) -> int:
        """Return about how many bytes the states of *column* take in memory."""
        return sum(map(len, column)) * _HELD_BYTES

    def fold(self, groups: Groups) -> Column:
        """Return the sessions of each group."""
        return [of_times(each, self._gap_ms) for each in groups.times]

    def join(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return the unions over windows of one key, or lanes."""
        return [self._merged([column[at] for at in pick]) for pick in picks]

    def across(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return the totals over several keys."""
        return [_sum([totals_of(column[at]) for at in pick]) for pick in picks]

    def merge(self, known: Sequence[Any], later: Sequence[Any]) -> Column:
        """Unite; totals are added."""
        return [self._merged((old, new)) for old, new in zip(known, later, strict=True)]

    def _merged(self, states: Sequence[Any]) -> Any:
        some = [each for each in states if each]
        if len(some) < 2:
            return some[0] if some else ()
        if any(isinstance(each, Totals) for each in some):
            return _sum([totals_of(each) for each in some])
        return _united(sorted(chain.from_iterable(some)), self._gap_ms)

    def pack(self, column: Sequence[Sessions], *, start_ms: int) -> bytes:
        """Return *column*: numbers of sessions; of all of them begins after *start_ms*, lengths, and events."""
        every = list(chain.from_iterable(column))
        return b"".join(
            (
                pack(list(map(len, column))),
                pack([begin - start_ms for begin, _, _ in every]),
                pack([end - begin for begin, end, _ in every]),
                pack([events for _, _, events in every]),
            )
        )

    def unpack(
        self, data: bytes, at: int, count: int, *, start_ms: int, rows: Sequence[int] | None = None
    ) -> tuple[Column, int]:
        """Return what ``pack`` wrote, of *rows* alone where they are given, and where it ends.

        Raises:
            ValueError, IndexError: it is damaged.
        """
        sizes, at = unpack_sizes(data, at, count, most=MOST_SESSIONS)
        wanted = range(count) if rows is None else rows
        of_spans = None if wanted else ()
        begins, at = unpack_whole(data, at, sum(sizes), of_spans)
        lengths, at = unpack_whole(data, at, sum(sizes), of_spans)
        events, at = unpack_whole(data, at, sum(sizes), of_spans)
        spans = [
            (start_ms + begin, start_ms + begin + length, number)
            for begin, length, number in zip(begins, lengths, events, strict=True)
        ]
        if min(lengths, default=0) < 0 or min(events, default=1) < 1:
            raise ValueError("a session that ends before it begins, or of no events")
        return parted(spans, sizes, wanted, gap_ms=self._gap_ms), at


def unpack_sizes(data: bytes, at: int, count: int, *, most: int) -> tuple[list[int], int]:
    """Return how many sessions each of *count* keys has, *most* at most, and where that ends. Raises: ValueError, IndexError."""
    sizes, at = unpack_whole(data, at, count)
    if not all(0 <= each <= most for each in sizes) or sum(sizes) > max(count, len(data)):
        raise ValueError("more sessions than there are")
    return sizes, at


def parted(spans: Sequence[Any], sizes: Sequence[int], rows: Sequence[int], *, gap_ms: int) -> Column:
    """Return of each of *rows* its part of *spans*, which are those of all keys. Raises: ValueError, some are not apart."""
    states: Column = []
    bounds = list(accumulate(sizes, initial=0))
    for row in rows:
        state = tuple(spans[bounds[row] : bounds[row + 1]])
        if any(after[0] - before[1] <= gap_ms for before, after in pairwise(state)):
            raise ValueError("sessions that are not apart")
        states.append(state)
    return states


def _sum(totals: Sequence[Totals]) -> Totals:
    return Totals(*map(sum, zip(*totals, strict=True))) if totals else NONE
