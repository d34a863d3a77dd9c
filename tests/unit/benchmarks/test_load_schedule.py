from array import array
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.harness import ROOT
from benchmarks.load.generator import Done, Job, send
from benchmarks.load.routes import Routes
from benchmarks.load.schedule import Events, SenderLoad, divide
from processors.pipeline_files import load_pipeline
from producers.client.batcher import PutEntry
from streamgage.definition.pipeline import Source
from streamgage.errors import ConfigError
from streamgage.formats.avro import Event
from streamgage.records import UserRecord
from streamgage.shards import Shard, ShardMap, hash_key_of

HALF = 2**127
SHARDS = [Shard("shardId-0", 0, HALF - 1), Shard("shardId-1", HALF, 2 * HALF - 1)]


def load(**changes: float) -> SenderLoad:
    whole = {"sender": 0, "seed": 3, "devices": 7, "metrics": 2, "rate_per_s": 1_000, "events": 100}
    return SenderLoad(**{**whole, **changes})  # type: ignore[arg-type]  # the numbers are whole where they must be


def entry(numbers: tuple[int, ...], events: int) -> PutEntry:
    record = UserRecord("k", b"") if events == 1 else UserRecord("k", b"", events=events)
    return PutEntry(
        shard_id="shardId-0", partition_key="k", explicit_hash_key=None, data=b"", size_bytes=1,
        records=(record,), numbers=numbers, opened_ms=0,
    )  # fmt: skip


def test_an_event_happens_when_it_is_due() -> None:
    made = list(Events(load(rate_per_s=300)).between(0, 90, start_ms=5_000))
    assert [each["ts"] for each in made] == [5_000 + n * 1000 // 300 for n in range(90)]
    assert made[7]["ts"] == 5_000 + int(load(rate_per_s=300).due_ms(7))


def test_the_same_load_gives_the_same_events_however_they_are_asked_for() -> None:
    whole = list(Events(load()).between(0, 100, start_ms=9))
    parts = Events(load())
    assert [*parts.between(0, 41, start_ms=9), *parts.between(41, 100, start_ms=9)] == whole


def test_series_take_turns_so_an_event_belongs_to_the_series_of_its_number() -> None:
    events = Events(load())
    made = list(events.between(0, 100, start_ms=0))
    assert len(events.keys) == 14
    assert all(each["device_id"] == events.keys[n % 14] for n, each in enumerate(made))
    assert {(each["device_id"], each["metric"]) for each in made[:14]} == {
        (each["device_id"], each["metric"]) for each in made[14:28]
    }


def test_senders_have_devices_of_their_own_and_the_whole_rate_between_them() -> None:
    shares = divide(senders=3, seed=1, devices=10, metrics=2, rate_per_s=6_000, seconds=2)
    assert [each.devices for each in shares] == [4, 3, 3]
    assert sum(each.rate_per_s for each in shares) == pytest.approx(6_000)
    assert sum(each.events for each in shares) == 12_000
    assert not set(Events(shares[0]).keys) & set(Events(shares[1]).keys)


def test_two_events_of_a_series_in_one_millisecond_are_refused() -> None:
    with pytest.raises(ConfigError, match="more devices"):
        load(rate_per_s=14_001)
    with pytest.raises(ConfigError, match="cannot be divided"):
        divide(senders=3, seed=1, devices=2, metrics=1, rate_per_s=10, seconds=1)


def test_a_block_holds_the_events_of_its_shard_from_its_first_on() -> None:
    keys = Events(load()).keys
    routes, shards = Routes(keys, SHARDS), ShardMap(SHARDS)
    own = [n for n in range(100) if shards.shard_for(hash_key_of(keys[n % 14])) == "shardId-1"]
    assert len(own) > 20
    found = routes.numbers("shardId-1", entry((own[3],), events=15))
    assert list(found) == own[3:18]


def test_user_records_come_with_their_numbers() -> None:
    routes = Routes(["a", "b"], SHARDS)
    assert routes.numbers("shardId-0", entry((5,), events=1)) == array("I", [5])


@dataclass
class World:
    """A clock that moves when something takes its time, and a producer that stands still at one event."""

    stall_at: int = -1
    stall_ms: float = 0
    ms: float = 1_000.0
    sent: list[tuple[float, int]] = field(default_factory=list)
    flushed: bool = False

    def now_ms(self) -> float:
        return self.ms

    def sleep_s(self, duration_s: float) -> None:
        self.ms += duration_s * 1000

    def send(self, source: Source, event: Event) -> None:
        assert source.name == "reading"
        if len(self.sent) == self.stall_at:
            self.ms += self.stall_ms
        self.sent.append((self.ms, event["ts"]))

    def poll(self) -> None:
        self.ms += 0.1

    def flush(self) -> None:
        self.flushed = True


def sent_by(world: World, *, give_up_s: float = 10, start_ms: int = 1_500) -> Done:
    job = Job(load=load(), pipeline="", endpoint="", credentials_file="", stream="", give_up_s=give_up_s)
    events = Events(load())
    source = load_pipeline(ROOT / "pipeline.toml").sources["reading"]
    return send(
        job, events, world, source=source, start_ms=start_ms, timer=world,
    )  # fmt: skip


def test_no_event_is_sent_before_it_is_due_and_none_much_after() -> None:
    world = World()
    done = sent_by(world)
    assert [ts for _, ts in world.sent] == [1_500 + n for n in range(100)]
    assert all(0 <= at_ms - ts <= 6 for at_ms, ts in world.sent)
    assert (done.events, done.gave_up, world.flushed) == (100, False, True)


def test_a_producer_that_stands_still_moves_no_event_from_its_due_time() -> None:
    world = World(stall_at=20, stall_ms=70)
    done = sent_by(world)
    assert [ts for _, ts in world.sent] == [1_500 + n for n in range(100)]
    assert max(at_ms - ts for at_ms, ts in world.sent) >= 69
    assert 60 <= done.late_ms <= 76


def test_a_sender_far_behind_gives_up_and_says_so() -> None:
    world = World(stall_at=20, stall_ms=60)
    done = sent_by(world, give_up_s=0.05)
    assert done.gave_up
    assert 20 < done.events == len(world.sent) < 100
    assert world.flushed


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = Job(
        load=load(),
        pipeline="p",
        endpoint="http://127.0.0.1:1",
        credentials_file="",
        stream="s",
        give_up_s=2.0,
    )
    job.write(tmp_path / "sender")
    assert Job.read(tmp_path / "sender") == job
