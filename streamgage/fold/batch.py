"""Fold a batch of Kinesis records: from their bytes to what each item gets, column by column.

Nothing here depends on how the batch was cut: each verdict, and what an item gets, is a function of its Kinesis records.
Events are unpacked a slice at a time, so a batch of any size takes a bounded memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import attrgetter

from streamgage.definition.pipeline import Pipeline
from streamgage.errors import PoisonRecord
from streamgage.fold.cells import FOREVER_S, FULL_BYTES, Cell, Contribution
from streamgage.fold.chunk_memory import ChunkMemory
from streamgage.fold.items import ItemKey, Lanes
from streamgage.fold.source_fold import Events, SourceBatch, SourceFold
from streamgage.fold.states import KeyMemory, RollupFold, States
from streamgage.formats.mark import Mark
from streamgage.measures.windows import TumblingWindows
from streamgage.reading.poison import Poison, in_log_order, refusals, refused_whole
from streamgage.reading.record_reader import LargeRecord, RecordReader, SourceReader
from streamgage.records import StreamRecord

SLICE_EVENTS = 200_000
"""So many events are unpacked at once, and as many of one more Kinesis record: some 60 MB."""
_FENCES = 3
"""So many folds of a part of a lane are kept: items that earlier batches left behind are behind at few fences, by turns."""

CellIdentity = tuple[str, int, int, str]
IsRepeat = Callable[[StreamRecord, Mark | None], bool]
"""Asked of each Kinesis record, in order: was it stored before, under another sequence number?"""


@dataclass(slots=True)
class Folded:
    """A whole batch, folded: contributions by item, poison in order, and what was counted on the way."""

    items: dict[ItemKey, Contribution] = field(default_factory=dict)
    poison: list[Poison] = field(default_factory=list)
    kinesis_records: int = 0
    user_records: int = 0
    repeated_records: int = 0


@dataclass(frozen=True, slots=True)
class Counting:
    """What cells say of how they were counted: *counts* by rollup, *begin_ms* by lane, how long a stream keeps records.

    ``room_bytes`` is the body up to which an item takes new keys.
    """

    counts: Mapping[str, str]
    begin_ms: Callable[[str], int] = lambda _lane: 0
    retention_ms: int = 0
    room_bytes: int = FULL_BYTES


@dataclass(slots=True)
class _BatchLanes:
    """The lanes of a batch, by number: what each is called, and the last sequence number of it."""

    names: list[str] = field(default_factory=list)
    fences: list[int] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def note(self, name: str, sequence_number: int) -> int:
        """Take note of the next Kinesis record of the lane *name*, and return the lane's number."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
            self.fences.append(sequence_number)
        else:
            self.fences[number] = sequence_number
        return number


