"""The page tells what was sent: its numbers are an oracle's, while data flows, the stack goes and comes, and links travel."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from processors.pipeline_files import load_pipeline
from support.browser import chromium, visiting
from support.page_server import PageServer, csv_rows, grouped, now_ms, serving
from support.paths import ROOT

MINUTE_MS = 60_000
DASH = "\N{EN DASH}"
PIPELINE = load_pipeline(ROOT / "pipeline.toml")
HUGE = 2**53 + 1  # no double is this number


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def server() -> Iterator[PageServer]:
    with serving(PIPELINE) as server:
        yield server


@dataclass
class Oracle:
    """What was sent, added up in Python: of each window and key the events, and the sum of what is measured."""

    server: PageServer
    source: str
    key: tuple[str, ...]
    measured: str
    size_ms: int
    events: dict[tuple[int, tuple[str, ...]], int] = field(default_factory=lambda: defaultdict(int))
    sums: dict[tuple[int, tuple[str, ...]], Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def send(self, events: Iterable[dict[str, Any]]) -> None:
        """Send, and remember."""
        some = list(events)
        self.server.send(self.source, some)
        for each in some:
            place = each["ts"] - each["ts"] % self.size_ms, tuple(each[name] for name in self.key)
            self.events[place] += 1
            self.sums[place] += Decimal(str(each[self.measured]))

    def rows(self) -> list[list[str]]:
        """Return the rows of events and sums as the page writes them, without their state."""
        return sorted(
            [self._window(start), *key, grouped(count), grouped(self.sums[start, key])]
            for (start, key), count in self.events.items()
        )

    def top(self) -> list[tuple[str, str]]:
        """Return the keys with their events, the first first."""
        totals: dict[tuple[str, ...], int] = defaultdict(int)
        for (_, key), count in self.events.items():
            totals[key] += count
        ranked = sorted(totals.items(), key=lambda each: (-each[1], each[0]))
        return [(" · ".join(key), grouped(count)) for key, count in ranked]

    def _window(self, start_ms: int) -> str:
        start, end = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (start_ms, start_ms + self.size_ms))
        if start.date() == end.date():
            return f"{start:%Y-%m-%d %H:%M}{DASH}{end:%H:%M}"
        return f"{start:%Y-%m-%d %H:%M} {DASH} {end:%Y-%m-%d %H:%M}"


def readings_oracle(server: PageServer) -> Oracle:
    return Oracle(server, "reading", ("device_id", "metric"), "value", MINUTE_MS)


def reading(device: str, ts: int, value: float, metric: str = "power") -> dict[str, Any]:
    return {"device_id": device, "metric": metric, "ts": ts, "value": value}


def told(rows: list[list[str]]) -> list[list[str]]:
    """Return the rows of the page's table in one order, without their state."""
    return sorted(row[:-1] for row in rows)


EVENTS_AND_SUM = "measures=%5B%22events%22%2C%22value.sum%22%5D"


def test_the_numbers_are_those_that_were_sent_while_more_is_sent(browser: Any, server: PageServer) -> None:
    oracle, begin_ms = readings_oracle(server), now_ms() // MINUTE_MS * MINUTE_MS
    oracle.send(reading(f"d{n % 3}", begin_ms - n * 20_000, n + 0.1) for n in range(60))
    with visiting(browser, server.url) as visit:
        visit.go(EVENTS_AND_SUM)
        visit.until_rows(lambda rows: told(rows) == oracle.rows())
        for step in range(4):
            oracle.send(reading(f"d{n % 3}", now_ms(), n * 0.01) for n in range(5 + step))
            visit.until_rows(lambda rows: told(rows) == oracle.rows())
        visit.until("() => document.querySelectorAll('.legend button').length === 3")
        for _ in range(1_000):
            if visit.top_list("Top by events") == oracle.top():
                break
            visit.page.wait_for_timeout(100)
        assert visit.top_list("Top by events") == oracle.top()


def test_an_event_that_comes_late_and_a_new_device_are_seen_as_well(browser: Any, server: PageServer) -> None:
    """Late is what belongs to a window that was called complete: all of it is asked again, now and then."""
    oracle, begin_ms = readings_oracle(server), now_ms() // MINUTE_MS * MINUTE_MS
    oracle.send(reading("d1", begin_ms - n * MINUTE_MS, 1.5) for n in range(10))
    with visiting(browser, server.url) as visit:
        visit.page.clock.install()
        visit.go(EVENTS_AND_SUM)
        visit.until_rows(lambda rows: told(rows) == oracle.rows())
        oracle.send([reading("d1", begin_ms - 8 * MINUTE_MS, 2.25), reading("d2", begin_ms, 7.0)])
        visit.page.clock.fast_forward(61_000)
        visit.until_rows(lambda rows: told(rows) == oracle.rows())


