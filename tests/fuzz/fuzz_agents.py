"""Fuzz what reads the records of agents: ``python tests/fuzz/fuzz_agents.py -runs=100000``."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris  # in a virtual environment of its own: see `make fuzz`

sys.path[:0] = [
    str(folder) for folder in Path(__file__).parents[1:3]
]  # run as a script: tests, and the repository

with atheris.instrument_imports(include=["streamgage", "json"]):
    from fuzz.promises import ARRIVAL_MS, check_agents
    from fuzz.targets import fuzz
    from support.agents import cloud_event, gauge, otlp_json
    from support.histograms import counted

WORDS = (
    b'"resourceMetrics"',
    b'"scopeMetrics"',
    b'"dataPoints"',
    b'"aggregationTemporality"',
    b'"asInt"',
    b'"exponentialHistogram"',
    b'"bucketCounts"',
    b'"zeroCount"',
    b"http.server.request.duration",
    b'"attributes"',
    b'"specversion"',
    b'"data_base64"',
    b'"kind"',
    b"weather,host=",
    b"temp=",
    b" 1700000000000000000\n",
    b"\\ ",
)


def seeds() -> Iterator[bytes]:
    """Yield a record of each format."""
    yield b'weather,host=a t=1.5,i=2i,u=3u,s="x\\"y",b=true %d\n# c\nhall temp=1 5' % (ARRIVAL_MS * 1_000_000)
    yield otlp_json(gauge("t", [1.5], ts_ms=ARRIVAL_MS))
    yield json.dumps([cloud_event(1.5, ts="2023-11-14T22:13:20Z")]).encode()
    yield b'{"kind":"reading","sensor":{"id":"s"},"metric":"m","ts":%d,"v":1}{"kind":"click"}' % ARRIVAL_MS
    point = {"timeUnixNano": str(ARRIVAL_MS * 1_000_000), **counted([1.5, 2.0, 0.0], 3)}
    data_of = {"aggregationTemporality": 1, "dataPoints": [point]}
    took = {"name": "http.server.request.duration", "exponentialHistogram": data_of}
    yield otlp_json(took, resource={"service.name": "web"})
    number = (
        b"\x19"
        + (ARRIVAL_MS * 1_000_000).to_bytes(8, "little")
        + b"\x21"
        + bytes(8)
        + b"\x3a\x09\x0a\x04host\x12\x01"
    )
    data = b"\x0a" + bytes((len(number),)) + number
    metric = b"\x0a\x01m\x2a" + bytes((len(data),)) + data
    scope = b"\x0a\x03\x0a\x01s\x12" + bytes((len(metric),)) + metric
    yield b"\x12" + bytes((len(scope),)) + scope


if __name__ == "__main__":
    fuzz(check_agents, seeds(), WORDS)
