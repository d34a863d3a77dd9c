"""The WebSocket beside the page in its tests: it subscribes whoever asks, and sends what a test says, well formed or not."""

import json
import socket
import threading
from dataclasses import dataclass, field
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request, TextMessage

MINUTE_MS = 60_000


@dataclass
class PageSocket:
    """Open sockets of pages. ``refuses``: no handshake is taken; ``says`` is what a subscription is answered, None: nothing."""

    refuses: bool = False
    says: Any = None
    answers: bool = True
    asked: list[Any] = field(default_factory=list)
    handshakes: int = 0
    _open: list[tuple[WSConnection, socket.socket]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, connected: socket.socket, head: bytes) -> None:
        """Serve the client whose handshake is *head*, until it leaves."""
        connection = WSConnection(ConnectionType.SERVER)
        connection.receive_data(head)
        for event in connection.events():
            if isinstance(event, Request):
                connected.sendall(connection.send(AcceptConnection()))
        with self._lock:
            self._open.append((connection, connected))
        try:
            while data := connected.recv(65_536):
                connection.receive_data(data)
                if not self._take(connection, connected):
                    return
        except OSError:
            pass
        finally:
            with self._lock:
                self._open = [each for each in self._open if each[1] is not connected]

    def _take(self, connection: WSConnection, connected: socket.socket) -> bool:
        for event in connection.events():
            if isinstance(event, CloseConnection):
                with self._lock:
                    connected.sendall(connection.send(event.response()))
                return False
            if isinstance(event, TextMessage):
                said = json.loads(event.data)
                self.asked.append(said)
                if self.answers:
                    told = (
                        {"subscribed": {"rollups": said.get("rollups")}} if self.says is None else self.says
                    )
                    with self._lock:
                        connected.sendall(connection.send(TextMessage(json.dumps(told))))
        return True

    def tell(self, told: Any) -> None:
        """Send *told* to every page: bytes and text as they are, else as JSON."""
        message = (
            BytesMessage(told)
            if isinstance(told, bytes)
            else TextMessage(told if isinstance(told, str) else json.dumps(told))
        )
        with self._lock:
            for connection, connected in self._open:
                connected.sendall(connection.send(message))

    def changed(self, rollup: str, at_ms: int) -> None:
        """Tell that the minute around *at_ms* of *rollup* changed."""
        start_ms = at_ms - at_ms % MINUTE_MS
        entry = {"rollup": rollup, "window": "1m", "from_ms": start_ms, "to_ms": start_ms + MINUTE_MS}
        self.tell({"changed": [entry], "now_ms": at_ms})

    def drop(self) -> None:
        """End every connection without a word."""
        with self._lock:
            for _, connected in self._open:
                connected.shutdown(socket.SHUT_RDWR)
