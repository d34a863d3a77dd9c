"""What a mapping process tells about itself: a small JSON file, replaced about once a second.

``drained_to_ms`` is what a drain waits for: everything that was put before that instant is done. It is the earliest
of: when the newest complete list of shards was asked for; and, for each shard that is not finished, when that
GetRecords was asked for that found nothing more (no records, MillisBehindLatest 0) with nothing left undone. It is
null while any shard is not caught up. ``drained_to_steady_ms`` is the same by ``readers.steady_now_ms``: after a clock was set
back, an instant of before would be ahead of whatever is put now.

``iterator_age_ms`` of a shard is how old the last record of its last batch was when the batch was done; ``lag_ms`` how old
the oldest is that is not done, which grows while a shard stands. ``standing`` is where, why, since when, and what comes next
(``infra.local.mapping.standing``); ``waits_for`` are the parents that come first; ``applied`` the last record that the
function took. ``known_to_ms``: what arrived later may be in a shard that is not among ``shards``, for one was read to its end
since they were listed, and its children are not known; null where all are. ``troubles`` are requests that fail, each since when. ``retries`` are batches that were handed over once more
as they were, ``bisects`` those of which both halves were.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.function.outcome import Answered, NotInvoked, Outcome
from infra.local.function.pool import FunctionPool, Invoked
from infra.local.mapping.checkpoints import write_atomically
from infra.local.mapping.process_config import ProcessConfig
from infra.local.mapping.readers import Read
from infra.local.mapping.response import done_count
from infra.local.mapping.stalls import Stalls
from infra.local.mapping.stream import Discard, Invocation, ShardCheckpoint, StreamMapping

_BatchId = tuple[str, int, int]


@dataclass(slots=True)
class _Reading:
    behind_ms: int | None = None
    empty: bool = False
    started_ms: int = 0
    started_steady_ms: int = 0
    records: int = 0
    iterator_age_ms: int | None = None


class StatusBoard:
    """Collects the counters of a mapping process, and writes them down. Owned by the process's main thread."""

    def __init__(self, config: ProcessConfig, *, started_ms: int) -> None:
        self._config = config
        self._started_ms = started_ms
        self._readings: defaultdict[str, _Reading] = defaultdict(_Reading)
        self._counters = dict.fromkeys(
            (
                "invocations",
                "errors",
                "partial_failures",
                "bisects",
                "retries",
                "records_read",
                "records_filtered",
                "records_invoked",
                "records_discarded",
                "cold_starts",
            ),
            0,
        )
        self._stalls = Stalls(config.function.log_file)
        self._troubles: dict[str, dict[str, Any]] = {}
        self._whole: set[_BatchId] = set()  # failed as a whole, and will be handed over as they are
        self._refused: str | None = None
        self._last_error: dict[str, Any] | None = None
        self._was_caught_up = False
        self._ended_ms: dict[str, int] = {}  # when each shard was first seen to be read to its end
        self.state = "running"
        self.listed_ms: int | None = None
        self._listed_steady_ms = 0
        self.written_ms = 0

    def note_listed(self, started_ms: int, started_steady_ms: int = 0) -> None:
        """Take note of a complete answer of ListShards, which was asked for at *started_ms*."""
        self.listed_ms, self._listed_steady_ms = started_ms, started_steady_ms
        self._troubles.pop("ListShards", None)

    def note_read(self, read: Read, filtered: int = 0) -> None:
        """Take note of an answer of GetRecords, of which *filtered* records were held back by FilterCriteria."""
        self._troubles.pop(f"GetRecords {read.shard_id}", None)
        reading = self._readings[read.shard_id]
        reading.behind_ms, reading.empty, reading.started_ms = (
            read.behind_ms,
            not read.records,
            read.started_ms,
        )
        reading.started_steady_ms = read.started_steady_ms
        reading.records += len(read.records)
        self._counters["records_read"] += len(read.records)
        self._counters["records_filtered"] += filtered

    def note_invocation(self, invocation: Invocation, invoked: Invoked, now_ms: int) -> None:
        """Take note of an invocation's end."""
        last = invocation.records[-1]
        self._readings[invocation.shard_id].iterator_age_ms = max(now_ms - last.arrival_ms, 0)
        self._note_failure(invocation, invoked.outcome, now_ms)
        self._counters["invocations"] += 1
        self._counters["records_invoked"] += len(invocation.records)
        self._counters["cold_starts"] += invoked.init_ms is not None
        if not isinstance(invoked.outcome, Answered):
            self._counters["errors"] += 1
            self.note_error(invoked.outcome.message, now_ms)

    def _note_failure(self, invocation: Invocation, outcome: Outcome, now_ms: int) -> None:
        batch, size = _id_of(invocation), len(invocation.records)
        if batch in self._whole:
            self._whole.remove(batch)
            self._counters["retries"] += 1
        done = 0
        if isinstance(outcome, Answered):
            numbers = [record.sequence_number for record in invocation.records]
            done = done_count(
                outcome.payload, numbers, report_item_failures=self._config.mapping.report_item_failures
            )
        if done == size:
            return
        self._stalls.note(invocation.shard_id, invocation.records[done].sequence_number, outcome, now_ms)
        if done:
            self._counters["partial_failures"] += 1
        elif self._config.mapping.bisect and size > 1 and not isinstance(outcome, NotInvoked):
            self._counters["bisects"] += 1
        else:
            self._whole.add(batch)

    def note_update(self, refused: str | None, now_ms: int) -> None:
        """Take note that the function's version was shifted; or why it was not: *refused*."""
        self._refused = refused
        if refused is not None:
            self.note_error(f"the update was refused: {refused}", now_ms)
        self.written_ms = 0  # somebody waits for it

    def note_discard(self, discard: Discard) -> None:
        """Take note of a discard that was delivered."""
        self._whole.discard(_id_of(discard))
        self._counters["records_discarded"] += len(discard.records)
        for what in [each for each in self._troubles if each.startswith("on-failure")]:
            del self._troubles[what]

    def note_trouble(self, what: str, message: str, now_ms: int) -> None:
        """Take note that the request *what* failed, and is tried again."""
        since_ms = self._troubles.get(what, {}).get("since_ms", now_ms)
        self._troubles[what] = {"message": message[:2000], "since_ms": since_ms}
        self.note_error(message, now_ms)

    def note_saved(self) -> None:
        """Take note that the checkpoint is on the disk."""
        self._troubles.pop("checkpoint", None)

    def note_error(self, message: str, now_ms: int) -> None:
        """Keep *message* as the last error."""
        self._last_error = {"message": message[:2000], "at_ms": now_ms}

    def stale(self, mapping: StreamMapping) -> bool:
        """Return whether the shards have just all come to be caught up: someone may be waiting for that."""
        caught_up = self._drained_to_ms(mapping, mapping.checkpoints()) is not None
        changed, self._was_caught_up = caught_up and not self._was_caught_up, caught_up
        return changed

    def write(
        self,
        mapping: StreamMapping,
        checkpoints: Mapping[str, ShardCheckpoint],
        *,
        pool: FunctionPool,
        now_ms: int,
    ) -> None:
        """Replace the status file."""
        drained_to = self._drained_to_ms(mapping, checkpoints)
        document = {
            "state": self.state,
            "as_of_ms": now_ms,
            "started_ms": self._started_ms,
            "drained_to_ms": None if drained_to is None else drained_to[0],
            "drained_to_steady_ms": None if drained_to is None else drained_to[1],
            "listed_ms": self.listed_ms,
            "known_to_ms": self._known_to_ms(checkpoints, now_ms),
            "stream_arn": self._config.stream_arn,
            "function": self._config.function.name,
            "counters": self._counters,
            "shards": {
                shard_id: self._shard(mapping, shard_id, kept, now_ms)
                for shard_id, kept in checkpoints.items()
            },
            "sandboxes": pool.pids(),
            "version": pool.version,
            "draining": pool.draining(),
            "update_refused": self._refused,
            "troubles": list(self._troubles.values()),
            "last_error": self._last_error,
        }
        write_atomically(self._config.status_file, json.dumps(document, indent=1), durable=False)
        self.written_ms = now_ms

    def _shard(
        self, mapping: StreamMapping, shard_id: str, kept: ShardCheckpoint, now_ms: int
    ) -> dict[str, Any]:
        reading = self._readings[shard_id]
        oldest_ms = mapping.oldest_arrival_ms(shard_id)
        behind_ms = 0 if kept.finished else reading.behind_ms
        return {
            "checkpoint": None if kept.sequence is None else str(kept.sequence),
            "applied": None if kept.applied is None else str(kept.applied),
            "finished": kept.finished,
            "caught_up": kept.finished or self._caught_up(mapping, shard_id),
            "behind_ms": reading.behind_ms,
            "iterator_age_ms": reading.iterator_age_ms,
            "lag_ms": behind_ms if oldest_ms is None else max(now_ms - oldest_ms, 0),
            "standing": self._stalls.of(shard_id, mapping.standing(shard_id, now_ms)),
            "waits_for": mapping.waits_for(shard_id),
            "undone": mapping.undone(shard_id),
            "read_started_ms": reading.started_ms,
            "records_read": reading.records,
        }

    def _caught_up(self, mapping: StreamMapping, shard_id: str) -> bool:
        reading = self._readings[shard_id]
        return reading.behind_ms == 0 and reading.empty and mapping.undone(shard_id) == 0

    def _known_to_ms(self, checkpoints: Mapping[str, ShardCheckpoint], now_ms: int) -> int | None:
        self._ended_ms = {
            shard_id: self._ended_ms.get(shard_id, now_ms)
            for shard_id, kept in checkpoints.items()
            if kept.finished
        }
        listed_ms = self.listed_ms or 0
        return listed_ms if any(ended_ms >= listed_ms for ended_ms in self._ended_ms.values()) else None

    def _drained_to_ms(
        self, mapping: StreamMapping, checkpoints: Mapping[str, ShardCheckpoint]
    ) -> tuple[int, int] | None:
        """Return the instant by the time of day, and by the clock that nobody sets."""
        if self.listed_ms is None or not checkpoints:
            return None
        instants = [(self.listed_ms, self._listed_steady_ms)]
        for shard_id, kept in checkpoints.items():
            if kept.finished:
                continue
            if not self._caught_up(mapping, shard_id):
                return None
            reading = self._readings[shard_id]
            instants.append((reading.started_ms, reading.started_steady_ms))
        return min(ms for ms, _ in instants), min(steady_ms for _, steady_ms in instants)


def _id_of(work: Invocation | Discard) -> _BatchId:
    return work.shard_id, work.records[0].sequence_number, len(work.records)
