"""HTTP/1.1 for the API: one thread a connection, kept alive; plain or TLS.

It stops gracefully: what was acknowledged is stored, and what is being answered is answered.
"""

import json
import os
import socket
import socketserver
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from infra.local.kinesis import sts, wire
from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.errors import ConnectionLost, KinesisError
from infra.local.kinesis.faults import CALM, Faults
from infra.local.kinesis.http1 import Reader, Refused, Request, response_head
from streamgage.errors import ConfigError

_GRACE_S = 3.0  # for a TLS handshake, and for the last requests when the server stops


class KinesisServer:
    """One listening socket for an API, with its threads.

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
    """

    def __init__(
        self,
        api: KinesisApi,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        faults: Faults | None = None,
        sleep_s: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._faults = faults
        self._sleep_s = sleep_s
        self._tls = tls
        try:
            self._server = Listener((host, port), self)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; is another process using the port?"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="kinesis-accept",
            daemon=True,
        )

    @property
    def url(self) -> str:
        """The endpoint, for a client's ``endpoint_url``."""
        host, port = self._server.server_address[:2]
        return f"{'https' if self._tls else 'http'}://{host!s}:{port}"

    def start(self) -> None:
        """Accept connections in threads of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, close every connection and wait for its thread: what is acknowledged is stored."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve(self, connection: socket.socket) -> None:
        """Answer the requests of one connection until it closes."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(connection)
        try:
            while (request := reader.next_request()) is not None:
                head, body = self._respond(request)
                connection.sendall(head + body)
                if request.headers.get("connection", "").lower() == "close":
                    return
        except Refused as refused:
            connection.sendall(response_head(refused.status, "text/plain", 0, close=True))
        except ConnectionLost:
            pass

    def secure(self, connection: socket.socket) -> socket.socket:
        """Return the connection, after the TLS handshake where there is TLS."""
        if self._tls is None:
            return connection
        connection.settimeout(_GRACE_S)
        secured = self._tls.wrap_socket(connection, server_side=True)
        secured.settimeout(None)
        return secured

    def _respond(self, request: Request) -> tuple[bytes, bytes]:
        if request.method == "GET":
            return self._health(request.path)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip()
        if content_type == sts.FORM:
            status, body = sts.answer_form(request.body, account=self._api.model.settings.account)
            return response_head(status, sts.XML, len(body)), body
        if content_type != wire.CBOR:
            content_type = wire.JSON
        try:
            body = wire.encode(content_type, self._act(content_type, request))
        except KinesisError as error:
            body = wire.encode_error(content_type, error)
            return response_head(error.status, content_type, len(body), error=error.code), body
        return response_head(200, content_type, len(body)), body

    def _act(self, content_type: str, request: Request) -> dict[str, Any] | None:
        action = request.headers.get("x-amz-target", "").rpartition(".")[2]
        values = wire.decode(content_type, request.body)
        plan = CALM
        if self._faults is not None:
            records = values.get("Records") if isinstance(values, dict) else None
            plan = self._faults.plan(action, len(records) if isinstance(records, list) else 1)
            if plan.delay_ms:
                self._sleep_s(plan.delay_ms / 1000)
        try:
            return self._api.call(action, values, plan=plan)
        except (KinesisError, ConnectionLost):
            raise
        except (
            Exception
        ) as error:  # the process must outlive a bug in one request; the trace says where it is
            traceback.print_exc(file=sys.stderr)
            raise KinesisError("InternalFailure", f"{type(error).__name__} in {action}") from error

    def _health(self, path: str) -> tuple[bytes, bytes]:
        if path != "/health":
            return response_head(404, "text/plain", 0), b""
        answer: dict[str, Any] = {"status": "ok", "pid": os.getpid(), "streams": self._api.model.names()}
        if self._faults is not None:
            answer["faults"] = dict(self._faults.fired)
        body = json.dumps(answer).encode()
        return response_head(200, "application/json", len(body)), body


class ConnectionOwner(Protocol):
    """What a listener hands its connections to."""

    def secure(self, connection: socket.socket) -> socket.socket:
        """Return the connection, after a handshake where there is one."""

    def serve(self, connection: socket.socket) -> None:
        """Answer the requests of one connection until it closes."""


class Listener(socketserver.ThreadingTCPServer):
    """A listening socket whose connections have a thread each."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False  # server_close() waits itself, for a bounded time
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: "ConnectionOwner") -> None:
        self._owner = owner
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, socketserver.BaseRequestHandler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base's form
        """Serve one connection in its thread."""
        with suppress(OSError):  # the client went away, or stop() closed the connection
            request = self._owner.secure(request)
            with self._changed:
                self._connections.add(request)
            self._owner.serve(request)
        self.shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def server_close(self) -> None:
        """Stop listening, let each connection finish the request it is at, and cut off those that do not."""
        super().server_close()
        with self._changed:
            self._shut(socket.SHUT_RD)
            if not self._changed.wait_for(lambda: not self._connections, timeout=_GRACE_S):
                self._shut(socket.SHUT_RDWR)
                self._changed.wait_for(lambda: not self._connections, timeout=_GRACE_S)

    def _shut(self, how: int) -> None:
        for connection in self._connections:
            with suppress(OSError):
                socket.socket.shutdown(connection, how)  # beneath TLS, whose own shutdown would wait
