"""Where a shard stands still, why, since when, and what comes next: values, and the line that tells them.

The mapping says what it is about to do (``ShardMapping.standing``), the status board why and since when; ``status``,
``drain``, ``--watch`` and the metrics tell the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

SILENT_MS = 5_000
"""The mapping writes its status once a second: after so long it is gone, or stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A batch that failed and blocks its lane. ``sequence_number`` and ``arrival_ms`` are of its first record.

    ``failures`` counts invocations of this batch as it is now cut; after ``max_retries`` more than one it is given up, -1:
    never. ``next_ms``: when it is invoked again, None: it is being invoked, or, where *given_up*, delivered. *splits*: it
    is halved if it fails as a whole. ``expires_ms``: when MaximumRecordAgeInSeconds gives it up; None: never.
    """

    sequence_number: int
    records: int
    arrival_ms: int
    failures: int
    max_retries: int
    next_ms: int | None
    splits: bool
    given_up: bool
    expires_ms: int | None
    destination: str | None

    def document(self, *, since_ms: int, error: str) -> dict[str, Any]:
        """Return it for the status file: with why, and since when the shard stands."""
        known = {**asdict(self), "sequence_number": str(self.sequence_number)}
        return {**known, "since_ms": since_ms, "error": error}


def lines(status: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    """Yield a line for all that stands still, by a mapping's *status*; none where everything goes on."""
    silent_ms = now_ms - status["as_of_ms"] if status else 0
    if silent_ms > SILENT_MS and status["state"] == "running":
        yield f"the mapping has said nothing for {_span(silent_ms / 1000)}: nothing is applied while it is gone"
    for shard_id, shard in sorted(status.get("shards", {}).items()):
        if shard.get("standing"):
            yield f"{shard_id} {told(shard['standing'], now_ms)}"
        elif shard.get("waits_for"):
            yield f"{shard_id} waits until {' and '.join(shard['waits_for'])} is done: parents come first"
    for trouble in status.get("troubles", ()):
        since_s = max(now_ms - trouble["since_ms"], 0) / 1000
        yield f"since {_time(trouble['since_ms'])} ({_span(since_s)}), tried again: {trouble['message'].splitlines()[0][:300]}"


def told(standing: Mapping[str, Any], now_ms: int) -> str:
    """Return one line: where, since when, why, what next, until when."""
    since_s = max(now_ms - standing["since_ms"], 0) / 1000
    where = f"stands at {standing['sequence_number']} since {_time(standing['since_ms'])} ({_span(since_s)})"
    why = standing["error"].splitlines()[0][:300] if standing["error"] else "no reason was given"
    return "; ".join([f"{where}: {why}", *_next(standing, now_ms)])


def _next(standing: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    to = standing["destination"] or "nowhere, there is no on-failure destination"
    if standing["given_up"]:
        yield f"{_records(standing['records'])} given up, being sent to {to}"
        return
    retry = max(standing["failures"], 1)
    of = "" if standing["max_retries"] < 0 else f" of {standing['max_retries']:,}"
    at = standing["next_ms"]
    when = "runs now" if at is None else "is due" if at <= now_ms else f"at {_time(at)}"
    yield f"retry {retry:,}{of} of {_records(standing['records'])} {when}"
    if standing["splits"]:
        yield "fails it again as a whole, it is split"
    elif standing["max_retries"] >= 0:
        yield f"after the last it goes to {to}"
    if standing["expires_ms"] is not None:
        yield f"at {_time(standing['expires_ms'])} it is too old (MaximumRecordAgeInSeconds) and goes to {to}"


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