def test_numbers_that_no_double_holds_are_shown_to_the_last_digit(browser: Any, server: PageServer) -> None:
    oracle = Oracle(server, "click", ("page",), "bytes", 3_600_000)
    oracle.send(
        {"visitor_id": "v", "page": "/a", "ts": now_ms() - n * 1_000, "bytes": HUGE + n} for n in range(3)
    )
    with visiting(browser, server.url) as visit:
        visit.go("rollup=page_views&range=1d&measures=%5B%22events%22%2C%22bytes.sum%22%5D")
        rows = visit.until_rows(lambda rows: told(rows) == oracle.rows())
        assert (
            any(each[3] == f"{3 * HUGE + 3:,}" for each in rows) or len(rows) == 2
        )  # an hour may end between
        visit.until("() => document.querySelector('.legend .value').textContent !== ''")


def test_a_rollup_without_keys_says_so_and_fills_as_its_first_event_comes(
    browser: Any, server: PageServer
) -> None:
    with visiting(browser, server.url) as visit:
        visit.until("() => document.querySelector('#empty')?.textContent.startsWith('No events')")
        oracle = readings_oracle(server)
        oracle.send([reading("d1", now_ms(), 2.5)])
        visit.until_rows(lambda rows: told(rows) == [[*row[:3], row[3]] for row in oracle.rows()])
        assert visit.page.locator(".legend button").count() == 1
        assert not visit.page.locator("#empty").is_visible()


def test_of_ten_thousand_keys_the_first_are_drawn_and_all_can_be_found(
    browser: Any, server: PageServer
) -> None:
    oracle, ts = readings_oracle(server), now_ms() // MINUTE_MS * MINUTE_MS - MINUTE_MS
    devices = [f"device-{n:05}" for n in range(10_000)]
    oracle.send(reading(each, ts, 1.0) for each in devices)
    oracle.send(reading(each, ts, 1.0) for at, each in enumerate(devices[:100]) for _ in range(101 - at))
    with visiting(browser, server.url) as visit:
        visit.go("top=100")
        wanted = [row[:4] for row in oracle.rows() if int(row[3]) > 1]
        visit.until_rows(lambda rows: told(rows) == wanted)
        assert visit.page.locator(".legend button").count() == 100
        assert visit.top_list("Top by events") == oracle.top()[:100]
        visit.page.get_by_label("device_id", exact=True).first.fill("device-0777")
        visit.until("() => document.querySelectorAll('datalist option').length === 10")
        visit.page.get_by_label("device_id", exact=True).first.press("Tab")
        visit.until_rows(lambda rows: rows == [])  # as it is: no such device
        visit.page.get_by_label("device_id", exact=True).first.fill("device-0777*")
        visit.page.get_by_label("device_id", exact=True).first.press("Tab")
        visit.until_rows(lambda rows: [each[1] for each in rows] == [f"device-0777{n}" for n in range(10)])


def test_the_tiles_say_rate_freshness_and_what_was_refused(browser: Any, server: PageServer) -> None:
    server.quarantined = None
    server.behind_ms = 400_000
    with visiting(browser, server.url) as visit:
        visit.until(
            "() => document.querySelector('.quarantine .big')?.textContent === 'not known' "
            "&& document.querySelector('.fresh .big').textContent.startsWith('6 min 4')"
        )
        assert visit.page.locator(".fresh.warn").count() == 1
        server.behind_ms, server.quarantined = 1_500, 1_234
        visit.until(
            "() => document.querySelector('.quarantine.warn .big')?.textContent === '1,234' "
            "&& document.querySelector('.fresh:not(.warn) .big')?.textContent.startsWith('1.')"
        )
        server.quarantined = 0
        visit.until("() => document.querySelector('.quarantine:not(.warn) .big')?.textContent === '0'")
        ts = now_ms()
        server.send("reading", (reading("d", ts, 1.0) for _ in range(90)))
        # Its minute goes on, or is the last one by now: both are asked for.
        visit.until(
            "() => Number(document.querySelector('.rate .big').textContent) > 0 "
            "|| document.querySelector('.rate .note').textContent.startsWith('1.5/s, 90 in')"
        )


def test_a_stack_that_applies_nothing_falls_behind_though_it_answers_as_before(
    browser: Any, server: PageServer
) -> None:
    server.stuck_ms = now_ms() - 295_000
    with visiting(browser, server.url) as visit:
        visit.until("() => document.querySelector('.fresh.warn .unit')?.textContent === '(stale)'")


def test_the_stack_goes_and_comes_back_and_the_page_says_so_and_goes_on(
    browser: Any, server: PageServer
) -> None:
    oracle = readings_oracle(server)
    oracle.send(reading("d1", now_ms(), n) for n in range(5))
    with visiting(browser, server.url) as visit:
        visit.go(EVENTS_AND_SUM)
        visit.until_rows(lambda rows: told(rows) == oracle.rows())
        server.stop()
        visit.until("() => !document.querySelector('#gone').hidden")
        assert "does not answer" in visit.page.locator("#gone").inner_text()
        assert visit.page.locator("#said").inner_text() == "The stack does not answer."
        assert told(visit.rows()) == oracle.rows(), "its last numbers stay"
        oracle.send(reading("d1", now_ms(), n) for n in range(7))
        server.start()
        visit.until("() => document.querySelector('#gone').hidden && document.body.dataset.health === 'live'")
        visit.until_rows(lambda rows: told(rows) == oracle.rows())


