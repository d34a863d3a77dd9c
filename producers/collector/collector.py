"""The collector: one request to one answer, which says of an event that it is accepted only where it is durable.

No I/O but through its port, no clock but those it is given: API Gateway's function and the server carry the same.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import parse_qsl

from producers.collector import cloud_headers, otlp
from producers.collector.bodies import Objects, inflated, objects_of
from producers.collector.durable import Batch, Durable, KeyReused, Once
from producers.collector.judging import Judge, Judged
from producers.collector.keys import Caller, KeyRefused, Keys
from producers.collector.limits import Bounds, Rates
from producers.collector.message import Answer, Asked, Refused
from producers.collector.tally import Tally
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError, PoisonRecord, RetryableError
from streamgage.formats.json_event import TimeUnit

EVENTS: Final = "/v1/events"
HEALTH: Final = "/v1/events/health"
READY: Final = "/v1/events/ready"
METRICS: Final = "/v1/metrics"
WRITE: Final = "/api/v2/write"
ROUTES: Final[Mapping[str, tuple[str, ...]]] = {
    EVENTS: ("POST", "OPTIONS"),
    HEALTH: ("GET",),
    READY: ("GET",),
    METRICS: ("POST",),
    WRITE: ("POST",),
}
_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_PARAMETERS = {
    EVENTS: frozenset({"source", "idempotency_key", "key"}),
    METRICS: frozenset({"key"}),
    # What InfluxDB's clients say beside; there is one bucket here.
    WRITE: frozenset({"precision", "key", "bucket", "org", "orgID"}),
}
_UNITS: Final[Mapping[str, TimeUnit]] = {"ns": "ns", "us": "us", "ms": "ms", "s": "s"}
_RETRY_S = "5"
_SHOWN = 100  # refusals that are told one by one
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Content-Type, Content-Encoding, Authorization, X-Api-Key, Idempotency-Key",
    "Access-Control-Max-Age": "3600",
}


@dataclass(slots=True)
class Collector:
    """Answers requests; any thread may call it.

    ``keys`` gives those of now; it raises ConfigError or RetryableError where they cannot be read, and then nobody is let in.
    ``now_ms`` is the time of day, ``clock_s`` one that never runs backwards. While ``is_draining`` it is not ready.
    """

    pipeline: Pipeline
    durable: Durable
    keys: Callable[[], Keys]
    now_ms: Callable[[], int]
    clock_s: Callable[[], float]
    bounds: Bounds = field(default_factory=Bounds)
    tally: Tally = field(default_factory=Tally)
    is_draining: bool = False
    _judge: Judge = field(init=False)
    _rates: Rates = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Make ready what each request needs."""
        self._judge = Judge(self.pipeline, self.bounds)
        self._rates = Rates(self.bounds)

    def admit(self, asked: Asked) -> Answer | None:
        """Return the refusal of a request whose body has not come yet, or None: what a stranger sends is not taken in.

        A preflight and what has no route are refused, or answered, by ``answer``: they have no body worth a bound.
        """
        if asked.method != "POST" or asked.path not in ROUTES:
            return None
        try:
            self._caller(asked, _parameters(asked))
        except (Refused, RetryableError, ConfigError) as error:
            return self._finished(asked, self._failed(asked, error))
        return None

    def answer(self, asked: Asked) -> Answer:
        """Return the answer to *asked*."""
        try:
            found = self._answer(asked)
        except (Refused, RetryableError, ConfigError, KeyReused) as error:
            found = self._failed(asked, error)
        return self._finished(asked, found)

    def _answer(self, asked: Asked) -> Answer:
        methods = ROUTES.get(asked.path)
        if methods is None:
            raise Refused(404, f"there is nothing at this path; there are: {', '.join(ROUTES)}")
        if asked.method == "OPTIONS":
            return Answer(204, headers={**_PREFLIGHT, "Allow": ", ".join(methods)})
        if asked.method not in methods:
            raise Refused(
                405, f"{asked.method[:20]} is not for this path", headers={"Allow": ", ".join(methods)}
            )
        if asked.path == HEALTH:
            return Answer.json(200, {"status": "ok"})
        if asked.path == READY:
            if self.is_draining:
                raise RetryableError("it is being stopped")
            self.durable.check()
            return Answer.json(200, {"status": "ok"})
        parameters = _parameters(asked)
        caller = self._caller(asked, parameters)
        with self._lock:
            self._rates.take(caller.key_id, len(asked.body), self.clock_s())
        body = inflated(asked.body, asked.headers, self.bounds)
        self.tally.bytes += len(asked.body)
        if asked.path == EVENTS:
            return self._events(asked, body, parameters, caller)
        if asked.path == METRICS:
            return self._metrics(asked, body, caller)
        return self._write(asked, body, parameters, caller)

    # --- what each route does ---

    def _events(self, asked: Asked, body: bytes, parameters: Mapping[str, str], caller: Caller) -> Answer:
        if cloud_headers.is_binary(asked.headers):
            body = cloud_headers.structured(asked.headers, body, self.bounds)
            objects = Objects("cloudevents", ())
        else:
            objects = objects_of(body, asked.headers.get("content-type", ""), self.bounds)
        once = _once(asked, objects.key, parameters, caller, body)
        if objects.form == "cloudevents":
            try:
                judged = self._judge.of_agents("cloudevents", body, caller.sources)
            except PoisonRecord as poison:
                raise Refused(400, f"the body cannot be read: {poison.reason}") from poison
        else:
            judged = self._judge.of_objects(
                objects,
                caller.sources,
                named=parameters.get("source"),
                now_ms=self.now_ms(),
                size_bytes=len(body),
            )
        refused = [{"index": each.at, "place": each.place, "reason": each.reason} for each in judged.refused]
        self._check_told(refused)
        repeated = self._keep(judged, once, len(body))
        told = {"accepted": judged.accepted, "refused": refused, "repeated": repeated}
        return Answer.json(422 if refused and not judged.accepted else 200, told)

    def _check_told(self, refused: Sequence[Mapping[str, Any]]) -> None:
        """Refuse the whole where nobody could be told all of *refused*, before anything of it is durable. Raises: Refused."""
        text = Answer.json(200, refused).body
        if len(text) + text.count(b'"') + text.count(b"\\") > self.bounds.told_bytes:
            first = refused[0]
            raise Refused(
                413,
                f"so many events are refused ({len(refused):,}) that an answer cannot tell of all: send smaller batches",
                f"{first['place']}: {first['reason']}",
            )

    def _metrics(self, asked: Asked, body: bytes, caller: Caller) -> Answer:
        otlp.media_of(asked.headers)
        judged = Judged()
        if body:
            try:
                judged = self._judge.of_agents("otlp", body, caller.sources)
            except PoisonRecord as poison:
                raise Refused(400, f"the body cannot be read: {poison.reason}") from poison
        self._keep(judged, _once(asked, "", {}, caller, body), len(body))
        return otlp.exported(asked.headers, len(judged.refused), _told(judged))

    def _write(self, asked: Asked, body: bytes, parameters: Mapping[str, str], caller: Caller) -> Answer:
        precision = parameters.get("precision", "ns")
        if precision not in _UNITS:
            raise Refused(400, f"precision is {precision[:20]!r}; it is one of {', '.join(_UNITS)}")
        judged = Judged()
        if body.strip():
            try:
                judged = self._judge.of_agents("influx", body, caller.sources, _UNITS[precision])
            except PoisonRecord as poison:
                raise Refused(400, f"the body cannot be read: {poison.reason}") from poison
        self._keep(judged, _once(asked, "", {"precision": precision}, caller, body), len(body))
        if judged.refused:
            message = (
                f"partial write: {judged.accepted} events were accepted, {len(judged.refused)} refused: "
            )
            return Answer.json(400, {"code": "invalid", "message": message + _told(judged)})
        return Answer(204)

    def _keep(self, judged: Judged, once: Once | None, size_bytes: int) -> bool:
        """Return whether the batch was known, once it is durable. Raises: as ``Durable.keep``."""
        repeated = False
        if judged.events:
            repeated = self.durable.keep(Batch(judged.events, once, size_bytes))
        self.tally.count_events(judged.accepted, len(judged.refused), repeated=repeated)
        return repeated

    # --- what all of them do ---

    def _caller(self, asked: Asked, parameters: Mapping[str, str]) -> Caller:
        found = self.keys().check(
            _presented(asked.headers, parameters), asked.headers.get("origin"), self.now_ms()
        )
        if isinstance(found, KeyRefused):
            headers = {"WWW-Authenticate": "Bearer"} if found.status == 401 else {}
            raise Refused(found.status, found.reason, headers=headers)
        return found

    def _failed(self, asked: Asked, error: Exception) -> Answer:
        if isinstance(error, KeyReused):
            error = Refused(409, str(error))
        elif isinstance(error, ConfigError):
            self.tally.failure = str(error)
            error = Refused(
                503, "the collector is not set up: its log says why", headers={"Retry-After": "60"}
            )
        elif isinstance(error, RetryableError):
            self.tally.failure = str(error)
            error = Refused(
                503,
                "it could not be made durable, and is not accepted: send it again",
                headers={"Retry-After": _RETRY_S},
            )
        assert isinstance(error, Refused)  # noqa: S101 - all others are ours
        if asked.path == METRICS:
            return otlp.failed(asked.headers, error)
        if asked.path == WRITE:
            code = {401: "unauthorized", 403: "forbidden", 413: "request too large", 429: "too many requests"}
            told = {"code": code.get(error.status, "unavailable" if error.status >= 500 else "invalid")}
            return Answer.json(error.status, {**told, "message": str(error)}, error.headers)
        told_all = {"error": str(error), "problems": list(error.problems)}
        return Answer.json(error.status, told_all, error.headers)

    def _finished(self, asked: Asked, answer: Answer) -> Answer:
        """Count it, and let pages read it whose origin a key has."""
        self.tally.count_request(asked.path if asked.path in ROUTES else "none", answer.status)
        origin = asked.headers.get("origin")
        if origin is None:
            return answer
        try:
            is_known = self.keys().may_come_from(origin, self.now_ms())
        except (ConfigError, RetryableError):
            is_known = False
        headers = {**answer.headers, "Vary": "Origin"}
        if is_known:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Retry-After"  # else a page guesses the pause
        return Answer(answer.status, answer.body, answer.content_type, headers)


