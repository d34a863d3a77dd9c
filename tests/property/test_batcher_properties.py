from hypothesis import given, settings
from hypothesis import strategies as st

from producers.client.batcher import Batcher, BatcherConfig, PutEntry
from streamgage.formats.kpl import decode_aggregate, is_aggregated
from streamgage.records import UserRecord
from streamgage.shards import Shard, ShardMap, hash_key_of

RECORDS = st.lists(
    st.tuples(
        st.builds(
            UserRecord,
            partition_key=st.sampled_from("abcdefgh"),
            data=st.binary(max_size=120),
            explicit_hash_key=st.none() | st.integers(0, 2**128 - 1),
        ),
        st.integers(0, 40),  # ms until the next
    ),
    max_size=60,
)
CONFIGS = st.builds(
    BatcherConfig,
    aggregate_bytes=st.integers(1, 600),
    request_bytes=st.integers(1, 2000),
    linger_ms=st.integers(0, 100),
    one_key_per_record=st.booleans(),
)
CUTS = st.lists(st.integers(1, 2**128 - 1), max_size=5, unique=True)


def shard_map(cuts: list[int]) -> ShardMap:
    starts = [0, *sorted(cuts)]
    ends = [start - 1 for start in starts[1:]] + [2**128 - 1]
    return ShardMap(
        Shard(f"shard-{n}", start, end) for n, (start, end) in enumerate(zip(starts, ends, strict=True))
    )


def hash_of(partition_key: str, explicit_hash_key: int | None) -> int:
    return hash_key_of(partition_key) if explicit_hash_key is None else explicit_hash_key


@settings(deadline=None, max_examples=200)
@given(stream=RECORDS, config=CONFIGS, cuts=CUTS, tagged=st.booleans())
def test_every_record_comes_out_once_in_its_shard_in_order_and_in_time(
    stream: list[tuple[UserRecord, int]], config: BatcherConfig, cuts: list[int], *, tagged: bool
) -> None:
    shards = shard_map(cuts)
    batcher = Batcher(shards, config, tags_for=(lambda _: {"pid": "x", "n": "1"}) if tagged else None)
    entries: list[PutEntry] = []
    put_ms: list[int] = []
    now_ms = 0
    for record, gap_ms in stream:
        batcher.put(record, now_ms)
        put_ms.append(now_ms)
        deadline_ms = batcher.next_deadline_ms()
        assert deadline_ms is not None
        assert batcher.due(now_ms) == (deadline_ms <= now_ms)
        if batcher.due(now_ms):
            taken = batcher.take(now_ms)
            assert taken
            assert not batcher.due(now_ms)
            entries += taken
        taken_numbers = {number for entry in entries for number in entry.numbers}
        waiting_ms = [ms for number, ms in enumerate(put_ms) if number not in taken_numbers]
        assert all(now_ms - ms < config.linger_ms for ms in waiting_ms)
        now_ms += gap_ms
    entries += batcher.take_all()
    assert batcher.buffered_bytes == 0
    assert batcher.next_deadline_ms() is None

    assert sorted(number for entry in entries for number in entry.numbers) == list(range(len(stream)))
    for entry in entries:
        assert [stream[number][0] for number in entry.numbers] == list(entry.records)
        assert list(entry.numbers) == sorted(entry.numbers)
        assert entry.size_bytes == len(entry.data) + len(entry.partition_key)
        assert entry.size_bytes <= config.aggregate_bytes or len(entry.records) == 1
        keys = [hash_of(record.partition_key, record.explicit_hash_key) for record in entry.records]
        assert {shards.shard_for(key) for key in keys} == {entry.shard_id}
        assert shards.shard_for(hash_of(entry.partition_key, entry.explicit_hash_key)) == entry.shard_id
        if config.one_key_per_record:
            assert {record.partition_key for record in entry.records} == {entry.partition_key}
        if is_aggregated(entry.data):
            assert list(decode_aggregate(entry.data).user_records()) == list(entry.records)
        else:
            assert not tagged
            assert [record.data for record in entry.records] == [entry.data]
    order: dict[tuple[str, str], list[int]] = {}
    for entry in entries:
        for number, record in zip(entry.numbers, entry.records, strict=True):
            order.setdefault((entry.shard_id, record.partition_key), []).append(number)
    assert all(numbers == sorted(numbers) for numbers in order.values())
