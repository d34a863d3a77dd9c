"""All streams of an account: created, changed, resharded, deleted, on an injected clock and storage.

A change is saved before it is seen: what a crash takes was never answered. Locks are taken stream first, then
model.
"""

import threading
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypedDict

from infra.local.kinesis.errors import KinesisError, StorageError, not_found
from infra.local.kinesis.shards import ShardMap
from infra.local.kinesis.storage import Storage, StreamState
from infra.local.kinesis.stream import Stream
from streamgage.limits import KINESIS_RECORD_BYTES


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between installations. ``transition_ms`` is how long CREATING, UPDATING, DELETING last."""

    region: str = "us-east-1"
    account: str = "000000000000"
    shard_limit: int = 20_000
    transition_ms: int = 0
    iterator_life_ms: int = 300_000


class _Busy(TypedDict):
    busy: str
    busy_until_ms: int


class KinesisModel:
    """All streams of one account in one region."""

    def __init__(
        self, *, clock_ms: Callable[[], int], storage: Storage, settings: Settings | None = None
    ) -> None:
        self.clock_ms = clock_ms
        self.settings = settings or Settings()
        self._storage = storage
        self._lock = threading.RLock()
        self._streams = {state.name: self._stream(state) for state in storage.load()}
        self._last_number = max((stream.state.number for stream in self._streams.values()), default=0)

    def _stream(self, state: StreamState) -> Stream:
        return Stream(state, storage=self._storage, clock_ms=self.clock_ms)

    def arn(self, name: str) -> str:
        """Return a stream's ARN."""
        return f"arn:aws:kinesis:{self.settings.region}:{self.settings.account}:stream/{name}"

    def find(self, name: str) -> Stream:
        """Return a stream.

        Raises:
            KinesisError: ResourceNotFoundException.
        """
        stream = self._streams.get(name)
        if stream is None or stream.status == "GONE":
            raise not_found(f"Stream {name} under account {self.settings.account} not found.")
        return stream

    def names(self) -> list[str]:
        """Return the names of all streams, sorted."""
        with self._lock:
            found: list[str] = []
            for name, stream in self._streams.items():
                if stream.status != "GONE":
                    insort(found, name)
            return found

    def open_shards(self) -> int:
        """Return the number of open shards of provisioned streams, which count towards the shard limit."""
        with self._lock:
            return sum(
                len(s.map.open)
                for s in self._streams.values()
                if not s.state.on_demand and s.status != "GONE"
            )

    def create(
        self,
        name: str,
        *,
        shard_count: int,
        on_demand: bool,
        tags: dict[str, str],
        max_record_bytes: int = KINESIS_RECORD_BYTES,
    ) -> None:
        """Create a stream.

        Raises:
            KinesisError: ResourceInUseException, LimitExceededException.
        """
        self.sweep()
        with self._lock:
            existing = self._streams.get(name)
            if existing is not None and existing.status != "GONE":
                raise KinesisError(
                    "ResourceInUseException",
                    f"Stream {name} under account {self.settings.account} already exists.",
                )
            if not on_demand:
                self.check_shard_limit(shard_count)
            now_ms = self.clock_ms()
            shards = ShardMap.uniform(shard_count, now_ms=now_ms)
            self._last_number = max(now_ms, self._last_number + 1)
            state = StreamState(
                number=self._last_number,
                name=name,
                on_demand=on_demand,
                created_ms=now_ms,
                retention_hours=24,
                shards=tuple(shards.by_index.values()),
                next_index=shards.next_index,
                tags=tags,
                max_record_bytes=max_record_bytes,
                **self._busy("CREATING"),
            )
            self._save({**self._streams, name: self._stream(state)})

    def change(self, stream: Stream, *, state: StreamState, updating: bool = False) -> None:
        """Replace a stream's state durably; the caller holds the stream's lock since it read the old one.

        With *updating* the stream is UPDATING for the configured time; the change itself holds at once.
        """
        if updating:
            state = replace(state, **self._busy("UPDATING"))
        with self._lock:
            before = stream.state
            stream.state = state
            try:
                self._save(self._streams)
            except StorageError:
                stream.state = before
                raise
            stream.map = ShardMap(state.shards, next_index=state.next_index)

    def reshard(self, stream: Stream, shards: ShardMap) -> None:
        """Give a stream its next shard map; the caller holds the stream's lock since it read the old one."""
        state = replace(stream.state, shards=tuple(shards.by_index.values()), next_index=shards.next_index)
        self.change(stream, state=state, updating=True)

    def delete(self, stream: Stream) -> None:
        """Delete a stream with its records; it is DELETING for the configured time."""
        with stream.lock:
            self.change(stream, state=replace(stream.state, **self._busy("DELETING")))
        self.sweep()

    def sweep(self) -> None:
        """Forget streams that are gone, shards and records that have expired. To be called now and then."""
        for stream in [stream for stream in self._streams.values() if stream.status == "GONE"]:
            with stream.lock:
                pass  # whoever was still at work in it is done; whoever comes now is refused
        with self._lock:
            kept = {name: stream for name, stream in self._streams.items() if stream.status != "GONE"}
            if len(kept) < len(self._streams):
                self._save(kept)
        for stream in kept.values():
            with stream.lock:
                expired = stream.map.by_index.keys() - {shard.index for shard in stream.shards()}
                if expired:
                    shards = stream.map.without(expired)
                    self.change(stream, state=replace(stream.state, shards=tuple(shards.by_index.values())))
                stream.trim()

    def check_shard_limit(self, additional: int) -> None:
        """Refuse shards beyond the account's limit.

        Raises:
            KinesisError: LimitExceededException.
        """
        current, limit = self.open_shards(), self.settings.shard_limit
        if current + additional > limit:
            raise KinesisError(
                "LimitExceededException",
                f"This request would exceed the shard limit for the account {self.settings.account} in "
                f"{self.settings.region}. Current shard count for the account: {current}. Limit: {limit}. "
                f"Number of additional shards that would have resulted from this request: {additional}.",
            )

    def _save(self, streams: dict[str, Stream]) -> None:
        self._storage.save([stream.state for stream in streams.values()])
        self._streams = streams

    def _busy(self, status: str) -> _Busy:
        lasts_ms = self.settings.transition_ms
        return {"busy": status, "busy_until_ms": self.clock_ms() + lasts_ms if lasts_ms else 0}
