"""A list of events is what its events are one after the other: the same Kinesis records, the same refusals."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.pipeline_files import load_pipeline
from producers.client.batcher import BatcherConfig, PutEntry
from producers.client.core import CoreConfig, ProducerCore
from producers.client.identity import Identity
from producers.client.many import RefusedEvents
from producers.client.outbox import RetryConfig
from producers.client.ports import PutFailed, PutResult, PutStored
from producers.simulators.fleet import FleetConfig, fleet_events
from streamgage.errors import DeliveryError
from streamgage.formats.avro import Event
from streamgage.shards import Shard
from support.examples import examples
from support.paths import ROOT

READING = load_pipeline(ROOT / "pipeline.toml").sources["reading"]

GOOD = st.fixed_dictionaries(
    {
        "device_id": st.sampled_from([f"device-{n}" for n in range(9)]) | st.text(min_size=1, max_size=300),
        "metric": st.sampled_from(["celsius", "bar"]),
        "ts": st.integers(1_700_000_000_000, 1_700_000_100_000),
        "value": st.integers(-1000, 1000).map(lambda n: n / 10) | st.integers(-5, 5) | st.floats(-1e9, 1e9),
    },
    optional={"tags": st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)},
)
PLAIN = st.builds(
    lambda device, ts, value: {"device_id": device, "metric": "celsius", "ts": ts, "value": value},
    st.sampled_from([f"device-{n}" for n in range(5)]),
    st.integers(0, 10**12),
    st.floats(-100, 100),
)
WRONG = st.sampled_from(
    [
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": "1"},
        {"value": None},
        {"value": True},
        {"ts": -1},
        {"ts": 10**15},
        {"ts": 5.5},
        {"ts": None},
        {"device_id": ""},
        {"device_id": "x" * 257},
        {"device_id": "\ud800"},
        {"device_id": None},
        {"metric": "\udfff"},
        {"metric": 7},
        {"unheard": 1},
        {"tags": 5},
        {"metric": "x" * 1_100_000},
    ]
)
BAD = st.builds(lambda event, wrong: {**event, **wrong}, PLAIN, WRONG)
LACKING = st.builds(
    lambda event, name: {k: v for k, v in event.items() if k != name},
    PLAIN,
    st.sampled_from(["device_id", "metric", "ts", "value"]),
)
EVENTS = st.lists(
    st.lists(PLAIN, min_size=1, max_size=60)
    | st.lists(PLAIN, min_size=10, max_size=60)
    | st.lists(GOOD, max_size=12)
    | st.lists(BAD | LACKING, max_size=2),
    max_size=6,
).map(lambda lists: [event for each in lists for event in each])


@dataclass(frozen=True)
class How:
    """How a producer sends, and to what."""

    batching: BatcherConfig
    max_buffered_bytes: int
    shards: int
    fails: frozenset[int]
    tagged: bool
    blocks: bool
    gap_ms: int


HOWS = st.builds(
    How,
    batching=st.builds(
        BatcherConfig,
        request_bytes=st.sampled_from([2**20, 2**20, 500, 1]),
        linger_ms=st.sampled_from([100, 100, 30, 1, 0]),
        block_bytes=st.sampled_from([500_000, 1_500, 1_500, 600, 300, 1]),
        block_events=st.sampled_from([10_000, 10_000, 50, 20, 2, 1]),
        one_key_per_record=st.sampled_from([False] * 6 + [True]),
    ),
    max_buffered_bytes=st.sampled_from([8 * 2**20, 8 * 2**20, 3_000, 700, 1]),
    shards=st.sampled_from([3, 2, 1, 7]),
    fails=st.frozensets(st.integers(0, 12), max_size=4),
    tagged=st.booleans(),
    blocks=st.sampled_from([True] * 8 + [False]),
    gap_ms=st.sampled_from([0, 0, 20, 200]),
)


class World:
    """A stream that stores a request, or fails it, by its number; and a clock that stands still between lists."""

    def __init__(self, how: How) -> None:
        self.stored: list[PutEntry] = []
        self._how = how
        self._requests = 0
        self.at_ms = 0

    def list_shards(self) -> Sequence[Shard]:
        ends = [2**128 * n // self._how.shards for n in range(self._how.shards + 1)]
        return [Shard(f"shard-{n}", ends[n], ends[n + 1] - 1) for n in range(self._how.shards)]

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        self._requests += 1
        if self._requests in self._how.fails:
            return [PutFailed("InternalFailure", "no")] * len(entries)
        self.stored += entries
        return [PutStored(entry.shard_id, len(self.stored)) for entry in entries]

    def now_ms(self) -> int:
        return self.at_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.at_ms += duration_ms


@dataclass
class Outcome:
    """What came of a stream of events."""

    records: list[Any]
    refused: list[tuple[int, str, str]]
    undelivered: list[Any]
    stats: Any


def outcome(lists: Sequence[Sequence[Event]], how: How, *, at_once: bool) -> Outcome:
    """Return what came of *lists*, each put at once or event by event."""
    world = World(how)
    source = replace(READING, blocks=how.blocks)
    producer = ProducerCore(
        world,
        clock=world,
        rng=random.Random(0),
        config=CoreConfig(
            batching=how.batching,
            retries=RetryConfig(max_attempts=1),
            concurrency=1,
            max_buffered_bytes=how.max_buffered_bytes,
        ),
        tags_for=Identity(random.Random(1)).tags_for if how.tagged else None,
    )
    found = Outcome([], [], [], producer.stats)
    first = 0
    for events in lists:
        if at_once:
            try:
                producer.put_many(source, events)
            except RefusedEvents as error:
                found.refused += [(first + each.at, *_said(each.error)) for each in error.refused]
            except DeliveryError as error:
                found.undelivered += error.undelivered
        else:
            for at, event in enumerate(events):
                try:
                    producer.send(source, event)
                except DeliveryError as error:
                    found.undelivered += error.undelivered
                except ValueError as error:
                    found.refused.append((first + at, *_said(error)))
        first += len(events)
        world.at_ms += how.gap_ms
    try:
        producer.close()
    except DeliveryError as error:
        found.undelivered += error.undelivered
    # A list names all that were given up meanwhile in the order they were put.
    found.undelivered.sort(key=lambda record: (record.partition_key, record.data))
    found.records = [
        (each.shard_id, each.partition_key, each.data, each.numbers, each.opened_ms) for each in world.stored
    ]
    return found


def _said(error: ValueError) -> tuple[str, str]:
    return type(error).__name__, str(error)


def cut(events: Sequence[Event], places: Sequence[int]) -> Iterator[Sequence[Event]]:
    """Yield *events* in lists that end at *places*."""
    bounds = sorted({0, len(events), *(place % (len(events) + 1) for place in places)})
    return (events[start:stop] for start, stop in pairwise(bounds))


@settings(deadline=None, max_examples=examples(100, whole=300))
@given(events=EVENTS, places=st.lists(st.integers(0, 400), max_size=5), how=HOWS)
def test_a_list_of_events_is_sent_as_its_events_are_one_after_the_other(
    events: list[Event], places: list[int], how: How
) -> None:
    lists = list(cut(events, places))
    assert outcome(lists, how, at_once=True) == outcome(lists, how, at_once=False)


@settings(deadline=None, max_examples=examples(10, whole=30))
@given(
    how=HOWS,
    seed=st.integers(0, 99),
    devices=st.sampled_from([1, 7, 300]),
    wrong=st.sets(st.integers(0, 2_499), max_size=3),
)
def test_so_is_a_long_one(how: How, seed: int, devices: int, wrong: set[int]) -> None:
    config = FleetConfig(devices=devices, events=2_500, seed=seed, start_ms=1_700_000_000_000)
    events = [{**each, "ts": -1} if at in wrong else each for at, each in enumerate(fleet_events(config))]
    assert outcome([events], how, at_once=True) == outcome([events], how, at_once=False)
