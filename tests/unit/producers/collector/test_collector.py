"""The collector's answers: what a client is told, for what it sends well, badly, or with malice."""

import gzip
import json
from typing import Any

import pytest

from producers.collector.collector import ROUTES
from producers.collector.keys import Keys, new_key
from producers.collector.limits import Bounds
from producers.collector.message import Asked
from streamgage.errors import RetryableError
from support.collecting import NOW_MS, Kept, collector_over, post, reading, told

ONCE = {"idempotency_key": "k1"}


def test_what_is_kept_is_accepted_and_what_is_refused_is_told_by_its_place() -> None:
    kept = Kept()
    answer = post(collector_over(kept), [reading(1), reading(2, value="warm"), 7, reading(3)])
    assert answer.status == 200
    assert told(answer) == {
        "accepted": 2,
        "refused": [
            {"index": 1, "place": "events[1].value", "reason": "'warm' is not a number"},
            {"index": 2, "place": "events[2]", "reason": "not a JSON object"},
        ],
        "repeated": False,
    }
    assert [each["ts"] for each in kept.events] == [NOW_MS + 1, NOW_MS + 3]


def test_nothing_is_answered_by_200_that_could_not_be_kept() -> None:
    kept = Kept(failure=RetryableError("the disk of a stranger's business"))
    collector = collector_over(kept)
    answer = post(collector, [reading()])
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert b"stranger" not in answer.body
    assert collector.answer(Asked("GET", "/v1/events/ready", "", {}, b"")).status == 503
    assert collector.answer(Asked("GET", "/v1/events/health", "", {}, b"")).status == 200
    for path, kind in (("/v1/metrics", "application/json"), ("/api/v2/write", "text/plain")):
        assert post(collector, b"", path, content_type=kind).status < 300  # nothing was to be kept


def test_all_refused_is_422_and_nothing_sent_is_200() -> None:
    collector = collector_over(Kept())
    assert post(collector, [reading(source="nobody")]).status == 422
    assert told(post(collector, []))["accepted"] == 0


@pytest.mark.parametrize("kind", ["application/json", "text/plain;charset=UTF-8"])
def test_an_event_an_array_and_an_envelope_are_read(kind: str) -> None:
    kept = Kept()
    collector = collector_over(kept)
    for body in (reading(), [reading()], {"client": "c-1", "batch": 1, "events": [reading()]}):
        assert told(post(collector, body, content_type=kind))["accepted"] == 1
    assert len(kept.events) == 3


def test_ndjson_is_read_line_by_line_and_gzip_is_undone() -> None:
    kept = Kept()
    lines = b"\n".join([json.dumps(reading(1)).encode(), b"", b"{", json.dumps(reading(2)).encode()])
    answer = post(
        collector_over(kept),
        gzip.compress(lines[:40]) + gzip.compress(lines[40:]),
        content_type="application/x-ndjson",
        content_encoding="gzip",
    )
    assert told(answer)["accepted"] == 2
    assert told(answer)["refused"][0]["place"] == "line 3"


def test_an_age_stands_for_a_time_and_a_source_of_the_query_for_one_in_the_event() -> None:
    kept = Kept()
    event = {"device_id": "d", "metric": "m", "value": 1, "age_ms": 1_500}
    assert post(collector_over(kept), event, query="source=reading").status == 200
    assert kept.events[0]["ts"] == NOW_MS - 1_500


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"headers": ONCE}, {"headers": ONCE}),
        ({"query": "idempotency_key=k1"}, {"headers": ONCE}),
    ],
)
def test_a_batch_of_one_key_counts_once(first: dict[str, Any], again: dict[str, Any]) -> None:
    kept = Kept()
    collector = collector_over(kept)
    for number, each in enumerate((first, again)):
        answer = post(collector, [reading()], query=each.get("query", ""), **each.get("headers", {}))
        assert told(answer)["repeated"] == bool(number)
    assert len(kept.events) == 1


def test_an_envelope_is_a_key_and_without_any_it_counts_each_time() -> None:
    kept = Kept()
    collector = collector_over(kept)
    envelope = {"client": "c-1", "batch": 1, "events": [reading()]}
    assert [told(post(collector, envelope))["repeated"] for _ in range(2)] == [False, True]
    assert [told(post(collector, [reading()]))["repeated"] for _ in range(2)] == [False, False]
    assert len(kept.events) == 3


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff", {}, 400),
        (b'[{"value": NaN}]', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"a":' * 100_000, {}, 400),
        (b"1" * 5_000, {}, 400),
        (b"7", {}, 400),
        (b'{"client":"c","events":[]}', {}, 400),
        (b'{"client":"c","batch":-1,"events":[]}', {}, 400),
        (b"[]", {"content_type": "image/png"}, 415),
        (b"[]", {"content_encoding": "br"}, 415),
        (b"[]", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"[" + b" " * 10_000)[:-9], {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"[" + b" " * 40_000_000), {"content_encoding": "gzip"}, 413),
        (gzip.compress(b"") * 101, {"content_encoding": "gzip"}, 413),
        (b"[" + b"[]," * 1_000_000 + b"7]", {}, 413),
        (b"\n" * 1_000_001, {"content_type": "application/x-ndjson"}, 413),
        (b"{}\n" * 50_001, {"content_type": "application/x-ndjson"}, 413),
        (b" " * 10_000_001, {}, 413),
        (b"[" + b"1," * 50_000 + b"1]", {}, 413),
        (b"[]", {"idempotency_key": "x" * 129}, 400),
        (b"[]", {"idempotency_key": "a b"}, 400),
    ],
)
def test_a_body_that_cannot_be_taken_is_refused_whole(
    body: bytes, headers: dict[str, str], status: int
) -> None:
    kept = Kept()
    answer = post(collector_over(kept), body, **headers)
    assert answer.status == status
    assert told(answer)["problems"]
    assert not kept.batches


