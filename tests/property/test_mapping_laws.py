"""Laws of the event source mapping, under outcomes, timings and restarts that hypothesis chooses."""

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.function.outcome import Answered, Failed, NotInvoked, Outcome
from infra.local.mapping.config import MappingConfig
from infra.local.mapping.payload import encode_payload
from infra.local.mapping.stream import Discard, Invocation, ShardCheckpoint, ShardInfo, StreamMapping
from infra.template.filtering.criteria import parse_criteria
from streamgage import limits
from streamgage.records import StreamRecord

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
# A split of "root" into two, whose halves are merged again.
SHARDS = [
    ShardInfo("root", closed=True),
    ShardInfo("left", ("root",), closed=True),
    ShardInfo("right", ("root",), closed=True),
    ShardInfo("merged", ("left", "right"), closed=True),
]

FILTERS, _ = parse_criteria({"Filters": [{"Pattern": '{"partitionKey": [{"anything-but": ["c", "d"]}]}'}]})
PASSING = {"a", "b"}
CONFIGS = st.builds(
    MappingConfig,
    batch_size=st.integers(1, 6),
    window_ms=st.sampled_from([0, 50]),
    parallelization_factor=st.integers(1, 4),
    bisect=st.booleans(),
    report_item_failures=st.booleans(),
    max_retry_attempts=st.integers(0, 3),
    max_record_age_ms=st.sampled_from([-1, 60_000]),
    filters=st.sampled_from([None, FILTERS]),
    retry_first_ms=st.just(10),
    buffer_records=st.integers(1, 12),
)
KEYS = st.sampled_from(["a", "b", "c", "d"])
LOGS = st.fixed_dictionaries({info.shard_id: st.lists(KEYS, max_size=12) for info in SHARDS})


class World:
    """A stream, a function that does as it is told, and a notebook of all that the mapping asked for."""

    def __init__(self, config: MappingConfig, log: dict[str, list[str]], data: st.DataObject) -> None:
        self.config = config
        self.data = data
        self.log: dict[str, list[StreamRecord]] = {}
        number = 10**55
        for shard_id, keys in log.items():
            self.log[shard_id] = []
            for key in keys:
                number += 3
                self.log[shard_id].append(StreamRecord(shard_id, number, key, b"x" * 9, 1000))
        self.filtered = {
            r.sequence_number
            for records in self.log.values()
            for r in records
            if config.filters is not None and r.partition_key not in PASSING
        }
        self.now_ms = 1000
        self.succeeded: set[int] = set()
        self.discarded: set[int] = set()
        self.restarted = False
        self.restart(None)

    def restart(self, progress: dict[str, ShardCheckpoint] | None) -> None:
        """Start a mapping process from what an earlier one kept; what was under way is lost."""
        self.stream = StreamMapping(self.config, stream_arn=ARN, checkpoints=progress)
        self.stream.update(SHARDS, self.now_ms)
        self.in_flight: dict[int, Invocation] = {}
        self.undelivered: dict[int, Discard] = {}

    def done(self) -> set[int]:
        return self.succeeded | self.discarded | self.filtered

    def step(self) -> None:
        """Let one thing happen, and check every law."""
        self.read()
        for work in self.stream.due(self.now_ms):
            if isinstance(work, Discard):
                self.undelivered[work.discard_id] = work
            else:
                self.accept(work)
        choices = [*self.in_flight, *self.undelivered]
        if not choices:
            wake_ms = self.stream.next_wake_ms()
            if wake_ms is not None:
                self.now_ms = max(self.now_ms, wake_ms)
        else:
            chosen = self.data.draw(st.sampled_from(choices))
            if chosen in self.undelivered:
                self.discarded |= {r.sequence_number for r in self.undelivered.pop(chosen).records}
                self.stream.discarded(chosen)
            else:
                self.settle(self.in_flight.pop(chosen))
        self.check_progress()

    def read(self) -> None:
        for shard_id in self.stream.readable():
            for info in SHARDS:
                if info.shard_id == shard_id:  # a child is opened when nothing of its parents is undone
                    for parent in info.parents:
                        assert {r.sequence_number for r in self.log[parent]} <= self.done()
            if not self.stream.wants_records(shard_id):
                continue
            after = self.stream.read_from(shard_id).after_sequence or 0
            rest = [r for r in self.log[shard_id] if r.sequence_number > after]
            count = self.data.draw(st.integers(0, len(rest)))
            self.stream.feed(shard_id, rest[:count], self.now_ms)
            if count == len(rest):
                self.stream.end_of_shard(shard_id)

    def accept(self, work: Invocation) -> None:
        numbers = [r.sequence_number for r in work.records]
        assert numbers == sorted(numbers)
        assert not self.filtered & set(numbers), "delivered although a filter holds it back"
        assert {r.shard_id for r in work.records} == {work.shard_id}
        assert 1 <= len(numbers) <= self.config.batch_size
        assert len(encode_payload(work.records, stream_arn=ARN)) <= limits.ESM_PAYLOAD_BYTES
        assert not self.done() & set(numbers) or self.restarted, "delivered again although it is done"
        beside = [other for other in self.in_flight.values() if other.shard_id == work.shard_id]
        assert len(beside) < self.config.parallelization_factor
        keys = {r.partition_key for r in work.records}
        for other in beside:
            assert not keys & {r.partition_key for r in other.records}, "one key in two invocations at once"
        for r in work.records:  # a key's records go in order: nothing before this one is waiting elsewhere
            earlier = {
                e.sequence_number
                for e in self.log[work.shard_id]
                if e.partition_key == r.partition_key and e.sequence_number < r.sequence_number
            }
            assert earlier <= self.done() | self.given_up() | set(numbers)
        self.in_flight[work.invocation_id] = work

    def given_up(self) -> set[int]:
        return {r.sequence_number for discard in self.undelivered.values() for r in discard.records}

    def settle(self, work: Invocation) -> None:
        numbers = [r.sequence_number for r in work.records]
        outcome, done = self.outcome(numbers)
        self.succeeded |= set(numbers[:done])
        self.now_ms += self.data.draw(st.sampled_from([0, 7, 20_000]))
        self.stream.settle(work.invocation_id, outcome, self.now_ms)

    def outcome(self, numbers: list[int]) -> tuple[Outcome, int]:
        kind = self.data.draw(st.sampled_from(["ok", "ok", "fail", "partial", "throttle"]))
        if kind == "ok":
            return Answered(b"{}"), len(numbers)
        if kind == "fail":
            return Failed("crash"), 0
        if kind == "throttle":
            return NotInvoked("no sandbox"), 0
        lowest = self.data.draw(st.integers(0, len(numbers) - 1))
        payload = f'{{"batchItemFailures": [{{"itemIdentifier": "{numbers[lowest]}"}}]}}'.encode()
        return Answered(payload), lowest if self.config.report_item_failures else len(numbers)

    def check_progress(self) -> None:
        for shard_id, kept in self.stream.checkpoints().items():
            below = {
                r.sequence_number
                for r in self.log[shard_id]
                if kept.finished or r.sequence_number <= (kept.sequence or 0)
            }
            assert below <= self.done(), "a checkpoint is ahead of what is done"

    def everything(self) -> set[int]:
        return {r.sequence_number for records in self.log.values() for r in records}


