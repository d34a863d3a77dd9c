"""The gateway: a request goes to its route's function, or to the page.

Every answer of API Gateway's own has the status and the words that it has on AWS.

======  ==========================  =====================================================================
429     Too Many Requests           the stage's bucket is empty
431     Request Header Fields …     request line and header values are more than 10,240 bytes
413     Request Entity Too Large    the event would be larger than Lambda takes (6 MB)
404     Not Found                   no stage, or no route
500     Internal Server Error       the function failed, crashed, used up its time, or its answer is no response
503     Service Unavailable         the integration's time is up, or there was no sandbox
======  ==========================  =====================================================================

A function whose integration's time is up works on until its own is, as on AWS.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from infra.local.function.outcome import Answered, Failed, NotInvoked
from infra.local.gateway.answer import MalformedAnswer, message, response_of
from infra.local.gateway.api import DEFAULT, HttpApi, Stage
from infra.local.gateway.event import event_of, path_of
from infra.local.gateway.invoker import Invoker, Pool
from infra.local.gateway.page import Page
from infra.local.gateway.routes import Match, RouteTable, stage_of
from infra.local.gateway.say import Say, say_on_stderr
from infra.local.gateway.throttle import Throttle, Times
from infra.local.http.message import Request, Response
from streamgage.visible import sentence, visible

API_PATHS = ("/v1", "/prometheus", "/health")
"""What of all that only the ``$default`` route takes is the API's; the rest is the page's, as CloudFront divides it on AWS."""

_HEAD_BYTES = 10_240  # "Total combined size of request line and header values"
_EVENT_BYTES = 6 * 1024 * 1024
_ID_BYTES = 11  # 15 letters, and "="
_SHOWN = 200  # letters of a path, in the log


class Sockets(Protocol):
    """The WebSocket API beside it."""

    def answer(self, request: Request) -> Response | None:
        """Answer a request that is its own; None where it is not."""


class Gateway:
    """Answers the requests under *base* of *api*, whose routes' function *pool* runs, *concurrency* at once.

    *others* run what routes name that is another function, each as many at once: none takes the sandboxes of another.

    Thread-safe; one thread of the server's waits with each request. ``close`` it: what is under way ends by itself.
    """

    def __init__(
        self,
        api: HttpApi,
        pool: Pool,
        page: Page,
        *,
        base: str,
        port: int,
        account: str,
        concurrency: int,
        say: Say = say_on_stderr,
        times: Times | None = None,
        sockets: Sockets | None = None,
        others: Mapping[str, Pool] | None = None,
    ) -> None:
        self._api, self._page, self._sockets = api, page, sockets
        self._base, self._port, self._account, self._say = f"/{base}", port, account, say
        self._times = times or Times()
        self._table = RouteTable(api.routes)
        self._invoker = Invoker(pool, concurrency=concurrency)
        self._others = {name: Invoker(each, concurrency=concurrency) for name, each in (others or {}).items()}
        self._throttles = {each.name: Throttle(each.rates) for each in api.stages}

    def close(self) -> None:
        """Begin nothing any more."""
        for each in (self._invoker, *self._others.values()):
            each.close()

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.path == "/health":  # its own, for the supervisor; the function's is under the base
            return Response(200, b"ok\n")
        if request.path == self._base:
            place = f"{self._base}/{request.target[len(self._base) :]}"
            return Response(308, headers={"Location": place, "Referrer-Policy": "no-referrer"})
        inner = request._replace(target=request.target[len(self._base) :])
        if self._sockets is not None and (own := self._sockets.answer(inner)) is not None:
            return own
        if self._api.cors is None:
            return self._route(inner)
        preflight = self._api.cors.preflight(inner)
        if preflight is not None:
            return preflight
        response = self._route(inner)
        return replace(response, headers=self._api.cors.mark(inner, response.headers))

    def _route(self, request: Request) -> Response:
        path = path_of(request)
        staged = stage_of(self._api.stages, path)
        match = self._table.match(request.method, staged[1]) if staged is not None else None
        if (match is None or match.route.key == DEFAULT) and not _is_of_api(staged[1] if staged else path):
            return self._page.answer(request, path)
        if staged is None or match is None:
            return message(404, "Not Found")
        return self._proxy(request, match, staged[0], path)

    def _proxy(self, request: Request, match: Match, stage: Stage, path: str) -> Response:
        request_id = secrets.token_urlsafe(_ID_BYTES) + "="
        response = self._refused(request, match, stage) or self._invoked(
            request, match, stage, path, request_id
        )
        return replace(response, headers={**response.headers, "Apigw-Requestid": request_id})

    def _refused(self, request: Request, match: Match, stage: Stage) -> Response | None:
        line_bytes = len(f"{request.method} {request.target} HTTP/1.1")
        if line_bytes + sum(map(len, request.headers.values())) > _HEAD_BYTES:
            return message(431, "Request Header Fields Too Large")
        if not self._throttles[stage.name].takes(match.route.key, self._times.steady_s()):
            return message(429, "Too Many Requests")
        return None

    def _invoked(self, request: Request, match: Match, stage: Stage, path: str, request_id: str) -> Response:
        event = event_of(
            request,
            match,
            stage,
            path=path,
            account=self._account,
            api_id=self._api.id,
            request_id=request_id,
            now_ms=self._times.now_ms(),
            port=self._port,
        )
        payload = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
        if len(payload) > _EVENT_BYTES:
            return message(413, "Request Entity Too Large")
        what = f"{request.method} {visible(path[:_SHOWN])}"
        invoker = self._others.get(match.route.function, self._invoker)
        outcome = invoker.outcome(payload, match.route.timeout_ms)
        match outcome:
            case Answered(answered):
                try:
                    return response_of(answered)
                except MalformedAnswer as error:
                    self._say(f"500 to {what}: the function's answer {error}")
            case Failed(text):
                self._say(f"500 to {what}: {sentence(text)}")
            case NotInvoked(text):
                self._say(f"503 to {what}: {text}")
                return message(503, "Service Unavailable")
        return message(500, "Internal Server Error")


def _is_of_api(path: str) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in API_PATHS)
