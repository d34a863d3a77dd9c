"""MiniStack behind our guard: ``python -m infra.local.stack.emulator --port P --credentials FILE``.

MiniStack obeys whoever sends: a form from any web page made it run code, and its ``/_ministack/`` paths wipe everything. It is
an ASGI application, so the guard stands before it in its own process, and nothing else of it listens anywhere: no second port
and no socket behind the guard that a page or another user could find. The server is hypercorn, which MiniStack brings along.
Its own launcher is not used: it also writes its process id to a name in /tmp that anybody may lay a link under.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any, Protocol

from infra.local.files import UMASK
from infra.local.http.descriptors import allow_many_files
from infra.local.http.guard import Guard
from infra.local.http.message import Request, Response, failure
from infra.local.http.secret import read_credentials

HEALTH = "/_ministack/health"
_BODY_BYTES = 64 * 1024 * 1024  # of one request; what the stack puts into S3 is far smaller
_READ_S = 120  # how long a client may say nothing
_HEAD_BYTES = 64 * 1024

_TABLES_ELSEWHERE = Response(
    400,
    json.dumps(
        {
            "__type": "UnknownOperationException",
            "message": "the tables are not in the emulator: AWS_ENDPOINT_URL_DYNAMODB of `streamgage env` says where",
        }
    ).encode(),
    "application/x-amz-json-1.0",
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Application(Protocol):
    """An ASGI application."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, connection or life."""


class TooLarge(Exception):
    """A body went over its bound."""


class Guarded:
    """*application*, asked only by whom *guard* lets through, without its admin paths and without its CORS headers."""

    def __init__(self, application: Application, guard: Guard, *, holds_tables: bool) -> None:
        self._application, self._guard, self._holds_tables = application, guard, holds_tables

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = _request(scope)
        refusal = self._refusal(request)
        if refusal is not None:
            await _answer(send, refusal)
            return
        begun = False
        received_bytes = 0

        async def bounded() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body") or b"")
            if received_bytes > _BODY_BYTES:
                raise TooLarge
            return message

        async def marked(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                marks = self._guard.mark(request, Response(message["status"])).headers
                message = {**message, "headers": [*_without_cors(message.get("headers", ())), *_pairs(marks)]}
            await send(message)

        try:
            await self._application(scope, bounded, marked)
        except TooLarge:
            if not begun:
                await _answer(send, failure(413, f"a body has at most {_BODY_BYTES} bytes"))

    def _refusal(self, request: Request) -> Response | None:
        refusal = self._guard.refusal(request)
        if (
            refusal is None
            and _is_admin(request.path)
            and not (request.method == "GET" and request.path == HEALTH)
        ):
            return failure(403, "the emulator's own paths are not for clients")
        if (
            refusal is None
            and not self._holds_tables
            and request.headers.get("x-amz-target", "").startswith("DynamoDB")
        ):
            return _TABLES_ELSEWHERE
        return refusal


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description="MiniStack, on loopback, behind a guard.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--credentials", type=Path, required=True)
    options = parser.parse_args()
    os.umask(UMASK)
    allow_many_files()
    guard = Guard(access_key=read_credentials(options.credentials).access_key, open_paths=frozenset({HEALTH}))
    from hypercorn.asyncio import serve  # noqa: PLC0415 - after the arguments are known to be right
    from hypercorn.config import Config  # noqa: PLC0415 - the same
    from ministack.app import app  # noqa: PLC0415 - reads its environment when it is imported

    config = Config()
    config.bind = [f"127.0.0.1:{options.port}"]
    config.read_timeout = _READ_S
    config.keep_alive_timeout = 75
    config.keep_alive_max_requests = 1_000_000_000
    config.h11_max_incomplete_size = _HEAD_BYTES
    config.loglevel = os.environ.get("LOG_LEVEL", "WARNING")
    guarded = Guarded(
        app, guard, holds_tables="dynamodb" in os.environ.get("SERVICES", "dynamodb").split(",")
    )
    asyncio.run(serve(guarded, config))  # type: ignore[arg-type]  # ours knows the two kinds that it meets


def _request(scope: Message) -> Request:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    query = scope.get("query_string", b"").decode("latin-1")
    return Request(scope["method"], scope["path"] + (f"?{query}" if query else ""), headers, b"")


def _is_admin(path: str) -> bool:
    """Tell whether MiniStack may take *path* for one of its own, however it is written."""
    return path.replace("\\", "/").lstrip("/").lower().startswith(("_ministack", "_localstack"))


def _without_cors(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if not name.lower().startswith(b"access-control-")]


def _pairs(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


async def _answer(send: Send, response: Response) -> None:
    headers = {"content-type": response.content_type, "content-length": str(len(response.body))}
    start = {
        "type": "http.response.start",
        "status": response.status,
        "headers": _pairs({**headers, **response.headers, "connection": "close"}),
    }
    await send(start)
    await send({"type": "http.response.body", "body": response.body})


if __name__ == "__main__":
    main()
