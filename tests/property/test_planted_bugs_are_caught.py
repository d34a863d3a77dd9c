"""A suite that never failed proves nothing: each bug planted here is one that others have shipped."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, settings

import processors.aggregate.batch
import processors.sink.fenced
import streamgage.fold.column_fold
import streamgage.fold.folder
from processors.aggregate.batch import Aggregate
from processors.deadline import Deadline
from processors.sink.fenced import AggregateSink, Applied
from streamgage.errors import RetryableError
from streamgage.fold.folder import Lane, Poison
from streamgage.fold.items import ItemKey, StoredItem, lane_of_key, lane_of_shard
from streamgage.reading.contributions import Contributions, Part, Places
from support.fakes import PLENTY, Crash, InMemoryItemStore, InMemoryQuarantine, World
from support.one_by_one import FenceMovedError
from support.schedules import Attack, judge, shared_out
from support.strategies import SCHEDULES, Entry, Step, logs, pipeline

LIMIT = 2_000  # examples; over ten seeds each bug was caught within 280, and the property has 500
Plant = Callable[[pytest.MonkeyPatch], None]


class TextFence(int):
    """A fence that compares as its text does."""

    def __lt__(self, other: int) -> bool:
        return str(int(self)) < str(int(other))


class NoFence(int):
    """A fence that everything is beyond."""

    def __lt__(self, other: int) -> bool:
        return True


def no_condition(patch: pytest.MonkeyPatch) -> None:
    def put(self: InMemoryItemStore, key: ItemKey, item: StoredItem, expected_fence: int | None) -> None:
        del expected_fence
        plain_put(self, key, item, self.item(key).fence if key in self.rows else None)

    plain_put = InMemoryItemStore._put
    patch.setattr(InMemoryItemStore, "_put", put)


def fences_are(kind: type[int]) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        item = InMemoryItemStore.item
        patch.setattr(
            processors.sink.fenced,
            "StoredItem",
            lambda fence, *rest: StoredItem(kind(fence), *rest),
        )

        def read(self: InMemoryItemStore, key: ItemKey) -> StoredItem:
            found = item(self, key)
            return replace(found, fence=kind(found.fence))

        patch.setattr(InMemoryItemStore, "item", read)

    return plant


def fence_as_dynamodb_number(patch: pytest.MonkeyPatch) -> None:
    """38 digits are kept of 56."""
    patch.setattr(
        processors.sink.fenced,
        "StoredItem",
        lambda fence, *rest: StoredItem(int(str(fence)[:38].ljust(len(str(fence)), "0")), *rest),
    )


def whole_delta_skipped(patch: pytest.MonkeyPatch) -> None:
    add = AggregateSink._add

    def mutant(
        self: AggregateSink, pending: Any, key: ItemKey, contribution: Any, known: StoredItem | None
    ) -> bool:
        whole = contribution.after(None)
        if known is not None and whole is not None and whole.first <= known.fence:
            return False
        return add(self, pending, key, contribution, known)

    patch.setattr(AggregateSink, "_add", mutant)


def _parts_are(patch: pytest.MonkeyPatch, change: Callable[[Part, Part], Part]) -> None:
    after = Contributions.after

    def mutant(self: Contributions, fence: int | None) -> Part | None:
        whole, part = after(self, None), after(self, fence)
        return None if whole is None or part is None else change(whole, part)

    patch.setattr(Contributions, "after", mutant)


def fence_is_the_first_contributions(patch: pytest.MonkeyPatch) -> None:
    _parts_are(patch, lambda _, part: replace(part, fence=part.first))


def fence_inside_a_batch_forgotten(patch: pytest.MonkeyPatch) -> None:
    _parts_are(patch, lambda whole, _: whole)


def record_at_the_fence_folded_again(patch: pytest.MonkeyPatch) -> None:
    beyond = Places.beyond
    patch.setattr(Places, "beyond", lambda self, fence: beyond(self, int(fence) - 1))


def place_counts_from_the_record(patch: pytest.MonkeyPatch) -> None:
    """An event's sub-sequence number is counted among the good ones of its record."""
    patch.setattr(Places, "goes_on", lambda self, _start, _sub, record: self.records[-1:] == [record])


def lanes_of_a_batch_mixed(patch: pytest.MonkeyPatch) -> None:
    """All events of a batch go to the lane of its first."""
    patch.setattr(streamgage.fold.column_fold.SourceBatch, "_lane_column", lambda _self: None)


def all_old_ignored(patch: pytest.MonkeyPatch) -> None:
    def put(self: InMemoryItemStore, key: ItemKey, item: StoredItem, *, expected_fence: int | None) -> None:
        try:
            plain_put(self, key, item, expected_fence=expected_fence)
        except FenceMovedError as moved:
            plain_put(self, key, item, expected_fence=moved.current.fence if moved.current else None)

    plain_put = InMemoryItemStore.put
    patch.setattr(InMemoryItemStore, "put", put)


def highest_failure_named(patch: pytest.MonkeyPatch) -> None:
    fail = processors.sink.fenced._fail

    def mutant(outcome: Applied, first: int, errors: Sequence[str]) -> None:
        highest = outcome.failed_from
        fail(outcome, first, errors)
        outcome.failed_from = first if highest is None else max(first, highest)

    patch.setattr(processors.sink.fenced, "_fail", mutant)


