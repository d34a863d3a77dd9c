"""Sending by a schedule: never early, late all at once, and latency from when an event was due."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from processors.pipeline_files import load_pipeline
from producers.client.entry import PutEntry
from producers.client.ports import PutFailed, PutResult, PutStored
from producers.load.events import LoadEvents, Share, sources_of
from producers.load.profile import Profile
from producers.load.sending import CHUNK_EVENTS, Latencies, Sent, WatchedKinesis, send_load
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.errors import DeliveryError
from streamgage.records import UserRecord
from streamgage.shards import Shard
from support.paths import ROOT

START_MS = 1_700_000_000_000.0
SHARE = Share(mark="m", seed=1, first=0, devices=5, rate_per_s=100, seconds=3)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(ROOT / "pipeline.toml")


class World:
    """A clock that only sleeping moves, and an outlet that notes when each event came; *slow_at* it takes *slow_s*."""

    def __init__(self, *, slow_at: int = -1, slow_s: float = 0.0, fails_at: int = -1) -> None:
        self.time_ms = START_MS - 100
        self.came: list[tuple[float, str, dict[str, Any]]] = []
        self.flushed = False
        self._slow_at, self._slow_s, self._fails_at = slow_at, slow_s, fails_at

    def now_ms(self) -> float:
        return self.time_ms

    def sleep_s(self, duration_s: float) -> None:
        self.time_ms += duration_s * 1000

    def put_many(self, source: Source, events: Sequence[dict[str, Any]]) -> None:
        if len(self.came) <= self._slow_at < len(self.came) + len(events):
            self.time_ms += self._slow_s * 1000
        fails = len(self.came) <= self._fails_at < len(self.came) + len(events)
        self.came += [(self.time_ms, source.name, each) for each in events]
        if fails:
            raise DeliveryError("gone", [UserRecord("k", b"x", events=2)])

    def poll(self) -> None:
        pass

    def flush(self) -> None:
        self.flushed = True


def run(
    pipeline: Pipeline, world: World, *, over_after: int = 10**9, give_up_s: float = 60.0
) -> tuple[LoadEvents, Sent]:
    events = LoadEvents(pipeline, sources_of(pipeline), SHARE, Profile())
    sent = send_load(
        events.all(int(START_MS)),
        events.schedule,
        world,
        start_ms=START_MS,
        timer=world,
        give_up_s=give_up_s,
        is_over=lambda sent: sent.events >= over_after,
    )
    return events, sent


def test_each_event_goes_when_it_is_due_in_the_schedules_order_and_none_before(pipeline: Pipeline) -> None:
    world = World()
    events, sent = run(pipeline, world)
    assert sent.events == 300
    assert world.flushed
    assert [(name, event) for _, name, event in world.came] == [
        (source.name, event) for source, event in events.all(int(START_MS))
    ]
    for number, (at_ms, _, _) in enumerate(world.came):
        assert -1e-6 <= at_ms - START_MS - events.schedule.due_ms(number) <= 5
    assert sent.late_ms <= 5


def test_what_was_due_while_the_outlet_made_it_wait_goes_at_once_and_counts_as_late(
    pipeline: Pipeline,
) -> None:
    world = World(slow_at=100, slow_s=1.0)
    _, sent = run(pipeline, world)
    assert sent.events == 300
    assert 950 <= sent.late_ms <= 1_010
    together = sum(at_ms == world.came[150][0] for at_ms, _, _ in world.came)
    assert 90 <= together <= CHUNK_EVENTS


def test_it_ends_when_it_is_told_and_gives_up_far_behind_its_schedule(pipeline: Pipeline) -> None:
    world = World()
    _, sent = run(pipeline, world, over_after=120)
    assert 120 <= sent.events < 130
    assert world.flushed
    _, sent = run(pipeline, World(slow_at=50, slow_s=2.0), give_up_s=1.0)
    assert sent.gave_up
    assert sent.events < 300


def test_what_could_not_be_delivered_is_counted_and_the_load_goes_on(pipeline: Pipeline) -> None:
    _, sent = run(pipeline, World(fails_at=40))
    assert (sent.events, sent.undelivered, sent.last_error) == (300, 2, "gone")


class Histogram:
    highest_trackable_value = 10_000

    def __init__(self) -> None:
        self.recorded: list[tuple[int, int]] = []

    def record_value(self, value: int, count: int) -> None:
        self.recorded.append((value, count))


class Port:
    """Stores the first entry of a request, and refuses the second."""

    def list_shards(self) -> Sequence[Shard]:
        return []

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        results: list[PutResult] = [PutStored("s", 1), PutFailed("Throttled", "")]
        return results[: len(entries)]


def entry(number: int, events: int) -> PutEntry:
    return PutEntry(
        shard_id="s",
        partition_key="k",
        explicit_hash_key=None,
        data=b"x",
        size_bytes=2,
        records=(UserRecord("k", b"x", events=events),),
        numbers=(number,),
        opened_ms=0,
    )


def test_latency_counts_from_when_the_oldest_event_of_a_stored_record_was_due(pipeline: Pipeline) -> None:
    schedule = LoadEvents(pipeline, sources_of(pipeline), SHARE, Profile()).schedule
    histogram = Histogram()
    latencies = Latencies(schedule, START_MS, histogram)
    times: Iterator[float] = iter([START_MS + 1_500, START_MS + 10**9])
    port = WatchedKinesis(Port(), now_ms=lambda: next(times), watch=latencies.note)
    port.put_records([entry(100, 7), entry(200, 9)])
    port.put_records([entry(0, 1)])
    assert histogram.recorded == [(1_500 - int(schedule.due_ms(100)), 7), (10_000, 1)]
