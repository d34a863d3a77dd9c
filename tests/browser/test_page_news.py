"""The page that is told what changed: it asks at once, seldom otherwise, and again and again where nobody tells."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.browser import Visit, chromium, visiting
from support.page_server import PageServer, now_ms, serving
from support.page_socket import PageSocket
from support.strategies import MINUTE_MS, pipeline, reading

VIEW = "measures=%5B%22events%22%5D"
TAIL = "/rollups/device_metrics/range"
_STATES = """() => {
    window.states = [];
    const health = document.querySelector("#health");
    new MutationObserver(() => window.states.push(health.textContent)).observe(health, { childList: true, characterData: true, subtree: true });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def server() -> Iterator[PageServer]:
    with serving(pipeline()) as found:
        found.socket = PageSocket()
        yield found


def told_of(server: PageServer) -> PageSocket:
    assert server.socket is not None
    return server.socket


def until_state(visit: Visit, state: str) -> None:
    visit.until("(state) => document.querySelector('#health').textContent === state", state)


def send(server: PageServer, count: int) -> None:
    begin_ms = now_ms() // MINUTE_MS * MINUTE_MS
    server.send("reading", [reading("d1", "temp", begin_ms + n, 1.0) for n in range(count)])


def events(rows: list[list[str]]) -> int:
    return sum(int(each[3].replace(",", "")) for each in rows)


def asked_of_the_tail(server: PageServer) -> int:
    return sum(TAIL in each and "limit=" in each for each in server.asked)  # a tile's question has no limit


def test_the_page_hears_of_what_it_shows_under_its_policy_and_says_that_it_is_live(
    browser: Any, server: PageServer
) -> None:
    send(server, 3)
    with visiting(browser, server.url) as visit:
        visit.go(VIEW)
        until_state(visit, "live")
        assert told_of(server).asked[-1] == {
            "action": "subscribe",
            "rollups": ["device_metrics", "page_views", "visits"],
        }


def test_what_changed_is_asked_for_at_once_and_else_nothing_for_long(
    browser: Any, server: PageServer
) -> None:
    send(server, 3)
    with visiting(browser, server.url) as visit:
        visit.go(VIEW)
        visit.until_rows(lambda rows: events(rows) == 3)
        until_state(visit, "live")
        visit.page.wait_for_timeout(5_000)  # what rested for two seconds has asked
        before = asked_of_the_tail(server)
        visit.page.wait_for_timeout(12_000)  # six times as long as it asks in, where nobody tells
        assert (
            asked_of_the_tail(server) <= before + 2
        )  # all of it once a minute, and the tail once in half of one
        send(server, 4)
        told_of(server).changed("device_metrics", now_ms())
        visit.until_rows(lambda rows: events(rows) == 7)


def test_a_socket_that_stays_silent_is_not_waited_for(browser: Any, server: PageServer) -> None:
    send(server, 3)
    with visiting(browser, server.url) as visit:
        visit.page.clock.install()
        visit.go(VIEW)
        visit.until_rows(lambda rows: events(rows) == 3)
        until_state(visit, "live")
        send(server, 4)  # and nobody says so
        visit.page.clock.fast_forward(31_000)
        visit.until_rows(lambda rows: events(rows) == 7)


def test_without_a_socket_the_page_asks_again_and_again_and_hears_once_there_is_one(
    browser: Any, server: PageServer
) -> None:
    told_of(server).refuses = True
    send(server, 3)
    with visiting(browser, server.url) as visit:
        visit.go(VIEW)
        until_state(visit, "polling")
        visit.until_rows(lambda rows: events(rows) == 3)
        send(server, 4)
        visit.until_rows(lambda rows: events(rows) == 7)
        told_of(server).refuses = False
        until_state(visit, "live")
    assert told_of(server).handshakes > 1


def test_a_socket_that_ends_is_opened_again(browser: Any, server: PageServer) -> None:
    send(server, 3)
    with visiting(browser, server.url) as visit:
        visit.go(VIEW)
        until_state(visit, "live")
        told_of(server).refuses = True
        told_of(server).drop()
        until_state(visit, "polling")
        send(server, 4)
        visit.until_rows(lambda rows: events(rows) == 7)
        told_of(server).refuses = False
        until_state(visit, "live")
        send(server, 1)
        told_of(server).changed("device_metrics", now_ms())
        visit.until_rows(lambda rows: events(rows) == 8)


ODD: tuple[Any, ...] = (
    "", "{", "null", "1", '"x"', "[]", b"\x00\xff", {"changed": None}, {"changed": {"rollup": "device_metrics"}},
    {"changed": [None, 1, "x", [], {}, {"rollup": 1}, {"rollup": "<b>x</b>"}, {"rollup": "__proto__"}]},
    {"error": "something"}, {"pong": "soon"}, {"subscribed": 1}, "x" * 100_000,
)  # fmt: skip


def test_what_is_no_news_changes_nothing(browser: Any, server: PageServer) -> None:
    send(server, 3)
    with visiting(browser, server.url) as visit:
        visit.go(VIEW)
        until_state(visit, "live")
        for each in ODD:
            told_of(server).tell(each)
        send(server, 4)
        told_of(server).changed("device_metrics", now_ms())
        visit.until_rows(lambda rows: events(rows) == 7)
        until_state(visit, "live")


def test_who_refuses_the_subscription_is_not_relied_on(browser: Any, server: PageServer) -> None:
    told_of(server).says = {"error": "there is no rollup"}
    send(server, 3)
    with visiting(browser, server.url) as visit:
        visit.go(VIEW)
        until_state(visit, "polling")
        visit.until_rows(lambda rows: events(rows) == 3)
        send(server, 4)
        visit.until_rows(lambda rows: events(rows) == 7)


def test_a_page_that_is_paused_hears_nothing_and_hears_again(browser: Any, server: PageServer) -> None:
    send(server, 3)
    with visiting(browser, server.url) as visit:
        visit.go(VIEW)
        until_state(visit, "live")
        visit.page.get_by_role("button", name="Pause").click()
        until_state(visit, "paused")
        for _ in range(1_000):
            if not told_of(server)._open:
                break
            visit.page.wait_for_timeout(100)
        assert not told_of(server)._open
        send(server, 4)
        visit.page.get_by_role("button", name="Pause").click()
        visit.until_rows(lambda rows: events(rows) == 7)
        until_state(visit, "live")


def test_the_page_hears_with_a_ticket_where_one_is_needed_and_with_another_each_time(
    browser: Any, server: PageServer
) -> None:
    server.tickets = set()
    send(server, 3)
    with visiting(browser, server.url) as visit:
        visit.go(VIEW)
        until_state(visit, "live")
        told_of(server).refuses = True
        told_of(server).drop()
        until_state(visit, "polling")
        told_of(server).refuses = False
        until_state(visit, "live")
    used = [each for each in server.asked if "/live?ticket=" in each]
    assert len(used) >= 2
    assert len(set(used)) == len(used)


def test_questions_that_were_too_many_are_asked_again_later_and_the_stack_is_not_called_gone(
    browser: Any, server: PageServer
) -> None:
    send(server, 3)
    with visiting(browser, server.url) as visit:
        visit.go(VIEW)
        visit.until_rows(lambda rows: events(rows) == 3)
        until_state(visit, "live")
        visit.page.evaluate(_STATES)
        server.too_many = 8
        send(server, 4)
        told_of(server).changed("device_metrics", now_ms())
        visit.until_rows(lambda rows: events(rows) == 7)
        assert server.too_many == 0
        assert "gone" not in visit.page.evaluate("() => window.states")
