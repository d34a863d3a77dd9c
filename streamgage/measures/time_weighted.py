"""Time-weighted means: of a signal that holds each value until the next event, between a key's first event and its last.

A state parts time into cells of 2**level ms and keeps of each that has events when the first and the last of them were, the
value of the last (of one instant the greatest), the least and the greatest value, and number and sum of all. It has 64 cells
at most: where events lie in more of them, each two neighbours become one, and the level goes up by one. The level is the
least, from 0 on, at which the events fill no more.

So a state is a function of the multiset of events. Merging gives the state of the union: no level below the greater of two fits
the union, for it does not fit the one of which it is; and what a cell keeps of the union follows from what it keeps of each,
as what a cell keeps follows from its two halves.

Between two cells the signal is known: it is the last value of the one that comes before. Within a cell, from its first event to
its last, it lies between the least and the greatest value; it is taken to be the mean of all values but the last, which is
right where events are evenly spaced, and the answer says how far off that may be. It is exact, and says so, where the events
of each cell are of one instant, as those of 64 different times always are.

Over several keys areas are added, and so are times: each key counts by how long it was known. Over windows of one key the
signal goes on from one to the next.

Source: https://docs.timescale.com/api/latest/hyperfunctions/time-weighted-calculations/ (its method LOCF)
"""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from itertools import accumulate, chain, groupby, pairwise, repeat
from operator import itemgetter
from typing import Any, NamedTuple

from streamgage.measures.decimals import divide
from streamgage.measures.packing import pack, unpack_whole
from streamgage.measures.parts import Column, Groups

MOST_CELLS = 64
_MOST_IN_ITEM = 4_096
"""Cells: an item takes no more keys than would fit, were all their states as large as they can be."""
_HIGHEST_LEVEL = 63
_CELL_BYTES = 6 + 6 + 3 * 17 + 8 + 25  # pause, length; three values of 38 digits; number and sum
_HELD_BYTES = 340  # of a cell in memory
_EXTRA_PLACES = 3


class Cell(NamedTuple):
    """What is kept of the events of a cell: when the first and the last were, in ms, and their values."""

    first_ms: int
    last_ms: int
    value: int
    low: int
    high: int
    events: int
    total: int


class Signal(NamedTuple):
    """A state: the cells that have events, in the order of time. A cell is ``[n * 2**level, (n + 1) * 2**level)`` ms."""

    level: int
    cells: tuple[Cell, ...]


class Area(NamedTuple):
    """What signals come to: their area in value x ms, at least, about, and at most; for how long; their values' bounds."""

    least: int
    about: int
    most: int
    time_ms: int
    low: int
    high: int


NONE = Signal(0, ())


def of_points(times: Sequence[int], values: Sequence[int]) -> Signal:
    """Return the state of events, in any order."""
    distinct = set(times)
    level = _least_level(distinct)
    points = sorted(zip(times, values, strict=True))
    if not level and len(points) == len(distinct):  # the usual case
        at, each = zip(*points, strict=True) if points else ((), ())
        cells = zip(at, at, each, each, each, repeat(1, len(at)), each, strict=True)
        return Signal(0, tuple(map(Cell._make, cells)))
    runs = groupby(points, key=lambda point: point[0] >> level)
    return Signal(level, tuple([_cell(list(run)) for _, run in runs]))


def _cell(points: Sequence[tuple[int, int]]) -> Cell:
    """Return what is kept of *points*, in the order of time and value."""
    values = list(map(itemgetter(1), points))
    last_ms, value = points[-1]
    return Cell(points[0][0], last_ms, value, min(values), max(values), len(values), sum(values))


def _least_level(times: Collection[int]) -> int:
    """Return the least level at which *times* fill no more cells than there may be."""
    low, high = 0, 0 if len(times) <= MOST_CELLS else _HIGHEST_LEVEL
    while low < high:
        level = (low + high) // 2
        if len({time >> level for time in times}) > MOST_CELLS:
            low = level + 1
        else:
            high = level
    return low


