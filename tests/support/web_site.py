"""A site with streamgage.min.js on its pages, under a strict policy, and what its visitors did: the oracle of the client."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest

from support.browser import WAIT_MS
from support.paths import ROOT

BROWSER = ROOT / "producers" / "browser"
SCRIPT = BROWSER / "dist" / "streamgage.min.js"
LATER_MS = (
    60_000  # by so much is the clock of a page ahead that finds what a crashed one left: no test waits for it
)
HURRY = "{ const set = setTimeout; window.setTimeout = (run, ms) => set(run, ms / 20); }"  # for pages that wait and retry
STILL = """{ const set = setTimeout, now = Date.now();
    window.setTimeout = (run, ms) => set(run, ms * 1000); Date.now = () => now; }"""  # for batches that are to stay open
MOST_BYTES = 60_000  # of a body: what every way of leaving takes
_POLL_MS = 50
_CRASH_MS = 10_000  # for a navigation that may never be told to have failed; the crash itself is waited for
_PAGE = """<!doctype html><title>{path}</title>
<script src="/streamgage.min.js" data-to="{to}" data-key="{key}" {attributes}></script>
<a id="buy" data-track="buy" href="#"><b>Buy</b></a> <a class="out" href="/elsewhere?secret=1#x">Out</a> <i>none</i>
"""
_LEFT = "() => Object.keys(localStorage).filter((each) => each.includes('streamgage') && /^[0-9]/.test(each)).length"
_OPEN = """() => Object.fromEntries(Object.entries(localStorage).filter(
    ([name, value]) => name.includes("streamgage") && /^[0-9]/.test(name) && !value.endsWith("}")))"""
_LATER = """{ const now = Date.now; Date.now = () => now() + %d; }"""


class Address(Protocol):
    """A collector as pages know it: where it is, up to and without ``/v1/events``, and the key that they may have."""

    url: str
    key: str


class Collects(Address, Protocol):
    """A collector as an oracle knows it: what of a page's requests was wrong, and the events that count."""

    wrong: list[str]
    requests: Counter[str]

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """Those that count, in any order."""

    def is_settled(self) -> bool:
        """Tell whether all that it acknowledged is among them."""


