"""WebSockets of the one server: handshakes, frames as they should not be, limits, clients that do not read."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from infra.local.http.message import Limits, Request, Response
from infra.local.http.server import HttpServer
from infra.local.http.websocket import SocketLimits, WebSocket, accepted, handshake_problem
from infra.local.stack.children import wait_until
from support.sockets import PATIENCE_S, Refused, SocketClient, connected, handshake


@dataclass
class Echo:
    """Echoes; ``hold`` leaves messages unanswered, so that they wait."""

    limits: SocketLimits = field(default_factory=SocketLimits)
    hold: bool = False
    clock_s: Callable[[], float] = time.monotonic
    sockets: list[WebSocket] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    ended: list[tuple[int, str]] = field(default_factory=list)

    def __call__(self, request: Request) -> Response:
        if request.path == "/plain":
            return Response(200, b"ok")
        made = WebSocket(self, self.limits, clock_s=self.clock_s)
        return handshake_problem(request) or accepted(request, made, subprotocol="chat")

    def opened(self, socket: WebSocket) -> None:
        self.sockets.append(socket)

    def received(self, socket: WebSocket, message: str, done: Callable[[], None]) -> None:
        self.messages.append(message)
        if not self.hold:
            socket.send(message)
            done()

    def closed(self, _: WebSocket, code: int, reason: str) -> None:
        self.ended.append((code, reason))


@contextmanager
def serving(echo: Echo, **limits: float) -> Iterator[int]:
    server = HttpServer(echo, name="echo", limits=Limits(grace_s=5, **limits))  # type: ignore[arg-type]  # floats where it has ints
    server.start()
    try:
        yield int(server.url.rpartition(":")[2])
    finally:
        server.stop()
        assert not [each for each in threading.enumerate() if each.name == "echo-loop"]


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, size: int | None = None
) -> bytes:
    """Return a frame, masked with zeros; *size* is what it says of its payload."""
    length = len(payload) if size is None else size
    head = bytes([opcode | (0x80 if fin else 0)])
    mask = 0x80 if masked else 0
    if length < 126:
        head += bytes([mask | length])
    elif length < 65536:
        head += bytes([mask | 126]) + struct.pack("!H", length)
    else:
        head += bytes([mask | 127]) + struct.pack("!Q", length)
    return head + (bytes(4) if masked else b"") + payload


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def port(echo: Echo) -> Iterator[int]:
    with serving(echo) as port:
        yield port


def test_what_is_sent_comes_back_in_order_and_a_close_is_answered(port: int, echo: Echo) -> None:
    with connected(port, "/") as client:
        assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in client.head  # RFC 6455, section 1.3
        for number in range(100):
            client.send({"n": number})
        assert [client.message()["n"] for _ in range(100)] == list(range(100))
        client.send_event(Ping(b"there?"))
        assert client.receive() == Pong(b"there?")
        assert client.close(1001) == (1001, "")
    wait_until(lambda: echo.ended == [(1001, "")], seconds=PATIENCE_S, what="its end")


def test_messages_of_many_frames_are_whole_and_large_ones_too(port: int) -> None:
    with connected(port, "/") as client:
        whole = "ä" * 60_000  # 120,000 bytes; a frame may end within a letter
        raw = whole.encode()
        cuts = [raw[at : at + 29_999] for at in range(0, len(raw), 29_999)]
        for number, each in enumerate(cuts):
            client.raw(frame(1 if number == 0 else 0, each, fin=number == len(cuts) - 1))
        echoed = client.receive()
        assert isinstance(echoed, TextMessage)
        assert echoed.data == whole


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(1, b"{}", masked=False), 1002),
        (frame(1, b"\xff\xfe"), 1007),
        (frame(1, b"\xe2\x82", fin=True), 1007),
        (frame(2, b"{}"), 1003),
        (frame(3, b"{}"), 1002),
        (frame(1 | 0x40, b"{}"), 1002),
        (frame(0, b"{}"), 1002),
        (frame(1, b"{", fin=False) + frame(1, b"}"), 1002),
        (frame(9, b"x" * 126), 1002),
        (frame(9, b"x", fin=False), 1002),
        (frame(8, b"\x03"), 1002),
        (frame(8, struct.pack("!H", 1005)), 1002),
        (frame(1, b"x" * 32_769), 1009),
        (frame(1, b"x" * 32_769, size=2**40), 1009),
        (b"".join(frame(0 if n else 1, b"x" * 30_000, fin=False) for n in range(5)), 1009),
        (frame(1, size=2**63), 1002),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 1002),
    ],
)
def test_what_is_no_message_ends_the_connection_with_its_code(
    port: int, echo: Echo, sent: bytes, code: int
) -> None:
    with connected(port, "/") as client:
        client.raw(sent)
        assert client.closed()[0] == code
    wait_until(lambda: len(echo.ended) == 1, seconds=PATIENCE_S, what="its end")
    assert echo.ended[0][0] == code
    with connected(port, "/") as other:
        other.send("still here")
        assert other.receive() == TextMessage("still here")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upgrade": ""}, 426),
        ({"Connection": "keep-alive"}, 426),
        ({"Upgrade": "h2c"}, 426),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Version": ""}, 426),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400),
        ({"Sec-WebSocket-Key": "*" * 24}, 400),
    ],
)
def test_what_is_no_handshake_is_refused(port: int, headers: dict[str, str], status: int) -> None:
    with pytest.raises(Refused) as refused, connected(port, "/", **headers):
        pass
    assert refused.value.status == status


def test_a_subprotocol_is_said_only_where_it_was_offered(port: int) -> None:
    with connected(port, "/", Sec_WebSocket_Protocol="json, chat") as client:
        assert "Sec-WebSocket-Protocol: chat" in client.head
    with connected(port, "/", Sec_WebSocket_Protocol="json") as client:
        assert "Sec-WebSocket-Protocol" not in client.head


def test_frames_before_the_answer_are_not_taken(port: int, echo: Echo) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(handshake(port, "/") + frame(1, b"early"))
        while client.recv(65536):
            pass
    assert echo.messages == []
    wait_until(lambda: len(echo.ended) == 1, seconds=PATIENCE_S, what="its end")


def test_a_client_that_vanishes_is_known_to_be_gone(port: int, echo: Echo) -> None:
    with connected(port, "/") as client:
        client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: bool(echo.ended), seconds=PATIENCE_S, what="its end")
    assert echo.ended == [(1006, "Connection closed abnormally")]


def test_a_client_that_does_not_read_is_closed_with_1013_and_others_are_served(port: int, echo: Echo) -> None:
    with connected(port, "/") as slow, connected(port, "/") as quick:
        wait_until(lambda: len(echo.sockets) == 2, seconds=PATIENCE_S, what="both")
        text = "x" * 100_000
        for _ in range(1_000):  # more than the kernel takes of it
            echo.sockets[0].send(text)
            if echo.ended:
                break
        wait_until(lambda: bool(echo.ended), seconds=PATIENCE_S, what="its end")
        assert echo.ended[0][0] == 1013
        echo.sockets[1].send("news")
        assert quick.receive() == TextMessage("news")
        assert slow.closed()[0] == 1013  # behind what was sent before


def test_pings_that_nobody_reads_the_answers_of_are_bounded(port: int, echo: Echo) -> None:
    with connected(port, "/") as client:
        flood = frame(9, b"x" * 125) * 500
        with suppress(ConnectionError, TimeoutError):
            client.connection.settimeout(5)
            while not echo.ended:
                client.raw(flood)
    wait_until(lambda: bool(echo.ended), seconds=PATIENCE_S, what="its end")
    assert echo.ended[0][0] in (1006, 1013)


def test_messages_that_wait_are_bounded_and_a_client_that_sends_more_is_read_no_further() -> None:
    echo = Echo(hold=True, limits=SocketLimits(waiting=4))
    with serving(echo) as port, connected(port, "/") as client:
        client.connection.settimeout(2)
        with pytest.raises(TimeoutError):
            client.raw(frame(1, b"x" * 30_000) * 1_000)
        wait_until(lambda: len(echo.messages) == 1, seconds=PATIENCE_S, what="the first")
        assert sum(map(len, echo.sockets[0]._waiting)) <= 5 * 30_000


def test_idle_and_long_connections_end_as_on_aws() -> None:
    now_s = [1_000.0]
    echo = Echo(clock_s=lambda: now_s[0])
    with serving(echo) as port, connected(port, "/") as client:
        wait_until(lambda: bool(echo.sockets), seconds=PATIENCE_S, what="it")
        made = echo.sockets[0]

        def look(at_s: float) -> None:
            now_s[0] = at_s
            assert made._loop is not None
            done = threading.Event()
            made._loop.call_soon_threadsafe(made.look, at_s)
            made._loop.call_soon_threadsafe(done.set)
            assert done.wait(PATIENCE_S)

        for at_s in (1_599.0, 2_100.0):  # each less than ten minutes after a message
            look(at_s)
            client.send("here")
            assert client.receive() == TextMessage("here")
        assert not echo.ended
        look(2_701.0)
        assert client.closed() == (1001, "Going away")
    assert echo.ended == [(1001, "Going away")]


def test_when_the_server_stops_it_says_so(echo: Echo) -> None:
    with serving(echo) as port:
        client = connected(port, "/")
        opened: SocketClient = client.__enter__()
        wait_until(lambda: bool(echo.sockets), seconds=PATIENCE_S, what="it")
        ends = threading.Thread(target=lambda: _answer(opened))
        ends.start()
    ends.join(PATIENCE_S)
    client.__exit__(None, None, None)
    assert echo.ended == [(1001, "Going away")]


def _answer(client: SocketClient) -> None:
    code, _ = client.closed()
    client.send_event(CloseConnection(code))


def test_two_hundred_at_once_are_each_their_own(echo: Echo) -> None:
    with serving(echo, connections=16) as port:  # which counts those of HTTP alone
        opened = [connected(port, "/") for _ in range(200)]
        clients = [each.__enter__() for each in opened]
        for number, client in enumerate(clients):
            client.send(str(number))
        assert [client.receive() for client in clients] == [TextMessage(str(number)) for number in range(200)]
        for each in opened:
            each.__exit__(None, None, None)
        wait_until(lambda: len(echo.ended) == 200, seconds=PATIENCE_S, what="their end")


def test_binary_frames_in_pieces_are_refused_at_the_first(port: int) -> None:
    with connected(port, "/") as client:
        client.send_event(BytesMessage(b"x", message_finished=False))
        assert client.closed()[0] == 1003
