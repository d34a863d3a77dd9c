"""A WebSocket behind its handshake: whole messages in, messages out, everything bounded.

Frames are wsproto's, which has no I/O; the connection is asyncio's, taken over from HTTP/1.1 (`message.Successor`). What a
client sends is handed on message by message, the next when the one before is done, and while too much waits it is not read.

Source: https://www.rfc-editor.org/rfc/rfc6455 (checked 2026-11-29).
"""

import asyncio
import base64
import binascii
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from wsproto.connection import SERVER, Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import generate_accept_token

from infra.local.http.message import Request, Response, failure

_VERSION = "13"
_KEY_BYTES = 16
_PIECE = 8_192  # letters of one frame: no more than 32 kB
_ABNORMALLY = 1006  # no close frame came


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLimits:
    """The bounds of one WebSocket.

    ``idle_s`` runs from the last frame either way, ``lasts_s`` from the handshake. ``unread_bytes`` is what may wait for a
    client that does not read; ``waiting`` messages, or ``waiting_bytes`` of them, may wait to be handled. ``linger_s`` is
    for a client to take what was sent last, and to answer a close.
    """

    frame_bytes: int = 32 * 1024
    message_bytes: int = 128 * 1024
    idle_s: float = 600
    lasts_s: float = 7_200
    unread_bytes: int = 256 * 1024
    waiting: int = 16
    waiting_bytes: int = 128 * 1024
    linger_s: float = 5


class Listener(Protocol):
    """Whose the socket is. It is told in the loop's thread, and must not block."""

    def opened(self, socket: "WebSocket") -> None:
        """Know that the handshake is done."""

    def received(self, socket: "WebSocket", message: str, done: Callable[[], None]) -> None:
        """Handle a *message*; the next comes when *done* was called, by any thread."""

    def closed(self, socket: "WebSocket", code: int, reason: str) -> None:
        """Know that it ends, once, whoever began it."""


