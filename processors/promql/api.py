"""The Prometheus HTTP API, as a function from a path and its parameters to a status and a body.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/ (checked 2026-11-29)
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from processors.promql.budget import Budget
from processors.promql.errors import STATUS, Kind, QueryError, bad_data
from processors.promql.evaluation import Evaluator
from processors.promql.listing import Listing, label_names, label_values, listed_series, metadata
from processors.promql.names import names_of
from processors.promql.reading import Notes, Reader
from processors.promql.results import Matrix, encoded, matrix, of_instant, of_range
from processors.promql.series import HistogramVector, Scalar, as_vector
from processors.promql.syntax import Node, Range, Subquery, Text, parse, parse_selector, selectors_of
from processors.promql.values import parse_instant, parse_step
from processors.query.cells import PartialStore
from processors.query.collection import no_collection
from processors.query.freshness import Freshness
from processors.query.regroup import LiesAcrossError
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import TooMuchError

MOST_POINTS = 11_000  # a series, as Prometheus'
_MOST_SELECTORS = 20
_MOST_NOTES = 10  # of each kind, as Prometheus
_VALUES = re.compile(r"label/([^/]{1,500})/values")
_BUILD = {
    "version": "3.0.0",  # whose semantics these are: Grafana asks
    "revision": "streamgage",
    "branch": "",
    "buildUser": "",
    "buildDate": "",
    "goVersion": "",
}


class Reply(NamedTuple):
    """What is answered: an HTTP status, and a body of JSON."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Request:
    """Parameters, and what is read for them."""

    params: Mapping[str, Sequence[str]]
    reader: Reader

    def get(self, name: str) -> str | None:
        """Return the first value of *name*, as Prometheus takes it."""
        values = self.params.get(name)
        return values[0] if values else None

    def needed(self, name: str) -> str:
        """Return the value of *name*. Raises: QueryError ``bad_data``, there is none."""
        value = self.get(name)
        if value is None:
            raise bad_data(f'invalid parameter "{name}": it is missing')
        return value

    def instant(self, name: str, default_ms: int) -> int:
        """Return an instant in ms."""
        value = self.get(name)
        return default_ms if value is None or not value else parse_instant(name, value)

    def limited(self, found: list[Any]) -> list[Any]:
        """Return as much of *found* as ``limit`` lets through, and say so. Raises: QueryError ``bad_data``."""
        text = self.get("limit") or "0"
        if not re.fullmatch(r"[0-9]{1,12}", text):
            raise bad_data('invalid parameter "limit": a whole number, 0 for no limit')
        if not 0 < int(text) < len(found):
            return found
        self.reader.notes.warn("results truncated due to limit")
        return found[: int(text)]


@no_collection()
def respond(
    path: str,
    params: Sequence[tuple[str, str]],
    *,
    pipeline: Pipeline,
    store: PartialStore,
    fresh: Freshness,
    consumer: str,
    now_ms: int,
) -> Reply:
    """Answer a request of the Prometheus HTTP API.

    *path* is what follows ``/api/v1/``; *params* are those of the query string and of a form together. *store*, *fresh* and
    *consumer* are what ``Place.open`` gives. It raises nothing for what a caller may send: that is a status and an error.

    Raises:
        ConfigError, RetryableError: the table cannot be read, which is no caller's fault, nor for each of them to read of.
    """
    by_name: dict[str, list[str]] = {}
    for name, value in params:
        by_name.setdefault(name, []).append(value)
    notes = Notes()
    if fresh.lacking:
        notes.warn(fresh.describe(now_ms))
    reader = Reader(
        pipeline, names_of(pipeline, consumer), store, applied_ms=fresh.applied_ms, now_ms=now_ms, notes=notes
    )
    try:
        data = _endpoint(path)(_Request(by_name, reader))
    except QueryError as error:
        return _failed(error.kind, str(error))
    except (TooMuchError, LiesAcrossError) as error:
        return _failed("execution", str(error))
    told = "".join(
        f',"{name}":{json.dumps(_told(said))}'
        for name, said in (("warnings", notes.warnings), ("infos", notes.infos))
        if said
    )
    return Reply(200, f'{{"status":"success","data":{encoded(data)}{told}}}'.encode())


def _told(said: Mapping[str, None]) -> list[str]:
    """Return what is said, of much the first."""
    first, left = list(said)[:_MOST_NOTES], len(said) - _MOST_NOTES
    return [*first, f"{left:,} more of these are not shown"] if left > 0 else first


