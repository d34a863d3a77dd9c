"""One client's connection, in the loop's thread: what comes goes to a parser without I/O, what is whole to the server."""

import asyncio
import sys
import time
import traceback
from collections.abc import Callable
from typing import Protocol

from infra.local.http.crowd import Phase
from infra.local.http.http1 import Http1
from infra.local.http.http2 import PREFACE, Http2
from infra.local.http.message import Limits, Request, Response, Successor

_UNREAD_BYTES = 1024 * 1024  # of answers: a client that leaves more than that unread is read no further
_LINGER_S = 2.0  # a refused client may still be sending: closing at once would reset the refusal away


class Server(Protocol):
    """Whose the connection is. Called in the loop's thread."""

    limits: Limits

    def refusal(self, request: Request) -> Response | None:
        """Return why a request is not taken, before its body is."""

    def know(self, connection: "Connection") -> None:
        """Know that it may be in another phase, or hold less."""

    def settle(self, connection: "Connection") -> None:
        """Know that it may hold more, and refuse some, or it, where that is too much."""

    def forget(self, connection: "Connection") -> None:
        """Have it no more."""

    def hand_over(self, transport: asyncio.Transport, successor: Successor) -> None:
        """Let *successor* speak on the connection of *transport*, which HTTP has left."""

    def submit(self, request: Request, done: Callable[[Response | None], None]) -> None:
        """Answer *request*, and call *done* in the loop, never before this returns."""


class Connection(asyncio.Protocol):
    """A connection of *server*, from when it was accepted on: it may be some time before asyncio has made it (TLS)."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._wire: Http1 | Http2 | None = None
        self._first = b""
        self._blocked_since_s: float | None = None
        self._ending_s: float | None = None
        self._finishing = False
        self._since_s = time.monotonic()
        self.is_made = False
        self.counted_bytes = 0  # of what it holds: its server's
        self.arrival: asyncio.Task[object] | None = None

    @property
    def busy(self) -> bool:
        """Whether a request of it is being answered."""
        return self._wire is not None and self._wire.busy

    @property
    def phase(self) -> Phase:
        """What it is at. Who leaves much unread is at that, whatever else is being answered to it."""
        if self.busy and self._unread_bytes <= _UNREAD_BYTES:
            return Phase.BUSY
        if self._unread_bytes:
            return Phase.UNREAD
        if self._wire is None or self._ending_s is not None:
            return Phase.IDLE
        if self._wire.in_body:
            return Phase.BODY
        return Phase.HEAD if self._wire.buffered_bytes else Phase.IDLE

    @property
    def buffered_bytes(self) -> int:
        """How much is here of requests that are not whole, or not begun, and of answers that are not read."""
        if self._wire is None or self._ending_s is not None:
            return self._unread_bytes
        return self._wire.buffered_bytes + self._unread_bytes

    @property
    def _unread_bytes(self) -> int:
        held_bytes = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return held_bytes + (self._wire.unsent_bytes if self._wire is not None else 0)

    @property
    def expires_s(self) -> float:
        """When it has taken too long."""
        limits = self._server.limits
        if self._ending_s is not None:
            return self._ending_s + _LINGER_S
        if self._blocked_since_s is not None:
            return self._blocked_since_s + limits.write_s
        return self._wire.expires_s if self._wire is not None else self._since_s + limits.head_s

    def abort(self) -> None:
        """Close it now."""
        if self._transport is not None:
            self._transport.abort()
        elif self.arrival is not None:
            self.arrival.cancel()

    def refuse(self, refusal: Response) -> None:
        """Answer by *refusal* what is here in part, and let go of it; what is being answered goes on."""
        wire = self._wire
        if wire is not None and self._ending_s is None and not (wire.busy and isinstance(wire, Http1)):
            wire.refuse(refusal)
            self._flush()

    def finish(self) -> None:
        """Close it once what is being answered is answered."""
        self._finishing = True
        if self._wire is not None:
            self._wire.finish()
        if self._transport is None:
            self.abort()
            return
        self._flush()
        if not self.busy:
            self._transport.close()

    # Of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what connect_accepted_socket makes
        self._transport, self.is_made = transport, True
        transport.set_write_buffer_limits(high=_UNREAD_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's form
        """End."""
        self._transport = None
        self._server.forget(self)

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        self._blocked_since_s = time.monotonic()
        self._look()

    def resume_writing(self) -> None:
        """Note that it reads again."""
        self._blocked_since_s = None
        self._look()

    def data_received(self, data: bytes) -> None:
        """Take what came; whatever goes wrong, the connection ends, and its socket with it."""
        now_s = time.monotonic()
        try:
            if self._ending_s is not None:
                return
            if self._wire is None:
                self._first += data
                if len(self._first) < len(PREFACE) and PREFACE.startswith(self._first):
                    return
                kind = Http2 if self._first.startswith(PREFACE) else Http1
                self._wire = kind(self._server.limits, self._server.refusal, now_s=now_s)
                data, self._first = self._first, b""
            self._dispatch(self._wire.receive(data, now_s=now_s))
        except Exception:  # noqa: BLE001 - a bug in one connection
            traceback.print_exc(file=sys.stderr)
            self.abort()

    def _dispatch(self, requests: list[tuple[int, Request]]) -> None:
        self._server.settle(self)
        for stream, request in requests:
            self._server.submit(request, lambda answer, stream=stream: self._answered(stream, answer))  # type: ignore[misc]  # mypy has no type for a lambda with a default
        self._flush()
        if self._unread_bytes:
            self._server.settle(self)

    def _answered(self, stream: int, response: Response | None) -> None:
        successor = response.successor if response is not None else None
        if self._transport is None or self._wire is None:
            if successor is not None:
                successor.connection_lost(None)
            return
        now_s = time.monotonic()
        if response is None:
            self._wire.hang_up(stream)
            self._server.settle(self)
            self._flush()
            return
        try:
            requests = self._wire.answer(stream, response, now_s=now_s)
            if successor is None:
                self._dispatch(requests)
            else:
                self._hand_over(successor)
        except Exception:  # noqa: BLE001 - a bug in one connection
            traceback.print_exc(file=sys.stderr)
            self.abort()

    def _hand_over(self, successor: Successor) -> None:
        """Leave the connection behind a 101, unless its client sent what was not asked for yet, or the server stops."""
        transport, wire = self._transport, self._wire
        if transport is None or not isinstance(wire, Http1) or wire.busy or wire.ended or self._finishing:
            successor.connection_lost(None)
            self.abort()
            return
        transport.write(wire.take_output())
        self._transport = None
        self._server.forget(self)
        self._server.hand_over(transport, successor)

    def _flush(self) -> None:
        transport, wire = self._transport, self._wire
        if transport is None or wire is None:
            return
        output = wire.take_output()
        if output:
            transport.write(output)
        if wire.ended and not wire.busy:
            self._end(transport)
            return
        self._look()

    def _end(self, transport: asyncio.Transport) -> None:
        """Send no more, and read until the client ends too: for a short time, and only what was sent already."""
        if self._ending_s is not None:
            return
        self._ending_s = time.monotonic()
        self._server.know(self)
        if transport.can_write_eof() and not self._finishing:
            transport.write_eof()
            transport.resume_reading()
        else:
            transport.close()

    def _look(self) -> None:
        """Read on, or wait: HTTP/1.1 while a request is answered, either while the client does not read."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        waits = self._blocked_since_s is not None or (self.busy and isinstance(self._wire, Http1))
        if waits and transport.is_reading():
            transport.pause_reading()
        elif not waits and not transport.is_reading():
            transport.resume_reading()
