"""Prometheus' HTTP API, mounted: what it answers is promql's business, who may ask it and how it is sent is ours."""

from processors.live.place import CallersPlace
from processors.live.replies import Reply
from processors.live.request import Request

PREFIX = "/prometheus/api/v1/"


def prometheus_reply(request: Request, place: CallersPlace, *, now_ms: int) -> Reply:
    """Return what Prometheus' API answers to *request*: of a limited caller's pipeline and table, as all else."""
    from processors.promql.api import respond  # noqa: PLC0415 - a parser and an evaluator, for those who ask by PromQL

    params = [*request.parameters, *(request.form if request.method == "POST" else ())]
    store, fresh, consumer = place.open()
    answered = respond(
        request.path.removeprefix(PREFIX),
        params,
        pipeline=place.pipeline,
        store=store,
        fresh=fresh,
        consumer=consumer,
        now_ms=now_ms,
    )
    return Reply(answered.body, status=answered.status)
