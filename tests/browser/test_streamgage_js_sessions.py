"""Sessions of visitors who close, crash, lose the network, block beacons or go back, at a collector that loses answers.

Who comes back has lost nothing, and nothing counts twice. What those leave behind who never come back has its bounds.
"""

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, Literal, get_args

import pytest

from processors.pipeline_files import load_pipeline
from support.browser import chromium
from support.paths import ROOT
from support.strict_collector import Fate, collecting
from support.web_site import HURRY, Visitor, counted, site_of, visitor_of

Ending = Literal["close", "crash", "offline", "blocked beacon", "back button"]
ENDINGS = get_args(Ending)
SHARE, ALL = 10, 200
BATCH_EVENTS = 20
_FATES: dict[Fate, int] = {
    "answer": 12, "busy": 2, "limited": 1, "lost request": 2, "lost answer": 2, "stranger": 1, "stuck": 1,
}  # fmt: skip
_BLOCKED = (
    "window.fetchLater = () => {};",  # says that it will, and does not
    "delete window.fetchLater; navigator.sendBeacon = () => true;",
    """delete window.fetchLater; navigator.sendBeacon = () => false;
    addEventListener('pagehide', () => { window.fetch = () => Promise.reject(1); }, true);""",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(back_forward_cache=True) as browser:
        yield browser


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return load_pipeline(ROOT / "pipeline.toml")


@pytest.mark.parametrize("seed", range(SHARE))
def test_who_comes_back_has_lost_nothing_and_counts_once(browser: Any, pipeline: Any, seed: int) -> None:
    session(browser, pipeline, seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, ALL, SHARE))
def test_two_hundred_sessions_are_exact(browser: Any, pipeline: Any, first: int) -> None:
    for seed in range(first, first + SHARE):
        missing = session(browser, pipeline, seed)
        print(f"{seed} {ENDINGS[seed % len(ENDINGS)]}: {missing} events were missing before the return")


def session(browser: Any, pipeline: Any, seed: int) -> int:
    """Play one session to its return, and check its sums; return how many events were missing before the return."""
    random, ending = Random(seed), ENDINGS[seed % len(ENDINGS)]
    with collecting(pipeline) as collector, site_of(collector) as site, visitor_of(browser, site) as visitor:
        collector.fate = lambda: random_fate(random)
        visitor.context.add_init_script(HURRY)
        if ending == "blocked beacon":
            visitor.context.add_init_script(random.choice(_BLOCKED))
        visitor.open("/0")
        wander(visitor, random)
        leave(visitor, random, ending)
        missing = (visitor.did - counted(collector)).total()
        collector.fate = lambda: "answer"
        visitor.come_back()
        visitor.check()
        return missing


def random_fate(random: Random) -> Fate:
    return random.choices(list(_FATES), list(_FATES.values()))[0]


def wander(visitor: Visitor, random: Random) -> None:
    """Look at some pages, and do something there."""
    for number in range(random.randint(1, 4)):
        how = random.choice(["stay", "push", "go", "flush"])
        if how == "push":
            visitor.push(f"/{number}/within")
        if how == "go":
            visitor.go(f"/{number}/gone")
        done = sum(visitor.did.values())
        visitor.track("x", *range(done, done + random.choice([0, 1, 3, 19, 20, 21, 45])))
        if how == "flush":
            visitor.page.evaluate("streamgage.flush()")


def leave(visitor: Visitor, random: Random, ending: Ending) -> None:
    done = sum(visitor.did.values())
    if ending == "offline":
        visitor.context.set_offline(True)
        visitor.track("offline", *range(done, done + random.choice([1, 20, 50])))
    if ending == "back button":
        here = visitor.path
        visitor.go(random.choice(["/elsewhere", "/bare"]), seen=False)
        visitor.did[("/elsewhere", "view", None)] += visitor.path == "/elsewhere"
        visitor.back(here)
        visitor.track("after", done)
    if ending == "crash" or (ending == "offline" and random.random() < 0.5):
        visitor.crash()
    else:
        visitor.page.close()
    if ending == "offline":
        visitor.context.set_offline(False)


@pytest.mark.parametrize("ending", ["close", "crash"])
def test_who_never_comes_back_loses_nothing_by_closing_and_an_open_batch_by_a_crash(
    browser: Any, pipeline: Any, ending: Ending
) -> None:
    """Where collector and network are well. Offline it is what was done since."""
    with collecting(pipeline) as collector, site_of(collector) as site, visitor_of(browser, site) as visitor:
        watching = visitor.context.new_page()
        visitor.open("/a")
        visitor.track("x", *range(2 * BATCH_EVENTS))
        visitor.until(lambda: visitor.left() == 1)
        leave(visitor, Random(0), ending)
        visitor.page = watching
        expected = (
            visitor.did if ending == "close" else Counter({**visitor.did}) - Counter({("/a", "x", "39"): 1})
        )
        visitor.until(lambda: counted(collector) == expected)
