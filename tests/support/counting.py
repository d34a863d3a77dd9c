"""A stream that counts as the consumer does: each sealed record once, by the marks that it has seen in its lane."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from producers.client.entry import PutEntry
from producers.client.ports import PutFailed, PutResult, PutStored
from streamgage.errors import RetryableError
from streamgage.fold.lane_log import Entry, LaneLog
from streamgage.formats.kpl import decode_aggregate, is_aggregated
from streamgage.formats.mark import decode_mark
from streamgage.shards import Shard, ShardMap, hash_key_of

HALF = 2**127
HALVES = (Shard("low", 0, HALF - 1), Shard("high", HALF, 2 * HALF - 1))


class CountingStream:
    """A port whose user records are counted by their data. ``fate`` decides what becomes of an entry; see its values."""

    def __init__(self) -> None:
        self.counts: Counter[bytes] = Counter()
        self.stored = 0
        self.sizes: list[int] = []
        self.fate: Callable[[PutEntry], str] = lambda _: "stored"
        self._logs: dict[str, LaneLog] = {}
        self._lock = threading.Lock()

    def list_shards(self) -> Sequence[Shard]:
        """Return two halves."""
        return HALVES

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        """Store, refuse, or time out: "stored", "refused", "lost answer" (stored), "lost request" (not)."""
        with self._lock:
            fates = [self.fate(entry) for entry in entries]
            results = [self._put(entry, fate) for entry, fate in zip(entries, fates, strict=True)]
        if any(fate.startswith("lost") for fate in fates):
            raise RetryableError("read timed out")
        return results

    def _put(self, entry: PutEntry, fate: str) -> PutResult:
        if fate in ("refused", "lost request"):
            return PutFailed("InternalFailure", "no")
        hash_key = entry.explicit_hash_key
        if hash_key is None:
            hash_key = hash_key_of(entry.partition_key)
        shard_id = ShardMap(HALVES).shard_for(hash_key)
        self.stored += 1
        self.sizes.append(entry.size_bytes)
        log = self._logs.setdefault(shard_id, LaneLog())
        aggregate = decode_aggregate(entry.data) if is_aggregated(entry.data) else None
        mark = decode_mark(aggregate.tags) if aggregate else None
        if not log.saw(mark):
            self.counts.update(aggregate.datas if aggregate else [entry.data])
        log.append(Entry(self.stored, 0, mark))
        return PutStored(shard_id, self.stored)
