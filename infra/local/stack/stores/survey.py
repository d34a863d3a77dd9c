"""What the log of a stream holds, shard by shard: read from the disk while no data plane serves it."""

from array import array
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from infra.local.kinesis.disk import DiskStorage
from infra.local.kinesis.sequence import SequenceSpace, arrival_ms, counter_floor
from infra.local.kinesis.shards import Shard
from infra.local.kinesis.storage import ShardLog
from infra.local.stack.stores.facts import Gap, LogFacts, Mark, StreamFacts
from infra.local.stack.stores.marks import mark_of_tags

_HOUR_MS = 3_600_000
_PAGE = 10_000
_PAGE_BYTES = 16 * 1024 * 1024
_COUNTED = 500_000  # expired records of a shard that are looked at; beyond that it is "at least"


@dataclass(frozen=True, slots=True)
class ShardSurvey:
    """A shard's log: counters, not sequence numbers. ``expired`` are those that lie on the disk and are no more readable."""

    shard: Shard
    last: int
    horizon: int
    expired: "array[int]"
    now_ms: int

    def facts(self, *, progress: int | None, read: int | None) -> LogFacts:
        """Return the facts of it, where the tables have it to *progress*, and it was *read* to a sequence number."""
        space, floor = self.shard.space, counter_floor(max(self.now_ms, self.shard.created_ms))
        numbers = [each for each in (progress, read) if each is not None]
        return LogFacts(
            first=space.first,
            next=space.number(max(self.last + 1, floor)),
            tip=space.number(self.last) if self.last else None,
            uncounted=self._gap(progress),
            unread=self._gap(max(numbers, default=None)),
        )

    def _gap(self, after: int | None) -> Gap:
        """Return what has expired behind the record *after*; None: behind the beginning."""
        space = self.shard.space
        first = None if after is None or after < space.first else space.counter_from(after, after=True)
        if (first or 1) > self.last or (first or counter_floor(self.shard.created_ms)) >= self.horizon:
            return Gap()
        start = bisect_right(self.expired, (first or 0) - 1)
        found = self.expired[start:]
        certain = first is not None and start > 0 and self.expired[start - 1] == first - 1
        if not found:
            return Gap(0, certain)
        return Gap(
            len(found), certain and len(self.expired) < _COUNTED, arrival_ms(found[0]), arrival_ms(found[-1])
        )


@dataclass(frozen=True, slots=True)
class StreamSurvey:
    """A stream as it lies on the disk."""

    mark: Mark | None
    shards: Mapping[str, ShardSurvey]
    next_index: int

    def facts(self, *, progress: Mapping[str, int], read: Mapping[str, int | None]) -> StreamFacts:
        """Return the facts of it, beside how far each shard is in the tables and was read."""
        logs = {
            shard_id: each.facts(progress=progress.get(shard_id), read=read.get(shard_id))
            for shard_id, each in self.shards.items()
        }
        return StreamFacts(self.mark, logs, self.next_index)


def survey(data: Path, stream: str, *, now_ms: int) -> StreamSurvey | None:
    """Return what the log in *data* holds of *stream*; None where there is no such stream.

    Raises:
        ConfigError: it is damaged, or a process serves it.
    """
    if not data.is_dir():
        return None
    with closing(DiskStorage(data)) as storage:
        state = next((each for each in storage.load() if each.name == stream), None)
        if state is None:
            return None
        floor_ms = max(state.created_ms, state.floor_ms, now_ms - state.retention_hours * _HOUR_MS)
        shards = {
            shard.shard_id: _survey(shard, storage.open_log(state.number, shard.index), floor_ms, now_ms)
            for shard in state.shards
            if _is_there(shard, floor_ms)
        }
        return StreamSurvey(mark_of_tags(state.tags), shards, state.next_index)


def new_stream_number(now_ms: int) -> int:
    """Return the lowest sequence number of a stream that is made now."""
    return SequenceSpace(now_ms // 1000, 0).first


def _is_there(shard: Shard, floor_ms: int) -> bool:
    return shard.closed_ms is None or shard.closed_ms >= floor_ms


def _survey(shard: Shard, log: ShardLog, floor_ms: int, now_ms: int) -> ShardSurvey:
    horizon, expired = counter_floor(floor_ms), array("Q")
    position = 0
    while len(expired) < _COUNTED:
        page = log.read(position, max_records=_PAGE, max_bytes=_PAGE_BYTES)
        old = [record.counter for record in page if record.counter < horizon]
        expired.extend(old)
        if not old or len(old) < len(page):
            break
        position = old[-1] + 1
    return ShardSurvey(shard, log.last_counter, horizon, expired, now_ms)
