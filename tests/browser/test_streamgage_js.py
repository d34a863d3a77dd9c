"""streamgage.js in headless Chromium: what it sends of a page, and what becomes of it where an answer is not to be had."""

from collections.abc import Iterator
from typing import Any

import pytest

from processors.pipeline_files import load_pipeline
from support.browser import chromium
from support.paths import ROOT
from support.strict_collector import StrictCollector, collecting
from support.web_site import Site, Visitor, counted, site_of, visitor_of


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
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
def visitor(browser: Any, site: Site) -> Iterator[Visitor]:
    with visitor_of(browser, site) as visitor:
        yield visitor


def test_a_page_view_is_an_event_of_the_schema(visitor: Visitor, collector: StrictCollector) -> None:
    visitor.open("/a?q=1#there")
    visitor.until_sent()
    (event,) = collector.events
    now = visitor.page.evaluate("Date.now()")
    assert event["page"] == "/a"
    assert event["action"] == "view"
    assert event["source"] == "click"
    assert event["referrer"] is None
    assert 0 <= now - event["ts"] < 600_000
    assert set(event["properties"]) == {"session"}
    assert not collector.wrong

def test_probe(visitor, collector):
    visitor.open("/a")
    print(visitor.page.evaluate("[typeof fetchLater, isSecureContext, navigator.userAgent, typeof navigator.sendBeacon]"))
    visitor.track("x", 1,2,3)
    visitor.page.close()
    import time; time.sleep(1.5)
    print(counted(collector), collector.requests, collector.wrong)
    visitor.open("/b"); visitor.track("y", 4)
    visitor.go("/bare", seen=False)
    time.sleep(1.5)
    print(counted(collector), collector.requests, collector.wrong)
    visitor.come_back()
    print(collector.requests)
    visitor.check()
