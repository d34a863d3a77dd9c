"""What a stranger may send: each is refused or bounded, in a line, and nothing of it is obeyed."""

import re
from typing import Any
from urllib.parse import quote

import pytest

from processors.deadline import Deadline
from processors.live.alarm import ended_by
from processors.live.problems import OutOfTimeError
from streamgage.errors import RetryableError
from support.fakes import InMemoryItemStore
from support.http_face import HOSTILE_KEYS, Context, Face, FakeStack, answered, event_of, world

RANGE = "/v1/rollups/device_metrics/range"
PAGES = "/v1/rollups/page_views/range"


@pytest.fixture(scope="module")
def store() -> InMemoryItemStore:
    return world().store


@pytest.fixture
def face(store: InMemoryItemStore) -> Face:
    return Face(FakeStack(store))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/rollups/..%2f..%2fetc%2fpasswd",
        "/v1/rollups/../../../etc/passwd",
        "/v1/../health",
        "/../health",
        "//health",
        "/health/",
        "/health%00",
        "/health%0A",
        "/health%0d%0aSet-Cookie:%20a=b",
        "/%2568ealth",
        "/v1/rollups/device_metrics%2frange",
        "/v1/rollups/device_metrics/range%00.csv",
        "/v1/rollups/%E2%80%AEpage_views",
        "/v1/rollups/%FF%FE",
        "/v1/rollups/" + "x" * 5_000,
        "/v1/rollups/" + "%25" * 500,
        "/v1/rollups/device_metrics;a=b/range",
        "/V1/ROLLUPS",
        "*",
        "",
    ],
)
def test_a_path_that_is_none_is_not_found_however_it_is_written(face: Face, path: str) -> None:
    if path == "/v1/rollups/device_metrics%2frange":  # API Gateway decodes it once: it is the path
        assert face(path).status == 200
        return
    found = face(path)
    assert (found.status, "set-cookie" in found.headers) == (404, False)


@pytest.mark.parametrize("raw", ["/v1/rollups/\ud800", "/health\x00", "/health\n", "/hé"])
def test_a_path_of_no_url_is_not_found(face: Face, raw: str) -> None:
    event = event_of("/health")
    event["rawPath"] = raw
    assert face.application.handle(event, Context())["statusCode"] == 404


@pytest.mark.parametrize(
    "value", ["%252a", "%25252a", "%2a%00", "..%2f", "%E2%80%AE", "%0d%0aX: y", "<b>", "[red]a[/]"]
)
def test_a_value_is_decoded_once_and_means_itself(face: Face, value: str) -> None:
    found = face(f"{RANGE}?key.metric={value}")
    assert (found.status, found.json["rows"]) == (200, [])


@pytest.mark.parametrize("raw", ["where=%ff", "where=%ed%a0%80", "%c3%28=x", "where=\ud800"])
def test_what_is_not_utf_8_is_refused(face: Face, raw: str) -> None:
    event = event_of(RANGE)
    event["rawQueryString"] = raw
    found = answered(face.application.handle(event, Context()))
    assert (found.status, found.json["error"]) == (400, "the query string is not UTF-8, percent-encoded")


@pytest.mark.parametrize(
    "query",
    [
        "limit=" + "9" * 5_000,
        "limit=-1",
        "limit=１０",  # noqa: RUF001 - digits, and not ASCII
        "limit=1e309",
        "moving=1001",
        "n=5",
        "from=" + "9" * 60,
        "from=99999999999d",
        "window=99999999999999s",
        "window=999999999999d",
        "window=9999y@Europe/Berlin",
        "window=0s",
        "window=1s",
        "window=1d@../../etc/passwd",
        "window=1d@/etc/localtime",
        "compare=999999999999d",
        "where=events>" + "9" * 4_000,
        "where=events>1e999999999",
        "where=" + "(" * 4_000,
        "where=" + "not+" * 2_000 + "true",
        "where=" + quote("events>0" + " or events>0" * 400),
        "where=" + "-" * 8_000 + "1>0",
        "select=a=" + "1%2B" * 2_000 + "1",
        "select=a=" + quote("'x'" + " || 'x'" * 1_000),
        "where=" + quote("metric like '" + "%" * 500 + "x'"),
        "where=" + quote("metric like '" + "%a" * 2_000 + "'"),
        "key.metric=" + "*a" * 490,
        "key.metric=" + "?" * 8_000,
        "group_by=" + "," * 8_000,
        "&".join(f"select=a{n}=events" for n in range(500)),
        "&" * 8_000,
        "from=0001-01-01T00:00%2B14:00",
        "to=9999-12-31T23:59:59-14:00",
        "from=2020-01-01T00:00:00.999999999999",
        "from=-1",
    ],
)
def test_a_greedy_question_is_refused_or_answered_and_never_a_failure_of_ours(face: Face, query: str) -> None:
    found = face(f"{RANGE}?{query}")
    assert found.status in (200, 400, 413, 414), found.body
    assert len(found.body) < 200_000
    if found.status != 200:
        assert "\n" not in found.json["error"]


