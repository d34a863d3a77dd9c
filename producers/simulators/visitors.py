"""Visitors of a web site, who come, look at pages, and go: seeded clickstream."""

import heapq
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import log
from random import Random

from streamgage.errors import ConfigError
from streamgage.formats.avro import Event

_VIEWS_A_VISIT = 5  # on average
_THINK_MS = 25_000  # on average, between two pages
_ENTRIES = (None, None, "https://search.example/", "https://news.example/today", "https://social.example/")


@dataclass(frozen=True, slots=True)
class VisitorsConfig:
    """*events* clicks of *visitors* on *pages*, whose popularity falls as 1/rank (Zipf).

    Visits begin evenly over about *span_ms* from *start_ms* on.
    """

    visitors: int
    events: int
    seed: int
    start_ms: int
    span_ms: int = 21_600_000
    pages: int = 200

    def __post_init__(self) -> None:
        """Refuse what makes no clickstream."""
        problems = [
            f"{name} is {value}; it is {low} to {high}"
            for name, value, low, high in (
                ("visitors", self.visitors, 1, 10_000_000),
                ("events", self.events, 1, 10**12),
                ("span", self.span_ms, 1_000, 10 * 365 * 86_400_000),
                ("pages", self.pages, 1, 1_000_000),
            )
            if not low <= value <= high
        ]
        if problems:
            raise ConfigError(*problems)


@dataclass(slots=True)
class _Visit:
    visitor_id: str
    referrer: str | None


class _Site:
    """The pages: how often each is looked at, and how large it is."""

    def __init__(self, pages: int, seed: int) -> None:
        dice = Random(f"{seed} site").random  # noqa: S311 - a seeded simulation
        sections = ("", "articles/", "products/", "help/")
        self.paths = ["/"] + [f"/{sections[n % len(sections)]}page-{n:04d}" for n in range(1, pages)]
        self.sizes = [2_000 + int(dice() ** 3 * 200_000) for _ in self.paths]
        self._weights = list(accumulate(1 / rank for rank in range(1, pages + 1)))

    def draw(self, dice: float) -> int:
        return bisect_left(self._weights, dice * self._weights[-1])


def visitor_events(config: VisitorsConfig) -> Iterator[Event]:
    """Yield the clicks in order of their event time; the same config yields the same clicks."""
    dice = Random(config.seed).random  # noqa: S311 - a seeded simulation
    site = _Site(config.pages, config.seed)
    gap_ms = config.span_ms * _VIEWS_A_VISIT / config.events  # between the beginnings of two visits
    width = max(5, len(str(config.visitors)))
    arrival_ms = float(config.start_ms)
    under_way: list[tuple[float, int, _Visit]] = []  # (time of the next click, a tie-breaker, whose)
    for number in range(config.events):
        while not under_way or under_way[0][0] > arrival_ms:
            who = int(dice() ** 2 * config.visitors)  # some come back often
            visit = _Visit(f"visitor-{who:0{width}d}", _ENTRIES[int(dice() * len(_ENTRIES))])
            heapq.heappush(under_way, (arrival_ms, -1 - number, visit))
            arrival_ms += -log(1 - dice()) * gap_ms
        now_ms, _, visit = heapq.heappop(under_way)
        page = site.draw(dice())
        yield _click(visit, site, page, ts=int(now_ms), dice=(dice(), dice()))
        visit.referrer = "https://www.example" + site.paths[page]
        if dice() > 1 / _VIEWS_A_VISIT:
            heapq.heappush(under_way, (now_ms + 500 - log(1 - dice()) * _THINK_MS, number, visit))


def _click(visit: _Visit, site: _Site, page: int, *, ts: int, dice: tuple[float, float]) -> Event:
    lot, size = dice
    status = 200
    size_bytes: int | None = site.sizes[page] + int(size * 512)
    if lot < 0.08:
        status, size_bytes = 304, None
    elif lot < 0.11:
        status, size_bytes = 404, 512
    elif lot < 0.113:
        status, size_bytes = 500, 0
    return {
        "visitor_id": visit.visitor_id,
        "page": site.paths[page],
        "referrer": visit.referrer,
        "action": "download" if size > 0.98 else "view",
        "ts": ts,
        "status": status,
        "bytes": size_bytes,
    }
