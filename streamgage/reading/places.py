"""Where events stand: ordinals in a slice of a batch, and the Kinesis records that hold them."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamgage.records import StreamRecord


@dataclass(slots=True)
class Places:
    """Where the events of a source stand in the log. Events have *ordinals*: 0, 1, 2 … in the log's order.

    A *run* is events whose ordinals and sub-sequence numbers rise together within one Kinesis record; mostly, all of it.
    The n-th run begins at the ordinal ``starts[n]``, with the sub-sequence number ``subs[n]`` of ``records[n]``, which
    belongs to lane number ``lanes[n]``. ``count`` is the number of all events, once all are read.
    """

    starts: list[int] = field(default_factory=list)
    subs: list[int] = field(default_factory=list)
    records: list[StreamRecord] = field(default_factory=list)
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
        self.lanes.append(lane)

    def begin_each(self, start: int, records: Sequence[StreamRecord], lanes: Sequence[int]) -> None:
        """Begin a run for each of *records*, which hold one event each, the first at the ordinal *start*."""
        self.starts += range(start, start + len(records))
        self.subs += [0] * len(records)
        self.records += records
        self.lanes += lanes

    def forget_last(self) -> int:
        """Forget the last run, and return the ordinal at which it began."""
        for each in (self.subs, self.records, self.lanes):
            del each[-1]
        return self.starts.pop()

    @property
    def stops(self) -> list[int]:
        """The ordinal at which each run ends, exclusive."""
        return [*self.starts[1:], self.count]

    def record_of(self, ordinal: int) -> StreamRecord:
        """Return the Kinesis record that holds an event."""
        return self.records[bisect_right(self.starts, ordinal) - 1]

    def place(self, ordinal: int) -> tuple[int, int]:
        """Return the sequence number and the sub-sequence number of an event."""
        run = bisect_right(self.starts, ordinal) - 1
        return self.records[run].sequence_number, self.subs[run] + ordinal - self.starts[run]

    def lane_column(self) -> list[int]:
        """Return the number of each event's lane."""
        column: list[int] = []
        for start, stop, lane in zip(self.starts, self.stops, self.lanes, strict=True):
            column += [lane] * (stop - start)
        return column