def merged(signals: Sequence[Signal]) -> Signal:
    """Return the state of all their events."""
    level = max(each.level for each in signals)
    cells = _together(sorted(chain.from_iterable(each.cells for each in signals)), level)
    while len(cells) > MOST_CELLS:
        level += 1
        cells = _together(cells, level)
    return Signal(level, tuple(cells))


def _together(cells: Iterable[Cell], level: int) -> list[Cell]:
    """Return *cells*, in the order of their first events, those together that are one at *level*."""
    found: list[Cell] = []
    index = None
    for cell in cells:
        if cell.first_ms >> level == index:
            found[-1] = _united(found[-1], cell)
        else:
            found.append(cell)
            index = cell.first_ms >> level
    return found


def _united(one: Cell, two: Cell) -> Cell:
    """Return a cell of the events of both, of which *one* begins no later."""
    last_ms, value = max(one[1:3], two[1:3])
    low, high = min(one.low, two.low), max(one.high, two.high)
    return Cell(one.first_ms, last_ms, value, low, high, one.events + two.events, one.total + two.total)


def area_of(state: Signal | Area) -> Area | None:
    """Return what a state comes to; None of no events."""
    if isinstance(state, Area):
        return state
    cells = state.cells
    if not cells:
        return None
    between = sum(one.value * (two.first_ms - one.last_ms) for one, two in pairwise(cells))
    known = [(cell, cell.last_ms - cell.first_ms) for cell in cells]
    return Area(
        between + sum(cell.low * length for cell, length in known),
        between + sum(_about(cell, length) for cell, length in known if length),
        between + sum(cell.high * length for cell, length in known),
        cells[-1].last_ms - cells[0].first_ms,
        min(cell.low for cell in cells),
        max(cell.high for cell in cells),
    )


def _about(cell: Cell, length_ms: int) -> int:
    """Return about what the area of *cell* is, to a whole number: never less than its least, nor more than its most."""
    others = cell.events - 1
    return (2 * (cell.total - cell.value) * length_ms + others) // (2 * others)


def mean(state: Signal | Area, scale: int) -> Decimal | None:
    """Return the mean over time, at three places more than *scale*; None of no values, and of one instant."""
    area = area_of(state)
    if area is None or not area.time_ms:
        return None
    return divide(area.about, area.time_ms * 10**scale, scale + _EXTRA_PLACES)


def error(state: Signal | Area) -> float:
    """Return how far off the mean may be, as a share of the distance between the least and the greatest value."""
    area = area_of(state)
    if area is None or area.least == area.most:
        return 0.0
    off = max(area.most - area.about, area.about - area.least)
    return off / (area.time_ms * (area.high - area.low))


