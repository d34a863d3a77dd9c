"""The page for everyone: by keyboard alone, by screen reader (axe), in the dark, on a phone."""

import math
from collections.abc import Iterator
from typing import Any

import pytest

from processors.pipeline_files import load_pipeline
from support.browser import Visit, chromium, visiting
from support.page_server import PageServer, now_ms, serving
from support.paths import ROOT

MINUTE_MS = 60_000
MOST_TABS = 80
SERIOUS = ("serious", "critical", "moderate")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with serving(load_pipeline(ROOT / "pipeline.toml")) as server:
        begin_ms = now_ms() // MINUTE_MS * MINUTE_MS
        server.quarantined = 2
        server.send(
            "reading",
            (
                {"device_id": f"machine-{k}-with-a-long-name", "metric": "temperature", "ts": begin_ms - n * MINUTE_MS, "value": 20 + math.sin(n + k)}
                for n in range(30)
                for k in range(5)
                for _ in range(k + 1)
            ),
        )  # fmt: skip
        yield server


def ready(visit: Visit, view: str = "") -> None:
    visit.go(view)
    visit.until_rows(lambda rows: len(rows) >= 50)
    visit.until("() => document.querySelector('#view').getAttribute('aria-busy') === 'false'")
    visit.until("() => document.querySelector('.rate .note').textContent !== ''")


