"""Contributions: what a batch adds to one item, and up to which fence."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamgage.definition.pipeline import Rollup
from streamgage.measures.monoids import FieldColumns, Monoid, State, compile_layout
from streamgage.records import StreamRecord

_FOR_EVER_MS = 1_000 * 365 * 86_400_000  # of a rollup without keep: no TTL comes to it


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be added to an item whose fence is known: the fold of what lies beyond it.

    ``first`` is the sequence number of the first Kinesis record in it, ``fence`` the one to which it brings the item. The
    contribution that it is of knows what ``state`` holds.
    """

    first: int
    fence: int
    state: State


@dataclass(slots=True)
class Places:
    """Where the events of a source stand in a batch's log. Events have *ordinals*: 0, 1, 2 … in the log's order.

    A *run* is events whose ordinals and sub-sequence numbers rise together within one Kinesis record; mostly, all of it.
    The n-th run begins at the ordinal ``starts[n]``, with the sub-sequence number ``subs[n]`` of ``records[n]``, which
    belongs to lane number ``lanes[n]``. ``count`` is the number of all events, once all are read.
    """

    starts: list[int] = field(default_factory=list)
    subs: list[int] = field(default_factory=list)
    records: list[StreamRecord] = field(default_factory=list)
    sequence_numbers: list[int] = field(default_factory=list)
    lanes: list[int] = field(default_factory=list)
    count: int = 0

    def goes_on(self, start: int, sub_sequence_number: int, record: StreamRecord) -> bool:
        """Tell whether the event at ordinal *start* belongs to the last run."""
        return (
            bool(self.starts)
            and self.records[-1] is record
            and sub_sequence_number - self.subs[-1] == start - self.starts[-1]
        )

    def begin(self, start: int, sub_sequence_number: int, record: StreamRecord, lane: int) -> None:
        """Begin the next run."""
        self.starts.append(start)
        self.subs.append(sub_sequence_number)
        self.records.append(record)
        self.sequence_numbers.append(record.sequence_number)
        self.lanes.append(lane)

    def forget_last(self) -> int:
        """Forget the last run, and return the ordinal at which it began."""
        for each in (self.subs, self.records, self.sequence_numbers, self.lanes):
            del each[-1]
        return self.starts.pop()

    def record_of(self, ordinal: int) -> StreamRecord:
        """Return the Kinesis record that holds an event."""
        return self.records[bisect_right(self.starts, ordinal) - 1]

    def place(self, ordinal: int) -> tuple[int, int]:
        """Return the sequence number and the sub-sequence number of an event."""
        run = bisect_right(self.starts, ordinal) - 1
        return self.sequence_numbers[run], self.subs[run] + ordinal - self.starts[run]

    def ordinals_of(self, record: StreamRecord, sub_sequence_numbers: range) -> list[int]:
        """Return the ordinals of the events of *record* that have one of *sub_sequence_numbers*."""
        found: list[int] = []
        first = bisect_left(self.sequence_numbers, record.sequence_number)
        for run in range(first, bisect_right(self.sequence_numbers, record.sequence_number)):
            stop = self.starts[run + 1] if run + 1 < len(self.starts) else self.count
            shift = self.subs[run] - self.starts[run]
            found += [each for each in range(self.starts[run], stop) if each + shift in sub_sequence_numbers]
        return found

    def beyond(self, fence: int) -> int | None:
        """Return the first ordinal of a Kinesis record beyond *fence*; None where there is none."""
        run = bisect_right(self.sequence_numbers, fence)
        return self.starts[run] if run < len(self.starts) else None


@dataclass(slots=True)
class RollupEvents:
    """The events of a batch, as one rollup folds them."""

    rollup: Rollup
    columns: FieldColumns
    places: Places
    monoid: Monoid = field(init=False)

    def __post_init__(self) -> None:
        self.monoid = compile_layout(self.rollup.layout)

    def fold(self, ordinals: Sequence[int]) -> State:
        """Return the state of the events at *ordinals*."""
        return self.monoid.fold(self.columns, ordinals)


@dataclass(slots=True)  # not frozen: one an item, and freezing doubles what it costs to make
class Contributions:
    """What a batch adds to one item: the state of all its events, and which they are.

    ``fence`` is the last sequence number of the item's lane in the batch: no contribution lies between its last event
    and that. ``ordinals`` holds its events, as lists in rising order; they are folded again only where a part of them
    was applied before. Nothing here is changed once it was made: it may be asked from several threads.
    """

    fence: int
    state: State
    ordinals: Sequence[Sequence[int]] = field(compare=False, repr=False)
    events: RollupEvents = field(compare=False, repr=False)

    @property
    def rollup(self) -> Rollup:
        """The rollup that the item belongs to."""
        return self.events.rollup

    @property
    def layout(self) -> str:
        """What stands where in a state."""
        return self.rollup.layout.text

    @property
    def keep_ms(self) -> int:
        """How long the item is kept after a write."""
        return _FOR_EVER_MS if self.rollup.keep_ms is None else self.rollup.keep_ms

    def after(self, fence: int | None) -> Part | None:
        """Return what lies beyond *fence* (None: the item is new), or None where nothing does."""
        places = self.events.places
        first = min([each[0] for each in self.ordinals])
        begins = 0 if fence is None else places.beyond(fence)
        if begins is None:
            return None
        if begins <= first:
            return Part(places.place(first)[0], self.fence, self.state)
        rest = sorted([ordinal for each in self.ordinals for ordinal in each[bisect_left(each, begins) :]])
        return Part(places.place(rest[0])[0], self.fence, self.events.fold(rest)) if rest else None

    def merge(self, known: State | None, part: Part) -> State:
        """Return the fold of *known* (None: nothing yet) and *part*."""
        monoid = self.events.monoid
        state = monoid.identity()
        if known is not None:
            monoid.merge(state, known)
        monoid.merge(state, part.state)
        return state

    def mend(self) -> str:
        """Say what a person does where an item of another layout stands."""
        return (
            f"The measures of rollup {self.rollup.name} were changed: set generation = {self.rollup.generation + 1} "
            "in pipeline.toml, and it starts afresh beside the old one"
        )
