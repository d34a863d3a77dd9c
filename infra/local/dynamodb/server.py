"""The API over HTTP: a body in, a body out. The serving is ``infra.local.http``'s."""

import json
import os
from typing import Protocol

from infra.local.http.guard import HEALTH, Guard
from infra.local.http.message import Limits, Request, Response
from infra.local.http.server import HttpServer

CONTENT_TYPE = "application/x-amz-json-1.0"


class Api(Protocol):
    """What answers requests, maybe from several threads at once."""

    def handle(self, target: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body that answer *body*; *target* names the operation."""

    def health(self) -> dict[str, object]:
        """Tell how it is."""


class DynamoServer:
    """One listening socket for an API. Stopping is graceful: what was acknowledged is stored.

    ``may_block``: its storage waits for a disk, so requests are answered by threads.

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
    """

    def __init__(
        self,
        api: Api,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        guard: Guard | None = None,
        may_block: bool = False,
    ) -> None:
        self._api = api
        limits = Limits() if may_block else Limits(workers=0)
        self._server = HttpServer(
            self.respond, name="dynamodb", host=host, port=port, guard=guard, limits=limits
        )
        self.start, self.stop = self._server.start, self._server.stop

    @property
    def url(self) -> str:
        """The endpoint, for a client's ``endpoint_url``."""
        return self._server.url

    def respond(self, request: Request) -> Response:
        """Answer one request."""
        if request.method == "GET":
            if request.path != HEALTH:
                return Response(404)
            answer = {"status": "ok", "pid": os.getpid(), **self._api.health()}
            return Response(200, json.dumps(answer).encode(), "application/json")
        if request.method != "POST":
            return Response(405, b"POST, as AWS's clients do\n", headers={"Allow": "GET, POST"})
        status, body = self._api.handle(request.headers.get("x-amz-target", ""), request.body)
        return Response(status, body, CONTENT_TYPE)
