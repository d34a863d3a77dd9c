"""Records that agents wrote come to the events that were meant.

tests/interop/agents made those of their encoders, and tests/interop holds those that the real agents put on a stream to be these.
"""

import json

import pytest

from streamgage.formats.agents import otlp_json, otlp_proto
from streamgage.formats.agents.decoder import AgentDecoder, Outcome, Taken
from streamgage.formats.agents.inflate import inflated, is_compressed, opened
from streamgage.formats.agents.items import PASSED_OVER, Item, Refused
from streamgage.measures.histogram_points import point_of
from support.agents import PUT_BY_AGENTS, agent_records, decoded, parsed

AT_MS = 1_767_614_400_000
LINES = [
    (r'a b,c=d\e"f', "a float", 20.5, 0),
    (r'a b,c=d\e"f', "int", float(-(2**63)), 0),
    (r'a b,c=d\e"f', "uint", float(2**64), 0),
    (r'a b,c=d\e"f', "tiny", 5e-324, 0),
    ("x", "text", "refused", 1),
    ("x", "yes", "refused", 1),
    ("x", "one", 1.0, 1),
]
POINTS = [
    ("h", "temp", 20.5, 0),
    ("h", "temp", -3.0, 0),
    PASSED_OVER,
    ("h", "hits", 7.0, 0),
    "a cumulative sum",
    ("é-1", "s", 4.5, 0),
    ("é-1", "By", 10.0, 0),
]


def told(outcome: Outcome) -> object:
    if isinstance(outcome, Taken):
        event = outcome.event
        return event["device_id"], event["metric"], event["value"], event["ts"] - AT_MS
    return outcome.reason if isinstance(outcome, Refused) else outcome


@pytest.mark.parametrize("name", ["otlp_proto", "otlp_proto gzip", "otlp_proto zlib", "otlp_json"])
def test_what_the_collector_writes_comes_to_its_points(name: str) -> None:
    data = agent_records()[name]
    found = [told(each) for each in decoded(inflated(data) if is_compressed(data) else data)]
    assert len(found) == len(POINTS)
    for each, expected in zip(found, POINTS, strict=True):
        assert expected in each if isinstance(expected, str) and isinstance(each, str) else each == expected


def test_what_the_line_protocol_library_writes_comes_to_its_fields() -> None:
    found = [told(each) for each in decoded(agent_records()["line protocol"])]
    assert [each for each in found if isinstance(each, tuple)] == [
        each for each in LINES if each[2] != "refused"
    ]
    assert [isinstance(each, str) for each in found] == [each[2] == "refused" for each in LINES]


@pytest.mark.parametrize("name", ["otlp_proto", "otlp_proto gzip", "otlp_proto zlib", "otlp_json"])
def test_the_buckets_that_the_collector_writes_are_those_that_were_meant(name: str) -> None:
    """tests/interop/agents/main.go has them: scale 5, from -7 on one, none and two."""
    data = agent_records()[name]
    data = inflated(data) if is_compressed(data) else data
    points = (
        otlp_json.points_of(json.loads(data), (), with_buckets=True)
        if name == "otlp_json"
        else otlp_proto.points_of(data, with_buckets=True)
    )
    found = [each.values.get("histogram") for each in points if isinstance(each, Item)]
    (held,) = [each for each in found if isinstance(each, dict)]
    assert held == {
        "count": 3,
        "scale": 5,
        "zeroCount": 0,
        "zeroThreshold": 0.0,
        "positive": {"offset": -7, "bucketCounts": [1, 0, 2]},
        "negative": {"offset": 0, "bucketCounts": []},
    }
    state = point_of(held)
    assert (list(state.places), list(state.counts)) == ([-14, -10], [1, 2])


PUT = agent_records(PUT_BY_AGENTS.read_text())
TAKES_ALL = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
[[sources.from]]
format = "otlp"
fields = { device_id = "resource:host.name", metric = "metric", value = "value", ts = "time" }
[[sources.from]]
format = "influx"
fields = { device_id = "tag:host", metric = "field", value = "value", ts = "time" }
[[rollups]]
name = "r"
source = "reading"
key = ["device_id"]
windows = ["1h"]
"""


def put(name: str) -> list[object]:
    decoder = AgentDecoder(parsed(TAKES_ALL).sources.values())
    return [told(each) for each in decoder.decode_whole(opened(PUT[name]))]


@pytest.mark.parametrize("name", [each for each in PUT if each != "telegraf"])
def test_what_the_real_collector_put_comes_to_its_points_and_the_growth_of_its_counter(name: str) -> None:
    assert put(name) == [
        ("é-1", "temp", 20.5, 0),
        ("é-1", "temp", -3.0, 1),
        ("é-1", "hits", 5.0, 1),
    ]


def test_what_the_real_telegraf_put_comes_to_its_numbers() -> None:
    *numbers, yes, text = put("telegraf")
    assert numbers == [("a b,c=é", "t", 20.5, 0), ("a b,c=é", "n", -3.0, 0), ("a b,c=é", "u", 7.0, 0)]
    assert "yes" in str(yes)
    assert "text" in str(text)