def test_a_batch_with_more_refused_than_an_answer_can_tell_of_is_refused_before_it_is_kept() -> None:
    kept = Kept()
    collector = collector_over(kept)
    answer = post(collector, [reading(), *[{"source": "x" * 60}] * 49_999])
    assert (answer.status, kept.batches) == (413, [])
    assert told(answer)["problems"] == [
        "so many events are refused (49,999) that an answer cannot tell of all: send smaller batches",
        f"events[1]: \"source\" is '{'x' * 60}'; it must be one of: click, reading",
    ]
    answer = post(collector, [reading(), *[{"source": "x" * 60}] * 20_000])
    assert (len(told(answer)["refused"]), len(kept.events)) == (20_000, 1)
    assert len(json.dumps(answer.body.decode())) < 6_000_000  # as Lambda hands it out


def test_an_event_that_no_kinesis_record_holds_is_refused_alone() -> None:
    kept = Kept()
    answer = post(
        collector_over(kept),
        [reading(1), reading(2, device_id="x" * 257), reading(3, metric="m" * 1_100_000)],
    )
    assert told(answer)["accepted"] == 1
    assert [each["index"] for each in told(answer)["refused"]] == [1, 2]


def test_a_forged_key_is_refused_before_its_body_is_taken() -> None:
    key, presented = new_key("web", b"s" * 32, made_ms=0, sources=["reading"], origins=["https://a.example"])
    collector = collector_over(Kept(), keys=Keys((key,)))
    forged = presented[:-1] + ("A" if presented[-1] != "A" else "B")
    for headers in ({}, {"x-api-key": forged}, {"authorization": "Bearer nonsense"}):
        refused = collector.admit(Asked("POST", "/v1/events", "", headers, b""))
        assert refused is not None
        assert refused.status == 401


def test_a_key_holds_for_its_sources_and_its_origins() -> None:
    key, presented = new_key("web", b"s" * 32, made_ms=0, sources=["reading"], origins=["https://a.example"])
    collector = collector_over(Kept(), keys=Keys((key,)))
    good = {"origin": "https://a.example"}
    answer = post(collector, [{**reading(), "source": "reading"}], query=f"key={presented}", **good)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://a.example")
    assert post(collector, [reading()], x_api_key=presented, origin="https://b.example").status == 403
    assert post(collector, [reading(source="click")], x_api_key=presented, **good).status == 422
    assert post(collector, [reading()], query="source=click", x_api_key=presented, **good).status == 403


def test_a_batch_that_comes_again_with_a_rotated_key_counts_once_and_with_a_strangers_again() -> None:
    made = [
        new_key(name, bytes([at]) * 32, made_ms=0, rotated_from=line)
        for at, (name, line) in enumerate((("web", None), ("web-2", "web"), ("other", None)))
    ]
    kept = Kept()
    collector = collector_over(kept, keys=Keys(tuple(key for key, _ in made)))
    envelope = {"client": "c-1", "batch": 1, "events": [reading()]}
    answers = [post(collector, envelope, x_api_key=presented) for _, presented in made]
    assert [told(each)["repeated"] for each in answers] == [False, True, False]


def test_a_page_may_read_when_to_come_again_if_its_origin_is_known() -> None:
    key, presented = new_key("web", b"s" * 32, made_ms=0, origins=["https://a.example"])
    collector = collector_over(Kept(failure=RetryableError("full")), keys=Keys((key,)))
    for origin, exposed in (("https://a.example", "Retry-After"), ("https://b.example", None)):
        answer = post(collector, [reading()], query=f"key={presented}", origin=origin)
        assert answer.headers.get("Access-Control-Expose-Headers") == exposed
        assert answer.status == (503 if exposed else 403)


def test_who_sends_too_much_is_told_when_to_come_again_and_others_are_not_starved() -> None:
    keys = [new_key(name, bytes([at]) * 32, made_ms=0) for at, name in enumerate(("loud", "calm"))]
    bounds = Bounds(requests_per_s=1)
    collector = collector_over(Kept(), keys=Keys(tuple(key for key, _ in keys)), bounds=bounds)
    loud, calm = (presented for _, presented in keys)
    answers = [post(collector, [reading()], x_api_key=loud) for _ in range(11)]
    assert [each.status for each in answers] == [200] * 10 + [429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert post(collector, [reading()], x_api_key=calm).status == 200


def test_what_has_no_route_or_method_is_told_which_there_are() -> None:
    collector = collector_over(Kept())
    assert collector.answer(Asked("POST", "/v2/events", "", {}, b"")).status == 404
    for path, methods in ROUTES.items():
        answer = collector.answer(Asked("DELETE", path, "", {}, b""))
        assert (answer.status, answer.headers["Allow"]) == (405, ", ".join(methods))
    assert collector.answer(Asked("OPTIONS", "/v1/events", "", {}, b"")).status == 204
    assert post(collector, [reading()], query="surce=reading").status == 400


def test_unknown_fields_and_deep_values_in_them_are_passed_over() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    body = [reading(n, **{f"x{m}": deep for m in range(20)}) for n in range(20)]
    assert told(post(collector_over(Kept()), body))["accepted"] == 20
