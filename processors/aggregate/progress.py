"""Progress of each lane: which producers' records were seen, and up to which arrival time everything is applied.

One fenced item a lane, written by the sink after a batch's aggregates are durable: one more write a batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from processors.deadline import Deadline
from processors.sink.fenced import AggregateSink
from streamgage.fold.items import ItemKey, StoredItem, decode_state
from streamgage.fold.repeats import LAYOUT, Entry, LaneLog
from streamgage.formats.mark import Mark
from streamgage.measures.monoids import State
from streamgage.reading.contributions import Part
from streamgage.records import StreamRecord

SHARDS_PK = "~progress"  # no rollup's name begins so
_KEEP_MS = 400 * 86_400_000  # longer than any stream's retention (365 days)


class ShardLineage(Protocol):
    """Where a shard came from."""

    def parents_of(self, shard_id: str, *, deadline: Deadline) -> Sequence[str]:
        """Return the shards that *shard_id* was split or merged from; () where there are none, or none is known.

        Raises:
            RetryableError: the stream could not be asked.
        """


def lane_key(shard_id: str, lane: str) -> ItemKey:
    """Return the key of the progress item of *lane*, which belongs to *shard_id*."""
    return ItemKey(SHARDS_PK if lane == shard_id else f"{SHARDS_PK}|{shard_id}", lane)


@dataclass(slots=True)
class LaneEntries:
    """What a batch adds to the progress of one lane: its records in order, a contribution as the sink applies it."""

    inherited: State
    entries: list[Entry] = field(default_factory=list)
    layout: str = LAYOUT
    keep_ms: int = _KEEP_MS

    def after(self, fence: int | None) -> Part | None:
        """Return the entries beyond *fence*, or None where there are none."""
        fresh = [each for each in self.entries if fence is None or fence < each.sequence_number]
        return Part(fresh[0].sequence_number, fresh[-1].sequence_number, fresh) if fresh else None

    def merge(self, known: State | None, part: Part) -> State:
        """Return what is known, or where nothing is what was inherited, with the entries of *part* noted in order."""
        log = LaneLog.of_state(self.inherited if known is None else known)
        for entry in part.state:
            log.append(entry)
        return log.to_state()

    def mend(self) -> str:
        """Say what a person does where an item of another layout stands."""
        return "A newer version of streamgage wrote it: deploy that version again"


class BatchProgress:
    """The lanes of one batch. ``is_repeat`` is asked, in order, of each record that was not dealt with before."""

    def __init__(self, lane: Callable[[str, str], str]) -> None:
        self._lane = lane
        self._logs: dict[ItemKey, tuple[int, LaneLog]] = {}
        self._entries: dict[ItemKey, LaneEntries] = {}

    def key_of(self, record: StreamRecord) -> ItemKey:
        """Return the progress key of the lane of *record*."""
        return lane_key(record.shard_id, self._lane(record.shard_id, record.partition_key))

    def open(self, key: ItemKey, item: StoredItem | None, inherited: LaneLog) -> None:
        """Begin with what *item* says of its lane, or where there is none with what was *inherited*."""
        log = inherited if item is None else LaneLog.of_state(decode_state(item.body))
        self._entries[key] = LaneEntries(inherited.to_state())
        self._logs[key] = (-1 if item is None else item.fence, LaneLog.of_state(log.to_state()))

    def is_done(self, record: StreamRecord) -> bool:
        """Tell whether *record* was dealt with before: all up to its lane's fence is durable, or was given up."""
        fence, _ = self._logs[self.key_of(record)]
        return record.sequence_number <= fence

    def is_repeat(self, record: StreamRecord, mark: Mark | None) -> bool:
        """Tell whether *record* was stored before, under another sequence number; take note of it either way."""
        key = self.key_of(record)
        _, log = self._logs[key]
        entry = Entry(record.sequence_number, record.arrival_ms, mark)
        self._entries[key].entries.append(entry)
        repeat = log.saw(mark)
        log.append(entry)
        return repeat

    def entries(self, *, before: int | None) -> dict[ItemKey, LaneEntries]:
        """Return what to note of each lane: its records before sequence number *before*, which are all durable."""
        found: dict[ItemKey, LaneEntries] = {}
        for key, lane in self._entries.items():
            durable = [each for each in lane.entries if before is None or each.sequence_number < before]
            if durable:
                found[key] = LaneEntries(lane.inherited, durable)
        return found


class ProgressReader:
    """Open the progress of a batch's lanes, as the table has it now."""

    def __init__(self, sink: AggregateSink, lineage: ShardLineage, lane: Callable[[str, str], str]) -> None:
        self._sink, self._lineage, self._lane = sink, lineage, lane
        self._parents: dict[str, Sequence[str]] = {}

    def open(self, records: Sequence[StreamRecord], *, deadline: Deadline) -> BatchProgress:
        """Return the progress of each lane that *records* belong to.

        Raises:
            RetryableError: it could not be read; nothing may be judged, so nothing may be applied.
        """
        progress = BatchProgress(self._lane)
        owners = {progress.key_of(record): record for record in records}
        found = self._sink.refresh(list(owners), deadline=deadline)
        for key, record in owners.items():
            item = found.get(key)
            inherited = (
                LaneLog.empty()
                if item is not None
                else self._inherited(record.shard_id, record.partition_key, deadline)
            )
            progress.open(key, item, inherited)
        return progress

    def _inherited(self, shard_id: str, partition_key: str, deadline: Deadline) -> LaneLog:
        """Return what the ancestors of a lane knew: of each line the nearest that was ever written."""
        log, seen, pending = LaneLog.empty(), {shard_id}, [shard_id]
        while pending:
            parents = [each for each in self._parents_of(pending.pop(), deadline) if each not in seen]
            seen.update(parents)
            keys = {lane_key(each, self._lane(each, partition_key)): each for each in parents}
            found: Mapping[ItemKey, StoredItem] = (
                self._sink.refresh(list(keys), deadline=deadline) if keys else {}
            )
            for key, parent in keys.items():
                if key in found:
                    log.inherit(LaneLog.of_state(decode_state(found[key].body)))
                else:
                    pending.append(parent)
        return log

    def _parents_of(self, shard_id: str, deadline: Deadline) -> Sequence[str]:
        if shard_id not in self._parents:
            self._parents[shard_id] = self._lineage.parents_of(shard_id, deadline=deadline)
        return self._parents[shard_id]