def run(world: World, *, restarts: int) -> None:
    for _ in range(4000):
        world.step()
        if all(kept.finished for kept in world.stream.checkpoints().values()):
            return
        if restarts and world.data.draw(st.integers(0, 5)) == 0:
            restarts -= 1
            world.restarted = True
            undone = world.everything() - world.done()
            kept = world.stream.checkpoints()
            world.restart(kept)
            for (
                number
            ) in undone:  # everything undone lies above its shard's checkpoint: it will be read again
                shard_id = next(s for s, rs in world.log.items() if number in {r.sequence_number for r in rs})
                assert not kept[shard_id].finished
                assert number > (kept[shard_id].sequence or 0)
    raise AssertionError("the mapping does not come to an end")


@settings(deadline=None, max_examples=150)
@given(config=CONFIGS, log=LOGS, data=st.data())
def test_every_record_is_succeeded_or_discarded_in_the_order_of_its_key(
    config: MappingConfig, log: dict[str, list[str]], data: st.DataObject
) -> None:
    world = World(config, log, data)
    run(world, restarts=0)
    assert world.done() == world.everything()
    assert not world.succeeded & world.discarded
    assert {kept.sequence for kept in world.stream.checkpoints().values()} == {
        records[-1].sequence_number if records else None for records in world.log.values()
    }


@settings(deadline=None, max_examples=100)
@given(config=CONFIGS, log=LOGS, data=st.data())
def test_a_restart_from_the_checkpoint_loses_nothing(
    config: MappingConfig, log: dict[str, list[str]], data: st.DataObject
) -> None:
    world = World(config, log, data)
    run(world, restarts=3)
    assert world.done() == world.everything()


@settings(deadline=None, max_examples=100)
@given(
    keys=st.lists(KEYS, min_size=1, max_size=40),
    factor=st.integers(1, 10),
    batch_size=st.integers(1, 50),
    sizes=st.lists(st.integers(0, limits.KINESIS_RECORD_BYTES), min_size=1, max_size=8),
)
def test_batches_keep_to_the_payload_limit_and_leave_nothing_out(
    keys: list[str], factor: int, batch_size: int, sizes: list[int]
) -> None:
    config = MappingConfig(batch_size=batch_size, parallelization_factor=factor)
    stream = StreamMapping(config, stream_arn=ARN)
    stream.update([ShardInfo("root")], 0)
    assert stream.readable() == ["root"]
    zeros = {size: bytes(size) for size in sizes}  # shared: only lengths matter
    records = [
        StreamRecord("root", 10**55 + n, key, zeros[sizes[n % len(sizes)]], 0) for n, key in enumerate(keys)
    ]
    stream.feed("root", records, 0)
    delivered: list[int] = []
    while work := stream.due(0):
        for item in work:
            assert isinstance(item, Invocation)
            foretold = sum(len(r.data) for r in item.records) * 4 // 3
            assert foretold <= limits.ESM_PAYLOAD_BYTES
            delivered += [r.sequence_number for r in item.records]
            stream.settle(item.invocation_id, Answered(b""), 0)
    assert sorted(delivered) == [r.sequence_number for r in records]
