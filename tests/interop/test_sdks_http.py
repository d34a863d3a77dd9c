"""Clients of OpenTelemetry, InfluxData and CNCF, as they come, send to `streamgage collect`: exactly what they sent counts."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local.http.message import Limits, Request, Response
from infra.local.http.server import HttpServer
from interop.definition import Reading, collected, definition, definition_in
from interop.otel import AT_MS
from interop.programs import finished, npm_folder, python_with_clients
from producers.collector.bodies import inflated
from producers.collector.limits import Bounds
from producers.collector.message import Asked
from streamgage.errors import RetryableError
from support.collecting import Kept, collector_over, serving, stored_in
from support.paths import ROOT
from support.scripted_kinesis import scripted_kinesis

NPM = ROOT / "requirements" / "agents"

INFLUX_PYTHON = """
import sys
from influxdb_client import InfluxDBClient, Point, WriteOptions
told = lambda _, __, error: print("error", error.status, error.body)
with InfluxDBClient(url=sys.argv[1], token="t", org="o", enable_gzip=True) as client:
    options = WriteOptions(batch_size=300, flush_interval=200, retry_interval=200)
    with client.write_api(write_options=options, error_callback=told) as writer:
        for each in range(1000):
            point = Point("weather").tag("host", "h").field("t", each / 4)
            writer.write(bucket="b", record=point.time(AT_MS + each, "ms"))
        writer.write(bucket="b", record=Point("weather").tag("host", "h").field("text", "x").time(AT_MS, "ms"))
"""
INFLUX_JAVASCRIPT = """
import { InfluxDB, Point } from "@influxdata/influxdb-client";
let [left, done] = [1001];
const decided = new Promise((resolve) => { done = (lines) => { left -= lines.length; if (!left) resolve(); } });
const told = (error, lines) => {
  if (error.statusCode == 503) return;
  console.log("error", error.statusCode, error.body);
  done(lines);
};
const writer = new InfluxDB({ url: process.argv[2], token: "t" }).getWriteApi("o", "b", "ms", {
  batchSize: 300, gzipThreshold: 100, maxRetries: 3, minRetryDelay: 200, writeFailed: told, writeSuccess: done,
});
for (let each = 0; each < 1000; each++)
  writer.writePoint(new Point("weather").tag("host", "h").floatField("t", each / 4).timestamp(AT_MS + each));
writer.writePoint(new Point("weather").tag("host", "h").stringField("text", "x").timestamp(AT_MS));
await writer.flush().catch(() => {});
await decided;
await writer.close().catch(() => {});
"""
OTEL_PYTHON = """
import sys
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
exporter = OTLPMetricExporter(endpoint=sys.argv[1] + "/v1/metrics", compression=Compression.Gzip)
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
provider = MeterProvider([reader], resource=Resource({"host.name": "h"}))
meter = provider.get_meter("m")
hits, level, took = meter.create_counter("hits"), meter.create_gauge("level"), meter.create_histogram("took")
for each in range(20):
    hits.add(each)
    level.set(each / 4)
    took.record(each)
    assert provider.force_flush()
provider.shutdown()
"""
OTEL_JAVASCRIPT = """
import { MeterProvider, PeriodicExportingMetricReader, AggregationTemporality } from "@opentelemetry/sdk-metrics";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-FORM";
const exporter = new OTLPMetricExporter({
  url: process.argv[2] + "/v1/metrics", compression: "gzip", temporalityPreference: AggregationTemporality.DELTA,
});
const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
const provider = new MeterProvider({ resource: resourceFromAttributes({ "host.name": "h" }), readers: [reader] });
const meter = provider.getMeter("m");
const [hits, level] = [meter.createCounter("hits"), meter.createGauge("level")];
for (let each = 0; each < 20; each++) {
  hits.add(each);
  level.record(each / 4);
  await provider.forceFlush();
}
await provider.shutdown();
"""
CLOUD_EVENTS = """
import sys
from datetime import datetime, timedelta, timezone
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
import requests

def event(at):
    attributes = {
        "specversion": "1.0", "id": str(at), "source": "/plant/7", "type": "com.example.reading", "subject": "é h",
        "time": datetime.fromtimestamp(AT_MS / 1000, timezone.utc) + timedelta(milliseconds=at),
    }
    return CloudEvent(attributes, {"metric": "t", "value": at / 4})

def post(headers, body):
    answer = requests.post(sys.argv[1] + "/v1/events", headers=headers, data=body)
    print(answer.status_code, answer.text)

for at in range(10):
    message = (to_binary_event if at % 2 else to_structured_event)(event(at))
    post(message.headers, message.body)
