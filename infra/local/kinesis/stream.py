"""One stream: where a record goes and what a reader sees. No HTTP, no clock of its own.

Rules kept here: a record goes to the open shard that owns its hash key; closed shards are readable to their end
and take no writes; what is older than the retention period is not readable; counters grow within a shard.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.local.kinesis.errors import DamageError, FrameDamage, KinesisError, StorageError, not_found
from infra.local.kinesis.sequence import arrival_ms, counter_floor
from infra.local.kinesis.shards import Shard, ShardMap, shard_id
from infra.local.kinesis.storage import ShardLog, Storage, StoredRecord, StreamState

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One record to be put: its hash key (0 to 2**128 - 1), partition key in UTF-8, data."""

    hash_key: int
    key: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """Where an entry went."""

    shard: Shard
    sequence_number: int


@dataclass(frozen=True, slots=True)
class Page:
    """What one read of a shard gives. ``next_counter`` is None at the end of a closed shard."""

    shard: Shard
    records: list[StoredRecord]
    next_counter: int | None
    behind_ms: int


Admit = Callable[[Shard, int], KinesisError | None]


class Stream:
    """One stream. Every method is atomic; callers may come from many threads."""

    def __init__(self, state: StreamState, *, storage: Storage, clock_ms: Callable[[], int]) -> None:
        self.state = state
        self.map = ShardMap(state.shards, next_index=state.next_index)
        self._storage = storage
        self._clock_ms = clock_ms
        self._logs: dict[int, ShardLog] = {}
        self.lock = threading.RLock()
        for index in self.map.by_index:
            self._log(index)  # recovered now: damage is to be seen at the start, not by some later request

    @property
    def status(self) -> str:
        """ACTIVE, CREATING, UPDATING, DELETING, or GONE."""
        if self.state.busy is None or self._clock_ms() >= self.state.busy_until_ms:
            return "GONE" if self.state.busy == "DELETING" else "ACTIVE"
        return self.state.busy

    @property
    def horizon_ms(self) -> int:
        """The arrival time of the oldest record that may be read: TRIM_HORIZON."""
        state = self.state
        return max(state.created_ms, state.floor_ms, self._clock_ms() - state.retention_hours * HOUR_MS)

    def shards(self) -> list[Shard]:
        """Return the shards that have not expired, by index: open ones, and closed ones within retention."""
        horizon_ms = self.horizon_ms
        with self.lock:
            shards = self.map.by_index.values()
        return [s for s in shards if s.closed_ms is None or s.closed_ms >= horizon_ms]

    def put(self, entries: Sequence[Entry], *, admit: Admit | None = None) -> list[Stored | KinesisError]:
        """Store entries; the answer is in their order, each stored or refused on its own.

        *admit* is asked in order for each entry, with its shard and size in bytes, and may refuse it.
        """
        answers: list[Stored | KinesisError | None] = [None] * len(entries)
        by_shard: dict[int, list[int]] = {}
        with self.lock:
            if self.status in ("CREATING", "DELETING", "GONE"):
                raise not_found(f"Stream {self.state.name} not found.")
            route = self.map.route
            for position, entry in enumerate(entries):
                shard = route(entry.hash_key)
                if admit and (refused := admit(shard, len(entry.key) + len(entry.data))):
                    answers[position] = refused
                else:
                    by_shard.setdefault(shard.index, []).append(position)
            for index, positions in by_shard.items():
                stored = self._append(self.map.by_index[index], [entries[position] for position in positions])
                for position, answer in zip(positions, stored, strict=True):
                    answers[position] = answer
        return [answer for answer in answers if answer is not None]

    def _append(self, shard: Shard, entries: list[Entry]) -> Sequence[Stored | KinesisError]:
        log = self._log(shard.index)
        # Not before the shard was made, though the clock stepped back: that would be below the trim horizon.
        first = max(log.last_counter + 1, counter_floor(max(self._clock_ms(), shard.created_ms)))
        try:
            log.append([StoredRecord(first + i, entry.key, entry.data) for i, entry in enumerate(entries)])
        except StorageError as error:
            return [KinesisError("InternalFailure", f"not stored: {error}")] * len(entries)
        return [Stored(shard, number) for number in shard.space.numbers(first, len(entries))]

    def read(self, shard_index: int, first: int, *, max_records: int, max_bytes: int) -> Page:
        """Return records of a shard from a counter on, within both limits and the retention period.

        Raises:
            StorageError: the log is damaged there: names shard and records. Those before are readable.
        """
        with self.lock:
            shard = self.map.by_index.get(shard_index)
            if shard is None or self.status == "GONE":
                raise not_found(f"Shard {shard_id(shard_index)} in stream {self.state.name} does not exist")
            log = self._log(shard_index)
            first = max(first, counter_floor(self.horizon_ms))
            try:
                records = log.read(first, max_records=max_records, max_bytes=max_bytes)
            except DamageError as error:
                raise self._damaged(shard, error) from error
            last_counter = log.last_counter
        position = records[-1].counter + 1 if records else first
        # More to come: at least 1, as 0 says "caught up". The last counter may be of a record that is given up.
        if records and position <= last_counter:
            return Page(shard, records, position, max(1, self._clock_ms() - arrival_ms(position - 1)))
        return Page(shard, records, position if shard.is_open else None, 0)

    def _damaged(self, shard: Shard, error: DamageError) -> StorageError:
        records = ""
        if isinstance(error, FrameDamage):
            number = shard.space.number
            records = f", records {number(error.first)} to {number(error.last)}"
        return DamageError(
            f"damaged: stream {self.state.name}, {shard.shard_id}{records}: {error}. It does not mend itself: stop the "
            "stack, and `streamgage doctor` says what is lost and how to go on"
        )

    def tip(self, shard_index: int) -> int:
        """Return the counter just after a shard's newest record: LATEST."""
        with self.lock:
            return self._log(shard_index).last_counter + 1

    def trim(self) -> None:
        """Let storage drop what has expired."""
        with self.lock:
            before = counter_floor(self.horizon_ms)
            self._logs = {index: log for index, log in self._logs.items() if index in self.map.by_index}
            for index in self.map.by_index:
                self._log(index).trim(before)

    def _log(self, index: int) -> ShardLog:
        if index not in self._logs:
            self._logs[index] = self._storage.open_log(self.state.number, index)
        return self._logs[index]