class QuietServer(ThreadingHTTPServer):
    """Says nothing of a browser that hangs up."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@dataclass
class Site:
    """Pages of any path but those that end by ``/bare``, which have no script.

    ``attributes`` go into the script's tag; ``page`` stands in for what a page has.
    """

    collector: Address
    url: str = ""
    attributes: str = ""
    page: str = _PAGE

    def file(self, path: str) -> tuple[str, bytes]:
        """Return type and body of *path*."""
        if path == "/streamgage.min.js":
            return "text/javascript", SCRIPT.read_bytes()
        if path.endswith("/bare"):
            return "text/html", b"<!doctype html><title>bare</title>"
        page = self.page.format(
            path=path, to=self.collector.url, key=self.collector.key, attributes=self.attributes
        )
        return "text/html", page.encode()


@contextmanager
def site_of(collector: Address) -> Iterator[Site]:
    """Serve the site on loopback."""
    site = Site(collector)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

        def do_GET(self) -> None:
            kind, body = site.file(urlsplit(self.path).path)
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header(
                "Content-Security-Policy",
                f"default-src 'none'; script-src 'self'; connect-src {urlsplit(collector.url).netloc}; "
                "require-trusted-types-for 'script'",
            )
            self.end_headers()
            self.wfile.write(body)

    server = QuietServer(("127.0.0.1", 0), Handler)
    site.url = f"http://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Visitor:
    """One browser profile. ``did`` counts what happened, as (page, action, n): the oracle.

    ``home``: all its paths begin so, where a collector has several visitors.
    """

    context: Any
    site: Site
    collector: Collects
    home: str = "/"
    did: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    page: Any = None
    path: str = ""
    complaints: list[str] = field(default_factory=list)
    _open: dict[str, str] = field(default_factory=dict)  # what a crash left, and how

    def open(self, path: str, *, seen: bool = True) -> None:
        """Open *path* in a new tab."""
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.go(path, seen=seen)

    def go(self, path: str, *, seen: bool = True) -> None:
        """Go to *path* in this tab; *seen* where that is a page view."""
        self.page.goto(self.site.url + path)
        self.path = path
        self.did[(path, "view", None)] += seen

    def back(self, path: str) -> None:
        """Go back, to *path*."""
        self.page.go_back(wait_until="commit")
        self.path = path
        self.did[(path, "view", None)] += 1

    def push(self, path: str) -> None:
        """Go to *path* within the page."""
        self.page.evaluate("(path) => history.pushState({}, '', path)", path)
        self.path = path
        self.did[(path, "view", None)] += 1

    def track(self, action: str, *numbers: int) -> None:
        """Tell of *action*, once for each of *numbers*."""
        self.page.evaluate(
            "([action, numbers]) => { for (const n of numbers) streamgage.track(action, { n }); }",
            [action, numbers],
        )
        self.did.update((self.path, action, str(each)) for each in numbers)

    def left(self) -> int:
        """Return how many batches wait in the storage."""
        count: int = self.page.evaluate(_LEFT)
        return count

    def until_sent(self) -> None:
        """Wait until nothing waits in the storage."""
        self.page.evaluate("streamgage.flush()")
        self.until(lambda: self.left() == 0)

    def until(self, wanted: Callable[[], object]) -> None:
        """Wait until *wanted*; the page's policy lets nobody evaluate a condition in it."""
        for _ in range(WAIT_MS // _POLL_MS):
            if wanted():
                return
            self.page.wait_for_timeout(_POLL_MS)
        pytest.fail(f"never; asked {dict(self.collector.requests)}, wrong {self.collector.wrong}")

    def crash(self) -> None:
        """Let the process of the page die; the page hears nothing."""
        self._open = self.page.evaluate(_OPEN)
        with self.page.expect_event("crash"), suppress(Exception):
            self.page.goto("chrome://crash", timeout=_CRASH_MS)
        self.page.close()

    def until_asked(self, before: int) -> None:
        """Wait until the collector has answered more than *before* requests."""
        self.until(lambda: self.collector.requests["answer"] > before)

    def come_back(self) -> None:
        """Return a minute later, and stay until everything is acknowledged.

        A minute is long enough for what the last page wrote to be seen by the next one, in another process: it is waited for.
        """
        self.page = self.context.new_page()
        self.page.goto(f"{self.site.url}{self.home}bare")
        self.until(lambda: self.page.evaluate(_OPEN).items() <= self._open.items())
        self.context.add_init_script(_LATER % LATER_MS)
        self.open(f"{self.home}back")
        self.until_sent()

    def counted(self) -> Counter[tuple[str, str, str | None]]:
        """Return what counts of this visitor, as ``did`` has it, once all that is acknowledged does."""
        self.until(self.collector.is_settled)
        return Counter(
            {each: n for each, n in counted(self.collector).items() if each[0].startswith(self.home)}
        )

    def check(self) -> None:
        """Check that each event counts once, and that nothing was complained of."""
        there = self.counted()
        assert there == self.did, f"missing {self.did - there}, too many {there - self.did}"
        assert not self.complaints, self.complaints
        assert not self.collector.wrong, self.collector.wrong


@contextmanager
def visitor_of(browser: Any, site: Site, collector: Collects, *, home: str = "/") -> Iterator[Visitor]:
    """A new visitor of *site*, whose events go to *collector*."""
    context = browser.new_context()
    context.set_default_timeout(WAIT_MS)
    try:
        yield Visitor(context, site, collector, home)
    finally:
        context.close()


def counted(collector: Collects) -> Counter[tuple[str, str, str | None]]:
    """Return what counts, as ``did`` has it."""
    return Counter(
        (each["page"], each["action"], (each["properties"] or {}).get("n")) for each in list(collector.events)
    )
