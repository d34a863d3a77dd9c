"""How fast a shard is written to, and how often anything is tried again. No clock: the caller says what time it is.

Source: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html (1 MB/s and 1,000 records/s a shard)
"""

from streamgage.limits import SHARD_IN_BYTES_PER_S, SHARD_IN_RECORDS_PER_S

_BURST_S = 1.0  # a shard takes what it did not use of the last second
_SLOWER, _LEAST = 0.7, 1 / 64  # after a throttle: by how much, and how slow at most
_FASTER_PER_S = 0.1  # of the full rate, while nothing is throttled


class TokenBucket:
    """Gives ``rate_per_s`` tokens, and *burst* at once. What is larger than that is given when it is full, as a debt."""

    __slots__ = ("_burst", "_level", "_ms", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s = rate_per_s
        self._burst = self._level = burst
        self._ms: int | None = None

    def wait_ms(self, amount: float, now_ms: int) -> int:
        """Return how long it is until *amount* may be taken; 0: now."""
        self._fill(now_ms)
        missing = min(amount, self._burst) - self._level
        return 0 if missing <= 0 else int(missing / self.rate_per_s * 1000) + 1

    def take(self, amount: float, now_ms: int) -> None:
        """Take *amount*, also what is not there yet."""
        self._fill(now_ms)
        self._level -= amount

    def _fill(self, now_ms: int) -> None:
        passed_ms = 0 if self._ms is None else max(now_ms - self._ms, 0)
        self._ms = now_ms
        self._level = min(self._level + passed_ms / 1000 * self.rate_per_s, self._burst)


class ShardPace:
    """A shard's share of what it takes: all of it, until it throttles, for others write to it too.

    ``share`` falls to 0.7 of itself with a throttled request, and rises by a tenth of the full rate a second: so it swings
    just below what is left to us, as TCP's window does (additive increase, multiplicative decrease).
    """

    __slots__ = ("_bytes", "_changed_ms", "_records", "share")

    def __init__(self) -> None:
        self.share = 1.0
        self._bytes = TokenBucket(SHARD_IN_BYTES_PER_S, SHARD_IN_BYTES_PER_S * _BURST_S)
        self._records = TokenBucket(SHARD_IN_RECORDS_PER_S, SHARD_IN_RECORDS_PER_S * _BURST_S)
        self._changed_ms = 0

    def wait_ms(self, size_bytes: int, now_ms: int) -> int:
        """Return how long it is until a record of *size_bytes* may go; 0: now."""
        return max(self._bytes.wait_ms(size_bytes, now_ms), self._records.wait_ms(1, now_ms))

    def take(self, size_bytes: int, now_ms: int) -> None:
        """Take note that a record of *size_bytes* goes."""
        self._bytes.take(size_bytes, now_ms)
        self._records.take(1, now_ms)

    def answered(self, *, throttled: bool, now_ms: int) -> None:
        """Learn from the answer to a request."""
        if throttled:
            self._set(max(self.share * _SLOWER, _LEAST), now_ms)
        elif self.share < 1:
            risen = (now_ms - self._changed_ms) / 1000 * _FASTER_PER_S
            self._set(min(self.share + max(risen, 0), 1.0), now_ms)

    def _set(self, share: float, now_ms: int) -> None:
        self.share, self._changed_ms = share, now_ms
        self._bytes.rate_per_s = SHARD_IN_BYTES_PER_S * share
        self._records.rate_per_s = SHARD_IN_RECORDS_PER_S * share
