"""What docs/sending.md says of OTLP's histograms is so: the collector takes the body, and the function tells its quantiles."""

import json
import re
from decimal import Decimal

from producers.client.encoder import encoder_of
from producers.collector.judging import Judge
from producers.collector.limits import Bounds
from streamgage.records import StreamRecord
from support.fakes import World, invoke
from support.histograms import pipeline
from support.paths import ROOT
from support.strategies import ARRIVAL_MS

PAGE = (ROOT / "docs" / "sending.md").read_text(encoding="utf-8")
(BODY,) = [
    each for each in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if "exponentialHistogram" in each
]


def test_the_body_of_the_page_is_taken_and_its_quantiles_are_told() -> None:
    judged = Judge(pipeline(), Bounds()).of_agents("otlp", BODY.encode(), None)
    assert judged.refused == []
    ((source, (event,)),) = judged.events.items()
    world = World(pipeline())
    record = StreamRecord("shardId-0", 1, "web", encoder_of(source).user_record(event).data, ARRIVAL_MS)
    assert invoke(world.sandbox(), [record]) is None
    (row,) = world.ask("latencies", None, "1h")
    assert row.values["total"]["sum"] == Decimal("231.5")
    assert json.loads(str(row.values["latency"]["histogram"]))["count"] == 7
    told = row.values["latency"]["p99"]
    assert told is not None
    assert 2 ** (42 / 8) < told < 2 ** (43 / 8)


def test_one_that_contradicts_itself_is_told_to_its_sender_with_its_place() -> None:
    judged = Judge(pipeline(), Bounds()).of_agents("otlp", BODY.replace('"7"', '"8"').encode(), None)
    assert judged.accepted == 0
    (refused,) = judged.refused
    assert refused.place == "item 0.latency"
    assert "its count is 8, and its buckets hold 7" in refused.reason
