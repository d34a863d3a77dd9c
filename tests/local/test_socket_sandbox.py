"""WebSockets before real sandboxes: handshakes that wait for a function, functions that fail, many clients, a killed gateway."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from infra.local.http.secret import read_credentials
from infra.local.stack.children import wait_until
from infra.local.stack.clients import local_client
from support.served import CREDENTIALS, PATIENCE_S, Served, resources, served, socket_resources
from support.sockets import Refused, SocketClient, connected

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(
        tmp_path_factory.mktemp("sockets"), {**resources(), **socket_resources()}, timeout_s=5
    ) as running:
        yield running


def connect(gateway: Served, stack: ExitStack, query: str = "") -> SocketClient:
    return stack.enter_context(connected(gateway.port, f"/{gateway.base}/live{query}"))


def test_a_message_reaches_the_real_runtime_and_its_answer_comes_back(gateway: Served) -> None:
    with ExitStack() as stack:
        client = connect(gateway, stack)
        client.send({"action": "echo", "do": "echo", "n": "ä"})
        event = client.message()
        assert json.loads(event["body"])["n"] == "ä"
        assert event["requestContext"]["routeKey"] == "echo"
        client.send({"do": "large"})
        assert client.receive().data == "x" * 128 * 1024  # type: ignore[attr-defined]  # a text
        credentials = read_credentials(gateway.folder / CREDENTIALS)
        management = local_client(
            "apigatewaymanagementapi", f"http://127.0.0.1:{gateway.port}/{gateway.base}", credentials
        )
        management.post_to_connection(ConnectionId=event["requestContext"]["connectionId"], Data=b'"news"')
        assert client.message() == "news"


@pytest.mark.parametrize(
    ("deed", "status", "said"),
    [
        ("refuse", 403, ""),
        ("raise", 502, "ZeroDivisionError: planted"),
        ("crash", 502, "signal: SIGKILL"),
        ("nonsense", 502, "has no statusCode"),
        ("sleep", 502, "Task timed out after 5.00 seconds"),
    ],
)
def test_a_function_that_does_not_let_in_refuses_the_handshake(
    gateway: Served, deed: str, status: int, said: str
) -> None:
    with pytest.raises(Refused) as refused, ExitStack() as stack:
        connect(gateway, stack, f"?do={deed}")
    assert refused.value.status == status
    assert said in gateway.log()


def test_a_function_that_fails_at_a_message_fails_that_message_alone(gateway: Served) -> None:
    with ExitStack() as stack:
        client = connect(gateway, stack)
        for deed in ("raise", "crash", "too large"):
            client.send({"action": "echo", "do": deed})
            assert client.message()["message"] == "Internal server error"
        client.send({"action": "echo"})
        assert client.message()["requestContext"]["routeKey"] == "echo"


def test_two_hundred_clients_are_answered_and_their_ends_are_told(gateway: Served) -> None:
    def ends() -> int:
        return len(re.findall(r'"eventType": "DISCONNECT"', gateway.log("socket.log")))

    before = ends()
    with ExitStack() as stack:
        clients = [connect(gateway, stack) for _ in range(200)]
        for number, client in enumerate(clients):
            client.send({"action": "echo", "n": number})
        assert [json.loads(client.message()["body"])["n"] for client in clients] == list(range(200))
    wait_until(lambda: ends() - before >= 200, seconds=PATIENCE_S, what="200 ends")
    assert gateway.ask("/v1/ok")[0].status == 200


def test_what_is_not_a_handshake_is_told_what_it_is(gateway: Served) -> None:
    answer, body = gateway.ask("/live")
    assert (answer.status, body) == (426, b"this is a WebSocket\n")
