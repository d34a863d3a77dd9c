"""One bounded HTTP server: an event loop that reads and writes, and a few threads that answer.

A connection that is half a request, or idle, or does not read, holds memory within the limits and a deadline, and no
thread. Why asyncio under parsers without I/O, and what it costs: docs/adr/0025.
"""

import asyncio
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import cast

from infra.local.http.guard import Guard
from infra.local.http.http1 import Http1
from infra.local.http.http2 import PREFACE, Http2
from infra.local.http.listen import BACKLOG, listen
from infra.local.http.message import Handler, HangUp, Limits, Request, Response, Successor, failure

_LOOK_S = 0.5  # how often deadlines are looked at
_HANDSHAKE_S = 3.0
_UNREAD_BYTES = 1024 * 1024  # of answers: a client that leaves more than that unread is read no further

_LINGER_S = 2.0  # a refused client may still be sending: closing at once would reset the refusal away


class HttpServer:
    """One listening socket and its handler. ``start``, then ``stop``; both from any thread, once.

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        name: str,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._guard = guard or Guard()
        self.buffered_bytes = 0
        self._handler, self._tls, self._name = handler, tls, name
        self._socket = listen(host, port)
        self._open: set[_Connection] = set()
        self._successors: set[Successor] = set()
        self._loop = asyncio.new_event_loop()
        self._workers: ThreadPoolExecutor | None = None
        if self.limits.workers:
            self._workers = ThreadPoolExecutor(self.limits.workers, thread_name_prefix=f"{name}-worker")
        self._thread = threading.Thread(target=self._run, name=f"{name}-loop", daemon=True)
        self._ready, self._stopping = threading.Event(), asyncio.Event()

    @property
    def url(self) -> str:
        """Where it listens, for a client's ``endpoint_url``."""
        host, port = self._socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{shown}:{port}"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    def start(self) -> None:
        """Accept connections in a thread of its own."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Stop accepting, answer what is being answered, for a bounded time, and close every connection."""
        if not self._thread.is_alive():
            self._socket.close()
            self._loop.close()
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            if self._workers is not None:
                self._workers.shutdown(wait=False, cancel_futures=True)
            self._loop.close()
            self._socket.close()

    async def _serve(self) -> None:
        server = await self._loop.create_server(
            lambda: _Connection(self),
            sock=self._socket.dup(),
            ssl=self._tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=_HANDSHAKE_S if self._tls else None,
            ssl_shutdown_timeout=1 if self._tls else None,
        )
        self._ready.set()
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _LOOK_S)
            now_s = time.monotonic()
            for connection in [each for each in self._open if each.expires_s < now_s]:
                connection.abort()
            self._look_at_successors(now_s)
        server.close()
        for each in self._everyone():
            each.finish()
        end_s = time.monotonic() + self.limits.grace_s
        while (self._open or self._successors) and time.monotonic() < end_s:
            await asyncio.sleep(0.01)  # connections end by callbacks
            self._look_at_successors(time.monotonic())
        for each in self._everyone():
            each.abort()
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn

    def _everyone(self) -> "list[_Connection | Successor]":
        return [*self._open, *self._successors]

    def _look_at_successors(self, now_s: float) -> None:
        self._successors = {each for each in self._successors if each.look(now_s)}

    # Of its connections, in the loop's thread.

    def admit(self, connection: "_Connection") -> None:
        """Count a new connection; where there are too many, give up the one that has waited longest for its client."""
        self._open.add(connection)
        if len(self._open) > self.limits.connections:
            waiting = (each for each in self._open if not each.busy)
            victim = min(waiting, key=lambda each: each.waits_since_s, default=connection)
            # At once: asyncio tells of its loss later, and more may come before that.
            self._open.discard(victim)
            victim.abort()

    def refusal(self, request: Request) -> Response | None:
        """Return why a request is not taken, before its body is."""
        return self._guard.refusal(request)

    def forget(self, connection: "_Connection") -> None:
        """Count a connection that is lost no more."""
        self._open.discard(connection)

    def hand_over(self, transport: asyncio.Transport, successor: Successor) -> None:
        """Let *successor* speak on the connection of *transport*, which HTTP has left."""
        self._successors.add(successor)
        transport.set_protocol(cast("asyncio.Protocol", successor))
        successor.taken(transport)

    def submit(self, request: Request, done: Callable[[Response | None], None]) -> None:
        """Answer *request* in a worker, where there are any, and call *done* in the loop."""
        if self._workers is None:
            self._loop.call_soon(done, self._answer(request))
            return
        future = self._workers.submit(self._answer, request)

        def pass_on(finished: "Future[Response | None]") -> None:
            if not finished.cancelled():
                with suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
                    self._loop.call_soon_threadsafe(done, finished.result())

        future.add_done_callback(pass_on)

    def _answer(self, request: Request) -> Response | None:
        try:
            return self._guard.mark(request, self._handler(request))
        except HangUp:
            return None
        except Exception:  # noqa: BLE001 - the process must outlive a bug in one request; the trace says where it is
            traceback.print_exc(file=sys.stderr)
            return failure(500, f"{self._name} failed at this request; its log says where")


