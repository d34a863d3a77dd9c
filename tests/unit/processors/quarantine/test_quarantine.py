import json
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from streamgage.fold.folder import Poison

from conftest import ClientFactory
from processors.quarantine.sqs import SqsQuarantine, decode_poison, encode_poison
from streamgage.errors import RetryableError
from streamgage.limits import SQS_BATCH_BYTES, SQS_BATCH_ENTRIES
from support.fakes import PLENTY


def poison(data: bytes = b"junk", *, sub: int | None = 3, key: str = "k", reason: str = "bad") -> Poison:
    return Poison("shardId-0", 10**55, sub, key, 1_700_000_000_000, data, "undecodable", reason)


class FakeSqs:
    """SendMessageBatch with its limits; it refuses entries, or whole calls, as it is told to."""

    def __init__(self, *failures: Exception | Sequence[int]) -> None:
        self.failures = list(failures)
        self.bodies: list[str] = []
        self.batches: list[int] = []

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: ARG002, N803 - AWS's names
        assert 1 <= len(Entries) <= SQS_BATCH_ENTRIES
        assert sum(len(each["MessageBody"].encode()) for each in Entries) <= SQS_BATCH_BYTES
        assert len({each["Id"] for each in Entries}) == len(Entries)
        failure = self.failures.pop(0) if self.failures else ()
        if isinstance(failure, Exception):
            raise failure
        self.batches.append(len(Entries))
        refused = [Entries[at]["Id"] for at in failure]
        self.bodies += [each["MessageBody"] for each in Entries if each["Id"] not in refused]
        return {"Failed": [{"Id": each, "SenderFault": False, "Code": "InternalError"} for each in refused]}


def client_error(status: int, code: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}},
        "SendMessageBatch",
    )


def sent(client: FakeSqs, *records: Poison) -> list[dict[str, Any]]:
    SqsQuarantine(client, "http://127.0.0.1/q").send(records, deadline=PLENTY)
    return [json.loads(body) for body in client.bodies]


def test_a_message_says_what_where_and_why() -> None:
    (message,) = sent(FakeSqs(), poison(b"\x00\xff"))
    assert message == {
        "id": f"shardId-0:{10**55}:3",
        "code": "undecodable",
        "reason": "bad",
        "shard_id": "shardId-0",
        "sequence_number": str(10**55),
        "sub_sequence_number": 3,
        "partition_key": "k",
        "arrival_ms": 1_700_000_000_000,
        "data": "AP8=",
    }
    assert json.loads(next(encode_poison(poison(sub=None))))["id"] == f"shardId-0:{10**55}"


@pytest.mark.parametrize("size", [0, 1, 144 * 1024, 144 * 1024 + 1, 1024 * 1024, 10 * 1024 * 1024])
@pytest.mark.parametrize("random", [False, True], ids=["compressible", "random"])
def test_a_payload_of_any_size_comes_back(size: int, random: bool) -> None:  # noqa: FBT001 - a parameter
    data = Random(size).randbytes(size) if random else b"a" * size
    messages = sent(FakeSqs(), poison(data))
    assert decode_poison(reversed(messages)) == data
    assert len({each["id"] for each in messages}) == 1
    assert [each.get("part", 0) for each in messages] == list(range(len(messages)))
    assert (len(messages) > 1) == (random and size > 144 * 1024)


def test_batches_keep_to_ten_messages_and_256_kib() -> None:
    small, large = FakeSqs(), FakeSqs()
    sent(small, *(poison() for _ in range(23)))
    assert small.batches == [10, 10, 3]
    sent(large, *(poison(b"x" * 100_000) for _ in range(4)))
    assert large.batches == [1, 1, 1, 1]


def test_nothing_that_a_sender_makes_up_outgrows_a_message() -> None:
    hostile = poison(Random(1).randbytes(144 * 1024), key="🌊" * 300_000, reason="🌊" * 300_000)
    (message,) = sent(FakeSqs(), hostile)
    assert message["partition_key"] == "🌊" * 256
    assert decode_poison([message]) == hostile.data


def test_without_poison_nothing_is_sent() -> None:
    client = FakeSqs()
    assert sent(client) == []
    assert client.batches == []


def test_only_refused_messages_are_sent_again() -> None:
    client = FakeSqs([1, 2], [1])
    messages = sent(client, *(poison(bytes((n,))) for n in range(4)))
    assert client.batches == [4, 2, 1]
    assert sorted(each["data"] for each in messages) == ["AA==", "AQ==", "Ag==", "Aw=="]


@pytest.mark.parametrize(
    "failure",
    [
        client_error(503, "ServiceUnavailable"),
        client_error(400, "ThrottlingException"),
        client_error(403, "RequestThrottled"),
        EndpointConnectionError(endpoint_url="http://127.0.0.1"),
    ],
    ids=["503", "throttled", "request throttled", "no connection"],
)
def test_what_may_pass_is_tried_again_and_then_reported(failure: Exception) -> None:
    assert len(sent(FakeSqs(failure, failure), poison())) == 1
    with pytest.raises(RetryableError, match="1 poison records are not in the quarantine queue"):
        sent(FakeSqs(*[failure] * 4), poison())


def test_messages_refused_again_and_again_are_reported() -> None:
    with pytest.raises(RetryableError, match=r"2 poison records .* InternalError"):
        sent(FakeSqs([0, 1], [0, 1], [0, 1], [0, 1]), poison(), poison())


def test_a_queue_that_is_not_there_is_a_mistake_in_the_wiring() -> None:
    with pytest.raises(ClientError):
        sent(FakeSqs(client_error(400, "AWS.SimpleQueueService.NonExistentQueue")), poison())


def test_moto_takes_the_largest_batches(moto: ClientFactory) -> None:
    client = moto("sqs")
    url = client.create_queue(QueueName="quarantine")["QueueUrl"]
    data = Random(2).randbytes(1024 * 1024)
    SqsQuarantine(client, url).send([poison(data), *(poison() for _ in range(12))], deadline=PLENTY)
    messages = []
    while batch := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        messages += [json.loads(each["Body"]) for each in batch]
    assert decode_poison(each for each in messages if "part" in each) == data
    assert len(messages) == 8 + 12
