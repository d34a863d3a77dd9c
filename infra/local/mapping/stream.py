"""An event source mapping over all shards of a stream: the decision, without I/O and without a clock.

The driver (``infra.local.mapping.process``, or a simulation) lists and reads shards, invokes the function, delivers discards
and keeps ``checkpoints`` on disk; everything that Lambda decides is decided here and in ``infra.local.mapping.shard``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from infra.local.function.outcome import Outcome
from infra.local.mapping.config import MappingConfig
from infra.local.mapping.shard import Discard, Invocation, ShardMapping, Work
from infra.local.mapping.standing import Standing
from streamgage.records import StreamRecord

__all__ = ["Discard", "Invocation", "ReadFrom", "ShardCheckpoint", "ShardInfo", "StreamMapping", "Work"]


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """A shard as ListShards shows it. The child of a merge has two parents, of a split one. *closed*: it ends."""

    shard_id: str
    parents: tuple[str, ...] = ()
    closed: bool = False


@dataclass(frozen=True, slots=True)
class ShardCheckpoint:
    """What must survive a restart. Everything up to ``sequence`` is done; ``finished`` shards have no more.

    Before the first sequence number, reading starts at ``since_ms``, or at the trim horizon where that is None.
    ``applied`` is the last record up to ``sequence`` that the function took: those behind it were discarded. A later start
    compares it with the tables.
    """

    sequence: int | None = None
    finished: bool = False
    since_ms: int | None = None
    applied: int | None = None


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """Where to read: after a sequence number, else from a time of arrival, else from the trim horizon."""

    after_sequence: int | None
    since_ms: int | None


class StreamMapping:
    """One event source mapping of one stream.

    *checkpoints* is what an earlier process kept, empty on the first start. Every method takes note of one event or
    answers one question; none waits. After any of them ``due`` may have something new.
    """

    def __init__(
        self,
        config: MappingConfig,
        *,
        stream_arn: str,
        checkpoints: Mapping[str, ShardCheckpoint] | None = None,
    ) -> None:
        self.config = config
        self._stream_arn = stream_arn
        self._checkpoints = dict(checkpoints or {})
        self._started = bool(self._checkpoints)
        self._parents: dict[str, tuple[str, ...]] = {}
        self._shards: dict[str, ShardMapping] = {}
        self._ids = count(1)
        self._owner: dict[int, str] = {}  # invocation or discard under way: its shard

    def update(self, listed: Sequence[ShardInfo], now_ms: int) -> None:
        """Take a complete answer of ListShards; an empty one is ignored.

        The starting position holds for the shards of the first answer ever; a shard that appears later is a child,
        and is read from its beginning. ``LATEST`` becomes the time of that first answer, so that a restart
        before the first record does not move it. A shard that is listed no more has expired: it ends.
        """
        if not listed:
            return
        first, self._started = not self._started, True
        for info in listed:
            self._parents[info.shard_id] = info.parents
            if info.shard_id not in self._checkpoints:
                self._checkpoints[info.shard_id] = self._start(info, now_ms) if first else ShardCheckpoint()
        present = {info.shard_id for info in listed}
        for shard_id in [shard_id for shard_id in self._checkpoints if shard_id not in present]:
            shard = self._shards.get(shard_id)
            if shard is not None and not shard.finished:
                shard.end_of_shard()
            else:
                del self._checkpoints[shard_id]
                self._shards.pop(shard_id, None)

    def readable(self) -> list[str]:
        """Return the shards to read now: not finished, and each of their parents is, or has expired.

        "Lambda processes records from a parent shard completely before it processes its child shards": done
        counts, not only read.
        """
        for shard_id, kept in self._checkpoints.items():
            if shard_id in self._shards or kept.finished or shard_id not in self._parents:
                continue
            if all(self._is_finished(parent) for parent in self._parents[shard_id]):
                self._shards[shard_id] = ShardMapping(
                    shard_id,
                    config=self.config,
                    stream_arn=self._stream_arn,
                    checkpoint=kept.sequence,
                    applied=kept.applied,
                    ids=self._ids,
                )
        return [shard_id for shard_id, shard in self._shards.items() if not shard.ended]

    def read_from(self, shard_id: str) -> ReadFrom:
        """Return where to (re)start reading a readable shard: after what was fed, else after its checkpoint."""
        return ReadFrom(self._shards[shard_id].last_fed, self._checkpoints[shard_id].since_ms)

    def wants_records(self, shard_id: str) -> bool:
        """Return whether the shard's buffer has room."""
        return self._shards[shard_id].wants_records

    def feed(self, shard_id: str, records: Sequence[StreamRecord], now_ms: int) -> int:
        """Take records that were read, in the shard's order; return how many the filters held back."""
        return self._shards[shard_id].feed(records, now_ms)

    def end_of_shard(self, shard_id: str) -> None:
        """Say that a closed shard was read to its end (NextShardIterator is null), or is no more."""
        self._shards[shard_id].end_of_shard()

    def due(self, now_ms: int) -> list[Work]:
        """Return what is to be carried out now, each thing once."""
        work = [item for shard in self._shards.values() for item in shard.due(now_ms)]
        for item in work:
            self._owner[_id_of(item)] = item.shard_id
        return work

    def settle(self, invocation_id: int, outcome: Outcome, now_ms: int) -> None:
        """Take note of how an invocation ended."""
        self._shards[self._owner.pop(invocation_id)].settle(invocation_id, outcome, now_ms)

    def clock_stepped(self, step_ms: int) -> None:
        """Take note that the clock was set by *step_ms*."""
        for shard in self._shards.values():
            shard.clock_stepped(step_ms)

    def discarded(self, discard_id: int) -> None:
        """Take note that the destination has a discard (or that there is no destination)."""
        self._shards[self._owner.pop(discard_id)].discarded(discard_id)

    def next_wake_ms(self) -> int | None:
        """Return when ``due`` has something next if nothing happens before; None if nothing is waiting."""
        wakes = [wake for shard in self._shards.values() if (wake := shard.next_wake_ms()) is not None]
        return min(wakes, default=None)

    def undone(self, shard_id: str) -> int:
        """Return how many records of the shard were fed and are not done."""
        shard = self._shards.get(shard_id)
        return 0 if shard is None else shard.undone

    def standing(self, shard_id: str, now_ms: int) -> Standing | None:
        """Return where the shard stands still, and what comes next; None where it goes on."""
        shard = self._shards.get(shard_id)
        return None if shard is None else shard.standing(now_ms)

    def oldest_arrival_ms(self, shard_id: str) -> int | None:
        """Return when the oldest record of the shard arrived that was fed and is not done; None where there is none."""
        shard = self._shards.get(shard_id)
        return None if shard is None else shard.oldest_arrival_ms()

    def waits_for(self, shard_id: str) -> list[str]:
        """Return the parents that have to be done before the shard is read."""
        if shard_id in self._shards or self._is_finished(shard_id):
            return []
        return [parent for parent in self._parents.get(shard_id, ()) if not self._is_finished(parent)]

    def checkpoints(self) -> dict[str, ShardCheckpoint]:
        """Return what to keep on disk. It never claims more than is done."""
        for shard_id, shard in self._shards.items():
            self._checkpoints[shard_id] = replace(
                self._checkpoints[shard_id],
                sequence=shard.checkpoint,
                finished=shard.finished,
                applied=shard.applied,
            )
        return dict(self._checkpoints)

    def _start(self, info: ShardInfo, now_ms: int) -> ShardCheckpoint:
        if self.config.starting_position == "TRIM_HORIZON":
            return ShardCheckpoint()
        if self.config.starting_position == "AT_TIMESTAMP":
            return ShardCheckpoint(since_ms=self.config.starting_timestamp_ms)
        return ShardCheckpoint(
            since_ms=now_ms, finished=info.closed
        )  # nothing in a closed shard is yet to come

    def _is_finished(self, shard_id: str) -> bool:
        shard = self._shards.get(shard_id)
        if shard is not None:
            return shard.finished
        checkpoint = self._checkpoints.get(shard_id)
        return checkpoint is None or checkpoint.finished


def _id_of(work: Work) -> int:
    return work.invocation_id if isinstance(work, Invocation) else work.discard_id
