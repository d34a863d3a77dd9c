"""Where a shard came from: ListShards, asked once a sandbox and new shard."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

TARGET = "Kinesis_20131202"


class KinesisLineage:
    """The lineage of the shards of one stream. *list_shards* is that call, from its request to its answer."""

    def __init__(self, list_shards: Callable[[Mapping[str, Any]], Any], stream: str) -> None:
        self._list_shards, self._stream = list_shards, stream
        self._parents: dict[str, tuple[str, ...]] = {}

    def parents_of(self, shard_id: str) -> Sequence[str]:
        """Return the parents that Kinesis still names, whether or not they still hold records."""
        if shard_id not in self._parents:
            self._parents = {shard["ShardId"]: _parents(shard) for shard in self._list()}
        return self._parents.get(shard_id, ())

    def _list(self) -> list[dict[str, Any]]:
        shards: list[dict[str, Any]] = []
        request = {"StreamName": self._stream}
        while True:
            answer = self._list_shards(request)
            shards += answer["Shards"]
            if not answer.get("NextToken"):
                return shards
            request = {"NextToken": answer["NextToken"]}  # the API takes no stream name beside it


def _parents(shard: dict[str, Any]) -> tuple[str, ...]:
    return tuple(shard[name] for name in ("ParentShardId", "AdjacentParentShardId") if shard.get(name))