class BatchFold:
    """Fold Kinesis records by a pipeline. One batch at a time.

    Between batches it holds compiled plans, and what it remembers of keys and of bodies: no verdict depends on it.
    """

    def __init__(self, pipeline: Pipeline, lanes: Lanes, *, slice_events: int = SLICE_EVENTS) -> None:
        self.lanes = lanes
        self._slice_events = slice_events
        self.chunks = ChunkMemory()
        memory = KeyMemory()
        self._folds = {
            name: SourceFold(source, tuple(pipeline.rollups_of(name)), memory)
            for name, source in pipeline.sources.items()
        }
        self._readers = {name: SourceReader(each.source, each.fields) for name, each in self._folds.items()}
        self._records = RecordReader(self._readers, pipeline.passed_over.values())

    def fold(self, records: Sequence[StreamRecord], is_repeat: IsRepeat, counting: Counting) -> Folded:
        """Return the fold of *records*, in the order of their sequence numbers, each once, without what *is_repeat*."""
        self.chunks.begin_turn()
        return _Fold(self, in_order(records), counting).run(is_repeat)

    def read_slice(
        self,
        record: StreamRecord,
        lane: int,
        is_repeat: IsRepeat,
        folded: Folded,
        *,
        fold_slice: Callable[[], None],
    ) -> None:
        """Read one more record into the slice; what of it cannot be read, or was there before, is noted in *folded*.

        A record that holds more events than a slice calls *fold_slice* whenever the slice is full.
        """
        folded.kinesis_records += 1
        try:
            reading = self._records.read(record, lane, most_events=self._slice_events)
        except PoisonRecord as poison:
            _refuse(record, poison, is_repeat, folded)
            return
        except LargeRecord:
            self._read_large(record, lane, is_repeat, folded, fold_slice=fold_slice)
            return
        if is_repeat(record, reading.mark):
            self._records.forget(record)
            folded.repeated_records += reading.events
            return
        folded.user_records += reading.events
        folded.poison += reading.poison

    def plain_rows(self, records: Sequence[StreamRecord], start: int) -> int:
        """Return how many of *records* from *start* on ``read_run`` takes at once: plain ones, that fit into the slice."""
        return self._records.plain_rows(records, start, max(self._slice_events - self._slice_count, 1))

    def read_run(
        self, records: Sequence[StreamRecord], lanes: Sequence[int], is_repeat: IsRepeat, folded: Folded
    ) -> None:
        """Read *records*, of which ``plain_rows`` said so, with the outcome of ``read_slice`` for each."""
        folded.kinesis_records += len(records)
        repeated = [
            at for at, record in enumerate(records) if is_repeat(record, None)
        ]  # plain ones have no mark
        if repeated:
            folded.repeated_records += len(repeated)
            kept = [at for at in range(len(records)) if at not in set(repeated)]
            records, lanes = [records[at] for at in kept], [lanes[at] for at in kept]
        for reading in self._records.read_rows(records, lanes) if records else ():
            folded.user_records += reading.events
            folded.poison += reading.poison

    def _read_large(
        self,
        record: StreamRecord,
        lane: int,
        is_repeat: IsRepeat,
        folded: Folded,
        *,
        fold_slice: Callable[[], None],
    ) -> None:
        """Read a record of many events: whether it counts is known before the first of them is unpacked."""
        try:
            mark, events = self._records.survey(record)
        except PoisonRecord as poison:
            _refuse(record, poison, is_repeat, folded)
            return
        if is_repeat(record, mark):
            folded.repeated_records += events
            return

        def fold_if_full() -> None:
            if self.slice_is_full:
                fold_slice()

        reading = self._records.read(record, lane, after_block=fold_if_full)
        folded.user_records += reading.events
        folded.poison += reading.poison

    @property
    def slice_is_full(self) -> bool:
        """Whether enough events were read to fold them."""
        return self._slice_count >= self._slice_events

    @property
    def _slice_count(self) -> int:
        return sum(each.weight for each in self._readers.values())

    def drain_slice(self, *, lanes: int) -> list[SourceBatch]:
        """Return the events that were read, by source, checked and grouped, and begin the next slice."""
        read = [(self._folds[name], Events(*each.drain())) for name, each in self._readers.items()]
        return [fold.batch(events, lanes=lanes) for fold, events in read if events.count]

    def forget_slice(self) -> None:
        """Forget what was read: the batch fails."""
        for each in self._readers.values():
            each.drain()

    def explain(self, batch: SourceBatch) -> list[Poison]:
        """Return the user records of which a check of the columns refused events, with the reasons."""
        poison: list[Poison] = []
        events = batch.events
        for record, ordinals in groupby(sorted(batch.refused), events.places.record_of):
            refused = {events.places.place(ordinal)[1]: ordinal for ordinal in ordinals}
            first, last = min(refused), max(refused)
            for held in self._records.held(record):
                numbers = held.sub_sequence_numbers
                if numbers.stop <= first or numbers.start > last:
                    continue
                subs = [sub for sub in numbers if sub in refused]
                if subs:
                    reasons = (
                        (sub - held.sub_sequence_number, batch.plan.reason(events, refused[sub]))
                        for sub in subs
                    )  # one at a time: there may be as many as a slice has events
                    poison.append(held.poison(record, refusals(reasons)))
        return poison


def _refuse(record: StreamRecord, poison: PoisonRecord, is_repeat: IsRepeat, folded: Folded) -> None:
    """Note a record that is poison as a whole: as one event, as far as anybody knows."""
    folded.user_records += 1
    is_repeat(record, None)
    folded.poison.append(
        Poison.of(
            record,
            refused_whole(poison),
            data=record.data,
            events=1,
            partition_key=record.partition_key,
            sub_sequence_number=None,
        )
    )