def _parameters(asked: Asked) -> dict[str, str]:
    """Return the parameters of the query. Raises: Refused, 400."""
    if not asked.query:
        return {}
    known = _PARAMETERS.get(asked.path, frozenset())
    try:
        pairs = parse_qsl(
            asked.query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=20
        )
    except ValueError:
        raise Refused(400, "the query is not name=value&name=value, percent-encoded UTF-8") from None
    found = dict(pairs)
    problems = [
        f"the parameter {each[:40]!r} is not known; there are: {', '.join(sorted(known))}"
        for each in found
        if each not in known
    ]
    if len(found) < len(pairs):
        problems.append("a parameter stands there twice")
    if problems:
        raise Refused(400, *problems)
    return found


def _presented(headers: Mapping[str, str], parameters: Mapping[str, str]) -> str | None:
    """Return the API key that a request presents: the first of a header of each kind, and the query."""
    authorization = headers.get("authorization")
    if authorization is not None:
        kind, _, presented = authorization.partition(" ")
        if kind.lower() in ("bearer", "token"):  # "Token": what InfluxDB's clients say
            return presented.strip()
        return authorization
    return headers.get("x-api-key", parameters.get("key"))


def _once(
    asked: Asked, of_envelope: str, parameters: Mapping[str, str], caller: Caller, body: bytes
) -> Once | None:
    """Return by what the batch is known; None without a key. Raises: Refused, 400: it is none, or there are two.

    An agent can mostly set a header that never changes, and no other: X-Once says that a batch is known by its bytes.
    """
    by_body = asked.headers.get("x-once", "")
    if by_body not in ("", "body"):
        raise Refused(400, f"X-Once is {by_body[:20]!r}; it is body, or absent")
    said = {of_envelope, asked.headers.get("idempotency-key", ""), parameters.get("idempotency_key", "")} - {
        ""
    }
    if len(said) > 1:
        raise Refused(400, "it says several idempotency keys, and they differ")
    if not said and not by_body:
        return None
    key = said.pop() if said else ""
    if key and not of_envelope and not _KEY.fullmatch(key):
        raise Refused(400, "an idempotency key is 1 to 128 visible ASCII characters")
    meaning = asked.path, *(parameters.get(each, "") for each in ("source", "precision"))  # of the same bytes
    content = blake2b("\0".join((*meaning, "")).encode(), digest_size=16)
    content.update(body)
    kind = "envelope" if of_envelope else "key" if key else "body"
    named = f"{caller.line}\0{kind}\0{key or content.hexdigest()}"
    return Once(blake2b(named.encode(), digest_size=16).digest(), content.digest())


def _told(judged: Judged) -> str:
    """Return the first refusals in a line."""
    shown = "; ".join(f"{each.place}: {each.reason}" for each in judged.refused[:_SHOWN])
    more = len(judged.refused) - _SHOWN
    return shown + (f"; and {more} more" if more > 0 else "")
