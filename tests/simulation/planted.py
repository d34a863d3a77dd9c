"""Bugs that others have shipped, and some of our own, each as a patch of the real code."""

import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from streamgage.fold.column_fold import SourceFold
from streamgage.fold.folder import Folder, Poison
from streamgage.fold.repeats import LaneLog
from streamgage.reading.contributions import Contributions, Part, Places

import processors.sink.fenced
import simulation.world
from infra.local.mapping.shard import ShardMapping, _Lane
from infra.local.mapping.stream import ShardCheckpoint, StreamMapping
from processors.aggregate.batch import Aggregate
from processors.aggregate.progress import BatchProgress, ProgressReader
from processors.deadline import Deadline
from processors.sink.fenced import AggregateSink, Applied
from producers.client.identity import Identity
from simulation.function import Crash
from simulation.oracle import Oracle
from simulation.runner import simulate
from simulation.table import KeptPoison, Row, Table
from streamgage.errors import RetryableError
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.formats.mark import Mark, encode_mark
from streamgage.reading.record_reader import RecordReader
from streamgage.records import StreamRecord
from support.fakes import PLENTY
from support.one_by_one import FenceMovedError

Plant = Callable[[pytest.MonkeyPatch], None]


class _TextFence(int):
    def __lt__(self, other: int) -> bool:
        return str(int(self)) < str(int(other))


class _NoFence(int):
    def __lt__(self, other: int) -> bool:
        return True


def _fences_are(patch: pytest.MonkeyPatch, kind: Callable[[int], int]) -> None:
    plain_item = Row.item

    def item(self: Row) -> StoredItem:
        found = plain_item(self)
        return replace(found, fence=kind(found.fence))

    patch.setattr(processors.sink.fenced, "StoredItem", lambda fence, *rest: StoredItem(kind(fence), *rest))
    patch.setattr(Row, "item", item)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """Whatever comes is added, and no write has a condition."""
    _fences_are(patch, _NoFence)
    no_condition(patch)
    patch.setattr(Oracle, "written", _unchecked_fence)


def no_condition(patch: pytest.MonkeyPatch) -> None:
    """The fence is compared in memory only."""

    def write(self: Table, key: ItemKey, row: Row, expected_fence: int | None) -> FenceMovedError | None:
        del expected_fence
        stands = self.rows.get(key)
        return plain_write(self, key, row, None if stands is None else int(stands.fence))

    plain_write = Table.write
    patch.setattr(Table, "write", write)


def fence_compared_as_text(patch: pytest.MonkeyPatch) -> None:
    """9 stands behind 10."""
    _fences_are(patch, _TextFence)


def fence_as_dynamodb_number(patch: pytest.MonkeyPatch) -> None:
    """38 digits are kept of 56."""
    _fences_are(patch, lambda fence: int(str(fence)[:38].ljust(len(str(fence)), "0")))


def whole_delta_skipped(patch: pytest.MonkeyPatch) -> None:
    """A batch that was applied in part is taken for applied."""
    add = AggregateSink._add

    def mutant(
        self: AggregateSink, pending: Any, key: ItemKey, contribution: Any, known: StoredItem | None
    ) -> bool:
        whole = contribution.after(None)
        if known is not None and whole is not None and whole.first <= known.fence:
            return False
        return add(self, pending, key, contribution, known)

    patch.setattr(AggregateSink, "_add", mutant)


def fence_is_the_first_contributions(patch: pytest.MonkeyPatch) -> None:
    """An item's fence is where its contributions begin, not where the batch ends."""
    _parts_are(patch, lambda _, part: replace(part, fence=part.first))


def fence_inside_a_batch_forgotten(patch: pytest.MonkeyPatch) -> None:
    """An item that a part of the batch was applied to gets all of it."""
    _parts_are(patch, lambda whole, _: whole)


def record_at_the_fence_folded_again(patch: pytest.MonkeyPatch) -> None:
    """Beyond a fence inside the batch is what is not before it."""
    beyond = Places.beyond
    patch.setattr(Places, "beyond", lambda self, fence: beyond(self, int(fence) - 1))


