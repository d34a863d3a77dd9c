"""What may be called applied: what the mapping has seen, and the tables have."""

from typing import Any

from processors.query.freshness import freshness
from processors.query.progress import ShardProgress

SHARD: dict[str, Any] = {"finished": False, "caught_up": True, "read_started_ms": 9_000, "applied": "10"}


def progress(sequence_number: int) -> list[ShardProgress]:
    return [ShardProgress("a", sequence_number, 5_000, 0, 0, 0)]


def test_a_shard_read_to_its_end_is_applied_where_the_tables_have_what_was_applied() -> None:
    fresh = freshness(progress(10), {"shards": {"a": SHARD}})
    assert (fresh.applied_ms, fresh.lacking) == (9_000, ())


def test_behind_a_shard_that_has_ended_nothing_is_applied_until_its_children_are_known() -> None:
    parent = {**SHARD, "finished": True, "applied": None}
    status = {"shards": {"a": SHARD, "b": parent}}
    bounded = freshness(progress(10), {**status, "known_to_ms": 8_000})
    assert (bounded.applied_ms, bounded.shards) == (8_000, {"a": 8_000})  # by which dashboard and metrics go
    assert freshness(progress(10), {**status, "known_to_ms": 9_500}).applied_ms == 9_000
    assert freshness(progress(10), {**status, "known_to_ms": None}).applied_ms == 9_000


def test_tables_that_were_exchanged_under_the_stack_are_found_and_nothing_is_called_applied() -> None:
    for found in (progress(9), []):
        fresh = freshness(found, {"shards": {"a": SHARD}})
        assert fresh.lacking == ("a",)
        assert fresh.applied_ms < 9_000
        assert "the tables lack what was applied of a" in fresh.describe(9_000)


def test_with_lanes_by_partition_key_and_on_aws_the_mappings_word_stands_alone() -> None:
    assert freshness([], {"shards": {"a": SHARD}}, by_key=True).applied_ms == 9_000
    on_aws = {key: value for key, value in SHARD.items() if key != "applied"}
    assert freshness(progress(1), {"shards": {"a": on_aws}}).lacking == ()
