"""Keys that stand together: a question that names what they share finds all of them, and reads little else."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from processors.pipeline_files import FilesIn
from processors.query.item_view import view_items
from processors.query.question import Question, Row, ask
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.fold.items import (
    TOGETHER_BITS,
    ItemKey,
    StoredItem,
    chunk_number,
    hash_of,
    hashes_together,
    key_hash,
    key_text,
)
from streamgage.records import StreamRecord, UserRecord
from support.fakes import NOW_MS, InMemoryItemStore, Reads, World, invoke
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, DEFINITION, aggregated, reading

SLOW_TO_DRAW = [HealthCheck.too_slow, HealthCheck.data_too_large]
KEY = 'key = ["device_id", "metric"]\nwindows = ["1m", "90s", "1h"]'


def pipeline_of(*together: str) -> Pipeline:
    said = f"together = {list(together)}\n" if together else ""
    return parse_pipeline(
        DEFINITION.replace(KEY, f'key = ["device_id", "metric"]\n{said}windows = ["1h"]'), FilesIn(ROOT)
    )


APART, BY_DEVICE, BY_METRIC = pipeline_of(), pipeline_of("device_id"), pipeline_of("metric")
SCHEMA = APART.sources["reading"].schema
TRICKY = st.text(st.sampled_from('ab|%\n1"é'), min_size=1, max_size=4)
Key = tuple[str, str]
"""Device and metric."""


@dataclass
class Noting:
    """A PartialStore that notes which items it was asked for."""

    store: InMemoryItemStore
    asked: list[ItemKey] = field(default_factory=list)

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        for sk, item in self.store.range(pk, first_sk, last_sk):
            self.asked.append(ItemKey(pk, sk))
            yield sk, item

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        self.asked += keys
        return Reads(self.store).get(keys)


def record(number: int, keys: Sequence[Key]) -> StreamRecord:
    users = [
        UserRecord("k", SCHEMA.encode(reading(device, metric, ARRIVAL_MS, 1.0))) for device, metric in keys
    ]
    return StreamRecord("shardId-000000000000", 10**55 + number, "p", aggregated(users), ARRIVAL_MS)


def world_of(pipeline: Pipeline, batches: Sequence[Sequence[Key]], *, room_bytes: int) -> World:
    world = World(pipeline, room_bytes=room_bytes)
    sandbox = world.sandbox()
    for number, keys in enumerate(batches):
        assert invoke(sandbox, [record(number, keys)]) is None
    return world


def question(pipeline: Pipeline, key: Mapping[str, str]) -> Question:
    return Question.parse(pipeline, rollup="device_metrics", key=key, window="1h", from_ms=0, to_ms=2**47)


def rows_of(world: World, key: Mapping[str, str]) -> tuple[list[Row], int]:
    """Return the answer, and how many items it asked for."""
    store = Noting(world.store)
    rows = list(ask(store, question(world.pipeline, key), applied_ms=NOW_MS, now_ms=NOW_MS))
    return rows, len(store.asked)


def literal(text: str) -> str:
    return text.replace("*", "\\*").replace("?", "\\?")


@settings(suppress_health_check=SLOW_TO_DRAW, deadline=None)
@given(
    batches=st.lists(st.lists(st.tuples(TRICKY, TRICKY), min_size=1, max_size=30), min_size=1, max_size=6),
    room_bytes=st.sampled_from([60, 120, 800]),
    pipeline=st.sampled_from([APART, BY_DEVICE, BY_METRIC]),
)
@example(batches=[[("a|b", "c"), ("a", "b|c")] * 3], room_bytes=60, pipeline=BY_DEVICE)
@example(batches=[[("a", f"m{n}")] for n in range(40)], room_bytes=60, pipeline=BY_DEVICE)
def test_whatever_stands_together_is_found_by_each_way_of_asking(
    batches: list[list[Key]], room_bytes: int, pipeline: Pipeline
) -> None:
    world = world_of(pipeline, batches, room_bytes=room_bytes)
    totals: defaultdict[Key, int] = defaultdict(int)
    for keys in batches:
        for key in keys:
            totals[key] += 1

    assert len(keys_held(world)) == len(totals)
    every, _ = rows_of(world, {})
    assert {row.key: row.events for row in every} == totals
    for at, name in enumerate(("device_id", "metric")):
        for value in {key[at] for key in totals}:
            found, _ = rows_of(world, {name: literal(value)})
            assert {row.key: row.events for row in found} == {
                key: events for key, events in totals.items() if key[at] == value
            }
    for device, metric in totals:
        (row,), _ = rows_of(world, {"device_id": literal(device), "metric": literal(metric)})
        assert row.events == totals[device, metric]


def keys_held(world: World) -> list[str]:
    """Return the keys that stand in the table, each as often as it does."""
    found = []
    for view in view_items(Reads(world.store), question(world.pipeline, {})):
        assert view.chunk is not None, view.problem
        found += view.chunk.keys
    assert len(found) == len(set(found)), "a key stands twice"
    return found


@given(keys=st.lists(st.tuples(TRICKY, TRICKY), min_size=1, max_size=20), among=st.integers(1, 2**56))
def test_keys_that_share_what_keeps_them_together_have_hashes_beside_each_other(
    keys: list[Key], among: int
) -> None:
    for pipeline, at in ((BY_DEVICE, 0), (BY_METRIC, 1)):
        rollup = pipeline.rollups["device_metrics"]
        for key in keys:
            hashes = hashes_together([key[at]])
            found = key_hash(rollup, key_text(rollup, key))
            assert found in hashes
            first, last = (chunk_number(each, among) for each in (hashes.start, hashes[-1]))
            assert first <= chunk_number(found, among) <= last
            assert last - first <= among // 2**TOGETHER_BITS + 1


def test_the_hash_of_keys_that_stand_together_is_the_same_everywhere_and_for_ever() -> None:
    """Items of another machine, or of an older version, are found by it."""
    rollup = BY_DEVICE.rollups["device_metrics"]
    assert hash_of("d1|temp") == key_hash(APART.rollups["device_metrics"], "d1|temp") == 0xAD2DDACF6896F72F
    assert key_hash(rollup, "d1|temp") >> 44 == hash_of("d1") >> 44
    assert key_hash(rollup, "d1|temp") & (2**44 - 1) == hash_of("d1|temp") >> 20


def test_of_many_devices_one_is_read_from_few_items_and_without_it_from_all() -> None:
    keys = [(f"d{number}", metric) for number in range(400) for metric in ("a", "b", "c")]
    together, apart = (world_of(each, [keys], room_bytes=120) for each in (BY_DEVICE, APART))

    found, items = rows_of(together, {"device_id": "d7"})
    same, all_items = rows_of(apart, {"device_id": "d7"})

    assert [(row.key, row.events) for row in found] == [(row.key, row.events) for row in same]
    assert len(found) == 3
    assert items <= 4, "the root, and the way of one chunk"
    assert all_items >= 40
    assert rows_of(together, {"device_id": "d7*"})[1] >= 40, "a pattern may be any device"
    assert rows_of(together, {"metric": "a"})[1] >= 40


def test_a_device_of_very_many_keys_fills_chunk_after_chunk_and_then_spreads() -> None:
    """The way to its last key is bounded, whether they come at once or one by one: each closed chunk halves what is left."""
    metrics = [("big", f"m{number}") for number in range(600)]
    others = [(f"d{number}", "a") for number in range(50)]
    at_once = world_of(BY_DEVICE, [metrics + others], room_bytes=60)
    one_by_one = world_of(BY_DEVICE, [others, *([each] for each in metrics)], room_bytes=60)

    for world in (at_once, one_by_one):
        assert {row.key for row in rows_of(world, {"device_id": "big"})[0]} == set(metrics)
        depths = [levels_of(world, key) for key in metrics[:: len(metrics) // 20]]
        assert max(depths) <= TOGETHER_BITS + 16
        assert min(depths) >= 1


def levels_of(world: World, key: Key) -> int:
    """Return how many items are read, one after the other, until *key* is found."""
    (row,), items = rows_of(world, {"device_id": key[0], "metric": key[1]})
    assert row.events == 1
    return items
