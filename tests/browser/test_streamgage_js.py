"""streamgage.js in headless Chromium: what it tells of a page, and what becomes of it where an answer is not to be had."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from processors.pipeline_files import load_pipeline
from support.browser import chromium
from support.paths import ROOT
from support.strict_collector import KEY, Fate, StrictCollector, collecting
from support.web_site import HURRY, STILL, Site, Visitor, counted, site_of, visitor_of

HALF_AN_HOUR_MS = 1_800_000
UNKNOWN: tuple[Fate, ...] = ("busy", "limited", "lost request", "lost answer", "stranger")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(back_forward_cache=True) as browser:
        yield browser


@pytest.fixture
def collector() -> Iterator[StrictCollector]:
    with collecting(load_pipeline(ROOT / "pipeline.toml")) as collector:
        yield collector


@pytest.fixture
def site(collector: StrictCollector) -> Iterator[Site]:
    with site_of(collector) as site:
        yield site


@pytest.fixture
def visitor(browser: Any, site: Site, collector: StrictCollector) -> Iterator[Visitor]:
    with visitor_of(browser, site, collector) as visitor:
        yield visitor


def pages(collector: StrictCollector) -> list[tuple[str, str | None]]:
    """Return page and referrer of each view, in order."""
    return [
        (each["page"], each.get("referrer"))
        for each in sorted(collector.events, key=lambda each: each["ts"])
        if each["action"] == "view"
    ]


def later(visitor: Visitor, by_ms: int) -> None:
    """Put the clock of the page ahead; the storage keeps its times."""
    visitor.page.evaluate("(by) => { const now = Date.now; Date.now = () => now() + by; }", by_ms)


def refusal(visitor: Visitor) -> Any:
    """Return what the page is told of the next events that are given up."""
    return visitor.page.evaluate(
        "new Promise((done) => { streamgage.onrefused = (...told) => done(told); streamgage.flush(); })"
    )


# --- what is told


def test_a_page_view_is_an_event_of_the_schema(visitor: Visitor, collector: StrictCollector) -> None:
    visitor.open("/a")
    before_ms = visitor.page.evaluate("Date.now()")
    visitor.until_sent()
    (event,) = collector.events
    assert {"source": "click", "page": "/a", "action": "view"}.items() <= event.items()
    assert "referrer" not in event
    assert abs(event["ts"] - before_ms) < 600_000
    assert set(event["properties"]) == {"session"}
    visitor.check()


def test_no_query_and_no_fragment_is_told(visitor: Visitor, collector: StrictCollector) -> None:
    visitor.open("/a?token=secret#secret")
    visitor.page.evaluate("location.href = '/b?token=secret'")
    visitor.page.wait_for_url("**/b?token=secret")
    visitor.until_sent()
    visitor.until(lambda: len(collector.events) == 2)
    assert pages(collector) == [("/a", None), ("/b", f"{visitor.site.url}/a")]
    assert "secret" not in str(collector.events)


def test_navigation_within_a_page_is_a_view_where_the_path_is_another(
    visitor: Visitor, collector: StrictCollector
) -> None:
    visitor.open("/a")
    for step in (
        "history.pushState({}, '', '/b')",
        "history.pushState({}, '', '/b?page=2')",
        "history.replaceState({}, '', '/c')",
        "history.replaceState({ scroll: 7 }, '')",
        "new Promise((done) => { addEventListener('popstate', done); history.go(-2); })",
        "streamgage.view('/a#tab')",
    ):
        visitor.page.evaluate(
            f"async () => {{ await {step}; await new Promise((done) => setTimeout(done, 2)); }}"
        )
    visitor.until_sent()
    assert pages(collector) == [
        ("/a", None), ("/b", "/a"), ("/c", "/b"), ("/a", "/c"), ("/a#tab", "/a"),
    ]  # fmt: skip


def test_a_page_that_comes_back_from_the_cache_is_viewed_again(visitor: Visitor) -> None:
    visitor.open("/a")
    visitor.page.evaluate(
        "() => { window.same = 1; addEventListener('pageshow', (event) => { window.kept = event.persisted; }); }"
    )
    visitor.go("/bare", seen=False)
    visitor.back("/a")
    assert visitor.page.evaluate("[window.same, window.kept]") == [1, True]
    visitor.track("after", 1)
    visitor.until_sent()
    visitor.check()


def test_a_click_is_told_by_its_mark_and_its_target(
    visitor: Visitor, collector: StrictCollector, site: Site
) -> None:
    visitor.open("/a")
    visitor.page.click("#buy b")
    visitor.page.click("i")
    visitor.until_sent()
    site.attributes = 'data-clicks="a, i"'
    visitor.open("/b")
    visitor.page.evaluate("addEventListener('click', (event) => event.preventDefault())")
    for each in ("#buy", ".out", "i"):
        visitor.page.click(each)
    visitor.until_sent()
    clicks = [
        (each["page"], each["action"], each["properties"]["target"])
        for each in collector.events
        if each["action"] != "view"
    ]
    assert clicks == [
        ("/a", "buy", "buy"), ("/b", "buy", "buy"), ("/b", "click", "/elsewhere"), ("/b", "click", ""),
    ]  # fmt: skip


def test_a_session_ends_after_half_an_hour_without_an_event(
    visitor: Visitor, collector: StrictCollector
) -> None:
    visitor.open("/a")
    for number, by_ms in enumerate((HALF_AN_HOUR_MS - 1_000, HALF_AN_HOUR_MS - 1_000, HALF_AN_HOUR_MS + 1)):
        later(visitor, by_ms)
        visitor.track("x", number)
    visitor.until_sent()
    visitor.open("/b")
    visitor.until_sent()
    assert len({each["visitor_id"] for each in collector.events}) == 1
    found = {
        each["properties"].get("n", each["page"]): each["properties"]["session"] for each in collector.events
    }
    assert found["/a"] == found["0"] == found["1"] != found["2"]
    assert found["/b"] not in (found["/a"], "undefined")


def test_a_tag_says_another_source_and_its_fields(
    visitor: Visitor, collector: StrictCollector, site: Site
) -> None:
    site.attributes = 'data-source="reading" data-fields="device_id=visitor_id metric=action value ts"'
    visitor.open("/a")
    visitor.page.evaluate("streamgage.track('paint_ms', { value: 12.5 })")
    visitor.page.evaluate("new Promise((done) => { streamgage.onrefused = done; streamgage.flush(); })")
    (event,) = collector.events  # the view has no value, and was refused
    assert {"source": "reading", "metric": "paint_ms", "value": 12.5}.items() <= event.items()
    assert collector.refused == 1


def test_a_second_tag_counts_nothing_twice(visitor: Visitor, site: Site) -> None:
    site.attributes = (
        f'></script><script src="/streamgage.min.js" data-to="{site.collector.url}" data-key="{KEY}"'
    )
    visitor.open("/a")
    visitor.track("x", 1)
    visitor.until_sent()
    visitor.check()


def test_the_types_name_what_there_is(visitor: Visitor) -> None:
    visitor.open("/a")
    names = visitor.page.evaluate("Object.keys(streamgage)")
    text = (ROOT / "producers/browser/src/streamgage.d.ts").read_text(encoding="utf-8")
    body = text.partition("interface Streamgage {")[2].partition("\n}")[0]
    declared = {
        line.strip().partition("(")[0].partition(":")[0].rstrip("?")
        for line in body.splitlines()
        if line.startswith("  ") and line.strip()[0].isalpha()
    }
    assert declared == {*names, "onrefused"}


# --- when it is sent


def test_twenty_events_are_sent_at_once_and_fewer_after_half_a_second(
    visitor: Visitor, collector: StrictCollector
) -> None:
    visitor.context.clock.install()
    visitor.open("/a")
    visitor.track("x", *range(19))
    visitor.until(lambda: len(collector.events) == 20)
    visitor.until(lambda: visitor.left() == 0)
    visitor.track("x", 19)
    assert visitor.left() == 1
    visitor.page.clock.run_for(500)
    visitor.until(lambda: visitor.left() == 0)
    visitor.check()


def test_a_batch_fits_every_way_of_leaving_whatever_its_text(
    visitor: Visitor, collector: StrictCollector
) -> None:
    visitor.open("/a")
    for number in range(6):
        visitor.page.evaluate("(n) => streamgage.track('x', { n, text: '語'.repeat(9_200) })", number)
        visitor.did[("/a", "x", str(number))] += 1
    visitor.page.evaluate("streamgage.track('x', { text: 'x'.repeat(10_000) })")
    assert visitor.page.evaluate("streamgage.lost") == 1  # longer than any batch
    visitor.until_sent()
    visitor.check()


WAYS = {
    "fetchLater": "",
    "sendBeacon": "delete window.fetchLater; window.fetch = () => new Promise(() => {});",
    "keepalive": "delete window.fetchLater; navigator.sendBeacon = () => false;",
    "keepalive where there is no beacon": "delete window.fetchLater; Navigator.prototype.sendBeacon = undefined;",
    "sendBeacon where the quota is used up": "window.fetchLater = () => { throw new DOMException('', 'QuotaExceededError'); };",
}


def test_the_three_lines_of_the_documentation_do_what_they_say(
    visitor: Visitor, collector: StrictCollector, site: Site
) -> None:
    tag = re.findall(r"```html\n(.*?)```", (ROOT / "docs/browser.md").read_text(encoding="utf-8"), re.DOTALL)[
        0
    ]
    assert len(tag.strip().splitlines()) == 3
    site.page = tag.replace("https://collect.example.org", collector.url).replace("sgk_shop_public", KEY)
    site.page += "<button id=b>Buy</button>"
    visitor.open("/shop")
    visitor.until(lambda: visitor.page.evaluate("!!window.streamgage"))
    visitor.page.click("#b")
    visitor.did[("/shop", "click", None)] += 1
    visitor.until_sent()
    visitor.check()


@pytest.mark.parametrize("way", WAYS)
def test_a_page_that_is_closed_hands_over_what_waits(
    visitor: Visitor, collector: StrictCollector, way: str
) -> None:
    visitor.context.add_init_script(WAYS[way])
    visitor.open("/a")
    visitor.track("x", 1, 2, 3)
    other = visitor.context.new_page()
    visitor.page.close()
    visitor.page = other
    visitor.until(lambda: len(collector.events) == 4)
    visitor.check()


# --- what comes of an answer


def test_what_is_not_acknowledged_is_sent_again_and_counts_once(
    visitor: Visitor, collector: StrictCollector
) -> None:
    visitor.context.add_init_script(HURRY)
    visitor.open("/a")
    for number, fate in enumerate(UNKNOWN):
        collector.meet(fate, fate)
        visitor.track("x", number)
        visitor.until_sent()
    visitor.check()
    assert {fate: collector.requests[fate] for fate in UNKNOWN} == dict.fromkeys(UNKNOWN, 2)
    assert collector.requests["repeated"] == 2  # lost answers
    assert visitor.page.evaluate("streamgage.lost") == 0


def test_an_answer_that_comes_late_takes_no_other_batch_with_it(visitor: Visitor) -> None:
    visitor.context.add_init_script(
        """window.asked = [];
        window.fetch = (_, { body }) => new Promise((done) => {
            const { batch } = JSON.parse(body);
            asked.push({ batch, answer: () => done(new Response('{"accepted": 1, "refused": []}')) });
        });"""
    )
    visitor.open("/a")
    visitor.page.evaluate(
        "() => { streamgage.flush(); dispatchEvent(new Event('online')); asked[1].answer(); }"
    )
    visitor.until(lambda: visitor.left() == 0)
    visitor.page.evaluate("() => { streamgage.track('x'); streamgage.flush(); asked[0].answer(); }")
    visitor.page.evaluate("new Promise((done) => setTimeout(done))")
    assert visitor.page.evaluate("asked.map(({ batch }) => batch)")[:3] == [1, 1, 2]
    assert visitor.left() == 1
    visitor.page.evaluate("asked[2].answer()")
    visitor.until(lambda: visitor.left() == 0)


def test_a_batch_that_is_refused_for_what_it_is_is_given_up_and_told(
    visitor: Visitor, collector: StrictCollector
) -> None:
    visitor.open("/a")
    visitor.until_sent()
    for number, collector.status in enumerate((400, 409, 413, 415), start=1):
        visitor.page.evaluate("streamgage.track('x')")
        assert refusal(visitor) == [1, collector.status, True]
        assert visitor.page.evaluate("streamgage.lost") == number
    collector.status = None
    visitor.track("x", 2)
    visitor.until_sent()
    visitor.check()


def test_what_can_be_mended_at_the_collector_is_kept(visitor: Visitor, collector: StrictCollector) -> None:
    for number, collector.status in enumerate((401, 403, 404, 500, 502), start=1):
        asked = collector.requests["answer"]
        visitor.open(f"/{number}")
        visitor.page.evaluate("streamgage.flush()")
        visitor.until_asked(asked)
        assert visitor.left() == number
    collector.status = None
    visitor.come_back()
    visitor.check()


def test_events_that_are_refused_singly_are_told_with_their_reasons(
    visitor: Visitor, collector: StrictCollector, site: Site
) -> None:
    site.attributes = 'data-fields="visitor_id page action ts status properties"'
    visitor.open("/a")
    visitor.page.evaluate(
        "streamgage.track('x', { status: 'no number' }); streamgage.track('x', { status: 200 });"
    )
    count, status, refused = refusal(visitor)
    assert (count, status, [each["index"] for each in refused]) == (1, 200, [1])
    assert "status" in refused[0]["reason"]
    assert len(collector.events) == 2
    assert visitor.left() == 0


# --- the storage


def test_several_tabs_lose_nothing_and_count_nothing_twice(
    visitor: Visitor, collector: StrictCollector
) -> None:
    fates: list[Fate] = ["lost answer", "busy", "lost request"] * 4
    collector.meet(*fates)
    tabs = []
    for tab in range(4):
        visitor.open(f"/{tab}")
        tabs.append(visitor.page)
    for number in range(30):
        visitor.page, visitor.path = tabs[number % 4], f"/{number % 4}"
        visitor.track("x", number)
        if number % 7 == 0:
            visitor.page.evaluate("streamgage.flush()")
    for page in tabs[:2]:
        page.close()
    visitor.page = tabs[3]
    visitor.come_back()
    visitor.check()


def test_an_open_batch_of_a_page_that_lives_is_left_alone_and_one_of_a_dead_page_is_sent(
    visitor: Visitor, collector: StrictCollector
) -> None:
    visitor.context.add_init_script(STILL)
    visitor.open("/a")
    visitor.track("x", 1)
    living = visitor.page
    visitor.open("/b")
    visitor.page.evaluate("streamgage.flush()")
    visitor.until(lambda: counted(collector)[("/b", "view", None)] == 1)
    visitor.until(lambda: visitor.left() == 1)  # the one of /a
    visitor.page, visitor.path = living, "/a"
    visitor.track("x", 2)
    visitor.crash()
    visitor.come_back()
    visitor.check()
    assert len(collector.taken) == 3


def test_blocked_storage_leaves_the_memory_of_the_page(visitor: Visitor, collector: StrictCollector) -> None:
    visitor.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('', 'SecurityError'); } });"
    )
    collector.meet("busy")
    visitor.open("/a")
    visitor.track("x", *range(25))
    visitor.page.evaluate("streamgage.flush()")
    visitor.until(lambda: len(collector.events) == 26)
    visitor.check()
    assert len({each["visitor_id"] for each in collector.events}) == 1


def test_a_full_storage_loses_nothing_of_a_page_that_goes_on_and_is_emptied(
    visitor: Visitor, collector: StrictCollector
) -> None:
    collector.fate = lambda: "busy"
    visitor.open("/a")
    visitor.track("x", *range(21))
    visitor.page.evaluate(
        """() => {
            let text = "x".repeat(1 << 20);
            for (let n = 0; text; n += 1) {
                try { localStorage[`junk${n}`] = text; }
                catch { text = text.slice(0, text.length >> 1); }
            }
        }"""
    )
    visitor.track("x", *range(21, 42))
    collector.meet()
    visitor.page.evaluate("streamgage.flush()")
    visitor.until(lambda: len(collector.events) == 43)
    visitor.until(lambda: visitor.left() == 0)
    visitor.check()


def test_a_queue_is_bounded_the_oldest_goes_and_is_counted(
    visitor: Visitor, collector: StrictCollector
) -> None:
    collector.fate = lambda: "lost request"
    visitor.context.add_init_script(STILL)
    visitor.open("/a")
    visitor.page.evaluate("() => { window.told = []; streamgage.onrefused = (...each) => told.push(each); }")
    visitor.track("x", *range(20 * 258))
    assert visitor.page.evaluate("[streamgage.lost, told]") == [40, [[20, None, None]] * 2]
    visitor.page.close()
    collector.meet()
    visitor.come_back()
    lost = 40 + visitor.page.evaluate("streamgage.lost")  # there is one batch more, of the view
    missing = (visitor.did - counted(collector)).total()
    assert 40 <= missing <= lost <= 80  # what is given up may have been taken, and nobody heard the answer
    assert not counted(collector) - visitor.did


def test_what_nobody_may_remember_any_more_is_given_up_and_counted(
    visitor: Visitor, collector: StrictCollector
) -> None:
    """A collector forgets after 48 h what it took: sent again later it would count twice."""
    collector.fate = lambda: "lost answer"
    visitor.open("/a")
    visitor.page.evaluate("streamgage.flush()")
    visitor.until(lambda: collector.requests["lost answer"] == 1)
    collector.meet()
    visitor.context.add_init_script(f"{{ const now = Date.now; Date.now = () => now() + {45 * 3_600_000}; }}")
    visitor.open("/b")
    assert visitor.page.evaluate("streamgage.lost") == 1
    visitor.until_sent()
    visitor.check()


def test_what_a_crash_left_long_ago_is_sent_for_it_never_was(visitor: Visitor) -> None:
    visitor.open("/a")
    visitor.track("x", 1)
    visitor.crash()
    visitor.context.add_init_script(f"{{ const now = Date.now; Date.now = () => now() + {45 * 3_600_000}; }}")
    visitor.open("/b")
    visitor.until_sent()
    visitor.check()


# --- whether it may


GPC = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true });"
OURS = "Object.keys(localStorage).length"


def test_global_privacy_control_records_nothing_and_erases_what_there_was(
    visitor: Visitor, collector: StrictCollector
) -> None:
    visitor.context.add_init_script(STILL)
    visitor.open("/a")
    visitor.page.evaluate("localStorage.theirs = 1")
    visitor.until_sent()
    visitor.track("x", 1)
    visitor.crash()
    visitor.context.add_init_script(GPC)
    visitor.open("/b", seen=False)
    visitor.page.evaluate(
        "streamgage.consent(true); streamgage.track('x'); streamgage.view('/c'); streamgage.flush();"
    )
    assert visitor.page.evaluate("Object.keys(localStorage)") == ["theirs"]
    visitor.go("/bare", seen=False)
    visitor.page.close()
    assert counted(collector) == Counter({("/a", "view", None): 1})


def test_nothing_is_recorded_or_stored_before_a_consent_that_is_asked_for(
    visitor: Visitor, collector: StrictCollector, site: Site
) -> None:
    site.attributes = "data-consent"
    visitor.open("/a")
    visitor.page.evaluate("streamgage.track('early'); streamgage.flush(); history.pushState({}, '', '/b');")
    assert visitor.page.evaluate(OURS) == 0
    visitor.page.evaluate("streamgage.consent(true)")
    visitor.path = "/b"
    visitor.track("x", 1)
    visitor.until_sent()
    visitor.did = Counter({("/b", "view", None): 1, ("/b", "x", "1"): 1})
    visitor.check()


def test_a_refusal_erases_and_ends(visitor: Visitor, collector: StrictCollector) -> None:
    visitor.context.add_init_script(STILL)
    visitor.open("/a")
    visitor.until_sent()
    visitor.page.evaluate("streamgage.track('x')")
    visitor.page.evaluate(
        "streamgage.consent(false); streamgage.track('y'); history.pushState({}, '', '/b');"
    )
    assert visitor.page.evaluate(OURS) == 0
    visitor.page.evaluate("streamgage.flush()")
    visitor.page.evaluate("streamgage.consent(true)")
    visitor.track("z", 1)
    visitor.until_sent()
    assert {each["action"] for each in collector.events} == {"view", "z"}
    assert len({each["visitor_id"] for each in collector.events}) == 2
    visitor.page.close()


def test_a_page_that_is_made_ready_unseen_is_viewed_when_it_is_seen(visitor: Visitor) -> None:
    visitor.context.add_init_script(
        "window.unseen = true; Object.defineProperty(Document.prototype, 'prerendering', { get: () => window.unseen });"
    )
    visitor.open("/a")
    assert visitor.page.evaluate(OURS) == 0
    visitor.page.evaluate("unseen = false; document.dispatchEvent(new Event('prerenderingchange'));")
    visitor.track("x", 1)
    visitor.until_sent()
    visitor.check()