def repeat_leaves_its_events(patch: pytest.MonkeyPatch) -> None:
    """What was read of a record stays when the record turns out to be a repeat, or broken."""
    patch.setattr(RecordReader, "forget", lambda _self, _record: None)


def _parts_are(patch: pytest.MonkeyPatch, change: Callable[[Part, Part], Part]) -> None:
    after = Contributions.after

    def mutant(self: Contributions, fence: int | None) -> Part | None:
        whole, part = after(self, None), after(self, fence)
        return None if whole is None or part is None else change(whole, part)

    patch.setattr(Contributions, "after", mutant)


def batch_wide_lateness(patch: pytest.MonkeyPatch) -> None:
    """Lateness is judged against the newest record of the batch."""
    fold = Folder.fold
    newest_ms = [0]

    def mutant(self: Folder, records: Sequence[StreamRecord], *rest: Any) -> Any:
        newest_ms[0] = max(each.arrival_ms for each in records)
        return fold(self, records, *rest)

    is_timely, verdict = SourceFold.is_timely, SourceFold.verdict

    def timely(self: SourceFold, first_ms: int, last_ms: int, **_: int) -> bool:
        newest = newest_ms[0]
        return is_timely(self, first_ms, last_ms, first_arrival_ms=newest, last_arrival_ms=newest)

    patch.setattr(Folder, "fold", mutant)
    patch.setattr(SourceFold, "is_timely", timely)
    patch.setattr(SourceFold, "verdict", lambda self, event, _: verdict(self, event, newest_ms[0]))


def quarantine_after_sink(patch: pytest.MonkeyPatch) -> None:
    """Dead letters are sent last, if the aggregates were written."""
    handle = Aggregate.handle

    def mutant(self: Aggregate, event: Any, *, remaining_ms: Any) -> Any:
        quarantine, held = self._quarantine, _Held()
        self._quarantine = held
        try:
            answer = handle(self, event, remaining_ms=remaining_ms)
        finally:
            self._quarantine = quarantine
        if not answer["batchItemFailures"]:
            try:
                quarantine.send(held.kept, deadline=PLENTY)
            except RetryableError as error:
                raise Crash from error
        return answer

    patch.setattr(Aggregate, "handle", mutant)


class _Held:
    def __init__(self) -> None:
        self.kept: list[Poison] = []

    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:  # noqa: ARG002 - the port's
        self.kept.extend(poison)


def quarantine_failure_swallowed(patch: pytest.MonkeyPatch) -> None:
    """Poison that the queue did not take is forgotten."""
    plain_send = KeptPoison.send

    def send(self: KeptPoison, poison: Sequence[Poison], *, deadline: Deadline) -> None:
        try:
            plain_send(self, poison, deadline=deadline)
        except RetryableError:
            return

    patch.setattr(KeptPoison, "send", send)


def duplicates_dropped_by_batch_hash(patch: pytest.MonkeyPatch) -> None:
    """Batches that were seen are dropped, and whatever is not such a batch is added."""
    no_fence(patch)
    seen: dict[int, set[tuple[Any, ...]]] = defaultdict(set)
    apply = AggregateSink.apply

    def mutant(self: AggregateSink, items: Any, *, remaining_ms: Any) -> Applied:
        parts = [(key, part) for key, each in items.items() if (part := each.after(None))]
        batch = tuple(sorted((key, part.first, part.fence) for key, part in parts))
        done = seen[id(self._store)]
        if batch in done:
            return Applied()
        applied = apply(self, items, remaining_ms=remaining_ms)
        if applied.failed_from is None:
            done.add(batch)
        return applied

    patch.setattr(AggregateSink, "apply", mutant)


def checkpoint_before_durability(patch: pytest.MonkeyPatch) -> None:
    """What was read is taken for done."""
    checkpoints = StreamMapping.checkpoints

    def mutant(self: StreamMapping) -> dict[str, ShardCheckpoint]:
        return {
            shard_id: replace(kept, sequence=self._shards[shard_id].last_fed)
            if shard_id in self._shards
            else kept
            for shard_id, kept in checkpoints(self).items()
        }

    patch.setattr(StreamMapping, "checkpoints", mutant)


