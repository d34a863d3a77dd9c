"""Entry pages and means over time of the recorded data: each answer is what a few lines of plain Python compute.

Through the function's own code over a table in memory; tests/local/test_recorded_answers.py has a stack, and more questions.
"""

import csv
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from processors.pipeline_files import FilesIn
from processors.query.answer import Shape, answer, told_errors
from processors.query.question import Question
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.measures.session_texts import SHOWN, shortened
from streamgage.records import StreamRecord, UserRecord
from support.fakes import NOW_MS, Reads, World, invoke
from support.paths import ROOT
from support.strategies import aggregated

DATA = Path(os.environ.get("STREAMGAGE_DATA", ROOT.parent / "shared" / "data"))
pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the recorded data is not at {DATA} (STREAMGAGE_DATA)"),
]
HOUR_MS, DAY_MS, ARRIVAL_MS = 3_600_000, 86_400_000, 1_767_225_600_000
DEFINITION = """
[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
[[rollups]]
name = "visits"
source = "click"
key = ["visitor_id"]
windows = ["1d"]
[rollups.measures]
page = ["entry", "exit", "sessions"]
[[rollups]]
name = "levels"
source = "reading"
key = ["device_id"]
windows = ["1h", "1d"]
[rollups.measures]
value = ["time_weighted_mean"]
"""


def counted(source: str, events: Sequence[dict[str, Any]]) -> World:
    """Return what stands in the table when *events* came on two shards, some hundred at a time, in no good order."""
    pipeline = parse_pipeline(DEFINITION, FilesIn(ROOT))
    schema, world = pipeline.sources[source].schema, World(pipeline)
    records = [
        StreamRecord(
            f"shardId-{number % 2}",
            number,
            "k",
            aggregated([UserRecord("k", schema.encode(each)) for each in events[at : at + 300]]),
            ARRIVAL_MS,
        )
        for number, at in enumerate(range(0, len(events), 300), 1)
    ]
    sandbox = world.sandbox()
    for shard in range(2):
        lane = [each for each in records if each.shard_id.endswith(str(shard))]
        for at in range(0, len(lane), 3):
            assert invoke(sandbox, lane[at : at + 3]) is None
    assert world.quarantine.kept == []
    return world


def asked(world: World, rollup: str, window: str, **more: Any) -> tuple[list[dict[str, Any]], list[str]]:
    question = Question.parse(
        world.pipeline, rollup=rollup, key={}, window=window, from_ms=0, to_ms=NOW_MS, **more
    )
    said = answer(Reads(world.store), question, Shape(), applied_ms=NOW_MS, now_ms=NOW_MS)
    return [dict(zip(said.names, row, strict=True)) for row in said.rows], list(told_errors(said, question))


def test_entry_and_exit_pages_of_each_day() -> None:
    views = []
    for line in (DATA / "clickstream" / "apache_combined.log").read_text().splitlines():
        match = re.match(r'(\S+) \S+ \S+ \[([^]]+)\] "\S+ ([^ ?]*)', line)
        assert match
        at = datetime.strptime(match[2], "%d/%b/%Y:%H:%M:%S %z")
        views.append((match[1], int(at.timestamp()) * 1000, match[3]))
    days: dict[str, dict[str, list[tuple[int, str]]]] = defaultdict(lambda: defaultdict(list))
    for visitor, ts, page in views:
        day = f"{datetime.fromtimestamp(ts // DAY_MS * DAY_MS / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
        days[day][visitor].append((ts, shortened(page)))
    right: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for day, visitors in days.items():
        entries, exits = right[day] = Counter(), Counter()
        for seen in visitors.values():
            seen.sort()
            for before, view in pairwise([(-(10**15), ""), *seen]):
                if view[0] - before[0] > 1_800_000:
                    entries[view[1]] += 1
                    exits[before[1]] += 1
            exits[seen[-1][1]] += 1
        del exits[""]
    world = counted(
        "click",
        [{"visitor_id": visitor, "page": page, "ts": ts} for visitor, ts, page in views],
    )
    rows, _ = asked(world, "visits", "1d", group_by=())
    assert [row["window_start"] for row in rows] == sorted(right)
    for row in rows:
        for name, counts in zip(("page.entry", "page.exit"), right[row["window_start"]], strict=True):
            told = json.loads(row[name])
            ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
            assert list(told["top"].items()) == ranked[:SHOWN]
            rest = [count for _, count in ranked[SHOWN:]]
            assert told["others"] == {"values": len(rest), "sessions": sum(rest)}
            assert row["page.sessions"] == counts.total()


@cache
def temperatures() -> list[tuple[int, Decimal]]:
    with (DATA / "telemetry" / "machine_temperature_system_failure.csv").open(newline="") as file:
        return [
            (
                int(datetime.fromisoformat(f"{row['timestamp']}+00:00").timestamp()) * 1000,
                round(Decimal(row["value"]), 9),
            )
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("window", ["1h", "1d"])
def test_the_mean_over_time_of_a_temperature(window: str) -> None:
    """Every five minutes: exact of an hour; of a day no further off than it says, and right where none is missing."""
    events = [
        {"device_id": "machine", "metric": "t", "ts": ts, "value": float(value), "tags": {}}
        for ts, value in temperatures()
    ]
    rows, said = asked(counted("reading", events), "levels", window)
    size_ms = HOUR_MS if window == "1h" else DAY_MS
    by_window: dict[int, list[tuple[int, Decimal]]] = defaultdict(list)
    for ts, value in temperatures():
        by_window[ts // size_ms].append((ts, value))
    assert len(rows) == len(by_window)
    share = Fraction(0) if said[0].endswith("exact") else Fraction(said[0].split(": ")[1].split("%")[0]) / 100
    assert (share == 0) is (window == "1h")
    near = 0
    for row, number in zip(rows, sorted(by_window), strict=True):
        held = sorted(dict(sorted(by_window[number])).items())
        values = [value for _, value in held]
        areas = [Fraction(value) * (after - ts) for (ts, value), (after, _) in pairwise(held)]
        told = row["value.time_weighted_mean"]
        if len(held) < 2:
            assert told is None
            continue
        off = abs(Fraction(told) - sum(areas, Fraction(0)) / (held[-1][0] - held[0][0]))
        assert off <= share * Fraction(max(values) - min(values)) + Fraction(1, 10**11)
        near += off < Fraction(1, 10**9)
    assert near > 0.9 * len(rows)
