"""The function's log line and metrics; the metrics against Powertools' own output."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from processors.aggregate.batch import BatchReport
from processors.aggregate.report import METRICS, NAMESPACE, SERVICE, Reporter
from processors.sink.fenced import Applied
from streamgage.errors import POISON_CODES

NOW_MS = 1_800_000_000_007
REPORT = BatchReport(
    shard_id="shardId-000000000001",
    first_sequence_number=10**55,
    last_sequence_number=10**55 + 4,
    kinesis_records=5,
    user_records=120,
    redelivered_records=2,
    repeated_records=1,
    poison=Counter(),
    applied=Applied(items=30, writes=28, conflicts=3, already_applied=2),
    progress=Applied(writes=1),
    failed_from=None,
    behind_ms=1_234,
)
FAILED = replace(
    REPORT,
    failed_from=10**55 + 2,
    error="throttled",
    poison=Counter({code: n for n, code in enumerate(POISON_CODES, 1)}),
)


class Page:
    """Takes what is written; knows the reporter that writes it."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.cpu_ns = 0
        self.reporter = Reporter(write=self.written.append, now_ms=lambda: NOW_MS, cpu_ns=lambda: self.cpu_ns)

    def tell(self, report: BatchReport) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the log line, and the blob of metrics."""
        self.reporter(report)
        line, blob, rest = self.written.pop().split("\n")
        assert (rest, self.written) == ("", [])  # whole lines, in one write: nothing comes in between
        return json.loads(line), json.loads(blob)


def by_powertools(values: dict[str, float], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    metrics = Metrics(namespace=NAMESPACE, service=SERVICE)
    for name, value in values.items():
        metrics.add_metric(name, MetricUnit.Milliseconds if name == "Behind" else MetricUnit.Count, value)
    metrics.flush_metrics()
    blob: dict[str, Any] = json.loads(capsys.readouterr().out)
    return blob


@pytest.mark.parametrize("report", [REPORT, FAILED], ids=["applied", "in part"])
def test_the_metrics_are_what_powertools_would_write(
    report: BatchReport, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for the moment, and a number where Powertools has a list of one: the specification allows both."""
    _, ours = Page().tell(report)
    values = {name: ours[name] for name in METRICS if name in ours}
    theirs = by_powertools(values, capsys)
    for name in values:
        assert [ours.pop(name)] == theirs.pop(name)
    assert ours["_aws"].pop("Timestamp") == NOW_MS
    assert theirs["_aws"].pop("Timestamp") > NOW_MS - 10**12
    for blob in (ours, theirs):
        blob["_aws"]["CloudWatchMetrics"][0]["Metrics"].sort(key=lambda each: each["Name"])
    assert ours == theirs


def test_a_blob_names_just_the_metrics_that_it_holds() -> None:
    for report in (REPORT, FAILED):
        _, blob = Page().tell(report)
        (directive,) = blob["_aws"]["CloudWatchMetrics"]
        named = [each["Name"] for each in directive["Metrics"]]
        assert len(named) == len(set(named)) <= 100
        assert set(named) == blob.keys() - {"_aws", "service"}
        assert set(named) <= set(METRICS)


def test_every_metric_is_written_by_some_batch_and_every_code_of_poison_has_one() -> None:
    _, blob = Page().tell(FAILED)
    assert blob.keys() - {"_aws", "service"} == set(METRICS)
    per_code = sorted(value for name, value in blob.items() if name.startswith("Poison") and name != "Poison")
    assert per_code == list(range(1, len(POISON_CODES) + 1))
    assert blob["Poison"] == sum(per_code)
    named = {name.removeprefix("Poison").lower() for name in METRICS if name.startswith("Poison")} - {""}
    assert named == {code.replace("_", "") for code in POISON_CODES}


def test_the_values_are_the_reports() -> None:
    _, blob = Page().tell(REPORT)
    values = {name: blob[name] for name in METRICS if name in blob}
    assert values == {
        "ColdStart": 1,
        "Behind": 1_234,
        "UserRecords": 120,
        "RedeliveredRecords": 2,
        "RepeatedRecords": 1,
        "Poison": 0,
        "Writes": 29,
        "WriteConflicts": 3,
        "PartialFailures": 0,
    }


def test_the_line_tells_which_records_of_which_invocation() -> None:
    page = Page()
    page.reporter.begin("8f507cfc")
    page.cpu_ns = 12_900_000
    line, _ = page.tell(REPORT)
    assert line == {
        "level": "INFO",
        "message": "batch applied",
        "timestamp": "2027-01-15T08:00:00.007Z",
        "service": "aggregate",
        "function_request_id": "8f507cfc",
        "cold_start": True,
        "shard_id": "shardId-000000000001",
        "first_sequence_number": str(10**55),
        "last_sequence_number": str(10**55 + 4),
        "kinesis_records": 5,
        "user_records": 120,
        "redelivered_records": 2,
        "repeated_records": 1,
        "poison": {},
        "items": 30,
        "writes": 28,
        "progress_writes": 1,
        "conflicts": 3,
        "already_applied": 2,
        "behind_ms": 1_234,
        "cpu_ms": 12,
    }


def test_a_part_that_failed_is_a_warning_with_where_and_why() -> None:
    line, blob = Page().tell(FAILED)
    assert (line["level"], line["message"]) == ("WARNING", "batch applied in part")
    assert (line["failed_from"], line["error"]) == (str(10**55 + 2), "throttled")
    assert blob["PartialFailures"] == 1


def test_only_the_first_batch_of_a_sandbox_is_its_cold_start_and_cpu_is_counted_once() -> None:
    page = Page()
    page.cpu_ns = 5_000_000
    first = page.tell(REPORT)
    page.cpu_ns = 8_000_000
    second = page.tell(REPORT)
    assert [(line["cold_start"], blob["ColdStart"], line["cpu_ms"]) for line, blob in (first, second)] == [
        (True, 1, 5),
        (False, 0, 3),
    ]


def test_without_being_told_where_it_writes_to_the_standard_output_of_the_moment(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Reporter()(REPORT)
    assert [json.loads(each)["service"] for each in capsys.readouterr().out.splitlines()] == [
        SERVICE,
        SERVICE,
    ]
