"""The connections of a WebSocket API, and the management API by which a function speaks to them: ``@connections``.

It is asked with the home's access key, as the other services of the stack are: whoever has only the page's address may
listen, and not speak for the function. An unknown connection is 410 Gone, whether it ended or never was.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html and
botocore's model of ``apigatewaymanagementapi`` (checked 2026-11-29).
"""

import hmac
import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from infra.local.gateway.event import SOURCE_IP
from infra.local.gateway.socket_event import Client
from infra.local.gateway.throttle import Times
from infra.local.http.guard import access_key_of
from infra.local.http.message import Request, Response
from infra.local.http.websocket import SocketLimits, WebSocket

PREFIX = "/@connections/"
MESSAGE_BYTES = SocketLimits().message_bytes


@dataclass(slots=True)
class Connection:
    """An open connection."""

    client: Client
    socket: WebSocket
    active_ms: int


class Connections:
    """The open connections by their ids. Thread-safe."""

    def __init__(self, *, access_key: str, times: Times | None = None) -> None:
        self._access_key, self._times = access_key, times or Times()
        self._by_id: dict[str, Connection] = {}
        self._alone = threading.Lock()

    def add(self, client: Client, socket: WebSocket) -> None:
        """Know a connection whose handshake is done."""
        with self._alone:
            self._by_id[client.id] = Connection(client, socket, self._times.now_ms())

    def remove(self, client: Client) -> None:
        """Know it no more."""
        with self._alone:
            self._by_id.pop(client.id, None)

    def touch(self, client: Client) -> None:
        """Note that something came of it, or went to it."""
        with self._alone:
            if (found := self._by_id.get(client.id)) is not None:
                found.active_ms = self._times.now_ms()

    def manage(self, request: Request) -> Response:
        """Answer a request to ``/@connections/{id}``."""
        named = access_key_of(request)
        if named is None or not hmac.compare_digest(named.encode(), self._access_key.encode()):
            return _failure(403, "ForbiddenException", "signed with another access key than this home's")
        with self._alone:
            found = self._by_id.get(unquote(request.path).removeprefix(PREFIX))
        if found is None:
            return _failure(410, "GoneException", "")
        match request.method:
            case "POST":
                return self._post(found, request.body)
            case "GET":
                return _json(200, _described(found))
            case "DELETE":
                self.remove(found.client)
                found.socket.close()
                return Response(204)
        return _failure(405, "MethodNotAllowedException", "POST, GET or DELETE")

    def _post(self, found: Connection, body: bytes) -> Response:
        if len(body) > MESSAGE_BYTES:
            return _failure(413, "PayloadTooLargeException", f"a message has at most {MESSAGE_BYTES} bytes")
        try:
            text = body.decode()
        except UnicodeDecodeError:  # it would go out as a text frame, which is UTF-8
            return _failure(400, "BadRequestException", "a message is text in UTF-8")
        found.socket.send(text)
        self.touch(found.client)
        return _json(200, {})


def _described(found: Connection) -> dict[str, Any]:
    client = found.client
    return {
        "connectedAt": _iso(client.connected_ms),
        "identity": {"sourceIp": SOURCE_IP, "userAgent": client.user_agent},
        "lastActiveAt": _iso(found.active_ms),
    }


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(status: int, body: dict[str, Any], **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, json.dumps(body).encode(), "application/json", named)


def _failure(status: int, code: str, text: str) -> Response:
    return _json(status, {"message": text or None}, x_amzn_ErrorType=code)
