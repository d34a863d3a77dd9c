"""Who is obeyed."""

import os
import stat
from pathlib import Path

import pytest

from infra.local.files import make_private, open_private
from infra.local.http.guard import Guard, access_key_of
from infra.local.http.message import Request, Response
from infra.local.http.secret import keep_credentials, read_credentials
from streamgage.errors import ConfigError

KEY = "LOCALAAAABBBBCCCC"
SIGNED = f"AWS4-HMAC-SHA256 Credential={KEY}/20261128/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00"
GUARD = Guard(access_key=KEY, open_paths=frozenset({"/health"}))


PAGE = Guard(base="s3cret", open_paths=frozenset({"/health"}), origins=frozenset({"https://mine.example"}))


def request(target: str = "/", *, method: str = "POST", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, target, {"host": "127.0.0.1:4567", "authorization": SIGNED, **named}, b"")


def status(asked: Request, guard: Guard = GUARD) -> int:
    refusal = guard.refusal(asked)
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.1.2.3:4566", "[::1]:80", "bucket.localhost:4566"]
)
def test_a_loopback_host_with_the_key_is_obeyed(host: str) -> None:
    assert status(request(host=host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4567",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evillocalhost",
        "0.0.0.0",  # noqa: S104 - a name that is refused
        "192.168.0.2",
        "[::]:80",
        "127.0.0.1:4567:80",
        "localhost@evil.example",
        "",
        "2130706433",
        "0x7f.1",
    ],
)
def test_a_foreign_host_is_refused_key_or_not(host: str) -> None:
    assert status(request(host=host)) == 403
    assert status(request(host=host), Guard()) == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:4567", ""])
def test_any_origin_is_refused_key_or_not(origin: str) -> None:
    assert status(request(origin=origin)) == 403
    assert status(request(origin=origin, method="OPTIONS"), Guard()) == 403


def test_pages_of_any_origin_may_ask_what_has_keys_of_its_own_and_nothing_else() -> None:
    guard = Guard(base="s3cret", page_paths=frozenset({"/v1/events"}))
    page = {"origin": "https://shop.example", "sec_fetch_site": "cross-site"}
    assert status(request("/s3cret/v1/events", method="POST", **page), guard) == 200
    assert status(request("/s3cret/v1/events", method="OPTIONS", **page), guard) == 200
    for path in ("/s3cret/v1/rollups", "/s3cret/v1/events/", "/s3cret", "/other/v1/events", "/v1/events"):
        assert status(request(path, method="POST", **page), guard) == 403
    assert (
        status(request("/v1/events", method="POST", **page), Guard(page_paths=frozenset({"/v1/events"})))
        == 403
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "CONNECT", "post", ""])
def test_a_page_of_any_origin_reads_and_changes_nothing_where_it_may_send(method: str) -> None:
    guard = Guard(base="s3cret", page_paths=frozenset({"/v1/events"}))
    for page in (
        {"origin": "https://evil.example", "sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "script"},
        {"origin": "null"},
    ):
        assert status(request("/s3cret/v1/events", method=method, **page), guard) == 403


@pytest.mark.parametrize(
    "target",
    [
        "/s3cret/v1/events/../rollups",
        "/s3cret/v1/events%2f..%2frollups",
        "/s3cret/v1/%65vents",
        "/s3cret//v1/events",
        "/s3cret/v1/events;a",
        "/s3cret/v1/events/health",
        "/s3cret/v1/rollups?/v1/events",
        "http://localhost/s3cret/v1/events",
        "//s3cret/v1/events",
    ],
)
def test_a_page_of_any_origin_comes_to_no_other_path_by_another_spelling(target: str) -> None:
    guard = Guard(base="s3cret", page_paths=frozenset({"/v1/events"}))
    for method in ("POST", "OPTIONS"):
        assert status(request(target, method=method, origin="https://evil.example"), guard) == 403


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_a_page_that_rebinds_its_name_may_not_send_although_it_knows_the_base(method: str) -> None:
    guard = Guard(base="s3cret", page_paths=frozenset({"/v1/events"}))
    for origin in ({"origin": "http://evil.example:4568", "sec_fetch_site": "same-origin"}, {}):
        asked = request("/s3cret/v1/events", method=method, host="evil.example:4568", **origin)
        assert status(asked, guard) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "else"])
def test_a_browser_that_tells_of_another_site_is_refused(site: str) -> None:
    assert status(request("/health", method="GET", sec_fetch_site=site)) == 403


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        f"Bearer {KEY}",
        SIGNED.replace(KEY, KEY + "X"),
        SIGNED.replace(KEY, KEY[:-1]),
        SIGNED.replace(KEY, KEY.lower()),
        f"Credential={KEY}/x",
        f"AWS4-HMAC-SHA256 SignedHeaders={KEY}",
        "AWS4-HMAC-SHA256 " + ", " * 10_000,
    ],
)
def test_another_key_or_none_is_refused(authorization: str) -> None:
    assert status(request(authorization=authorization)) == 403
    assert status(request("/health", authorization=authorization)) == 403
    assert status(request("/health", authorization=authorization, method="GET")) == 200