def child_before_parent(patch: pytest.MonkeyPatch) -> None:
    """All shards are read at once."""
    patch.setattr(StreamMapping, "_is_finished", lambda _self, _shard_id: True)


def child_when_parent_is_read(patch: pytest.MonkeyPatch) -> None:
    """A child begins when its parent was read to its end, not when all of it is done."""
    patch.setattr(ShardMapping, "finished", property(lambda self: self.ended))


def lanes_by_hash_bucket(patch: pytest.MonkeyPatch) -> None:
    """Partition keys share two buckets a shard."""

    def lane(shard_id: str, partition_key: str) -> str:
        return f"{shard_id}|{zlib.crc32(partition_key.encode()) % 2}"

    patch.setattr(simulation.world, "lane_of_key", lane)
    _tally_by(patch, lane)


def lanes_by_shard_with_parallel_batches(patch: pytest.MonkeyPatch) -> None:
    """The function does not know of ParallelizationFactor."""
    patch.setattr(simulation.world, "lane_of_key", lambda shard_id, _: shard_id)
    _tally_by(patch, lambda shard_id, _: shard_id)


def _tally_by(patch: pytest.MonkeyPatch, lane: Callable[[str, str], str]) -> None:
    """Let the tally name lanes as the bug does: it is to be caught by what it loses, not by its names."""
    patch.setattr(
        simulation.tally.Tally,
        "lane_of",
        lambda self, record: (
            lane(record.shard_id, record.partition_key) if self._parallel else record.shard_id
        ),
    )


def progress_before_sink_without_first_seen(patch: pytest.MonkeyPatch) -> None:
    """Counters are noted before the aggregates, and whatever was noted is a repeat."""
    progress_before_sink(patch)

    def is_repeat(self: BatchProgress, record: StreamRecord, mark: Mark | None) -> bool:
        key = self.key_of(record)
        log = self._logs[key][1]
        repeat = log.saw(mark)
        plain(self, record, mark)
        return repeat

    plain = BatchProgress.is_repeat
    patch.setattr(BatchProgress, "is_repeat", is_repeat)


def progress_before_sink(patch: pytest.MonkeyPatch) -> None:
    """Progress is noted first."""
    fold = Folder.fold

    def apply(self: Aggregate, records: Any, outcome: Any, remaining_ms: Any) -> None:
        progress = self._progress.open(records, deadline=PLENTY)
        outcome.folded = folded = fold(self._folder, records, progress.is_repeat)
        self._quarantine.send(folded.poison, deadline=PLENTY)
        outcome.progress = self._sink.apply(progress.entries(before=None), remaining_ms=remaining_ms)
        outcome.applied = self._sink.apply(folded.items, remaining_ms=remaining_ms)

    patch.setattr(Aggregate, "_apply", apply)


def retries_without_a_mark(patch: pytest.MonkeyPatch) -> None:
    """A producer that does not say who it is, as the KPL."""
    patch.setattr(Identity, "tags_for", lambda _self, _group: {})


def marks_repeat_after_eight(patch: pytest.MonkeyPatch) -> None:
    """A counter of three bits."""

    def tags_for(self: Identity, group: Any) -> Mapping[str, str]:
        counted = self._groups.setdefault(group, [len(self._groups), 0])
        counted[1] += 1
        return encode_mark(Mark(f"{self._id}.{counted[0]}", counted[1] % 8))

    patch.setattr(Identity, "tags_for", tags_for)


def failed_from_is_the_highest(patch: pytest.MonkeyPatch) -> None:
    """The answer names the last failure, not the first."""
    fail = processors.sink.fenced._fail

    def mutant(outcome: Applied, first: int, errors: Sequence[str]) -> None:
        highest = outcome.failed_from
        fail(outcome, first, errors)
        outcome.failed_from = first if highest is None else max(first, highest)

    patch.setattr(processors.sink.fenced, "_fail", mutant)


