"""The event source mapping, rule by rule."""

import json
import random
from collections.abc import Callable
from itertools import count

import pytest

from infra.local.function.outcome import Answered, Failed, NotInvoked, Outcome
from infra.local.mapping.config import MappingConfig
from infra.local.mapping.payload import ENVELOPE_BYTES, encode_payload, record_bytes
from infra.local.mapping.shard import ShardMapping
from infra.local.mapping.stream import Discard, Invocation, ShardCheckpoint, ShardInfo, StreamMapping
from infra.template.filtering.criteria import Criteria, parse_criteria
from streamgage import limits
from streamgage.formats.kinesis_event import encode_response
from streamgage.records import StreamRecord

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
BASE = 49590338271490256608559692538361571095921575989136588898
OK = Answered(b"null")
ERROR = Failed("boom")


def record(
    n: int, key: str = "k", data: bytes = b"x", *, arrival_ms: int = 0, shard: str = "s0"
) -> StreamRecord:
    return StreamRecord(shard, BASE + n, key, data, arrival_ms)


def shard_of(config: MappingConfig, checkpoint: int | None = None) -> ShardMapping:
    return ShardMapping("s0", config=config, stream_arn=ARN, checkpoint=checkpoint, ids=count(1))


def numbers(work: Invocation | Discard) -> list[int]:
    return [record.sequence_number - BASE for record in work.records]


def run(
    shard: ShardMapping, function: Callable[[list[int]], Outcome]
) -> tuple[list[list[int]], list[Discard]]:
    """Drive the shard until it rests; return the batches it invoked and what it discarded."""
    batches, discards, now_ms = [], [], 0
    while (wake := shard.next_wake_ms()) is not None:
        now_ms = max(now_ms, wake)
        for work in shard.due(now_ms):
            if isinstance(work, Discard):
                discards.append(work)
                shard.discarded(work.discard_id)
            else:
                batches.append(numbers(work))
                shard.settle(work.invocation_id, function(numbers(work)), now_ms)
    return batches, discards


def checkpoint(shard: ShardMapping) -> int | None:
    return shard.checkpoint


def failing(bad: set[int]) -> Callable[[list[int]], Outcome]:
    """A function that reports the first bad record of its batch."""

    def function(batch: list[int]) -> Outcome:
        failed = [BASE + n for n in batch if n in bad][:1]
        return Answered(json.dumps(encode_response(failed)).encode())

    return function


def raising(bad: set[int]) -> Callable[[list[int]], Outcome]:
    return lambda batch: ERROR if bad & set(batch) else OK


def test_the_case_that_aws_was_recorded_on_batch_of_3_and_3_retries_and_one_bad_record() -> None:
    shard = shard_of(MappingConfig(batch_size=3, max_retry_attempts=3, report_item_failures=True))
    shard.feed([record(n) for n in range(1, 7)], 0)
    batches, [discard] = run(shard, failing({6}))
    assert batches == [[1, 2, 3], [4, 5, 6], [6], [6], [6], [6]]
    assert (numbers(discard), discard.invoke_count, discard.condition) == ([6], 4, "RetryAttemptsExhausted")
    assert discard.function_error is None  # the function answered; it did not fail
    assert shard.checkpoint == BASE + 6


def test_bisect_isolates_the_bad_record_and_splitting_takes_no_retries() -> None:
    shard = shard_of(MappingConfig(batch_size=3, max_retry_attempts=3, bisect=True))
    shard.feed([record(n) for n in (1, 2, 3)], 0)
    batches, [discard] = run(shard, raising({2}))
    assert batches == [[1, 2, 3], [1, 2], [1], [2], [2], [2], [2], [3]]
    assert (numbers(discard), discard.invoke_count, discard.function_error) == ([2], 4, "Unhandled")


def test_with_bisect_a_partial_failure_splits_at_the_returned_sequence_number() -> None:
    shard = shard_of(MappingConfig(bisect=True, report_item_failures=True, max_retry_attempts=0))
    shard.feed([record(n) for n in range(8)], 0)
    batches, [discard] = run(shard, failing({5}))
    assert batches == [[0, 1, 2, 3, 4, 5, 6, 7], [5, 6, 7], [5, 6], [5], [6], [7]]
    assert numbers(discard) == [5]