def test_a_presigned_url_names_the_key_in_its_query() -> None:
    for query in (f"X-Amz-Credential={KEY}%2F20261128%2Fx", f"a=b&AWSAccessKeyId={KEY}"):
        asked = Request("GET", f"/bucket/key?{query}", {"host": "localhost"}, b"")
        assert access_key_of(asked) == KEY
        assert status(asked) == 200
    assert status(Request("GET", "/b?" + "a=1&" * 1000, {"host": "localhost"}, b"")) == 403


def test_a_page_is_let_in_by_its_origin_and_only_that() -> None:
    guard = Guard(access_key=KEY, origins=frozenset({"https://mine.example"}))
    preflight = guard.refusal(
        Request("OPTIONS", "/", {"host": "localhost", "origin": "https://mine.example"}, b"")
    )
    assert preflight is not None
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (
        204,
        "https://mine.example",
    )
    asked = request(origin="https://mine.example", sec_fetch_site="cross-site")
    assert status(asked, guard) == 200
    assert guard.mark(asked, Response(200)).headers["Access-Control-Allow-Origin"] == "https://mine.example"
    assert guard.mark(request(), Response(200)).headers == {}
    assert status(request(origin="https://mine.example.evil"), guard) == 403
    assert status(request(origin="https://mine.example", authorization="", method="POST"), guard) == 403


def test_a_refusal_has_the_form_that_the_client_reads() -> None:
    for headers, form in (({"x_amz_target": "Kinesis.X"}, '"__type"'), ({}, "<Code>")):
        refusal = GUARD.refusal(request(authorization="", **headers))
        assert refusal is not None
        assert form in refusal.body.decode()
        assert "streamgage env" in refusal.body.decode()


def test_the_credentials_of_a_home_are_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "credentials.json"
    made = keep_credentials(path)
    assert keep_credentials(path) == read_credentials(path) == made
    assert made != keep_credentials(tmp_path / "other" / "credentials.json")
    assert len(made.access_key) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"access_key": 1, "secret_key": 2}', '{"access_key": "a b"}']
)
def test_damaged_credentials_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"credentials\.json"):
        keep_credentials(path)


def test_a_log_that_is_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "aws.log").symlink_to(victim)
    for append in (True, False):
        with pytest.raises(ConfigError, match="symbolic link"):
            open_private(tmp_path / "aws.log", append=append)
    assert victim.read_text() == "mine"


def test_a_folder_is_made_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    make_private(tmp_path / "home")
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    os.close(open_private(tmp_path / "home" / "log"))
    assert stat.S_IMODE((tmp_path / "home" / "log").stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="is a file"):
        make_private(tmp_path / "home" / "log")


def by_browser(target: str = "/s3cret/", *, method: str = "GET", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, target, {"host": "127.0.0.1:4568", **named}, b"")


@pytest.mark.parametrize(
    "target", ["/s3cret", "/s3cret/", "/s3cret/v1/rollups?a=1", "/s3cret?a=1", "/health"]
)
def test_a_face_with_a_base_obeys_who_knows_it(target: str) -> None:
    assert status(by_browser(target), PAGE) == 200


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "",
        "/v1",
        "/other/",
        "/s3cre/",
        "/s3crett/",
        "//s3cret/",
        "/S3CRET/",
        "/%73%33cret/",
        "/\xff/",
        "/health/x",
    ],
)
def test_without_the_base_it_says_where_the_address_is(target: str) -> None:
    refusal = PAGE.refusal(by_browser(target))
    assert refusal is not None
    assert refusal.status == 403
    assert b"streamgage status" in refusal.body
    assert status(by_browser("/health", method="POST"), PAGE) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "same-origin"},
        {"origin": "http://127.0.0.1:4568", "sec_fetch_site": "same-origin"},
        {"origin": "https://mine.example", "sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"},
    ],
)
def test_its_own_page_may_ask_and_a_link_leads_to_it(headers: dict[str, str]) -> None:
    assert status(by_browser(**headers), PAGE) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999", "sec_fetch_site": "same-site"},
        {"origin": "http://localhost:4568", "sec_fetch_site": "same-site"},
        {"origin": "https://127.0.0.1:4568"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
        {"host": "evil.example:4568", "origin": "http://evil.example:4568", "sec_fetch_site": "same-origin"},
    ],
)
def test_another_page_may_not_although_it_knows_the_base(headers: dict[str, str]) -> None:
    assert status(by_browser(**headers), PAGE) == 403
    assert PAGE.mark(by_browser(**headers), Response(200)).headers == {}


def test_what_a_wanted_origin_may_read_of_a_page_is_its_handlers_to_say() -> None:
    preflight = by_browser(method="OPTIONS", origin="https://mine.example")
    assert PAGE.refusal(preflight) is None
    assert PAGE.mark(preflight, Response(200)) == Response(200)


def test_the_base_is_kept_with_the_credentials_and_gives_neither_of_them(tmp_path: Path) -> None:
    made = keep_credentials(tmp_path / "credentials.json")
    assert made.base == read_credentials(tmp_path / "credentials.json").base
    assert len(made.base) == 32
    assert made.base.isalnum()
    assert not {made.access_key, made.secret_key, made.access_key.lower(), made.secret_key.lower()} & {
        made.base
    }
    assert made.base != keep_credentials(tmp_path / "other.json").base
