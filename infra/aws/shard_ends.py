"""How far each shard of a stream on AWS is applied: what the local mapping tells of itself, found out from outside.

Lambda tells nobody its checkpoint. The progress item of a shard says up to where everything is applied; and where a read
from there finds nothing, everything that arrived before the read is.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.stacks import aws_errors
from processors.query.progress import ShardProgress

_READS = 5  # of a shard: GetRecords may find nothing and not be at the end; 5 a second is also its limit
_PASSING = {"ProvisionedThroughputExceededException", "ExpiredIteratorException"}
# A fence that the stream holds no more: all that it holds comes after it.
_TRIMMED = {"InvalidArgumentException", "ResourceNotFoundException"}


def shard_ends(
    kinesis: Any,
    stream: str,
    progress: Iterable[ShardProgress],
    *,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> dict[str, dict[str, Any]]:
    """Return of each shard what mapping_status.py says of one; None is what only a mapping knows.

    It takes one or two reads a shard, of one record at most. With lanes by partition key a shard has no progress item, so
    it counts as caught up only where the stream holds nothing of it.

    Raises:
        ConfigError: no such stream, or not allowed. RetryableError: Kinesis does not answer.
    """
    fences = {each.shard_id: each.sequence_number for each in progress}
    with aws_errors(f"shards of stream {stream}"):
        return {
            each["ShardId"]: _end(kinesis, stream, each, fences.get(each["ShardId"]), now_ms)
            for each in list(every_shard(kinesis, stream))
        }


def every_shard(kinesis: Any, stream: str) -> Iterator[dict[str, Any]]:
    """Yield what ListShards says of each shard, 1,000 a page.

    botocore's paginator names the stream beside the NextToken, which Kinesis refuses: it never comes to a second page.
    """
    request = {"StreamName": stream}
    while True:
        answer = kinesis.list_shards(**request)
        yield from answer["Shards"]
        if not answer.get("NextToken"):
            return
        request = {"NextToken": answer["NextToken"]}


def _end(
    kinesis: Any, stream: str, shard: Mapping[str, Any], fence: int | None, now_ms: Callable[[], int]
) -> dict[str, Any]:
    end: dict[str, Any] = {
        "checkpoint": None if fence is None else str(fence),
        "finished": False,
        "caught_up": False,
        "behind_ms": None,
        "undone": None,
        "read_started_ms": 0,
        "records_read": None,
    }
    closed = "EndingSequenceNumber" in shard["SequenceNumberRange"]
    try:
        iterator = _iterator(kinesis, stream, shard["ShardId"], fence)
        for _ in range(_READS):
            started_ms = now_ms()
            answer = kinesis.get_records(ShardIterator=iterator, Limit=1)
            if answer["Records"]:
                arrived_ms = round(answer["Records"][0]["ApproximateArrivalTimestamp"].timestamp() * 1000)
                return {**end, "behind_ms": max(started_ms - arrived_ms, 0)}
            iterator = answer.get("NextShardIterator")
            if iterator is None:
                return {
                    **end,
                    "finished": closed,
                    "caught_up": True,
                    "behind_ms": 0,
                    "read_started_ms": started_ms,
                }
            if answer["MillisBehindLatest"] == 0:
                return {**end, "caught_up": True, "behind_ms": 0, "read_started_ms": started_ms}
    except ClientError as error:
        if error.response["Error"]["Code"] not in _PASSING:
            raise
    return end


def _iterator(kinesis: Any, stream: str, shard_id: str, fence: int | None) -> Any:
    place = {"StreamName": stream, "ShardId": shard_id}
    if fence is not None:
        try:
            return kinesis.get_shard_iterator(
                **place, ShardIteratorType="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=str(fence)
            )["ShardIterator"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in _TRIMMED:
                raise
    return kinesis.get_shard_iterator(**place, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
