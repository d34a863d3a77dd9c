"""The Lambda Runtime API, as one conversation with one runtime client.

Each sandbox has an endpoint of its own, so the conversation needs no routing, and no thread: whoever invokes the
function holds the conversation while it runs. ``awslambdaric`` keeps one connection alive for ``next``, ``response``
and ``error``; ``init/error`` comes on another one.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html (checked 2026-11-21).
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_PREFIX = "/2018-06-01/runtime/"
_CHUNK_BYTES = 1024 * 1024
_LOOK_S = 0.1  # how often the caller's watch is asked while the function runs
_HEAD_BYTES = 64 * 1024


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


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    body: bytes


class RuntimeApi:
    """The API's end of the conversation with one sandbox. Not thread-safe: one caller at a time.

    *watch* is called every tenth of a second while waiting, and as soon as the connection is lost: it raises
    RuntimeGone when waiting longer is of no use: the process has ended, its time or its memory is used up.
    """

    def __init__(self, watch: Callable[[], None]) -> None:
        self._watch = watch
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connection: socket.socket | None = None
        self._received = b""
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
            f"Lambda-Runtime-Aws-Request-Id: {request_id}\r\nLambda-Runtime-Deadline-Ms: {deadline_ms}\r\n"
            f"Lambda-Runtime-Invoked-Function-Arn: {function_arn}\r\n"
            f"Lambda-Runtime-Trace-Id: Root=1-{deadline_ms // 1000:08x}-{0:024x};Sampled=0\r\n",
        )
        while True:
            request = self._read_request()
            for kind in ("response", "error"):
                if request.path == f"{_PREFIX}invocation/{request_id}/{kind}":
                    self._send(202, b'{"status":"OK"}')
                    return Reply(kind, request.body)
            self._send(404, b"{}")

    def _send(self, status: int, body: bytes, headers: str = "") -> None:
        if self._connection is None:
            self._gone()
            return
        head = f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        try:
            if len(body) < _HEAD_BYTES:
                self._connection.sendall(head.encode("ascii") + body)
                return
            self._connection.sendall(head.encode("ascii"))
            self._connection.sendall(body)
        except OSError:
            self._drop()
            self._gone()

    def _read_request(self) -> _Request:
        while True:
            try:
                return self._parse(self._read_head())
            except OSError:  # reset in mid-request: the client may come again, if it lives
                self._drop()
                self._watch()

    def _read_head(self) -> bytes:
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            self._receive()
        head, self._received = self._received[:end], self._received[end + 4 :]
        return head

    def _parse(self, head: bytes) -> _Request:
        start, *lines = head.decode("latin-1").split("\r\n")
        method, path, *_ = [*start.split(" "), ""]
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        if headers.get("expect", "").lower() == "100-continue" and self._connection is not None:
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return _Request(method, path, self._read_chunked())
        return _Request(method, path, self._read_exactly(int(headers.get("content-length", "0"))))

    def _read_chunked(self) -> bytes:
        parts: list[bytes] = []
        while True:
            while b"\r\n" not in self._received:
                self._receive()
            size, _, self._received = self._received.partition(b"\r\n")
            part = self._read_exactly(int(size.split(b";")[0], 16) + 2)[:-2]
            if not part:
                return b"".join(parts)
            parts.append(part)

    def _read_exactly(self, count: int) -> bytes:
        parts, missing = [self._received[:count]], count - len(self._received)
        self._received = self._received[count:]
        while missing > 0:
            self._receive()
            parts.append(self._received[:missing])
            missing, self._received = missing - len(self._received), self._received[missing:]
        return b"".join(parts)

    def _receive(self) -> None:
        """Add what the client sends to what was received; connections are taken one after the other."""
        while True:
            source = self._connection or self._listener
            ready, _, _ = select.select([source], [], [], _LOOK_S)
            if not ready:
                self._watch()
            elif self._connection is None:
                self._connection, _ = self._listener.accept()
                self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            else:
                received = self._connection.recv(_CHUNK_BYTES)
                if not received:
                    raise ConnectionResetError("the runtime client closed its connection")
                self._received += received
                return

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
        self._connection, self._received, self._waiting_for_next = None, b"", False
