"""Credentials that are fixed, and those of an endpoint, which are refreshed before they expire."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from threading import Event, Thread

import pytest

from processors.awsjson.client import AwsJsonClient
from processors.awsjson.credentials import ContainerCredentials, Credentials, credential_source
from processors.awsjson.endpoint import Endpoint
from processors.awsjson.signing import Signer
from processors.deadline import Deadline
from streamgage.errors import ConfigError, RetryableError
from support.fake_statements import FakeStatements
from support.fakes import PLENTY
from support.lean_server import HANG_UP, SILENCE, Reply, Request, Service, serving

LIFE_S = 3600


class Issuer:
    """An endpoint as SnapStart has it: the n-th answer is key n, valid for an hour."""

    def __init__(self) -> None:
        self.now_s = 1_790_000_000.0
        self.issued = 0
        self.hold: Callable[[], object] = lambda: None

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("authorization") != "basic secret":
            return Reply.of(b"who are you", status=401)
        self.hold()
        self.issued += 1
        expires = datetime.fromtimestamp(self.now_s + LIFE_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Reply.of(
            json.dumps(
                {
                    "AccessKeyId": f"key {self.issued}",
                    "SecretAccessKey": "s",
                    "Token": "t",
                    "Expiration": expires,
                }
            ).encode()
        )


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def service(issuer: Issuer) -> Iterator[Service]:
    with serving(issuer) as started:
        yield started


@pytest.fixture
def source(service: Service, issuer: Issuer) -> ContainerCredentials:
    return ContainerCredentials(
        Endpoint.parse(f"{service.url}/2021-06-01/credentials?a=b"),
        authorization="basic secret",
        now_s=lambda: issuer.now_s,
        spawn=lambda work: work(),  # a refresh ahead of time is over when the call that began it returns
    )


def test_lambdas_own_variables_are_the_credentials() -> None:
    source = credential_source(
        {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}
    )
    assert source(PLENTY) == Credentials("key", "secret", "token")


def test_without_the_variables_the_endpoint_of_snapstart_is_asked(service: Service) -> None:
    source = credential_source(
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{service.url}/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "basic secret",
        }
    )
    with pytest.raises(RetryableError, match="expired"):  # of 2026: asked with the real time of day
        source(PLENTY)
    assert service.requests[0].line == "GET /credentials HTTP/1.1"


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, "no credentials"),
        ({"AWS_ACCESS_KEY_ID": "key"}, "no credentials"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.1.1/"}, "plain http to another machine"),
        (
            {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a\r\nb: c",
            },
            "not fit for a header",
        ),
    ],
)
def test_what_gives_no_credentials_safely_is_refused(environment: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        credential_source(environment)


def test_the_endpoint_is_asked_once_until_shortly_before_the_expiry(
    source: ContainerCredentials, service: Service, issuer: Issuer
) -> None:
    assert {source(PLENTY).access_key for _ in range(10)} == {"key 1"}
    issuer.now_s += LIFE_S - 301
    assert source(PLENTY).access_key == "key 1"
    issuer.now_s += 1
    assert source(PLENTY).access_key == "key 1"  # nobody waits for what is asked ahead of time
    assert source(PLENTY) == Credentials("key 2", "s", "t")
    assert len(service.requests) == 2
    assert service.requests[0].line == "GET /2021-06-01/credentials?a=b HTTP/1.1"


def test_a_refresh_that_fails_keeps_what_is_still_valid(
    source: ContainerCredentials, service: Service, issuer: Issuer
) -> None:
    source(PLENTY)
    issuer.now_s += LIFE_S - 200
    service.script.extend([HANG_UP, Reply.of(b"busy", status=500), Reply.of(b"not JSON")])
    assert source(PLENTY).access_key == "key 1"
    issuer.now_s += 9
    assert source(PLENTY).access_key == "key 1"
    assert len(service.requests) == 4  # it is left alone for ten seconds
    issuer.now_s += 1
    assert source(PLENTY).access_key == "key 1"
    assert source(PLENTY).access_key == "key 2"


@pytest.mark.parametrize(
    "reply",
    [
        HANG_UP,
        Reply.of(b"busy", status=500),
        Reply.of(b"not JSON"),
        Reply.of(b"[]"),
        Reply.of(b'{"AccessKeyId":"k"}'),
        Reply.of(b'{"AccessKeyId":"k","SecretAccessKey":"s","Expiration":"soon"}'),
        Reply.of(b'{"AccessKeyId":"k","SecretAccessKey":"s","Expiration":"2001-01-01T00:00:00Z"}'),
    ],
)
def test_expired_credentials_are_never_used_and_the_endpoint_is_tried_three_times(
    source: ContainerCredentials, service: Service, issuer: Issuer, reply: Reply
) -> None:
    source(PLENTY)
    issuer.now_s += LIFE_S - 30
    service.script.extend([reply, reply, reply, reply, reply])
    with pytest.raises(RetryableError, match="credentials endpoint"):
        source(PLENTY)
    assert source(PLENTY).access_key == "key 2"


def threaded(service: Service, issuer: Issuer, started: list[Thread]) -> ContainerCredentials:
    def spawn(work: Callable[[], None]) -> None:
        started.append(Thread(target=work, daemon=True))
        started[-1].start()

    return ContainerCredentials(
        Endpoint.parse(service.url), authorization="basic secret", now_s=lambda: issuer.now_s, spawn=spawn
    )


def test_nobody_waits_for_a_refresh_that_hangs_while_credentials_are_valid(
    service: Service, issuer: Issuer
) -> None:
    started: list[Thread] = []
    source = threaded(service, issuer, started)
    source(PLENTY)
    issuer.now_s += LIFE_S - 100
    asked, answer = Event(), Event()

    def hold() -> None:
        asked.set()
        answer.wait(10)

    issuer.hold = hold
    assert {source(PLENTY).access_key for _ in range(20)} == {"key 1"}
    assert asked.wait(10)
    assert {source(PLENTY).access_key for _ in range(20)} == {"key 1"}
    answer.set()
    started[-1].join(10)
    assert source(PLENTY).access_key == "key 2"
    assert (len(service.requests), len(started)) == (2, 2)


def test_without_valid_credentials_a_call_waits_for_a_hanging_endpoint_until_its_deadline(
    service: Service, issuer: Issuer
) -> None:
    source = threaded(service, issuer, [])
    service.script.append(SILENCE)
    dynamo = FakeStatements("aggregates")
    with (
        serving(dynamo) as table,
        closing(
            AwsJsonClient(
                "DynamoDB_20120810",
                endpoint=Endpoint.parse(table.url),
                signer=Signer(service="dynamodb", region="eu-central-1"),
                credentials=source,
            )
        ) as client,
        pytest.raises(RetryableError, match="credentials endpoint: no answer in time"),
    ):
        client.call("PutItem", "{}", client.retries(Deadline.after(0.2)))
    assert table.requests == []


def test_threads_without_valid_credentials_wait_for_one_answer(service: Service, issuer: Issuer) -> None:
    source = threaded(service, issuer, [])
    with ThreadPoolExecutor(8) as pool:
        assert {each.access_key for each in pool.map(lambda _: source(PLENTY), range(32))} == {"key 1"}
    assert len(service.requests) == 1