class _Fold:
    """The fold of one batch."""

    def __init__(self, batch_fold: BatchFold, records: Sequence[StreamRecord], counting: Counting) -> None:
        self._batch_fold, self._records, self._counting = batch_fold, records, counting
        self._repeats: set[int] = set()
        self._lanes: dict[str, list[StreamRecord]] = {}
        self._again: dict[str, dict[int, dict[CellIdentity, Cell]]] = {}

    def run(self, is_repeat: IsRepeat) -> Folded:
        folded = Folded()

        def noted(record: StreamRecord, mark: Mark | None) -> bool:
            repeated = is_repeat(record, mark)
            if repeated:
                self._repeats.add(record.sequence_number)
            return repeated

        cells = self._cells(self._records, noted, folded)
        folded.items = {cell.root: cell.contribution() for cell in cells.values()}
        folded.poison = in_log_order(folded.poison)
        return folded

    def beyond(self, cell: Cell, fence: int) -> Cell | None:
        """Return what of *cell* lies beyond *fence*: the records of its lane there are read and folded again."""
        again = self._again.setdefault(cell.lane, {})
        if fence not in again:
            if len(again) >= _FENCES:
                del again[next(iter(again))]
            rest = [record for record in self._of_lane(cell.lane) if record.sequence_number > fence]
            again[fence] = self._cells(rest, self._was_repeated, Folded())
        return again[fence].get(cell.identity)

    def _of_lane(self, lane: str) -> Sequence[StreamRecord]:
        """Return the records of *lane*: a batch has thousands of lanes where each partition key is one."""
        if not self._lanes:
            for record in self._records:
                name = self._batch_fold.lanes.of(record.shard_id, record.partition_key)
                self._lanes.setdefault(name, []).append(record)
        return self._lanes[lane]

    def _was_repeated(self, record: StreamRecord, _mark: Mark | None) -> bool:
        return record.sequence_number in self._repeats

    def _cells(
        self, records: Sequence[StreamRecord], is_repeat: IsRepeat, folded: Folded
    ) -> dict[CellIdentity, Cell]:
        lanes, batch_fold = _BatchLanes(), self._batch_fold
        slices: list[tuple[RollupFold, TumblingWindows, States]] = []

        def fold_slice() -> None:
            slices.extend(self._fold_slice(folded, len(lanes.names)))

        try:
            at = 0
            while at < len(records):
                run = records[at : at + max(batch_fold.plain_rows(records, at), 1)]
                numbers = [
                    lanes.note(batch_fold.lanes.of(each.shard_id, each.partition_key), each.sequence_number)
                    for each in run
                ]
                if len(run) > 1:
                    batch_fold.read_run(run, numbers, is_repeat, folded)
                else:
                    batch_fold.read_slice(run[0], numbers[0], is_repeat, folded, fold_slice=fold_slice)
                at += len(run)
                if batch_fold.slice_is_full:
                    fold_slice()
        except BaseException:
            batch_fold.forget_slice()
            raise
        fold_slice()
        return self._sorted(slices, lanes)

    def _fold_slice(self, folded: Folded, lanes: int) -> list[tuple[RollupFold, TumblingWindows, States]]:
        slices: list[tuple[RollupFold, TumblingWindows, States]] = []
        for batch in self._batch_fold.drain_slice(lanes=lanes):
            if batch.refused:
                folded.poison += self._batch_fold.explain(batch)
            slices += batch.states()
        return slices

    def _sorted(
        self, slices: Sequence[tuple[RollupFold, TumblingWindows, States]], lanes: _BatchLanes
    ) -> dict[CellIdentity, Cell]:
        """Return the states of all slices, in the order of the log, sorted into cells."""
        cells: dict[CellIdentity, Cell] = {}
        for fold, windows, states in slices:
            by_cell: dict[tuple[int, int], list[int]] = {}
            for row, (_, start_ms, lane) in enumerate(states.groups):
                by_cell.setdefault((start_ms, lane), []).append(row)
            for (start_ms, lane), rows in by_cell.items():
                identity = fold.rollup.name, windows.size_ms, start_ms, lanes.names[lane]
                cell = cells.get(identity)
                if cell is None:
                    cell = cells[identity] = self._cell(fold, windows, start_ms, lane, lanes)
                _add_slice(cell, states, rows)
        return cells

    def _cell(
        self, fold: RollupFold, windows: TumblingWindows, start_ms: int, lane: int, lanes: _BatchLanes
    ) -> Cell:
        rollup, counting = fold.rollup, self._counting
        kept_until_s = FOREVER_S
        if rollup.keep_ms is not None:
            end_ms = start_ms + windows.size_ms
            kept_until_s = min((end_ms + rollup.keep_ms + counting.retention_ms) // 1000, FOREVER_S)
        return Cell(
            rollup,
            windows,
            fold.plan,
            counting.counts[rollup.name],
            start_ms,
            lanes.names[lane],
            lanes.fences[lane],
            counting.begin_ms(lanes.names[lane]),
            kept_until_s,
            self.beyond,
            counting.room_bytes,
            self._batch_fold.chunks,
            table=fold.plan.empty(),
        )


def _add_slice(cell: Cell, states: States, rows: Sequence[int]) -> None:
    """Add the groups at *rows* to *cell*, behind what earlier slices gave it."""
    keys = [states.groups[row][0] for row in rows]
    if not cell.keys:
        cell.keys, cell.firsts = keys, [states.firsts[row] for row in rows]
        whole = len(rows) == len(states.groups)
        cell.table = [list(column) if whole else [column[row] for row in rows] for column in states.table]
        return
    known = dict(zip([key.text for key in cell.keys], range(len(cell.keys)), strict=True))
    new = [row for row, key in zip(rows, keys, strict=True) if key.text not in known]
    old = [row for row, key in zip(rows, keys, strict=True) if key.text in known]
    cell.plan.merge(cell.table, [known[states.groups[row][0].text] for row in old], states.table, old)
    cell.keys += [states.groups[row][0] for row in new]
    cell.firsts += [states.firsts[row] for row in new]
    cell.plan.add(cell.table, states.table, new)


def in_order(records: Sequence[StreamRecord]) -> Sequence[StreamRecord]:
    """Return *records* as Lambda delivers them; a batch that repeats or reorders a record is put right."""
    if all(a.sequence_number < b.sequence_number for a, b in pairwise(records)):
        return records
    unique = {(each.shard_id, each.sequence_number): each for each in records}
    return sorted(unique.values(), key=attrgetter("sequence_number"))