VIEWS = (
    "",
    "measures=%5B%22value.mean%22%2C%22value.max%22%5D&compare=previous&range=custom&window=1m&time=local",
    "lines=%5B%5D",
    "where=events%20>%2030&select=each%20=%20value.sum%20/%20events&measures=%5B%22events%22%2C%22each%22%5D&sort=each",
)
WRONG = "where=events%20>>%2030&select=each%20=%20value.sum%20/%20nothing"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious(browser: Any, server: PageServer, scheme: str, view: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with visiting(browser, server.url, color_scheme=scheme) as visit:
        visit.go(view)
        visit.until_rows(lambda rows: len(rows) >= 25)
        visit.until("() => document.querySelector('.rate .note').textContent !== ''")
        visit.page.locator(".plot").first.focus()
        visit.page.keyboard.press("ArrowLeft")
        _check(axe.run(visit.page))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_while_the_stack_is_gone(
    browser: Any, server: PageServer, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with visiting(browser, server.url, color_scheme=scheme) as visit:
        ready(visit)
        visit.page.route("**/v1/**", lambda route: route.abort())
        visit.until("() => !document.querySelector('#gone').hidden")
        _check(axe.run(visit.page))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_where_a_mistake_is_told_and_a_phone_shows_it_whole(
    browser: Any, server: PageServer, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with visiting(browser, server.url, color_scheme=scheme, viewport={"width": 320, "height": 900}) as visit:
        visit.go(WRONG)
        visit.until("() => document.querySelector('#c-where-wrong')?.textContent !== ''")
        visit.until("() => document.querySelectorAll('#lists section h2')[1]?.textContent !== ''")
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 320
        _check(axe.run(visit.page))


def _check(results: Any) -> None:
    found = [
        (each["id"], each["help"], each["nodes"][0]["html"])
        for each in results.response["violations"]
        if each["impact"] in SERIOUS
    ]
    assert found == []


def test_all_can_be_done_by_keyboard_alone(browser: Any, server: PageServer) -> None:
    with visiting(browser, server.url) as visit:
        ready(visit)
        page = visit.page

        def tab_to(selector: str) -> None:
            for _ in range(MOST_TABS):
                page.keyboard.press("Tab")
                if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                    return
            pytest.fail(f"{selector} is not reached by Tab")

        page.evaluate("document.body.focus()")
        tab_to("#skip")
        tab_to("#c-compare")
        page.keyboard.press("ArrowDown")
        visit.until_rows(lambda rows: rows and len(rows[0]) == 7)
        assert page.evaluate("document.activeElement.id") == "c-compare", "focus stays where it was"
        tab_to("#c-key-device_id")
        page.keyboard.type("machine-4*")
        tab_to("#c-key-metric")
        visit.until_rows(lambda rows: rows and {row[1] for row in rows} == {"machine-4-with-a-long-name"})
        tab_to("[id='c-measure-value.count']")
        page.keyboard.press("Space")
        visit.until("() => document.querySelectorAll('.plot').length === 2")
        tab_to(".plot")
        visit.until("() => document.querySelector('.plot').getAttribute('aria-valuemax') > 20")
        page.keyboard.press("Home")
        last = page.evaluate("document.activeElement.getAttribute('aria-valuemax')")
        assert page.evaluate("document.activeElement.getAttribute('aria-valuenow')") == "0"
        page.keyboard.press("PageUp")
        page.keyboard.press("ArrowRight")
        now, text = page.evaluate(
            "['aria-valuenow', 'aria-valuetext'].map((name) => document.activeElement.getAttribute(name))"
        )
        assert (now, int(last) >= 20) == ("11", True)
        assert "machine-4-with-a-long-name · temperature: 5 (before 5, 0 %)" in text
        page.keyboard.press("Escape")
        assert page.locator(".readout:visible").count() == 0
        tab_to(".legend button")
        page.keyboard.press("Space")
        assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "false"
        assert visit.rows() == []
        page.keyboard.press("Space")
        tab_to("#lists button")
        tab_to(".scroll")
        tab_to_download = "#download"
        page.keyboard.press("Shift+Tab")
        assert page.evaluate("(selector) => document.activeElement.matches(selector)", tab_to_download)
        with page.expect_download():
            page.keyboard.press("Enter")


def test_up_and_down_choose_the_line_that_is_read_first(browser: Any, server: PageServer) -> None:
    with visiting(browser, server.url) as visit:
        ready(visit)
        plot = visit.page.locator(".plot").first
        plot.focus()
        visit.page.keyboard.press("Home")
        visit.page.keyboard.press("ArrowRight")
        read = []
        for _ in range(5):
            visit.page.keyboard.press("ArrowDown")
            read.append((plot.get_attribute("aria-valuetext") or "").partition(". ")[2].partition(" · ")[0])
        assert sorted(read) == [f"machine-{k}-with-a-long-name" for k in range(5)]


def test_a_screen_reader_hears_of_a_view_once_and_not_of_each_number(
    browser: Any, server: PageServer
) -> None:
    with visiting(browser, server.url) as visit:
        visit.page.add_init_script(
            "document.addEventListener('DOMContentLoaded', () => { window.heard = []; if (document.querySelector('#said')) new MutationObserver(() => "
            "window.heard.push(document.querySelector('#said').textContent)).observe(document.querySelector('#said'), "
            "{childList: true, characterData: true, subtree: true}); });"
        )
        ready(visit)
        count = len(server.asked)
        for n in range(3):
            server.send(
                "reading",
                [
                    {
                        "device_id": "machine-4-with-a-long-name",
                        "metric": "temperature",
                        "ts": now_ms(),
                        "value": n,
                    }
                ],
            )
            visit.page.wait_for_timeout(2_500)
        assert len(server.asked) > count
        heard = visit.page.evaluate("window.heard")
        assert len(heard) <= 2
        assert heard[0].startswith("device_metrics: ")


@pytest.mark.parametrize("width", [320, 390, 768])
@pytest.mark.parametrize("view", VIEWS[:2])
def test_at_a_phones_width_nothing_has_to_be_pushed_sideways(
    browser: Any, server: PageServer, width: int, view: str
) -> None:
    with visiting(browser, server.url, viewport={"width": width, "height": 700}, has_touch=True) as visit:
        ready(visit, view)
        wide = visit.page.evaluate(
            "() => [document.documentElement.scrollWidth, [...document.querySelectorAll('body *')].filter((each) => "
            "each.getBoundingClientRect().right > innerWidth + 1 && !each.closest('.scroll, .unseen, .readout') && each.checkVisibility())"
            ".map((each) => each.outerHTML.slice(0, 80))]"
        )
        assert wide == [width, []]
        visit.page.locator(".plot").first.tap()
        visit.until("() => document.querySelector('.readout:not([hidden])')")


def test_the_dark_is_dark(browser: Any, server: PageServer) -> None:
    colour = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b) / 3"
    with visiting(browser, server.url, color_scheme="dark") as visit:
        ready(visit)
        assert visit.page.evaluate(colour) < 60
        visit.page.emulate_media(color_scheme="light")
        assert visit.page.evaluate(colour) > 200


def test_the_pointer_reads_a_window_and_draws_a_range(browser: Any, server: PageServer) -> None:
    with visiting(browser, server.url) as visit:
        ready(visit)
        box = visit.page.locator(".plot").first.bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        visit.page.mouse.move(box["x"] + box["width"] * 0.5, middle)
        visit.until("() => document.querySelector('.readout:not([hidden])')")
        assert visit.page.locator(".readout th").count() == 5
        visit.page.mouse.down()
        visit.page.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=5)
        visit.page.mouse.up()
        visit.until("() => location.hash.includes('range=custom')")
        visit.until_rows(lambda rows: 20 < len(rows) < 100)
