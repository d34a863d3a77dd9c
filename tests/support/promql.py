"""Series for tests of PromQL: events that the real fold counted, and requests of the Prometheus HTTP API over them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from processors.pipeline_files import FilesIn
from processors.promql.api import Reply, respond
from processors.query.cells import PartialStore
from processors.query.freshness import Freshness
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.records import StreamRecord
from support.fakes import Reads, World, invoke
from support.paths import ROOT

MINUTE_MS = 60_000
NOW_MS = 10 * 86_400_000
ROLLUP = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"

[[rollups]]
name = "load"
source = "reading"
key = ["device_id", "metric"]
windows = ["1m", "1h", "1d"]
[rollups.measures]
value = ["count", "sum", "min", "max", "mean", "p50", "histogram"]
"""


class Told(NamedTuple):
    """What was answered, read as JSON."""

    status: int
    body: Any

    @classmethod
    def of(cls, reply: Reply) -> "Told":
        """Return *reply*, read. Raises: ValueError, it is no JSON: as JSON has neither NaN nor infinities."""
        return cls(reply.status, json.loads(reply.body, parse_constant=_refused))


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def pipeline_of(text: str) -> Pipeline:
    """Return the definition *text*."""
    return parse_pipeline(text, FilesIn(ROOT))


@dataclass
class Prometheus:
    """What answers as Prometheus does, over *pipeline*."""

    pipeline: Pipeline = field(default_factory=lambda: pipeline_of(ROLLUP))
    now_ms: int = NOW_MS
    applied_ms: int | None = None
    consumer: str = "main"
    world: World = field(init=False)
    store: PartialStore = field(init=False)
    _sent: int = 0

    def __post_init__(self) -> None:
        self.world = World(self.pipeline, consumer=self.consumer, slice_events=100_000)
        self.store = Reads(self.world.store)

    def send(self, source: str, events: Sequence[Mapping[str, Any]], *, shard: str = "shardId-0") -> None:
        """Let the function count *events*."""
        schema, sandbox = self.pipeline.sources[source].schema, self.world.sandbox()
        records = []
        for event in events:
            self._sent += 1
            records.append(StreamRecord(shard, self._sent, "p", schema.encode(dict(event)), self.now_ms))
        for start in range(0, len(records), 10_000):
            assert invoke(sandbox, records[start : start + 10_000]) is None

    def load(self, values: Mapping[tuple[str, str], Sequence[float | None]]) -> None:
        """Send the n-th value of each device and metric so that its minute ends at minute n: the sum then is the value."""
        self.send(
            "reading",
            [
                {
                    "device_id": device,
                    "metric": metric,
                    "ts": (minute - 1) * MINUTE_MS + 7,
                    "value": value,
                    "tags": None,
                }
                for (device, metric), each in values.items()
                for minute, value in enumerate(each, 1)
                if value is not None
            ],
        )

    def ask(self, path: str, *params: tuple[str, str]) -> Told:
        """Ask for *path*."""
        applied_ms = self.now_ms if self.applied_ms is None else self.applied_ms
        reply = respond(
            path,
            params,
            pipeline=self.pipeline,
            store=self.store,
            fresh=Freshness({"shardId-0": applied_ms} if applied_ms else {}, 0, 0),
            consumer=self.consumer,
            now_ms=self.now_ms,
        )
        return Told.of(reply)

    def data(self, path: str, *params: tuple[str, str]) -> Any:
        """Return the data of an answer that is one."""
        reply = self.ask(path, *params)
        assert reply.status == 200, reply.body
        return reply.body["data"]

    def at(self, query: str, minute: float) -> Any:
        """Return what *query* is at *minute*: a text of a scalar, else the text of each series by its labels, in their order."""
        data = self.data("query", ("query", query), ("time", str(minute * 60)))
        if data["resultType"] in ("scalar", "string"):
            return data["result"][1]
        assert data["resultType"] == "vector"
        return {shown(each["metric"]): each["value"][1] for each in data["result"]}

    def over(self, query: str, first: float, last: float, step: float = 1) -> dict[str, dict[float, str]]:
        """Return what *query* is from minute *first* to *last*: of each series the texts by minute."""
        span = (("start", str(first * 60)), ("end", str(last * 60)), ("step", str(step * 60)))
        data = self.data("query_range", ("query", query), *span)
        assert data["resultType"] == "matrix"
        return {
            shown(each["metric"]): {at / 60: text for at, text in each["values"]} for each in data["result"]
        }

    def refused(self, query: str, minute: float = 1) -> tuple[int, str, str]:
        """Return the status, the kind and the text of the error of *query*."""
        reply = self.ask("query", ("query", query), ("time", str(minute * 60)))
        assert reply.body["status"] == "error", reply.body
        return reply.status, reply.body["errorType"], reply.body["error"]


def shown(labels: Mapping[str, str]) -> str:
    """Return *labels* as a short text: ``load_events d1 temp 1m`` of a series as it is stored."""
    order = ("__name__", "device_id", "metric", "window")
    named = [labels[name] for name in order if name in labels]
    return " ".join([*named, *(f"{name}={labels[name]}" for name in sorted(set(labels) - set(order)))])
