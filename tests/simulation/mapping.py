"""The driver of the event source mapping: reads shards, invokes, delivers discards, keeps the checkpoint, dies."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from infra.local.function.outcome import Answered, NotInvoked, Outcome
from infra.local.kinesis.errors import KinesisError
from infra.local.mapping.stream import Discard, Invocation, ShardCheckpoint, ShardInfo, StreamMapping
from simulation.function import Function
from simulation.plan import Dice, Plan
from simulation.stream import NAME, Stream
from simulation.trace import Trace
from streamgage.records import StreamRecord

_FIRST_READ_MS, _LAST_READ_MS = 1, 250
_AGAIN_MS = 100
_LIST_MS = 300


class Watch:
    """Who is told what the mapping decides: the oracle, which checks it."""

    def __init__(
        self,
        *,
        invoked: Callable[[Sequence[StreamRecord]], None],
        delivered: Callable[[Sequence[StreamRecord]], None],
        kept: Callable[[Mapping[str, ShardCheckpoint]], None],
    ) -> None:
        self.invoked, self.delivered, self.kept = invoked, delivered, kept


class Driver:
    """One mapping through all its processes: a restart begins with what was kept, and nothing else."""

    def __init__(
        self,
        plan: Plan,
        *,
        stream: Stream,
        function: Function,
        dice: Dice,
        watch: Watch,
        branches: Counter[str],
        trace: Trace,
        rng: random.Random,
    ) -> None:
        self._plan, self._stream, self._function, self._dice = plan, stream, function, dice
        self._watch, self._branches, self._rng, self._trace = watch, branches, rng, trace
        self._scheduler = stream.scheduler
        self.kept: dict[str, ShardCheckpoint] = {}
        self.process = 0
        self._done: set[tuple[str, int]] = set()  # settled as done by any process: to see redeliveries
        self.start()

    def start(self) -> None:
        """Begin as a new process: whatever the old one had in memory or under way is nobody's any more."""
        self.process += 1
        self._trace.note("mapping starts, process", self.process)
        self.mapping = StreamMapping(
            self._plan.mapping, stream_arn=self._stream.arn, checkpoints=dict(self.kept)
        )
        self._iterators: dict[str, str | None] = {}
        self._unread: set[str] = set()
        self._reading: set[str] = set()
        self._failing: dict[int, Invocation] = {}
        self._failed: dict[str, list[tuple[StreamRecord, ...]]] = {}
        self._wake_ms: int | None = None
        self._list(self.process)

    def appended(self, shard_id: str) -> None:
        """Say that a shard has something new: a record, or its end."""
        self._unread.add(shard_id)
        self._read_soon()

    def resharded(self) -> None:
        """Say that the stream has other shards; the mapping finds out some time later."""
        self._unread.update(each.shard_id for each in self._stream.shards)
        self._scheduler.after(self._rng.randint(1, _LIST_MS), partial(self._list, self.process))
        self._read_soon()

    def _list(self, process: int) -> None:
        if process != self.process:
            return
        infos = [_info(item) for item in self._stream.call("ListShards", {"StreamName": NAME})["Shards"]]
        self.mapping.update(infos, self._scheduler.now_ms)
        self._unread.update(info.shard_id for info in infos if info.shard_id not in self._iterators)
        self._pump(process)

    def _pump(self, process: int) -> None:
        """Carry out what is due, and come again when something will be."""
        if process != self.process:
            return
        now_ms = self._scheduler.now_ms
        for work in self.mapping.due(now_ms):
            if isinstance(work, Invocation):
                self._invoke(work)
            else:
                self._trace.note("discard", work.records, work.condition)
                self._branches["discard: " + work.condition] += 1
                self._scheduler.after(1, partial(self._deliver, self.process, work))
        self._read_soon()
        wake_ms = self.mapping.next_wake_ms()
        if wake_ms is not None and (
            self._wake_ms is None or wake_ms < self._wake_ms or self._wake_ms < now_ms
        ):
            self._wake_ms = wake_ms
            self._scheduler.after(max(0, wake_ms - now_ms), partial(self._woken, self.process))

    def _woken(self, process: int) -> None:
        if process == self.process:
            self._wake_ms = None
            self._pump(process)

    def _invoke(self, work: Invocation) -> None:
        self._watch.invoked(work.records)
        if any((each.shard_id, each.sequence_number) in self._done for each in work.records):
            self._branches["redelivery after a restart"] += 1
        self._note_branches(work)
        self._function.invoke(work.records, partial(self._settle, self.process, work))

    def _settle(self, process: int, work: Invocation, outcome: Outcome) -> None:
        if process != self.process:
            return
        self.mapping.settle(work.invocation_id, outcome, self._scheduler.now_ms)
        failed = _failed_records(work.records, outcome)
        if failed and not isinstance(outcome, NotInvoked):
            self._failed.setdefault(work.shard_id, []).append(failed)
            self._branches["partial failure answered"] += len(failed) < len(work.records)
        self._done.update(
            (each.shard_id, each.sequence_number) for each in work.records[: -len(failed) or None]
        )
        self._keep_soon()
        self._pump(process)

    def _note_branches(self, work: Invocation) -> None:
        """Count what is seldom: a bisected batch, a lane that goes on beside one that is blocked."""
        failed = self._failed.get(work.shard_id, [])
        for batch in list(failed):
            if batch[0] == work.records[0]:
                failed.remove(batch)
                halved = self._plan.mapping.bisect and len(work.records) == (len(batch) + 1) // 2
                self._branches["bisected"] += halved and len(batch) > 1
            elif self._plan.parallel:
                self._branches["lane blocked, another goes on"] += 1

    def _deliver(self, process: int, work: Discard) -> None:
        if process != self.process:
            return
        if self._dice.strikes("destination_failed"):
            self._scheduler.after(_AGAIN_MS, partial(self._deliver, process, work))
            return
        self._trace.note("delivered to the on-failure destination", work.records)
        self._watch.delivered(work.records)
        self.mapping.discarded(work.discard_id)
        self._keep_soon()
        self._pump(process)

    def _keep_soon(self) -> None:
        if self._dice.strikes("checkpoint_lags"):
            delay_ms = self._dice.of("checkpoint_lags").choice((50, 1_000, 10_000))
            self._scheduler.after(delay_ms, partial(self._keep, self.process))
        else:
            self._keep(self.process)

    def _keep(self, process: int) -> None:
        if process == self.process:
            self.kept = self.mapping.checkpoints()
            self._watch.kept(self.kept)

    def _read_soon(self) -> None:
        """Read each shard that has something unread and room for it."""
        if not self._unread:
            return
        for shard_id in self.mapping.readable():
            if (
                shard_id in self._unread
                and shard_id not in self._reading
                and self.mapping.wants_records(shard_id)
            ):
                self._reading.add(shard_id)
                delay_ms = self._rng.randint(_FIRST_READ_MS, _LAST_READ_MS)
                self._scheduler.after(delay_ms, partial(self._read, self.process, shard_id))

    def _read(self, process: int, shard_id: str) -> None:
        if process != self.process:
            return
        self._reading.discard(shard_id)
        try:
            after = self.mapping.read_from(shard_id).after_sequence
            page = self._stream.read(shard_id, self._iterators.get(shard_id), after=after)
        except KinesisError as error:
            if error.code == "ExpiredIteratorException":
                self._iterators[shard_id] = None
            self._scheduler.after(_AGAIN_MS, self._read_soon)
            return
        self.mapping.feed(shard_id, page.records, self._scheduler.now_ms)
        self._iterators[shard_id] = page.iterator
        if not page.behind:
            self._unread.discard(shard_id)
        if page.iterator is None:
            self.mapping.end_of_shard(shard_id)
            self._keep_soon()
        self._pump(process)


def _failed_records(records: tuple[StreamRecord, ...], outcome: Outcome) -> tuple[StreamRecord, ...]:
    """Return the records that are to be delivered again, as the answer says; the mapping decides for itself."""
    if not isinstance(outcome, Answered):
        return records
    text = outcome.payload.decode()
    place = next((n for n, each in enumerate(records) if f'"{each.sequence_number}"' in text), len(records))
    return records[place:]


def _info(item: Any) -> ShardInfo:
    parents = (item.get("ParentShardId"), item.get("AdjacentParentShardId"))
    return ShardInfo(
        item["ShardId"],
        tuple(parent for parent in parents if parent),
        closed="EndingSequenceNumber" in item["SequenceNumberRange"],
    )
