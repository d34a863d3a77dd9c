"""Progress of each lane: which producers' records were seen, and up to which arrival time everything is applied.

One fenced item a lane, written by the sink after a batch's aggregates are durable: one more write a batch. It belongs to
one consumer of one stream, and says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from processors.deadline import Deadline
from processors.sink.fenced import AggregateSink
from streamgage.errors import ConfigError
from streamgage.fold.cells import Joined
from streamgage.fold.items import ItemKey, Lanes, StoredItem, progress_pk
from streamgage.fold.lane_log import Entry, LaneLog
from streamgage.formats.mark import KEPT_MS, Mark
from streamgage.records import StreamRecord


class ShardLineage(Protocol):
    """Where a shard came from."""

    def parents_of(self, shard_id: str, *, deadline: Deadline) -> Sequence[str]:
        """Return the shards that *shard_id* was split or merged from; () where there are none, or none is known.

        Raises:
            RetryableError: the stream could not be asked.
        """

    def is_read_from_its_first_record(self, *, deadline: Deadline) -> bool:
        """Tell whether this consumer misses nothing that was ever put into the stream. Raises: RetryableError."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: the *consumer*, its *lanes*, and *counts*, the fingerprint of both consumer and stream."""

    consumer: str
    lanes: Lanes
    counts: str

    def key_of(self, shard_id: str, partition_key: str) -> ItemKey:
        """Return the key of the progress item of a record's lane."""
        lane = self.lanes.of(shard_id, partition_key)
        pk = progress_pk(self.consumer)
        return ItemKey(f"{pk}|{self.lanes.of_shard(shard_id)}" if self.lanes.by_key else pk, lane)

    def log_of(self, item: StoredItem) -> LaneLog:
        """Return the log in *item*. Raises: ConfigError, where it is another's, or damaged."""
        if item.counts != self.counts:
            raise ConfigError(
                f"the progress of consumer {self.consumer!r} in stream {self.lanes.stream!r} was written for another stream "
                "of that name, or by another version: give this consumer another name, and its rollups their next generation"
            )
        try:
            return LaneLog.of_body(item.body)
        except ValueError as error:
            raise ConfigError(f"a progress item of consumer {self.consumer!r} is damaged: {error}") from error


@dataclass(slots=True)
class LaneEntries:
    """What a batch adds to the progress of one lane: its records in order, a contribution as the sink applies it."""

    reader: Reader
    inherited: LaneLog
    entries: list[Entry] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The sequence number of the first record."""
        return self.entries[0].sequence_number

    def joined(self, known: StoredItem | None) -> Joined:
        """Return the log of *known*, or where there is none what was inherited, with the entries beyond it noted."""
        fresh = [each for each in self.entries if known is None or known.fence < each.sequence_number]
        if not fresh:
            return Joined(None, {})
        log = self.inherited.copy() if known is None else self.reader.log_of(known)
        for entry in fresh:
            log.append(entry)
        expires_s = (log.applied_ms + KEPT_MS) // 1000
        item = StoredItem(fresh[-1].sequence_number, self.reader.counts, log.to_body(), expires_s)
        return Joined(item, {}, fresh[0].sequence_number)


class BatchProgress:
    """The lanes of one batch. ``is_repeat`` is asked, in order, of each record that was not dealt with before."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._logs: dict[ItemKey, tuple[int, LaneLog]] = {}
        self._begins_ms: dict[str, int] = {}
        self._entries: dict[ItemKey, LaneEntries] = {}

    def key_of(self, record: StreamRecord) -> ItemKey:
        """Return the progress key of the lane of *record*."""
        return self._reader.key_of(record.shard_id, record.partition_key)

    def open(self, key: ItemKey, item: StoredItem | None, inherited: LaneLog) -> None:
        """Begin with what *item* says of its lane, or where there is none with what was *inherited*."""
        log = inherited.copy() if item is None else self._reader.log_of(item)
        self._entries[key] = LaneEntries(self._reader, inherited)
        self._logs[key] = (-1 if item is None else item.fence, log)
        self._begins_ms[key.sk] = log.begin_ms

    def begin_ms(self, lane: str) -> int:
        """Return the arrival time from which on *lane* is counted; 0: from its first record on."""
        return self._begins_ms[lane]

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
                found[key] = LaneEntries(lane.reader, lane.inherited, durable)
        return found


class ProgressReader:
    """Open the progress of a batch's lanes, as the table has it now."""

    def __init__(self, sink: AggregateSink, lineage: ShardLineage, reader: Reader) -> None:
        self._sink, self._lineage, self._reader = sink, lineage, reader
        self._parents: dict[str, Sequence[str]] = {}
        self._is_whole: bool | None = None

    def open(self, records: Sequence[StreamRecord], *, deadline: Deadline) -> BatchProgress:
        """Return the progress of each lane that *records* belong to.

        Raises:
            RetryableError: it could not be read; nothing may be judged, so nothing may be applied.
            ConfigError: it is another stream's or consumer's.
        """
        progress = BatchProgress(self._reader)
        firsts: dict[ItemKey, StreamRecord] = {}
        for record in records:
            firsts.setdefault(progress.key_of(record), record)
        found = self._sink.refresh(list(firsts), deadline=deadline)
        new = {key: record for key, record in firsts.items() if key not in found}
        inherited = self._inherited(new, deadline)
        for key in firsts:
            progress.open(key, found.get(key), inherited.get(key, LaneLog()))
        return progress

    def _inherited(self, lanes: Mapping[ItemKey, StreamRecord], deadline: Deadline) -> dict[ItemKey, LaneLog]:
        """Return what the ancestors of each lane knew: of each line the nearest that was ever written.

        All lanes are looked up together, a generation of ancestors at a time.
        """
        logs = {key: LaneLog() for key in lanes}
        heirs: set[ItemKey] = set()
        seen = {(key, record.shard_id) for key, record in lanes.items()}
        pending = list(seen)
        while pending:
            asked: dict[ItemKey, list[tuple[ItemKey, str]]] = {}
            for key, shard_id in pending:
                for parent in self._parents_of(shard_id, deadline):
                    if (key, parent) not in seen:
                        seen.add((key, parent))
                        of_parent = self._reader.key_of(parent, lanes[key].partition_key)
                        asked.setdefault(of_parent, []).append((key, parent))
            found = self._sink.refresh(list(asked), deadline=deadline) if asked else {}
            pending = []
            for of_parent, askers in asked.items():
                if of_parent in found:
                    log = self._reader.log_of(found[of_parent])
                    for key, _ in askers:
                        logs[key].inherit(log)
                        heirs.add(key)
                else:
                    pending += askers
        founders = lanes.keys() - heirs
        if founders and not self._is_read_from_its_first_record(deadline):
            for key in founders:
                logs[key].begin_ms = lanes[key].arrival_ms
        return logs

    def _is_read_from_its_first_record(self, deadline: Deadline) -> bool:
        """Asked once a sandbox: a stream ages, but a consumer that misses nothing begins no later for that."""
        if self._is_whole is None:
            self._is_whole = self._lineage.is_read_from_its_first_record(deadline=deadline)
        return self._is_whole

    def _parents_of(self, shard_id: str, deadline: Deadline) -> Sequence[str]:
        if shard_id not in self._parents:
            self._parents[shard_id] = self._lineage.parents_of(shard_id, deadline=deadline)
        return self._parents[shard_id]
