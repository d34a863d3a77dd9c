"""A mapping in one process, as fast as it can: our Kinesis in memory, the mapping's decisions, a function in Python.

What a real mapping process does with threads, sandboxes and sockets is done here in a loop, on a clock that the test owns.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

from infra.local.function.outcome import Answered, Failed, Outcome
from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.fields import Instant
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.storage import MemoryStorage
from infra.local.mapping.config import from_properties
from infra.local.mapping.destinations import failure_record
from infra.local.mapping.payload import encode_payload
from infra.local.mapping.stream import Discard, Invocation, ShardInfo, StreamMapping
from streamgage.records import StreamRecord

FUNCTION_ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
START_MS = 1_657_720_081_000
Function = Callable[[dict[str, Any]], Any]


class Stage:
    """One stream of one shard; ``run`` maps it to a function until nothing is left to do."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        model = KinesisModel(clock_ms=lambda: self.now_ms, storage=MemoryStorage())
        self.arn = model.arn("s")
        self._api = KinesisApi(model)
        self._call("CreateStream", StreamName="s", ShardCount=1)

    def put(self, *records: tuple[str, bytes]) -> None:
        """Put records, each a partition key and its data."""
        entries = [{"PartitionKey": key, "Data": data} for key, data in records]
        assert self._call("PutRecords", StreamName="s", Records=entries)["FailedRecordCount"] == 0

    def run(
        self, properties: dict[str, Any], function: Function
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the events that *function* got, and the records of failure that the destination got.

        Where *function* raises, the invocation failed; else what it returns is its answer's JSON.
        """
        mapping = StreamMapping(
            from_properties({"StartingPosition": "TRIM_HORIZON", **properties}), stream_arn=self.arn
        )
        events: list[dict[str, Any]] = []
        failures: list[dict[str, Any]] = []
        shards = self._call("ListShards", StreamName="s")["Shards"]
        mapping.update([ShardInfo(shard["ShardId"]) for shard in shards], self.now_ms)
        for shard_id in mapping.readable():
            mapping.feed(shard_id, self._records(shard_id), self.now_ms)
        while (wake_ms := mapping.next_wake_ms()) is not None:
            self.now_ms = max(self.now_ms, wake_ms)
            for work in mapping.due(self.now_ms):
                if isinstance(work, Discard):
                    failures.append(self._failure(work))
                    mapping.discarded(work.discard_id)
                else:
                    mapping.settle(work.invocation_id, self._invoke(work, function, events), self.now_ms)
        assert {mapping.undone(shard["ShardId"]) for shard in shards} == {0}
        self.checkpoint = mapping.checkpoints()[shards[0]["ShardId"]].sequence
        self.last = self._records(shards[0]["ShardId"])[-1].sequence_number
        return events, failures

    def _invoke(self, work: Invocation, function: Function, events: list[dict[str, Any]]) -> Outcome:
        event = json.loads(encode_payload(work.records, stream_arn=self.arn))
        events.append(event)
        try:
            return Answered(json.dumps(function(event)).encode())
        except Exception as error:  # noqa: BLE001 - a function may raise anything: that is how it fails
            return Failed(str(error))

    def _failure(self, discard: Discard) -> dict[str, Any]:
        return failure_record(
            discard,
            request_id="r",
            function_arn=FUNCTION_ARN,
            stream_arn=self.arn,
            now_ms=self.now_ms,
        )

    def _records(self, shard_id: str) -> list[StreamRecord]:
        request = {"StreamName": "s", "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
        iterator = self._call("GetShardIterator", **request)["ShardIterator"]
        found = self._call("GetRecords", ShardIterator=iterator)["Records"]
        return [
            StreamRecord(shard_id, int(each["SequenceNumber"]), each["PartitionKey"], each["Data"], _ms(each))
            for each in found
        ]

    def _call(self, action: str, **request: Any) -> Any:
        return self._api.call(action, request)


def data_of(event: dict[str, Any]) -> list[bytes]:
    """Return the data of an event's records."""
    return [base64.b64decode(record["kinesis"]["data"]) for record in event["Records"]]


def _ms(record: dict[str, Any]) -> int:
    instant = record["ApproximateArrivalTimestamp"]
    assert isinstance(instant, Instant)
    return instant.ms