def test_ten_years_by_the_second_are_no_windows_that_are_kept(face: Face) -> None:
    found = face(f"{RANGE}?window=1s&from=2014-01-01&to=2024-01-01&fill=zero")
    assert (found.status, "windows of '1s' cannot be merged" in found.json["error"]) == (400, True)


@pytest.mark.parametrize("accept", ["application/json", "text/csv", "application/x-ndjson"])
def test_keys_with_markup_and_control_characters_come_through_and_run_nowhere(
    face: Face, accept: str
) -> None:
    found = face(f"{PAGES}?window=1d", headers={"Accept": accept})
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["content-security-policy"].startswith("default-src 'none'")
    assert "html" not in found.headers["content-type"]
    assert "set-cookie" not in found.headers
    text = found.body.decode()
    if accept == "application/json":
        assert {row["page"] for row in found.json["rows"]} == set(HOSTILE_KEYS)
    if accept == "text/csv":
        assert "\n=1" not in text
        assert "\n'=1+1" in text
    else:
        assert "\x1b" not in text
        assert "\r" not in text


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "\r\nSet-Cookie: a=b", "\x1b[31m", "\u202e", "{{7*7}}"]
)
def test_what_a_mistake_quotes_is_json_and_no_header(face: Face, text: str) -> None:
    for target in (
        f"/v1/rollups/page_views/range?{quote(text)}=1",
        f"{RANGE}?fill={quote(text)}",
        f"{RANGE}?where={quote(text)}",
    ):
        found = face(target)
        assert (found.status, found.headers["content-type"]) == (400, "application/json")
        assert found.body.isascii()
        assert not re.search(rb"[\x00-\x1f]", found.body)
        assert "set-cookie" not in found.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": "session=1; session=2"},
        {"Accept": "," * 5_000},
        {"Accept": "a/b;q=" + "9" * 5_000},
        {"Accept": ";;;;"},
        {"If-None-Match": "\r\n" + '"x",' * 2_000},
        {"If-None-Match": "*" * 9_000},
        {"Accept-Encoding": "gzip;q=nan, *;q=inf"},
        {"Origin": "https://evil.example.com"},
        {"X-Forwarded-Host": "evil.example.com", "X-Original-URL": "/v1/rollups"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"Content-Type": "application/xml"},
        {"Range": "bytes=0-1"},
        {"Host": "evil.example.com"},
    ],
)  # fmt: skip
def test_no_header_changes_what_is_asked(face: Face, headers: dict[str, str]) -> None:
    found = face(f"{PAGES}?window=1d", headers=headers)
    assert found.status in (200, 406)
    if found.status == 200:
        assert (
            found.plain.partition(b'"freshness"')[0]
            == face(f"{PAGES}?window=1d").body.partition(b'"freshness"')[0]
        )


def test_an_event_without_what_may_be_missing_is_one(face: Face) -> None:
    event = event_of("/v1/rollups")
    for name in ("headers", "rawQueryString", "body", "isBase64Encoded"):
        event[name] = None
        assert face.application.handle(event, Context())["statusCode"] == 200
        del event[name]
        assert face.application.handle(event, Context())["statusCode"] == 200


def test_a_body_where_none_is_asked_for_is_not_looked_at(face: Face) -> None:
    assert face("/v1/rollups", body=b"x" * 1_000_000).status == 200


# --- time ---


@pytest.mark.parametrize("left_ms", [1_000, 1_500])
def test_where_the_table_is_slow_the_caller_is_told_before_lambda_ends_it(
    store: InMemoryItemStore, left_ms: int
) -> None:
    face = Face(FakeStack(store, fails=RetryableError("no time left")))
    face.stack.check = _wait_for  # type: ignore[method-assign]
    found = face(RANGE, left_ms=left_ms)
    assert (found.status, "shorter range" in found.json["error"]) == (504, True)


def _for_ever(*_: Any, **__: Any) -> Any:
    while True:
        pass


def _wait_for(deadline: Deadline) -> None:
    while not deadline.has_passed:
        pass
    raise RetryableError("Query: no time left")


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
def test_where_computing_takes_too_long_it_ends_too(
    face: Face, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    monkeypatch.setattr("processors.query.tables.answer", _for_ever)
    found = face(RANGE, left_ms=1_200, headers={"Accept": accept})
    assert (found.status, "would take too long" in found.json["error"]) == (504, True)
    monkeypatch.undo()
    assert face(RANGE).status == 200  # the sandbox goes on


def test_a_block_that_ends_in_time_is_not_interrupted_afterwards() -> None:
    import signal

    before = signal.getsignal(signal.SIGALRM)
    for _ in range(100):
        with ended_by(Deadline.after(0.0)):
            pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_error_of_the_block_is_its_own() -> None:
    with pytest.raises(ZeroDivisionError), ended_by(Deadline.after(60)):
        raise ZeroDivisionError
    with pytest.raises(OutOfTimeError), ended_by(Deadline.after(0)):
        _for_ever()


def test_in_a_thread_only_reads_are_bounded() -> None:
    from threading import Thread

    done: list[bool] = []

    def work() -> None:
        with ended_by(Deadline.after(0.0)):
            done.append(True)

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
