"""Laws of our Kinesis data plane, whatever is put, resharded, restarted and torn."""

from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.local.kinesis import cbor
from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.disk import DiskStorage
from infra.local.kinesis.errors import KinesisError
from infra.local.kinesis.faults import FaultRates, Faults
from infra.local.kinesis.fields import Instant
from infra.local.kinesis.log import DiskLog
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.shards import ShardMap
from infra.local.kinesis.storage import MemoryLog, MemoryStorage, StoredRecord
from infra.local.kinesis.tokens import Position, decode_position, encode
from support.examples import examples

TOP = 2**128 - 1
HASH_KEYS = st.integers(0, TOP) | st.sampled_from([0, 1, 2**127, TOP])

PUT = st.tuples(st.just("put"), st.lists(HASH_KEYS, min_size=1, max_size=6))
SPLIT = st.tuples(st.just("split"), st.integers(0, 20), st.floats(0.01, 0.99))
MERGE = st.tuples(st.just("merge"), st.integers(0, 20))
SCALE = st.tuples(st.just("scale"), st.integers(1, 12))
READ = st.tuples(st.just("read"), st.integers(1, 4))
CLOCK = st.tuples(st.just("clock"), st.integers(-2000, 5000))
RESTART = st.tuples(st.just("restart"))
STEPS = st.lists(PUT | PUT | READ | SPLIT | MERGE | SCALE | CLOCK | RESTART, max_size=40)


