"""The stream of a world: our in-process Kinesis with its limits on, through the ports of those who use it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.errors import Code, ConnectionLost, KinesisError
from infra.local.kinesis.faults import FaultPlan
from infra.local.kinesis.limits import Throttle
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.sequence import arrival_ms
from infra.local.kinesis.shards import Shard
from infra.local.kinesis.storage import MemoryLog, MemoryStorage, ShardLog, StoredRecord
from processors.deadline import Deadline
from simulation.plan import Dice
from simulation.schedule import Scheduler
from streamgage.errors import RetryableError
from streamgage.records import StreamRecord

NAME = "telemetry"
_MOST_SHARDS = 9  # ever; more only make a schedule longer

_READ_CODES: tuple[Code, ...] = ("InternalFailure", "ProvisionedThroughputExceededException")
_TICK = 2**100  # what one ms adds to a sequence number

Stored = Callable[[StreamRecord], None]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer of GetRecords. ``iterator`` is None at the end of a closed shard; ``behind``: there is more to read."""

    records: list[StreamRecord]
    iterator: str | None
    behind: bool


class Stream:
    """The data plane, and what operators do to it. *stored* is told of each record that Kinesis keeps."""

    def __init__(
        self, scheduler: Scheduler, dice: Dice, *, shards: int, skew_ms: int, stored: Stored
    ) -> None:
        self.scheduler, self.dice = scheduler, dice
        self.resharded: Callable[[], None] = lambda: None
        self._stored = stored
        self._shifts: dict[str, int] | None = {} if dice.strikes("digit_more") else None
        self._model = KinesisModel(
            clock_ms=lambda: scheduler.now_ms + skew_ms, storage=_WatchedStorage(self._note)
        )
        self._api = KinesisApi(self._model, throttle=Throttle())
        self.arn = self._model.arn(NAME)
        self.call("CreateStream", {"StreamName": NAME, "ShardCount": shards})

    def call(self, action: str, request: object, *, plan: FaultPlan | None = None) -> Any:
        """Run one action of the API. Raises: KinesisError, ConnectionLost."""
        return self._api.call(action, request, plan=plan or FaultPlan())

    @property
    def shards(self) -> list[Shard]:
        """Every shard there ever was, by index: nothing expires in a world."""
        return list(self._model.find(NAME).map.by_index.values())

    def split(self, rng: random.Random) -> bool:
        """Split an open shard somewhere; False where there are enough."""
        if len(self.shards) >= _MOST_SHARDS:
            return False
        shard = rng.choice([each for each in self.shards if each.is_open])
        at = shard.start_hash + rng.randint(2, (shard.end_hash - shard.start_hash) - 1)
        if rng.random() < 0.5:
            at = (shard.start_hash + shard.end_hash) // 2
        request = {"StreamName": NAME, "ShardToSplit": shard.shard_id, "NewStartingHashKey": str(at)}
        return self._reshard("SplitShard", request)

    def merge(self, rng: random.Random, *, halves: bool) -> bool:
        """Merge two neighbours, or two *halves* of one split; False where there are none."""
        ordered = sorted((each for each in self.shards if each.is_open), key=lambda each: each.start_hash)
        pairs = [
            (low, high)
            for low, high in pairwise(ordered)
            if low.end_hash + 1 == high.start_hash
            and (not halves or (low.parent is not None and low.parent == high.parent))
        ]
        if not pairs or len(self.shards) >= _MOST_SHARDS:
            return False
        low, high = rng.choice(pairs)  # Kinesis takes them in this order only
        request = {
            "StreamName": NAME,
            "ShardToMerge": low.shard_id,
            "AdjacentShardToMerge": high.shard_id,
        }
        return self._reshard("MergeShards", request)

    def call_of_function(self, operation: str, request: Any, /, *, deadline: Deadline) -> Any:  # noqa: ARG002 - it takes no time
        """Answer the function's lineage."""
        if self.dice.strikes("lineage_failed"):
            raise RetryableError(f"{operation}: timed out")
        answer = self.call(operation, dict(request))
        if operation == "DescribeStreamSummary":  # an instant is a number of seconds on the wire
            summary = answer["StreamDescriptionSummary"]
            summary["StreamCreationTimestamp"] = summary["StreamCreationTimestamp"].ms / 1000
        return answer

    def read(self, shard_id: str, iterator: str | None, *, after: int | None) -> Page:
        """Answer GetRecords to the mapping: from *iterator*, or where there is none after a sequence number.

        Raises:
            KinesisError: throttled, expired, or a fault.
        """
        limit = 10_000
        if self.dice.strikes("read_short"):
            limit = self.dice.of("read_short").randint(1, 3)
        if self.dice.strikes("read_failed"):
            code = self.dice.of("read_failed").choice(_READ_CODES)
            raise KinesisError(code, "injected into GetRecords")
        if iterator is None:
            request = {"StreamName": NAME, "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
            if after is not None:
                request |= {
                    "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                    "StartingSequenceNumber": str(after + self._shift(shard_id)),
                }
            iterator = self.call("GetShardIterator", request)["ShardIterator"]
        answer = self.call("GetRecords", {"ShardIterator": iterator, "Limit": limit})
        records = [
            StreamRecord(
                shard_id=shard_id,
                sequence_number=int(item["SequenceNumber"]) - self._shift(shard_id),
                partition_key=item["PartitionKey"],
                data=item["Data"],
                arrival_ms=item["ApproximateArrivalTimestamp"].ms,
            )
            for item in answer["Records"]
        ]
        return Page(records, answer.get("NextShardIterator"), answer["MillisBehindLatest"] > 0)

    def _shift(self, shard_id: str, first: int | None = None) -> int:
        """Return what is taken off a shard's sequence numbers: so much that they soon gain a digit, or nothing.

        AWS promises that they grow, not how long they are; a world whose numbers all have 56 digits would forgive
        whoever compares them as text.
        """
        if self._shifts is None:
            return 0
        if shard_id not in self._shifts and first is not None:
            ahead_ms = self.dice.of("digit_more").choice((1, 500, 3_000, 15_000))
            self._shifts[shard_id] = first + ahead_ms * _TICK - 10**45
        return self._shifts[shard_id]

    def _reshard(self, action: str, request: object) -> bool:
        self.call(action, request)
        self.resharded()
        return True

    def _note(self, shard_index: int, records: Sequence[StoredRecord]) -> None:
        shard = self._model.find(NAME).map.by_index[shard_index]
        for record in records:
            number = shard.space.number(record.counter)
            self._stored(
                StreamRecord(
                    shard_id=shard.shard_id,
                    sequence_number=number - self._shift(shard.shard_id, number),
                    partition_key=record.key.decode(),
                    data=record.data,
                    arrival_ms=arrival_ms(record.counter),
                )
            )


class ProducerClient:
    """What a producer's adapter takes for a boto3 client: the two calls that it makes, and how they fail."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._listed = False

    def list_shards(self, **request: Any) -> Any:
        """Answer ListShards; the first time always, or there would be no producer."""
        first, self._listed = not self._listed, True
        if not first and self._stream.dice.strikes("old_map"):
            raise _client_error(KinesisError("InternalFailure", "injected into ListShards"), "ListShards")
        return self._stream.call("ListShards", request)

    def put_records(self, **request: Any) -> Any:
        """Answer PutRecords, or be overtaken, or fail before or after the write, or arrive later."""
        stream, dice = self._stream, self._stream.dice
        self._wait()
        plan = FaultPlan(
            error=dice.strikes("put_error"),
            lost=dice.strikes("put_lost"),
            entries=self._struck(len(request["Records"])),
        )
        if dice.strikes("put_delayed"):
            late_ms = dice.of("put_delayed").choice((1, 300, 3_000, 20_000))
            stream.scheduler.after(late_ms, lambda: self._arrive(request))
            raise ReadTimeoutError(endpoint_url="kinesis")
        try:
            answer = stream.call("PutRecords", request, plan=plan)
        except ConnectionLost as error:
            raise ReadTimeoutError(endpoint_url="kinesis") from error
        except KinesisError as error:
            raise _client_error(error, "PutRecords") from error
        self._wait()
        return answer

    def _arrive(self, request: Any) -> None:
        try:
            self._stream.call("PutRecords", request)
        except KinesisError:
            return  # nobody waits for the answer

    def _wait(self) -> None:
        dice = self._stream.dice
        if dice.strikes("put_overtaken"):
            self._stream.scheduler.pause(dice.of("put_overtaken").choice((1, 50, 1_000, 5_000)))

    def _struck(self, entries: int) -> dict[int, Any]:
        struck = {}
        for position in range(entries):
            if self._stream.dice.strikes("put_throttled"):
                struck[position] = "ProvisionedThroughputExceededException"
            elif self._stream.dice.strikes("put_internal"):
                struck[position] = "InternalFailure"
        return struck


class _WatchedLog(MemoryLog):
    """A shard's log that says what is appended."""

    def __init__(self, shard_index: int, note: Callable[[int, Sequence[StoredRecord]], None]) -> None:
        super().__init__()
        self._shard_index, self._note = shard_index, note

    def append(self, records: Sequence[StoredRecord]) -> None:
        """Store records in memory."""
        super().append(records)
        self._note(self._shard_index, records)


class _WatchedStorage(MemoryStorage):
    """Storage whose logs are watched."""

    def __init__(self, note: Callable[[int, Sequence[StoredRecord]], None]) -> None:
        super().__init__()
        self._watched: dict[tuple[int, int], _WatchedLog] = {}
        self._note = note

    def open_log(self, stream_number: int, shard_index: int) -> ShardLog:
        """Return the log of a shard."""
        key = (stream_number, shard_index)
        if key not in self._watched:
            self._watched[key] = _WatchedLog(shard_index, self._note)
        return self._watched[key]


def _client_error(error: KinesisError, operation: str) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": error.code, "Message": error.message},
            "ResponseMetadata": {"HTTPStatusCode": error.status},
        },
        operation,
    )
