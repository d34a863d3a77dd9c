"""A definition that takes each format of the agents, and records as they write them."""

import base64
import gzip
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from processors.pipeline_files import FilesIn
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.formats.agents.decoder import AgentDecoder, Outcome
from support.paths import ROOT

SOURCES = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
max_future = "5m"
max_lateness = "10m"

[[sources.from]]
format = "influx"
match = { measurement = "weather" }
fields = { device_id = "tag:host", metric = "field", value = "value", ts = "time", tags = "tags" }

[[sources.from]]
format = "influx"
match = { measurement = ["room", "hall"] }
fields = { device_id = "measurement", metric = "text:t", value = "field:temp", ts = "time" }

[[sources.from]]
format = "otlp"
match = { scope = ["", "s"] }
fields = { device_id = "attribute:host", metric = "metric", value = "value", ts = "time" }

[[sources.from]]
format = "otlp"
match = { scope = "latency" }
fields = { device_id = "resource:host.name", metric = "unit", value = "sum", ts = "time" }

[[sources.from]]
format = "cloudevents"
match = { type = "com.example.reading" }
fields = { device_id = "subject", metric = "data:what.name", value = "data:value", ts = "time" }

[[sources.from]]
format = "json"
match = { kind = "reading" }
fields = { device_id = "sensor.id", value = "v" }

[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"

[[sources.from]]
format = "json"
match = { kind = "click" }
fields = { visitor_id = "who", page = "url" }
"""
DEFINITION = f"""{SOURCES}
[[rollups]]
name = "readings"
source = "reading"
key = ["device_id", "metric"]
windows = ["1m"]
[rollups.measures]
value = ["count", "sum", "last"]

[[rollups]]
name = "pages"
source = "click"
key = ["page"]
windows = ["1d"]
consumer = "second"
[rollups.measures]
bytes = ["count", "sum"]
"""


def parsed(text: str) -> Pipeline:
    """Return the definition *text*, beside the schemas of the repository."""
    return parse_pipeline(text, FilesIn(ROOT))


@cache
def agents_pipeline() -> Pipeline:
    """Return the definition above; both consumers are counted as one."""
    return parsed(DEFINITION.replace('consumer = "second"\n', ""))


@cache
def decoder() -> AgentDecoder:
    """Return what decodes the records of its sources."""
    return AgentDecoder(agents_pipeline().sources.values())


def decoded(data: bytes) -> list[Outcome]:
    """Return what each item of *data* is."""
    return decoder().decode_whole(data)


def otlp_json(*metrics: dict[str, Any], resource: dict[str, str] | None = None, scope: str = "s") -> bytes:
    """Return *metrics* as the Collector writes them in JSON, of one resource and one scope."""
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in (resource or {}).items()]
    scoped = {"scope": {"name": scope}, "metrics": list(metrics)}
    return json.dumps(
        {"resourceMetrics": [{"resource": {"attributes": attributes}, "scopeMetrics": [scoped]}]}
    ).encode()


def gauge(name: str, values: Sequence[float], *, host: str = "h", ts_ms: int) -> dict[str, Any]:
    """Return a gauge of *values* at one time."""
    attributes = [{"key": "host", "value": {"stringValue": host}}]
    points = [
        {"asDouble": value, "timeUnixNano": str(ts_ms * 1_000_000), "attributes": attributes}
        for value in values
    ]
    return {"name": name, "gauge": {"dataPoints": points}}


def cloud_event(value: object, *, ts: str, subject: str = "c", number: int = 1) -> dict[str, Any]:
    """Return a CloudEvent with a reading."""
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": "/plant/7",
        "type": "com.example.reading",
        "subject": subject,
        "time": ts,
        "data": {"what": {"name": "t"}, "value": value},
    }


def gzipped(data: bytes) -> bytes:
    """Return *data* compressed, the same each time."""
    return gzip.compress(data, mtime=0)


PUT_BY_AGENTS = ROOT / "tests/golden/agents_put.jsonl"
"""Records that the real Collector and Telegraf put on a stream, a line each as tests/interop/agents prints."""


def agent_records(text: str | None = None) -> dict[str, bytes]:
    """Return records by name, of lines that tests/interop/agents prints: those of tests/golden, or of *text*."""
    lines = (ROOT / "tests/golden/agents.jsonl").read_text() if text is None else text
    return {each["name"]: base64.b64decode(each["data"]) for each in map(json.loads, lines.splitlines())}
