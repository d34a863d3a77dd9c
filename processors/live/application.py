"""The application: routes, and what all of them share. It knows no environment: ``function`` builds it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, cast

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, CORSConfig, Response

from processors.awsjson.client import ServiceError
from processors.deadline import Deadline
from processors.live import parameters, questions
from processors.live.alarm import ended_by
from processors.live.described import rollup_told, rollups_reply, status_reply
from processors.live.forms import reply_of
from processors.live.kept import KeptAnswers
from processors.live.openapi import document
from processors.live.parameters import Parameter, read
from processors.live.place import CallersPlace, Stack
from processors.live.problems import OutOfTimeError, Refused, nearest
from processors.live.prometheus import PREFIX, prometheus_reply
from processors.live.questions import Ask, as_parameters, is_relative
from processors.live.replies import (
    ANSWER_FORMS,
    JSON,
    Reply,
    error_reply,
    form_of,
    response_of,
    without_body,
)
from processors.live.request import Request
from processors.live.scope import Scope
from processors.live.tickets import TICKET_S, Pass
from processors.query.tables import Tables
from streamgage.definition.pipeline import Rollup
from streamgage.errors import ConfigError, PoisonRecord, RetryableError, TooMuchError

READS = ("GET", "HEAD", "OPTIONS")
_GATEWAY_S = 29.0  # API Gateway waits 30 s at most
_LEFT_S = 1.0  # to send an answer in, or to say that there is none
_OPENAPI_S = 300
_TICKET = "/v1/live/ticket"
_ASKED: dict[str, tuple[Ask, tuple[Parameter, ...], str]] = {
    "keys": (questions.keys, parameters.KEYS, "keys"),
    "range": (questions.over_range, parameters.RANGE, "rows"),
    "top": (questions.top, parameters.TOP, "rows"),
    "silent": (questions.silent, parameters.SILENT, "rows"),
}


class LambdaContext(Protocol):
    """As far as it is looked at."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long Lambda lets this invocation run."""


class Told(NamedTuple):
    """What is told of a request: for a log and metrics. ``error`` is what only those who run the stack may read."""

    method: str
    route: str
    status: int
    rows: int
    read_units: float
    error: Exception | None


@dataclass(slots=True)
class _Turn:
    """One request, while it is answered."""

    request: Request
    place: CallersPlace
    now_ms: int
    route: str = "none"
    rows: int = 0
    read_units: float = 0.0
    error: Exception | None = None

    @property
    def is_prometheus(self) -> bool:
        return self.request.path.startswith(PREFIX)


