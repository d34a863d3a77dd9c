from collections.abc import Iterator

import pytest

from producers.client.batcher import Batcher, BatcherConfig, PutEntry, UnsendableRecord
from streamgage.errors import ConfigError
from streamgage.formats.kpl import MAGIC, decode_aggregate, is_aggregated
from streamgage.limits import KINESIS_RECORD_BYTES
from streamgage.records import UserRecord
from streamgage.shards import Shard, ShardMap, hash_key_of

HALVES = ShardMap([Shard("low", 0, 2**127 - 1), Shard("high", 2**127, 2**128 - 1)])
LOW, HIGH = "a", "d"  # their MD5s begin with 0c and 82


def numbered_tags() -> Iterator[dict[str, str]]:
    for number in range(1_000_000):
        yield {"n": str(number)}


def put_all(batcher: Batcher, *records: UserRecord, now_ms: int = 0) -> list[PutEntry]:
    for record in records:
        batcher.put(record, now_ms)
    return batcher.take_all()


def test_keys_of_one_shard_go_together() -> None:
    records = [
        UserRecord(LOW, b"1"),
        UserRecord(HIGH, b"2"),
        UserRecord("b" + LOW, b"3"),
        UserRecord(LOW, b"4"),
    ]
    entries = put_all(Batcher(HALVES, BatcherConfig()), *records)
    by_shard = {entry.shard_id: entry for entry in entries}
    assert set(by_shard) == {"low", "high"}
    for entry in entries:
        assert all(HALVES.shard_for(hash_of(record)) == entry.shard_id for record in entry.records)
        assert (
            HALVES.shard_for(hash_of(UserRecord(entry.partition_key, b"", entry.explicit_hash_key)))
            == entry.shard_id
        )
    assert sorted(n for entry in entries for n in entry.numbers) == [0, 1, 2, 3]


def hash_of(record: UserRecord) -> int:
    return hash_key_of(record.partition_key) if record.explicit_hash_key is None else record.explicit_hash_key


def test_an_explicit_hash_key_decides_in_place_of_the_partition_key() -> None:
    (entry,) = put_all(
        Batcher(HALVES, BatcherConfig()), UserRecord(LOW, b"1", 2**128 - 1), UserRecord(HIGH, b"2")
    )
    assert (entry.shard_id, entry.partition_key, entry.explicit_hash_key) == ("high", LOW, 2**128 - 1)
    assert list(decode_aggregate(entry.data).user_records()) == list(entry.records)


def test_one_key_per_record_separates_the_keys_of_a_shard() -> None:
    records = [UserRecord(key, bytes((n,))) for n, key in enumerate("abcabcdd")]
    entries = put_all(Batcher(HALVES, BatcherConfig(one_key_per_record=True)), *records)
    assert [entry.partition_key for entry in entries] == ["a", "b", "c", "d"]
    for entry in entries:
        assert {record.partition_key for record in entry.records} == {entry.partition_key}
        assert len(entry.records) == 2


def test_an_aggregate_is_full_at_its_limit_to_the_byte() -> None:
    records = [UserRecord(LOW, bytes(100)) for _ in range(10)]
    (whole,) = put_all(Batcher(HALVES, BatcherConfig()), *records)
    (same,) = put_all(Batcher(HALVES, BatcherConfig(aggregate_bytes=whole.size_bytes)), *records)
    assert same.data == whole.data
    entries = put_all(Batcher(HALVES, BatcherConfig(aggregate_bytes=whole.size_bytes - 1)), *records)
    assert [len(entry.records) for entry in entries] == [9, 1]


def test_a_record_left_alone_is_put_plain_unless_it_looks_like_an_aggregate() -> None:
    plain, magic = UserRecord(LOW, b"plain"), UserRecord(LOW, MAGIC + bytes(40))
    (entry,) = put_all(Batcher(HALVES, BatcherConfig()), plain)
    assert (entry.data, entry.size_bytes, entry.records) == (b"plain", 6, (plain,))
    (entry,) = put_all(Batcher(HALVES, BatcherConfig()), magic)
    assert list(decode_aggregate(entry.data).user_records()) == [magic]


def test_with_tags_every_record_is_aggregated_and_has_its_own() -> None:
    tags = numbered_tags()
    batcher = Batcher(HALVES, BatcherConfig(aggregate_bytes=60), tags_for=lambda _: next(tags))
    entries = put_all(batcher, *(UserRecord(LOW, b"x" * 30) for _ in range(3)))
    assert [decode_aggregate(entry.data).tags for entry in entries] == [{"n": "0"}, {"n": "1"}, {"n": "2"}]
    assert all(is_aggregated(entry.data) for entry in entries)


def test_what_is_due_and_when_follows_the_linger() -> None:
    batcher = Batcher(HALVES, BatcherConfig(linger_ms=100))
    assert batcher.next_deadline_ms() is None
    batcher.put(UserRecord(LOW, b"1"), 1000)
    batcher.put(UserRecord(HIGH, b"2"), 1050)
    batcher.put(UserRecord(LOW, b"3"), 1099)
    assert (batcher.due(1099), batcher.due(1100), batcher.next_deadline_ms()) == (False, True, 1100)
    assert batcher.take(1099) == []
    (entry,) = batcher.take(1100)
    assert (entry.shard_id, len(entry.records), entry.opened_ms) == ("low", 2, 1000)
    assert batcher.next_deadline_ms() == 1150
    assert [entry.shard_id for entry in batcher.take(1150)] == ["high"]
    assert (batcher.next_deadline_ms(), batcher.buffered_bytes) == (None, 0)


