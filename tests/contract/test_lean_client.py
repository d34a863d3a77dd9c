"""The lean client against a service that misbehaves in every way a network can."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from time import monotonic
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from infra.local.kinesis.tls import server_context
from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.awsjson.connections import Timeouts, tls_context
from processors.awsjson.credentials import Credentials
from processors.awsjson.endpoint import Endpoint
from processors.awsjson.signing import Signer
from processors.deadline import Deadline
from streamgage.errors import ConfigError, RetryableError
from support.lean_server import (
    CREDENTIALS,
    HANG_UP,
    HASTY,
    NOW_S,
    RESET,
    SILENCE,
    THROTTLED,
    FakeTime,
    Reply,
    Request,
    Service,
    client_of,
    serving,
)

OK = Reply.of(b'{"ok":1}')
FULL_JITTER_S = [0.05, 0.1, 0.2, 0.4, 0.5]


# The sources are named where ours stand: processors/awsjson/retry.py.
PASSING = (
    "InternalServerError", "InternalFailure", "ItemCollectionSizeLimitExceededException", "LimitExceededException",
    "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestTimeout",
    "ServiceUnavailable", "Throttling", "ThrottlingException", "TransactionConflictException",
)  # fmt: skip


@dataclass(frozen=True)
class Patient:
    """A client whose calls have all the time of a clock that they could want."""

    client: AwsJsonClient
    clock: Callable[[], float]

    def call(self, operation: str, body: str) -> bytes:
        return self.client.call(operation, body, self.client.retries(Deadline.after(3600, self.clock)))

    def close(self) -> None:
        self.client.close()


def echo(request: Request) -> Reply:
    return Reply.of(request.body)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(echo) as started:
        yield started


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def client(service: Service, time: FakeTime) -> Iterator[Patient]:
    built = Patient(client_of(service, policy=time.policy(), timeouts=HASTY), time.clock)
    yield built
    built.close()


def test_what_arrives_is_what_was_signed(client: Patient, service: Service) -> None:
    client.call("PutItem", '{"größe":"🌊"}')
    (request,) = service.requests
    sent = dict(request.headers)
    signature = sent.pop("authorization")
    for unsigned in ("content-length", "x-amz-date", "x-amz-security-token"):
        sent.pop(unsigned)
    expected = AWSRequest("POST", f"{service.url}/", headers=sent, data=request.body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(NOW_S, UTC))
        boto = BotoCredentials(CREDENTIALS.access_key, CREDENTIALS.secret_key, CREDENTIALS.session_token)
        SigV4Auth(boto, "dynamodb", "eu-central-1").add_auth(expected)
    assert request.line == "POST / HTTP/1.1"
    assert request.headers["x-amz-target"] == "DynamoDB_20120810.PutItem"
    assert request.headers["content-type"] == "application/x-amz-json-1.0"
    assert signature == expected.headers["Authorization"]


def test_calls_in_a_row_share_one_connection(client: Patient, service: Service) -> None:
    for number in range(5):
        assert client.call("PutItem", f"{number}") == b"%d" % number
    assert service.connections == 1


def test_threads_get_their_own_answers_over_a_connection_each_at_most(
    client: Patient, service: Service
) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: client.call("PutItem", f"{number}"), range(400)))
    assert answers == [b"%d" % number for number in range(400)]
    assert service.connections <= 16


@pytest.mark.parametrize(
    "reply",
    [
        Reply((b"HTTP/1.1 200 OK\r\nContent-Le", b'ngth: 8\r\n\r\n{"ok', b'":1}')),
        Reply(
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n", b'{"ok\r\n4\r\n":1}\r\n0\r\n\r\n')
        ),
        Reply((b'HTTP/1.1 200 OK\r\n\r\n{"ok":1}',), close=True),
        Reply((b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\n{"ok":1}',)),
    ],
    ids=["in pieces", "chunked", "until close", "connection: close"],
)
def test_every_way_to_frame_an_answer_is_read(client: Patient, service: Service, reply: Reply) -> None:
    service.script.append(reply)
    assert client.call("PutItem", "{}") == b'{"ok":1}'
    assert client.call("PutItem", "2") == b"2"
    assert len(service.requests) == 2


def test_a_large_answer_is_read_whole(client: Patient, service: Service) -> None:
    body = b"x" * 3_000_000
    service.script.append(Reply.of(body))
    assert client.call("BatchGetItem", "{}") == body


def test_a_kept_connection_that_the_server_closed_is_replaced_without_a_pause(
    client: Patient, service: Service, time: FakeTime
) -> None:
    service.script.append(Reply.of(b"1", close=True))
    assert client.call("PutItem", "{}") == b"1"
    assert service.closed_by_server.wait(10)
    assert client.call("PutItem", "2") == b"2"
    assert (service.connections, time.pauses_s) == (2, [])


@pytest.mark.parametrize("ending", [HANG_UP, RESET], ids=["closed", "reset"])
def test_a_kept_connection_that_ends_while_the_request_is_on_its_way_is_replaced_once(
    client: Patient, service: Service, time: FakeTime, ending: Reply
) -> None:
    client.call("PutItem", "1")
    service.script.append(ending)
    assert client.call("PutItem", "2") == b"2"
    assert ([each.connection for each in service.requests], time.pauses_s) == ([0, 0, 1], [])


def test_a_new_connection_that_ends_early_costs_a_try_and_a_pause(
    client: Patient, service: Service, time: FakeTime
) -> None:
    service.script.extend([HANG_UP, RESET, OK])
    assert client.call("PutItem", "{}") == b'{"ok":1}'
    assert time.pauses_s == FULL_JITTER_S[:2]


@pytest.mark.parametrize("stop", [1, 10, 40, 45])
def test_an_answer_that_ends_early_is_never_taken_for_one(
    client: Patient, service: Service, time: FakeTime, stop: int
) -> None:
    client.call("PutItem", "{}")
    (whole,) = Reply.of(b'{"UnprocessedKeys":{}}').parts
    service.script.extend([Reply((whole[:stop],), close=True), OK])
    assert client.call("PutItem", "{}") == b'{"ok":1}'
    assert time.pauses_s == FULL_JITTER_S[:1]  # bytes had come: not merely a stale connection


def test_a_connection_that_rested_too_long_is_not_used_again(
    client: Patient, service: Service, time: FakeTime
) -> None:
    client.call("PutItem", "{}")
    time.now_s += 59
    client.call("PutItem", "{}")
    time.now_s += 61
    client.call("PutItem", "{}")
    assert [each.connection for each in service.requests] == [0, 0, 1]


def test_an_answer_that_never_comes_is_a_timeout_and_is_tried_again(
    client: Patient, service: Service, time: FakeTime
) -> None:
    client.call("PutItem", "{}")
    service.script.append(SILENCE)
    assert client.call("PutItem", "2") == b"2"
    assert (len(service.requests), time.pauses_s) == (3, FULL_JITTER_S[:1])


def test_the_budget_ends_a_call_whose_every_answer_is_late(service: Service) -> None:
    service.script.extend([SILENCE] * 10)
    policy = FakeTime().policy(budget_s=0.25, sleep=lambda _: None)
    with (
        closing(
            Patient(client_of(service, policy=policy, timeouts=Timeouts(read_s=0.1)), monotonic)
        ) as client,
        pytest.raises(RetryableError, match="timed out"),
    ):
        client.call("PutItem", "{}")
    assert 2 <= len(service.requests) <= 3


def test_no_wait_for_an_answer_lasts_beyond_the_budget(service: Service) -> None:
    service.script.append(SILENCE)
    policy = FakeTime().policy(budget_s=0.1)
    with (
        closing(
            Patient(client_of(service, policy=policy, timeouts=Timeouts(read_s=20)), monotonic)
        ) as client,
        pytest.raises(RetryableError, match="timed out"),
    ):
        client.call("PutItem", "{}")
    assert len(service.requests) == 1


def test_an_answer_that_drips_is_given_up_when_the_budget_is_over(
    client: Patient, service: Service, time: FakeTime
) -> None:
    def drip(_: Reply) -> Reply:
        time.now_s += 2
        return Reply((b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{",))

    service.script.append(drip)
    with pytest.raises(RetryableError, match="no time left"):
        client.call("PutItem", "{}")


@pytest.mark.parametrize(
    "reply",
    [
        *[Reply.error(code) for code in PASSING],
        Reply.error("SomethingNew", status=500),
        Reply.of(b"<html>bad gateway</html>", status=502),
        Reply.of(b"", status=503),
        Reply.of(b"{}", status=429),
        Reply.of(b'{"__type":"ThrottlingException"}', status=400),
    ],
    ids=lambda reply: reply.parts[0][9:12].decode() + reply.parts[0].partition(b"\r\n\r\n")[2][:60].decode(),
)
def test_what_may_pass_is_tried_again_after_a_pause(
    client: Patient, service: Service, time: FakeTime, reply: Reply
) -> None:
    service.script.extend([reply, reply])
    assert client.call("PutItem", "3") == b"3"
    assert time.pauses_s == FULL_JITTER_S[:2]
    assert service.connections == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply.error("ValidationException"), "ValidationException"),
        (Reply.error("AccessDeniedException"), "AccessDeniedException"),
        (Reply.of(b'{"__type":"a#ResourceNotFoundException:http://x","Message":"M"}', status=404),
         "ResourceNotFoundException"),
        (Reply.of(b"<html>", status=403), ""),
        (Reply.of(b"[1]", status=400), ""),
        (Reply.of(b"moved", status=301), ""),
    ],
)  # fmt: skip
def test_what_is_refused_for_good_is_not_tried_again(
    client: Patient, service: Service, reply: Reply, error: str
) -> None:
    service.script.append(reply)
    with pytest.raises(ServiceError) as refused:
        client.call("PutItem", "{}")
    assert (refused.value.error, len(service.requests)) == (error, 1)


def test_tries_are_bounded_and_the_last_failure_is_named(
    client: Patient, service: Service, time: FakeTime
) -> None:
    service.script.extend([THROTTLED] * 20)
    with pytest.raises(RetryableError, match=r"ProvisionedThroughputExceeded.*because.*tried 6 times"):
        client.call("PutItem", "{}")
    assert (len(service.requests), time.pauses_s) == (6, FULL_JITTER_S)


def test_no_pause_ends_beyond_the_budget(service: Service) -> None:
    time = FakeTime()
    service.script.extend([THROTTLED] * 20)
    with (
        closing(Patient(client_of(service, policy=time.policy(budget_s=0.4)), time.clock)) as client,
        pytest.raises(RetryableError),
    ):
        client.call("PutItem", "{}")
    assert (len(service.requests), time.pauses_s) == (4, FULL_JITTER_S[:3])


def test_the_jitter_is_full(service: Service) -> None:
    time, numbers = FakeTime(), iter([0.0, 0.5, 0.25])
    service.script.extend([THROTTLED] * 3)
    with closing(
        Patient(client_of(service, policy=time.policy(random=lambda: next(numbers))), time.clock)
    ) as client:
        client.call("PutItem", "{}")
    assert time.pauses_s == [0.0, 0.05, 0.05]


def test_a_service_that_is_not_there_is_retryable(time: FakeTime) -> None:
    with serving(echo) as gone:
        client = Patient(client_of(gone, policy=time.policy()), time.clock)
    with pytest.raises(RetryableError, match="refused"):
        client.call("PutItem", "{}")
    assert time.pauses_s == FULL_JITTER_S


def test_each_try_is_signed_anew_with_the_credentials_of_the_moment(service: Service, time: FakeTime) -> None:
    tokens = iter(["first", "second"])
    client = AwsJsonClient(
        "DynamoDB_20120810",
        endpoint=Endpoint.parse(service.url),
        signer=Signer(service="dynamodb", region="eu-central-1"),
        credentials=lambda _: Credentials("key", "secret", next(tokens)),
        policy=time.policy(),
        now_s=lambda: NOW_S + time.now_s,
    )
    service.script.append(THROTTLED)
    time.now_s = 0.97
    with closing(client):
        client.call("PutItem", "{}", client.retries(time.deadline()))
    first, second = (each.headers for each in service.requests)
    assert (first["x-amz-security-token"], second["x-amz-security-token"]) == ("first", "second")
    assert first["x-amz-date"] < second["x-amz-date"]
    assert first["authorization"] != second["authorization"]


def test_threads_that_find_all_connections_stale_all_get_through(client: Patient, service: Service) -> None:
    barrier = Barrier(8)

    def call(number: int) -> bytes:
        barrier.wait(10)
        return client.call("PutItem", f"{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(8)))
        service.script.extend([HANG_UP] * 4)
        assert list(pool.map(call, range(8))) == [b"%d" % number for number in range(8)]


class TestTls:
    """The certificate is verified, by the runtime's roots or by AWS_CA_BUNDLE."""

    @pytest.fixture
    def service(self, tmp_path: Path) -> Iterator[Service]:
        with serving(echo, server_context(tmp_path)) as started:
            yield started

    def call(self, service: Service, environment: dict[str, str], **options: Any) -> bytes:
        with closing(
            Patient(client_of(service, tls=tls_context(environment), **options), monotonic)
        ) as client:
            client.call("PutItem", "1")
            return client.call("PutItem", "2")

    def test_a_trusted_certificate_is_accepted_and_its_connection_kept(
        self, service: Service, tmp_path: Path
    ) -> None:
        assert self.call(service, {"AWS_CA_BUNDLE": str(tmp_path / "cert.pem")}) == b"2"
        assert service.connections == 1

    def test_a_stranger_is_sent_nothing(self, service: Service) -> None:
        with pytest.raises(ConfigError, match="not trusted: self-signed"):
            self.call(service, {})
        assert service.requests == []

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of this machine")
    def test_a_trusted_certificate_of_another_host_is_sent_nothing(self, tmp_path: Path) -> None:
        with (
            serving(echo, server_context(tmp_path), "127.0.0.2") as service,
            pytest.raises(ConfigError, match="not trusted: IP address mismatch"),
        ):
            self.call(service, {"AWS_CA_BUNDLE": str(tmp_path / "cert.pem")})
        assert service.requests == []

    def test_a_kept_connection_that_ended_is_replaced(self, service: Service, tmp_path: Path) -> None:
        service.script.extend([Reply.of(b"1"), HANG_UP])
        time = FakeTime()
        environment = {"AWS_CA_BUNDLE": str(tmp_path / "cert.pem")}
        assert self.call(service, environment, policy=time.policy()) == b"2"
        assert (service.connections, time.pauses_s) == (2, [])
