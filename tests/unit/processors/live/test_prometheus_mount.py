"""Prometheus' API, mounted: what is asked is handed over whole, of the caller's own keys, and what fails is told its way."""

import json
import sys
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from processors.query.cells import PartialStore
from processors.query.freshness import Freshness
from processors.query.question import Question, ask
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError, RetryableError
from support.fakes import NOW_MS, InMemoryItemStore
from support.http_face import Context, Counted, Face, FakeStack, answered, event_of, world

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
QUERY = "/prometheus/api/v1/query"


class Reply(NamedTuple):
    status: int
    body: bytes


@dataclass
class FakePromql:
    """A promql that tells what it was asked, and which keys it could see."""

    status: int = 200
    asked: list[tuple[str, Sequence[tuple[str, str]]]] = field(default_factory=list)

    def respond(
        self,
        path: str,
        params: Sequence[tuple[str, str]],
        *,
        pipeline: Pipeline,
        store: PartialStore,
        fresh: Freshness,
        consumer: str,
        now_ms: int,
    ) -> Reply:
        self.asked.append((path, params))
        assert (fresh.applied_ms, consumer, now_ms) == (NOW_MS, "main", NOW_MS)
        seen = set()
        for name in pipeline.rollups:
            question = Question.parse(pipeline, rollup=name, key=None, window=None, from_ms=0, to_ms=2**42)
            seen |= {row.key[0] for row in ask(store, question, applied_ms=NOW_MS, now_ms=NOW_MS)}
        return Reply(self.status, json.dumps({"status": "success", "data": sorted(seen)}).encode())


@pytest.fixture(scope="module")
def store() -> InMemoryItemStore:
    return world().store


@pytest.fixture
def promql(monkeypatch: pytest.MonkeyPatch) -> FakePromql:
    fake = FakePromql()
    monkeypatch.setitem(sys.modules, "processors.promql.api", SimpleNamespace(respond=fake.respond))
    return fake


@pytest.fixture
def face(store: InMemoryItemStore, promql: FakePromql) -> Face:
    return Face(FakeStack(store))


@pytest.mark.parametrize(
    "path", ["query", "query_range", "labels", "label/page/values", "series", "metadata", "status/buildinfo"]
)
def test_what_follows_the_prefix_is_promqls(face: Face, promql: FakePromql, path: str) -> None:
    found = face(f"/prometheus/api/v1/{path}?match[]=a&match[]=b&query=up%7Ba%3D%22b%22%7D")
    assert (found.status, found.json["status"], found.headers["content-type"]) == (
        200,
        "success",
        "application/json",
    )
    assert promql.asked == [(path, [("match[]", "a"), ("match[]", "b"), ("query", 'up{a="b"}')])]


@pytest.mark.parametrize("encoded", [True, False])
def test_a_form_is_read_beside_the_query_string(face: Face, promql: FakePromql, *, encoded: bool) -> None:
    event = event_of(f"{QUERY}?time=1", method="POST", headers=FORM)
    body = urlencode({"query": "sum by (page) (page_views_events)"}).encode()
    event["body"], event["isBase64Encoded"] = (b64encode(body) if encoded else body).decode(), encoded
    assert answered(face.application.handle(event, Context())).status == 200
    assert promql.asked == [("query", [("time", "1"), ("query", "sum by (page) (page_views_events)")])]


@pytest.mark.parametrize("status", [400, 422, 503])
def test_promqls_status_is_the_answers(face: Face, promql: FakePromql, status: int) -> None:
    promql.status = status
    assert face(QUERY).status == status


def test_an_answer_that_has_not_changed_is_not_sent_again(face: Face) -> None:
    first = face(QUERY)
    assert face(QUERY, headers={"If-None-Match": first.headers["etag"]}).status == 304


@pytest.mark.parametrize(
    ("more", "status", "error"),
    [
        ({"method": "POST", "headers": FORM, "body": b"query=" + b"x" * 70_000}, 413, "at most 65,536"),
        ({"method": "POST", "headers": {"Content-Type": "application/json"}, "body": b"{}"}, 415, "a body is a form"),
        ({"method": "POST", "headers": FORM, "body": b"query=%ff"}, 400, "not UTF-8"),
        ({"method": "POST", "headers": FORM, "body": b"\xff=1"}, 400, "not ASCII"),
        ({"method": "POST", "headers": FORM, "body": b"a" * 300 + b"&" * 300}, 400, "name=value"),
        ({"method": "DELETE"}, 405, "DELETE is not for this path"),
    ],
)  # fmt: skip
def test_what_never_comes_to_promql_is_told_as_prometheus_does(
    face: Face, promql: FakePromql, more: dict[str, Any], status: int, error: str
) -> None:
    found = face(QUERY, **more)
    assert (found.status, found.json["status"], found.json["errorType"]) == (status, "error", "bad_data")
    assert error in found.json["error"]
    assert promql.asked == []


def test_a_failure_of_ours_is_told_as_prometheus_does(store: InMemoryItemStore, promql: FakePromql) -> None:
    found = Face(FakeStack(store, fails=RetryableError("throttled")))(QUERY)
    assert (found.status, found.json["errorType"]) == (503, "unavailable")


def test_a_limited_caller_asks_a_table_of_his_keys_only(store: InMemoryItemStore, promql: FakePromql) -> None:
    face = Face(FakeStack(store), keys_claim="keys")
    of = {"jwt": {"claims": {"keys": "device_id=d1,d2"}}}
    assert face(QUERY, authorizer=of).json["data"] == ["d1", "d2"]
    assert face.told[-1].read_units > 0  # who runs the stack is told what it cost
    assert face(QUERY, authorizer={"jwt": {"claims": {"keys": "page=/x"}}}).json["data"] == []
    assert (
        face(QUERY, authorizer={"jwt": {"claims": {"keys": "site=a"}}}).json["data"] == []
    )  # no rollup has it
    denied = face(QUERY)
    assert (denied.status, denied.json["errorType"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("fails", "status", "kind"),
    [(ConfigError("the item at secret-device is damaged"), 500, "internal"), (RetryableError("secret"), 503, "unavailable")],
)  # fmt: skip
def test_a_table_that_fails_within_a_query_is_told_to_the_log_and_not_to_the_caller(
    store: InMemoryItemStore, monkeypatch: pytest.MonkeyPatch, fails: Exception, status: int, kind: str
) -> None:
    def fail(*_: object) -> Any:
        raise fails

    face = Face(FakeStack(store))
    monkeypatch.setattr(Counted, "range", fail)
    found = face("/prometheus/api/v1/query?query=page_views_events")
    assert (found.status, found.json["errorType"], "secret" in found.json["error"]) == (status, kind, False)
    assert face.told[-1].error is fails