@dataclass(slots=True)
class Application:
    """Answers one event at a time, as a sandbox gets them. *told* is called once for each.

    *origins*: whose pages may read answers. *keys_claim*: see Scope.
    """

    stack: Stack
    now_ms: Callable[[], int]
    told: Callable[[Told], None]
    origins: tuple[str, ...] = ()
    keys_claim: str = ""
    clock: Callable[[], float] = time.monotonic
    _kept: KeptAnswers = field(init=False)
    _app: APIGatewayHttpResolver = field(init=False)
    _turn: _Turn = field(init=False)

    def __post_init__(self) -> None:
        """Register the routes."""
        self._kept = KeptAnswers(self.clock)
        cors = None
        if self.origins:
            first, *others = self.origins
            exposed = [
                "Age",
                "ETag",
                *(f"Streamgage-{each}" for each in ("Now-Ms", "Applied-Ms", "Left", "Read-Units")),
            ]
            asked = ["Accept", "Cache-Control", "If-None-Match"]
            cors = CORSConfig(first, others, allow_headers=asked, expose_headers=exposed, max_age=3600)
        self._app = app = APIGatewayHttpResolver(
            cors=cors,
            debug=False,
            serializer=_as_it_is,
        )
        app.get("/health")(self._health)
        app.get("/v1/status")(self._status)
        app.get(r"/v1/openapi\.json")(self._openapi)
        app.get("/v1/rollups")(self._rollups)
        app.get("/v1/rollups/<rollup>")(self._rollup)
        app.get("/v1/rollups/<rollup>/<how>")(self._question)
        app.post(_TICKET)(self._ticket)
        app.route(f"{PREFIX}.*", method=["GET", "POST"])(self._prometheus)
        app.not_found(self._not_found)
        app.exception_handler(Exception)(self._failed)

    def handle(self, event: Any, context: LambdaContext) -> dict[str, Any]:
        """Return the answer to *event*. Raises: ConfigError, it is no event of an HTTP API."""
        request = Request.of(event)
        left_s = min(context.get_remaining_time_in_millis() / 1000, _GATEWAY_S) - _LEFT_S
        deadline = Deadline.after(max(left_s, 0.0))
        self._turn = _Turn(request, CallersPlace(self.stack, Scope(), deadline), self.now_ms())
        method = "GET" if request.method == "HEAD" else request.method
        response: dict[str, Any] = self._app.resolve(_event_of(event, request, method), cast("Any", context))
        turn = self._turn
        read_units = max(turn.read_units, turn.place.read_units)
        self.told(Told(request.method, turn.route, response["statusCode"], turn.rows, read_units, turn.error))
        return without_body(response) if request.method == "HEAD" else response

    # --- what every route does ---

    def _answered(
        self, route: str, reply: Callable[[_Turn], Reply], *, is_open: bool = False
    ) -> "Response[Any]":
        """Return the response of *reply*, judged first: who asks, and in what time it has to be answered."""
        turn = self._turn
        turn.route = route
        with ended_by(turn.place.deadline):
            if not is_open:
                turn.place.scope = Scope.of(turn.request.claims, self.keys_claim)
            return response_of(reply(turn), turn.request.headers)

    def _failed(self, error: Exception) -> "Response[Any]":
        turn = self._turn
        refused = self._refused(error)
        if refused.status >= 500:
            turn.error = error
        return response_of(error_reply(refused, is_prometheus=turn.is_prometheus), turn.request.headers)

    def _refused(self, error: Exception) -> Refused:
        """Return what *error* is to the caller. What tells of the table itself goes to the log, and not to him."""
        if isinstance(error, Refused):
            return error
        if isinstance(error, RetryableError):
            return OutOfTimeError() if self._turn.place.deadline.has_passed else _unavailable()
        if isinstance(error, TooMuchError):
            return Refused(413, *map(as_parameters, error.problems))
        if isinstance(error, PoisonRecord) or (
            isinstance(error, ConfigError) and not self._turn.place.was_opened
        ):
            problems = error.problems if isinstance(error, ConfigError) else (error.reason,)
            return Refused(400, *map(as_parameters, problems))
        if isinstance(error, (ConfigError, ServiceError)):
            return Refused(500, "the table cannot be read as it stands: the function's log says why")
        return Refused(500, "this went wrong here, and not by the question: the function's log says how")

    def _not_found(self, _error: Exception) -> "Response[Any]":
        turn = self._turn
        path = turn.request.path
        methods = ("POST", "OPTIONS") if path == _TICKET else READS
        allow = {"Allow": ", ".join((*READS, "POST") if turn.is_prometheus else methods)}
        routes = self._app._static_routes + self._app._dynamic_routes  # noqa: SLF001 - it offers no other way
        if not any(route.rule.match(path) for route in routes):
            refused = Refused(404, "there is nothing at this path; /v1/openapi.json says what there is")
        elif turn.request.method == "OPTIONS":
            return Response(204, headers=allow, body="")
        else:
            refused = Refused(405, f"{turn.request.method[:20]} is not for this path", headers=allow)
        return response_of(error_reply(refused, is_prometheus=turn.is_prometheus), turn.request.headers)

    # --- routes ---

    def _health(self) -> "Response[Any]":
        def reply(turn: _Turn) -> Reply:
            read(turn.request.parameters, ())
            turn.place.was_opened = True
            turn.place.stack.check(turn.place.deadline)
            return Reply.json({"status": "ok"}, headers={"Cache-Control": "no-store"})

        return self._answered("/health", reply, is_open=True)

    def _status(self) -> "Response[Any]":
        def reply(turn: _Turn) -> Reply:
            form_of(turn.request.headers.get("accept", ""), (JSON,))
            read(turn.request.parameters, ())
            _, fresh, _ = turn.place.open()
            is_limited = turn.place.scope.is_limited  # what is in quarantine is of everybody
            messages = None if is_limited else turn.place.stack.quarantined(turn.place.deadline)
            return status_reply(fresh, messages, now_ms=turn.now_ms)

        return self._answered("/v1/status", reply)

    def _openapi(self) -> "Response[Any]":
        def reply(turn: _Turn) -> Reply:
            read(turn.request.parameters, ())
            return Reply.json(document(turn.place.pipeline), max_age_s=_OPENAPI_S)

        return self._answered("/v1/openapi.json", reply)

    def _rollups(self) -> "Response[Any]":
        def reply(turn: _Turn) -> Reply:
            form_of(turn.request.headers.get("accept", ""), (JSON,))
            read(turn.request.parameters, ())
            _, fresh, consumer = turn.place.open()
            return rollups_reply(turn.place.pipeline, fresh, consumer=consumer, now_ms=turn.now_ms)

        return self._answered("/v1/rollups", reply)

    def _rollup(self, rollup: str) -> "Response[Any]":
        def reply(turn: _Turn) -> Reply:
            form_of(turn.request.headers.get("accept", ""), (JSON,))
            read(turn.request.parameters, ())
            return Reply.json(rollup_told(_rollup_of(turn, rollup)))

        return self._answered("/v1/rollups/{rollup}", reply)

    def _question(self, rollup: str, how: str) -> "Response[Any]":
        def answer(turn: _Turn) -> Reply:
            if how not in _ASKED:
                raise Refused(
                    404,
                    f"nothing is named {how!r} here{nearest(how, tuple(_ASKED))}; there are: {', '.join(_ASKED)}",
                )
            ask, known, rows = _ASKED[how]
            found = _rollup_of(turn, rollup)
            form = form_of(turn.request.headers.get("accept", ""), ANSWER_FORMS)
            is_limited = turn.place.scope.is_limited
            asked = (rollup, how, form, turn.request.query)
            kept = None if is_limited else self._kept.find(asked, turn.request.headers)
            if kept is not None:
                return kept
            given = read(turn.request.parameters, known, fields=found.key)
            tables = Tables(turn.place, now_ms=lambda: turn.now_ms)
            result = ask(tables, rollup, given, turn.now_ms)
            turn.rows, turn.read_units = len(result), result.read_units
            reply = reply_of(
                result,
                form,
                now_ms=turn.now_ms,
                rows=rows,
                is_limited=is_limited,
                is_relative=how == "silent" or is_relative(given),
            )
            if not is_limited:  # who sees less than all shares nothing
                self._kept.keep(asked, reply, begun_ms=turn.now_ms)
            return reply

        return self._answered(f"/v1/rollups/{{rollup}}/{how}" if how in _ASKED else "none", answer)

    def _ticket(self) -> "Response[Any]":
        def reply(turn: _Turn) -> Reply:
            read(turn.request.parameters, ())
            if turn.request.body:
                raise Refused(400, "a ticket is asked for without a body")
            may = Pass(tuple(turn.place.pipeline.rollups) if turn.place.scope.is_limited else None)
            turn.place.was_opened = True
            ticket = turn.place.stack.ticket(may, turn.now_ms, turn.place.deadline)
            told = {"ticket": ticket, "expires_ms": turn.now_ms + TICKET_S * 1000 if ticket else None}
            return Reply.json(told, headers={"Cache-Control": "no-store"})

        return self._answered(_TICKET, reply)

    def _prometheus(self) -> "Response[Any]":
        return self._answered(
            f"{PREFIX}*", lambda turn: prometheus_reply(turn.request, turn.place, now_ms=turn.now_ms)
        )


def _as_it_is(body: Any) -> Any:
    """Return *body*, which is JSON already."""
    return body


def _unavailable() -> Refused:
    return Refused(503, "the table does not answer, or is throttled: ask again", headers={"Retry-After": "1"})


def _rollup_of(turn: _Turn, name: str) -> Rollup:
    rollups = turn.place.pipeline.rollups
    if name not in rollups:
        there = ", ".join(rollups) or "none that you may see"
        raise Refused(404, f"no rollup is named {name!r}{nearest(name, tuple(rollups))}; there are: {there}")
    return rollups[name]


def _event_of(event: Any, request: Request, method: str) -> dict[str, Any]:
    """Return *event* as Powertools routes it: by *method*, and by a path that has no stage in it."""
    context = event["requestContext"]
    http = {**context["http"], "method": method, "path": request.path}
    return {
        **event,
        "rawPath": request.path,
        "headers": request.headers,
        "requestContext": {**context, "stage": "$default", "http": http},
    }
