"""Fold a batch of Kinesis records: from their bytes to what each item gets, in one pass, column by column.

Nothing here depends on how the batch was cut: each verdict, and what an item gets, is a function of its Kinesis records.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import attrgetter

from streamgage.definition.pipeline import Pipeline
from streamgage.errors import PoisonRecord
from streamgage.fold.column_fold import Events, Lanes, SourceBatch, SourceFold
from streamgage.fold.items import ItemKey, lane_of_shard
from streamgage.formats.mark import Mark
from streamgage.reading.contributions import Contributions
from streamgage.reading.poison import Poison, in_log_order, refusals, refused_whole
from streamgage.reading.record_reader import RecordReader, SourceReader
from streamgage.records import StreamRecord

__all__ = ["Contributions", "Folded", "Folder", "IsRepeat", "Lane", "Poison"]

Lane = Callable[[str, str], str]
"""``lane(shard_id, partition_key)``: the sequence of records, delivered in order, that a record belongs to."""


@dataclass(slots=True)
class Folded:
    """A whole batch, folded: contributions by item, poison in order, and what was counted on the way."""

    items: dict[ItemKey, Contributions] = field(default_factory=dict)
    poison: list[Poison] = field(default_factory=list)
    kinesis_records: int = 0
    user_records: int = 0
    repeated_records: int = 0


def _never_repeated(_record: StreamRecord, _mark: Mark | None) -> bool:
    return False


IsRepeat = Callable[[StreamRecord, Mark | None], bool]
"""Asked of each Kinesis record, in order: was it stored before, under another sequence number?"""


class Folder:
    """Fold Kinesis records by a pipeline. One batch at a time; it holds no state between batches but compiled plans."""

    def __init__(self, pipeline: Pipeline, lane: Lane = lane_of_shard) -> None:
        self._lane = lane
        self._folds = {
            name: SourceFold(source, tuple(pipeline.rollups_of(name)))
            for name, source in pipeline.sources.items()
        }
        self._readers = {name: SourceReader(each.source, each.fields) for name, each in self._folds.items()}
        self._records = RecordReader(self._readers)

    def fold(self, records: Sequence[StreamRecord], is_repeat: IsRepeat = _never_repeated) -> Folded:
        """Return the fold of *records*, in the order of their sequence numbers, each once, without what *is_repeat*."""
        collects = gc.isenabled()
        gc.disable()  # a batch is hundreds of thousands of objects and no cycle: to walk them takes up to a third of a fold
        try:
            return self._fold(records, is_repeat)
        finally:
            if collects:
                gc.enable()

    def _fold(self, records: Sequence[StreamRecord], is_repeat: IsRepeat) -> Folded:
        folded, lanes = Folded(), Lanes()
        try:
            for record in _in_order(records):
                self._read(record, folded, lanes, is_repeat)
        finally:
            read = {name: Events(*each.drain()) for name, each in self._readers.items()}
        late = [
            each for name, events in read.items() for each in self._fold_source(name, events, lanes, folded)
        ]
        if late:
            folded.poison = in_log_order(folded.poison + late)
        return folded

    def _read(self, record: StreamRecord, folded: Folded, lanes: Lanes, is_repeat: IsRepeat) -> None:
        folded.kinesis_records += 1
        lane = lanes.note(self._lane(record.shard_id, record.partition_key), record.sequence_number)
        try:
            reading = self._records.read(record, lane)
        except PoisonRecord as poison:
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
            return
        if is_repeat(record, reading.mark):
            self._records.forget(record)
            folded.repeated_records += reading.events
            return
        folded.user_records += reading.events
        folded.poison += reading.poison

    def _fold_source(self, name: str, events: Events, lanes: Lanes, folded: Folded) -> list[Poison]:
        """Add what the *events* of one source contribute; return those that count nowhere."""
        if not events.count:
            return []
        batch = SourceBatch(self._folds[name], events, lanes)
        poison = []
        if batch.refused:
            for record, ordinals in groupby(sorted(batch.refused), events.places.record_of):
                poison += self._explain(record, list(ordinals), batch)
        batch.contribute(folded.items)
        return poison

    def _explain(self, record: StreamRecord, ordinals: Sequence[int], batch: SourceBatch) -> list[Poison]:
        """Return as poison the user records of *record* whose events at *ordinals* a check of their columns refused."""
        refused = {batch.events.places.place(ordinal)[1]: ordinal for ordinal in ordinals}
        poison: list[Poison] = []
        for held in self._records.held(record):
            subs = held.sub_sequence_numbers
            reasons = [(sub - subs.start, batch.reason(refused[sub])) for sub in subs if sub in refused]
            if reasons:
                poison.append(held.poison(record, refusals(reasons)))
        return poison


def _in_order(records: Sequence[StreamRecord]) -> Sequence[StreamRecord]:
    """Return *records* as Lambda delivers them; a batch that repeats or reorders a record is put right."""
    if all(a.sequence_number < b.sequence_number for a, b in pairwise(records)):
        return records
    unique = {(each.shard_id, each.sequence_number): each for each in records}
    return sorted(unique.values(), key=attrgetter("sequence_number"))
