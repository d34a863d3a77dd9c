"""The HTTP face: what each path answers, in which form, and what is said of what it does not answer."""

import csv
import io
import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest

from processors.awsjson.client import ServiceError
from processors.live import forms, replies
from processors.query.answer import CellKind
from streamgage.errors import ConfigError, RetryableError
from support.fakes import NOW_MS, InMemoryItemStore
from support.http_face import HOSTILE_KEYS, Context, Face, FakeStack, event_of, world
from support.strategies import ARRIVAL_MS, pipeline

RANGE = "/v1/rollups/device_metrics/range"
TOP = "/v1/rollups/page_views/top"
FORMS = ["application/json", "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"]


@pytest.fixture(scope="module")
def store() -> InMemoryItemStore:
    return world().store


@pytest.fixture
def face(store: InMemoryItemStore) -> Face:
    return Face(FakeStack(store))


def test_what_can_be_asked_is_told_with_keys_windows_and_columns(face: Face) -> None:
    told = face("/v1/rollups").json
    assert [each["name"] for each in told["rollups"]] == ["device_metrics", "page_views", "visits"]
    assert told["consumer"] == "main"
    assert (told["now_ms"], told["applied_ms"]) == (NOW_MS, NOW_MS)
    assert told["freshness"].startswith("freshness: everything that arrived until 0.0 s ago is applied")
    first = told["rollups"][0]
    assert (first["source"], first["key"], first["windows"]) == (
        "reading",
        ["device_id", "metric"],
        ["1m", "90s", "1h"],
    )
    assert first["columns"][:2] == [
        {"name": "events", "kind": "number", "error": None},
        {"name": "value.count", "kind": "number", "error": None},
    ]
    assert face("/v1/rollups/device_metrics").json == first


def test_an_answer_has_columns_rows_and_what_is_to_be_said_of_them(face: Face) -> None:
    told = face(f"{TOP}?window=1d&by=events&n=2&select=each=bytes.sum/events&select=is_big=events>3").json
    assert told.keys() == {"columns", "keys", "rows", "left", "errors", "freshness", "now_ms", "read_units"}
    kinds = {each["name"]: each["kind"] for each in told["columns"]}
    assert kinds["page"] == "text"
    assert (kinds["window_start"], kinds["events"], kinds["each"], kinds["is_big"]) == (
        "time",
        "number",
        "number",
        "flag",
    )
    assert (kinds["may_change"], told["keys"], told["left"], told["errors"]) == ("flag", 1, 0, {})
    assert [list(row) for row in told["rows"]] == [list(kinds)] * 2
    row = told["rows"][0]
    assert re.fullmatch(r"2023-11-14T\d\d:00:00Z", row["window_start"])
    assert row["each"] == Decimal(row["bytes.sum"]) / row["events"]
    assert told["freshness"]["applied_ms"] == told["now_ms"] == NOW_MS


def test_keys_are_those_of_the_range_and_the_left_ones_are_counted(face: Face) -> None:
    told = face("/v1/rollups/page_views/keys").json
    assert told["keys"] == [{"page": page} for page in sorted(HOSTILE_KEYS)]
    told = face("/v1/rollups/device_metrics/keys?key.device_id=d1&limit=1").json
    assert (told["keys"], told["left"]) == ([{"device_id": "d1", "metric": "hum"}], 1)


def test_who_is_silent_is_told_by_now_or_by_an_instant(face: Face) -> None:
    told = face("/v1/rollups/device_metrics/silent?for=2h&limit=1").json
    assert [each["kind"] for each in told["columns"]] == ["text", "text", "time", "number", "flag"]
    assert (told["rows"][0]["device_id"], told["left"]) == ("d6", 3)
    ago = face(f"/v1/rollups/device_metrics/silent?for=1h&at={ARRIVAL_MS - 36_000_000}").json
    assert max(row["last_seen"] for row in ago["rows"]) < "2023-11-14T11:00:00Z"
    assert face("/v1/rollups/device_metrics/silent?for=1h&at=2023-11-13").json["rows"] == []


