"""What the local stack measures, under the names that Prometheus gives it. Pure: from what was read to families.

A metric ``WriteConflicts`` of processors/aggregate/report.py is the counter ``streamgage_write_conflicts_total``; the poison codes
are one counter by ``code``; ``Behind``, in milliseconds, is the summary ``streamgage_behind_seconds``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.local.metrics.text import Family, Sample, gauge
from processors.aggregate.report import METRICS, SERVICE

_COUNTERS = {  # of the mapping's status file
    "invocations": "Invocations of the function, cold and warm.",
    "errors": "Invocations that failed: raised, timed out, crashed, or could not be started.",
    "partial_failures": "Batches of which the function asked for a part again.",
    "bisects": "Batches that failed as a whole and were handed over in halves.",
    "retries": "Batches that were handed over once more as they were.",
    "records_read": "Kinesis records read from the stream.",
    "records_filtered": "Kinesis records that FilterCriteria kept from the function.",
    "records_invoked": "Kinesis records handed to the function, redelivered ones again.",
    "records_discarded": "Kinesis records that went to the on-failure destination.",
    "cold_starts": "Invocations in a sandbox that was new.",
}
_HELP = {
    "ColdStart": "Batches that were a sandbox's first.",
    "Behind": "How long ago the oldest record of each batch arrived, when the batch was applied.",
    "UserRecords": "Events read, quarantined ones too; what was dealt with before is not read again.",
    "RedeliveredRecords": "Kinesis records that were delivered again though they were dealt with.",
    "RepeatedRecords": "Kinesis records that a producer stored a second time; they count once.",
    "Poison": "Events quarantined for good: each once, when its batch is done.",
    "Writes": "Writes to the table, of items and of progress.",
    "WriteConflicts": "Writes made again because another writer had moved the fence.",
    "PartialFailures": "Batches of which a part is to be redelivered.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that one scrape has read. What could not be read is None or empty, and has no samples."""

    alive: Mapping[str, bool]  # process: is it
    emf: Mapping[str, float]
    batches: int
    status: Mapping[str, Any]
    applied_ms: Mapping[str, int] = field(default_factory=dict)  # open shard: applied up to this arrival time
    quarantine_depth: int | None = None
    failed_batches: int | None = None
    open_shards: int | None = None
    now_ms: int = 0


def families(reading: Reading) -> Iterator[Family]:
    """Yield the families of a scrape; names do not depend on what happened so far."""
    yield Family(
        "streamgage_process_up", "gauge", "1 while the process of the stack runs.",
        tuple(Sample(int(alive), {"process": name}) for name, alive in sorted(reading.alive.items())),
    )  # fmt: skip
    yield from _of_function(reading)
    yield from _of_mapping(reading)
    yield from _of_shards(reading)
    for name, text, value in (
        ("streamgage_quarantine_messages", "Messages in the quarantine queue.", reading.quarantine_depth),
        ("streamgage_failed_batches", "Objects in the bucket of failed batches.", reading.failed_batches),
        ("streamgage_stream_open_shards", "Shards that take records.", reading.open_shards),
    ):
        if value is not None:
            yield gauge(name, text, value)


def name_of(metric: str) -> str:
    """Return ``streamgage_write_conflicts_total`` of ``WriteConflicts``."""
    return f"streamgage_{_snake(metric)}_total"


def code_of(metric: str) -> str | None:
    """Return ``bad_value`` of ``PoisonBadValue``; None of a metric that is not of one code."""
    return (
        _snake(metric.removeprefix("Poison")) if metric.startswith("Poison") and metric != "Poison" else None
    )


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _of_function(reading: Reading) -> Iterator[Family]:
    labels = {"service": SERVICE}
    yield Family(
        "streamgage_batches_total", "counter", "Batches that the function reported.", (Sample(reading.batches, labels),)
    )  # fmt: skip
    for metric in METRICS:
        if metric == "Behind":
            behind_s = reading.emf.get(metric, 0) / 1000
            yield Family(
                "streamgage_behind_seconds", "summary", _HELP[metric],
                (Sample(behind_s, labels, "_sum"), Sample(reading.batches, labels, "_count")),
            )  # fmt: skip
        elif code_of(metric) is None:
            sample = Sample(reading.emf.get(metric, 0), labels)
            yield Family(name_of(metric), "counter", _HELP.get(metric, metric), (sample,))
    codes = {code: reading.emf.get(metric, 0) for metric in METRICS if (code := code_of(metric))}
    yield Family(
        "streamgage_poison_by_code_total", "counter", "Events quarantined, by the code of what is wrong with them.",
        tuple(Sample(count, {**labels, "code": code}) for code, count in codes.items()),
    )  # fmt: skip


def _of_mapping(reading: Reading) -> Iterator[Family]:
    counters = reading.status.get("counters", {})
    for name, text in _COUNTERS.items():
        samples = (Sample(counters[name]),) if name in counters else ()
        yield Family(f"streamgage_mapping_{name}_total", "counter", text, samples)
    if reading.status:
        yield gauge("streamgage_sandboxes", "Sandboxes, idle or busy.", len(reading.status["sandboxes"]))
        yield Family(
            "streamgage_function_version_info", "gauge", "1, with the version that runs.",
            (Sample(1, {"version": reading.status["version"]}),),
        )  # fmt: skip
        yield gauge(
            "streamgage_mapping_start_time_seconds", "When the mapping started.", reading.status["started_ms"] / 1000
        )  # fmt: skip


def _of_shards(reading: Reading) -> Iterator[Family]:
    shards = sorted(reading.status.get("shards", {}).items())

    def family(name: str, text: str, values: Mapping[str, float | None]) -> Family:
        samples = tuple(Sample(value, {"shard": key}) for key, value in values.items() if value is not None)
        kind = "counter" if name.endswith("_total") else "gauge"
        return Family(f"streamgage_shard_{name}", kind, text, samples)  # type: ignore[arg-type]  # one of the two

    def seconds(name: str) -> dict[str, float | None]:
        return {key: None if shard[name] is None else shard[name] / 1000 for key, shard in shards}

    yield family(
        "records_read_total", "Kinesis records read.", {key: each["records_read"] for key, each in shards}
    )
    yield family(
        "undone_records", "Kinesis records read and not done.", {key: each["undone"] for key, each in shards}
    )
    yield family(
        "finished", "1 when the shard was read to its end.", {key: each["finished"] for key, each in shards}
    )
    yield family("behind_seconds", "How far the reader is behind the tip of the shard.", seconds("behind_ms"))
    yield family(
        "iterator_age_seconds",
        "Age of the last record of the last batch when it was done.",
        seconds("iterator_age_ms"),
    )
    yield family(
        "lag_seconds",
        "Age of the oldest record that is not done: it grows while the shard stands still.",
        {key: each["lag_ms"] / 1000 if each.get("lag_ms") is not None else None for key, each in shards},
    )
    yield family(
        "standing_seconds",
        "How long the shard has been standing at one failing batch; 0 while it goes on.",
        {
            key: max(reading.now_ms - each["standing"]["since_ms"], 0) / 1000 if each.get("standing") else 0
            for key, each in shards
        },
    )
    yield family(
        "freshness_seconds", "How long ago arrived what is applied: all before it is, too.",
        {key: max(reading.now_ms - at_ms, 0) / 1000 for key, at_ms in sorted(reading.applied_ms.items()) if at_ms},
    )  # fmt: skip