def test_what_remains_of_a_left_half_comes_before_the_right_half() -> None:
    shard = shard_of(MappingConfig(bisect=True, report_item_failures=True))
    shard.feed([record(n) for n in range(4)], 0)
    answers: list[Outcome] = [ERROR, failing({1})([0, 1])]
    batches, _ = run(shard, lambda _: answers.pop(0) if answers else OK)
    assert batches == [[0, 1, 2, 3], [0, 1], [1], [2, 3]]


def test_without_bisect_the_whole_batch_is_retried_and_discarded() -> None:
    shard = shard_of(MappingConfig(batch_size=3, max_retry_attempts=2))
    shard.feed([record(n) for n in range(5)], 0)
    batches, [discard] = run(shard, raising({1}))
    assert batches == [[0, 1, 2]] * 3 + [[3, 4]]
    assert (numbers(discard), discard.invoke_count) == ([0, 1, 2], 3)


def test_progress_makes_a_new_batch_with_all_its_retries() -> None:
    shard = shard_of(MappingConfig(max_retry_attempts=1, report_item_failures=True))
    shard.feed([record(n) for n in (1, 2)], 0)
    answers: list[Outcome] = [ERROR, failing({2})([1, 2]), ERROR, OK]
    batches, discards = run(shard, lambda _: answers.pop(0))
    assert batches == [[1, 2], [1, 2], [2], [2]]
    assert discards == []


def test_no_retries_means_one_invocation() -> None:
    shard = shard_of(MappingConfig(max_retry_attempts=0))
    shard.feed([record(1)], 0)
    batches, [discard] = run(shard, raising({1}))
    assert (batches, discard.invoke_count) == ([[1]], 1)


def test_endless_retries_wait_longer_and_longer() -> None:
    shard = shard_of(MappingConfig(retry_first_ms=100, retry_max_ms=350))
    shard.feed([record(1)], 0)
    waits, now_ms = [], 0
    for _ in range(4):
        [invocation] = shard.due(now_ms)
        assert isinstance(invocation, Invocation)
        shard.settle(invocation.invocation_id, ERROR, now_ms)
        wake_ms = shard.next_wake_ms()
        assert wake_ms is not None
        assert shard.due(wake_ms - 1) == []
        waits.append(wake_ms - now_ms)
        now_ms = wake_ms
    assert waits == [100, 200, 350, 350]


def test_what_could_not_be_invoked_takes_no_retry_and_goes_on_until_too_old() -> None:
    shard = shard_of(MappingConfig(max_retry_attempts=0, max_record_age_ms=60_000, retry_first_ms=10_000))
    shard.feed([record(1, arrival_ms=0)], 0)
    batches, [discard] = run(shard, lambda _: NotInvoked("throttled"))
    assert len(batches) == 4  # at 0, 10, 30 and 60 s; at 90 s it is older than a minute
    assert (discard.condition, discard.invoke_count) == ("RecordAgeExceeded", 1)


def test_records_that_are_too_old_are_discarded_before_any_invocation_and_the_rest_goes_on() -> None:
    shard = shard_of(MappingConfig(batch_size=2, max_record_age_ms=60_000))
    shard.feed([record(n, arrival_ms=0 if n < 3 else 10) for n in range(5)], 60_010)
    work = shard.due(60_010)
    assert [(type(item), numbers(item)) for item in work] == [(Discard, [0, 1]), (Discard, [2])]
    assert checkpoint(shard) is None
    for item in work:
        assert isinstance(item, Discard)
        assert item.invocation_id is None
        assert shard.due(60_010) == []
        shard.discarded(item.discard_id)
    assert checkpoint(shard) == BASE + 2
    assert [(type(item), numbers(item)) for item in shard.due(60_010)] == [(Invocation, [3, 4])]


def test_the_old_part_of_a_failed_batch_is_discarded_and_the_young_part_retried() -> None:
    shard = shard_of(MappingConfig(max_record_age_ms=60_000, retry_first_ms=1))
    shard.feed([record(1, arrival_ms=0), record(2, arrival_ms=5000)], 5000)
    [first] = shard.due(5000)
    assert isinstance(first, Invocation)
    shard.settle(first.invocation_id, ERROR, 61_000)
    [discard] = shard.due(61_001)
    assert isinstance(discard, Discard)
    shard.discarded(discard.discard_id)
    [retry] = shard.due(61_001)
    assert (numbers(discard), numbers(retry)) == ([1], [2])


