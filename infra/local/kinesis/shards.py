"""The shard map of a stream and how it is resharded: pure values.

The open shards always cover the hash keys 0 to 2**128 - 1 once. Resharding closes parents, which stay readable
to their end, and opens children above them, in time and in sequence number.
Source: https://docs.aws.amazon.com/streams/latest/dev/kinesis-using-sdk-java-resharding.html
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace

from infra.local.kinesis.sequence import SequenceSpace
from streamgage.limits import KINESIS_HASH_KEYS


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard: hash keys ``[start_hash, end_hash]``, open from ``created_ms`` until ``closed_ms``."""

    index: int
    start_hash: int
    end_hash: int
    created_ms: int
    epoch_s: int
    parent: int | None = None
    adjacent_parent: int | None = None
    closed_ms: int | None = None

    @property
    def shard_id(self) -> str:
        """The name: shardId- and twelve digits."""
        return shard_id(self.index)

    @property
    def is_open(self) -> bool:
        """Whether it takes writes."""
        return self.closed_ms is None

    @property
    def space(self) -> SequenceSpace:
        """Its sequence numbers."""
        return SequenceSpace(self.epoch_s, self.index)


def shard_id(index: int) -> str:
    """Return the name of the shard with this index."""
    return f"shardId-{index:012d}"


def uniform_ranges(count: int) -> list[tuple[int, int]]:
    """Return *count* contiguous hash ranges, all of the same size but the last, which takes the rest."""
    size = KINESIS_HASH_KEYS // count
    return [(i * size, (i + 1) * size - 1 if i < count - 1 else KINESIS_HASH_KEYS - 1) for i in range(count)]


class ShardMap:
    """An immutable set of shards; resharding returns the next map."""

    def __init__(self, shards: Iterable[Shard], *, next_index: int) -> None:
        self.by_index = {shard.index: shard for shard in shards}
        self.next_index = next_index
        self.open = sorted((s for s in self.by_index.values() if s.is_open), key=lambda s: s.start_hash)
        self._starts = [shard.start_hash for shard in self.open]

    @classmethod
    def uniform(cls, count: int, *, now_ms: int) -> "ShardMap":
        """Return the map of a new stream."""
        return cls(
            (
                Shard(index, start, end, created_ms=now_ms, epoch_s=now_ms // 1000)
                for index, (start, end) in enumerate(uniform_ranges(count))
            ),
            next_index=count,
        )

    def route(self, hash_key: int) -> Shard:
        """Return the open shard that owns a hash key."""
        return self.open[bisect_right(self._starts, hash_key) - 1]

    def children(self, index: int) -> list[Shard]:
        """Return the shards that a closed shard was split or merged into."""
        return [s for s in self.by_index.values() if index in (s.parent, s.adjacent_parent)]

    def split(self, index: int, *, at: int, now_ms: int) -> "ShardMap":
        """Split an open shard into ``[start, at - 1]`` and ``[at, end]``; *at* lies above start, not above end."""
        shard = self.by_index[index]
        ranges = [(shard.start_hash, at - 1), (at, shard.end_hash)]
        return self._reshard([shard], ranges, now_ms=now_ms)

    def merge(self, index: int, adjacent: int, *, now_ms: int) -> "ShardMap":
        """Merge two open shards whose ranges touch."""
        shards = [self.by_index[index], self.by_index[adjacent]]
        span = (min(s.start_hash for s in shards), max(s.end_hash for s in shards))
        return self._reshard(shards, [span], now_ms=now_ms)

    def rescale(self, count: int, *, now_ms: int) -> "ShardMap":
        """Return the map with *count* open shards (UNIFORM_SCALING).

        As AWS was recorded to do it: to more shards, each is split in two, and then pairs are merged until no more than
        *count* are open; to fewer, pairs are merged at once. So 10 become 13 by way of 37 shards in all, and 5 become
        3 by way of 7. Which pairs AWS merges is not recorded: here it is the narrowest. Doubling and halving keep
        uniform shards uniform; other counts do not make them so.
        """
        result = self
        while len(result.open) < count:
            for shard in result.open:
                if shard.end_hash > shard.start_hash:
                    middle = (shard.start_hash + shard.end_hash) // 2 + 1
                    result = result.split(shard.index, at=middle, now_ms=now_ms)
        while len(result.open) > count:
            pairs = zip(result.open, result.open[1:], strict=False)
            below, above = min(pairs, key=lambda pair: pair[1].end_hash - pair[0].start_hash)
            result = result.merge(below.index, above.index, now_ms=now_ms)
        return result

    def without(self, expired: Iterable[int]) -> "ShardMap":
        """Return the map without closed shards whose records have all expired."""
        gone = set(expired)
        return ShardMap(
            (s for s in self.by_index.values() if s.index not in gone), next_index=self.next_index
        )

    def _reshard(self, parents: list[Shard], ranges: list[tuple[int, int]], *, now_ms: int) -> "ShardMap":
        # Later than the parents' opening even where the clock stands still, so that "the shards open at t"
        # is always one cover of the hash keys.
        now_ms = max(now_ms, *(parent.created_ms + 1 for parent in parents))
        epoch_s = max(now_ms // 1000, *(parent.epoch_s + 1 for parent in parents))
        children = (
            Shard(
                self.next_index + i,
                start,
                end,
                created_ms=now_ms,
                epoch_s=epoch_s,
                parent=parents[0].index,
                adjacent_parent=parents[1].index if len(parents) > 1 else None,
            )
            for i, (start, end) in enumerate(ranges)
        )
        closed = {parent.index: replace(parent, closed_ms=now_ms) for parent in parents}
        kept = (closed.get(shard.index, shard) for shard in self.by_index.values())
        return ShardMap([*kept, *children], next_index=self.next_index + len(ranges))
