"""A WebSocket client for tests: wsproto over a blocking socket, which can also send what no client should."""

import json
import re
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wsproto.connection import CLIENT, Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

PATIENCE_S = 120
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Refused(Exception):
    """The handshake was not taken: the answer's status, and all of its text."""

    def __init__(self, text: str) -> None:
        self.status, self.text = int(text.split(" ")[1]), text
        super().__init__(text)


class SocketClient:
    """A client whose handshake was taken; ``head`` is the server's answer to it."""

    def __init__(self, connection: socket.socket, head: str, rest: bytes) -> None:
        self.connection, self.head = connection, head
        self._wire = Connection(CLIENT)
        self._events: deque[Event] = deque()
        self._take(rest)

    def send(self, message: Any) -> None:
        self.raw(self._wire.send(TextMessage(message if isinstance(message, str) else json.dumps(message))))

    def send_event(self, event: Event) -> None:
        self.raw(self._wire.send(event))

    def raw(self, data: bytes) -> None:
        self.connection.sendall(data)

    def receive(self) -> Event:
        """Return what comes next; a message whole."""
        pieces: list[str] = []
        while True:
            while not self._events:
                data = self.connection.recv(65536)
                if not data:
                    raise ConnectionError("the server has closed the connection without a close frame")
                self._take(data)
            event = self._events.popleft()
            if not isinstance(event, TextMessage):
                return event
            pieces.append(event.data)
            if event.message_finished:
                return TextMessage("".join(pieces))

    def _take(self, data: bytes) -> None:
        self._wire.receive_data(data)
        self._events += self._wire.events()

    def message(self) -> Any:
        """Return the next message, read as JSON."""
        event = self.receive()
        assert isinstance(event, TextMessage), event
        return json.loads(event.data)

    def closed(self) -> tuple[int, str]:
        """Return code and reason of the close frame that comes next, behind whatever else."""
        while True:
            event = self.receive()
            if isinstance(event, CloseConnection):
                return int(event.code), event.reason or ""

    def close(self, code: int = 1000) -> tuple[int, str]:
        """Close, and return what the server answered."""
        self.send_event(CloseConnection(code))
        return self.closed()


@contextmanager
def connected(port: int, path: str, **headers: str) -> Iterator[SocketClient]:
    """A WebSocket at *path*. Raises: Refused. Names of headers have _ for -; an empty value leaves one out."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(handshake(port, path, **headers))
        data = b""
        while b"\r\n\r\n" not in data:
            received = connection.recv(65536)
            if not received:
                raise ConnectionError(f"no answer: {data!r}")
            data += received
        head, _, rest = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            said = re.search(rb"(?i)content-length: (\d+)", head)
            while len(rest) < int(said[1] if said else 0):
                rest += connection.recv(65536)
            raise Refused((head + b"\r\n\r\n" + rest).decode())
        yield SocketClient(connection, head.decode(), rest)


def handshake(port: int, path: str, **headers: str) -> bytes:
    named = {
        "Host": f"127.0.0.1:{port}", "Upgrade": "websocket", "Connection": "keep-alive, Upgrade", "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    } | {name.replace("_", "-"): value for name, value in headers.items()}  # fmt: skip
    lines = [f"{name}: {value}" for name, value in named.items() if value]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


__all__ = ["BytesMessage", "Ping", "Pong", "Refused", "SocketClient", "connected", "handshake"]
