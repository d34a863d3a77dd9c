"""Credentials that end, are renewed, or cannot be had for a moment: what was put waits for the next ones, within bounds."""

import random
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import (
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoCredentialsError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from producers.client.core import CoreConfig, ProducerCore
from producers.client.kinesis import BotoKinesis, client_config
from producers.client.outbox import RetryConfig
from producers.client.ports import CredentialsRefused
from streamgage.errors import ConfigError, DeliveryError, RetryableError
from streamgage.records import UserRecord
from unit.producers.client.test_client import FakeClock
from unit.producers.client.test_kinesis_adapter import ENTRIES, Reply, Wire, kinesis

SHARDS = {
    "Shards": [
        {
            "ShardId": "s",
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)},
            "SequenceNumberRange": {"StartingSequenceNumber": "1"},
        }
    ]
}
STORED = {"FailedRecordCount": 0, "Records": [{"ShardId": "s", "SequenceNumber": "1"}]}
OLD = "Signature expired: 20260204T205323Z is now earlier than 20260204T210000Z (20260204T210500Z - 5 min.)"
EARLY = "Signature not yet current: 20260204T211323Z is still later than 20260204T210500Z"
WRONG = "The request signature we calculated does not match the signature you provided."


def refused(code: str, message: str = "no", status: int = 400) -> Reply:
    return status, {"__type": code, "message": message}


@pytest.mark.parametrize(
    "reply",
    [
        refused("ExpiredTokenException", "The security token included in the request is expired"),
        refused("ExpiredToken", status=403),
        refused("RequestExpired"),
        refused("RequestTimeTooSkewed", status=403),
        refused("TokenRefreshRequired"),
        refused("InvalidSignatureException", OLD),
        refused("InvalidSignatureException", EARLY),
        refused("SignatureDoesNotMatch", OLD, 403),
        CredentialRetrievalError(provider="custom-process", error_msg="exit 1"),
        MetadataRetrievalError(error_msg="timed out"),
        TokenRetrievalError(provider="sso", error_msg="timed out"),
        RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
    ],
)
def test_what_new_credentials_or_a_moment_may_mend_is_tried_again(reply: Reply | Exception) -> None:
    with pytest.raises(CredentialsRefused, match="put_records on stream telemetry"):
        kinesis(Wire(reply)).put_records(ENTRIES)


UNSURE = [
    refused("UnrecognizedClientException", "The security token included in the request is invalid."),
    refused("InvalidClientTokenId", status=403),
    NoCredentialsError(),
    UnauthorizedSSOTokenError(),
]


@pytest.mark.parametrize("reply", UNSURE)
def test_keys_that_never_worked_are_a_mistake_and_those_that_did_are_being_changed(
    reply: Reply | Exception,
) -> None:
    with pytest.raises(ConfigError):
        kinesis(Wire(reply)).put_records(ENTRIES)
    port = kinesis(Wire((200, SHARDS), reply))
    port.list_shards()
    with pytest.raises(CredentialsRefused):
        port.put_records(ENTRIES)


@pytest.mark.parametrize(
    "reply", [refused("AccessDeniedException"), refused("InvalidSignatureException", WRONG)]
)
def test_a_right_that_is_missing_and_a_wrong_signature_are_for_a_person(reply: Reply) -> None:
    port = kinesis(Wire((200, SHARDS), reply))
    port.list_shards()
    with pytest.raises(ConfigError):
        port.put_records(ENTRIES)


def test_another_runtime_error_is_a_bug_and_goes_on_its_way() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        kinesis(Wire(RuntimeError("a bug"))).put_records(ENTRIES)


class Guard:
    """Kinesis that takes one key at a time; keeps the keys that it saw."""

    def __init__(self, valid: str) -> None:
        self.valid = valid
        self.seen: list[str] = []

    def __call__(self, request: AWSPreparedRequest, **more: Any) -> AWSResponse:
        header = request.headers["Authorization"]
        key = (
            (header if isinstance(header, str) else header.decode()).partition("Credential=")[2].split("/")[0]
        )
        self.seen.append(key)
        target = str(request.headers["X-Amz-Target"])
        reply: Reply = 200, SHARDS if "ListShards" in target else STORED
        if key != self.valid:
            reply = refused("ExpiredTokenException")
        return Wire(reply)(request, **more)


def a_port(guard: Guard, keys: Iterator[str]) -> BotoKinesis:
    def make_client() -> Any:
        client = boto3.Session().client(
            "kinesis",
            region_name="eu-west-1",
            aws_access_key_id=next(keys),
            aws_secret_access_key="b",  # noqa: S106 - nobody's
            config=client_config(1),
        )
        client.meta.events.register("before-send.kinesis.*", guard)
        return client

    return BotoKinesis(make_client(), "telemetry", make_client=make_client)


def a_producer(port: BotoKinesis, clock: FakeClock) -> ProducerCore:
    retries = RetryConfig(max_attempts=1_000, timeout_ms=60_000, base_ms=4_000)
    return ProducerCore(
        port, clock=clock, rng=random.Random(2), config=CoreConfig(concurrency=1, retries=retries)
    )


def test_what_was_put_is_sent_with_the_credentials_that_are_found_next() -> None:
    guard, clock = Guard("one"), FakeClock()
    producer = a_producer(a_port(guard, iter(["one", "one", "two"])), clock)
    waits: list[str] = []
    producer.tell_waiting(waits.append)
    guard.valid = "two"
    producer.put(UserRecord("k", b"x"))
    producer.flush()
    assert guard.seen == ["one", "one", "one", "two"]
    assert producer.stats.events_stored == 1
    assert waits == ["credentials", "credentials"]
    assert producer.waiting_for is None


def test_credentials_that_stay_expired_are_waited_for_as_long_as_the_retries_last_and_no_longer() -> None:
    guard, clock = Guard("one"), FakeClock()
    producer = a_producer(a_port(guard, iter(["one"] * 1_000)), clock)
    guard.valid = "another"
    producer.put(UserRecord("k", b"x"))
    with pytest.raises(
        DeliveryError,
        match=r"the last failed with credentials: .*ExpiredTokenException.*tried \d+ times in 6\d\.\d s\)",
    ):
        producer.flush()
    assert 60_000 <= clock.time_ms <= 66_000


def test_credentials_that_never_worked_are_not_waited_for_long() -> None:
    clock = FakeClock()
    with pytest.raises(RetryableError, match="ExpiredTokenException"):
        a_producer(a_port(Guard("another"), iter(["one"] * 1_000)), clock)
    assert 10_000 <= clock.time_ms <= 16_000


def test_a_forked_child_makes_a_client_of_its_own_when_it_first_calls() -> None:
    guard, keys = Guard("one"), iter(["one", "two"])
    port = a_port(guard, keys)
    port.list_shards()
    port.renew_in_child()
    guard.valid = "two"
    port.list_shards()
    assert guard.seen == ["one", "two"]
    assert next(keys, None) is None
