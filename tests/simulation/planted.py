"""Bugs that others have shipped, and some of our own, each as a patch of the real code."""

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

import processors.aggregate.progress
import processors.query.question
import streamgage.fold.states
from infra.local.mapping.shard import ShardMapping, _Lane
from infra.local.mapping.stream import ShardCheckpoint, StreamMapping
from processors.aggregate.batch import Aggregate
from processors.aggregate.progress import BatchProgress, ProgressReader, Reader
from processors.deadline import Deadline
from processors.sink.fenced import AggregateSink
from producers.client.identity import Identity
from simulation.oracle import Oracle
from simulation.plan import draw_plan
from simulation.planted_collector import COLLECTOR_BUGS
from simulation.planted_face import FACE_BUGS
from simulation.planted_spool import SPOOL_BUGS
from simulation.runner import simulate
from simulation.tally import Tally
from streamgage.fold.items import ItemKey, Lanes, StoredItem, hash_of
from streamgage.fold.lane_log import LaneLog
from streamgage.formats.mark import Mark, encode_mark
from streamgage.reading.agent_records import AgentRecords
from streamgage.records import StreamRecord
from support.planted import CORE_BUGS, MEASURE_BUGS, Plant, repeat_leaves_its_events


def _without_order(plant: Plant) -> Plant:
    """Return *plant*; without a fence there is no order to check: what is counted is checked all the same."""

    def planted(patch: pytest.MonkeyPatch) -> None:
        plant(patch)
        patch.setattr(Oracle, "written", lambda self, key, row, _before: _written(self, key, row, None))

    planted.__doc__ = plant.__doc__
    return planted


_written = Oracle.written


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
    _lanes_are(patch, lambda shard, partition_key: f"{shard}|{zlib.crc32(partition_key.encode()) % 2}")


def lanes_by_shard_with_parallel_batches(patch: pytest.MonkeyPatch) -> None:
    """The function does not know of ParallelizationFactor."""
    _lanes_are(patch, lambda shard, _: shard)


def _lanes_are(patch: pytest.MonkeyPatch, lane: Callable[[str, str], str]) -> None:
    """Let the tally name lanes as the bug does: it is to be caught by what it loses, not by its names."""
    of, lane_of = Lanes.of, Tally.lane_of

    def mutant(self: Lanes, shard_id: str, partition_key: str) -> str:
        return (
            lane(self.of_shard(shard_id), partition_key) if self.by_key else of(self, shard_id, partition_key)
        )

    def tallied(self: Tally, record: StreamRecord) -> str:
        found = lane_of(self, record)
        return lane(found.partition("|")[0], record.partition_key) if self._parallel else found

    patch.setattr(Lanes, "of", mutant)
    patch.setattr(Tally, "lane_of", tallied)


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

    def apply(self: Aggregate, records: Any, outcome: Any, deadline: Deadline) -> None:
        progress = self._progress.open(records, deadline=deadline)
        counting = replace(self._counting, begin_ms=progress.begin_ms)
        outcome.folded = folded = self._fold.fold(records, progress.is_repeat, counting)
        self._quarantine.send(folded.poison, deadline=deadline)
        outcome.progress = self._sink.apply(progress.entries(before=None), deadline=deadline)
        outcome.applied = self._sink.apply(folded.items, deadline=deadline)

    patch.setattr(Aggregate, "_apply", apply)


def one_progress_for_all_consumers(patch: pytest.MonkeyPatch) -> None:
    """Whoever reads the stream, it has been read."""
    patch.setattr(processors.aggregate.progress, "progress_pk", lambda _consumer: "~progress|main")
    patch.setattr(Reader, "log_of", lambda _self, item: LaneLog.of_body(item.body))


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


def nothing_inherited(patch: pytest.MonkeyPatch) -> None:
    """A child shard knows nothing of what its parents saw."""
    patch.setattr(
        ProgressReader, "_inherited", lambda _self, lanes, _until: {key: LaneLog() for key in lanes}
    )


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

    def mutant(self: ProgressReader, lanes: Mapping[ItemKey, StreamRecord], deadline: Deadline) -> Any:
        own = {record.shard_id for record in lanes.values()}
        patch_of = lambda each, until: parents_of(self, each, until) if each in own else ()  # noqa: E731 - one use
        self._parents_of = patch_of  # type: ignore[method-assign]  # a mutant
        return inherited(self, lanes, deadline)

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


