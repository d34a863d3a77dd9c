"""Sessions of visitors who close, crash, lose the network, block beacons or go back, at `streamgage collect` as a process.

Answers and requests get lost, the collector is killed and started again, and has no room. Who comes back has lost nothing, and
nothing counts twice in what Kinesis got. What those leave behind who never come back has its bounds.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, get_args

import pytest

from support.browser import chromium
from support.real_collector import Fate, RealCollector, site_of_collector
from support.scripted_kinesis import Reply, stores_all
from support.web_site import HURRY, STILL, Site, Visitor, visitor_of

Ending = Literal["close", "crash", "offline", "blocked beacon", "back button"]
ENDINGS = get_args(Ending)
SHARE, ALL, TOGETHER = 5, 200, 10
BATCH_EVENTS, SPOOL_BYTES = 20, 4 << 20
_FATES: dict[Fate, int] = {
    "answer": 12, "proxy": 2, "lost request": 2, "lost answer": 3, "stranger": 1, "stuck": 1,
}  # fmt: skip
_BLOCKED = (
    "window.fetchLater = () => {};",  # says that it will, and does not
    "delete window.fetchLater; navigator.sendBeacon = () => true;",
    """delete window.fetchLater; navigator.sendBeacon = () => false;
    addEventListener('pagehide', () => { window.fetch = () => Promise.reject(1); }, true);""",
)


class Tap:
    """A Kinesis that takes nothing while it is closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def __call__(self, operation: str, request: Mapping[str, Any]) -> Reply:
        if self.is_closed and operation == "PutRecords":
            return 500, {"__type": "InternalFailure"}
        return stores_all(operation, request)


@dataclass
class Place:
    site: Site
    collector: RealCollector
    tap: Tap


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(back_forward_cache=True) as browser:
        yield browser


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One site and its collector, for all sessions: each has paths of its own."""
    folder, tap = tmp_path_factory.mktemp("collector"), Tap()
    with site_of_collector(folder, "--spool-bytes", str(SPOOL_BYTES), script=tap) as (site, collector):
        yield Place(site, collector, tap)


@pytest.mark.parametrize("seed", range(SHARE))
def test_who_comes_back_has_lost_nothing_and_counts_once(browser: Any, place: Place, seed: int) -> None:
    session(browser, place, seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, ALL, TOGETHER))
def test_two_hundred_sessions_are_exact(browser: Any, place: Place, first: int) -> None:
    before = Counter(place.collector.requests)
    for seed in range(first, first + TOGETHER):
        missing = session(browser, place, seed)
        print(f"{seed} {ENDINGS[seed % len(ENDINGS)]}: {missing} events were missing before the return")
    print(f"requests: {dict(place.collector.requests - before)}")


def session(browser: Any, place: Place, seed: int) -> int:
    """Play one session to its return, and check its sums; return how many events were missing before the return."""
    random, ending = Random(seed), ENDINGS[seed % len(ENDINGS)]
    site, collector = place.site, place.collector
    home = f"/{seed}-{len(collector.events)}/"  # its own, also where a seed is played again
    with visitor_of(browser, site, collector, home=home) as visitor:
        collector.fate = fates(seed)
        visitor.context.add_init_script(HURRY)
        if ending == "blocked beacon":
            visitor.context.add_init_script(random.choice(_BLOCKED))
        visitor.open(f"{home}0")
        wander(visitor, random)
        leave(visitor, random, ending)
        missing = (visitor.did - visitor.counted()).total()
        collector.fate = lambda: "answer"
        visitor.come_back()
        visitor.check()
        return missing


def fates(seed: int) -> Callable[[], Fate]:
    """Return what becomes of each request of a session, by chance of its own."""
    random = Random(f"fates {seed}")
    kills = int(seed % 5 == seed // 5 % 5)  # of each ending in one session of five

    def fate() -> Fate:
        nonlocal kills
        if kills and random.random() < 0.5:
            kills -= 1
            return "killed"
        return random.choices(list(_FATES), list(_FATES.values()))[0]

    return fate


def wander(visitor: Visitor, random: Random) -> None:
    """Look at some pages, and do something there."""
    for number in range(random.randint(1, 4)):
        how = random.choice(["stay", "push", "go", "flush"])
        if how == "push":
            visitor.push(f"{visitor.home}{number}/within")
        if how == "go":
            visitor.go(f"{visitor.home}{number}/gone")
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
        here, there = visitor.path, random.choice(["elsewhere", "bare"])
        visitor.go(f"{visitor.home}{there}", seen=there == "elsewhere")
        visitor.back(here)
        visitor.track("after", done)
    if ending == "crash" or (ending == "offline" and random.random() < 0.5):
        visitor.crash()
    else:
        visitor.page.close()
    if ending == "offline":
        visitor.context.set_offline(False)
    visitor.page = visitor.context.new_page()


@pytest.mark.parametrize("ending", ["close", "crash"])
def test_who_never_comes_back_loses_nothing_by_closing_and_an_open_batch_by_a_crash(
    browser: Any, place: Place, ending: Ending
) -> None:
    """Where collector and network are well. Offline it is what was done since."""
    site, collector = place.site, place.collector
    collector.fate = lambda: "answer"
    home = f"/{ending}/"
    with visitor_of(browser, site, collector, home=home) as visitor:
        visitor.context.add_init_script(STILL)
        visitor.open(f"{home}a")
        visitor.track("x", *range(2 * BATCH_EVENTS))
        visitor.until(lambda: visitor.left() == 1)
        leave(visitor, Random(0), ending)
        expected = visitor.did if ending == "close" else visitor.did - Counter({(f"{home}a", "x", "39"): 1})
        visitor.until(lambda: visitor.counted() == expected)


def fill(collector: RealCollector) -> None:
    """Send until there is no room for the least."""
    random = Random(1)
    for events, chars in ((100, 9_000), (1, 9_000), (1, 200)):
        click = {"source": "click", "visitor_id": "filler", "ts": 1_767_614_400_000}
        while True:
            made = [{**click, "page": random.randbytes(chars // 2).hex()} for _ in range(events)]
            status = collector.put(json.dumps(made).encode())
            if status == 503:
                break
            assert status == 200


def test_where_the_collector_has_no_room_a_page_waits_as_long_as_it_says_and_nothing_is_lost(
    browser: Any, place: Place
) -> None:
    """The stream takes nothing, and the spool is full: 503 and Retry-After, to the page that stays and the one that left."""
    collector = place.collector
    collector.fate = lambda: "answer"
    with visitor_of(browser, place.site, collector, home="/full/") as visitor:
        visitor.context.add_init_script(HURRY)
        place.tap.is_closed = True
        try:
            fill(collector)
            visitor.open("/full/left")
            visitor.track("x", *range(30))
            before = collector.requests["503"]
            visitor.until(lambda: collector.requests["503"] > before)
            visitor.page.close()
            visitor.open("/full/stays")
            visitor.track("x", *range(30, 60))
            before = collector.requests["503"]
            visitor.until(lambda: collector.requests["503"] >= before + 2)
            assert visitor.left() >= 2
        finally:
            place.tap.is_closed = False
        visitor.until_sent()
        visitor.check()
        assert visitor.page.evaluate("streamgage.lost") == 0
