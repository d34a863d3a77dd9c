"""Only the sandbox takes the function's payload, and only it answers."""

import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from infra.local.function.peer import is_of_process
from infra.local.function.runtime_api import RuntimeApi, RuntimeGone

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CLIENT = """
import socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("connected", flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells by /proc")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_the_kernel_tells_whose_socket_it_is(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with (
        subprocess.Popen(
            [sys.executable, "-P", "-c", CLIENT, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child,
        socket.create_connection(("127.0.0.1", port)) as own,
    ):
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        accepted = [listener.accept()[0] for _ in range(2)]
        theirs = next(each for each in accepted if each.getpeername() != own.getsockname())
        ours = next(each for each in accepted if each.getpeername() == own.getsockname())
        assert is_of_process(theirs, child.pid)
        assert not is_of_process(ours, child.pid)
        assert not is_of_process(theirs, 1_000_000_000)
        child.stdin.close()
        for each in accepted:
            each.close()


def test_a_connection_that_is_closed_is_nobodys(listener: socket.socket) -> None:
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    client.close()
    with accepted:
        accepted.recv(1)
        assert not is_of_process(accepted, 1)


def test_a_stranger_who_is_first_gets_nothing_and_the_sandbox_everything() -> None:
    asked: list[socket.socket] = []

    def is_sandbox(connection: socket.socket) -> bool:
        asked.append(connection)
        return len(asked) > 1

    def watch() -> None:
        return None

    with RuntimeApi(watch, is_sandbox=is_sandbox) as api:
        host, _, port = api.address.partition(":")
        with (
            socket.create_connection((host, int(port)), timeout=10) as stranger,
            socket.create_connection((host, int(port)), timeout=10) as sandbox,
        ):
            stranger.sendall(NEXT)
            sandbox.sendall(NEXT)
            assert api.wait_next() is None
            answered = threading.Thread(target=lambda: answer(sandbox))
            answered.start()
            reply = api.invoke("id", b'{"secret": 1}', deadline_ms=1_000, function_arn="arn")
            answered.join(10)
            assert (reply.kind, reply.body) == ("response", b"done")
            with suppress(ConnectionResetError):  # its request was never read
                assert stranger.recv(1000) == b""


def answer(sandbox: socket.socket) -> None:
    received = b""
    while b'{"secret": 1}' not in received:
        received += sandbox.recv(1000)
    sandbox.sendall(
        b"POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\n\r\n"
    )


def test_a_client_that_speaks_something_else_is_dropped_and_the_watch_decides() -> None:
    looks: list[None] = []

    def watch() -> None:
        looks.append(None)
        raise RuntimeGone("gone")

    with RuntimeApi(watch) as api:
        host, _, port = api.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n")
            with pytest.raises(RuntimeGone, match="gone"):
                api.wait_next()
            assert client.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_a_process_with_more_than_a_thousand_files_open_serves_its_sandbox_too() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2_048 if hard == resource.RLIM_INFINITY else min(hard, 2_048)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    try:
        with ExitStack() as stack:
            for _ in range(most - 200):
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            api = stack.enter_context(RuntimeApi(lambda: None))
            host, _, port = api.address.partition(":")
            client = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            client.sendall(NEXT)
            assert api.wait_next() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
