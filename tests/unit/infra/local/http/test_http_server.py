"""The bounded server over real sockets: what hostile and careless clients can hold, and that every socket comes back."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from infra.local.http.guard import Guard
from infra.local.http.message import Handler, HangUp, Limits, Request, Response
from infra.local.http.server import HttpServer
from infra.local.stack.children import wait_until
from streamgage.errors import ConfigError

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

Serve = Callable[..., HttpServer]


def echo(request: Request) -> Response:
    if request.path == "/bug":
        raise ZeroDivisionError
    if request.path == "/lost":
        raise HangUp
    return Response(200, request.body)


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(handler: Handler = echo, *, guard: Guard | None = None, **limits: float) -> HttpServer:
            server = HttpServer(handler, name="test", limits=Limits(**limits), guard=guard)  # type: ignore[arg-type]
            server.start()
            stack.callback(server.stop)
            return server

        yield start


def connect(server: HttpServer) -> socket.socket:
    host, _, port = server.url.rpartition("/")[2].partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def ask(server: HttpServer, data: bytes) -> bytes:
    """Return all that comes back until the server ends."""
    with connect(server) as client:
        client.sendall(data)
        received = b""
        with suppress(ConnectionResetError):
            while piece := client.recv(65_536):
                received += piece
        return received


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("workers", [0, 4])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n", b"413"),
        (b"GET /bug HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"500"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_whatever_goes_wrong_no_socket_is_left(
    serve: Serve, data: bytes, status: bytes, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(workers=workers)
    ask(server, data)
    before = descriptors()
    for _ in range(30):
        assert ask(server, data).split(b" ")[1] == status
    wait_until(lambda: server.open_connections == 0, seconds=60, what="the connections to be let go")
    assert descriptors() <= before
    assert ("ZeroDivisionError" in capsys.readouterr().err) == (status == b"500")


def test_a_hang_up_closes_without_an_answer(serve: Serve) -> None:
    assert ask(serve(), GET.replace(b"/ ", b"/lost ")) == b""


def test_thousands_of_half_requests_hold_no_thread_and_keep_nobody_out(serve: Serve) -> None:
    server = serve(connections=50)
    threads = threading.active_count()
    with ExitStack() as stack:
        for _ in range(400):
            half = stack.enter_context(connect(server))
            half.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-")
        assert ask(server, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).startswith(
            b"HTTP/1.1 200 "
        )
        assert server.open_connections <= 50
        assert threading.active_count() <= threads + 1  # the one that answered


def test_a_connection_that_is_answered_outlives_those_that_wait(serve: Serve) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(_: Request) -> Response:
        entered.set()
        go_on.wait(10)
        return Response(200, b"kept")

    server = serve(slow, connections=3)
    with connect(server) as first, ExitStack() as stack:
        first.sendall(GET)
        assert entered.wait(10)
        for _ in range(10):
            stack.enter_context(connect(server)).sendall(b"GET")
        wait_until(lambda: server.open_connections == 3, seconds=60, what="the others to be given up")
        go_on.set()
        assert first.recv(1000).endswith(b"kept")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"PRI * HTTP",
        b"GET / HT",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab",
        GET,
    ],
)
def test_each_phase_that_takes_too_long_is_ended(serve: Serve, sent: bytes) -> None:
    server = serve(head_s=0, body_s=0, idle_s=0)
    with connect(server) as client:
        client.sendall(sent)
        with suppress(ConnectionResetError):
            while client.recv(1000):
                pass
    wait_until(lambda: server.open_connections == 0, seconds=60, what="the connection to be let go")


def test_a_client_that_does_not_read_is_ended(serve: Serve) -> None:
    server = serve(lambda _: Response(200, bytes(30_000_000)), write_s=0)
    with connect(server) as client:
        client.sendall(GET)
        wait_until(lambda: server.open_connections == 1, seconds=60, what="the connection")
        wait_until(lambda: server.open_connections == 0, seconds=60, what="the connection to be given up")


def test_halves_of_bodies_are_bounded_together(serve: Serve) -> None:
    server = serve(buffered_bytes=1_000_000)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n"
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(5)]
        for client in clients:
            with suppress(ConnectionResetError, BrokenPipeError):
                client.sendall(head + bytes(400_000))
        wait_until(lambda: 0 < server.open_connections < 5, seconds=60, what="some to be given up")
        assert server.buffered_bytes <= 1_000_000


def test_thousands_of_pipelined_requests_are_answered_in_the_loop(serve: Serve) -> None:
    server = serve(workers=0)
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert ask(server, GET * 3_000 + last).count(b"HTTP/1.1 200 OK") == 3_001


def test_stopping_answers_what_is_being_answered(serve: Serve) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(_: Request) -> Response:
        entered.set()
        go_on.wait(10)
        return Response(200, b"last words")

    server = serve(slow)
    with connect(server) as client, connect(server) as idle:
        client.sendall(GET)
        assert entered.wait(10)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert idle.recv(10) == b""
        go_on.set()
        received = client.recv(1000)
        assert received.endswith(b"last words")
        assert b"Connection: close" in received
        stopping.join(10)
        assert not stopping.is_alive()


def test_a_foreign_host_is_refused_by_every_server(serve: Serve) -> None:
    assert ask(serve(), GET.replace(b"localhost", b"evil.example")).startswith(b"HTTP/1.1 403 ")


def test_a_port_that_is_taken_is_a_clear_error(serve: Serve) -> None:
    taken = int(serve().url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{taken}.*another process"):
        HttpServer(echo, name="test", port=taken)


def test_a_server_that_was_never_started_stops_too() -> None:
    HttpServer(echo, name="test").stop()