def test_a_full_entry_waits_for_company_until_the_linger_or_a_full_request() -> None:
    batcher = Batcher(HALVES, BatcherConfig(aggregate_bytes=150, request_bytes=250, linger_ms=100))
    batcher.put(UserRecord(LOW, bytes(100)), 0)
    batcher.put(UserRecord(LOW, bytes(100)), 10)  # seals the first: 101 bytes
    assert (batcher.due(10), batcher.next_deadline_ms()) == (False, 100)
    batcher.put(UserRecord(LOW, bytes(100)), 20)
    assert not batcher.due(20)
    batcher.put(UserRecord(LOW, bytes(100)), 30)  # three are sealed: 303 bytes
    assert batcher.due(30)
    assert len(batcher.take(30)) == 3
    assert batcher.next_deadline_ms() == 130


def test_500_entries_are_a_full_request() -> None:
    batcher = Batcher(HALVES, BatcherConfig(aggregate_bytes=1))
    for n in range(501):
        assert not batcher.due(0)
        batcher.put(UserRecord(LOW, b"%d" % n), 0)
    assert batcher.due(0)


def test_new_shards_close_what_is_open() -> None:
    batcher = Batcher(HALVES, BatcherConfig())
    batcher.put(UserRecord(LOW, b"1"), 0)
    batcher.set_shards(ShardMap([Shard("all", 0, 2**128 - 1)]))
    batcher.put(UserRecord(LOW, b"2"), 0)
    assert [(entry.shard_id, len(entry.records)) for entry in batcher.take_all()] == [("low", 1), ("all", 1)]


@pytest.mark.parametrize("tags", [None, {"pid": "x"}])
def test_the_largest_record_that_kinesis_takes_is_taken_and_one_byte_more_is_not(
    tags: dict[str, str] | None,
) -> None:
    def batcher() -> Batcher:
        return Batcher(HALVES, BatcherConfig(), tags_for=(lambda _: tags) if tags else None)

    low, high = 0, 2 * KINESIS_RECORD_BYTES
    while high - low > 1:
        middle = (low + high) // 2
        try:
            batcher().put(UserRecord("k", bytes(middle)), 0)
            low = middle
        except UnsendableRecord:
            high = middle
    (entry,) = put_all(batcher(), UserRecord("k", bytes(low)))
    assert entry.size_bytes == KINESIS_RECORD_BYTES == len(entry.data) + 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (UserRecord("", b""), "has 0 characters; Kinesis takes 1 to 256"),
        (UserRecord("k" * 257, b""), "has 257 characters"),
        (UserRecord("\ud800", b""), "is not UTF-8"),
        (UserRecord("k", b"", 2**128), "outside 0 to 2"),
        (UserRecord("k", b"", -1), "outside 0 to 2"),
        (
            UserRecord("k", bytes(KINESIS_RECORD_BYTES)),
            "makes a Kinesis record of 1048577; the limit is 1048576",
        ),
        (UserRecord("é", bytes(KINESIS_RECORD_BYTES - 1)), "makes a Kinesis record of 1048577"),
    ],
)
def test_what_kinesis_takes_in_no_form_is_refused_at_once(record: UserRecord, message: str) -> None:
    batcher = Batcher(HALVES, BatcherConfig())
    batcher.put(UserRecord("k", b"before"), 0)
    with pytest.raises(UnsendableRecord, match=message):
        batcher.put(record, 0)
    with pytest.raises(ValueError, match=message):
        batcher.put(record, 0)
    (entry,) = put_all(batcher, UserRecord("k", b"after"))
    assert [r.data for r in entry.records] == [b"before", b"after"]
    assert entry.numbers == (0, 1)


def test_a_partition_key_may_have_256_characters_of_any_script() -> None:
    (entry,) = put_all(Batcher(HALVES, BatcherConfig()), UserRecord("水" * 256, b"x"))
    assert entry.size_bytes == 1 + 3 * 256


def test_a_config_outside_the_limits_is_refused_with_every_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        BatcherConfig(aggregate_bytes=KINESIS_RECORD_BYTES + 1, request_bytes=0, linger_ms=-1)
    assert len(caught.value.problems) == 3


def test_blocks_that_are_sent_anew_make_no_record_of_more_events_than_one_may_hold() -> None:
    """What the function would refuse: sixty bytes each, they would go by the hundred into one Kinesis record."""
    batcher = Batcher(HALVES, BatcherConfig())
    for number in range(7):
        batcher.put(UserRecord(LOW, b"block %d" % number, events=30_000), 0)
    batcher.put(UserRecord(LOW, b"row"), 0)
    entries = batcher.take_all()
    assert [each.events for each in entries] == [60_000, 60_000, 60_000, 30_001]
