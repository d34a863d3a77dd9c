"""What the real Collector and Telegraf send to a running stack, by each way, is what a question is answered."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from interop.definition import definition_in
from interop.listening import listening
from interop.otel import collector, counter, gauge
from interop.programs import await_all
from interop.telegraf import lines_of, output_of, telegraf
from support.machine import Machine, running

VALUES = [each / 4 for each in range(2_000)]
_DAY = ("--window", "1d")
_MEASURES = ("events", "sum", "min", "max", "last")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("agents")
    with running(folder, "--pipeline", str(definition_in(folder / "definition"))) as machine:
        yield machine


def environment(machine: Machine) -> dict[str, str]:
    """What `streamgage env` exports, and the stream's name."""
    lines = machine.run("env").stdout.splitlines()
    exported = [each.removeprefix("export ").partition("=") for each in lines if each.startswith("export ")]
    return {**{name: value.strip("'") for name, _, value in exported}, "STREAM": machine.home.info().stream}


def rows(machine: Machine, device: str, metric: str) -> list[dict[str, Any]]:
    return machine.query("device_metrics", f"device_id={device}", f"metric={metric}", *_DAY)


def events(machine: Machine, *devices: str, metric: str) -> int:
    return sum(each["events"] for device in devices for each in rows(machine, device, metric))


def totals(machine: Machine, device: str, metric: str) -> dict[str, float]:
    (row,) = rows(machine, device, metric)
    return {name: float(row[name if name == "events" else f"value.{name}"]) for name in _MEASURES}


@pytest.mark.parametrize("through", ["otlphttp", "awskinesis"])
def test_the_collectors_totals_are_those_that_it_was_sent(
    machine: Machine, tmp_path: Path, through: str
) -> None:
    devices = [f"{through}-{number}" for number in range(3)]
    with collector(tmp_path, environment(machine), through=through) as agent:
        for device in devices:
            for first in (0, len(VALUES)):
                agent.export(gauge("temp", VALUES, first=first), host=device)
        agent.export(counter("hits", [10, 15, 15, 22]), host=through)
        await_all(lambda: events(machine, *devices, metric="temp"), 2 * len(VALUES) * len(devices))
        await_all(lambda: events(machine, through, metric="hits"), 3)
    for device in devices:
        assert totals(machine, device, "temp") == {
            "events": 2 * len(VALUES), "sum": 2 * sum(VALUES), "min": 0, "max": VALUES[-1], "last": VALUES[-1],
        }  # fmt: skip
    assert totals(machine, through, "hits") == {"events": 3, "sum": 12, "min": 0, "max": 7, "last": 7}


@pytest.mark.parametrize(("page", "plugin"), [("sending.md", "influxdb_v2"), ("formats.md", "kinesis")])
def test_telegrafs_totals_are_those_that_it_was_sent(
    machine: Machine, tmp_path: Path, page: str, plugin: str
) -> None:
    output = output_of(page, plugin).replace('"telemetry"', f'"{machine.home.info().stream}"')
    with telegraf(tmp_path, environment(machine), output) as agent:
        agent.write(lines_of(plugin, 2_000))
        await_all(lambda: min(events(machine, plugin, metric=each) for each in "tn"), 2_000)
    last = 1_999
    assert totals(machine, plugin, "n") == {
        "events": 2_000, "sum": 2_000 * last / 2, "min": 0, "max": last, "last": last,
    }  # fmt: skip
    assert totals(machine, plugin, "t")["sum"] == 500 * last / 2


def test_what_a_host_measures_of_itself_is_counted_as_a_copy_of_it_says(
    machine: Machine, tmp_path: Path
) -> None:
    at_once = {"sending_queue": {"enabled": False}}  # when it has ended, both have the same
    with copying() as (url, heard):
        copy = {"metrics_endpoint": url, "encoding": "json", "compression": "none", **at_once}
        others = {
            "receivers": {"hostmetrics": {"collection_interval": "500ms"}},
            "exporters": {"awskinesis": at_once, "otlphttp/copy": copy},
            "service": {
                "pipelines": {
                    "metrics": {"receivers": ["hostmetrics"], "exporters": ["awskinesis", "otlphttp/copy"]}
                }
            },
        }
        names = {**environment(machine), "HOSTNAME": "me"}
        with collector(tmp_path, names, through="awskinesis", others=others):
            await_all(lambda: len(heard), 4)
    machine.run("drain", "--seconds", "200")
    wanted = points(heard)
    assert {"system.cpu.load_average.1m", "system.cpu.time", "system.memory.utilization"} <= wanted.keys()
    for name, (count, total) in wanted.items():
        found = rows(machine, "me", name)
        assert (sum(each["events"] for each in found), sum(each["value.sum"] for each in found)) == (
            count,
            total,
        )


def points(heard: Sequence[bytes]) -> dict[str, tuple[int, Decimal]]:
    """Return how many points were copied, and their sum, by metric."""
    found: dict[str, tuple[int, Decimal]] = {}
    metrics = (
        metric
        for body in heard
        for resource in json.loads(body)["resourceMetrics"]
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
    )
    for metric in metrics:
        held = metric.get("gauge") or metric["sum"]
        assert held.get("aggregationTemporality", 1) == 1, metric[
            "name"
        ]  # of what the guide shows nothing is refused
        for point in held["dataPoints"]:
            count, total = found.get(metric["name"], (0, Decimal()))
            value = point["asInt"] if "asInt" in point else repr(point["asDouble"])
            found[metric["name"]] = count + 1, total + round(Decimal(value), 9)  # as a measure has it
    return found


@contextmanager
def copying() -> Iterator[tuple[str, list[bytes]]]:
    """Take whatever is posted."""
    heard = list[bytes]()

    class Copy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with listening(Copy) as url:
        yield url, heard
