"""Shards: which of them a partition key goes to.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html ("An MD5 hash function is
used to map partition keys to 128-bit integer values"), API_HashKeyRange.html, API_SequenceNumberRange.html
("Shards that are in the OPEN state have an ending sequence number of null"). Checked 2026-11-21.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import md5
from typing import Any

from streamgage.errors import RetryableError


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a stream: it takes the hash keys from ``start`` to ``end``, both included, while it is open.

    ``parents`` holds no id for a shard of the stream's creation, one after a split, two after a merge.
    """

    shard_id: str
    start: int
    end: int
    parents: tuple[str, ...] = ()
    is_open: bool = True


class ShardMap:
    """The open shards of a stream, and the shard that each hash key is predicted to go to.

    It is a prediction: the stream may be resharded at any time. A gap or an overlap, as may be listed in the
    midst of a reshard, makes a prediction wrong and nothing worse.
    """

    def __init__(self, shards: Iterable[Shard]) -> None:
        """Keep the open ones of *shards*, in any order.

        Raises:
            RetryableError: none is open. The stream is being created or deleted; list again.
        """
        ordered = sorted((shard for shard in shards if shard.is_open), key=lambda shard: shard.start)
        if not ordered:
            raise RetryableError("no open shard: is the stream ACTIVE?")
        self._starts = [shard.start for shard in ordered]
        self._ids = [shard.shard_id for shard in ordered]
        self.shard_ids = frozenset(self._ids)

    def shard_for(self, hash_key: int) -> str:
        """Return the id of the open shard that takes *hash_key*."""
        return self._ids[max(bisect_right(self._starts, hash_key) - 1, 0)]


def hash_key_of(partition_key: str) -> int:
    """Return the hash key of *partition_key*: the MD5 of its UTF-8, as a big-endian number of 128 bits."""
    return int.from_bytes(md5(partition_key.encode(), usedforsecurity=False).digest(), "big")


def decode_shard(item: Mapping[str, Any]) -> Shard:
    """Return one element of the ``Shards`` that ListShards answers with."""
    hash_keys = item["HashKeyRange"]
    parents = (item.get("ParentShardId"), item.get("AdjacentParentShardId"))
    return Shard(
        shard_id=item["ShardId"],
        start=int(hash_keys["StartingHashKey"]),
        end=int(hash_keys["EndingHashKey"]),
        parents=tuple(parent for parent in parents if parent),
        is_open=not item["SequenceNumberRange"].get("EndingSequenceNumber"),
    )
