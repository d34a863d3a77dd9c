"""The Lambda Runtime API, as one conversation with one runtime client.

Each sandbox has an endpoint of its own, so the conversation needs no routing, and no thread: whoever invokes the
function holds the conversation while it runs. ``awslambdaric`` keeps one connection alive for ``next``, ``response``
and ``error``; ``init/error`` comes on another one.

Anybody on this machine can connect to its port. A secret in the path cannot tell the sandbox from them: ``awslambdaric``
posts ``init/error`` through ``http.client``, which takes AWS_LAMBDA_RUNTIME_API for a host and a port and nothing else. So
the kernel is asked whose socket it is: see ``peer``.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html (checked 2026-11-21).
"""

import contextlib
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from infra.local.http.http1 import Http1
from infra.local.http.message import Limits, Request, Response

_PREFIX = "/2018-06-01/runtime/"
_CHUNK_BYTES = 1024 * 1024
_LOOK_S = 0.1  # how often the caller's watch is asked while the function runs
_LIMITS = Limits(chunked=True, body_bytes=64 * 1024 * 1024)  # Lambda's own limit of an answer is 6 MB


class RuntimeGone(Exception):
    """The runtime client has gone, or the watch wants it to go. ``status`` is what the REPORT line says."""

    status = "error"


class TimedOut(RuntimeGone):
    """The function's time is used up."""

    status = "timeout"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the client posted: ``response`` or ``error``, and the JSON of it."""

    kind: str
    body: bytes


class RuntimeApi:
    """The API's end of the conversation with one sandbox. Not thread-safe: one caller at a time.

    *watch* is called every tenth of a second while waiting, and as soon as the connection is lost: it raises
    RuntimeGone when waiting longer is of no use: the process has ended, its time or its memory is used up.
    *is_sandbox* tells whether a connection is of the process that the function runs in.
    """

    def __init__(
        self, watch: Callable[[], None], *, is_sandbox: Callable[[socket.socket], bool] = lambda _: True
    ) -> None:
        self._watch, self._is_sandbox = watch, is_sandbox
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connection: socket.socket | None = None
        self._wire: Http1 | None = None
        self._requests: deque[Request] = deque()
        self._waiting_for_next = False
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the conversation; a client that is still there loses its connection."""
        self._drop()
        self._listener.close()

    def wait_next(self) -> Reply | None:
        """Wait until the client asks for its next invocation, which is how it says that it is ready.

        Returns:
            None when it did; what it posted when its initialisation failed.

        Raises:
            RuntimeGone: by the watch.
        """
        while not self._waiting_for_next:
            request = self._read_request()
            if request.method == "GET" and request.path == f"{_PREFIX}invocation/next":
                self._waiting_for_next = True
            elif request.path == f"{_PREFIX}init/error":
                self._send(202, b'{"status":"OK"}')
                return Reply("error", request.body)
            else:
                self._send(404, b"{}")
        return None

    def invoke(self, request_id: str, payload: bytes, *, deadline_ms: int, function_arn: str) -> Reply:
        """Hand *payload* to the client that asked for its next invocation, and wait for what comes of it.

        Raises:
            RuntimeGone: by the watch.
        """
        self._waiting_for_next = False
        self._send(
            200,
            payload,
            {
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": function_arn,
                "Lambda-Runtime-Trace-Id": f"Root=1-{deadline_ms // 1000:08x}-{0:024x};Sampled=0",
            },
        )
        while True:
            request = self._read_request()
            for kind in ("response", "error"):
                if request.path == f"{_PREFIX}invocation/{request_id}/{kind}":
                    self._send(202, b'{"status":"OK"}')
                    return Reply(kind, request.body)
            self._send(404, b"{}")

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        if self._connection is None or self._wire is None:
            self._gone()
            return
        response = Response(status, body, "application/json", headers or {})
        self._requests += (request for _, request in self._wire.answer(0, response, now_s=0))
        try:
            self._connection.sendall(self._wire.take_output())
        except OSError:
            self._drop()
            self._gone()

    def _read_request(self) -> Request:
        while not self._requests:
            try:
                self._receive()
            except OSError:  # reset in mid-request: the client may come again, if it lives
                self._drop()
                self._watch()
        return self._requests.popleft()

    def _receive(self) -> None:
        """Take what the client sends; connections are taken one after the other, and only those of the sandbox."""
        source = self._connection or self._listener
        waiting = (
            select.poll()
        )  # select() knows no file beyond the 1,024th, and a gateway has thousands of connections
        waiting.register(source, select.POLLIN)
        if not waiting.poll(_LOOK_S * 1_000):
            self._watch()
        elif self._connection is None or self._wire is None:
            connection, _ = self._listener.accept()
            if not self._is_sandbox(
                connection
            ):  # a stranger: it would get the payload, and answer for the function
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection, self._wire = connection, Http1(_LIMITS, _admit, now_s=0)
        else:
            received = self._connection.recv(_CHUNK_BYTES)
            if not received:
                raise ConnectionResetError("the runtime client closed its connection")
            self._requests += (request for _, request in self._wire.receive(received, now_s=0))
            output = self._wire.take_output()
            if output:
                self._connection.sendall(output)
            if self._wire.ended and not self._wire.busy:
                raise ConnectionResetError("the runtime client sent what is no HTTP/1.1")

    def _gone(self) -> None:
        """Wait for the watch to say what became of a client that cannot be answered."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            self._watch()
            time.sleep(_LOOK_S / 10)
        raise RuntimeGone("the runtime client has closed its connection")

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
        self._connection, self._wire, self._waiting_for_next = None, None, False
        self._requests.clear()


def _admit(_: Request) -> Response | None:
    """Take every request of the one client that there is."""
    return None
