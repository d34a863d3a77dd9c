"""A headless Chromium for the page: what it asked for, what it complained of, and how long a test waits for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

CHROMIUM = Path("/usr/bin/chromium")
WAIT_MS = 180_000  # a machine under load is slow, and nothing here is judged by the clock
_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""
_TABLE = "() => [...document.querySelectorAll('.numbers tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"

# The times at which the events of all rows, in the column of that number, first added up to so many: looked at far more often
# than anything is told.
_SEEN = """(column) => {
    window.seen = {};
    setInterval(() => {
        let events = 0;
        for (const row of document.querySelectorAll(".numbers tbody tr")) events += Number(row.cells[column].textContent.replaceAll(",", ""));
        window.seen[events] ??= Date.now();
    }, 10);
}"""

_OF_SERVERS = ("Failed to load resource", "WebSocket connection to ")
_LIST = """(title) => {
    const card = [...document.querySelectorAll("#lists section")].find((each) => each.querySelector("h2").textContent === title);
    return [...(card?.querySelectorAll("li") ?? [])].map((each) => [...each.querySelectorAll(".name, .value")].map((one) => one.textContent));
}"""


@contextmanager
def chromium(*, back_forward_cache: bool = False) -> Iterator[Any]:
    """Start a browser; skip, and say so, where there is none. Playwright's have no *back_forward_cache*."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as found:
        browser = found.chromium.launch(
            executable_path=str(CHROMIUM),
            args=list(_ARGUMENTS),
            ignore_default_args=["--disable-back-forward-cache"] if back_forward_cache else None,
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page that is looked at: every request and every complaint of it is kept."""

    page: Any
    url: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    others: tuple[str, ...] = ()  # where it may go beside its own address

    def go(self, fragment: str = "") -> None:
        """Load the page anew, with *fragment* behind #."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}{fragment and f'#{fragment}'}")

    def look(self, **view: str) -> None:
        """Load the page anew, with *view* as its link says it."""
        self.go(urlencode(view))

    def until(self, condition: str, argument: Any = None) -> None:
        """Wait until the JavaScript *condition* holds."""
        self.page.wait_for_function(condition, arg=argument, timeout=WAIT_MS)

    def rows(self) -> list[list[str]]:
        """Return the table of numbers, cell by cell."""
        found: list[list[str]] = self.page.evaluate(_TABLE)
        return found

    def until_rows(self, wanted: Callable[[list[list[str]]], object]) -> list[list[str]]:
        """Wait until the table is as *wanted*; return it. Says what it was, where it never is."""
        rows: list[list[str]] = []
        for _ in range(WAIT_MS // 100):
            rows = self.rows()
            if wanted(rows):
                return rows
            self.page.wait_for_timeout(100)
        pytest.fail(f"the table never was as it should be; last it was {rows[:5]} … ({len(rows)} rows)")

    def note_sums(self, column: int) -> None:
        """Begin to note when the table's numbers in *column* first add up to what."""
        self.page.evaluate(_SEEN, column)

    def until_sum(self, events: int) -> float:
        """Wait until they add up to *events*; return when they first did, in s."""
        self.until("(events) => window.seen[events]", events)
        seen_ms: int = self.page.evaluate("(events) => window.seen[events]", events)
        return seen_ms / 1000

    def top_list(self, title: str) -> list[tuple[str, str]]:
        """Return the names and values of the list under *title*; none where there is no such list yet."""
        found = self.page.evaluate(_LIST, title)
        return [(name, value) for name, value in found]

    def until_top(self, title: str, wanted: list[tuple[str, str]]) -> None:
        """Wait until the list under *title* is as *wanted*."""
        for _ in range(WAIT_MS // 100):
            if self.top_list(title) == wanted:
                return
            self.page.wait_for_timeout(100)
        assert self.top_list(title) == wanted

    def check(self) -> None:
        """Check that it asked nobody else, and that nothing was complained of."""
        violations = self.page.evaluate("window.violations")
        assert not violations
        assert not self.complaints
        assert [
            each for each in self.requests if not each.startswith((self.url, "blob:", *self.others))
        ] == []


@contextmanager
def visiting(browser: Any, url: str, *, others: tuple[str, ...] = (), **options: Any) -> Iterator[Visit]:
    """Open the page at *url* in a context of its own; check it in the end."""
    context = browser.new_context(**{"viewport": {"width": 1360, "height": 1000}} | options)
    context.add_init_script(_VIOLATIONS)
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    visit = Visit(page, url, others=others)
    context.on("request", lambda request: visit.requests.append(request.url))
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.on("console", lambda said: _complain(visit, said))
    try:
        visit.go()
        yield visit
        visit.check()
    finally:
        context.close()


def _complain(visit: Visit, said: Any) -> None:
    """Keep what the console says, but for what a browser says of a server that is gone or refuses, or has no socket."""
    if said.type in ("error", "warning") and not said.text.startswith(_OF_SERVERS):
        visit.complaints.append(said.text)