class _Connection(asyncio.Protocol):
    """One client's connection, in the loop's thread."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._wire: Http1 | Http2 | None = None
        self._first = b""
        self._blocked_since_s: float | None = None
        self._ending_s: float | None = None
        self._finishing = False
        self._buffered_bytes = 0
        self.waits_since_s = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether a request of it is being answered."""
        return self._wire is not None and self._wire.busy

    @property
    def expires_s(self) -> float:
        """When it has taken too long."""
        limits = self._server.limits
        if self._ending_s is not None:
            return self._ending_s + _LINGER_S
        if self._blocked_since_s is not None:
            return self._blocked_since_s + limits.write_s
        return self._wire.expires_s if self._wire is not None else self.waits_since_s + limits.head_s

    def abort(self) -> None:
        """Close it now."""
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Close it once what is being answered is answered."""
        self._finishing = True
        if self._wire is not None:
            self._wire.finish()
        if self._transport is not None:
            self._flush()
            if not self.busy:
                self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio's word)."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server makes
        self._transport = transport
        transport.set_write_buffer_limits(high=_UNREAD_BYTES)
        self._server.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's form
        """End (asyncio's word)."""
        self._server.forget(self)
        self._account(0)
        self._transport = None

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
            requests = self._wire.receive(data, now_s=now_s)
            self._account(self._wire.buffered_bytes)
            self._dispatch(requests)
        except Exception:  # noqa: BLE001 - a bug in one connection
            traceback.print_exc(file=sys.stderr)
            self.abort()

    def _dispatch(self, requests: list[tuple[int, Request]]) -> None:
        for stream, request in requests:
            self._server.submit(request, lambda answer, stream=stream: self._answered(stream, answer))  # type: ignore[misc]  # mypy has no type for a lambda with a default
        self._flush()

    def _answered(self, stream: int, response: Response | None) -> None:
        successor = response.successor if response is not None else None
        if self._transport is None or self._wire is None:
            if successor is not None:
                successor.connection_lost(None)
            return
        self.waits_since_s = now_s = time.monotonic()
        if response is None:
            self._wire.hang_up(stream)
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
        self._account(0)
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

    def _account(self, buffered_bytes: int) -> None:
        """Keep the server's sum of what is not whole, and give this connection up where that is too much."""
        self._server.buffered_bytes += buffered_bytes - self._buffered_bytes
        self._buffered_bytes = buffered_bytes
        if buffered_bytes and self._server.buffered_bytes > self._server.limits.buffered_bytes:
            self.abort()

    def _end(self, transport: asyncio.Transport) -> None:
        """Send no more, and read until the client ends too: for a short time, and only what was sent already."""
        if self._ending_s is not None:
            return
        self._ending_s = time.monotonic()
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
