"""What PutRecords answers, record by record."""

from collections.abc import Mapping, Sequence
from typing import Any

from producers.client.ports import PutFailed, PutResult, PutStored
from streamgage.errors import RetryableError


def results_of(answer: Mapping[str, Any], entries: int, stream_name: str) -> Sequence[PutResult]:
    """Return the results of a request with so many *entries*.

    Raises:
        RetryableError: there are more or fewer. botocore takes a proxy's page with status 200 for an empty answer.
    """
    items = answer.get("Records") or ()
    if len(items) != entries:
        raise RetryableError(
            f"put_records on stream {stream_name}: {len(items)} results for {entries} records"
        )
    return [_decode_result(item) for item in items]


def _decode_result(item: Mapping[str, Any]) -> PutResult:
    if item.get("ErrorCode") or not (item.get("ShardId") and item.get("SequenceNumber")):
        return PutFailed(item.get("ErrorCode") or "NoSequenceNumber", item.get("ErrorMessage") or "")
    return PutStored(item["ShardId"], int(item["SequenceNumber"]))