def test_a_discard_counts_only_when_it_was_delivered_and_its_lane_waits_for_that() -> None:
    shard = shard_of(MappingConfig(max_retry_attempts=0, batch_size=1))
    shard.feed([record(1), record(2)], 0)
    [first] = shard.due(0)
    assert isinstance(first, Invocation)
    shard.settle(first.invocation_id, ERROR, 0)
    [discard] = shard.due(0)
    assert isinstance(discard, Discard)
    assert shard.due(10_000) == []
    assert shard.next_wake_ms() is None
    assert checkpoint(shard) is None
    shard.discarded(discard.discard_id)
    assert checkpoint(shard) == BASE + 1
    [second] = shard.due(10_000)
    assert isinstance(second, Invocation)
    shard.settle(second.invocation_id, OK, 10_000)
    shard.end_of_shard()
    assert checkpoint(shard) == BASE + 2
    assert shard.finished


def test_a_batching_window_waits_and_a_full_batch_does_not() -> None:
    shard = shard_of(MappingConfig(batch_size=3, window_ms=5000))
    shard.feed([record(1)], 1000)
    assert shard.due(5999) == []
    assert shard.next_wake_ms() == 6000
    shard.feed([record(2), record(3), record(4)], 5999)
    [work] = shard.due(5999)
    assert numbers(work) == [1, 2, 3]


def test_the_end_of_a_shard_ends_the_window() -> None:
    shard = shard_of(MappingConfig(window_ms=300_000))
    shard.feed([record(1)], 0)
    shard.end_of_shard()
    assert len(shard.due(0)) == 1


def test_six_megabytes_of_payload_end_a_batch() -> None:
    shard = shard_of(MappingConfig(window_ms=1000))
    shard.feed([record(n, data=bytes(1024 * 1024)) for n in range(6)], 0)
    [work] = shard.due(0)  # full: it does not wait for the window
    payload = encode_payload(work.records, stream_arn=ARN)
    assert numbers(work) == [0, 1, 2, 3]
    assert len(payload) <= limits.ESM_PAYLOAD_BYTES < len(payload) * 5 // 4


def test_the_length_of_a_payload_is_foretold_exactly() -> None:
    rng = random.Random(7)
    keys = ["", "device-1", 'a"b\\c', "é", "\x07\n", "😀 key", "x" * 256]
    batch = [
        StreamRecord(
            "shardId-000000000003", rng.randrange(10**55), key, rng.randbytes(n * 7), rng.randrange(2**41)
        )
        for n, key in enumerate(keys)
    ]
    foretold = ENVELOPE_BYTES + sum(record_bytes(item, stream_arn=ARN) for item in batch) + len(batch) - 1
    assert foretold == len(encode_payload(batch, stream_arn=ARN))


def test_lanes_run_at_once_and_a_failing_one_blocks_only_its_keys() -> None:
    shard = shard_of(MappingConfig(batch_size=1, parallelization_factor=3, retry_first_ms=1000))
    shard.feed([record(1, "a"), record(2, "b"), record(3, "a"), record(4, "b"), record(5, "c")], 0)
    first = shard.due(0)
    assert [numbers(work) for work in first] == [[1], [2], [5]]
    for work in first:
        assert isinstance(work, Invocation)
        shard.settle(work.invocation_id, ERROR if work.records[0].partition_key == "a" else OK, 0)
    assert [numbers(work) for work in shard.due(0)] == [[4]]
    assert checkpoint(shard) is None  # 1 is not done
    assert shard.due(999) == []
    assert [numbers(work) for work in shard.due(1000)] == [[1]]


def test_a_key_moves_to_another_lane_once_nothing_of_it_is_undone() -> None:
    shard = shard_of(MappingConfig(batch_size=1, parallelization_factor=2))
    shard.feed([record(1, "a"), record(2, "b")], 0)
    one, two = shard.due(0)
    assert isinstance(one, Invocation)
    assert isinstance(two, Invocation)
    shard.settle(two.invocation_id, OK, 0)
    shard.feed([record(3, "c"), record(4, "b")], 0)  # c takes the idle lane, b finds both as long: the first
    [three] = shard.due(0)
    assert numbers(three) == [3]
    shard.settle(one.invocation_id, OK, 0)
    assert [numbers(work) for work in shard.due(0)] == [[4]]


def test_the_buffer_is_bounded_and_a_full_one_ends_the_window() -> None:
    shard = shard_of(MappingConfig(batch_size=100, window_ms=300_000, buffer_records=10))
    shard.feed([record(n) for n in range(9)], 0)
    room = [shard.wants_records]
    assert shard.due(0) == []
    shard.feed([record(9)], 0)
    room.append(shard.wants_records)
    assert room == [True, False]
    assert [len(work.records) for work in shard.due(0)] == [10]