def nothing_inherited(patch: pytest.MonkeyPatch) -> None:
    """A child shard knows nothing of what its parents saw."""
    patch.setattr(ProgressReader, "_inherited", lambda *_: LaneLog.empty())


def one_parent_inherited(patch: pytest.MonkeyPatch) -> None:
    """Of a merge, the first parent is asked only."""
    parents_of = ProgressReader._parents_of
    patch.setattr(
        ProgressReader, "_parents_of", lambda self, shard_id, until: parents_of(self, shard_id, until)[:1]
    )


def grandparents_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A parent that had no records ends the line."""
    parents_of = ProgressReader._parents_of
    inherited = ProgressReader._inherited

    def mutant(self: ProgressReader, shard_id: str, partition_key: str, deadline: Deadline) -> LaneLog:
        patch_of = lambda each, until: parents_of(self, each, until) if each == shard_id else ()  # noqa: E731 - one use
        self._parents_of = patch_of  # type: ignore[method-assign]  # a mutant
        return inherited(self, shard_id, partition_key, deadline)

    patch.setattr(ProgressReader, "_inherited", mutant)


def one_more_passed_over(patch: pytest.MonkeyPatch) -> None:
    """The first record after a lane's fence is taken for one that was dealt with."""
    is_done = BatchProgress.is_done

    def mutant(self: BatchProgress, record: StreamRecord) -> bool:
        key = self.key_of(record)
        fence, log = self._logs[key]
        first = fence >= 0 and not is_done(self, record) and not self._entries[key].entries
        if first:
            self._logs[key] = record.sequence_number, log
        return is_done(self, record)

    patch.setattr(BatchProgress, "is_done", mutant)


def copies_counted_where_passed_over(patch: pytest.MonkeyPatch) -> None:
    """What was dealt with before is judged again by what was seen, but for copies: they are counted."""
    patch.setattr(BatchProgress, "is_done", lambda _self, _record: False)
    is_repeat = BatchProgress.is_repeat

    def mutant(self: BatchProgress, record: StreamRecord, mark: Mark | None) -> bool:
        fence, _ = self._logs[self.key_of(record)]
        return is_repeat(self, record, mark) and record.sequence_number > fence

    patch.setattr(BatchProgress, "is_repeat", mutant)


def progress_from_memory(patch: pytest.MonkeyPatch) -> None:
    """A warm sandbox trusts what it remembers of its lanes."""
    refresh = AggregateSink.refresh

    def mutant(
        self: AggregateSink, keys: Sequence[ItemKey], *, deadline: Deadline
    ) -> Mapping[ItemKey, StoredItem]:
        unknown = [key for key in keys if key not in self._known]
        if unknown:
            refresh(self, unknown, deadline=deadline)
        return {key: item for key in keys if (item := self._known[key]) is not None}

    patch.setattr(AggregateSink, "refresh", mutant)


def lost_answer_is_success(patch: pytest.MonkeyPatch) -> None:
    """A write that timed out is taken for one that happened."""
    plain_put = Table.put

    def put(self: Table, key: ItemKey, item: StoredItem, *, expected_fence: int | None) -> None:
        try:
            plain_put(self, key, item, expected_fence=expected_fence)
        except RetryableError:
            return

    patch.setattr(Table, "put", put)


def all_old_ignored(patch: pytest.MonkeyPatch) -> None:
    """After a conflict the same item is written again, over what came back."""
    plain_put = Table.put

    def put(self: Table, key: ItemKey, item: StoredItem, *, expected_fence: int | None) -> None:
        try:
            plain_put(self, key, item, expected_fence=expected_fence)
        except FenceMovedError as moved:
            plain_put(self, key, item, expected_fence=moved.current.fence if moved.current else None)

    patch.setattr(Table, "put", put)


def remembered_before_written(patch: pytest.MonkeyPatch) -> None:
    """A sandbox remembers an item before DynamoDB has it."""
    write = AggregateSink._write

    def mutant(self: AggregateSink, pending: Sequence[Any], outcome: Applied, deadline: Deadline) -> Any:
        items = {each.key: self._merged(each) for each in pending}
        again = write(self, pending, outcome, deadline)
        for each in pending:
            if each.key not in self._known:
                self._known[each.key] = items[each.key]
        return again

    patch.setattr(AggregateSink, "_write", mutant)


