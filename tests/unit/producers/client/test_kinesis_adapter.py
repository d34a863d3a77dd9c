"""The adapter with the real boto3 client, its HTTP answered here: botocore's event ``before-send`` is the seam."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from producers.client.batcher import PutEntry
from producers.client.kinesis import BotoKinesis, client_config, connect
from producers.client.ports import PutFailed, PutStored, Throttled
from streamgage.errors import ConfigError, RetryableError
from streamgage.shards import Shard

Reply = tuple[int, Mapping[str, Any] | bytes]
SEQUENCE_NUMBER = 49590338271490256608559692538361571095921575989136588898
ENTRIES = [
    PutEntry("shardId-000000000000", "k", None, b"\x00plain", 8, (), (), 0),
    PutEntry("shardId-000000000001", "é", 2**128 - 1, b"hashed", 8, (), (), 0),
]


class Body:
    """What urllib3 gives as the raw body of a response."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> list[bytes]:
        return [self._content]


class Wire:
    """Answers requests with what a script says, and keeps them."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self.requests: list[dict[str, Any]] = []
        self._replies = list(replies)

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        self.requests.append(json.loads(request.body))
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        status, body = reply
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return AWSResponse(request.url, status, {"Content-Type": "application/x-amz-json-1.1"}, Body(content))


def kinesis(wire: Callable[..., AWSResponse]) -> BotoKinesis:
    client = boto3.client(
        "kinesis",
        region_name="eu-west-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",  # noqa: S106 - nobody's
        config=client_config(1),
    )
    client.meta.events.register("before-send.kinesis.*", wire)
    return BotoKinesis(client, "telemetry")


def test_entries_go_out_and_results_come_in_one_for_one() -> None:
    wire = Wire(
        (
            200,
            {
                "FailedRecordCount": 1,
                "Records": [
                    {"ShardId": "shardId-000000000000", "SequenceNumber": str(SEQUENCE_NUMBER)},
                    {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"},
                ],
            },
        )
    )
    assert kinesis(wire).put_records(ENTRIES) == [
        PutStored("shardId-000000000000", SEQUENCE_NUMBER),
        PutFailed("ProvisionedThroughputExceededException", "Rate exceeded"),
    ]
    assert wire.requests == [
        {
            "StreamName": "telemetry",
            "Records": [
                {"Data": "AHBsYWlu", "PartitionKey": "k"},
                {"Data": "aGFzaGVk", "PartitionKey": "é", "ExplicitHashKey": str(2**128 - 1)},
            ],
        }
    ]


def test_shards_are_listed_page_by_page() -> None:
    def shard(number: int) -> dict[str, Any]:
        return {
            "ShardId": f"shardId-{number:012d}",
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"},
            "SequenceNumberRange": {"StartingSequenceNumber": "1"},
        }

    wire = Wire((200, {"Shards": [shard(0)], "NextToken": "more"}), (200, {"Shards": [shard(1)]}))
    shards = kinesis(wire).list_shards()
    assert list(shards) == [Shard("shardId-000000000000", 0, 9), Shard("shardId-000000000001", 0, 9)]
    assert wire.requests == [{"StreamName": "telemetry"}, {"NextToken": "more"}]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ((400, {"__type": "ProvisionedThroughputExceededException", "message": "slow"}), Throttled),
        ((400, {"__type": "KMSThrottlingException", "message": "slow"}), Throttled),
        ((429, {"__type": "Whatever", "message": "slow"}), Throttled),
        ((500, {"__type": "InternalFailure", "message": "oops"}), RetryableError),
        ((400, {"__type": "InternalFailureException", "message": "oops"}), RetryableError),
        ((503, b"<html>down for a moment</html>"), RetryableError),
        ((200, b"<html>a proxy's own page</html>"), RetryableError),
        ((200, {"FailedRecordCount": 0, "Records": []}), RetryableError),
        (ReadTimeoutError(endpoint_url="http://x"), RetryableError),
        (EndpointConnectionError(endpoint_url="http://x"), RetryableError),
        ((400, {"__type": "ResourceNotFoundException", "message": "no such stream"}), ConfigError),
        ((400, {"__type": "AccessDeniedException", "message": "no"}), ConfigError),
        ((400, {"__type": "UnrecognizedClientException", "message": "who?"}), ConfigError),
        ((400, {"__type": "ValidationException", "message": "1 validation error"}), ConfigError),
        ((400, {"__type": "KMSDisabledException", "message": "disabled"}), ConfigError),
    ],
)
def test_a_failed_request_says_whether_it_may_pass(
    reply: Reply | Exception, expected: type[Exception]
) -> None:
    wire = Wire(reply)
    with pytest.raises(expected, match="telemetry") as caught:
        kinesis(wire).put_records(ENTRIES)
    assert type(caught.value) is expected
    assert len(wire.requests) == 1  # boto3 does not try again by itself


def test_what_connect_cannot_use_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(ConfigError, match="telemetry: You must specify a region"):
        connect("telemetry")
    with pytest.raises(ConfigError, match="not a url"):
        connect("telemetry", endpoint_url="not a url", region="eu-west-1")