def test_a_reader_may_start_over_without_delivering_twice() -> None:
    shard = shard_of(MappingConfig(), checkpoint=BASE + 2)
    shard.feed([record(n) for n in range(5)], 0)
    shard.feed([record(n) for n in range(6)], 0)
    batches, _ = run(shard, lambda _: OK)
    assert batches == [[3, 4, 5]]


def only_key(key: str) -> Criteria | None:
    criteria, _ = parse_criteria({"Filters": [{"Pattern": json.dumps({"partitionKey": [key]})}]})
    return criteria


def test_what_a_filter_holds_back_goes_nowhere_and_the_checkpoint_passes_it() -> None:
    shard = shard_of(MappingConfig(filters=only_key("k")))
    assert shard.feed([record(1, "other"), record(2), record(3, "other"), record(4, "other")], 0) == 3
    assert (checkpoint(shard), shard.undone, shard.last_fed) == (BASE + 1, 1, BASE + 4)
    batches, discards = run(shard, lambda _: OK)
    assert (batches, discards) == ([[2]], [])
    assert checkpoint(shard) == BASE + 4


def test_a_filtered_record_behind_a_failing_one_does_not_take_the_checkpoint_past_it() -> None:
    shard = shard_of(MappingConfig(filters=only_key("k")))
    shard.feed([record(1), record(2, "other")], 0)
    [work] = shard.due(0)
    assert isinstance(work, Invocation)
    shard.settle(work.invocation_id, ERROR, 0)
    assert checkpoint(shard) is None
    [work] = shard.due(10**6)
    assert isinstance(work, Invocation)
    shard.settle(work.invocation_id, OK, 10**6)
    assert checkpoint(shard) == BASE + 2


def test_a_shard_whose_last_records_are_filtered_is_finished_when_the_others_are_done() -> None:
    shard = shard_of(MappingConfig(filters=only_key("k")))
    shard.feed([record(1), record(2, "other")], 0)
    shard.end_of_shard()
    finished = [shard.finished]
    run(shard, lambda _: OK)
    finished.append(shard.finished)
    assert finished == [False, True]


def test_behind_a_batch_that_is_retried_filtered_records_take_no_room() -> None:
    shard = shard_of(MappingConfig(filters=only_key("k"), buffer_records=10))
    shard.feed([record(0), *(record(n, "other") for n in range(1, 1000))], 0)
    assert shard.wants_records
    assert shard.remembered == 2


def mapping(progress: dict[str, ShardCheckpoint] | None = None, **settings: object) -> StreamMapping:
    config = MappingConfig(**settings)  # type: ignore[arg-type]  # the few settings a test names
    return StreamMapping(config, stream_arn=ARN, checkpoints=progress)


MERGE = [ShardInfo("a", closed=True), ShardInfo("b", closed=True), ShardInfo("c", ("a", "b"))]


def test_a_child_waits_until_both_parents_of_a_merge_are_done_not_only_read() -> None:
    stream = mapping()
    stream.update(MERGE, 0)
    assert stream.readable() == ["a", "b"]
    stream.feed("a", [record(1, shard="a")], 0)
    stream.end_of_shard("a")
    stream.end_of_shard("b")
    [work] = stream.due(0)
    assert stream.readable() == []
    assert isinstance(work, Invocation)
    stream.settle(work.invocation_id, ERROR, 0)
    assert stream.readable() == []
    [work] = stream.due(10**6)
    assert isinstance(work, Invocation)
    stream.settle(work.invocation_id, OK, 10**6)
    assert stream.readable() == ["c"]
    assert stream.checkpoints()["a"] == ShardCheckpoint(sequence=BASE + 1, finished=True, applied=BASE + 1)


def test_a_restart_goes_on_from_the_checkpoint_and_does_not_reopen_what_is_finished() -> None:
    stream = mapping(
        {"a": ShardCheckpoint(BASE + 7), "b": ShardCheckpoint(BASE, finished=True), "c": ShardCheckpoint()}
    )
    stream.update(MERGE, 0)
    assert stream.readable() == ["a"]
    assert stream.read_from("a").after_sequence == BASE + 7


def test_a_shard_that_expired_ends_and_is_forgotten() -> None:
    stream = mapping(
        {"a": ShardCheckpoint(BASE, finished=True), "b": ShardCheckpoint(BASE), "c": ShardCheckpoint()}
    )
    stream.update(MERGE, 0)
    assert stream.readable() == ["b"]
    stream.update([MERGE[2]], 0)
    assert stream.readable() == ["c"]
    stream.update([MERGE[2]], 0)
    assert set(stream.checkpoints()) == {"c"}


