"""Per-shard limits: 1 MiB/s and 1,000 records/s in, 2 MiB/s and five GetRecords a second out.

Each limit is a token bucket that holds one second's worth. A read may take the out-bucket below zero, since its
size is known only afterwards: 10 MiB then block the shard for about 5 s, which is what AWS documents.
Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
"""

import threading
from dataclasses import dataclass

from streamgage.limits import (
    SHARD_IN_BYTES_PER_S,
    SHARD_IN_RECORDS_PER_S,
    SHARD_OUT_BYTES_PER_S,
    SHARD_READS_PER_S,
)

ShardKey = tuple[int, int]  # stream number, shard index


class TokenBucket:
    """Tokens that come back at *rate* a second, at most *rate* of them."""

    __slots__ = ("_at_ms", "_level", "_rate")

    def __init__(self, rate: int, *, now_ms: int) -> None:
        self._rate = rate
        self._level = float(rate)
        self._at_ms = now_ms

    def level(self, now_ms: int) -> float:
        """Return how many tokens there are."""
        elapsed_ms = max(
            0, now_ms - self._at_ms
        )  # the clock was set back: nothing comes back for that, and then goes on
        self._level = min(self._rate, self._level + self._rate * elapsed_ms / 1000)
        self._at_ms = now_ms
        return self._level

    def take(self, tokens: int) -> None:
        """Take tokens, also those that are not there."""
        self._level -= tokens


@dataclass(frozen=True, slots=True)
class _Buckets:
    in_bytes: TokenBucket
    in_records: TokenBucket
    out_bytes: TokenBucket
    reads: TokenBucket


class Throttle:
    """The limits of every shard; safe to share between threads."""

    def __init__(self) -> None:
        self._shards: dict[ShardKey, _Buckets] = {}
        self._lock = threading.Lock()

    def admit_write(self, shard: ShardKey, size_bytes: int, *, now_ms: int) -> bool:
        """Take one record's share, or return False and take nothing."""
        with self._lock:
            buckets = self._of(shard, now_ms)
            # A record larger than a second's worth goes when the bucket is full, and leaves a debt behind.
            wanted_bytes = min(size_bytes, SHARD_IN_BYTES_PER_S)
            if buckets.in_bytes.level(now_ms) < wanted_bytes or buckets.in_records.level(now_ms) < 1:
                return False
            buckets.in_bytes.take(size_bytes)
            buckets.in_records.take(1)
            return True

    def admit_read(self, shard: ShardKey, *, now_ms: int) -> bool:
        """Take one GetRecords call, or return False: too many calls, or too many bytes read before."""
        with self._lock:
            buckets = self._of(shard, now_ms)
            if buckets.reads.level(now_ms) < 1 or buckets.out_bytes.level(now_ms) <= 0:
                return False
            buckets.reads.take(1)
            return True

    def charge_read(self, shard: ShardKey, size_bytes: int) -> None:
        """Account for the bytes that an admitted read returned."""
        with self._lock:
            self._shards[shard].out_bytes.take(size_bytes)

    def _of(self, shard: ShardKey, now_ms: int) -> _Buckets:
        buckets = self._shards.get(shard)
        if buckets is None:
            buckets = self._shards[shard] = _Buckets(
                TokenBucket(SHARD_IN_BYTES_PER_S, now_ms=now_ms),
                TokenBucket(SHARD_IN_RECORDS_PER_S, now_ms=now_ms),
                TokenBucket(SHARD_OUT_BYTES_PER_S, now_ms=now_ms),
                TokenBucket(SHARD_READS_PER_S, now_ms=now_ms),
            )
        return buckets
