"""The OpenTelemetry Collector of tests/interop/agents/collector, with the configuration that docs/sending.md shows."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from infra.local.stack.ports import any_port
from interop.definition import Reading
from interop.programs import Program, go_program, running
from support.paths import ROOT

AT_MS = 1_767_614_400_000
_GUIDE = (ROOT / "docs" / "sending.md").read_text(encoding="utf-8")
_HTTP, _KINESIS = re.findall(r"```yaml\n(.*?)```", _GUIDE, re.DOTALL)
_READY = "Everything is ready. Begin running and processing data."


@dataclass(frozen=True, slots=True)
class Agent:
    """A Collector that runs, and the port that its receiver of OTLP listens at."""

    program: Program
    port: int

    def export(self, *metrics: Mapping[str, Any], host: str) -> None:
        """Send *metrics* of one host to it; it has taken them when this returns."""
        self.export_all([(host, metrics)])

    def export_all(self, resources: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> None:
        """Send metrics of several hosts in one request."""
        told = [
            {
                "resource": {"attributes": [{"key": "host.name", "value": {"stringValue": host}}]},
                "scopeMetrics": [{"scope": {"name": "s"}, "metrics": list(metrics)}],
            }
            for host, metrics in resources
        ]
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            body = json.dumps({"resourceMetrics": told})
            connection.request("POST", "/v1/metrics", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
        finally:
            connection.close()


@contextmanager
def collector(
    folder: Path, environment: Mapping[str, str], *, through: str, others: Mapping[str, Any] | None = None
) -> Iterator[Agent]:
    """Run it; *through* is the exporter, otlphttp or awskinesis, and *others* what this test has otherwise."""
    program = go_program("collector")
    port = any_port()
    ours = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "service": {"pipelines": {"metrics": {"receivers": ["otlp"], "exporters": [through]}}},
    }
    pages = {"guide.yaml": _HTTP, "kinesis.yaml": _KINESIS, "ours.yaml": json.dumps(ours)}
    pages["others.yaml"] = json.dumps(others or {})
    for name, text in pages.items():
        (folder / name).write_text(text)
    named = {
        "HTTP": "", "STREAMGAGE_KEY": "", "STREAM": "s", "HOSTNAME": "here", "AWS_REGION": "us-east-1", "QUEUE": str(folder / "queue"),
    }  # fmt: skip
    options = [option for name in pages for option in ("--config", name)]
    with running([program, *options], {**named, **environment}, folder / "collector.log") as agent:
        agent.await_said(_READY)
        yield Agent(agent, port)


def gauge(name: str, values: Sequence[float], *, first: int = 0) -> dict[str, Any]:
    """Return a gauge whose points are a ms apart, from AT_MS + *first*."""
    points = [{"asDouble": each, "timeUnixNano": _ns(first + at)} for at, each in enumerate(values)]
    return {"name": name, "gauge": {"dataPoints": points}}


def counter(name: str, totals: Sequence[int], *, is_monotonic: bool = True) -> dict[str, Any]:
    """Return a cumulative sum as a program counts up: it began at AT_MS - 1."""
    points = [
        {"asInt": str(each), "startTimeUnixNano": _ns(-1), "timeUnixNano": _ns(at)}
        for at, each in enumerate(totals)
    ]
    return {
        "name": name,
        "sum": {"aggregationTemporality": 2, "isMonotonic": is_monotonic, "dataPoints": points},
    }


def readings(host: str, name: str, values: Sequence[float], *, first: int = 0) -> Counter[Reading]:
    """Return what a ``gauge`` of *host* counts as."""
    return Counter((host, name, AT_MS + first + at, each) for at, each in enumerate(values))


def _ns(after_ms: int) -> str:
    return str((AT_MS + after_ms) * 1_000_000)