def together_forgotten_by_the_writer(patch: pytest.MonkeyPatch) -> None:
    """Keys that should stand together are placed by the hash of the whole key."""
    patch.setattr(streamgage.fold.states, "key_hash", lambda _rollup, key: hash_of(key))


def together_looked_for_by_the_whole_key(patch: pytest.MonkeyPatch) -> None:
    """Who asks for keys that stand together looks where the hash of what they share would put a key of that name."""

    def mutant(values: Iterable[str]) -> range:
        first = hash_of("|".join(values))
        return range(first, first + 1)

    patch.setattr(processors.query.question, "hashes_together", mutant)


def refused_item_takes_the_rest_along(patch: pytest.MonkeyPatch) -> None:
    """What stands behind an item of an agent that is refused is not read."""
    read = AgentRecords.read

    def mutant(self: AgentRecords, data: bytes) -> Any:
        events, faults, parts = read(self, data)
        return events[: faults[0][0] + 1] if faults else events, faults, parts

    patch.setattr(AgentRecords, "read", mutant)


def items_of_an_agent_have_one_place(patch: pytest.MonkeyPatch) -> None:
    """Where poison stands, a record of an agent is taken for one event."""
    patch.setattr(AgentRecords, "count", lambda _self, _data: 1)


_UNORDERED = ("no_fence", "duplicates_dropped_by_batch_hash")

BUGS: Mapping[str, Plant] = {
    **{name: _without_order(plant) if name in _UNORDERED else plant for name, plant in CORE_BUGS.items()},
    **MEASURE_BUGS,
    **SPOOL_BUGS,
    **FACE_BUGS,
    **COLLECTOR_BUGS,
    **{
        plant.__name__: plant
        for plant in (
            repeat_leaves_its_events,
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
            one_progress_for_all_consumers,
            one_more_passed_over,
            copies_counted_where_passed_over,
            nothing_inherited,
            one_parent_inherited,
            grandparents_forgotten,
            together_forgotten_by_the_writer,
            together_looked_for_by_the_whole_key,
            refused_item_takes_the_rest_along,
            items_of_an_agent_have_one_place,
        )
    },
}


MOST_SEEDS = 2_000


def seeds_for(name: str, first_seed: int) -> Iterator[int]:
    """Yield the seeds from *first_seed* on in whose worlds there is what the bug *name* is in."""
    seeds = range(first_seed, first_seed + MOST_SEEDS)
    return (seed for seed in seeds if name not in COLLECTOR_BUGS or draw_plan(seed).collects)


def seeds_until_caught(name: str, first_seed: int, *, only_at_end: bool = False) -> int | None:
    """Return how many seeds from *first_seed* on it takes until the bug *name* is caught; None: it is not.

    With *only_at_end* the table and the queues are compared when all is over, and nothing else is checked.
    """
    with pytest.MonkeyPatch.context() as patch:
        BUGS[name](patch)
        patch.setattr(Oracle, "only_at_end", only_at_end)
        totals = simulate(seeds_for(name, first_seed))
    return totals.failures[0][0] - first_seed + 1 if totals.failures else None


def main() -> None:
    """Print the table of docs/simulation.md: each bug from several seeds on; of bugs that are named, their rows."""
    say = sys.stdout.write
    say("| planted bug | what it does | seeds until caught, from five seeds on | by the totals alone |\n")
    say("|---|---|---|---|\n")
    for name in sys.argv[1:] or BUGS:
        what = (BUGS[name].__doc__ or "").split("\n")[0]
        found = [seeds_until_caught(name, start) for start in range(0, 500_000, 100_000)]
        at_end = [seeds_until_caught(name, start, only_at_end=True) for start in (0, 100_000)]
        say(f"| `{name}` | {what} | {_shown(found)} | {_shown(at_end)} |\n")
        sys.stdout.flush()


def _shown(found: Sequence[int | None]) -> str:
    return ", ".join(f"not in {MOST_SEEDS}" if each is None else str(each) for each in found)


if __name__ == "__main__":
    main()
