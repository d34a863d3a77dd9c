"""The on-failure destination of an event source mapping: what is sent there, and how.

Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html, and LocalStack's AWS-validated
snapshots for what RecordAgeExceeded leaves out (checked 2026-11-21).
"""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from infra.local.mapping.stream import Discard
from streamgage.errors import ConfigError
from streamgage.formats.kinesis_event import encode_event


def failure_record(
    discard: Discard, *, request_id: str, function_arn: str, stream_arn: str, now_ms: int
) -> dict[str, Any]:
    """Return the invocation record of a discarded batch, as queues and topics get it: without the records."""
    first, last = discard.records[0], discard.records[-1]
    response = {
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": discard.function_error,
        }
    }
    return {
        "requestContext": {
            "requestId": request_id,
            "functionArn": function_arn,
            "condition": discard.condition,
            "approximateInvokeCount": discard.invoke_count,
        },
        # Recorded: a batch that grew too old has no responseContext, whether the function saw it or not.
        **(response if discard.condition == "RetryAttemptsExhausted" else {}),
        "version": "1.0",
        "timestamp": _iso(now_ms),
        "KinesisBatchInfo": {
            "shardId": discard.shard_id,
            "startSequenceNumber": str(first.sequence_number),
            "endSequenceNumber": str(last.sequence_number),
            "approximateArrivalOfFirstRecord": _iso(first.arrival_ms),
            "approximateArrivalOfLastRecord": _iso(last.arrival_ms),
            "batchSize": len(discard.records),
            "streamArn": stream_arn,
        },
    }


def object_key(*, mapping_id: str, shard_id: str, now_ms: int) -> str:
    """Return the S3 key: aws/lambda/<ESM-UUID>/<shardID>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<Random UUID>."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    return f"aws/lambda/{mapping_id}/{shard_id}/{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"


class OnFailure:
    """Sends discarded batches to the queue, topic or bucket *arn*.

    *session* is a boto3 session, *client_settings* what its clients are built with (endpoint, credentials).

    Raises:
        ConfigError: *arn* is none of the three.
    """

    def __init__(self, arn: str, *, session: Any, client_settings: dict[str, Any], mapping_id: str) -> None:
        self._arn = arn
        self._service = arn.split(":")[2] if arn.count(":") >= 5 else ""
        if self._service not in ("sqs", "sns", "s3"):
            raise ConfigError(f"on-failure destination {arn!r} is not the ARN of a queue, topic or bucket")
        self._name = arn.rpartition(":")[2]
        self._client = session.client(self._service, **client_settings)
        self._mapping_id = mapping_id
        self._queue_url: str | None = None

    def deliver(self, record: dict[str, Any], discard: Discard, *, stream_arn: str, now_ms: int) -> None:
        """Send the invocation *record* of *discard*; a bucket gets the records themselves as well.

        Raises:
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: not delivered; try again.
        """
        if self._service == "s3":
            record = {**record, "payload": encode_event(discard.records, stream_arn=stream_arn)}
            key = object_key(mapping_id=self._mapping_id, shard_id=discard.shard_id, now_ms=now_ms)
            self._client.put_object(Bucket=self._name, Key=key, Body=json.dumps(record).encode())
        elif self._service == "sns":
            self._client.publish(TopicArn=self._arn, Message=json.dumps(record))
        else:
            if self._queue_url is None:
                self._queue_url = str(self._client.get_queue_url(QueueName=self._name)["QueueUrl"])
            self._client.send_message(QueueUrl=self._queue_url, MessageBody=json.dumps(record))


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
