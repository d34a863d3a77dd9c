"""What the aggregate function tells of a batch: one structured log line, and one line of metrics (EMF).

Powertools writes the same lines, and takes a third of a cold start to import: docs/adr/0011. A test holds the metrics
against its output.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
(checked 2026-11-21).
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, get_args

from processors.aggregate.batch import BatchReport
from streamgage.errors import PoisonCode

NAMESPACE = "streamgage"
SERVICE = "aggregate"  # where there is no function's name

Metric = Literal[
    "ColdStart",  # 1 with a sandbox's first batch, else 0: the sum counts cold starts, the average is their share
    "Behind",  # freshness: how long ago the oldest record of the batch arrived in the stream
    "UserRecords",  # events read, of records that were not dealt with before
    "RedeliveredRecords",  # Kinesis records that Lambda delivered again though they were dealt with: its retries
    "RepeatedRecords",  # duplicates: Kinesis records that a producer stored a second time
    "Poison",  # quarantined for good, of any code: what comes again is counted then
    "PoisonBadKplFraming",  # of one code; these are there only where they are not 0
    "PoisonUnknownFormat",
    "PoisonUnknownSchema",
    "PoisonUndecodable",
    "PoisonBadValue",
    "PoisonBadTime",
    "PoisonFuture",
    "PoisonLate",  # later than max_lateness; a late event within it corrects its window, and counts as any other
    "PoisonBadKey",
    "Writes",  # of items, and of progress
    "WriteConflicts",  # another writer had moved a fence; written again on top of it
    "PartialFailures",  # 1 with a batch of which a part is to be redelivered, else 0
]
METRICS: tuple[str, ...] = get_args(Metric)
_OF_CODE: dict[PoisonCode, Metric] = {
    "bad_kpl_framing": "PoisonBadKplFraming",
    "unknown_format": "PoisonUnknownFormat",
    "unknown_schema": "PoisonUnknownSchema",
    "undecodable": "PoisonUndecodable",
    "bad_value": "PoisonBadValue",
    "bad_time": "PoisonBadTime",
    "future": "PoisonFuture",
    "late": "PoisonLate",
    "bad_key": "PoisonBadKey",
}


def _to_stdout(text: str) -> None:
    sys.stdout.write(text)  # asked for each time: the runtime client puts its own stream there


class Reporter:
    """Say what happened to each batch of one sandbox. *write* takes whole lines, both of a batch at once.

    *service*, the one dimension, is the function's name: two stacks of an account must not share an alarm.
    """

    def __init__(
        self,
        service: str = SERVICE,
        *,
        write: Callable[[str], object] = _to_stdout,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        cpu_ns: Callable[[], int] = time.process_time_ns,
    ) -> None:
        self._service, self._write, self._now_ms, self._cpu_ns = service, write, now_ms, cpu_ns
        self._used_ns = cpu_ns()
        self._cold = True
        self._request_id = ""

    def begin(self, request_id: str) -> None:
        """Note which invocation the next report is of."""
        self._request_id = request_id

    def __call__(self, report: BatchReport) -> None:
        """Report one batch. What of CPU lies before the first one, building the function, is counted with it."""
        now_ms, cold, self._cold = self._now_ms(), self._cold, False
        before_ns, self._used_ns = self._used_ns, self._cpu_ns()
        line = {
            "level": "WARNING" if report.error else "INFO",
            "message": "batch applied in part" if report.error else "batch applied",
            "timestamp": _iso(now_ms),
            "service": self._service,
            "function_request_id": self._request_id,
            "cold_start": cold,
            **_facts(report),
            "cpu_ms": (self._used_ns - before_ns) // 1_000_000,
        }
        self._write(f"{_json(line)}\n{_json(_blob(self._service, _metrics(report, cold=cold), now_ms))}\n")


def _facts(report: BatchReport) -> dict[str, Any]:
    applied = report.applied
    facts: dict[str, Any] = {
        "shard_id": report.shard_id,
        "first_sequence_number": str(report.first_sequence_number),
        "last_sequence_number": str(report.last_sequence_number),
        "kinesis_records": report.kinesis_records,
        "user_records": report.user_records,
        "redelivered_records": report.redelivered_records,
        "repeated_records": report.repeated_records,
        "poison": dict(report.poison),
        "items": applied.items,
        "writes": applied.writes,
        "progress_writes": report.progress.writes,
        "conflicts": applied.conflicts,
        "already_applied": applied.already_applied,
        "behind_ms": report.behind_ms,
    }
    if report.failed_from is not None:
        facts["failed_from"] = str(report.failed_from)
    if report.error:
        facts["error"] = report.error
    return facts


def _metrics(report: BatchReport, *, cold: bool) -> Iterator[tuple[Metric, int]]:
    yield "ColdStart", int(cold)
    yield "Behind", report.behind_ms
    yield "UserRecords", report.user_records
    yield "RedeliveredRecords", report.redelivered_records
    yield "RepeatedRecords", report.repeated_records
    yield "Poison", report.poison.total()
    for code, metric in _OF_CODE.items():
        if report.poison[code]:
            yield metric, report.poison[code]
    yield "Writes", report.applied.writes + report.progress.writes
    yield "WriteConflicts", report.applied.conflicts
    yield "PartialFailures", int(report.failed_from is not None)


def _blob(service: str, values: Iterable[tuple[Metric, int]], now_ms: int) -> dict[str, Any]:
    """Return *values* as an EMF document.

    "The root node MUST contain all the target members defined by the references in the MetricDirective": the dimension
    and each metric.
    """
    named: dict[str, int] = dict(values)
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [["service"]],
        "Metrics": [
            {"Name": name, "Unit": "Milliseconds" if name == "Behind" else "Count"} for name in named
        ],
    }
    return {
        "_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [directive]},
        "service": service,
        **named,
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _iso(now_ms: int) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now_ms // 1000))}.{now_ms % 1000:03d}Z"