def test_an_empty_listing_is_not_believed() -> None:
    stream = mapping({"c": ShardCheckpoint(BASE)})
    stream.update([], 0)
    assert set(stream.checkpoints()) == {"c"}


def test_latest_skips_closed_shards_and_starts_children_from_their_beginning() -> None:
    stream = mapping(starting_position="LATEST")
    stream.update([ShardInfo("a", closed=True), ShardInfo("b", ("a",))], 5000)
    assert stream.readable() == ["b"]
    assert stream.read_from("b").since_ms == 5000
    stream.end_of_shard("b")
    stream.update([ShardInfo("b", ("a",), closed=True), ShardInfo("c", ("b",))], 9000)
    assert stream.readable() == ["c"]
    read = stream.read_from("c")
    assert (read.after_sequence, read.since_ms) == (None, None)


def test_latest_stays_where_it_was_when_the_mapping_restarts_before_the_first_record() -> None:
    stream = mapping(starting_position="LATEST")
    stream.update([ShardInfo("a")], 5000)
    again = mapping(stream.checkpoints(), starting_position="LATEST")
    again.update([ShardInfo("a")], 9000)
    assert again.readable() == ["a"]
    assert again.read_from("a").since_ms == 5000


def test_at_timestamp_holds_for_the_shards_of_the_first_listing() -> None:
    stream = mapping(starting_position="AT_TIMESTAMP", starting_timestamp_ms=77)
    stream.update([ShardInfo("a")], 5000)
    stream.update([ShardInfo("a"), ShardInfo("b")], 6000)
    assert stream.readable() == ["a", "b"]
    assert [stream.read_from(name).since_ms for name in ("a", "b")] == [77, None]


def test_settling_what_is_not_under_way_is_a_mistake() -> None:
    stream = mapping()
    with pytest.raises(KeyError):
        stream.settle(1, OK, 0)


def test_what_was_discarded_is_done_and_not_applied() -> None:
    shard = shard_of(MappingConfig(batch_size=1, max_retry_attempts=0))
    shard.feed([record(1), record(2)], 0)
    run(shard, raising({2}))
    assert (shard.checkpoint, shard.applied) == (BASE + 2, BASE + 1)
    shard.feed([record(3)], 0)
    run(shard, raising(set()))
    assert shard.applied == BASE + 3


def test_a_shard_stands_at_the_record_that_fails_and_says_what_comes_next() -> None:
    config = MappingConfig(batch_size=2, bisect=True, max_retry_attempts=3, max_record_age_ms=60_000)
    shard = shard_of(config)
    shard.feed([record(1, arrival_ms=500), record(2, arrival_ms=900)], 1_000)
    assert shard.standing(1_000) is None
    [first] = shard.due(1_000)
    assert isinstance(first, Invocation)
    assert shard.standing(1_000) is None  # it runs for the first time
    shard.settle(first.invocation_id, ERROR, 1_000)
    standing = shard.standing(1_000)
    assert standing is not None
    assert (standing.sequence_number, standing.records, standing.splits) == (BASE + 1, 1, False)
    assert (standing.next_ms, standing.failures, standing.max_retries) == (1_200, 0, 3)
    assert (standing.expires_ms, shard.oldest_arrival_ms()) == (60_500, 500)
    [again] = shard.due(1_200)
    assert isinstance(again, Invocation)
    running = shard.standing(1_200)
    assert running is not None
    assert running.next_ms is None
    shard.settle(again.invocation_id, OK, 1_300)
    rest = shard.standing(1_300)  # the other half is yet to be seen alone
    assert rest is not None
    assert rest.sequence_number == BASE + 2
    [last] = shard.due(10**5)
    assert isinstance(last, Discard)  # it has grown too old meanwhile
    given_up = shard.standing(10**5)
    assert given_up is not None
    assert given_up.given_up
    shard.discarded(last.discard_id)
    assert shard.standing(10**5) is None
    assert shard.oldest_arrival_ms() is None


def test_a_child_says_which_parents_it_waits_for() -> None:
    stream = mapping()
    stream.update([ShardInfo("a", closed=True), ShardInfo("c", ("a",))], 0)
    stream.readable()
    assert stream.waits_for("c") == ["a"]
    assert stream.waits_for("a") == []
