"""One shard of a clickstream: visits by visitor, of which a batch meets few, and views by page, which every shard sees."""

from functools import cache
from itertools import takewhile

from benchmarks.harness import ROOT
from benchmarks.shard_slice import SHARD, START_MS, Driven, Put, cut, drive, put_all, shard_map
from processors.pipeline_files import FilesIn
from producers.simulators.visitors import VisitorsConfig, visitor_events
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.shards import hash_key_of

CLICKS_PER_S, VISITORS, PAGES, CLICK_SHARDS = 3_000, 1_000_000, 1_000, 4
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
def _puts(seconds: int) -> list[Put]:
    """Return what the first shard is sent in *seconds*, from the beginning of a day's visits on."""
    shards = shard_map(CLICK_SHARDS)
    config = VisitorsConfig(
        visitors=VISITORS,
        events=CLICKS_PER_S * 86_400,
        seed=1,
        start_ms=START_MS,
        span_ms=86_400_000,
        pages=PAGES,
    )
    until_ms = START_MS + seconds * 1000
    clicks = takewhile(lambda click: click["ts"] < until_ms, visitor_events(config))
    mine = (click for click in clicks if shards.shard_for(hash_key_of(click["visitor_id"])) == SHARD)
    return put_all(mine, click_pipeline().sources["click"], shards, linger_ms=100, seed=1, blocks=True)


def clicks_of(*, batching_s: int, quick: bool) -> Driven:
    """Drive one shard for some minutes: the first visits of a day, so each batch brings many new visitors."""
    warm_up = 1 if quick else max(1, 60 // batching_s)
    batches = warm_up + (2 if quick else max(3, 120 // batching_s))
    puts = _puts(round((batches + 0.5) * (batching_s + 0.2)))
    return drive(cut(puts, window_ms=batching_s * 1000), click_pipeline(), warm_up=warm_up)