batch = b"[" + b",".join(to_structured_event(event(at)).body for at in range(10, 30)) + b"]"
post({"content-type": "application/cloudevents-batch+json"}, batch)
"""


def python(program: str, folder: Path, url: str) -> str:
    page = folder / "program.py"
    page.write_text(program.replace("AT_MS", str(AT_MS)))
    delta = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
    return finished([python_with_clients(), page, url], delta)


def javascript(program: str, folder: Path, url: str) -> str:
    page = (
        npm_folder(NPM, "@influxdata/influxdb-client") / f"{folder.name}.mjs"
    )  # modules are found from where it lies
    page.write_text(program.replace("AT_MS", str(AT_MS)))
    return finished(["node", page, url], {})


def outcome(run: Callable[[str], str], folder: Path) -> tuple[str, dict[Reading, int]]:
    """Return what the client said, and what counts of what it sent."""
    with scripted_kinesis() as (url, requests):
        with serving(folder, url, "--pipeline", str(definition_in(folder))) as server:
            said = run(server.url.removesuffix("/v1/events"))
        return said, dict(collected(stored_in(requests), definition(folder)))


@pytest.mark.parametrize(("start", "program"), [(python, INFLUX_PYTHON), (javascript, INFLUX_JAVASCRIPT)])
def test_influx_clients_batch_and_compress_and_a_refused_line_takes_no_other_with_it(
    tmp_path: Path, start: Callable[[str, Path, str], str], program: str
) -> None:
    said, found = outcome(lambda url: start(program, tmp_path, url), tmp_path)
    assert found == {("h", "t", AT_MS + each, each / 4): 1 for each in range(1_000)}
    told, status, message = said.strip().split(" ", 2)
    assert (told, status) == ("error", "400")
    assert "partial write: 100 events were accepted, 1 refused" in message
    assert "'x' is not a number" in message


@pytest.mark.parametrize(
    ("start", "program"),
    [
        (python, OTEL_PYTHON),
        (javascript, OTEL_JAVASCRIPT.replace("FORM", "proto")),
        (javascript, OTEL_JAVASCRIPT.replace("FORM", "http")),
    ],
)
def test_opentelemetrys_sdks_send_what_was_counted_and_measured(
    tmp_path: Path, start: Callable[[str, Path, str], str], program: str
) -> None:
    _, found = outcome(lambda url: start(program, tmp_path, url), tmp_path)
    assert set(found.values()) == {1}
    assert sorted(value for _, name, _, value in found if name == "hits") == list(range(20))
    # One SDK tells a gauge once more when it ends, as of then.
    assert {value for _, name, _, value in found if name == "level"} == {each / 4 for each in range(20)}


def test_cloud_events_of_the_sdk_count_once_in_each_mode(tmp_path: Path) -> None:
    said, found = outcome(lambda url: python(CLOUD_EVENTS, tmp_path, url), tmp_path)
    assert [each.split(" ")[0] for each in said.splitlines()] == ["200"] * 11
    assert found == {("é h", "t", AT_MS + each, each / 4): 1 for each in range(30)}


@pytest.mark.parametrize(
    ("start", "program", "wanted", "pause_s"),
    [
        (python, INFLUX_PYTHON, 1_000, 4.9),
        (javascript, INFLUX_JAVASCRIPT, 1_000, 0),  # it takes the seconds for milliseconds
        (python, OTEL_PYTHON, 41, 4.9),
        (javascript, OTEL_JAVASCRIPT.replace("FORM", "proto"), 40, 4.9),
    ],
)
def test_a_client_that_is_told_to_wait_sends_the_same_again_after_the_pause_that_it_was_told(
    tmp_path: Path, start: Callable[[str, Path, str], str], program: str, wanted: int, pause_s: float
) -> None:
    port, came = Kept(failure=RetryableError("full")), list[tuple[float, int, bytes]]()
    collector = collector_over(port, definition=definition(tmp_path))

    def respond(request: Request) -> Response:
        query = request.target.partition("?")[2]
        answer = collector.answer(Asked(request.method, request.path, query, request.headers, request.body))
        came.append((time.monotonic(), answer.status, inflated(request.body, request.headers, Bounds())))
        port.failure = None
        return Response(answer.status, answer.body, answer.content_type, answer.headers)

    server = HttpServer(respond, name="collector", limits=Limits(chunked=True))  # as `collect` does
    server.start()
    try:
        said = start(program, tmp_path, server.url)
    finally:
        server.stop()
    (first_s, status, _), (again_s, *_) = [each for each in came if each[2] == came[0][2]]
    assert status == 503
    assert again_s - first_s >= pause_s, said
    told = Counter((each["metric"], each["ts"], each["value"]) for each in port.events)
    assert (len(told), told.total()) == (wanted, wanted), said
