"""The WebSocket API of the template: handshakes, messages and ends go to its function, as on AWS.

A handshake waits for ``$connect``: any answer but a 2xx refuses it. A client's messages are handled one after the other, in
their order (on AWS they may overtake each other); what its function answers goes back where the route is two-way. An end is
told to ``$disconnect`` at best: not where the gateway itself is killed.

=====================  ===========================================================================
403, Forbidden         no route takes the message
429, Too Many …        the stage's bucket is empty, or there are as many connections as may be
502, Internal server … the function failed, crashed, used up its time, or its answer is no response
504, Endpoint …        the integration's time is up, or there was no sandbox
=====================  ===========================================================================

The status is a handshake's; a client that is connected reads the words, with the ids of connection and request.
"""

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from infra.local.function.outcome import Answered, Failed, NotInvoked
from infra.local.gateway.answer import MalformedAnswer, message, response_of
from infra.local.gateway.connections import MESSAGE_BYTES, PREFIX, Connections
from infra.local.gateway.event import path_of
from infra.local.gateway.invoker import Invoker, Pool
from infra.local.gateway.say import Say, say_on_stderr
from infra.local.gateway.socket_api import CONNECT, DISCONNECT, SocketApi, SocketRoute
from infra.local.gateway.socket_event import Client, connect_event, disconnect_event, message_event
from infra.local.gateway.throttle import Throttle, Times
from infra.local.http.message import Request, Response
from infra.local.http.websocket import WebSocket, accepted, handshake_problem
from streamgage.visible import sentence

PATH = "/live"
CONNECTIONS = 1_000
_ID_BYTES = 11  # 15 letters, and "="
_FORBIDDEN = (403, "Forbidden")
_TOO_MANY = (429, "Too Many Requests")
_FAILED = (502, "Internal server error")
_TIMED_OUT = (504, "Endpoint request timed out")


class _Refused(NamedTuple):
    """Why something was not answered: the status and the words."""

    status: int
    words: str


