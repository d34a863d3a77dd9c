"""HTTP/1.1 for the API: one thread a connection, kept alive. All of it is the local Kinesis's."""

import json
import os
import socket
import ssl
import threading
from typing import Protocol

from infra.local.kinesis.http1 import Reader, Refused, Request, response_head
from infra.local.kinesis.server import Listener
from streamgage.errors import ConfigError

CONTENT_TYPE = "application/x-amz-json-1.0"


class Api(Protocol):
    """What answers requests. Called from several threads at once."""

    def handle(self, target: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body that answer *body*; *target* names the operation."""

    def health(self) -> dict[str, object]:
        """Tell how it is."""


class DynamoServer:
    """One listening socket for an API, with its threads.

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
    """

    def __init__(self, api: Api, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._api = api
        try:
            self._server = Listener((host, port), self)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; is another process using the port?"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="dynamodb-accept",
            daemon=True,
        )

    @property
    def url(self) -> str:
        """The endpoint, for a client's ``endpoint_url``."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> None:
        """Accept connections in threads of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, close every connection and wait for its thread: what is acknowledged is stored."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def secure(self, connection: socket.socket) -> socket.socket | ssl.SSLSocket:
        """Return the connection as it is: there is no TLS."""
        return connection

    def serve(self, connection: socket.socket) -> None:
        """Answer the requests of one connection until it closes."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(connection)
        try:
            while (request := reader.next_request()) is not None:
                connection.sendall(self._respond(request))
                if request.headers.get("connection", "").lower() == "close":
                    return
        except Refused as refused:
            connection.sendall(response_head(refused.status, "text/plain", 0, close=True))

    def _respond(self, request: Request) -> bytes:
        if request.method == "GET":
            if request.path != "/health":
                return response_head(404, "text/plain", 0)
            body = json.dumps({"status": "ok", "pid": os.getpid(), **self._api.health()}).encode()
            return response_head(200, "application/json", len(body)) + body
        status, body = self._api.handle(request.headers.get("x-amz-target", ""), request.body)
        return response_head(status, CONTENT_TYPE, len(body)) + body