@pytest.mark.parametrize(
    "start", ["2023-11-14T20:00", str(ARRIVAL_MS - 7_200_000), "8000s", "20231114T200000Z"]
)
def test_a_time_is_iso_or_an_age_or_ms(face: Face, start: str) -> None:
    told = face(f"{RANGE}?window=1h&group_by=&from={start}").json
    assert [row["window_start"] for row in told["rows"]] == [
        "2023-11-14T20:00:00Z",
        "2023-11-14T21:00:00Z",
        "2023-11-14T22:00:00Z",
    ]


def test_csv_is_safe_for_spreadsheets_and_says_the_rest_in_headers(face: Face) -> None:
    found = face("/v1/rollups/page_views/range?window=1d&limit=100", headers={"Accept": "text/csv"})
    assert found.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(found.body.decode(), newline="")))
    assert {row["page"] for row in rows} >= {"'=1+1", "<script>alert(1)</script>", "日本"}
    assert found.headers["streamgage-applied-ms"] == found.headers["streamgage-now-ms"] == str(NOW_MS)
    assert (found.headers["streamgage-left"], found.headers["streamgage-read-units"]) == ("0", "1")


def test_ndjson_has_the_rows_that_json_has(face: Face) -> None:
    lines = face(f"{RANGE}?window=1h", headers={"Accept": "application/x-ndjson"}).body.decode().splitlines()
    assert [json.loads(each, parse_float=Decimal) for each in lines] == face(f"{RANGE}?window=1h").json[
        "rows"
    ]


def test_parquet_is_binary_and_has_the_rows_too(face: Face) -> None:
    from pyarrow import parquet

    found = face(f"{RANGE}?window=1h", headers={"Accept": "application/vnd.apache.parquet"})
    assert found.headers["content-type"] == "application/vnd.apache.parquet"
    table = parquet.read_table(io.BytesIO(found.body))
    assert table.num_rows == len(face(f"{RANGE}?window=1h").json["rows"])


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.5, application/json;q=0.4", "text/csv"),
        ("*/*;q=0.9, application/json;q=0.1, text/csv;q=0", "application/x-ndjson"),
    ],
)
def test_the_form_is_the_one_that_accept_likes_best(accept: str, form: str) -> None:
    assert replies.form_of(accept, FORMS) == form


@pytest.mark.parametrize("path", [RANGE, "/v1/rollups", "/v1/status"])
def test_a_form_that_is_not_made_is_told_with_those_that_are(face: Face, path: str) -> None:
    found = face(path, headers={"Accept": "image/png"})
    assert (found.status, found.headers["content-type"]) == (406, "application/json")
    assert "application/json" in found.json["error"]


def test_where_pyarrow_is_not_installed_parquet_is_one_of_those_that_are_not_made(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_answer: object) -> bytes:
        raise ConfigError("this needs pyarrow")

    monkeypatch.setattr("processors.query.arrow.parquet_of", missing)
    found = face(RANGE, headers={"Accept": "application/vnd.apache.parquet"})
    assert (found.status, "CSV" in found.json["error"]) == (406, True)


# --- what is kept ---