def handshake_problem(request: Request) -> Response | None:
    """Return the answer to what is no handshake of a WebSocket; None where it is one. RFC 6455, section 4.2.1."""
    headers = request.headers
    offered = "websocket" in _tokens(headers.get("upgrade")) and "upgrade" in _tokens(
        headers.get("connection")
    )
    if request.method != "GET" or not offered:
        return _upgrade_required("this is a WebSocket")
    if headers.get("sec-websocket-version") != _VERSION:
        return _upgrade_required(f"the version of WebSocket is {_VERSION}")
    try:
        is_key = len(base64.b64decode(headers.get("sec-websocket-key", ""), validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        is_key = False
    return None if is_key else failure(400, "Sec-WebSocket-Key is 16 bytes in base 64")


def accepted(request: Request, socket: "WebSocket", *, subprotocol: str | None = None) -> Response:
    """Return the answer that makes *socket* of the connection; *subprotocol* only if the client offered it."""
    key = request.headers["sec-websocket-key"].encode("latin-1")
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": generate_accept_token(key).decode("ascii"),
    }
    if subprotocol is not None and subprotocol in offered_subprotocols(request.headers):
        headers["Sec-WebSocket-Protocol"] = subprotocol
    return Response(101, headers=headers, successor=socket)


def offered_subprotocols(headers: Mapping[str, str]) -> list[str]:
    """Return the subprotocols that a client would speak, in its order."""
    return [each.strip() for each in headers.get("sec-websocket-protocol", "").split(",") if each.strip()]


def _tokens(value: str | None) -> list[str]:
    return re.split(r"\s*,\s*", value.strip().lower()) if value else []


def _upgrade_required(why: str) -> Response:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": _VERSION}
    return Response(426, f"{why}\n".encode(), headers=headers)


class WebSocket(asyncio.Protocol):
    """One WebSocket of *listener*. ``send`` and ``close`` may be called from any thread, all else in the loop's."""

    def __init__(
        self,
        listener: Listener,
        limits: SocketLimits | None = None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener, self._limits, self._clock_s = listener, limits or SocketLimits(), clock_s
        self._wire = Connection(SERVER)
        self._transport: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pieces: list[str] = []
        self._frame_bytes = self._message_bytes = 0
        self._waiting: deque[str] = deque()
        self._waiting_bytes = 0
        self._at_work = False
        self._told = self._is_over = False
        self._began_s = self._active_s = clock_s()
        self._ending_s: float | None = None

    def send(self, message: str) -> None:
        """Send a text, if the client is still there. Where too much waits for it, it is closed with 1013 instead."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the server has stopped
                self._loop.call_soon_threadsafe(self._send, message)

    def close(self, code: int = CloseReason.NORMAL_CLOSURE, reason: str = "") -> None:
        """Send a close frame, and end the connection when the client has answered it, or soon after."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the server has stopped
                self._loop.call_soon_threadsafe(self._close, code, reason)

    # Of the server: `message.Successor`.

    def taken(self, transport: asyncio.Transport) -> None:
        """Speak on *transport* from now on."""
        self._transport, self._loop = transport, asyncio.get_running_loop()
        self._began_s = self._active_s = self._clock_s()
        transport.set_write_buffer_limits(high=self._limits.unread_bytes)
        self._listener.opened(self)
        if not transport.is_reading():
            transport.resume_reading()

    def look(self, now_s: float) -> bool:
        """End what has lasted too long; tell whether it is still there."""
        if self._transport is not None:
            if self._ending_s is not None:
                if now_s > self._ending_s + self._limits.linger_s:
                    self._transport.abort()
            elif now_s > self._active_s + self._limits.idle_s or now_s > self._began_s + self._limits.lasts_s:
                self._close(CloseReason.GOING_AWAY, "Going away")
        return not self._is_over

    def finish(self) -> None:
        """Say that the server goes away."""
        self._close(CloseReason.GOING_AWAY, "Going away")

    def abort(self) -> None:
        """End it now."""
        if self._transport is not None:
            self._transport.abort()

    # Of asyncio.

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._active_s = self._clock_s()
        if self._wire.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            self._wire.receive_data(data)
            self._pull()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's form
        """Know that the client is gone."""
        self._transport, self._is_over = None, True
        self._tell(_ABNORMALLY, "Connection closed abnormally")

    def _pull(self) -> None:
        """Take frames, as long as their messages may wait."""
        limits = self._limits
        while len(self._waiting) < limits.waiting and self._waiting_bytes < limits.waiting_bytes:
            event = next(self._wire.events(), None)
            if event is None:
                break
            match event:
                case TextMessage():
                    self._take(event)
                case BytesMessage():
                    # "If a client app sends a binary frame, API Gateway rejects it and disconnects the client with code 1003."
                    self._fail(CloseReason.UNSUPPORTED_DATA, "binary frames are not taken")
                case Ping():
                    self._write(self._wire.send(event.response()) if self._is_open else b"")
                case CloseConnection():
                    self._closing(event)
        self._look_at_reading()

    @property
    def _is_open(self) -> bool:
        return self._wire.state is ConnectionState.OPEN

    def _take(self, event: TextMessage) -> None:
        if not self._is_open:  # we have closed it
            return
        size = len(event.data.encode())
        self._frame_bytes += size
        self._message_bytes += size
        if self._frame_bytes > self._limits.frame_bytes:
            self._fail(CloseReason.MESSAGE_TOO_BIG, f"a frame has at most {self._limits.frame_bytes} bytes")
            return
        if self._message_bytes > self._limits.message_bytes:
            self._fail(
                CloseReason.MESSAGE_TOO_BIG, f"a message has at most {self._limits.message_bytes} bytes"
            )
            return
        if event.data:
            self._pieces.append(event.data)
        if event.frame_finished:
            self._frame_bytes = 0
        if event.message_finished:
            self._waiting.append("".join(self._pieces))
            self._waiting_bytes += self._message_bytes
            self._pieces, self._message_bytes = [], 0
            self._next()

    def _next(self) -> None:
        """Have the next message handled, if none is; also of a client that has left meanwhile."""
        if self._at_work or not self._waiting:
            return
        message = self._waiting.popleft()
        self._waiting_bytes -= len(message.encode())
        self._at_work = True
        self._listener.received(self, message, self._done)

    def _done(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._go_on)

    def _go_on(self) -> None:
        self._at_work = False
        self._next()
        if self._transport is not None and self._is_open:
            self._pull()

    def _look_at_reading(self) -> None:
        transport, limits = self._transport, self._limits
        if transport is None or transport.is_closing():
            return
        full = len(self._waiting) >= limits.waiting or self._waiting_bytes >= limits.waiting_bytes
        if full and self._is_open and transport.is_reading():
            transport.pause_reading()
        elif (not full or not self._is_open) and not transport.is_reading():
            transport.resume_reading()

    def _closing(self, event: CloseConnection) -> None:
        """Answer a close frame, or end what is no WebSocket any more."""
        match self._wire.state:
            case ConnectionState.OPEN:  # wsproto could not read on
                self._fail(event.code, event.reason or "")
            case ConnectionState.REMOTE_CLOSING:
                code = int(event.code)
                self._write(self._wire.send(event.response()))
                self._end()
                reason = event.reason or ("Client-side close frame status not set" if code == 1005 else "")
                self._tell(code, reason)
            case _:
                self._end()

    def _fail(self, code: int, reason: str) -> None:
        """Close for good what the client did wrong: nothing more of it is read."""
        self._close(code, reason)
        self._end()

    def _close(self, code: int, reason: str) -> None:
        if self._transport is None or not self._is_open:
            return
        self._transport.write(self._wire.send(CloseConnection(code, reason)))
        self._ending_s = self._clock_s()
        self._waiting.clear()
        self._look_at_reading()
        self._tell(int(code), reason)

    def _end(self) -> None:
        """Close the connection behind what is still to be sent."""
        if self._ending_s is None:
            self._ending_s = self._clock_s()
        if self._transport is not None:
            self._transport.close()

    def _send(self, message: str) -> None:
        if self._transport is None or not self._is_open:
            return
        self._active_s = self._clock_s()
        pieces = [message[at : at + _PIECE] for at in range(0, len(message), _PIECE)] or [""]
        last = len(pieces) - 1
        frames = [TextMessage(each, message_finished=at == last) for at, each in enumerate(pieces)]
        self._write(b"".join(map(self._wire.send, frames)))

    def _write(self, data: bytes) -> None:
        if self._transport is None or not data:
            return
        if self._transport.get_write_buffer_size() + len(data) > self._limits.unread_bytes:
            self._fail(CloseReason.TRY_AGAIN_LATER, "it is not read as fast as there is news")
            return
        self._transport.write(data)

    def _tell(self, code: int, reason: str) -> None:
        if not self._told:
            self._told = True
            self._listener.closed(self, code, reason)
