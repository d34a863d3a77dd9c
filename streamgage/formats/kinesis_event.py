"""The JSON in which Lambda hands Kinesis records to a function, and the answer it expects.

Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html (checked 2026-11-21).
"""

import binascii
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from streamgage.records import StreamRecord


def encode_data(data: bytes) -> str:
    """Return a Kinesis record's data as the event has it: base64."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def encode_event(
    records: Sequence[StreamRecord], *, stream_arn: str, encode_data: Callable[[bytes], str] = encode_data
) -> dict[str, Any]:
    """Return the event that Lambda would pass for *records* of the stream *stream_arn*."""
    region = stream_arn.split(":")[3]
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record.partition_key,
                    "sequenceNumber": str(record.sequence_number),
                    "data": encode_data(record.data),
                    "approximateArrivalTimestamp": record.arrival_ms / 1000,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{record.shard_id}:{record.sequence_number}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::000000000000:role/lambda-role",
                "awsRegion": region,
                "eventSourceARN": stream_arn,
            }
            for record in records
        ]
    }


def decode_event(event: Any) -> list[StreamRecord]:
    """Return the records of a Lambda event, in its order.

    Raises:
        ValueError: it is not an event of a Kinesis stream; a wiring mistake, which no redelivery mends.
    """
    try:
        return [_decode_record(item) for item in event["Records"]]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(
            "not a Kinesis event: is the function's event source mapping on a Kinesis stream? "
            f"({type(error).__name__}: {error})"
        ) from error


def _decode_record(item: Any) -> StreamRecord:
    kinesis = item["kinesis"]
    shard_id, colon, _ = item["eventID"].partition(":")
    if not colon:
        raise ValueError(f"eventID {item['eventID']!r} is not shardId:sequenceNumber")
    partition_key = kinesis["partitionKey"]
    if not isinstance(partition_key, str):
        raise TypeError(f"partitionKey {partition_key!r} is not a text")
    return StreamRecord(
        shard_id=shard_id,
        sequence_number=int(kinesis["sequenceNumber"]),
        partition_key=partition_key,
        data=binascii.a2b_base64(kinesis["data"]),
        arrival_ms=round(float(kinesis["approximateArrivalTimestamp"]) * 1000),
    )


def encode_response(failed: Iterable[int]) -> dict[str, list[dict[str, str]]]:
    """Return the answer that names the *failed* sequence numbers; with none of them, success.

    The key is always there: to Lambda ``{}`` or a misspelt key also means success.
    """
    return {"batchItemFailures": [{"itemIdentifier": str(sequence_number)} for sequence_number in failed]}
