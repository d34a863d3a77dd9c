"""The whole pipeline on this machine: real processes, real data where it is at hand."""

import calendar
import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.local.stack.home import is_alive
from support.load import Load
from support.machine import DECOYS, Machine, running, victims
from support.paths import ROOT

pytestmark = pytest.mark.local

DATA = Path(os.environ.get("STREAMGAGE_DATA", ROOT.parent / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the recorded data is not at {DATA} (STREAMGAGE_DATA)"
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("stack"))
    machine.up()
    yield machine
    machine.stop()


TELEMETRY = sorted((DATA / "telemetry").glob("*.csv")) if DATA.is_dir() else []
ACCESS_LOG = DATA / "clickstream" / "apache_combined.log"


def seconds(text: str, form: str) -> int:
    return calendar.timegm(time.strptime(text, form))


def tally_csv(path: Path, window_s: int) -> dict[int, tuple[int, Decimal, Decimal, Decimal]]:
    """Count, sum, min and max of each window of a file, by nothing that the project computes with."""
    windows: dict[int, list[Decimal]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            value = Decimal(row["value"]).quantize(Decimal("1e-9"), rounding=ROUND_HALF_EVEN)
            windows[seconds(row["timestamp"], "%Y-%m-%d %H:%M:%S") // window_s * window_s].append(value)
    return {
        start: (len(each), sum(each, Decimal(0)), min(each), max(each)) for start, each in windows.items()
    }


def answered(rows: list[dict[str, Any]]) -> dict[int, tuple[int, Decimal, Decimal, Decimal]]:
    return {
        seconds(row["window_start"], "%Y-%m-%dT%H:%M:%SZ"): (
            row["value.count"], *(Decimal(row[f"value.{name}"]) for name in ("sum", "min", "max")),
        )
        for row in rows
    }  # fmt: skip


def test_folders_of_a_persons_own_that_bear_our_names_break_nothing(machine: Machine) -> None:
    """The stack runs where they stand, and so does each command, here as a person has it: the script on the path."""
    assert {each.name for each in machine.folder.iterdir() if each.is_dir()} >= set(DECOYS)
    for command in (["check", "--pipeline", str(ROOT / "pipeline.toml")], ["status"]):
        done = subprocess.run(
            [Path(sys.executable).with_name("streamgage"), *command],
            cwd=machine.folder, env=machine.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@needs_data
@pytest.mark.parametrize("files", [2, pytest.param(11, marks=pytest.mark.slow)])
def test_every_window_of_every_recorded_file_is_what_a_few_line_script_computes(
    machine: Machine, files: int
) -> None:
    """Each of their readings is a row of its own in the table, so all eleven take a minute."""
    assert len(TELEMETRY) == 11
    for path in TELEMETRY[:files]:
        done = machine.send(
            "csv", str(path), "--source", "reading", "--set", f"device_id={path.stem}-{files}", "--set", "metric=recorded",
            "--map", "ts=timestamp", "--map", "value=value", "--as-is",
        )  # fmt: skip
        assert "quarantined 0" in done.stderr + done.stdout
    machine.run("drain", "--seconds", "280")
    for path in TELEMETRY[:files]:
        for label, window_s in (("1m", 60), ("1h", 3600), ("1d", 86400)):
            rows = machine.query(
                "device_metrics", f"device_id={path.stem}-{files}", "metric=recorded", "--window", label
            )
            assert answered(rows) == tally_csv(path, window_s), (path.stem, label)


@needs_data
def test_a_range_is_answered_by_the_windows_that_overlap_it(machine: Machine) -> None:
    path = DATA / "telemetry" / "ambient_temperature_system_failure.csv"
    machine.send(
        "csv", str(path), "--source", "reading", "--set", "device_id=ranged", "--set", "metric=recorded",
        "--map", "ts=timestamp", "--map", "value=value", "--as-is",
    )  # fmt: skip
    machine.run("drain")
    rows = machine.query(
        "device_metrics", "device_id=ranged", "metric=recorded", "--window", "1d",
        "--from", "2013-12-05T12:00:00Z", "--to", "2014-02-01",
    )  # fmt: skip
    first, last = seconds("2013-12-05", "%Y-%m-%d"), seconds("2014-02-01", "%Y-%m-%d")
    assert answered(rows) == {
        start: each for start, each in tally_csv(path, 86400).items() if first <= start < last
    }
    assert len(rows) > 50


@needs_data
def test_all_ten_thousand_lines_of_an_access_log_are_counted_or_quarantined(machine: Machine) -> None:
    done = machine.send("access-log", str(ACCESS_LOG))
    imported, quarantined = re.search(
        r"imported ([\d,]+), quarantined ([\d,]+)", done.stdout + done.stderr
    ).groups()  # type: ignore[union-attr]  # it says so
    assert int(imported.replace(",", "")) + int(quarantined) == 10_000
    machine.run("drain")
    views: Counter[tuple[str, int]] = Counter()
    for line in ACCESS_LOG.read_text().splitlines():
        match = re.match(r'\S+ \S+ \S+ \[([^]]+) \+0000\] "\S+ ([^ ?]*)\S* [^"]*" .*"$', line)
        if match:
            views[match[2], seconds(match[1], "%d/%b/%Y:%H:%M:%S") // 3600 * 3600] += 1
    assert views.total() == int(imported.replace(",", ""))
    for page in [page for page, _ in Counter(page for page, _ in views.elements()).most_common(25)] + [
        "/robots.txt"
    ]:
        rows = machine.query("page_views", f"page={page}", "--window", "1h")
        told = {seconds(row["window_start"], "%Y-%m-%dT%H:%M:%SZ"): row["events"] for row in rows}
        assert told == {start: count for (each, start), count in views.items() if each == page}


def test_down_keeps_stream_and_tables_and_leaves_no_process(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    events = "".join(
        json.dumps({"device_id": "d", "metric": "m", "ts": 1_700_000_000_000 + n, "value": n}) + "\n"
        for n in range(100)
    )
    try:
        machine.up()
        first = machine.pids()
        machine.run(
            "send",
            "ndjson",
            "-",
            "--source",
            "reading",
            "--pipeline",
            str(ROOT / "pipeline.toml"),
            stdin=events,
        )
        machine.run("drain")
        machine.run("down")
        assert not [pid for pid in first if is_alive(pid)]
        refused = machine.run("query", "device_metrics", "device_id=d", "metric=m", check=False)
        assert refused.returncode == 2
        assert "streamgage up" in refused.stderr
        machine.up()
        machine.run(
            "send",
            "ndjson",
            "-",
            "--source",
            "reading",
            "--pipeline",
            str(ROOT / "pipeline.toml"),
            stdin=events,
        )
        machine.run("drain")
        (row,) = machine.query("device_metrics", "device_id=d", "metric=m", "--window", "1d")
        assert (row["events"], row["value.sum"]) == (200, 9900)
        second = machine.pids()
    finally:
        machine.stop()
    assert not [pid for pid in second if is_alive(pid)]


def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.up()
    pids = machine.pids()
    os.kill(machine.home.info().pids["supervisor"], signal.SIGINT)
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if is_alive(pid)]
    assert not machine.home.info_file.exists()


def test_a_supervisor_that_is_killed_takes_its_processes_with_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.up()
    pids = machine.pids()
    os.kill(machine.home.info().pids["supervisor"], signal.SIGKILL)
    machine.run("down")
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if is_alive(pid)]


def test_a_taken_port_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = Machine(tmp_path).run(
            "up",
            "--port",
            str(port),
            "--kinesis-port",
            "0",
            "--pipeline",
            str(ROOT / "pipeline.toml"),
            check=False,
        )
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
    assert "--port 0" in done.stderr


def test_a_second_stack_in_one_home_is_refused(machine: Machine) -> None:
    done = machine.run(
        "up", "--port", "0", "--kinesis-port", "0", "--pipeline", str(ROOT / "pipeline.toml"), check=False
    )
    assert done.returncode == 2
    assert "is running in" in done.stderr


def test_the_demo_compares_every_total(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    done = machine.run(
        "demo",
        "--readings",
        "8000",
        "--devices",
        "40",
        "--clicks",
        "2000",
        "--pipeline",
        str(ROOT / "pipeline.toml"),
    )
    assert "exact: all" in done.stdout
    assert "10,000 events" in done.stdout


@pytest.mark.slow
def test_kills_of_sandboxes_and_mapping_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    """SIGKILL by pid: sandboxes in mid-batch and the event source mapping. The bounded share is in test_faults.py."""
    pids: list[int] = []
    with (
        running(tmp_path, "--param", "BatchSize=20") as machine,
        Load(machine, events=12_000, rate=12_000) as load,
    ):
        for victim in ("sandbox", "mapping", "sandbox", "sandbox", "mapping", "sandbox", "mapping"):
            for pid in victims(machine, victim):
                os.kill(pid, signal.SIGKILL)
                pids.append(pid)
        assert load.finish() == []
    assert len(pids) >= 7
    assert not [pid for pid in pids if is_alive(pid)]
