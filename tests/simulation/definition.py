"""The pipeline that is attacked, what its producers send, and poison of every kind."""

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from processors.pipeline_files import FilesIn
from producers.client.encoder import encoder_of
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.formats.avro import MARKER
from streamgage.formats.kpl import MAGIC
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.records import UserRecord
from support.histograms import FIELD, counted
from support.paths import ROOT as _ROOT

MAX_FUTURE_MS = 5 * 60_000
MAX_LATENESS_MS = 10 * 60_000
_DEFINITION = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
max_future = "5m"
max_lateness = "10m"
derive = {band = "bucket(value, 50)"}

[[sources.from]]
format = "influx"
match = {measurement = "weather"}
fields = {device_id = "tag:host", metric = "text:t", value = "field:t", ts = "time"}

[[sources.from]]
format = "json"
match = {kind = "r"}
fields = {device_id = "d", metric = "text:t", value = "v"}

[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"

[[sources]]
name = "latency"
schema = "latency.avsc"
partition_key = "service"
event_time = "ts"

[[rollups]]
name = "device_metrics"
source = "reading"
key = ["device_id", "metric"]
windows = ["1m", "1h"]
keep = "90d"
[rollups.measures]
value = ["count", "sum", "min", "max", "mean", "variance", "first", "last"]

[[rollups]]
name = "visits"
source = "click"
key = ["visitor_id"]
windows = ["1d"]
keep = "90d"
[rollups.measures]
ts = ["min", "max"]
bytes = ["sum"]
page = ["sessions", "bounces", "entry", "exit"]

[[rollups]]
name = "bands"
source = "reading"
where = "value >= 0 and metric = 't'"
key = ["band"]
windows = ["1h"]
keep = "90d"
[rollups.measures]
value = ["p95", "distinct", "time_weighted_mean"]
device_id = ["distinct"]

[[rollups]]
name = "latencies"
source = "latency"
key = ["service"]
windows = ["1h"]
[rollups.measures]
latency = ["histogram", "p99"]

[[rollups]]
name = "latest"
source = "reading"
key = ["metric", "device_id"]
together = ["metric"]
windows = ["1h"]
consumer = "second"
[rollups.measures]
value = ["last", "max"]
ts = ["count"]
"""
CONSUMERS = ("main", "second")
# The values that a client counted stand beside their histogram: by them the tally knows what is right.
_LATENCY = {
    "type": "record",
    "name": "Latency",
    "fields": [
        {"name": "service", "type": "string"},
        {"name": "ts", "type": "long"},
        FIELD,
        {"name": "values", "type": {"type": "array", "items": "double"}},
        {"name": "id", "type": "long"},
    ],
}


class _Files(FilesIn):
    """Those of the repository, and a schema of histograms."""

    def read(self, path: str) -> str:
        """Return the text of *path*."""
        return json.dumps(_LATENCY) if path == "latency.avsc" else super().read(path)

    def versions(self, path: str) -> list[str]:
        """Return the older schemas beside *path*."""
        return [] if path == "latency.avsc" else super().versions(path)


@cache
def pipeline() -> Pipeline:
    """Return the definition of every world."""
    return parse_pipeline(_DEFINITION, _Files(_ROOT))


@dataclass(frozen=True, slots=True)
class Sent:
    """One user record, and what a reader should make of it: an *event* of *source*, or poison of *code*.

    Its data occurs once in a world, so the data says which it is. *more* are the items behind the first, where an agent wrote
    it: each an event or, with a code, poison.
    """

    record: UserRecord
    source: str = ""
    event: dict[str, Any] | None = None
    code: str = ""
    more: tuple[tuple[dict[str, Any] | None, str], ...] = ()

    @property
    def items(self) -> tuple[tuple[dict[str, Any] | None, str], ...]:
        """All of it."""
        return (self.event, self.code), *self.more


def draw_event(rng: random.Random, number: int, now_ms: int, *, devices: int) -> Sent:
    """Return the *number*-th event, of a device whose clock says *now_ms*; often late, often at the same instant."""
    sent = _draw_event(rng, number, now_ms, devices)
    if rng.random() < 0.1:
        return replace(sent, record=replace(sent.record, explicit_hash_key=rng.getrandbits(128)))
    return sent


def _draw_event(rng: random.Random, number: int, now_ms: int, devices: int) -> Sent:
    if number % 8 == 5:
        return _latency(rng, number, now_ms)
    if rng.random() < 0.15:
        visitor = rng.choice(("v0", "v1"))
        event = {
            "visitor_id": visitor,
            "page": ("/", "/a", "/é" * 40, "/é" * 41)[number % 4],
            "ts": now_ms - rng.choice((0, 1, 1_799_000, 86_400_000)),
            "bytes": rng.choice((None, number)),
            "properties": {"id": str(number)},
        }
        return Sent(encoder_of(pipeline().sources["click"]).user_record(event), "click", event)
    device = f"d{rng.randrange(devices)}"
    event = _reading(number, device, now_ms - _lag_ms(rng), rng.randint(-999, 999) / 8)
    if rng.random() < 0.15:
        if number % 2:
            return _of_agent(number, event)
        data = json.dumps({"source": "reading", **event}).encode()
        return Sent(UserRecord(device, data), "reading", event)
    return Sent(encoder_of(pipeline().sources["reading"]).user_record(event), "reading", event)


def _latency(rng: random.Random, number: int, now_ms: int) -> Sent:
    """Return the histogram of some values, at a scale of its client's; some are zero alone, some contradict themselves."""
    values = [
        rng.choice((-1, 0, 1, 1, 1)) * rng.choice((2.0 ** rng.randint(-3, 8), rng.randint(1, 999) / 8))
        for _ in range(rng.randint(1, 6))
    ]
    values = [0.0] * rng.randint(1, 3) if rng.random() < 0.2 else values
    histogram = counted(values, rng.choice((7, 6, 5, 5, 4, 2)))
    event: dict[str, Any] = {
        "service": rng.choice(("web", "api")),
        "ts": now_ms - rng.choice((0, 1, 1_799_000)),
        "latency": histogram,
        "values": values,
        "id": number,
    }
    if rng.random() < 0.1:
        histogram["count"] += 1
        data = pipeline().sources["latency"].schema.encode(event)
        return Sent(UserRecord(event["service"], data), "latency", code="bad_value")
    if rng.random() < 0.2:
        data = json.dumps({"source": "latency", **event}).encode()
        return Sent(UserRecord(event["service"], data), "latency", event)
    return Sent(encoder_of(pipeline().sources["latency"]).user_record(event), "latency", event)


def _of_agent(number: int, event: dict[str, Any]) -> Sent:
    """Return a record of three readings as an agent writes it; the second one may be broken."""
    readings = [{**event, "value": event["value"] + each} for each in range(3)]
    broken = number % 3 == 0
    if number % 4 == 1:
        lines = [
            b"weather,host=%s,id=%d t=%r %d"
            % (each["device_id"].encode(), number, each["value"], each["ts"] * 1_000_000)
            for each in readings
        ]
        lines[1] = b"weather" if broken else lines[1]
        data = b"\n".join(lines)
    else:
        objects = [
            json.dumps(
                {"kind": "r", "d": each["device_id"], "ts": each["ts"], "v": each["value"], "id": number}
            ).encode()
            for each in readings
        ]
        objects[1] = b'{"kind": "r"}' if broken else objects[1]
        data = b"".join(objects)
    if number % 8 > 4:
        data = gzip.compress(data, mtime=0)
    more: list[tuple[dict[str, Any] | None, str]] = [(each, "") for each in readings[1:]]
    if broken:
        more[0] = None, "undecodable" if number % 4 == 1 else "bad_time"
    return Sent(UserRecord(event["device_id"], data), "reading", readings[0], more=tuple(more))


def draw_collected(rng: random.Random, number: int, now_ms: int, *, devices: int) -> Sent:
    """Return the *number*-th event, as a client sends it by HTTP: one of a source, at any time."""
    while True:
        sent = _draw_event(rng, number, now_ms, devices)
        if sent.event is not None and not sent.more and sent.record.data[:1] != b"{":
            return sent


def _lag_ms(rng: random.Random) -> int:
    kind = rng.random()
    if kind < 0.7:
        return rng.choice((0, 0, 1, 1_000, 20_000))
    if kind < 0.85:
        return MAX_LATENESS_MS - rng.choice(
            (0, 10, 500, 3_000, 30_000, -1)
        )  # a moment before, or just too late
    return rng.randint(-MAX_FUTURE_MS - 1, MAX_LATENESS_MS)


def _reading(number: int, device: str, ts: int, value: float) -> dict[str, Any]:
    return {"device_id": device, "metric": "t", "ts": ts, "value": value, "tags": {"id": str(number)}}


def _avro(**changes: Any) -> bytes:
    """Return a reading with some fields as *changes* say."""
    event = {**_reading(changes.pop("number"), "d0", 1_700_000_000_000, 1.0), **changes}
    return pipeline().sources["reading"].schema.encode(event)


_POISON: tuple[tuple[str, Callable[[bytes, int], bytes]], ...] = (
    ("unknown_format", lambda tail, _: b"\x00binary" + tail),
    ("unknown_schema", lambda tail, _: MARKER + b"\x01\x02\x03\x04\x05\x06\x07\x08" + tail),
    ("undecodable", lambda _, number: _avro(number=number)[:-1]),
    ("undecodable", lambda tail, number: _avro(number=number) + tail),
    ("bad_value", lambda _, number: _avro(number=number, value=float("nan"))),
    ("bad_value", lambda _, number: _avro(number=number, value=1e29)),
    ("bad_time", lambda _, number: _avro(number=number, ts=-1)),
    ("bad_key", lambda _, number: _avro(number=number, device_id="x" * 2100)),
    ("late", lambda _, number: _avro(number=number, ts=1_000_000_000_000)),
    ("future", lambda _, number: _avro(number=number, ts=2_000_000_000_000)),
    ("undecodable", lambda tail, _: b'{"source": "reading", ' + tail),
    ("unknown_schema", lambda tail, _: b'{"source": "nobody", "id": "' + tail + b'"}'),
)
POISON_CODES = tuple(code for code, _ in _POISON)


def draw_poison(rng: random.Random, number: int) -> Sent:
    """Return a user record that cannot be counted."""
    code, make = rng.choice(_POISON)
    return Sent(UserRecord(f"d{rng.randint(0, 3)}", make(b"%d" % number, number)), code=code)


def draw_broken_frame(rng: random.Random, number: int) -> bytes:
    """Return the data of a Kinesis record that claims to be aggregated and is not."""
    builder = AggregateBuilder()
    builder.add(UserRecord("d0", _avro(number=number)))
    whole = builder.build()
    return rng.choice(
        (whole[:-1] + bytes((whole[-1] ^ 1,)), MAGIC + b"%016d" % number + b"no message at all")
    )
