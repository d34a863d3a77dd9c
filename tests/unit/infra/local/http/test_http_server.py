"""The bounded server over real sockets: what hostile and careless clients can hold, and that every socket comes back."""

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from infra.local.http.crowd import Phase
from infra.local.http.guard import Guard
from infra.local.http.message import Handler, HangUp, Limits, Request, Response
from infra.local.http.server import HttpServer
from infra.local.kinesis.tls import server_context
from infra.local.stack.children import wait_until
from streamgage.errors import ConfigError
from support.paths import ROOT

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"

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


class Two:
    """A client of HTTP/2 that reads nothing, and lets the server send *window* bytes of each answer."""

    def __init__(self, server: HttpServer, *, window: int = 65_535) -> None:
        self.socket = connect(server)
        self._connection = H2Connection(H2Configuration(client_side=True))
        self._connection.initiate_connection()
        self._connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self._stream = -1

    def ask(self, *, path: str = "/", body: bytes = b"", method: str = "POST", end: bool = True) -> None:
        self._stream += 2
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "localhost")]
        self._connection.send_headers(self._stream, head, end_stream=not body)
        for at in range(0, len(body), 16_384):
            last = end and at + 16_384 >= len(body)
            self._connection.send_data(self._stream, body[at : at + 16_384], end_stream=last)
        self.socket.sendall(self._connection.data_to_send())


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


def close_asked(server: HttpServer) -> bytes:
    return ask(server, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))


class Large:
    """Answers a POST by 8 MB, and notes how many there were."""

    def __init__(self) -> None:
        self.answered = 0

    def __call__(self, asked: Request) -> Response:
        if asked.method != "POST":
            return Response(200)
        self.answered += 1
        return Response(200, bytes(8_000_000))


@pytest.mark.parametrize("version", [1, 2])
def test_answers_that_are_not_read_are_bounded_together_and_keep_nobody_out(
    serve: Serve, version: int
) -> None:
    large = Large()
    server = serve(large, buffered_bytes=20_000_000, workers=1)
    with ExitStack() as stack:
        for _ in range(8):
            if version == 2:
                deaf = Two(server, window=0)
                stack.enter_context(deaf.socket)
                deaf.ask()
                continue
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
            client.sendall(LARGE)
        wait_until(lambda: large.answered == 8, seconds=60, what="all to be answered")
        wait_until(lambda: server.open_connections < 8, seconds=60, what="some to be given up")
        assert close_asked(server).startswith(b"HTTP/1.1 200 ")
        assert server.buffered_bytes <= 20_000_000


def test_who_asks_on_and_reads_nothing_goes_before_others_are_refused(serve: Serve) -> None:
    entered, go_on = threading.Event(), threading.Event()
    large = Large()

    def answer(asked: Request) -> Response:
        if asked.path == "/slow":
            entered.set()
            go_on.wait(60)
        return large(asked)

    server = serve(answer, buffered_bytes=20_000_000, workers=2)
    with connect(server) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.sendall(LARGE * 2 + LARGE.replace(b"/ ", b"/slow "))
        assert entered.wait(60)
        body = b"PUT / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9000000\r\n\r\n"
        assert ask(server, body + bytes(9_000_000)).startswith(b"HTTP/1.1 200 ")
        go_on.set()


def test_halves_beside_a_request_that_is_being_answered_are_bounded_too_and_cost_it_nothing(
    serve: Serve,
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(_: Request) -> Response:
        entered.set()
        go_on.wait(60)
        return Response(200, b"kept")

    server = serve(slow, buffered_bytes=30_000, workers=1)
    client = Two(server)
    with client.socket:
        client.ask(method="GET")
        assert entered.wait(60)
        for _ in range(5):
            client.ask(body=bytes(10_000), end=False)
        received = b""
        while received.count(b"too much waits") < 3:
            piece = client.socket.recv(65_536)
            assert piece
            received += piece
        wait_until(lambda: server.buffered_bytes <= 30_000, seconds=60, what="the rest to be let go")
        go_on.set()
        while b"kept" not in received:
            piece = client.socket.recv(65_536)
            assert piece
            received += piece


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


def test_halves_of_others_are_given_up_for_a_sender_that_goes_on(serve: Serve) -> None:
    server = serve(buffered_bytes=1_000_000, body_bytes=500_000)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 400000\r\n\r\n"
    with ExitStack() as stack:
        for number in range(6):
            half = stack.enter_context(connect(server))
            with suppress(ConnectionResetError, BrokenPipeError):
                half.sendall(head + bytes(300_000) if number % 2 else GET[:-2] + b"X: " + b"x" * 20_000)
        assert ask(server, head + bytes(400_000)).startswith(b"HTTP/1.1 200 ")


def test_heads_that_do_not_end_count_among_what_is_held_together(serve: Serve) -> None:
    server = serve(buffered_bytes=1_000_000)
    with ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(connect(server))
            with suppress(ConnectionResetError, BrokenPipeError):
                client.sendall(GET[:-2] + b"X: " + b"x" * 60_000)
        last = stack.enter_context(connect(server))
        last.sendall(GET)
        assert last.recv(1_000).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: 0 < server.open_connections < 21, seconds=60, what="some to be given up")
        assert server.buffered_bytes <= 1_000_000