class SocketFace:
    """The WebSocket API at ``PATH``, whose function *pool* runs, *concurrency* at once, and its ``@connections``.

    Thread-safe. ``close`` it when the server has stopped.
    """

    def __init__(
        self,
        api: SocketApi,
        pool: Pool,
        *,
        port: int,
        access_key: str,
        concurrency: int,
        say: Say = say_on_stderr,
        times: Times | None = None,
    ) -> None:
        self._api, self._port, self._say, self._times = api, port, say, times or Times()
        self._throttle = Throttle(api.stage.rates)
        self._connections = Connections(access_key=access_key, times=self._times)
        self._invoker = Invoker(pool, concurrency=concurrency)
        self._workers = ThreadPoolExecutor(2 * concurrency, thread_name_prefix="socket-worker")
        self._clients: dict[WebSocket, Client] = {}
        self._alone = threading.Lock()

    def close(self) -> None:
        """Begin nothing any more."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._invoker.close()

    def answer(self, request: Request) -> Response | None:
        """Answer a handshake or a request to ``@connections``; None where *request* is neither."""
        path = path_of(request)
        if path.startswith(PREFIX):
            return self._connections.manage(request)
        return self._handshake(request) if path == PATH else None

    def _handshake(self, request: Request) -> Response:
        problem = handshake_problem(request)
        if problem is not None:
            return problem
        headers = request.headers
        client = Client(
            id=_new_id(),
            connected_ms=self._times.now_ms(),
            host=headers.get("host", ""),
            user_agent=headers.get("user-agent", ""),
        )
        socket = WebSocket(self)
        with self._alone:
            if len(self._clients) >= CONNECTIONS:
                return message(*_TOO_MANY)
            self._clients[socket] = client
        try:
            answer = self._connect(request, client)
        except BaseException:
            self._forget(socket)
            raise
        if isinstance(answer, Response):
            return accepted(request, socket, subprotocol=answer.headers.get("sec-websocket-protocol"))
        self._forget(socket)
        return message(answer.status, answer.words)

    def _connect(self, request: Request, client: Client) -> Response | _Refused:
        """Ask ``$connect``. Returns: its answer, of a 2xx; else why the handshake is refused."""
        request_id, now_ms = _new_id(), self._times.now_ms()
        event = connect_event(
            request,
            client,
            stage=self._api.stage,
            api_id=self._api.id,
            request_id=request_id,
            port=self._port,
            now_ms=now_ms,
        )
        answer = self._invoked(self._api.routes[CONNECT], event)
        if isinstance(answer, Response) and not 200 <= answer.status < 300:
            return _Refused(answer.status, "Forbidden" if answer.status < 500 else _FAILED[1])
        return answer

    # Of its sockets, in the loop's thread: `websocket.Listener`.

    def opened(self, socket: WebSocket) -> None:
        """Let the function speak to it."""
        self._connections.add(self._clients[socket], socket)

    def received(self, socket: WebSocket, message: str, done: Callable[[], None]) -> None:
        """Have a message handled."""
        with suppress(RuntimeError):  # closed
            self._workers.submit(self._handle, socket, self._clients.get(socket), message, done)

    def closed(self, socket: WebSocket, code: int, reason: str) -> None:
        """Tell ``$disconnect``, if there is one."""
        client, route = self._forget(socket), self._api.routes.get(DISCONNECT)
        if client is None or route is None:
            return
        event = disconnect_event(
            client,
            code,
            reason,
            stage=self._api.stage,
            api_id=self._api.id,
            request_id=_new_id(),
            now_ms=self._times.now_ms(),
        )
        with suppress(RuntimeError):  # closed
            self._workers.submit(self._invoked, route, event)

    def _forget(self, socket: WebSocket) -> Client | None:
        with self._alone:
            client = self._clients.pop(socket, None)
        if client is not None:
            self._connections.remove(client)
        return client

    # In a worker.

    def _handle(self, socket: WebSocket, client: Client | None, body: str, done: Callable[[], None]) -> None:
        try:
            if client is not None:
                self._connections.touch(client)
                said = self._said(client, body)
                if said:
                    socket.send(said)
        finally:
            done()

    def _said(self, client: Client, body: str) -> str:
        """Return what the client is answered; empty: nothing."""
        request_id, route = _new_id(), self._api.route_of(body)
        if route is None:
            return _problem(_Refused(*_FORBIDDEN), client, request_id)
        event = message_event(
            route.key,
            client,
            body,
            stage=self._api.stage,
            api_id=self._api.id,
            request_id=request_id,
            now_ms=self._times.now_ms(),
        )
        answer = self._invoked(route, event)
        if isinstance(answer, _Refused):
            return _problem(answer, client, request_id)
        if not route.two_way:
            return ""
        try:
            if len(answer.body) <= MESSAGE_BYTES:
                return answer.body.decode()
            why = f"is of {len(answer.body):,} bytes; a message has at most {MESSAGE_BYTES:,}"
        except UnicodeDecodeError:
            why = "is no text in UTF-8"
        self._say(f"{route.key}: the function's answer {why}")
        return _problem(_Refused(*_FAILED), client, request_id)

    def _invoked(self, route: SocketRoute, event: Mapping[str, Any]) -> Response | _Refused:
        """Run the function of *route*."""
        if not self._throttle.takes(route.key, self._times.steady_s()):
            return _Refused(*_TOO_MANY)
        payload = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
        match self._invoker.outcome(payload, route.timeout_ms):
            case Answered(answered):
                try:
                    return _response(answered)
                except MalformedAnswer as error:
                    self._say(f"{route.key}: the function's answer {error}")
            case Failed(text):
                self._say(f"{route.key}: {sentence(text)}")
            case NotInvoked(text):
                self._say(f"{route.key}: {text}")
                return _Refused(*_TIMED_OUT)
        return _Refused(*_FAILED)


def _response(payload: bytes) -> Response:
    """Return what the function answered. Raises: MalformedAnswer: unlike an HTTP API, nothing is guessed."""
    try:
        said = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer(f"is no JSON: {error}") from error
    if not isinstance(said, dict) or "statusCode" not in said:
        raise MalformedAnswer("has no statusCode")
    return response_of(payload)


def _problem(refused: _Refused, client: Client, request_id: str) -> str:
    return json.dumps({"message": refused.words, "connectionId": client.id, "requestId": request_id})


def _new_id() -> str:
    return secrets.token_urlsafe(_ID_BYTES) + "="
