"""Recorded data through the whole pipeline: every answer is what a few lines compute from the file."""

import calendar
import csv
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest

from support.machine import Machine
from support.paths import ROOT

pytestmark = pytest.mark.local

DATA = Path(os.environ.get("STREAMGAGE_DATA", ROOT.parent / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the recorded data is not at {DATA} (STREAMGAGE_DATA)"
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("recorded"))
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
