"""What the planner says of states that grow with their events, beside bodies that the real code made."""

import random
from typing import Any

import pytest

from infra.aws.cost.chunks import FULL, MANY
from infra.aws.cost.weigh import weigh
from processors.pipeline_files import FilesIn
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.fold.chunk import Chunk, encode_chunk
from streamgage.measures.layout import EventColumns, plan_of
from support.histograms import pipeline as of_histograms
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, DAY_MS

START_MS = ARRIVAL_MS // DAY_MS * DAY_MS
DEFINITION = """
[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"
[[rollups]]
name = "visits"
source = "click"
key = ["visitor_id"]
windows = ["1d"]
[rollups.measures]
"""


def state_bytes(rollup: Any, *, events: int, is_text: bool) -> float:
    """Return what the state of one more key of so many events takes."""
    dice = random.Random(2)
    values: list[Any] = []
    for _ in range(40):
        level = dice.randrange(100_000)
        values += [level + dice.randrange(400) for _ in range(events)]
    if is_text:
        values = [f"sample-{each % 100_000:05d}" for each in values]
    times = [START_MS + dice.randrange(50_000) for _ in values]
    plan, groups = plan_of(rollup.layout), [range(at * events, (at + 1) * events) for at in range(40)]
    table = plan.fold(EventColumns((values,), (False,), times), groups)
    sizes = []
    for count in (10, 40):
        chunk = Chunk(0, plan.empty(), [f"visitor-{each:05d}" for each in range(count)])
        plan.add(chunk.table, table, range(count))
        sizes.append(len(encode_chunk(chunk, rollup.layout, start_ms=START_MS)))
    return (sizes[1] - sizes[0]) / 30


@pytest.mark.parametrize(
    ("field", "measure"),
    [
        ("bytes", "time_weighted_mean"),
        ("bytes", "distinct"),
        ("page", "distinct"),
        ("page", "entry"),
        ("bytes", "p95"),
    ],
)
def test_a_key_is_planned_with_about_the_bytes_that_its_events_take(field: str, measure: str) -> None:
    pipeline = parse_pipeline(f'{DEFINITION}{field} = ["{measure}"]\n', FilesIn(ROOT))
    (planned,) = weigh(pipeline, pipeline.sources["click"], devices=10, metrics=1, keys={}).rollups
    for events in (1, MANY // 2, MANY, FULL // 4, FULL):
        made = state_bytes(pipeline.rollups["visits"], events=events, is_text=field == "page")
        assert planned.bytes.key(events) == pytest.approx(made, rel=0.6, abs=12), events


def test_states_of_numbers_are_planned_as_they_were() -> None:
    pipeline = parse_pipeline(f'{DEFINITION}bytes = ["sum", "max"]\n', FilesIn(ROOT))
    (planned,) = weigh(pipeline, pipeline.sources["click"], devices=10, metrics=1, keys={}).rollups
    assert planned.bytes.full is None


def test_a_key_of_histograms_is_planned_with_what_clients_send() -> None:
    defined = of_histograms()
    (planned,) = weigh(defined, defined.sources["latency"], devices=10, metrics=1, keys={}).rollups
    most = plan_of(defined.rollups["latencies"].layout).most_key_bytes(60_000)
    assert 10 < planned.bytes.key(1) < planned.bytes.key(FULL) / 5 < most / 5
