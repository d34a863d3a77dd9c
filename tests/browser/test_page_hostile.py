"""Keys and links of strangers: they are text, wherever they stand, and nothing runs."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from processors.pipeline_files import load_pipeline
from streamgage.visible import visible
from support.browser import chromium, visiting
from support.page_server import PageServer, now_ms, serving
from support.paths import ROOT

KEYS = (
    "<img src=x onerror=\"window.pwned='img'\">",
    "gnp.exe\u202efdp.exe",
    "two\nlines\r\nand\ttabs",
    "\x1b[31mred\x07\x00nul",
    "it's ''quoted'' \\ and * or ?",
    "</title></script><script>window.pwned='script'</script>",
    "javascript:window.pwned='url'",
    '" onfocus="window.pwned=\'attribute\'" autofocus="',
    "{{7*7}} ${window.pwned='template'}",
    "' or 1 = 1 or '",
    "漢字 · 🙂 · ä",
    "\u200b\ufeff",
    "x" * 900,
    "",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with serving(load_pipeline(ROOT / "pipeline.toml")) as server:
        ts = now_ms()
        server.send(
            "click",
            [
                {"visitor_id": each, "page": each, "ts": ts, "bytes": 10}
                for at, each in enumerate(KEYS)
                for _ in range(len(KEYS) - at)
            ],
        )
        yield server


VIEW = "rollup=page_views&range=1d&top=20"
SHOWN = [visible(each) or "(empty)" for each in KEYS]


def test_hostile_keys_are_text_everywhere_and_run_nowhere(browser: Any, server: PageServer) -> None:
    with visiting(browser, server.url) as visit:
        visit.go(VIEW)
        visit.until_rows(lambda rows: len(rows) >= len(KEYS))
        assert {row[1] for row in visit.rows()} == {visible(each) for each in KEYS}
        names = "(selector) => [...document.querySelectorAll(selector)].map((each) => each.textContent)"
        assert visit.page.evaluate(names, ".legend button span:nth-of-type(1)") == SHOWN
        visit.until("() => document.querySelectorAll('#lists .name').length >= 14")
        assert visit.page.evaluate(names, "#lists section:first-child .name") == SHOWN
        visit.page.locator(".plot").first.focus()
        visit.page.keyboard.press("End")
        assert visit.page.locator(".readout th").all_inner_texts()[0] == SHOWN[0]
        visit.page.locator("#c-key-page").focus()
        visit.until("() => document.querySelectorAll('datalist option').length > 8")
        assert visit.page.evaluate("window.pwned") is None
        assert visit.page.locator("img, script, iframe, object, embed").count() == 2, (
            "our icon and our script"
        )


@pytest.mark.parametrize("at", range(5))
def test_a_hostile_key_can_be_looked_at_alone(browser: Any, server: PageServer, at: int) -> None:
    with visiting(browser, server.url) as visit:
        visit.go(VIEW)
        visit.page.locator("#lists section:first-child .name").nth(at).click()
        visit.until_rows(lambda rows: rows and {row[1] for row in rows} == {visible(KEYS[at])})
        visit.page.reload()
        visit.until_rows(lambda rows: rows and {row[1] for row in rows} == {visible(KEYS[at])})
        assert visit.page.evaluate("window.pwned") is None


@pytest.mark.parametrize("text", KEYS[:8])
def test_a_hostile_link_shows_text_at_most(browser: Any, server: PageServer, text: str) -> None:
    with visiting(browser, server.url) as visit:
        link = {"rollup": text, "window": text, "compare": text, "key.device_id": text, f"key.{text}": text, "top": text,
                "measures": f'["{text}"]', "lines": text, "from": text, "silent": text}  # fmt: skip
        visit.go(urlencode(link))
        visit.until("() => !document.querySelector('#refused').hidden")
        assert visit.page.evaluate("window.pwned") is None
        assert "\u202e" not in visit.page.evaluate("document.body.innerText")


def test_what_answers_is_not_believed_where_it_is_not_the_api(browser: Any, server: PageServer) -> None:
    with visiting(browser, server.url) as visit:
        visit.page.route("**/v1/**", lambda route: route.fulfill(body="<script>window.pwned='html'</script>"))
        visit.go(VIEW)
        visit.until("() => document.querySelector('#gone').textContent.includes('not streamgage')")
        assert visit.page.evaluate("window.pwned") is None


def test_a_refusal_in_markup_is_text(browser: Any, server: PageServer) -> None:
    body = '{"error": "<img src=x onerror=window.pwned=1>\\u202e", "problems": ["<b>b</b>"]}'
    with visiting(browser, server.url) as visit:
        visit.page.route("**/range**", lambda route: route.fulfill(status=400, body=body))
        visit.go(VIEW)
        visit.until("() => document.querySelector('#refused').textContent.startsWith('<img src=x')")
        assert (
            visit.page.locator("#refused").inner_text()
            == "<img src=x onerror=window.pwned=1>\\u202e; <b>b</b>"
        )
        assert visit.page.evaluate("window.pwned") is None
