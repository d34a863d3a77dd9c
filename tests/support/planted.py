"""Bugs in the core that others have shipped, and some of our own, each as a patch of the real code.

The property suite and the simulation plant the same; what only the simulation has (a mapping, producers that retry,
shards that split) has its bugs there.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import pytest

import streamgage.fold.batch
import streamgage.fold.source_fold
from processors.aggregate.batch import Aggregate
from processors.aggregate.progress import LaneEntries
from processors.deadline import Deadline
from processors.sink.fenced import AggregateSink, Applied
from processors.sink.writes import WRITTEN, Moved, Outcome, Unsure, Write
from streamgage.errors import RetryableError
from streamgage.fold.batch import BatchFold
from streamgage.fold.cells import Cell, ChunkContribution, Joined
from streamgage.fold.chunk import Chunk
from streamgage.fold.chunk_memory import ChunkMemory
from streamgage.fold.items import StoredItem
from streamgage.fold.source_fold import Events, SourceFold
from streamgage.fold.verdicts import TimeBounds, untimely, verdict
from streamgage.measures import distinct, histogram, histogram_points, time_weighted
from streamgage.measures.histogram import Buckets, Histogram
from streamgage.measures.session_texts import SessionTextsPart
from streamgage.measures.sessions import SessionsPart
from streamgage.measures.time_weighted import Signal
from streamgage.reading.places import Places
from streamgage.reading.poison import Poison
from streamgage.reading.record_reader import RecordReader
from streamgage.records import StreamRecord
from support.fakes import PLENTY, Crash
from support.one_by_one import OneByOne

Plant = Callable[[pytest.MonkeyPatch], None]


class _TextFence(int):
    """A fence that compares as its text does."""

    def __lt__(self, other: int) -> bool:
        return str(int(self)) < str(int(other))

    def __le__(self, other: int) -> bool:
        return str(int(self)) <= str(int(other))

    def __gt__(self, other: int) -> bool:
        return str(int(self)) > str(int(other))

    def __ge__(self, other: int) -> bool:
        return str(int(self)) >= str(int(other))


def _joins_are(patch: pytest.MonkeyPatch, change: Callable[..., Joined]) -> None:
    """Let ``change(contribution, known, joined)`` stand for what an item becomes; ``joined`` is the real code."""
    for kind in (ChunkContribution, LaneEntries):
        plain = kind.joined

        def joined(self: Any, known: StoredItem | None, plain: Any = plain) -> Joined:
            return change(self, known, partial(plain, self))

        patch.setattr(kind, "joined", joined)


def no_condition(patch: pytest.MonkeyPatch) -> None:
    """The fence is compared in memory only: whatever stands in the table is written over."""
    put = OneByOne._put

    def mutant(self: OneByOne, write: Write) -> Outcome:
        outcome = put(self, write)
        while isinstance(outcome, Moved):
            fence = outcome.current.fence if outcome.current else None
            outcome = put(self, write._replace(expected_fence=fence))
        return outcome

    patch.setattr(OneByOne, "_put", mutant)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """Whatever comes is added, and no write has a condition."""
    no_condition(patch)
    _joins_are(
        patch,
        lambda _, known, joined: joined(None if known is None else replace(known, fence=-1)),
    )


def fence_compared_as_text(patch: pytest.MonkeyPatch) -> None:
    """9 stands behind 10."""
    _joins_are(
        patch,
        lambda _, known, joined: joined(
            None if known is None else replace(known, fence=_TextFence(known.fence))
        ),
    )


def fence_as_dynamodb_number(patch: pytest.MonkeyPatch) -> None:
    """38 digits are kept of 56."""

    def short(fence: int) -> int:
        return int(str(fence)[:38].ljust(len(str(fence)), "0"))

    def change(_: Any, known: StoredItem | None, joined: Any) -> Joined:
        found: Joined = joined(known)
        if found.item is None:
            return found
        return replace(found, item=replace(found.item, fence=short(found.item.fence)))

    _joins_are(patch, change)


def whole_delta_skipped(patch: pytest.MonkeyPatch) -> None:
    """A batch that was applied in part is taken for applied."""

    def change(contribution: Any, known: StoredItem | None, joined: Any) -> Joined:
        if known is not None and known.fence >= contribution.first:
            return Joined(None, {})
        found: Joined = joined(known)
        return found

    _joins_are(patch, change)


def fence_is_the_first_contributions(patch: pytest.MonkeyPatch) -> None:
    """An item's fence is where its contributions begin, not where the batch ends."""

    def change(contribution: Any, known: StoredItem | None, joined: Any) -> Joined:
        found: Joined = joined(known)
        fence = contribution.first
        if found.item is None or (known is not None and fence <= known.fence):
            return found
        return replace(found, item=replace(found.item, fence=fence))

    _joins_are(patch, change)