def test_heads_of_http_2_count_too(serve: Serve) -> None:
    server = serve(buffered_bytes=30_000)
    client = Two(server)
    with client.socket:
        for _ in range(5):
            client.ask(path="/" + "x" * 9_000, body=b"a", end=False)
        received = b""
        while received.count(b"too much waits") < 2:
            piece = client.socket.recv(65_536)
            assert piece
            received += piece
        assert server.buffered_bytes <= 30_000


def test_whole_requests_that_wait_are_bounded_together_and_what_is_too_much_is_told_to_come_again(
    serve: Serve,
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(request: Request) -> Response:
        entered.set()
        go_on.wait(60)
        return Response(200, request.body[:1])

    server = serve(slow, buffered_bytes=100_000, workers=1)
    body = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000\r\n\r\n" + b"a" * 30_000
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(3)]
        for each in clients:
            each.sendall(body)
        assert entered.wait(60)
        wait_until(lambda: server.buffered_bytes > 90_000, seconds=60, what="three that wait")
        refused = stack.enter_context(connect(server))
        refused.sendall(body)
        said = refused.recv(1_000)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in said
        go_on.set()
        assert [each.recv(1_000).startswith(b"HTTP/1.1 200 ") for each in clients] == [True] * 3
        wait_until(lambda: server.buffered_bytes == 0, seconds=60, what="nothing to be held")
        again = stack.enter_context(connect(server))
        again.sendall(body)
        assert again.recv(1_000).startswith(b"HTTP/1.1 200 ")


def test_while_all_are_being_answered_who_comes_waits_and_is_answered_then(serve: Serve) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(_: Request) -> Response:
        entered.set()
        go_on.wait(60)
        return Response(200)

    server = serve(slow, connections=2, workers=1)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(2)]
        for each in clients:
            each.sendall(GET)
        wait_until(lambda: server.connections_at(Phase.BUSY) == 2, seconds=60, what="both to be answered")
        late = stack.enter_context(connect(server))
        late.sendall(GET)
        go_on.set()
        assert [each.recv(1_000).startswith(b"HTTP/1.1 200 ") for each in (*clients, late)] == [True] * 3


def test_a_half_request_is_given_up_after_those_that_wait_for_a_head(serve: Serve) -> None:
    server = serve(connections=3)
    with ExitStack() as stack:
        half = stack.enter_context(connect(server))
        half.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab")
        wait_until(lambda: server.open_connections == 1, seconds=60, what="it")
        for _ in range(12):
            stack.enter_context(connect(server)).sendall(b"GET")
        assert ask(server, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).startswith(
            b"HTTP/1.1 200 "
        )
        half.sendall(b"cd")
        assert half.recv(1_000).endswith(b"abcd")


def test_where_all_have_sent_halves_of_bodies_each_newcomer_costs_one_of_them(serve: Serve) -> None:
    server = serve(connections=3)
    before = descriptors()
    with ExitStack() as stack:
        halves = [stack.enter_context(connect(server)) for _ in range(3)]
        for each in halves:
            each.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab")
        wait_until(lambda: server.connections_at(Phase.BODY) == 3, seconds=60, what="three halves of bodies")
        for _ in range(20):
            stack.enter_context(connect(server))
        with suppress(ConnectionResetError):  # the oldest was given up for the first of them
            assert halves[0].recv(10) == b""
        wait_until(lambda: descriptors() <= before + 23 + 3, seconds=60, what="no more than three to be held")
        assert server.open_connections <= 3


def test_clients_that_do_not_shake_hands_count_and_keep_nobody_out(tmp_path: Path) -> None:
    tls = server_context(tmp_path)
    server = HttpServer(echo, name="test", tls=tls, limits=Limits(connections=10))
    server.start()
    client = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    try:
        with ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(connect(server))
            with client.wrap_socket(connect(server), server_hostname="localhost") as good:
                good.sendall(GET)
                assert good.recv(1_000).startswith(b"HTTP/1.1 200 ")
            assert server.open_connections <= 10
    finally:
        server.stop()


def test_out_of_files_it_lets_go_of_those_that_wait_says_so_once_and_answers_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as stderr, ExitStack() as stack:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "support.server_of_few_files", "80"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        stack.enter_context(child.stdout)
        stack.callback(child.wait)
        stack.enter_context(child.stdin)  # it ends with that
        port = int(child.stdout.readline())
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(GET)
            assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")
    said = log.read_text()
    assert said.count("Too many open files") == 1
    assert len(said.splitlines()) == 1


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
