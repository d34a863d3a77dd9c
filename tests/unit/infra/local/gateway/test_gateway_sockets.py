"""The WebSocket API over a pool that is a fake: which route a message takes, what is sent back, and who may speak to whom."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.local.function.outcome import Answered, Failed, NotInvoked, Outcome
from infra.local.function.pool import Invoked
from infra.local.gateway import sockets
from infra.local.gateway.api import read_api
from infra.local.gateway.gateway import Gateway
from infra.local.gateway.page import Page
from infra.local.gateway.socket_api import read_socket_api
from infra.local.gateway.sockets import SocketFace
from infra.local.http.guard import Guard
from infra.local.http.message import Limits
from infra.local.http.server import HttpServer
from infra.local.stack.children import wait_until
from streamgage.errors import ConfigError
from support.served import resources, socket_resources
from support.sockets import PATIENCE_S, Refused, SocketClient, connected

BASE, KEY = "s3cret", "LOCALKEY"


def answered(status: int = 200, **more: Any) -> Outcome:
    return Answered(json.dumps({"statusCode": status, **more}).encode())


@dataclass
class Pool:
    """Notes events, and answers by what *outcome* says of each."""

    outcome: Callable[[dict[str, Any]], Outcome] = lambda _: answered()
    events: list[dict[str, Any]] = field(default_factory=list)

    def invoke(self, _: str, payload: bytes) -> Invoked:
        event = json.loads(payload)
        self.events.append(event)
        return Invoked(self.outcome(event), 0.0, None)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["requestContext"]["eventType"] == kind]


@dataclass
class Face:
    """A running face: where it is, and what it said."""

    port: int
    said: list[str]

    def connect(self, stack: ExitStack, query: str = "", **headers: str) -> SocketClient:
        return stack.enter_context(connected(self.port, f"/{BASE}/live{query}", **headers))

    def management(self, key: str = KEY) -> Any:
        return boto3.client(
            "apigatewaymanagementapi", endpoint_url=f"http://127.0.0.1:{self.port}/{BASE}", region_name="us-east-1",
            aws_access_key_id=key, aws_secret_access_key="secret",  # noqa: S106 - of nobody
        )  # fmt: skip


@contextmanager
def serving(pool: Pool, described: dict[str, Any] | None = None) -> Iterator[Face]:
    said: list[str] = []
    api, http = read_socket_api(described or socket_resources()), read_api(resources())
    assert api is not None
    assert http is not None
    face = SocketFace(api, pool, port=1, access_key=KEY, concurrency=4, say=said.append)
    gateway = Gateway(
        http, pool, Page(Path("/nonexistent")), base=BASE, port=1, account="0", concurrency=1, sockets=face
    )
    server = HttpServer(
        gateway, name="sockets", limits=Limits(chunked=True, grace_s=5), guard=Guard(base=BASE)
    )
    server.start()
    try:
        yield Face(int(server.url.rpartition(":")[2]), said)
    finally:
        server.stop()
        gateway.close()
        face.close()
        wait_until(
            lambda: not [each for each in threading.enumerate() if "socket-worker" in each.name],
            seconds=PATIENCE_S, what="its threads' end",
        )  # fmt: skip


def test_events_are_as_aws_documents_them() -> None:
    pool = Pool()
    with serving(pool) as face, ExitStack() as stack:
        client = face.connect(stack, "?a=1&a=2&b=%20", User_Agent="me", Cookie="x=1")
        client.send({"action": "quiet", "n": 1})
        client.close(1001)
        wait_until(lambda: len(pool.events) == 3, seconds=PATIENCE_S, what="three events")
    connect, message, disconnect = (pool.of(each)[0] for each in ("CONNECT", "MESSAGE", "DISCONNECT"))
    assert connect["queryStringParameters"] == {"a": "2", "b": " "}
    assert connect["multiValueQueryStringParameters"] == {"a": ["1", "2"], "b": [" "]}
    assert {
        "Host",
        "User-Agent",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "X-Amzn-Trace-Id",
        "X-Forwarded-For",
    } <= set(connect["headers"])
    assert connect["multiValueHeaders"]["User-Agent"] == ["me"]
    assert BASE not in json.dumps(pool.events)
    shared = {"stage": "live", "apiId": "socket", "domainName": "127.0.0.1", "messageDirection": "IN"}
    ids = set()
    for event, route, kind in (
        (connect, "$connect", "CONNECT"), (message, "quiet", "MESSAGE"), (disconnect, "$disconnect", "DISCONNECT"),
    ):  # fmt: skip
        context = event["requestContext"]
        assert context == context | shared | {"routeKey": route, "eventType": kind}
        assert context["identity"] == {"sourceIp": "127.0.0.1", "userAgent": "me"}
        assert context["connectedAt"] <= context["requestTimeEpoch"]
        assert context["requestId"] == context["extendedRequestId"]
        assert event["isBase64Encoded"] is False
        ids.add(context["connectionId"])
    assert len(ids) == 1
    assert set(message) == {"requestContext", "body", "isBase64Encoded"}
    assert json.loads(message["body"]) == {"action": "quiet", "n": 1}
    assert message["requestContext"]["messageId"]
    assert set(disconnect) == {"requestContext", "isBase64Encoded"}
    assert disconnect["requestContext"]["disconnectStatusCode"] == 1001


@pytest.mark.parametrize(
    ("sent", "route"),
    [
        ('{"action": "echo"}', "echo"),
        ('{"action": "unknown"}', "$default"),
        ('{"action": "$connect"}', "$default"),
        ('{"action": "$disconnect"}', "$default"),
        ('{"action": ["echo"]}', "$default"),
        ('{"action": {"echo": 1}}', "$default"),
        ("echo", "$default"),
        ("[" * 30_000, "$default"),
        ("", "$default"),
    ],
)
def test_a_message_takes_the_route_that_it_names_or_the_default(sent: str, route: str) -> None:
    pool = Pool(lambda event: answered(body=event["requestContext"]["routeKey"]))
    with serving(pool) as face, ExitStack() as stack:
        client = face.connect(stack)
        client.send(sent)
        assert client.receive().data == route  # type: ignore[attr-defined]  # a text


def test_without_a_route_a_client_is_told_that_it_is_forbidden() -> None:
    pool = Pool()
    with serving(pool, socket_resources({"RouteKey": "$connect"})) as face, ExitStack() as stack:
        client = face.connect(stack)
        client.send({"action": "echo"})
        said = client.message()
        assert said["message"] == "Forbidden"
        assert said["connectionId"] == pool.events[0]["requestContext"]["connectionId"]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Failed("ZeroDivisionError: planted"), "Internal server error"),
        (Answered(b'"no response"'), "Internal server error"),
        (Answered(b"{"), "Internal server error"),
        (answered(body={"no": "text"}), "Internal server error"),
        (answered(body="/w==", isBase64Encoded=True), "Internal server error"),
        (answered(body="x" * 131_073), "Internal server error"),
        (NotInvoked("no sandbox"), "Endpoint request timed out"),
    ],
)
def test_a_function_that_fails_is_told_in_the_words_of_aws_and_the_connection_stays(
    outcome: Outcome, words: str
) -> None:
    def by_action(event: dict[str, Any]) -> Outcome:
        return outcome if '"fail"' in event.get("body", "") else answered(body="[]")

    with serving(Pool(by_action)) as face, ExitStack() as stack:
        client = face.connect(stack)
        client.send({"action": "echo", "fail": "fail"})
        assert client.message()["message"] == words
        assert len(face.said) == 1
        client.send({"action": "echo"})
        assert client.message() == []


def test_a_one_way_route_answers_nothing_and_a_two_way_one_without_a_body_neither() -> None:
    pool = Pool(lambda event: answered(body="no") if "quiet" in event.get("body", "") else answered())
    with serving(pool) as face, ExitStack() as stack:
        client = face.connect(stack)
        client.send({"action": "quiet"})
        client.send({"action": "echo"})
        wait_until(lambda: len(pool.of("MESSAGE")) == 2, seconds=PATIENCE_S, what="both")
        assert client.close() == (1000, "")  # nothing came before


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (answered(403), 403),
        (answered(401, body="no"), 401),
        (answered(500), 500),
        (Failed("Task timed out"), 502),
        (Answered(b"null"), 502),
        (NotInvoked("no sandbox"), 504),
    ],
)
def test_a_handshake_is_taken_only_where_connect_says_so(outcome: Outcome, status: int) -> None:
    pool = Pool(lambda _: outcome)
    with serving(pool) as face, pytest.raises(Refused) as refused, ExitStack() as stack:
        face.connect(stack)
    assert refused.value.status == status
    assert [each["requestContext"]["eventType"] for each in pool.events] == ["CONNECT"]


def test_connect_chooses_the_subprotocol() -> None:
    pool = Pool(lambda _: answered(headers={"Sec-WebSocket-Protocol": "news"}))
    with serving(pool) as face, ExitStack() as stack:
        assert "Sec-WebSocket-Protocol: news" in face.connect(stack, Sec_WebSocket_Protocol="news, chat").head


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/s3cres/live", {}, 403),
        ("/live", {}, 403),
        (f"/{BASE}/live", {"Origin": "http://evil.example"}, 403),
        (f"/{BASE}/live", {"Origin": "null"}, 403),
        (f"/{BASE}/live", {"Host": "evil.example"}, 403),
        (f"/{BASE}/live", {"Sec_Fetch_Site": "cross-site"}, 403),
        (f"/{BASE}/lives", {}, 404),
    ],
)
def test_a_stranger_or_a_page_of_elsewhere_gets_no_socket(
    path: str, headers: dict[str, str], status: int
) -> None:
    pool = Pool()
    with serving(pool) as face, pytest.raises(Refused) as refused, connected(face.port, path, **headers):
        pass
    assert refused.value.status == status
    assert pool.events == []


def test_the_page_itself_gets_one() -> None:
    with serving(Pool()) as face, ExitStack() as stack:
        face.connect(stack, Origin=f"http://127.0.0.1:{face.port}", Sec_Fetch_Site="same-origin")


def test_a_function_speaks_to_a_connection_asks_of_it_and_ends_it() -> None:
    pool = Pool()
    with serving(pool) as face, ExitStack() as stack:
        client, management = face.connect(stack, User_Agent="me"), face.management()
        name = pool.events[0]["requestContext"]["connectionId"]
        management.post_to_connection(ConnectionId=name, Data=b'{"changed": []}')
        assert client.message() == {"changed": []}
        management.post_to_connection(ConnectionId=name, Data="ä".encode() * 65_536)
        assert client.receive().data == "ä" * 65_536  # type: ignore[attr-defined]  # a text
        told = management.get_connection(ConnectionId=name)
        assert told["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "me"}
        assert told["ConnectedAt"] <= told["LastActiveAt"]
        with pytest.raises(ClientError, match="PayloadTooLargeException"):
            management.post_to_connection(ConnectionId=name, Data=b"x" * 131_073)
        with pytest.raises(ClientError, match="BadRequest"):
            management.post_to_connection(ConnectionId=name, Data=b"\xff")
        management.delete_connection(ConnectionId=name)
        assert client.closed() == (1000, "")
        for ask in (management.get_connection, management.delete_connection):
            with pytest.raises(management.exceptions.GoneException):
                ask(ConnectionId=name)
        with pytest.raises(management.exceptions.GoneException):
            management.post_to_connection(ConnectionId="never-was=", Data=b"x")
        with pytest.raises(management.exceptions.ForbiddenException):
            face.management("ANOTHER").post_to_connection(ConnectionId=name, Data=b"x")


def test_a_client_that_has_left_is_gone() -> None:
    pool = Pool()
    with serving(pool) as face, ExitStack() as stack:
        client = face.connect(stack)
        name = pool.events[0]["requestContext"]["connectionId"]
        client.connection.close()
        wait_until(lambda: bool(pool.of("DISCONNECT")), seconds=PATIENCE_S, what="its end")
        assert pool.of("DISCONNECT")[0]["requestContext"]["disconnectStatusCode"] == 1006
        management = face.management()
        with pytest.raises(management.exceptions.GoneException):
            management.post_to_connection(ConnectionId=name, Data=b"x")


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CONNECTIONS", 2)
    pool = Pool()
    with serving(pool) as face, ExitStack() as stack:
        first, _ = face.connect(stack), face.connect(stack)
        with pytest.raises(Refused) as refused:
            face.connect(stack)
        assert refused.value.status == 429
        first.close()
        wait_until(lambda: bool(pool.of("DISCONNECT")), seconds=PATIENCE_S, what="its end")
        face.connect(stack)


def test_a_stage_that_throttles_tells_the_client() -> None:
    stage = {"DefaultRouteSettings": {"ThrottlingRateLimit": 0.001, "ThrottlingBurstLimit": 1}}
    with (
        serving(Pool(lambda _: answered(body="1")), socket_resources(stage=stage)) as face,
        ExitStack() as stack,
    ):
        client = face.connect(stack)
        for _ in range(2):
            client.send({"action": "echo"})
        assert [client.message(), client.message()["message"]] == [1, "Too Many Requests"]


@pytest.mark.parametrize(
    ("described", "told"),
    [
        (socket_resources(RouteSelectionExpression="$request.header.x"), "RouteSelectionExpression"),
        (socket_resources({"RouteKey": "$default"}), "has the route \\$connect"),
        (socket_resources({"RouteKey": "$connect"}, {"RouteKey": "$other"}), "a route key is"),
        (
            socket_resources({"RouteKey": "$connect"}, {"RouteKey": "a"}, {"RouteKey": "a"}),
            "two routes have one key",
        ),
        (socket_resources({"RouteKey": "$connect", "Target": "integrations/no"}), "no integration"),
        (socket_resources(timeout_ms=30_000), "TimeoutInMillis is from 50 to 29000"),
        (
            {
                name: each
                for name, each in socket_resources().items()
                if each["Type"] != "AWS::ApiGatewayV2::RouteResponse"
            },
            "has one of the two",
        ),
    ],
)
def test_what_would_go_another_way_here_is_refused(described: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_socket_api(described)


def test_a_template_without_one_has_none() -> None:
    assert read_socket_api(resources()) is None