def _quarantine_last(patch: pytest.MonkeyPatch, *, skipped_on_failure: bool) -> None:
    handle = Aggregate.handle

    def mutant(self: Aggregate, event: Any, *, remaining_ms: Any) -> Any:
        quarantine, held = self._quarantine, InMemoryQuarantine()
        self._quarantine = held
        try:
            answer = handle(self, event, remaining_ms=remaining_ms)
        finally:
            self._quarantine = quarantine
        if not (skipped_on_failure and answer["batchItemFailures"]):
            try:
                quarantine.send(held.kept, deadline=PLENTY)
            except RetryableError as error:
                raise Crash from error  # the invocation fails, and Lambda delivers the whole batch again
        return answer

    patch.setattr(Aggregate, "handle", mutant)


def quarantine_after_the_sink_and_only_if_it_succeeded(patch: pytest.MonkeyPatch) -> None:
    _quarantine_last(patch, skipped_on_failure=True)


def quarantine_failure_swallowed(patch: pytest.MonkeyPatch) -> None:
    def send(self: InMemoryQuarantine, poison: Sequence[Poison], *, deadline: Deadline) -> None:
        try:
            plain_send(self, poison, deadline=deadline)
        except RetryableError:
            return

    plain_send = InMemoryQuarantine.send
    patch.setattr(InMemoryQuarantine, "send", send)


def repeated_records_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        streamgage.fold.folder,
        "_in_order",
        lambda records: sorted(records, key=lambda each: each.sequence_number),
    )


def lost_response_is_success(patch: pytest.MonkeyPatch) -> None:
    """A timed-out write is taken for one that happened."""

    def put(self: InMemoryItemStore, key: ItemKey, item: StoredItem, *, expected_fence: int | None) -> None:
        try:
            plain_put(self, key, item, expected_fence=expected_fence)
        except RetryableError:
            return

    plain_put = InMemoryItemStore.put
    patch.setattr(InMemoryItemStore, "put", put)


def duplicates_dropped_by_batch(patch: pytest.MonkeyPatch) -> None:
    """Others remember a hash of the batch, and add up whatever is not that batch."""
    no_condition(patch)
    fences_are(NoFence)(patch)
    seen: dict[int, set[tuple[int, ...]]] = defaultdict(set)
    apply = AggregateSink.apply

    def mutant(self: AggregateSink, items: Any, *, remaining_ms: Any) -> Applied:
        parts = [part for each in items.values() if (part := each.after(None))]
        batch = tuple(sorted({number for part in parts for number in (part.first, part.fence)}))
        done = seen[id(self._store)]
        if batch in done:
            return Applied()
        applied = apply(self, items, remaining_ms=remaining_ms)
        done.add(batch)
        return applied

    patch.setattr(AggregateSink, "apply", mutant)


def planted(name: str, plant: Plant) -> Any:
    return pytest.param(plant, id=name)


BUGS: list[Any] = [
    no_condition,
    planted("no_fence_compare", fences_are(NoFence)),
    planted("fence_compared_as_text", fences_are(TextFence)),
    fence_as_dynamodb_number,
    whole_delta_skipped,
    fence_is_the_first_contributions,
    fence_inside_a_batch_forgotten,
    record_at_the_fence_folded_again,
    place_counts_from_the_record,
    all_old_ignored,
    highest_failure_named,
    quarantine_after_the_sink_and_only_if_it_succeeded,
    quarantine_failure_swallowed,
    repeated_records_kept,
    lost_response_is_success,
    duplicates_dropped_by_batch,
]


def attack_until_wrong(examples: list[int], *, lane: Lane | None = None, shares: int = 9) -> None:
    """Run the property until it fails. With *lane*, Lambda shares the partition keys out to so many invocations."""

    @settings(
        max_examples=LIMIT,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(log=logs(), steps=SCHEDULES)
    def attack(log: list[Entry], steps: list[Step]) -> None:
        examples.append(len(log))
        world = World(pipeline(), lane=lane or lane_of_shard)
        Attack(world, shared_out(log, shares if lane else 1)).run(steps)
        judge(world, log)

    attack()


@pytest.mark.parametrize("plant", BUGS)
def test_the_property_catches(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    examples: list[int] = []
    with pytest.raises(AssertionError):
        attack_until_wrong(examples)
    assert len(examples) < LIMIT


def lane_of_bucket(shard_id: str, partition_key: str) -> str:
    return f"{shard_id}|{len(partition_key) % 2}"


@pytest.mark.parametrize("lane", [lane_of_shard, lane_of_bucket])
def test_the_property_catches_lanes_that_are_shared_by_partition_keys(lane: Lane) -> None:
    examples: list[int] = []
    with pytest.raises(AssertionError):
        attack_until_wrong(examples, lane=lane)
    assert len(examples) < LIMIT


def test_the_property_catches_lanes_that_are_mixed_within_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes_of_a_batch_mixed(monkeypatch)
    examples: list[int] = []
    with pytest.raises(AssertionError):
        attack_until_wrong(examples, lane=lane_of_key, shares=2)
    assert len(examples) < LIMIT