def lane_goes_on_beside_a_discard(patch: pytest.MonkeyPatch) -> None:
    """A lane does not wait until its discards are in the on-failure destination."""
    patch.setattr(_Lane, "waits", property(lambda self: self.in_flight is not None))


def bisect_forgets_the_right_half(patch: pytest.MonkeyPatch) -> None:
    """A failed batch is halved, and only its left half comes again."""
    fail = ShardMapping._fail

    def mutant(self: ShardMapping, number: int, batch: Any, *, progress: bool) -> None:
        fail(self, number, batch, progress=progress)
        retries = self._lanes[number].retries
        if not progress and self._config.bisect and len(batch.items) > 1:
            left, right = retries.popleft(), retries.popleft()
            self._mark_done(number, right.items)
            retries.appendleft(left)

    patch.setattr(ShardMapping, "_fail", mutant)


def _unchecked_fence(self: Any, key: ItemKey, row: Row, _before: int | None) -> None:
    """Without a fence there is no order to check; what is counted is checked all the same."""
    plain_written(self, key, row, None)


plain_written = Oracle.written

BUGS: Mapping[str, Plant] = {
    plant.__name__: plant
    for plant in (
        no_fence,
        no_condition,
        fence_compared_as_text,
        fence_as_dynamodb_number,
        whole_delta_skipped,
        fence_is_the_first_contributions,
        fence_inside_a_batch_forgotten,
        record_at_the_fence_folded_again,
        repeat_leaves_its_events,
        all_old_ignored,
        lost_answer_is_success,
        remembered_before_written,
        duplicates_dropped_by_batch_hash,
        batch_wide_lateness,
        failed_from_is_the_highest,
        quarantine_after_sink,
        quarantine_failure_swallowed,
        lanes_by_hash_bucket,
        lanes_by_shard_with_parallel_batches,
        checkpoint_before_durability,
        child_before_parent,
        child_when_parent_is_read,
        bisect_forgets_the_right_half,
        lane_goes_on_beside_a_discard,
        retries_without_a_mark,
        marks_repeat_after_eight,
        progress_before_sink,
        progress_before_sink_without_first_seen,
        progress_from_memory,
        one_more_passed_over,
        copies_counted_where_passed_over,
        nothing_inherited,
        one_parent_inherited,
        grandparents_forgotten,
    )
}


MOST_SEEDS = 2_000


def seeds_until_caught(name: str, first_seed: int, *, only_at_end: bool = False) -> int | None:
    """Return how many seeds from *first_seed* on it takes until the bug *name* is caught; None: it is not.

    With *only_at_end* the table and the queues are compared when all is over, and nothing else is checked.
    """
    with pytest.MonkeyPatch.context() as patch:
        BUGS[name](patch)
        patch.setattr(Oracle, "only_at_end", only_at_end)
        totals = simulate(range(first_seed, first_seed + MOST_SEEDS))
    return totals.schedules + 1 if totals.failures else None


def main() -> None:
    """Print the table of docs/simulation.md: each bug from several seeds on."""
    say = sys.stdout.write
    say("| planted bug | what it does | seeds until caught, from five seeds on | by the totals alone |\n")
    say("|---|---|---|---|\n")
    for name, plant in BUGS.items():
        what = (plant.__doc__ or "").split("\n")[0]
        found = [seeds_until_caught(name, start) for start in range(0, 500_000, 100_000)]
        at_end = [seeds_until_caught(name, start, only_at_end=True) for start in (0, 100_000)]
        say(f"| `{name}` | {what} | {_shown(found)} | {_shown(at_end)} |\n")
        sys.stdout.flush()


def _shown(found: Sequence[int | None]) -> str:
    return ", ".join(f"not in {MOST_SEEDS}" if each is None else str(each) for each in found)


if __name__ == "__main__":
    main()
