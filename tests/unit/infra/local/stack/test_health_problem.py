"""What is said of the page's function is what it answers."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from infra.commands.up import _page
from infra.local.stack.served import health_problem


class _Function(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def base() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Function)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/key"
    server.shutdown()
    thread.join()
    server.server_close()


def test_of_a_function_that_answers_the_address_is_all_that_is_said(base: str) -> None:
    assert health_problem(base) is None
    assert _page(base, Path("logs")) == f"page: {base}/"


def test_a_function_that_fails_is_told_with_its_logs(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Function, "status", 500)
    assert _page(base, Path("logs")) == (
        f"page: {base}/ - but the function behind it does not answer: "
        "it answers 500 Internal Server Error; see logs/api.log and logs/gateway.log"
    )


def test_where_nobody_listens_that_is_told() -> None:
    assert "refused" in (health_problem("http://127.0.0.1:1/key") or "")
