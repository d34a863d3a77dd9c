"""Parts whose states are larger than numbers: histograms, sets of different values. Imported by pipelines that have one.

In a body they stand column by column, as the numbers of other parts do; docs/formats.md has the layout.
"""

from collections.abc import Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Protocol

from streamgage.measures import distinct, histogram
from streamgage.measures.distinct import MOST_TOKENS, Distinct, Tokens
from streamgage.measures.histogram import LOWEST_SCALE, MOST_BUCKETS, SCALE, Histogram
from streamgage.measures.packing import pack, unpack_whole
from streamgage.measures.parts import HISTOGRAM, Column, Groups, Part
from streamgage.measures.sessions import SessionsPart

_TOKEN_BYTES = 4
_REGISTER_BYTES = 896
_DENSE = MOST_TOKENS + 1  # stands where a number of tokens would
_HELD_BUCKET, _HELD_TOKEN, _HELD_REGISTERS = 56, 75, 10_300  # bytes in memory


class SketchPart(Part, Protocol):
    """A part whose states stand in a body in a way of their own."""

    def held_bytes(self, column: Column) -> int:
        """Return about how many bytes the states of *column* take in memory."""

    def pack(self, column: Sequence[Any], *, start_ms: int) -> bytes:
        """Return *column* of a window that starts at *start_ms*."""

    def unpack(
        self, data: bytes, at: int, count: int, *, start_ms: int, rows: Sequence[int] | None = None
    ) -> tuple[Column, int]:
        """Return what ``pack`` wrote of *count* keys, of *rows* alone where they are given, and where it ends.

        Raises:
            ValueError, IndexError: it is damaged.
        """


