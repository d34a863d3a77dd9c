"""One bounded HTTP server: an event loop that reads and writes, and a few threads that answer.

A connection that is half a request, or idle, or does not read, holds memory within the limits and a deadline, and no
thread. Who comes beyond the limit is let in for whoever has waited longest for its client; only where all are being
answered does a newcomer wait, in the kernel's queue. Why asyncio under parsers without I/O, and what it costs: docs/adr/0025.
"""

import asyncio
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import cast

from infra.local.http.connection import Connection
from infra.local.http.crowd import Crowd, Phase
from infra.local.http.descriptors import connections_within
from infra.local.http.door import Door
from infra.local.http.guard import Guard
from infra.local.http.listen import listen
from infra.local.http.message import Handler, HangUp, Limits, Request, Response, Successor, failure

_LOOK_S = 0.5  # how often deadlines are looked at
_HANDSHAKE_S = 3.0
_SAY_S = 60.0  # how often it is said that there are no files
_LET_GO = 16  # connections at a time, where there are none
_FULL = Response(
    503, b"too much waits to be answered just now: send it again\n", headers={"Retry-After": "1"}
)


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
        limits = limits or Limits()
        self.limits = replace(
            limits, connections=connections_within(limits.connections, beside=limits.other_files)
        )
        self._guard = guard or Guard()
        self.buffered_bytes = 0
        self._handler, self._tls, self._name = handler, tls, name
        self._socket = listen(host, port)
        self._crowd = Crowd[Connection]()
        self._said_s = -_SAY_S
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
        return len(self._crowd)

    def connections_at(self, phase: Phase) -> int:
        """Return how many of them are at *phase* now."""
        return self._crowd.count(phase)

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
        door = Door(self._loop, self._socket.dup(), self)
        door.open()
        self._ready.set()
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _LOOK_S)
            now_s = time.monotonic()
            for connection in list(self._crowd):
                if connection.counted_bytes:
                    self.know(connection)  # it may have read
                if connection.expires_s < now_s:
                    connection.abort()
            self._look_at_successors(now_s)
        door.close()
        for each in self._everyone():
            each.finish()
        end_s = time.monotonic() + self.limits.grace_s
        while (self._crowd or self._successors) and time.monotonic() < end_s:
            await asyncio.sleep(0.01)  # connections end by callbacks
            self._look_at_successors(time.monotonic())
        for each in self._everyone():
            each.abort()
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn

    def _everyone(self) -> "list[Connection | Successor]":
        return [*self._crowd, *self._successors]

    def _look_at_successors(self, now_s: float) -> None:
        self._successors = {each for each in self._successors if each.look(now_s)}

    # Of its door, in the loop's thread: `door.House`.

    def has_room(self) -> bool:
        """Tell whether one more may come: there is room, or somebody who waits for its client would go for it."""
        return len(self._crowd) < self.limits.connections or self._who_goes() is not None

    def take(self, client: socket.socket) -> None:
        """Have a new connection; where there are too many, give up the one that has waited longest for its client."""
        if len(self._crowd) >= self.limits.connections and (victim := self._who_goes()) is not None:
            self._give_up(victim)  # before the newcomer is among those who wait, and would be who goes
        connection = Connection(self)
        self._crowd.put(connection, Phase.IDLE, time.monotonic())
        tls = self._tls
        making = self._loop.connect_accepted_socket(
            lambda: connection,
            client,
            ssl=tls,
            ssl_handshake_timeout=_HANDSHAKE_S if tls else None,
            ssl_shutdown_timeout=1 if tls else None,
        )
        connection.arrival = self._loop.create_task(making)
        connection.arrival.add_done_callback(partial(self._arrived, connection, client))

    def out_of_files(self, error: OSError) -> None:
        """Let go of those that have waited longest, and say so now and then."""
        for _ in range(_LET_GO):
            if (victim := self._who_goes()) is not None:
                self._give_up(victim)
        if (now_s := time.monotonic()) - self._said_s >= _SAY_S:
            self._said_s = now_s
            print(
                f"{self._name}: {error.strerror}, at {len(self._crowd):,} connections: those that have waited longest are"
                " ended; `ulimit -n` says how many files a process may open",
                file=sys.stderr,
                flush=True,
            )

    def _who_goes(self) -> Connection | None:
        """Return who goes first: who has waited longest without a whole head; else without a whole body."""
        return self._crowd.oldest(Phase.IDLE, Phase.HEAD, Phase.UNREAD) or self._crowd.oldest(Phase.BODY)

    def _give_up(self, victim: Connection) -> None:
        self.forget(victim)  # at once: asyncio tells of its loss later, and more may come before that
        victim.abort()

    def _arrived(self, connection: Connection, client: socket.socket, task: "asyncio.Task[object]") -> None:
        connection.arrival = None
        if connection.is_made:
            return
        self.forget(connection)
        client.close()
        if not task.cancelled() and not isinstance(error := task.exception(), OSError | None):
            traceback.print_exception(error, file=sys.stderr)

    # Of its connections, in the loop's thread: `connection.Server`.

    def settle(self, connection: Connection) -> None:
        """Know what *connection* is at, and holds; where all hold too much, refuse who has held a part for longest."""
        self.know(connection)
        if not self._has_bytes_left(
            0
        ):  # nobody waits: who is being answered, and sends more beside that, is refused that
            connection.refuse(_FULL)
            self.know(connection)

    def _has_bytes_left(self, wanted_bytes: int) -> bool:
        """Tell whether *wanted_bytes* more may be held, once parts were refused, and who does not read ended, as far as needed."""
        while self.buffered_bytes + wanted_bytes > self.limits.buffered_bytes:
            victim = self._crowd.oldest(Phase.HEAD, Phase.BODY, Phase.UNREAD)
            if victim is None:
                return False
            self.know(victim)  # it may have read meanwhile, and hold nothing
            if victim.phase in (Phase.HEAD, Phase.BODY):
                victim.refuse(_FULL)
                self.know(victim)
            if victim.phase in (Phase.HEAD, Phase.BODY, Phase.UNREAD):  # not even the refusal is taken
                self._give_up(victim)
        return True

    def know(self, connection: Connection) -> None:
        """Know what *connection* is at, and what it holds."""
        self._count(connection, connection.buffered_bytes)
        self._crowd.put(connection, connection.phase, time.monotonic())

    def refusal(self, request: Request) -> Response | None:
        """Return why a request is not taken, before its body is."""
        return self._guard.refusal(request)

    def forget(self, connection: Connection) -> None:
        """Count a connection that is lost no more."""
        self._crowd.drop(connection)
        self._count(connection, 0)

    def _count(self, connection: Connection, held_bytes: int) -> None:
        self.buffered_bytes += held_bytes - connection.counted_bytes
        connection.counted_bytes = held_bytes

    def hand_over(self, transport: asyncio.Transport, successor: Successor) -> None:
        """Let *successor* speak on the connection of *transport*, which HTTP has left."""
        self._successors.add(successor)
        transport.set_protocol(cast("asyncio.Protocol", successor))
        successor.taken(transport)

    def submit(self, request: Request, done: Callable[[Response | None], None]) -> None:
        """Answer *request* in a worker, where there are any, and call *done* in the loop; 503 where too much waits already."""
        size_bytes = request.size_bytes
        if not self._has_bytes_left(size_bytes):
            self._loop.call_soon(done, self._guard.mark(request, _FULL))
            return
        self.buffered_bytes += size_bytes

        def finished(response: Response | None) -> None:
            self.buffered_bytes -= size_bytes
            done(response)

        if self._workers is None:
            self._loop.call_soon(finished, self._answer(request))
            return
        future = self._workers.submit(self._answer, request)

        def pass_on(answered: "Future[Response | None]") -> None:
            if not answered.cancelled():
                with suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
                    self._loop.call_soon_threadsafe(finished, answered.result())

        future.add_done_callback(pass_on)

    def _answer(self, request: Request) -> Response | None:
        try:
            return self._guard.mark(request, self._handler(request))
        except HangUp:
            return None
        except Exception:  # noqa: BLE001 - the process must outlive a bug in one request; the trace says where it is
            traceback.print_exc(file=sys.stderr)
            return failure(500, f"{self._name} failed at this request; its log says where")
