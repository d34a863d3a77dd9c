"""Where a shard came from, and whether its stream is read from its first record on: asked once a sandbox and new shard."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from processors.deadline import Deadline

TARGET = "Kinesis_20131202"
_LEAST_RETENTION_S = 24 * 3600
"""A stream keeps a record so long at least. What it keeps by now may be longer, and brings nothing back that expired before.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_IncreaseStreamRetentionPeriod.html
"""


class CallKinesis(Protocol):
    """A call of Kinesis."""

    def __call__(self, operation: str, request: Mapping[str, Any], /, *, deadline: Deadline) -> Any:
        """Return the answer of *operation*. Raises: RetryableError, also where there is none by *deadline*."""


class KinesisLineage:
    """The lineage of the shards of one stream. ``from_first``: the mapping began at TRIM_HORIZON."""

    def __init__(
        self,
        call: CallKinesis,
        stream: str,
        *,
        from_first: bool = True,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._call, self._stream, self._from_first, self._now_ms = call, stream, from_first, now_ms
        self._parents: dict[str, tuple[str, ...]] = {}

    def parents_of(self, shard_id: str, *, deadline: Deadline) -> Sequence[str]:
        """Return the parents that Kinesis still names, whether or not they still hold records."""
        if shard_id not in self._parents:
            self._parents = {shard["ShardId"]: _parents(shard) for shard in self._list(deadline)}
        return self._parents.get(shard_id, ())

    def is_read_from_its_first_record(self, *, deadline: Deadline) -> bool:
        """Tell whether this consumer misses nothing that was ever put: the stream is younger than any retention."""
        if not self._from_first:
            return False
        answer = self._call("DescribeStreamSummary", {"StreamName": self._stream}, deadline=deadline)
        age_s = self._now_ms() / 1000 - answer["StreamDescriptionSummary"]["StreamCreationTimestamp"]
        return bool(age_s < _LEAST_RETENTION_S)

    def _list(self, deadline: Deadline) -> list[dict[str, Any]]:
        shards: list[dict[str, Any]] = []
        request = {"StreamName": self._stream}
        while True:
            answer = self._call("ListShards", request, deadline=deadline)
            shards += answer["Shards"]
            if not answer.get("NextToken"):
                return shards
            request = {"NextToken": answer["NextToken"]}  # the API takes no stream name beside it


def _parents(shard: dict[str, Any]) -> tuple[str, ...]:
    return tuple(shard[name] for name in ("ParentShardId", "AdjacentParentShardId") if shard.get(name))
