"""What the dashboard shows, as values: one frame of ``streamgage status --watch``. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.mapping.standing import lines
from infra.local.metrics.families import Reading, code_of
from processors.aggregate.report import METRICS

MINUTE_S = 60
_RATE_S = 10  # a rate is the mean of so many seconds
_SETTLED_S = 1  # the second that is not over yet is not shown
_TAIL = 10  # digits of a sequence number; the ones before change once in a blue moon
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class ShardLine:
    """One shard. ``undone`` Kinesis records are read and not done; times are None where they are not known."""

    shard_id: str
    checkpoint: str
    undone: int
    behind_ms: int | None
    freshness_ms: int | None
    finished: bool
    caught_up: bool
    stands: bool = False


@dataclass(frozen=True, slots=True)
class Rate:
    """Of the last seconds, a second; and each second of the last minute, oldest first."""

    name: str
    per_s: float
    seconds: tuple[float, ...]

    @property
    def sparkline(self) -> str:
        """The minute as a line of bars: the highest is the most there was, a space is nothing at all."""
        most = max(self.seconds, default=0)
        return "".join(
            _BARS[min(int(each / most * len(_BARS)), len(_BARS) - 1)] if each else " "
            for each in self.seconds
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """All of one frame."""

    stream: str
    table: str
    version: str
    processes: Mapping[str, bool]
    sandboxes: int
    shards: tuple[ShardLine, ...]
    finished_shards: int
    rates: tuple[Rate, ...]
    freshness_ms: int | None
    totals: Mapping[str, int]
    poison: Mapping[str, int]
    quarantine_depth: int | None
    failed_batches: int | None
    last_error: str
    mapping_silent_ms: int | None
    standing: tuple[str, ...] = ()


def frame_of(
    reading: Reading, by_second: Mapping[int, Mapping[str, float]], stack: Mapping[str, Any]
) -> Frame:
    """Return the frame of a reading, of what the log says by second, and of stack.json."""
    status, now_ms = reading.status, reading.now_ms
    known = [at_ms for at_ms in reading.applied_ms.values() if at_ms]
    shards = status.get("shards", {})
    counters = status.get("counters", {})
    poison = {
        code: int(reading.emf[metric])
        for metric in METRICS
        if (code := code_of(metric)) and reading.emf.get(metric)
    }
    return Frame(
        stream=stack.get("stream", ""),
        table=stack.get("table", ""),
        version=status.get("version", ""),
        processes=reading.alive,
        sandboxes=len(status.get("sandboxes", [])),
        shards=tuple(
            _shard(shard_id, each, reading) for shard_id, each in sorted(shards.items()) if not each["finished"]
        ),
        finished_shards=sum(each["finished"] for each in shards.values()),
        rates=tuple(
            _rate(name, metric, by_second, now_ms // 1000)
            for name, metric in (("events/s", "UserRecords"), ("writes/s", "Writes"), ("batches/s", "batches"))
        ),
        freshness_ms=max(now_ms - min(known), 0) if known and len(known) == len(reading.applied_ms) else None,
        totals={
            "events": int(reading.emf.get("UserRecords", 0)),
            "conflicts": int(reading.emf.get("WriteConflicts", 0)),
            "redelivered": int(reading.emf.get("RedeliveredRecords", 0)),
            "repeats dropped": int(reading.emf.get("RepeatedRecords", 0)),
            **{
                name.replace("_", " "): counters.get(name, 0)
                for name in ("errors", "partial_failures", "retries", "bisects", "records_discarded")
            },
        },
        poison=poison,
        quarantine_depth=reading.quarantine_depth,
        failed_batches=reading.failed_batches,
        last_error=(status.get("last_error") or {}).get("message", ""),
        mapping_silent_ms=max(now_ms - status["as_of_ms"], 0) if status else None,
        standing=tuple(lines({**status, "as_of_ms": now_ms}, now_ms)) if status else (),
    )  # fmt: skip


def _shard(shard_id: str, shard: Mapping[str, Any], reading: Reading) -> ShardLine:
    applied_ms = reading.applied_ms.get(shard_id)
    return ShardLine(
        shard_id=shard_id,
        checkpoint=f"…{shard['checkpoint'][-_TAIL:]}" if shard["checkpoint"] else "-",
        undone=shard["undone"],
        behind_ms=shard.get("lag_ms", shard["behind_ms"]),
        freshness_ms=max(reading.now_ms - applied_ms, 0) if applied_ms else None,
        finished=shard["finished"],
        caught_up=shard["caught_up"],
        stands=bool(shard.get("standing")),
    )


def _rate(name: str, metric: str, by_second: Mapping[int, Mapping[str, float]], now_s: int) -> Rate:
    last = now_s - _SETTLED_S
    seconds = tuple(
        float(by_second.get(second, Counter()).get(metric, 0))
        for second in range(last - MINUTE_S + 1, last + 1)
    )
    return Rate(name, sum(seconds[-_RATE_S:]) / _RATE_S, seconds)
