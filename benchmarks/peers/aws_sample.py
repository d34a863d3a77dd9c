"""Peer: the way of the AWS samples: a Kinesis record an event, base64 and JSON, one UpdateItem a record.

Written as the Kinesis tutorial of the Lambda developer guide decodes and as the DynamoDB developer guide counts (boto3's
Table, ``ADD``). A counter of this kind keeps no maximum, and one UpdateItem keeps one window: so it is asked for less
than the others, count and sum of the windows of one minute.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

from benchmarks.events import Totals, total_key
from streamgage.formats.avro import Event

WINDOW_MS = 60_000
_SEPARATOR = "|"


class Answered:
    """The body of an HTTP answer that never travelled."""

    def stream(self) -> list[bytes]:
        """Return its bytes, as botocore reads them."""
        return [b"{}"]


class SampleFunction:
    """The function, its DynamoDB table answered inside botocore: signed, serialised and parsed, not sent."""

    def __init__(self) -> None:
        session = boto3.Session(
            region_name="eu-central-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="benchmark",  # noqa: S106 - signs requests that nobody receives
        )
        resource = session.resource("dynamodb")
        self._table = resource.Table("aggregates")
        self.requests: list[bytes] = []
        self._table.meta.client.meta.events.register("before-send.dynamodb.UpdateItem", self._answer)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        self.requests.append(request.body)
        return AWSResponse(request.url, 200, {"content-type": "application/x-amz-json-1.0"}, Answered())

    def handle(self, event: Mapping[str, Any]) -> None:
        """Handle an invocation."""
        for record in event["Records"]:
            payload = json.loads(base64.b64decode(record["kinesis"]["data"]), parse_float=Decimal)
            start_ms = payload["ts"] - payload["ts"] % WINDOW_MS
            self._table.update_item(
                Key={
                    "pk": payload["device_id"] + _SEPARATOR + payload["metric"],
                    "sk": start_ms,
                },
                UpdateExpression="ADD #count :one, #sum :value",
                ExpressionAttributeNames={"#count": "count", "#sum": "sum"},
                ExpressionAttributeValues={":one": 1, ":value": payload["value"]},
            )


def json_event(events: Sequence[Event], *, stream_arn: str, arrival_ms: int) -> dict[str, Any]:
    """Return *events* as Lambda hands over plain Kinesis records of JSON."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": event["device_id"],
                    "sequenceNumber": str(10**55 + number),
                    "data": base64.b64encode(json.dumps(event).encode()).decode("ascii"),
                    "approximateArrivalTimestamp": arrival_ms / 1000,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-000000000000:{10**55 + number}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::000000000000:role/lambda-role",
                "awsRegion": "eu-central-1",
                "eventSourceARN": stream_arn,
            }
            for number, event in enumerate(events)
        ]
    }


def totals_of(requests: Sequence[bytes]) -> dict[str, tuple[int, float]]:
    """Return count and sum of what the table would hold after *requests*."""
    found: dict[str, tuple[int, Decimal]] = {}
    for body in requests:
        request = json.loads(body)
        device_id, metric = request["Key"]["pk"]["S"].split(_SEPARATOR)
        key = total_key("1m", int(request["Key"]["sk"]["N"]), device_id, metric)
        count, total = found.get(key, (0, Decimal(0)))
        added = request["ExpressionAttributeValues"]
        found[key] = count + int(added[":one"]["N"]), total + Decimal(added[":value"]["N"])
    return {key: (count, float(total)) for key, (count, total) in found.items()}


def with_maxima(found: Mapping[str, tuple[int, float]], expected: Totals) -> Totals:
    """Return *found* with the maxima that it does not keep taken from *expected*, so that the rest can be compared."""
    return {key: (*total, expected[key][2] if key in expected else 0.0) for key, total in found.items()}
