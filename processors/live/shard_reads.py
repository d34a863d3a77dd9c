"""How far each shard is applied, found out by a sandbox that knows no mapping: from progress items, and from the stream.

Lambda tells nobody its checkpoint. A shard's progress item says up to where everything is applied; and where a read from
there finds nothing, everything that arrived before that read is. Such a finding stays true, so it is kept, and a shard is
read again only when what is known of it has become old: the stream serves five reads a second and shard, and the function
that counts needs them.

A list of shards that is old misleads nobody: shards that it lacks are children of one that it calls open, and a read of that
one comes to its end, which an open shard has not.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.deadline import Deadline
from processors.query.freshness import Freshness, freshness
from processors.query.progress import ShardProgress
from streamgage.errors import RetryableError

AGAIN_MS = 5_000  # a shard is read once in so long, and only if what is known of it is older
_LISTED_MS = 60_000
_READS = 3  # of a shard: GetRecords may find nothing and not be at the end
_WAIT_S = 2.0  # for all of it
# A fence that the stream holds no more: all that it holds comes after it.
_TRIMMED = {"InvalidArgumentException", "ResourceNotFoundException"}


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a shard: up to when a read found everything applied, and when it was read last. 0: never.

    ``is_finished``: it is closed, and read to its end. ``has_ended``: it was called open, and is not.
    """

    is_closed: bool
    until_ms: int = 0
    read_ms: int = 0
    is_finished: bool = False
    has_ended: bool = False


@dataclass(slots=True)
class ShardReads:
    """The shards of *stream*: one a sandbox, for one request at a time. *readers* read several shards at once."""

    client: AwsJsonClient
    stream: str
    readers: Executor
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    _listed_ms: int | None = None
    _found: dict[str, Found] = field(default_factory=dict)

    def freshness(self, progress: Iterable[ShardProgress], *, deadline: Deadline) -> Freshness:
        """Return how fresh answers are that are read from now on; *progress* was read just now.

        Raises:
            ServiceError, RetryableError: the shards could not be listed. One that cannot be read is known by its progress.
        """
        known = {each.shard_id: each for each in progress}
        deadline = deadline.sooner(_WAIT_S)
        self._list(deadline)
        now_ms = self.now_ms()
        old = [shard for shard, found in self._found.items() if self._is_old(found, known.get(shard), now_ms)]
        reads = self.readers.map(lambda shard: self._read(shard, known.get(shard), deadline), old)
        self._found |= zip(old, reads, strict=True)
        if any(each.has_ended for each in self._found.values()):
            self._listed_ms = None  # it was split or merged
        shards = {
            shard: {
                "finished": found.is_finished,
                "caught_up": found.until_ms > 0,
                "read_started_ms": found.until_ms,
            }
            for shard, found in self._found.items()
        }
        return freshness(known.values(), {"shards": shards})

    @staticmethod
    def _is_old(found: Found, progress: ShardProgress | None, now_ms: int) -> bool:
        applied_ms = max(found.until_ms, progress.applied_ms if progress else 0)
        return not found.is_finished and now_ms - max(applied_ms, found.read_ms) >= AGAIN_MS

    def _list(self, deadline: Deadline) -> None:
        now_ms = self.now_ms()
        if self._listed_ms is not None and now_ms - self._listed_ms < _LISTED_MS:
            return
        found: dict[str, Found] = {}
        request: dict[str, Any] = {"StreamName": self.stream}
        while True:
            answer = self._ask("ListShards", request, deadline)
            for each in answer["Shards"]:
                is_closed = "EndingSequenceNumber" in each["SequenceNumberRange"]
                before = self._found.get(each["ShardId"], Found(is_closed))
                is_finished = before.is_finished or (is_closed and before.has_ended)
                found[each["ShardId"]] = replace(
                    before, is_closed=is_closed, is_finished=is_finished, has_ended=False
                )
            if not answer.get("NextToken"):
                break
            request = {"NextToken": answer["NextToken"]}  # the API takes no stream name beside it
        self._found, self._listed_ms = found, now_ms

    def _read(self, shard: str, progress: ShardProgress | None, deadline: Deadline) -> Found:
        """Return what a read of *shard* behind its progress finds; it takes one record at most."""
        found = replace(self._found[shard], read_ms=self.now_ms())
        try:
            iterator = self._iterator(shard, progress, deadline)
            for _ in range(_READS):
                started_ms = self.now_ms()
                answer = self._ask("GetRecords", {"ShardIterator": iterator, "Limit": 1}, deadline)
                if answer["Records"]:
                    return found
                iterator = answer.get("NextShardIterator")
                if iterator is None:
                    return replace(found, is_finished=found.is_closed, has_ended=not found.is_closed)
                if answer["MillisBehindLatest"] == 0:
                    return replace(found, until_ms=started_ms)
        except (ServiceError, RetryableError):
            pass  # nothing new is known of it
        return found

    def _iterator(self, shard: str, progress: ShardProgress | None, deadline: Deadline) -> Any:
        place = {"StreamName": self.stream, "ShardId": shard}
        if progress is not None:
            behind = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": str(progress.sequence_number),
            }
            try:
                return self._ask("GetShardIterator", {**place, **behind}, deadline)["ShardIterator"]
            except ServiceError as error:
                if error.error not in _TRIMMED:
                    raise
        oldest = {**place, "ShardIteratorType": "TRIM_HORIZON"}
        return self._ask("GetShardIterator", oldest, deadline)["ShardIterator"]

    def _ask(self, operation: str, request: Mapping[str, Any], deadline: Deadline) -> Any:
        return json.loads(self.client.call(operation, json.dumps(request), self.client.retries(deadline)))
