"""The page: its files and no other, with headers that keep it to itself."""

from pathlib import Path

import pytest

from infra.local.gateway.page import Page
from infra.local.http.message import Request, Response
from infra.template.page import HEADERS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    web = tmp_path / "web"
    (web / "vendor").mkdir(parents=True)
    (web / "index.html").write_text("<!doctype html>")
    (web / "page.js").write_text("let a")
    (web / "vendor" / "chart.min.css").write_text("a{}")
    (web / "icon.svg").write_text("<svg/>")
    (web / "README.md").write_text("not served")
    (web / ".hidden.js").write_text("not served")
    (tmp_path / "secret.js").write_text("not served")
    (web / "link.js").symlink_to(tmp_path / "secret.js")
    (web / "folder.js").mkdir()
    return web


def ask(folder: Path, path: str, *, method: str = "GET", **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Page(folder).answer(Request(method, path, named, b""), path)


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/index.html", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/page.js", "text/javascript; charset=utf-8", b"let a"),
        ("/vendor/chart.min.css", "text/css; charset=utf-8", b"a{}"),
        ("/icon.svg", "image/svg+xml", b"<svg/>"),
    ],
)
def test_a_file_has_its_type_and_the_headers_of_a_page(
    folder: Path, path: str, kind: str, body: bytes
) -> None:
    response = ask(folder, path)
    assert (response.status, response.content_type, response.body) == (200, kind, body)
    assert HEADERS.items() <= response.headers.items()


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.js",
        "/vendor/../../secret.js",
        "/./page.js",
        "//page.js",
        "/link.js",
        "/folder.js",
        "/README.md",
        "/.hidden.js",
        "/vendor",
        "/vendor/",
        "/page.js/",
        "/page.js\0",
        "/page.js\n",
        "/\\page.js",
        "/nothing.js",
        "/" + "a" * 5_000 + ".js",
    ],
)
def test_nothing_else_is_served(folder: Path, path: str) -> None:
    response = ask(folder, path)
    assert (response.status, response.body) == (404, b"there is no such file\n")
    assert HEADERS.items() <= response.headers.items()


def test_who_has_the_file_already_gets_no_body(folder: Path) -> None:
    tag = ask(folder, "/page.js").headers["ETag"]
    for said in (tag, f"W/{tag}", f'"other", {tag}'):
        response = ask(folder, "/page.js", if_none_match=said)
        assert (response.status, response.body, response.headers["ETag"]) == (304, b"", tag)
    assert ask(folder, "/page.js", if_none_match='"other"').status == 200
    (folder / "page.js").write_text("let b")
    assert ask(folder, "/page.js", if_none_match=tag).body == b"let b"


def test_only_get_and_head_ask_for_a_page(folder: Path) -> None:
    assert ask(folder, "/", method="POST").status == 405
    assert ask(folder, "/", method="HEAD").status == 200


def test_without_its_folder_a_page_says_where_the_api_is(tmp_path: Path) -> None:
    response = ask(tmp_path / "none", "/")
    assert (response.status, response.body) == (
        404,
        b"there is no page in this version; the API answers under v1/\n",
    )


def test_the_page_may_load_nothing_from_elsewhere_and_run_nothing_inline() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    for each in ("unsafe", "data:", "http:", "https:", "*"):
        assert each not in policy