def test_a_page_that_is_opened_before_the_stack_waits_for_it(browser: Any, server: PageServer) -> None:
    readings_oracle(server).send([reading("d1", now_ms(), 1.0)])
    with visiting(browser, server.url) as visit:
        visit.until("() => document.querySelectorAll('.legend button').length === 1")
        visit.page.route("**/v1/**", lambda route: route.fulfill(status=502, body="<h1>bad gateway</h1>"))
        visit.page.reload()
        visit.until("() => document.querySelector('#gone').textContent.includes('answer 502')")
        visit.page.unroute("**/v1/**")
        visit.until("() => document.querySelectorAll('.legend button').length === 1")


def test_what_is_refused_is_told_as_the_stack_says_it(browser: Any, server: PageServer) -> None:
    with visiting(browser, server.url) as visit:
        visit.go("window=7s")
        visit.until(
            "() => document.querySelector('#refused').textContent.includes(\"windows of '7s' cannot be merged\")"
        )
        visit.page.locator("#c-window").select_option("1h")
        visit.until("() => document.querySelector('#refused').hidden")


def test_a_link_holds_the_whole_view(browser: Any, server: PageServer) -> None:
    oracle, begin_ms = readings_oracle(server), now_ms() // MINUTE_MS * MINUTE_MS
    oracle.send(
        reading(f"d{n % 4}", begin_ms - n * 10_000, n, metric=("power", "heat")[n % 2]) for n in range(40)
    )
    with visiting(browser, server.url) as visit:
        visit.until_rows(lambda rows: len(rows) > 0)
        page = visit.page
        page.locator("#c-range").select_option("6h")
        page.locator("#c-window").select_option("5m")
        page.locator("#c-compare").select_option("previous")
        page.locator("#c-top").select_option("3")
        page.locator("#c-key-metric").fill("p*")
        page.locator("#c-key-metric").press("Tab")
        page.locator("[id='c-measure-value.max']").check()
        page.locator("#c-line-metric").uncheck()
        visit.until_rows(lambda rows: rows and len(rows[0]) == 9)
        seen, link = visit.rows(), page.url
        form = page.evaluate(
            "() => [...document.querySelectorAll('#controls :is(select, input)')].map((each) => [each.id, each.value, each.checked])"
        )
        with visiting(browser, server.url) as other:
            other.page.goto("about:blank")
            other.page.goto(link)
            other.until_rows(lambda rows: rows == seen)
            assert form == other.page.evaluate(
                "() => [...document.querySelectorAll('#controls :is(select, input)')].map((each) => [each.id, each.value, each.checked])"
            )
        page.go_back()
        visit.until("() => document.querySelector('#c-line-metric').checked")


def test_the_file_holds_what_the_table_shows(browser: Any, server: PageServer, tmp_path: Path) -> None:
    oracle, begin_ms = readings_oracle(server), now_ms() // MINUTE_MS * MINUTE_MS
    oracle.send(reading(f"d{n % 14}", begin_ms - n * 10_000, n / 8) for n in range(60))
    with visiting(browser, server.url) as visit:
        visit.go(f"{EVENTS_AND_SUM}&top=5")
        rows = visit.until_rows(lambda rows: len({each[1] for each in rows}) == 5)
        with visit.page.expect_download() as found:
            visit.page.get_by_role("button", name="Download CSV").click()
        assert found.value.suggested_filename == "device_metrics-1m.csv"
        found.value.save_as(tmp_path / "rows.csv")
        given = csv_rows((tmp_path / "rows.csv").read_text(encoding="utf-8"))
        assert sorted((each["device_id"], each["events"], each["value.sum"]) for each in given) == sorted(
            (each[1], each[3], each[4].replace(",", "")) for each in rows
        )


def test_nothing_is_asked_while_it_is_paused(browser: Any, server: PageServer) -> None:
    with visiting(browser, server.url) as visit:
        visit.until("() => document.body.dataset.health === 'live'")
        visit.page.get_by_role("button", name="Pause").click()
        visit.until("() => document.body.dataset.health === 'paused'")
        visit.page.wait_for_load_state("networkidle")
        count = len(server.asked)
        visit.page.wait_for_timeout(6_000)  # three times as long as it asks in
        assert len(server.asked) == count
        visit.page.get_by_role("button", name="Pause").click()
        for _ in range(1_000):
            if len(server.asked) > count:
                break
            visit.page.wait_for_timeout(100)
        assert len(server.asked) > count