def fence_inside_a_batch_forgotten(patch: pytest.MonkeyPatch) -> None:
    """An item that a part of the batch was applied to gets all of it."""

    def mutant(
        self: ChunkContribution,
        _fence: int,
        chunk: Chunk,
        places: Mapping[str, int],
        here: Sequence[int],
        new: Sequence[int],
    ) -> list[int]:
        streamgage.fold.cells._merge(chunk, places, self.cell, here)
        self.cell.add(chunk, new)
        return [self.cell.firsts[row] for row in (*here, *new)]

    patch.setattr(ChunkContribution, "_add_beyond", mutant)


def record_at_the_fence_folded_again(patch: pytest.MonkeyPatch) -> None:
    """Beyond a fence inside the batch is what is not before it."""
    beyond = streamgage.fold.batch._Fold.beyond
    patch.setattr(
        streamgage.fold.batch._Fold, "beyond", lambda self, cell, fence: beyond(self, cell, int(fence) - 1)
    )


def repeat_leaves_its_events(patch: pytest.MonkeyPatch) -> None:
    """What was read of a record stays when the record turns out to be a repeat, or broken."""
    patch.setattr(RecordReader, "forget", lambda _self, _record: None)


def later_slices_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Of a key that several slices of a batch hold, the first is kept."""
    add_slice = streamgage.fold.batch._add_slice

    def mutant(cell: Cell, states: Any, rows: Sequence[int]) -> None:
        known = {key.text for key in cell.keys}
        add_slice(cell, states, [row for row in rows if states.groups[row][0].text not in known])

    patch.setattr(streamgage.fold.batch, "_add_slice", mutant)


def closed_chunk_takes_keys(patch: pytest.MonkeyPatch) -> None:
    """A chunk that said that it takes no more keys forgets it."""
    read = ChunkContribution._read

    def mutant(self: ChunkContribution, known: StoredItem) -> Chunk:
        chunk = read(self, known)
        if chunk.keys:
            chunk.onward = 0
        return chunk

    patch.setattr(ChunkContribution, "_read", mutant)


def onward_before_its_parent_is_written(patch: pytest.MonkeyPatch) -> None:
    """Keys go on to other chunks before the chunk that has no room for them has said so."""
    join = AggregateSink._join

    def mutant(self: AggregateSink, *rest: Any) -> Any:
        writing, following = join(self, *rest)
        for each in writing:
            following.update(each.joined.onward)
        return [each._replace(joined=replace(each.joined, onward={})) for each in writing], following

    patch.setattr(AggregateSink, "_join", mutant)


def failure_names_what_was_written_alone(patch: pytest.MonkeyPatch) -> None:
    """Where a write fails, what waited for it and would have gone on is not named."""
    joined = ChunkContribution.joined

    def mutant(self: ChunkContribution, known: StoredItem | None) -> Joined:
        found = joined(self, known)
        if found.item is None or not found.onward:
            return found
        waits = min(each.first for each in found.onward.values())
        return replace(found, first=self.cell.fence) if found.first == waits else found

    patch.setattr(ChunkContribution, "joined", mutant)


def no_room_is_lost(patch: pytest.MonkeyPatch) -> None:
    """What has no room in a chunk goes nowhere."""
    patch.setattr(Cell, "onward", lambda *_: {})


def remembered_chunk_is_changed(patch: pytest.MonkeyPatch) -> None:
    """What a batch adds to a chunk in memory stays there though it was not written."""

    def mutant(self: ChunkMemory, cell: Any, body: bytes) -> Chunk | None:
        found = self._chunks.get((cell, body))
        return None if found is None else found[0]

    patch.setattr(ChunkMemory, "take", mutant)


def lost_answer_is_success(patch: pytest.MonkeyPatch) -> None:
    """A write that timed out is taken for one that happened."""
    put = OneByOne._put

    def mutant(self: OneByOne, write: Write) -> Outcome:
        outcome = put(self, write)
        return WRITTEN if isinstance(outcome, Unsure) else outcome

    patch.setattr(OneByOne, "_put", mutant)


def remembered_before_written(patch: pytest.MonkeyPatch) -> None:
    """A sandbox remembers an item before DynamoDB has it."""
    write = AggregateSink._write

    def mutant(self: AggregateSink, writing: Sequence[Any], *rest: Any) -> Any:
        pending = write(self, writing, *rest)
        for each in writing:
            if each.write.key not in self._known:
                self._remember(each.write.key, each.write.item)
        return pending

    patch.setattr(AggregateSink, "_write", mutant)


def duplicates_dropped_by_batch_hash(patch: pytest.MonkeyPatch) -> None:
    """Batches that were seen are dropped, and whatever is not such a batch is added."""
    no_fence(patch)
    seen: dict[int, set[tuple[Any, ...]]] = defaultdict(set)
    apply = AggregateSink.apply

    def mutant(self: AggregateSink, items: Any, *, deadline: Deadline) -> Applied:
        batch = tuple(
            sorted(
                (key, each.first, each.cell.fence if isinstance(each, ChunkContribution) else 0)
                for key, each in items.items()
            )
        )
        done = seen[id(self._store)]
        if batch in done:
            return Applied()
        applied = apply(self, items, deadline=deadline)
        if applied.failed_from is None:
            done.add(batch)
        return applied

    patch.setattr(AggregateSink, "apply", mutant)


def batch_wide_lateness(patch: pytest.MonkeyPatch) -> None:
    """Lateness is judged against the newest record of the batch."""
    fold = BatchFold.fold
    newest_ms = [0]

    def folded(self: BatchFold, records: Sequence[StreamRecord], *rest: Any) -> Any:
        newest_ms[0] = max((each.arrival_ms for each in records), default=0)
        return fold(self, records, *rest)

    def refused(bounds: TimeBounds, times: Sequence[int], places: Places) -> Any:
        newest = replace(places, records=[replace(each, arrival_ms=newest_ms[0]) for each in places.records])
        return untimely(bounds, times, newest)

    def reason(self: SourceFold, events: Events, ordinal: int) -> Any:
        return verdict(self._checks, events.event(ordinal), newest_ms[0])

    patch.setattr(BatchFold, "fold", folded)
    patch.setattr(streamgage.fold.source_fold, "untimely", refused)
    patch.setattr(SourceFold, "reason", reason)


def failed_from_is_the_highest(patch: pytest.MonkeyPatch) -> None:
    """The answer names the last failure, not the first."""
    fail = Applied.fail

    def mutant(self: Applied, first: int, error: str) -> None:
        highest = self.failed_from
        fail(self, first, error)
        self.failed_from = first if highest is None else max(first, highest)

    patch.setattr(Applied, "fail", mutant)


class _Held:
    def __init__(self) -> None:
        self.kept: list[Poison] = []

    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:  # noqa: ARG002 - the port's
        self.kept.extend(poison)


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
                raise Crash from error  # the invocation fails, and Lambda delivers the whole batch again
        return answer

    patch.setattr(Aggregate, "handle", mutant)


def quarantine_failure_swallowed(patch: pytest.MonkeyPatch) -> None:
    """Poison that the queue did not take is forgotten."""
    apply = Aggregate._apply

    def mutant(self: Aggregate, *rest: Any) -> None:
        quarantine = self._quarantine
        self._quarantine = _Forgetful(quarantine)
        try:
            apply(self, *rest)
        finally:
            self._quarantine = quarantine

    patch.setattr(Aggregate, "_apply", mutant)


class _Forgetful:
    def __init__(self, quarantine: Any) -> None:
        self._quarantine = quarantine

    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:
        try:
            self._quarantine.send(poison, deadline=deadline)
        except RetryableError:
            return


def filter_by_the_first(patch: pytest.MonkeyPatch) -> None:
    """A batch counts where its first event does: a filter is asked once."""

    def mutant(self: SourceFold, fold: Any, events: Events) -> set[int]:
        found = passed_over(self, fold, events)
        return set(range(events.count)) if 0 in found else set()

    passed_over = SourceFold._passed_over
    patch.setattr(SourceFold, "_passed_over", mutant)


def histogram_takes_the_later(patch: pytest.MonkeyPatch) -> None:
    """Of a bucket that both have, the count that came later stands."""

    def merged(histograms: Sequence[Histogram]) -> Histogram:
        buckets = {
            place: count for each in histograms for place, count in zip(each.places, each.counts, strict=True)
        }
        places = tuple(sorted(buckets))
        zeros = sum(each.zeros for each in histograms)
        return Histogram(histograms[0].scale, zeros, places, tuple(buckets[each] for each in places))

    patch.setattr(histogram, "merged", merged)


def histograms_meet_at_the_first_scale(patch: pytest.MonkeyPatch) -> None:
    """Buckets are added by their index, whatever scale they are of."""

    def united(histograms: Sequence[Buckets]) -> Histogram:
        buckets = Counter[int]()
        for each in histograms:
            for place, count in zip(each.places, each.counts, strict=True):
                buckets[place] += count
        places = tuple(sorted(buckets))
        zeros = sum(each.zeros for each in histograms)
        return Histogram(histograms[0].scale, zeros, places, tuple(buckets[each] for each in places))

    patch.setattr(histogram, "united", united)


def finer_buckets_begin_with_one(patch: pytest.MonkeyPatch) -> None:
    """The index of a finer bucket is divided as if the first one had the number 1."""
    of_opentelemetry = histogram.of_opentelemetry

    def mutant(
        scale: int, zeros: int, positive: tuple[int, Sequence[int]], negative: tuple[int, Sequence[int]]
    ) -> Histogram:
        off = scale > histogram.SCALE
        return of_opentelemetry(
            scale, zeros, (positive[0] + off, positive[1]), (negative[0] + off, negative[1])
        )

    patch.setattr(histogram_points, "of_opentelemetry", mutant)


def zeros_lower_the_scale(patch: pytest.MonkeyPatch) -> None:
    """A histogram of zeros alone has the scale that its client says."""
    of_opentelemetry = histogram.of_opentelemetry

    def mutant(scale: int, zeros: int, *runs: tuple[int, Sequence[int]]) -> Histogram:
        return of_opentelemetry(scale, zeros, *runs)._replace(scale=min(scale, histogram.SCALE))

    patch.setattr(histogram_points, "of_opentelemetry", mutant)


def distinct_of_the_last_batch(patch: pytest.MonkeyPatch) -> None:
    """What was known of different values is forgotten with the next batch."""
    patch.setattr(distinct, "merged", lambda states: states[-1])


CORE_BUGS: Mapping[str, Plant] = {
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
        later_slices_forgotten,
        closed_chunk_takes_keys,
        onward_before_its_parent_is_written,
        no_room_is_lost,
        failure_names_what_was_written_alone,
        remembered_chunk_is_changed,
        lost_answer_is_success,
        remembered_before_written,
        duplicates_dropped_by_batch_hash,
        batch_wide_lateness,
        failed_from_is_the_highest,
        quarantine_after_sink,
        quarantine_failure_swallowed,
    )
}
"""What both suites have to catch."""


def sessions_end_with_their_batch(patch: pytest.MonkeyPatch) -> None:
    """What comes later begins a session of its own: nothing is united over batches."""
    patch.setattr(
        SessionsPart,
        "_merged",
        lambda _, states: tuple(sorted(chain.from_iterable(states))) if states else (),
    )


def late_views_correct_nothing(patch: pytest.MonkeyPatch) -> None:
    """What a batch brings of before the last session that is known is dropped: its entry stands."""
    merged = SessionTextsPart._merged

    def mutant(self: SessionTextsPart, states: Sequence[Any]) -> Any:
        known, *others = [each for each in states if each] or [()]
        kept = [tuple(span for span in each if span[0] >= known[-1][0]) for each in others]
        return merged(self, [known, *kept])

    patch.setattr(SessionTextsPart, "_merged", mutant)


def signal_in_the_order_of_batches(patch: pytest.MonkeyPatch) -> None:
    """What a batch brings is taken to come after all that is known."""

    def merged(signals: Sequence[Signal]) -> Signal:
        return Signal(signals[0].level, tuple(chain.from_iterable(each.cells for each in signals)))

    patch.setattr(time_weighted, "merged", merged)


MEASURE_BUGS: Mapping[str, Plant] = {
    plant.__name__: plant
    for plant in (
        filter_by_the_first,
        histogram_takes_the_later,
        histograms_meet_at_the_first_scale,
        finer_buckets_begin_with_one,
        zeros_lower_the_scale,
        distinct_of_the_last_batch,
        sessions_end_with_their_batch,
        late_views_correct_nothing,
        signal_in_the_order_of_batches,
    )
}
"""Of filters and sketches, which the simulation's definition has."""