@dataclass
class Consumer:
    """A consumer that reads parents before children, a few records at a time."""

    api: KinesisApi
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    iterators: dict[str, str] = field(default_factory=dict)

    def read(self, limit: int) -> bool:
        """Read one page of every shard whose parents are finished; return whether anything was left to do."""
        busy = False
        shards = (self.api.call("ListShards", {"StreamName": "s"}) or {})["Shards"]
        for shard in shards:
            parents = {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")} - {None}
            if shard["ShardId"] in self.done or not parents <= self.done:
                busy |= shard["ShardId"] not in self.done
                continue
            busy |= self._page(shard["ShardId"], limit)
        return busy

    def _page(self, shard_id: str, limit: int) -> bool:
        if shard_id not in self.iterators:
            request = {"StreamName": "s", "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
            self.iterators[shard_id] = (self.api.call("GetShardIterator", request) or {})["ShardIterator"]
        page = self.api.call("GetRecords", {"ShardIterator": self.iterators[shard_id], "Limit": limit}) or {}
        self.seen += [(shard_id, record) for record in page["Records"]]
        if "NextShardIterator" not in page:
            self.done.add(shard_id)
            return True
        self.iterators[shard_id] = page["NextShardIterator"]
        return bool(page["MillisBehindLatest"])


class Run:
    """One schedule of steps against one storage, on a clock that may also step back."""

    def __init__(self, storage: MemoryStorage | None, directory: Path | None) -> None:
        self.now_ms = 1_790_000_000_000
        self._memory, self._directory = storage, directory
        self._disk: DiskStorage | None = None
        self.put_count = 0
        self.acknowledged: list[tuple[int, str, int]] = []  # hash key, shard, sequence number
        self.restart()
        self.api.call("CreateStream", {"StreamName": "s", "ShardCount": 2})
        self.consumer = Consumer(self.api)

    def restart(self) -> None:
        if self._disk is not None:
            self._disk.close()
        self._disk = DiskStorage(self._directory, segment_bytes=300) if self._directory else None
        storage = self._disk or self._memory
        assert storage is not None
        self.api = KinesisApi(KinesisModel(clock_ms=lambda: self.now_ms, storage=storage))

    def step(self, step: tuple[Any, ...]) -> None:
        getattr(self, f"do_{step[0]}")(*step[1:])
        self.consumer.api = self.api

    def do_put(self, hash_keys: list[int]) -> None:
        records = []
        for hash_key in hash_keys:
            records.append(
                {"Data": b"%d" % self.put_count, "PartitionKey": "p", "ExplicitHashKey": str(hash_key)}
            )
            self.put_count += 1
        answer = self.api.call("PutRecords", {"StreamName": "s", "Records": records}) or {}
        for hash_key, record in zip(hash_keys, answer["Records"], strict=True):
            self.acknowledged.append((hash_key, record["ShardId"], int(record["SequenceNumber"])))

    def do_split(self, which: int, where: float) -> None:
        shards = self.open_shards()
        shard = shards[which % len(shards)]
        at = shard.start_hash + int((shard.end_hash - shard.start_hash) * where)
        if shard.start_hash + 1 < at < shard.end_hash:
            request = {"ShardToSplit": shard.shard_id, "NewStartingHashKey": str(at)}
            self.api.call("SplitShard", {"StreamName": "s", **request})

    def do_merge(self, which: int) -> None:
        shards = self.open_shards()
        if len(shards) > 1:
            at = which % (len(shards) - 1)
            request = {"ShardToMerge": shards[at].shard_id, "AdjacentShardToMerge": shards[at + 1].shard_id}
            self.api.call("MergeShards", {"StreamName": "s", **request})

    def do_scale(self, target: int) -> None:
        current = len(self.open_shards())
        target = min(max(target, (current + 1) // 2), 2 * current)
        request = {"TargetShardCount": target, "ScalingType": "UNIFORM_SCALING"}
        self.api.call("UpdateShardCount", {"StreamName": "s", **request})
        assert len(self.open_shards()) == target

    def do_read(self, limit: int) -> None:
        self.consumer.read(limit)

    def do_clock(self, step_ms: int) -> None:
        self.now_ms += step_ms

    def do_restart(self) -> None:
        self.restart()

    def open_shards(self) -> list[Any]:
        return self.api.model.find("s").map.open

    def check(self) -> None:
        while self.consumer.read(3):
            pass
        seen = self.consumer.seen
        # Conservation: exactly what was acknowledged, once, where the answer said.
        assert sorted((shard, int(record["SequenceNumber"])) for shard, record in seen) == sorted(
            (shard, number) for _, shard, number in self.acknowledged
        )
        # Order: of each shard, and of each hash key across every reshard.
        put_order = {number: i for i, (_, _, number) in enumerate(self.acknowledged)}
        by_hash: dict[int, list[int]] = {}
        hash_of = {number: hash_key for hash_key, _, number in self.acknowledged}
        for _, record in seen:
            number = int(record["SequenceNumber"])
            assert record["Data"] == b"%d" % put_order[number]
            by_hash.setdefault(hash_of[number], []).append(number)
        for numbers in by_hash.values():
            assert all(low < high for low, high in pairwise(numbers))
        ranges = [(shard.start_hash, shard.end_hash) for shard in self.open_shards()]
        assert ranges[0][0] == 0
        assert ranges[-1][1] == TOP
        assert all(left[1] + 1 == right[0] for left, right in pairwise(ranges))

    def close(self) -> None:
        if self._disk is not None:
            self._disk.close()


@given(steps=STEPS)
@settings(deadline=None, max_examples=120)
def test_in_memory_nothing_is_lost_doubled_or_reordered(steps: list[tuple[Any, ...]]) -> None:
    run = Run(MemoryStorage(), None)
    for step in steps:
        run.step(step)
    run.check()


@given(steps=STEPS)
@settings(deadline=None, max_examples=25)
def test_on_disk_nothing_is_lost_doubled_or_reordered(steps: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as directory:
        run = Run(None, Path(directory))
        for step in steps:
            run.step(step)
        run.check()
        run.close()


@example(batches=[[b"x" * 100], [b""]], reads=[(0, 10, 100)], reopen=False)  # nothing more, and then nothing
@given(
    batches=st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), max_size=12),
    reads=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.integers(1, 200)), max_size=10),
    reopen=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_the_durable_log_reads_as_the_in_memory_one(
    *, batches: list[list[bytes]], reads: list[tuple[int, int, int]], reopen: bool
) -> None:
    with TemporaryDirectory() as directory:
        disk, memory, counter = DiskLog(Path(directory), segment_bytes=100), MemoryLog(), 0
        for batch in batches:
            records = []
            for data in batch:
                counter += 1 + len(data) % 3
                records.append(StoredRecord(counter, b"k" * (len(data) % 4), data))
            disk.append(records)
            memory.append(records)
        if reopen:
            disk.close()
            disk = DiskLog(Path(directory), segment_bytes=100)
        for first, max_records, max_bytes in [*reads, (0, 1000, 10**6)]:
            limits = {"max_records": max_records, "max_bytes": max_bytes}
            assert disk.read(first, **limits) == memory.read(first, **limits)
        assert disk.last_counter == memory.last_counter
        disk.close()


@given(counts=st.lists(st.integers(1, 30), max_size=6), keys=st.lists(HASH_KEYS, min_size=1))
@settings(deadline=None, max_examples=80)
def test_any_rescaling_covers_the_hash_keys_once_and_routes_every_key_to_its_owner(
    counts: list[int], keys: list[int]
) -> None:
    shards = ShardMap.uniform(1, now_ms=0)
    for count in counts:
        shards = shards.rescale(count, now_ms=0)
        assert len(shards.open) == count
        starts = [shard.start_hash for shard in shards.open]
        assert starts == [0, *(shard.end_hash + 1 for shard in shards.open[:-1])]
        assert shards.open[-1].end_hash == 2**128 - 1
    for key in keys:
        assert shards.route(key).start_hash <= key <= shards.route(key).end_hash
    for shard in shards.by_index.values():
        assert shard.is_open or shards.children(shard.index)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.integers(0, 2**45).map(Instant),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(value=PLAIN)
@settings(deadline=None)
def test_cbor_gives_back_what_went_in(value: object) -> None:
    assert cbor.loads(cbor.dumps(value)) == value


@given(content=st.binary(max_size=60))
@settings(deadline=None, max_examples=examples(200, whole=500))
def test_hostile_cbor_is_refused_or_read_and_never_crashes(content: bytes) -> None:
    with suppress(ValueError):
        cbor.loads(content)


@given(
    position=st.builds(
        Position,
        st.text("abcdefghijklmnopqrstuvwxyz.-_0", min_size=1, max_size=128),
        st.integers(0, 2**43),
        st.integers(0, 10_000),
        st.integers(0, 2**63),
        st.integers(0, 2**43),
    ),
    flip=st.integers(0, 10_000),
)
@settings(deadline=None)
def test_an_iterator_fits_its_shape_and_one_changed_character_spoils_it(
    position: Position, flip: int
) -> None:
    text = encode(position)
    assert 1 <= len(text) <= 512
    assert decode_position(text, now_ms=position.issued_ms, life_ms=1) == position
    at = flip % len(text.rstrip("="))
    spoilt = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
    with suppress(KinesisError):  # or the change is in the unused bits of the last character
        assert decode_position(spoilt, now_ms=position.issued_ms, life_ms=1) == position


@given(seed=st.integers(), sizes=st.lists(st.integers(1, 500), min_size=1, max_size=20))
@settings(deadline=None, max_examples=30)
def test_a_seed_repeats_its_faults_whatever_is_called_in_between(seed: int, sizes: list[int]) -> None:
    rates = FaultRates(throttle=0.2, internal=0.1, lost=0.3, error=0.3, delay=0.3)
    first, second = Faults(seed, rates), Faults(seed, rates)
    plans = [first.plan("PutRecords", size) for size in sizes]
    repeated = []
    for size in sizes:
        second.plan("ListShards", 1)
        repeated.append(second.plan("PutRecords", size))
    assert plans == repeated
    assert first.fired == second.fired
