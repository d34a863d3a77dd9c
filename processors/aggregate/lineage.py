"""Where a shard came from: ListShards, asked once a sandbox and new shard."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from processors.deadline import Deadline

TARGET = "Kinesis_20131202"


class ListShards(Protocol):
    """The call of that name."""

    def __call__(self, request: Mapping[str, Any], /, *, deadline: Deadline) -> Any:
        """Return its answer to *request*. Raises: RetryableError, also where there is none by *deadline*."""


class KinesisLineage:
    """The lineage of the shards of one stream."""

    def __init__(self, list_shards: ListShards, stream: str) -> None:
        self._list_shards, self._stream = list_shards, stream
        self._parents: dict[str, tuple[str, ...]] = {}

    def parents_of(self, shard_id: str, *, deadline: Deadline) -> Sequence[str]:
        """Return the parents that Kinesis still names, whether or not they still hold records."""
        if shard_id not in self._parents:
            self._parents = {shard["ShardId"]: _parents(shard) for shard in self._list(deadline)}
        return self._parents.get(shard_id, ())

    def _list(self, deadline: Deadline) -> list[dict[str, Any]]:
        shards: list[dict[str, Any]] = []
        request = {"StreamName": self._stream}
        while True:
            answer = self._list_shards(request, deadline=deadline)
            shards += answer["Shards"]
            if not answer.get("NextToken"):
                return shards
            request = {"NextToken": answer["NextToken"]}  # the API takes no stream name beside it


def _parents(shard: dict[str, Any]) -> tuple[str, ...]:
    return tuple(shard[name] for name in ("ParentShardId", "AdjacentParentShardId") if shard.get(name))
