"""The fold does not depend on how a batch was cut, and the query does not depend on how many shards there were."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import World, invoke
from schedules import ROLLUPS, SIZES_MS, judge
from strategies import CLICKS, READINGS, Entry, logs, pipeline
from streamgage.fold import Contributions, Folder
from streamgage.items import ItemKey, lane_of_key
from streamgage.measures import State, compile_layout
from streamgage.records import StreamRecord

CALM = settings(max_examples=100, deadline=None)
SHARD = "shardId-000000000000"


def records_of(log: Sequence[Entry]) -> list[StreamRecord]:
    return [entry.record for entry in log]


def parts_by_item(
    folder: Folder, batches: list[list[StreamRecord]]
) -> dict[ItemKey, list[tuple[int, State]]]:
    parts: dict[ItemKey, list[tuple[int, State]]] = {}
    for batch in batches:
        for key, contributions in folder.fold(batch).items.items():
            parts.setdefault(key, []).extend(contributions.parts)
    return parts


@CALM
@given(log=logs(), data=st.data())
def test_folding_a_log_in_any_cuts_gives_the_contributions_of_one_fold(
    log: list[Entry], data: st.DataObject
) -> None:
    records, folder = records_of(log), Folder(pipeline())
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(records) - 1)))))
    batches = [records[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True)]
    assert parts_by_item(folder, batches) == parts_by_item(folder, [records])
    whole = folder.fold(records)
    assert [poison for batch in batches for poison in folder.fold(batch).poison] == whole.poison
    assert whole.kinesis_records == len(records)
    assert whole.user_records == sum(len(entry.good) + len(entry.bad) for entry in log)


@CALM
@given(log=logs(), data=st.data())
def test_a_batch_that_repeats_and_reorders_its_records_folds_as_in_order(
    log: list[Entry], data: st.DataObject
) -> None:
    records, folder = records_of(log), Folder(pipeline())
    repeated = data.draw(st.permutations(records + data.draw(st.lists(st.sampled_from(records), max_size=4))))
    assert folder.fold(repeated) == folder.fold(records)


@CALM
@given(log=logs())
def test_each_item_gets_one_contribution_a_record_in_rising_order(log: list[Entry]) -> None:
    for contributions in Folder(pipeline()).fold(records_of(log)).items.values():
        numbers = [number for number, _ in contributions.parts]
        assert numbers == sorted(set(numbers))


@CALM
@given(log=logs(), lane_is_key=st.booleans())
def test_a_window_holds_what_direct_assignment_of_each_event_gives(
    log: list[Entry],
    lane_is_key: bool,  # noqa: FBT001 - drawn
) -> None:
    world = World(pipeline(), lane=lane_of_key) if lane_is_key else World(pipeline())
    assert invoke(world.sandbox(), records_of(log)) is None
    judge(world, log)


@CALM
@given(log=logs(), other=logs(shard_id="shardId-000000000001"))
def test_the_query_over_shards_equals_one_pass_over_all_events(log: list[Entry], other: list[Entry]) -> None:
    world = World(pipeline())
    invoke(world.sandbox(), records_of(log))
    invoke(world.sandbox(), records_of(other))
    judge(world, log + other)


@CALM
@given(log=logs())
def test_a_query_of_all_time_gives_every_window_once_in_order(log: list[Entry]) -> None:
    world = World(pipeline())
    invoke(world.sandbox(), records_of(log))
    sent = [(each.source, each.event) for entry in log for each in entry.good]
    for rollup, (source, names, labels, _) in ROLLUPS.items():
        for key in {tuple(event[name] for name in names) for kind, event in sent if kind == source}:
            for label in labels:
                size_ms = SIZES_MS[label]
                starts = {
                    event["ts"] // size_ms * size_ms
                    for kind, event in sent
                    if kind == source and tuple(event[name] for name in names) == key
                }
                rows = world.ask(rollup, dict(zip(names, key, strict=True)), label)
                assert [row.window.start_ms for row in rows] == sorted(starts)


MakeEvent = Any


@CALM
@given(makes=st.lists(READINGS | CLICKS, min_size=1, max_size=8), data=st.data())
def test_contributions_merge_in_any_grouping(makes: list[MakeEvent], data: st.DataObject) -> None:
    records = [
        StreamRecord(SHARD, 10**55 + number, "p", make(1_699_999_200_000)[2], 1_699_999_200_000)
        for number, make in enumerate(makes)
    ]
    for contributions in Folder(pipeline()).fold(records).items.values():
        order = data.draw(st.permutations(contributions.parts))
        cut = data.draw(st.integers(0, len(order)))
        assert merged(contributions, [order[:cut], order[cut:]]) == merged(
            contributions, [contributions.parts]
        )


def merged(contributions: Contributions, groups: Sequence[Sequence[tuple[int, State]]]) -> State:
    monoid = compile_layout(contributions.rollup.layout)
    total = monoid.identity()
    for group in groups:
        state = monoid.identity()
        for _, part in group:
            monoid.merge(state, part)
        monoid.merge(total, state)
    return total