def _failed(kind: Kind, message: str) -> Reply:
    body = {"status": "error", "errorType": kind, "error": message}
    return Reply(STATUS[kind], json.dumps(body).encode())


def _endpoint(path: str) -> Callable[[_Request], Any]:
    path = path.strip("/")
    values = _VALUES.fullmatch(path)
    if values:
        return lambda request: request.limited(label_values(_listing(request), values[1]))
    found = _ENDPOINTS.get(path)
    if found is None:
        raise QueryError(
            "not_found",
            f"{path[:100]!r} is not there; there are: {', '.join(_ENDPOINTS)}, label/<name>/values",
        )
    return found


def _query(request: _Request) -> dict[str, Any] | Matrix:
    _inform_of_lookback(request)
    budget = Budget()
    node = _expression(request, budget)
    instant_ms = request.instant("time", request.reader.now_ms)
    evaluator = Evaluator(request.reader, budget, [instant_ms], 0, (instant_ms, instant_ms))
    if isinstance(node, Range | Subquery):
        samples, instants = evaluator.samples(node)
        return _cut(request, matrix(samples, instants[0] - node.range_ms, instants[0]))
    value = evaluator.evaluate(node)
    found = of_instant(as_vector(value) if isinstance(value, HistogramVector) else value, instant_ms)
    if found["resultType"] == "vector":
        found["result"] = request.limited(found["result"])
    return found


def _query_range(request: _Request) -> Matrix:
    _inform_of_lookback(request)
    start_ms, end_ms = (parse_instant(name, request.needed(name)) for name in ("start", "end"))
    if end_ms < start_ms:
        raise bad_data('invalid parameter "end": end timestamp must not be before start time')
    step_ms = parse_step("step", request.needed("step"))
    if (end_ms - start_ms) // step_ms > MOST_POINTS:
        raise bad_data(
            f"exceeded maximum resolution of {MOST_POINTS:,} points per timeseries. Try decreasing the query resolution (?step=XX)"
        )
    budget = Budget()
    node = _expression(request, budget)
    if isinstance(node, Range | Subquery | Text):
        kind = "string" if isinstance(node, Text) else "range vector"
        raise bad_data(
            f'invalid parameter "query": invalid expression type "{kind}" for range query, must be Scalar or instant Vector'
        )
    instants = range(start_ms, end_ms + 1, step_ms)
    value = Evaluator(request.reader, budget, instants, step_ms, (start_ms, end_ms)).evaluate(node)
    return _cut(request, of_range(value if isinstance(value, Scalar) else as_vector(value), instants))


def _expression(request: _Request, budget: Budget) -> Node:
    node = parse(request.needed("query"), budget)
    request.reader.expect(selectors_of(node))
    return node


def _inform_of_lookback(request: _Request) -> None:
    if request.get("lookback_delta"):
        request.reader.notes.inform(
            "lookback_delta is not heeded: a value is seen for as long as its window is"
        )


def _cut(request: _Request, found: Matrix) -> Matrix:
    return Matrix(request.limited(found.series))


def _listing(request: _Request) -> Listing:
    matches = request.params.get("match[]", ())
    if len(matches) > _MOST_SELECTORS:
        raise bad_data(f'invalid parameter "match[]": at most {_MOST_SELECTORS} are taken')
    budget = Budget()
    start_ms = request.instant("start", 0)
    end_ms = request.instant("end", request.reader.now_ms)
    if end_ms < start_ms:
        raise bad_data('invalid parameter "end": end timestamp must not be before start time')
    return Listing(request.reader, tuple(parse_selector(each, budget) for each in matches), start_ms, end_ms)


def _series(request: _Request) -> list[Any]:
    listing = _listing(request)
    if not listing.selectors:
        raise bad_data("no match[] parameter provided")
    return request.limited(listed_series(listing))


def _metadata(request: _Request) -> dict[str, Any]:
    found = metadata(request.reader.names, request.get("metric"))
    return dict(request.limited(list(found.items())))


_ENDPOINTS: dict[str, Callable[[_Request], Any]] = {
    "query": _query,
    "query_range": _query_range,
    "query_exemplars": lambda _: [],  # there are none; Grafana asks
    "series": _series,
    "labels": lambda request: request.limited(label_names(_listing(request))),
    "metadata": _metadata,
    "status/buildinfo": lambda _: dict(_BUILD),
}
