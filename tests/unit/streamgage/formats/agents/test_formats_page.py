"""What docs/formats.md says of agents is so."""

import re
import tomllib

import pytest

from streamgage.definition.agents_toml import _known
from streamgage.formats.agents.decoder import AgentDecoder, Outcome, Taken
from streamgage.formats.agents.items import PASSED_OVER
from support.agents import cloud_event, gauge, otlp_json, parsed
from support.paths import ROOT

PAGE = (ROOT / "docs" / "formats.md").read_text()
SECTION = PAGE[PAGE.index("## What agents write") : PAGE.index("## User record: a block of events")]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", SECTION, re.DOTALL)
# Those of readings; that of histograms has a source of its own: tests/property/test_histogram_entrances.py.
TABLES = [
    text
    for language, text in BLOCKS
    if language == "toml" and "[[sources.from]]" in text and '"histogram"' not in text
]
SOURCE = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
"""
ROLLUP = '\n[[rollups]]\nname = "r"\nsource = "reading"\nkey = ["device_id"]\nwindows = ["1h"]\n'


def decoded(data: bytes) -> list[Outcome]:
    pipeline = parsed(SOURCE + "".join(TABLES) + ROLLUP)
    return AgentDecoder(pipeline.sources.values()).decode_whole(data)


def readings(data: bytes) -> list[tuple[object, ...]]:
    return [
        tuple(each.event[name] for name in ("device_id", "metric", "value"))
        for each in decoded(data)
        if isinstance(each, Taken)
    ]


def test_the_line_of_telegraf_comes_to_the_events_beside_it() -> None:
    (block,) = [text for language, text in BLOCKS if not language]
    line, told = re.split(r" {3,}", block.strip())
    found = readings(line.encode())
    assert found == [("a", "cpu_usage_idle", 98.5), ("a", "cpu_usage_user", 1.5)]
    assert all(f"({device}, {metric}, {value})" in told for device, metric, value in found)
    assert decoded(b"disk,host=a free=1i 1767614400000000000") == [PASSED_OVER]


def test_the_collectors_points_cloud_events_and_the_object_are_events() -> None:
    cpu = gauge("system.cpu.utilization", [0.5], ts_ms=1_767_614_400_000)
    assert readings(otlp_json(cpu, resource={"host.name": "h"})) == [("h", "system.cpu.utilization", 0.5)]
    (block,) = [text for language, text in BLOCKS if language == "json"]
    assert readings(block.encode()) == [("d1", "t", 20.5)]
    event = str(cloud_event(20.5, ts="2026-01-05T12:00:00Z")).replace("'", '"')
    assert readings(event.encode()) == [("c", "t", 20.5)]


def test_telegrafs_own_lines_are_toml() -> None:
    (text,) = [text for language, text in BLOCKS if language == "toml" and "outputs.kinesis" in text]
    assert tomllib.loads(text)["outputs"]["kinesis"][0]["data_format"] == "influx"


@pytest.mark.parametrize("form", ["influx", "otlp", "cloudevents"])
def test_every_selector_is_on_the_page(form: str) -> None:
    (row,) = [line for line in SECTION.split("\n") if line.startswith(f"| `{form}` |")]
    _, _, fields, match, _ = row.split("|")
    for known, cell in ((_known(form, match=False), fields), (_known(form, match=True), match)):
        told = {each.replace("PATH", "NAME") for each in re.findall(r"`([a-z_]+(?::[A-Z]+)?)`", cell)}
        assert told == set(known.split(", ")) - {"text:TEXT"}