def test_what_has_not_changed_is_not_sent_again_though_time_goes_on(face: Face) -> None:
    first = face(f"{RANGE}?window=1h")
    face.now_ms += 5_000
    again = face(f"{RANGE}?window=1h", headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert again.headers["streamgage-now-ms"] == str(NOW_MS + 5_000)
    other = face(f"{RANGE}?window=1h&limit=3", headers={"If-None-Match": first.headers["etag"]})
    assert other.status == 200
    assert (
        face(
            f"{RANGE}?window=1h", headers={"Accept": "text/csv", "If-None-Match": first.headers["etag"]}
        ).status
        == 200
    )


@pytest.mark.parametrize(
    ("query", "is_kept"),
    [
        ("window=1h&to=2023-11-14T20:00", True),
        ("window=1h&to=2023-11-14T22:00", True),
        ("window=1h&to=2023-11-14T22:30", False),  # its last window ends when nothing is applied yet
        ("window=1d&to=2023-11-14T20:00", False),
        ("window=1h", False),  # a window may come
        ("window=1h&to=1d", False),  # it moves with the clock
        ("window=1h&from=1d&to=2023-11-14T20:00", False),
        ("window=1h&to=2023-11-14T20:00&eventual=true", False),
        ("window=1h&to=2023-11-14T20:00&total=true", True),
        ("window=1h&to=2023-11-14T22:30&total=true", False),
    ],
)
def test_only_what_no_event_but_a_late_one_may_change_is_kept(
    store: InMemoryItemStore,
    query: str,
    is_kept: bool,  # noqa: FBT001 - a table
) -> None:
    face = Face(FakeStack(store, applied_ms=ARRIVAL_MS))
    found = face(f"{RANGE}?{query}")
    assert found.headers["cache-control"] == ("private, max-age=60" if is_kept else "no-cache")


def test_a_window_that_is_empty_so_far_is_not_kept_before_it_is_over(store: InMemoryItemStore) -> None:
    face = Face(FakeStack(store, applied_ms=ARRIVAL_MS + 1_000_000))
    found = face(f"{RANGE}?window=1h&key.device_id=nobody&to=2023-11-14T22:10")
    assert (found.json["rows"], found.headers["cache-control"]) == ([], "no-cache")


def test_a_large_answer_is_compressed_for_who_takes_it(face: Face) -> None:
    plain = face(f"{RANGE}?window=1m")
    packed = face(f"{RANGE}?window=1m", headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert (packed.headers["content-encoding"], packed.plain) == ("gzip", plain.body)
    assert packed.headers["etag"] == plain.headers["etag"]
    assert len(packed.body) < len(plain.body) / 4
    assert (
        "content-encoding" not in face(f"{RANGE}?window=1m", headers={"Accept-Encoding": "gzip;q=0"}).headers
    )
    assert "content-encoding" not in face("/health", headers={"Accept-Encoding": "gzip"}).headers


# --- bounds ---


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_that_lambda_does_not_take_says_what_to_do(
    face: Face, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(replies, "MOST_SENT_BYTES", 1_000)
    found = face(f"{RANGE}?window=1m", headers={"Accept": form})
    assert found.status == 413
    assert "limit=" in found.json["error"]
    monkeypatch.setattr(replies, "MOST_SENT_BYTES", 10_000)
    assert face(f"{RANGE}?window=1m&limit=1", headers={"Accept": form}).status == 200


@pytest.mark.parametrize(("module", "name", "bound"), [(forms, "MOST_BYTES", 2_000), (forms, "MOST_ROWS", 3)])
def test_more_than_is_held_is_not_made(
    face: Face, monkeypatch: pytest.MonkeyPatch, module: object, name: str, bound: int
) -> None:
    monkeypatch.setattr(module, name, bound)
    found = face(f"{RANGE}?window=1m")
    assert (found.status, "limit=" in found.json["error"]) == (413, True)


def test_text_that_json_makes_longer_is_sent_as_bytes_where_that_is_shorter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replies, "MOST_SENT_BYTES", 1_000)
    reply = replies.Reply(b'"' * 600)
    body = replies.response_of(reply, {}).body
    assert isinstance(body, bytes)


def test_filled_windows_beyond_what_is_held_are_too_much_and_no_mistake(face: Face) -> None:
    found = face(f"{RANGE}?window=1m&fill=zero&from=1990-01-01")
    assert (found.status, "1,000,000 rows" in found.json["error"]) == (413, True)


# --- mistakes ---


@pytest.mark.parametrize(
    ("target", "status", "error"),
    [
        (f"{RANGE}?windw=1h", 400, r"no parameter 'windw' here \(did you mean 'window'\?\)"),
        (f"{RANGE}?key.devise_id=x", 400, r"'key\.devise_id' here \(did you mean 'key\.device_id'\?\)"),
        (f"{RANGE}?window=1h&window=1d", 400, "window is given more than once"),
        (f"{RANGE}?key.metric=a&key.metric=b", 400, "metric is given more than once"),
        (f"{RANGE}?limit=0", 400, "limit is '0'; it is a whole number from 1 to 100,000"),
        (f"{RANGE}?limit=1e3", 400, "limit is '1e3'"),
        (f"{RANGE}?limit=1&limit=x", 400, "limit is given more than once"),
        (f"{RANGE}?total=yes", 400, "total is 'yes'; it is true or false"),
        (f"{RANGE}?fill=full", 400, "fill is 'full'; it is null or zero or previous"),
        (f"{RANGE}?from=yesterday", 400, "from: 'yesterday' is neither a time"),
        (f"{RANGE}?to=99999999999999999", 400, "behind the year 9999"),
        (f"{RANGE}?from=2024-01-01&to=2023-01-01", 400, "to is not after from"),
        (f"{RANGE}?window=45s", 400, "windows of '45s' cannot be merged"),
        (f"{RANGE}?window=", 400, "window is ''; it is some text"),
        (f"{RANGE}?group_by=colour", 400, "group_by 'colour' is not part of the key"),
        (f"{RANGE}?by=events", 400, "by says how top ranks"),
        (f"{RANGE}?total=true&fill=zero", 400, "fill is of windows: leave total out"),
        (f"{RANGE}?where=eventz>1", 400, "where: .*eventz"),
        (f"{RANGE}?select=events>1", 400, "select is name=expression"),
        (f"{RANGE}?select=a=1&select=a=2", 400, "each name once"),
        (f"{RANGE}?key.device_id=" + "x" * 3000 + "&key.metric=temp", 400, "a key of device_metrics takes"),
        (f"{TOP}?by=bytes.median", 400, "page_views has no 'bytes.median'"),
        ("/v1/rollups/device_metrics/silent", 400, "for is missing: silent for so long"),
        ("/v1/rollups/device_metrics/silent?for=soon", 400, "for is 'soon'; it is an age"),
        ("/health?a=b", 400, "no parameter 'a' here"),
        (f"{RANGE}?where=%ff", 400, "the query string is not UTF-8"),
        (f"{RANGE}?a&b", 400, "the query string is not name=value"),
        (f"{RANGE}?where=" + "x" * 9000, 414, "the query string takes 9,006 bytes; at most 8,192"),
        ("/v1/rollups/page_viewz", 404, r"no rollup is named 'page_viewz' \(did you mean 'page_views'\?\)"),
        ("/v1/rollups/page_views/tup", 404, r"nothing is named 'tup' here \(did you mean 'top'\?\)"),
        ("/v1/rollups/", 404, "nothing at this path"),
        ("/v2/rollups", 404, "nothing at this path"),
        ("/v1/openapi_json", 404, "nothing at this path"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_line_that_says_what_to_do(
    face: Face, target: str, status: int, error: str
) -> None:
    found = face(target)
    assert (found.status, found.headers["content-type"]) == (status, "application/json")
    assert re.search(error, found.json["error"]), found.json["error"]
    assert "\n" not in found.json["error"]
    assert found.headers["cache-control"] == "no-store"


def test_every_problem_is_told_at_once(face: Face) -> None:
    told = face(f"{RANGE}?aaa=1&limit=x&zzz=2").json
    assert told["problems"] == [
        "there is no parameter 'aaa' here",
        "limit is 'x'; it is a whole number from 1 to 100,000",
        "there is no parameter 'zzz' here",
    ]
    assert told["error"] == told["problems"][0]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", ["/health", "/v1/rollups", RANGE])
def test_another_method_is_refused_with_those_that_are_allowed(face: Face, method: str, path: str) -> None:
    found = face(path, method=method)
    assert (found.status, found.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert face("/nowhere", method=method).status == 404


@pytest.mark.parametrize("target", [RANGE, "/v1/status", f"{RANGE}?limit=x", "/nowhere"])
def test_head_has_the_headers_of_get_and_no_body(face: Face, target: str) -> None:
    get, head = face(target), face(target, method="HEAD")
    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")


@pytest.mark.parametrize(
    ("fails", "status", "error"),
    [
        (RetryableError("throttled"), 503, "does not answer, or is throttled"),
        (
            ServiceError("Query", status=400, error="AccessDeniedException", answer={}),
            500,
            "cannot be read as it stands",
        ),
        (ConfigError("the item secret-device is damaged"), 500, "cannot be read as it stands"),
        (ZeroDivisionError("internals"), 500, "not by the question"),
    ],
)
@pytest.mark.parametrize("path", [RANGE, "/health", "/v1/status"])
def test_what_fails_here_is_told_to_the_log_and_not_to_the_caller(
    store: InMemoryItemStore, fails: Exception, status: int, error: str, path: str
) -> None:
    face = Face(FakeStack(store, fails=fails))
    found = face(path)
    assert found.status == status
    assert error in found.json["error"]
    assert not re.search("secret|internals|AccessDenied", found.body.decode())
    assert face.told[-1].error is fails
    assert ("retry-after" in found.headers) == (status == 503)


def test_a_table_that_holds_something_else_is_no_mistake_of_the_question(store: InMemoryItemStore) -> None:
    rollup = replace(pipeline().rollups["page_views"], generation=1, key=("visitor_id",))
    other = replace(pipeline(), rollups={"page_views": rollup})
    found = Face(FakeStack(store, other))(TOP)
    assert found.status == 500


def test_an_event_of_something_else_is_a_mistake_of_the_wiring(face: Face) -> None:
    with pytest.raises(ConfigError, match=r"payload format 2\.0"):
        face.application.handle({"httpMethod": "GET", "path": "/health"}, Context())


# --- status ---


def test_the_status_says_how_far_everything_is_applied(store: InMemoryItemStore) -> None:
    told = Face(FakeStack(store, applied_ms=NOW_MS - 2_000))("/v1/status").json
    assert (told["now_ms"], told["applied_ms"], told["behind_ms"]) == (NOW_MS, NOW_MS - 2_000, 2_000)
    assert told["quarantined"] == {"messages": 3}


def test_where_nothing_is_known_nothing_is_said(store: InMemoryItemStore) -> None:
    told = Face(FakeStack(store, applied_ms=0, messages=None))("/v1/status").json
    assert (told["applied_ms"], told["behind_ms"], told["quarantined"]) == (None, None, {"messages": None})
    assert told["freshness"].startswith("freshness: unknown")
    found = Face(FakeStack(store, applied_ms=0))(RANGE)
    assert "streamgage-applied-ms" not in found.headers
    assert all(row["may_change"] for row in found.json["rows"])


# --- where from ---


def test_no_page_of_another_origin_reads_answers_unless_it_is_named(
    face: Face, store: InMemoryItemStore
) -> None:
    headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}
    for method in ("GET", "OPTIONS"):
        assert not any(
            name.startswith("access-control") for name in face(RANGE, method=method, headers=headers).headers
        )
    named = Face(FakeStack(store), origins=("https://other.example.com", "https://app.example.com"))
    asked = named(RANGE, method="OPTIONS", headers=headers)
    assert (asked.status, asked.headers["access-control-allow-origin"]) == (204, "https://app.example.com")
    assert "If-None-Match" in asked.headers["access-control-allow-headers"]
    found = named(RANGE, headers=headers)
    assert (
        found.headers["access-control-allow-origin"],
        "ETag" in found.headers["access-control-expose-headers"],
    ) == (
        "https://app.example.com",
        True,
    )
    assert (
        named(f"{RANGE}?limit=x", headers=headers).headers["access-control-allow-origin"]
        == "https://app.example.com"
    )
    for origin in (
        "https://evil.example.com",
        "null",
        "x\r\ny",
    ):
        assert "access-control-allow-origin" not in named(RANGE, headers={"Origin": origin}).headers


@pytest.mark.parametrize("stage", ["$default", "prod"])
def test_a_stage_in_front_of_the_path_is_no_part_of_it(face: Face, stage: str) -> None:
    assert face("/v1/rollups/page_views", stage=stage).json["name"] == "page_views"
    behind_a_domain = event_of("/v1/rollups")
    behind_a_domain["requestContext"]["stage"] = stage
    assert face.application.handle(behind_a_domain, Context())["statusCode"] == 200


# --- what is told of a request ---


def test_a_request_is_told_once_without_what_it_asks_for(face: Face) -> None:
    face(f"{RANGE}?key.device_id=somebody&window=1h")
    face("/v1/nowhere-secret")
    (first, second) = face.told
    assert (first.method, first.route, first.status, first.error) == (
        "GET",
        "/v1/rollups/{rollup}/range",
        200,
        None,
    )
    assert first.read_units > 0
    assert (second.route, second.status) == ("none", 404)


def test_the_kinds_of_columns_are_those_that_are_documented(face: Face) -> None:
    document = face("/v1/openapi.json").json
    columns = document["components"]["schemas"]["Answer"]["properties"]["columns"]
    assert columns["items"]["properties"]["kind"]["enum"] == [str(each) for each in CellKind]
