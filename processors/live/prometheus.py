"""Prometheus' HTTP API, mounted: what it answers is promql's business, who may ask it and how it is sent is ours."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from processors.live.place import CallersPlace
from processors.live.replies import Reply
from processors.live.request import Request
from processors.query.cells import CountingStore
from processors.query.freshness import Freshness
from streamgage.definition.pipeline import Pipeline

PREFIX = "/prometheus/api/v1/"


class _Answered(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def body(self) -> Mapping[str, Any]: ...


class _Respond(Protocol):
    def __call__(
        self,
        path: str,
        params: Sequence[tuple[str, str]],
        *,
        pipeline: Pipeline,
        store: CountingStore,
        fresh: Freshness,
        consumer: str,
        now_ms: int,
    ) -> _Answered: ...


def prometheus_reply(request: Request, place: CallersPlace, *, now_ms: int) -> Reply:
    """Return what Prometheus' API answers to *request*: of a limited caller's pipeline and table, as all else."""
    params = [*request.parameters, *(request.form if request.method == "POST" else ())]
    store, fresh, consumer = place.open()
    answered = _respond()(
        request.path.removeprefix(PREFIX),
        params,
        pipeline=place.pipeline,
        store=store,
        fresh=fresh,
        consumer=consumer,
        now_ms=now_ms,
    )
    return Reply.json(answered.body, status=answered.status)


def _respond() -> _Respond:
    found: _Respond = importlib.import_module("processors.promql.api").respond
    return found