class SignalPart:
    """The signal of each key."""

    identity, is_timed = NONE, True
    most_bytes = MOST_CELLS * _CELL_BYTES + 3

    def held_bytes(self, column: Column) -> int:
        """Return about how many bytes the states of *column* take in memory."""
        return sum(len(each.cells) for each in column) * _HELD_BYTES

    def fold(self, groups: Groups) -> Column:
        """Return the signal of each group."""
        return list(map(of_points, groups.times, groups.values))

    def join(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return the unions over windows of one key, or lanes."""
        return [_merged([column[at] for at in pick]) for pick in picks]

    def across(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return what the signals of several keys come to."""
        return [_sum([column[at] for at in pick]) for pick in picks]

    def merge(self, known: Sequence[Any], later: Sequence[Any]) -> Column:
        """Unite; areas are added."""
        return [_merged((old, new)) for old, new in zip(known, later, strict=True)]

    def pack(self, column: Sequence[Signal], *, start_ms: int) -> bytes:
        """Return *column*: levels, numbers of cells; and of all cells pauses, lengths, least values, and the others above them."""
        every = list(chain.from_iterable(each.cells for each in column))
        pauses: list[int] = []
        for each in column:
            ends = (start_ms, *(cell.last_ms for cell in each.cells))
            pauses += [cell.first_ms - end for cell, end in zip(each.cells, ends, strict=False)]
        return b"".join(
            (
                pack([each.level for each in column]),
                pack([len(each.cells) for each in column]),
                pack(pauses),
                pack([cell.last_ms - cell.first_ms for cell in every]),
                pack([cell.low for cell in every]),
                pack([cell.high - cell.low for cell in every]),
                pack([cell.value - cell.low for cell in every]),
                pack([cell.events for cell in every]),
                pack([cell.total - cell.events * cell.low for cell in every]),
            )
        )

    def unpack(
        self, data: bytes, at: int, count: int, *, start_ms: int, rows: Sequence[int] | None = None
    ) -> tuple[Column, int]:
        """Return what ``pack`` wrote, of *rows* alone where they are given, and where it ends.

        Raises:
            ValueError, IndexError: it is damaged.
        """
        levels, at = unpack_whole(data, at, count)
        sizes, at = unpack_whole(data, at, count)
        if not all(0 <= each <= MOST_CELLS for each in sizes) or sum(sizes) > _MOST_IN_ITEM:
            raise ValueError("a signal of more cells than there are")
        if not all(0 <= each <= _HIGHEST_LEVEL for each in levels):
            raise ValueError("a signal of a level that is none")
        wanted = range(count) if rows is None else rows
        columns = []
        for _ in range(7):
            column, at = unpack_whole(data, at, sum(sizes), None if wanted else ())
            columns.append(column)
        if any(min(each, default=0) < 0 for each in (columns[1], *columns[3:])):
            raise ValueError("a cell that ends before it begins, or whose values are not in order")
        cells = list(zip(*columns, strict=True))
        bounds = list(accumulate(sizes, initial=0))
        states = [
            Signal(levels[row], tuple(_cells(cells[bounds[row] : bounds[row + 1]], start_ms)))
            for row in wanted
        ]
        return list(map(_checked, states)), at


def _cells(rows: Iterable[tuple[int, ...]], end_ms: int) -> Iterable[Cell]:
    for pause, length, low, height, above, count, rest in rows:
        first_ms = end_ms + pause
        end_ms = first_ms + length
        yield Cell(first_ms, end_ms, low + above, low, low + height, count, rest + count * low)


def _checked(signal: Signal) -> Signal:
    """Return *signal*. Raises: ValueError, no events have this state."""
    level, cells = signal
    if any(one.last_ms >> level >= two.first_ms >> level for one, two in pairwise(cells)):
        raise ValueError("cells that are not in order")
    if any(cell.first_ms >> level != cell.last_ms >> level for cell in cells):
        raise ValueError("a cell that is longer than one")
    if level and len({time >> level - 1 for cell in cells for time in cell[:2]}) <= MOST_CELLS:
        raise ValueError("a signal of a level that it does not need")
    if not all(map(_has_events, cells)):
        raise ValueError("a cell of values that no events have")
    return signal


def _has_events(cell: Cell) -> bool:
    """Tell whether there may be events of which *cell* is what is kept."""
    known = {cell.low, cell.value, cell.high}
    others, is_instant = cell.events - len(known), cell.first_ms == cell.last_ms
    if others < 0 or cell.value > cell.high or (is_instant and cell.value < cell.high):
        return False
    if not is_instant and cell.events < 2:
        return False
    return others * cell.low <= cell.total - sum(known) <= others * cell.high


def _merged(states: Sequence[Any]) -> Any:
    some = [each for each in states if each != NONE]
    if len(some) < 2:
        return some[0] if some else NONE
    return _sum(some) if any(isinstance(each, Area) for each in some) else merged(some)


def _sum(states: Sequence[Signal | Area]) -> Signal | Area:
    """Return what *states* come to together; of no events none."""
    areas = [area for area in map(area_of, states) if area is not None]
    if not areas:
        return NONE
    return Area(
        sum(each.least for each in areas),
        sum(each.about for each in areas),
        sum(each.most for each in areas),
        sum(each.time_ms for each in areas),
        min(each.low for each in areas),
        max(each.high for each in areas),
    )
