"""What the model needs of storage, and the in-memory form of it for simulations and unit tests."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from infra.local.kinesis.shards import Shard
from streamgage.limits import KINESIS_RECORD_BYTES


class StoredRecord(NamedTuple):  # a tuple: a read makes 10,000 of them
    """A record of one shard's log: its counter orders it, ``key`` is the partition key in UTF-8."""

    counter: int
    key: bytes
    data: bytes

    @property
    def size_bytes(self) -> int:
        """What Kinesis counts: data and partition key."""
        return len(self.key) + len(self.data)


@dataclass(frozen=True, slots=True)
class StreamState:
    """All of a stream that is not its records. ``busy_until_ms`` ends a CREATING, UPDATING or DELETING.

    ``max_record_bytes`` is what a record may have, data and partition key. What arrived before ``floor_ms`` had expired when the retention period was last changed.
    """

    number: int
    name: str
    on_demand: bool
    created_ms: int
    retention_hours: int
    shards: tuple[Shard, ...]
    next_index: int
    tags: Mapping[str, str]
    busy: str | None = None
    busy_until_ms: int = 0
    floor_ms: int = 0
    max_record_bytes: int = KINESIS_RECORD_BYTES


class ShardLog(Protocol):
    """The records of one shard, in the order of their counters."""

    @property
    def last_counter(self) -> int:
        """The highest counter ever appended; it survives trimming and restarts, 0 before the first."""

    def append(self, records: Sequence[StoredRecord]) -> None:
        """Store records, all or none, with counters above the last; once it returns they survive SIGKILL.

        Raises:
            StorageError: nothing was stored.
        """

    def read(self, first: int, *, max_records: int, max_bytes: int) -> list[StoredRecord]:
        """Return records with counters from *first* on, within both limits, and at least one if there is one.

        Raises:
            DamageError: the first of them is not what was written.
        """

    def trim(self, before: int) -> None:
        """Allow records with counters below *before* to be dropped; some may stay readable."""


class Storage(Protocol):
    """Where streams and their logs are kept."""

    def load(self) -> Sequence[StreamState]:
        """Return the streams as last saved."""

    def save(self, streams: Sequence[StreamState]) -> None:
        """Replace the saved streams atomically, and drop the logs of shards that are no longer in any.

        Raises:
            StorageError: what was saved before still stands.
        """

    def open_log(self, stream_number: int, shard_index: int) -> ShardLog:
        """Return the log of a shard, recovered or new."""


class MemoryLog:
    """A shard's log in a list."""

    def __init__(self) -> None:
        self.last_counter = 0
        self._counters: list[int] = []
        self._records: list[StoredRecord] = []

    def append(self, records: Sequence[StoredRecord]) -> None:
        """Store records in memory."""
        self._records.extend(records)
        self._counters.extend(record.counter for record in records)
        self.last_counter = self._counters[-1] if self._counters else self.last_counter

    def read(self, first: int, *, max_records: int, max_bytes: int) -> list[StoredRecord]:
        """Return records from a counter on."""
        start = bisect_left(self._counters, first)
        found: list[StoredRecord] = []
        size_bytes = 0
        for record in self._records[start : start + max_records]:
            size_bytes += record.size_bytes
            if found and size_bytes > max_bytes:
                break
            found.append(record)
        return found

    def trim(self, before: int) -> None:
        """Drop records below a counter."""
        cut = bisect_left(self._counters, before)
        del self._records[:cut], self._counters[:cut]


class MemoryStorage:
    """Streams and logs that live as long as this object, which may be handed to a second model: a restart."""

    def __init__(self) -> None:
        self._streams: tuple[StreamState, ...] = ()
        self._logs: dict[tuple[int, int], MemoryLog] = {}

    def load(self) -> Sequence[StreamState]:
        """Return the streams as last saved."""
        return self._streams

    def save(self, streams: Sequence[StreamState]) -> None:
        """Keep the streams, and forget logs of shards that are gone."""
        self._streams = tuple(streams)
        kept = live_logs(streams)
        self._logs = {key: log for key, log in self._logs.items() if key in kept}

    def open_log(self, stream_number: int, shard_index: int) -> ShardLog:
        """Return the log of a shard."""
        return self._logs.setdefault((stream_number, shard_index), MemoryLog())


def live_logs(streams: Iterable[StreamState]) -> set[tuple[int, int]]:
    """Return (stream number, shard index) of every shard of *streams*."""
    return {(stream.number, shard.index) for stream in streams for shard in stream.shards}