class HistogramPart:
    """How many values lie in which bucket."""

    identity, is_timed = histogram.EMPTY, False
    # A place may be as far from the one before as doubles go, and a count is the sum of many of 2**53.
    most_bytes = MOST_BUCKETS * (3 + 9) + 16

    def held_bytes(self, column: Column) -> int:
        """Return about how many bytes the states of *column* take in memory."""
        return sum(len(each.places) for each in column) * _HELD_BUCKET

    def fold(self, groups: Groups) -> Column:
        """Return the histogram of each group."""
        if groups.scale == HISTOGRAM:
            points: Any = groups.values
            return [histogram.united(each) if each else histogram.EMPTY for each in points]
        return [histogram.of_values(each, groups.scale) for each in groups.values]

    def join(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return those of what nests."""
        return [histogram.merged([column[at] for at in pick]) for pick in picks]

    def merge(self, known: Sequence[Any], later: Sequence[Any]) -> Column:
        """Add."""
        return [
            (histogram.merged((old, new)) if new.total else old) if old.total else new
            for old, new in zip(known, later, strict=True)
        ]

    def pack(self, column: Sequence[Histogram], *, start_ms: int) -> bytes:  # noqa: ARG002 - no times
        """Return *column*: scales, zeros, numbers of buckets; and of all buckets the places, each after the one before, and counts."""
        steps = [
            [each.places[0], *(high - low for low, high in pairwise(each.places))] if each.places else []
            for each in column
        ]
        return b"".join(
            (
                pack([each.scale for each in column]),
                pack([each.zeros for each in column]),
                pack([len(each.places) for each in column]),
                pack(list(chain.from_iterable(steps))),
                pack(list(chain.from_iterable(each.counts for each in column))),
            )
        )

    def unpack(
        self,
        data: bytes,
        at: int,
        count: int,
        *,
        start_ms: int,  # noqa: ARG002 - no times
        rows: Sequence[int] | None = None,
    ) -> tuple[Column, int]:
        """Return what ``pack`` wrote, of *rows* alone where they are given, and where it ends.

        Raises:
            ValueError, IndexError: it is damaged.
        """
        scales, at = unpack_whole(data, at, count)
        zeros, at = unpack_whole(data, at, count)
        sizes, at = unpack_whole(data, at, count)
        if not all(0 <= each <= MOST_BUCKETS for each in sizes) or min(zeros, default=0) < 0:
            raise ValueError("a histogram of more buckets than there are")
        if not all(LOWEST_SCALE <= each <= SCALE for each in scales):
            raise ValueError("a histogram of a scale that is none")
        wanted = range(count) if rows is None else rows
        of_buckets = None if wanted else ()
        steps, at = unpack_whole(data, at, sum(sizes), of_buckets)
        counts, at = unpack_whole(data, at, sum(sizes), of_buckets)
        states: Column = []
        bounds = list(accumulate(sizes, initial=0))
        for row in wanted:
            scale, zero, first, last = scales[row], zeros[row], bounds[row], bounds[row + 1]
            if first < last and (min(counts[first:last]) < 1 or min(steps[first + 1 : last], default=1) < 1):
                raise ValueError("a histogram whose buckets are not in order, or empty")
            places = tuple(accumulate(steps[first:last]))
            states.append(Histogram(scale, zero, places, tuple(counts[first:last])))
        return states, at


class DistinctPart:
    """Which different values there were, as far as they are told apart."""

    identity, is_timed = distinct.EMPTY, False
    most_bytes = _REGISTER_BYTES + 2

    def __init__(self) -> None:
        self._tokens = Tokens()

    def held_bytes(self, column: Column) -> int:
        """Return about how many bytes the states of *column* take in memory."""
        return sum(
            len(each) * _HELD_TOKEN if isinstance(each, frozenset) else _HELD_REGISTERS for each in column
        )

    def fold(self, groups: Groups) -> Column:
        """Return the set of each group."""
        tokens = self._tokens
        return [distinct.of_tokens([tokens[value] for value in set(each)]) for each in groups.values]

    def join(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return the unions of what nests."""
        return [distinct.merged([column[at] for at in pick]) for pick in picks]

    def merge(self, known: Sequence[Any], later: Sequence[Any]) -> Column:
        """Unite."""
        return [distinct.merged((old, new)) for old, new in zip(known, later, strict=True)]

    def pack(self, column: Sequence[Distinct], *, start_ms: int) -> bytes:  # noqa: ARG002 - no times
        """Return *column*: numbers of tokens, 201 of registers; then of each its tokens in order, or its registers."""
        sizes = [len(each) if isinstance(each, frozenset) else _DENSE for each in column]
        pieces = [
            b"".join(token.to_bytes(_TOKEN_BYTES, "big") for token in sorted(each))
            if isinstance(each, frozenset)
            else distinct.pack_registers(each)
            for each in column
        ]
        return pack(sizes) + b"".join(pieces)

    def unpack(
        self,
        data: bytes,
        at: int,
        count: int,
        *,
        start_ms: int,  # noqa: ARG002 - no times
        rows: Sequence[int] | None = None,
    ) -> tuple[Column, int]:
        """Return what ``pack`` wrote, of *rows* alone where they are given, and where it ends.

        Raises:
            ValueError, IndexError: it is damaged.
        """
        sizes, at = unpack_whole(data, at, count)
        if not all(0 <= each <= _DENSE for each in sizes):
            raise ValueError("a set of more tokens than there are")
        lengths = (_REGISTER_BYTES if size == _DENSE else size * _TOKEN_BYTES for size in sizes)
        bounds = list(accumulate(lengths, initial=at))
        if bounds[-1] > len(data):
            raise ValueError("a set of values is cut off")
        states: Column = []
        for row in range(count) if rows is None else rows:
            first, last = bounds[row], bounds[row + 1]
            if sizes[row] == _DENSE:
                states.append(distinct.unpack_registers(data[first:last]))
            else:
                places = range(first, last, _TOKEN_BYTES)
                tokens = frozenset(int.from_bytes(data[each : each + _TOKEN_BYTES], "big") for each in places)
                if len(tokens) != sizes[row]:
                    raise ValueError("a set has a token twice")
                states.append(tokens)
        return states, bounds[-1]


_PARTS: dict[str, SketchPart] = {"histogram": HistogramPart(), "distinct": DistinctPart()}


def sketch_named(name: str) -> SketchPart:
    """Return the part *name*: ``histogram``, ``distinct``, ``signal``; ``sessions1800``, ``entry60``, by a gap in seconds."""
    found = _PARTS.get(name)
    if found is None:
        found = _PARTS[name] = _made(name)
    return found


def _made(name: str) -> SketchPart:
    if name == "signal":
        from streamgage.measures.time_weighted import SignalPart  # noqa: PLC0415 - by who names it

        return SignalPart()
    kind = name.rstrip("0123456789")
    gap_s = int(name.removeprefix(kind))
    if kind == "sessions":
        return SessionsPart(gap_s)
    from streamgage.measures.session_texts import SessionTextsPart  # noqa: PLC0415 - by who names it

    return SessionTextsPart(gap_s, is_exit=kind == "exit")
