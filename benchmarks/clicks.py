"""One shard of a clickstream: visits by visitor, of which a batch meets few, and views by page, which every shard sees."""

import random
from functools import cache
from itertools import chain, takewhile

from benchmarks.harness import ROOT
from benchmarks.shard_slice import SHARD, START_MS, Driven, Put, cut, drive, put_all, shard_map
from processors.pipeline_files import FilesIn
from producers.simulators.visitors import VisitorsConfig, visitor_events
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.formats.avro import Event
from streamgage.shards import hash_key_of

CLICKS_PER_S, VISITORS, PAGES, CLICK_SHARDS = 3_000, 1_000_000, 1_000, 4
_NEW_PER_S = 150  # visitors who come, of a shard: some 5 clicks each
DEFINITION = """
[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"

[[rollups]]
name = "page_views"
source = "click"
key = ["page"]
windows = ["1h", "1d"]
keep = "90d"
[rollups.measures]
bytes = ["count", "sum", "mean", "max"]

[[rollups]]
name = "visits"
source = "click"
key = ["visitor_id"]
windows = ["1d"]
keep = "90d"
[rollups.measures]
ts = ["min", "max"]
bytes = ["sum"]
"""


@cache
def click_pipeline() -> Pipeline:
    """Return the definition: a rollup a page, and one a visitor."""
    return parse_pipeline(DEFINITION, FilesIn(ROOT))


@cache
def _puts(seconds: int, earlier: int) -> list[Put]:
    """Return what the first shard is sent in *seconds*, after *earlier* visitors of it have clicked once each."""
    shards = shard_map(CLICK_SHARDS)
    dice = random.Random(1)  # noqa: S311 - a seeded simulation

    def is_mine(visitor_id: str) -> bool:
        return shards.shard_for(hash_key_of(visitor_id)) == SHARD

    seen = [name for name in (f"visitor-{n:07d}" for n in range(VISITORS if earlier else 0)) if is_mine(name)]
    dice.shuffle(seen)
    before = [_click(name, at, dice.random()) for at, name in enumerate(seen[:earlier])]
    start_ms = before[-1]["ts"] if before else START_MS
    config = VisitorsConfig(
        visitors=VISITORS,
        events=CLICKS_PER_S * 86_400,
        seed=1,
        start_ms=start_ms,
        span_ms=86_400_000,
        pages=PAGES,
    )
    clicks = takewhile(lambda click: click["ts"] < start_ms + seconds * 1000, visitor_events(config))
    mine = (click for click in clicks if is_mine(click["visitor_id"]))
    return put_all(
        chain(before, mine), click_pipeline().sources["click"], shards, linger_ms=100, seed=1, blocks=True
    )


def _click(visitor_id: str, at: int, size: float) -> Event:
    size_bytes = 2_000 + int(size**3 * 200_000)  # of pages as the simulator has them
    return {
        "visitor_id": visitor_id, "page": "/", "referrer": None, "action": "view", "status": 200, "bytes": size_bytes,
        "ts": START_MS + at * 1000 // _NEW_PER_S, "properties": None,
    }  # fmt: skip


def clicks_of(*, batching_s: int, evening: bool, quick: bool) -> Driven:
    """Drive one shard for some batches: of the first visitors of a day, or when all of its visitors were there before."""
    counted = 2 if quick else max(3, 60 // batching_s)
    earlier = (2_000 if quick else VISITORS // CLICK_SHARDS) if evening else 0
    seconds = round((counted + 1.5) * (batching_s + 0.2))
    batches = list(cut(_puts(seconds, earlier), window_ms=batching_s * 1000))
    return drive(iter(batches), click_pipeline(), warm_up=len(batches) - counted)
