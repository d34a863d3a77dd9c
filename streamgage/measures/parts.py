"""Parts: the monoids that measures are read from, as operations over columns of states.

A state is a value that nothing changes: an integer, or (event time, value). What is kept of many keys is a column of
states, one entry a key, so each operation goes over all of them at once, mostly in C.

Within a lane what comes later in the log is merged as the later one. So ties need no sequence numbers: `first` keeps
what it has, `last` takes the new.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import add, gt, itemgetter, lt, mul
from typing import Any, Protocol

Column = list[Any]
"""States of one part, one entry a key."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The values of one field, group by group, in the order of the log: scaled integers, none of them None.

    ``times`` holds their event times in ms; () where no part of the field asks for them. ``dense``: no group is empty. ``scale`` is
    the field's; where it is TEXT, values are texts, and where it is HISTOGRAM, histograms.
    """

    values: Sequence[Sequence[int]]
    times: Sequence[Sequence[int]]
    dense: bool
    scale: int = 0


class Part(Protocol):
    """One monoid. ``identity`` is the state of no values.

    No part is a dataclass: making one costs a cold start half a millisecond.
    """

    @property
    def identity(self) -> Any:
        """The state of no values."""

    @property
    def is_timed(self) -> bool:
        """Whether it reads event times."""

    @property
    def most_bytes(self) -> int:
        """How many bytes a state takes at most, of values of 38 digits, 2**63 of them."""

    def fold(self, groups: Groups) -> Column:
        """Return the state of each group."""

    def join(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return the states of windows that others nest in: of each the merge of the entries that a pick names."""

    def merge(self, known: Sequence[Any], later: Sequence[Any]) -> Column:
        """Return of each pair the merge: ``known[n]`` comes before ``later[n]`` in the log."""


class Total:
    """A sum: of ones, of values, of squares."""

    identity, is_timed = 0, False

    def __init__(self, of: Callable[[Sequence[Sequence[int]]], Column], most_bytes: int) -> None:
        self.of, self.most_bytes = of, most_bytes

    def fold(self, groups: Groups) -> Column:
        """Return the total of each group."""
        return self.of(groups.values)

    def join(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return the sums of what nests."""
        return [sum(_picked(column, pick)) for pick in picks]

    def merge(self, known: Sequence[Any], later: Sequence[Any]) -> Column:
        """Add."""
        return list(map(add, known, later))


class Extreme:
    """The least value (*pick* is ``min``), or the greatest; None of no values."""

    identity, is_timed, most_bytes = None, False, 17

    def __init__(self, pick: Callable[..., Any], goes_before: Callable[[Any, Any], bool]) -> None:
        self.pick, self.goes_before = pick, goes_before

    def fold(self, groups: Groups) -> Column:
        """Return the extreme of each group."""
        if groups.dense:
            return list(map(self.pick, groups.values))
        return [self.pick(each, default=None) for each in groups.values]

    def join(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return the extremes of what nests."""
        return [self.pick(_known(column, pick), default=None) for pick in picks]

    def merge(self, known: Sequence[Any], later: Sequence[Any]) -> Column:
        """Keep the more extreme."""
        try:
            flags = map(self.goes_before, known, later)
            return [
                old if is_before else new for is_before, old, new in zip(flags, known, later, strict=True)
            ]
        except TypeError:  # of None
            return _merge_known(known, later, self.pick)


class First:
    """The earliest value, as (event time, value); of one instant the one that comes first in the log."""

    identity, is_timed, most_bytes = None, True, 25

    def fold(self, groups: Groups) -> Column:
        """Return the earliest of each group."""
        return [_first(values, times) for values, times in zip(groups.values, groups.times, strict=True)]

    def join(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return the earliest of what nests: times of different windows differ."""
        return [min(_known(column, pick), default=None) for pick in picks]

    def merge(self, known: Sequence[Any], later: Sequence[Any]) -> Column:
        """Keep the earlier; of one instant the one that is there."""
        try:
            return [new if new[0] < old[0] else old for old, new in zip(known, later, strict=True)]
        except TypeError:  # of None
            return _merge_known(known, later, lambda old, new: new if new[0] < old[0] else old)


class Last:
    """The latest value, as (event time, value); of one instant the one that comes last in the log."""

    identity, is_timed, most_bytes = None, True, 25

    def fold(self, groups: Groups) -> Column:
        """Return the latest of each group."""
        return [_last(values, times) for values, times in zip(groups.values, groups.times, strict=True)]

    def join(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return the latest of what nests: times of different windows differ."""
        return [max(_known(column, pick), default=None) for pick in picks]

    def merge(self, known: Sequence[Any], later: Sequence[Any]) -> Column:
        """Keep the later; of one instant the new one."""
        try:
            return [old if new[0] < old[0] else new for old, new in zip(known, later, strict=True)]
        except TypeError:  # of None
            return _merge_known(known, later, lambda old, new: old if new[0] < old[0] else new)


def _merge_known(known: Sequence[Any], later: Sequence[Any], merge: Callable[[Any, Any], Any]) -> Column:
    """Return the merge of each pair, of which one or both may be the state of no values."""
    return [
        new if old is None else old if new is None else merge(old, new)
        for old, new in zip(known, later, strict=True)
    ]


def _picked(column: Column, pick: Sequence[int]) -> Sequence[Any]:
    if len(pick) == 1:
        return (column[pick[0]],)
    picked: Sequence[Any] = itemgetter(*pick)(column)
    return picked


def _known(column: Column, pick: Sequence[int]) -> list[Any]:
    return [each for each in _picked(column, pick) if each is not None]


def _first(values: Sequence[int], times: Sequence[int]) -> tuple[int, int] | None:
    if not values:
        return None
    time = min(times)
    return time, values[times.index(time)]


def _last(values: Sequence[int], times: Sequence[int]) -> tuple[int, int] | None:
    if not values:
        return None
    time = max(times)
    return time, values[len(times) - 1 - times[::-1].index(time)]


def _counts(groups: Sequence[Sequence[int]]) -> Column:
    return list(map(len, groups))


def _sums(groups: Sequence[Sequence[int]]) -> Column:
    return list(map(sum, groups))


def _squares(groups: Sequence[Sequence[int]]) -> Column:
    return [sum(map(mul, each, each)) for each in groups]


PARTS: dict[str, Part] = {
    "n": Total(_counts, 8),
    "sum": Total(_sums, 25),
    "sumsq": Total(_squares, 41),
    "min": Extreme(min, lt),
    "max": Extreme(max, gt),
    "first": First(),
    "last": Last(),
}
"""The parts of integers, in the order in which a layout holds those it has; sketches come behind them."""

TEXT = -1
"""Stands as the scale of a field of texts."""
HISTOGRAM = -2
"""Stands as the scale of a field whose values are histograms, which a client counted."""
