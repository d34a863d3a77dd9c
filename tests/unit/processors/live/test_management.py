"""Messages to connections: signed as botocore signs them, and what becomes of each answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.awsjson.connections import Connections
from processors.awsjson.endpoint import Endpoint
from processors.awsjson.retry import Retries
from processors.awsjson.signing import Signer
from processors.live.management import Management
from streamgage.errors import ConfigError, RetryableError
from support.lean_server import (
    CREDENTIALS,
    HANG_UP,
    NOW_S,
    PATIENT,
    FakeTime,
    Reply,
    Request,
    Service,
    serving,
)

TIME = FakeTime()
ID = "L0SM9cOFvHcCIhw="
IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
Answer = Callable[[Request], Reply]


def management_of(url: str) -> Management:
    endpoint = Endpoint.parse(url)
    return Management(
        endpoint,
        signer=Signer(service="execute-api", region="eu-central-1"),
        credentials=lambda _: CREDENTIALS,
        connections=Connections(endpoint, tls=None, timeouts=PATIENT),
        now_s=lambda: NOW_S,
    )


def answering(status: int) -> Answer:
    return lambda _: Reply.of(b"", status=status)


@contextmanager
def served(answer: Answer) -> Iterator[tuple[Management, Service]]:
    with serving(answer) as service:
        management = management_of(f"{service.url}/live")
        yield management, service
        management.close()


@settings(max_examples=40, deadline=None)
@given(
    connection_id=IDS, stage=st.sampled_from(["", "/", "/live", "/a-key_0~/"]), body=st.binary(max_size=50)
)
def test_a_message_is_signed_as_botocore_signs_it(connection_id: str, stage: str, body: bytes) -> None:
    management = management_of(f"http://127.0.0.1:8080{stage}")
    sent = management._request(
        f"{stage.rstrip('/')}/@connections/{quote(connection_id, safe='')}", body, started()
    )
    head, _, left = sent.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    ours = dict(each.split(": ", 1) for each in headers)
    path = line.split(" ")[1]
    assert left == body
    assert unquote(path) == f"{stage.rstrip('/')}/@connections/{connection_id}"
    request = AWSRequest(
        "POST",
        f"http://127.0.0.1:8080{path}",
        headers={"host": ours["host"], "content-type": ours["content-type"]},
        data=body,
    )
    boto = BotoCredentials(CREDENTIALS.access_key, CREDENTIALS.secret_key, CREDENTIALS.session_token)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(NOW_S, UTC))
        SigV4Auth(boto, "execute-api", "eu-central-1").add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]


def started(seconds: float = 3600) -> Retries:
    return TIME.policy().start(TIME.deadline(seconds))


@pytest.mark.parametrize(
    ("status", "became"), [(200, "sent"), (410, "gone"), (403, "refused"), (413, "refused"), (404, "refused")]
)
def test_what_an_answer_means(status: int, became: str) -> None:
    with served(answering(status)) as (management, service):
        assert management.post(ID, b"{}", started()) == became
    assert [(each.line, each.body) for each in service.requests] == [
        ("POST /live/@connections/L0SM9cOFvHcCIhw%3D HTTP/1.1", b"{}")
    ]


@pytest.mark.parametrize("first", [Reply.of(b"", status=429), Reply.of(b"", status=503), HANG_UP])
def test_what_may_pass_is_tried_again(first: Reply) -> None:
    with served(answering(200)) as (management, service):
        service.script.append(first)
        assert management.post(ID, b"{}", started()) == "sent"
    assert len(service.requests) == 2


def test_what_does_not_pass_is_given_up_in_time() -> None:
    with served(answering(500)) as (management, _), pytest.raises(RetryableError, match="HTTP 500"):
        management.post(ID, b"{}", started())


def test_nothing_is_sent_after_the_deadline() -> None:
    with served(answering(200)) as (management, service), pytest.raises(RetryableError, match="no time left"):
        management.post(ID, b"{}", started(0))
    assert not service.requests


def test_an_endpoint_with_a_query_is_refused() -> None:
    with pytest.raises(ConfigError, match="has a query"):
        management_of("http://127.0.0.1:8080/live?x=1")
