"""Sequence numbers and the shard map of our Kinesis data plane."""

from itertools import pairwise

from infra.local.kinesis.sequence import (
    COUNTER_MAX,
    SequenceSpace,
    arrival_ms,
    counter_floor,
    parse_shard_index,
)
from infra.local.kinesis.shards import ShardMap, uniform_ranges

NOW_MS = 1_790_000_000_000
TOP = 2**128 - 1


def test_a_sequence_number_has_56_digits_from_1970_to_2200() -> None:
    for now_ms in (0, NOW_MS, 7_258_118_400_000):
        space = SequenceSpace(now_ms // 1000, 3)
        counter = counter_floor(now_ms)
        for number in (space.first, space.number(counter + 1), space.last(now_ms)):
            assert len(str(number)) == 56


def test_the_kcl_finds_version_and_shard_where_it_looks_for_them() -> None:
    number = SequenceSpace(NOW_MS // 1000, 4711).number(counter_floor(NOW_MS))
    assert number >> 184 & 15 == 2
    assert number >> 4 & (2**32 - 1) == 4711
    assert parse_shard_index(number) == 4711


def test_sequence_numbers_of_consecutive_counters_grow_and_equal_those_made_one_by_one() -> None:
    space = SequenceSpace(NOW_MS // 1000, 1)
    first = counter_floor(NOW_MS)
    numbers = space.numbers(first, 1000)
    assert all(low < high for low, high in pairwise(numbers))
    assert numbers == [space.number(first + i) for i in range(1000)]
    assert space.first < numbers[0]
    assert numbers[-1] < space.last(NOW_MS)


def test_a_counter_tells_the_arrival_time() -> None:
    assert arrival_ms(counter_floor(NOW_MS) + 1000) == NOW_MS
    assert counter_floor(-5) == 0


def test_a_sequence_number_is_a_position_at_or_after_its_record() -> None:
    space = SequenceSpace(NOW_MS // 1000, 1)
    counter = counter_floor(NOW_MS) + 7
    assert space.counter_from(space.number(counter), after=False) == counter
    assert space.counter_from(space.number(counter), after=True) == counter + 1
    for after in (False, True):
        assert space.counter_from(space.first, after=after) in (0, 1)
        assert (space.counter_from(space.last(NOW_MS), after=after) or 0) >= COUNTER_MAX


def test_a_sequence_number_of_another_shard_or_layout_is_no_position() -> None:
    space = SequenceSpace(NOW_MS // 1000, 1)
    for stranger in (SequenceSpace(NOW_MS // 1000, 2), SequenceSpace(NOW_MS // 1000 + 1, 1)):
        assert space.counter_from(stranger.number(counter_floor(NOW_MS)), after=False) is None
    assert space.counter_from(0, after=False) is None
    assert (
        space.counter_from(space.number(0) | 1 << 143, after=False) is None
    )  # a counter with its top bit set
    assert parse_shard_index(12345) is None


def test_uniform_ranges_cover_every_hash_key_once() -> None:
    for count in (1, 2, 3, 7, 1000):
        ranges = uniform_ranges(count)
        assert ranges[0][0] == 0
        assert ranges[-1][1] == TOP
        assert all(left[1] + 1 == right[0] for left, right in pairwise(ranges))


def test_a_hash_key_on_an_edge_belongs_to_the_shard_that_starts_there() -> None:
    shards = ShardMap.uniform(4, now_ms=NOW_MS)
    for shard in shards.open:
        assert shards.route(shard.start_hash) is shard
        assert shards.route(shard.end_hash) is shard


def test_children_start_above_their_parents_end_even_within_one_millisecond() -> None:
    shards = ShardMap.uniform(1, now_ms=NOW_MS).split(0, at=2**127, now_ms=NOW_MS)
    merged = shards.merge(1, 2, now_ms=NOW_MS)
    assert merged.by_index[0].closed_ms is not None
    for parent, child in ((0, 1), (0, 2), (1, 3), (2, 3)):
        end = merged.by_index[parent].space.last(merged.by_index[parent].closed_ms or 0)
        assert end < merged.by_index[child].space.first
        assert merged.by_index[parent].created_ms < merged.by_index[child].created_ms


def test_every_child_starts_above_its_parents_end_through_forty_reshardings_in_one_instant() -> None:
    shards = ShardMap.uniform(1, now_ms=NOW_MS)
    for _ in range(20):
        shards = shards.rescale(2, now_ms=NOW_MS).rescale(1, now_ms=NOW_MS)
    for child in shards.by_index.values():
        for index in {child.parent, child.adjacent_parent} - {None}:
            parent = shards.by_index[index or 0]
            assert parent.space.last(parent.closed_ms or 0) < child.space.first


def test_a_merge_names_both_parents_in_the_order_asked_for() -> None:
    shards = ShardMap.uniform(2, now_ms=NOW_MS).merge(1, 0, now_ms=NOW_MS)
    child = shards.by_index[2]
    assert (child.parent, child.adjacent_parent) == (1, 0)
    assert (child.start_hash, child.end_hash) == (0, TOP)
    assert [shard.index for shard in shards.children(0)] == [2]
    assert [shard.index for shard in shards.children(1)] == [2]


def test_doubling_splits_each_shard_once_and_halving_merges_pairs() -> None:
    two = ShardMap.uniform(2, now_ms=NOW_MS)
    four = two.rescale(4, now_ms=NOW_MS)
    assert len(four.by_index) == 6
    back = four.rescale(2, now_ms=NOW_MS)
    assert len(back.by_index) == 8
    assert [(s.start_hash, s.end_hash) for s in back.open] == uniform_ranges(2)


def test_the_index_of_an_expired_shard_is_never_given_again() -> None:
    shards = ShardMap.uniform(1, now_ms=NOW_MS).split(0, at=2**127, now_ms=NOW_MS).without([0])
    assert sorted(shards.by_index) == [1, 2]
    assert sorted(shards.split(1, at=2**126, now_ms=NOW_MS).by_index) == [1, 2, 3, 4]
