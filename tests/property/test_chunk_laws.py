"""Items that hold many keys: whatever comes in whatever cuts, each key stands in one of them, and is found there."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.pipeline_files import FilesIn
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.fold.cells import FULL_BYTES
from streamgage.fold.items import key_text
from streamgage.limits import DYNAMODB_WRITE_UNIT_BYTES
from streamgage.records import StreamRecord, UserRecord
from support.examples import examples
from support.fakes import FAULTS, Crash, Fault, World, invoke
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, DEFINITION, aggregated, reading
from support.watched import WatchedStore, held_once, size_bytes

SLOW_TO_DRAW = [HealthCheck.too_slow, HealthCheck.data_too_large]
SHARD = "shardId-000000000000"
MINUTE_MS = 60_000
PIPELINE = parse_pipeline(
    DEFINITION.replace('windows = ["1m", "90s", "1h"]', 'windows = ["1m", "1h"]'), FilesIn(ROOT)
)
SCHEMA, ROLLUP = PIPELINE.sources["reading"].schema, PIPELINE.rollups["device_metrics"]

Sent = list[tuple[str, float]]
"""Devices, and what they measure."""


def records_of(log: Sequence[Sent], *, ts: int = ARRIVAL_MS) -> list[StreamRecord]:
    return [
        StreamRecord(
            SHARD,
            10**55 + number,
            "p",
            aggregated(
                [UserRecord("k", SCHEMA.encode(reading(name, "m", ts, value))) for name, value in sent]
            ),
            ts,
        )
        for number, sent in enumerate(log)
    ]


def world_of(room_bytes: int, *, pipeline: Pipeline = PIPELINE, **more: Any) -> tuple[World, WatchedStore]:
    store = WatchedStore(pipeline)
    return World(pipeline, store=store, room_bytes=room_bytes, **more), store


def judge(world: World, store: WatchedStore, log: Sequence[Sent]) -> None:
    """Compare what is held, and what is answered, with one naive pass."""
    totals: defaultdict[str, list[float]] = defaultdict(list)
    for sent in log:
        for name, value in sent:
            totals[name].append(value)
    expected = {name: (len(values), min(values), max(values)) for name, values in totals.items()}
    held = held_once(store)
    assert Counter(name for _, name in held) == dict.fromkeys(
        (key_text(ROLLUP, (name, "m")) for name in totals), 2
    )
    for window in ("1m", "1h"):
        rows = world.ask("device_metrics", None, window)
        found = {row.key[0]: (row.events, *least_and_most(row.values)) for row in rows}
        assert found == expected
        assert len(rows) == len(expected)
        for name in list(expected)[:: max(len(expected) // 12, 1)]:
            (row,) = world.ask("device_metrics", {"device_id": name, "metric": "m"}, window)
            assert (row.events, *least_and_most(row.values)) == expected[name]


def least_and_most(values: Any) -> tuple[float, float]:
    return float(values["value"]["min"]), float(values["value"]["max"])


NAMES = st.integers(0, 60).map("d{}".format) | st.sampled_from(["", "ü|%", "x" * 300, "🌊" * 40])
LOGS = st.lists(
    st.lists(st.tuples(NAMES, st.integers(-99, 99).map(float)), min_size=1, max_size=25),
    min_size=1,
    max_size=12,
)
ROOMS = st.sampled_from([1, 60, 150, 400, FULL_BYTES])


@settings(max_examples=examples(60, whole=150), deadline=None, suppress_health_check=SLOW_TO_DRAW)
@given(log=LOGS, room_bytes=ROOMS, data=st.data(), slices=st.sampled_from([1, 7, 10_000]))
def test_whatever_the_order_and_sizes_of_batches_each_key_stands_in_one_item_and_is_found(
    log: list[Sent], room_bytes: int, data: st.DataObject, slices: int
) -> None:
    world, store = world_of(room_bytes, slice_events=slices)
    records, done = records_of(log), 0
    sandboxes = [world.sandbox(), world.sandbox()]
    while done < len(records):
        start, stop = data.draw(st.integers(0, done)), data.draw(st.integers(done + 1, len(records)))
        assert invoke(data.draw(st.sampled_from(sandboxes)), records[start:stop]) is None
        done = stop
    judge(world, store, log)


FIXED = [[(f"d{number}", float(number)) for number in range(batch * 9, batch * 9 + 25)] for batch in range(5)]


def attacked(attack: Callable[[World, WatchedStore, list[StreamRecord]], None], room_bytes: int) -> bool:
    """Deliver FIXED: the midst of it under *attack*, then again until it is durable; tell whether the attack was met."""
    world, store = world_of(room_bytes)
    records = records_of(FIXED)
    assert invoke(world.sandbox(), records[:1]) is None
    store.writes.arm()
    attack(world, store, records)
    met = bool(store.writes.fired) or store.writes.calls > 1_000
    for faulty in (store.writes, store.reads):
        faulty.arm()
    for start, stop in ((0, 3), (2, 5)):
        world.clock.begin()
        assert invoke(world.sandbox(), records[start:stop]) is None
    judge(world, store, FIXED)
    return met


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("room_bytes", [30, 150, 400])
def test_a_crash_or_a_lost_answer_at_any_write_loses_nothing_and_counts_nothing_twice(
    fault: Fault, room_bytes: int
) -> None:
    """Between the write of a root, or of any chunk, and of those that it sends its keys on to, too."""
    number = 0

    def attack(world: World, store: WatchedStore, records: list[StreamRecord]) -> None:
        store.writes.arm({number: fault})
        try:
            invoke(world.sandbox(), records[1:4])
        except Crash:
            return

    while attacked(attack, room_bytes):
        number += 1
    assert number >= 3, "every write was attacked, and there were some"


@pytest.mark.parametrize("cut", [(0, 1), (0, 2), (1, 4), (0, 5)])
@pytest.mark.parametrize("room_bytes", [30, 150])
def test_another_writer_before_any_write_loses_nothing_and_counts_nothing_twice(
    cut: tuple[int, int], room_bytes: int
) -> None:
    """A zombie with an older cut, or the next invocation with a later one, that closes the same items otherwise."""
    for number in range(30):

        def attack(
            world: World, store: WatchedStore, records: list[StreamRecord], number: int = number
        ) -> None:
            other = world.sandbox()

            def overtake() -> None:
                invoke(other, records[cut[0] : cut[1]])

            store.writes.arm(hooks={number: overtake})
            invoke(world.sandbox(), records[1:3])

        attacked(attack, room_bytes)


@pytest.mark.parametrize("seed", range(6))
def test_writers_that_race_in_threads_share_the_chunks_between_them(seed: int) -> None:
    world, store = world_of(150)
    records, barrier, failures = records_of(FIXED), Barrier(3), list[BaseException]()

    def deliver(who: int) -> None:
        random, sandbox, done = Random(seed * 10 + who), world.sandbox(), 0
        try:
            barrier.wait(30)
            while done < len(records):
                start, stop = random.randint(0, done), random.randint(done + 1, len(records))
                if invoke(sandbox, records[start:stop]) is None:
                    done = stop
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [Thread(target=deliver, args=(who,)) for who in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert failures == []
    judge(world, store, FIXED)


# --- how large an item becomes ---


def test_an_item_of_a_crowd_is_one_write_unit_and_the_items_are_full() -> None:
    world, store = world_of(FULL_BYTES)
    log = [[(f"device-{number:05d}", number / 8) for number in range(2_000)]]
    assert invoke(world.sandbox(), records_of(log)) is None
    judge(world, store, log)
    sizes = [
        size_bytes(key, store.item(key))
        for key in store.rows
        if "|1m|" in key.pk and not key.pk.endswith("|0")
    ]
    assert sum(size > DYNAMODB_WRITE_UNIT_BYTES for size in sizes) < len(sizes) / 20
    assert sum(sizes) / len(sizes) > 500
    assert len(sizes) < 120


def test_a_single_key_has_a_single_item_a_window() -> None:
    world, store = world_of(FULL_BYTES)
    for batch in records_of([[("d", float(n))] for n in range(4)]):
        assert invoke(world.sandbox(), [batch]) is None
    assert len([key for key in store.rows if not key.pk.startswith("~")]) == 2


def test_keys_that_come_few_at_a_time_take_about_as_many_items_as_keys_that_come_at_once() -> None:
    """Rollups a visitor: each batch brings a few new ones, and closes what it fills."""
    crowd = [(f"visitor-{number}", 1.0) for number in range(1_200)]
    few = [crowd[at : at + 12] for at in range(0, len(crowd), 12)]
    counts = []
    for log in ([crowd], few):
        world, store = world_of(FULL_BYTES)
        sandbox = world.sandbox()
        for record in records_of(log):
            assert invoke(sandbox, [record]) is None
        judge(world, store, log)
        counts.append(sum("|1m|" in key.pk for key in store.rows))
    assert counts[1] < 3 * counts[0]


LONG = 2_048 - len("|m") - 6


@pytest.mark.parametrize(
    "name",
    [
        lambda number: f"{number:06d}" + "x" * LONG,
        lambda number: f"{number:06d}" + Random(number).randbytes(LONG // 2).hex(),
        lambda number: (
            f"{number:06d}" + ("x" * 3 if number < 60 else Random(number).randbytes(LONG // 2).hex())
        ),
    ],
    ids=["alike", "random", "short ones first"],
)
def test_no_item_passes_what_dynamodb_holds_whatever_the_names(name: Callable[[int], str]) -> None:
    """2,000 names of 2 kB are 4 MB; the store watches each write."""
    world, store = world_of(FULL_BYTES)
    names = [name(number) for number in range(2_000)]
    log = [[(each, 1.0) for each in names[at : at + 250]] for at in range(0, len(names), 250)]
    sandbox = world.sandbox()
    for record in records_of(log):
        assert invoke(sandbox, [record]) is None
    judge(world, store, log)
    assert max(size_bytes(key, store.item(key)) for key in store.rows) < 40_000


MANY_FIELDS = 40
WIDE = f"""
[[sources]]
name = "wide"
schema = "wide.avsc"
partition_key = "id"
event_time = "ts"
[[rollups]]
name = "all"
source = "wide"
key = ["id"]
windows = ["1d"]
[rollups.measures]
{chr(10).join(f'f{n} = ["count", "sum", "min", "max", "mean", "variance", "first", "last"]' for n in range(MANY_FIELDS))}
"""


class WideFiles:
    """A schema of many numbers."""

    def read(self, path: str) -> str:  # noqa: ARG002 - the protocol's
        fields = [{"name": f"f{n}", "type": "double"} for n in range(MANY_FIELDS)]
        key = [{"name": "id", "type": "string"}, {"name": "ts", "type": "long"}]
        return str({"type": "record", "name": "Wide", "fields": key + fields}).replace("'", '"')

    def versions(self, path: str) -> list[str]:  # noqa: ARG002 - the protocol's
        return []


def test_no_item_passes_what_dynamodb_holds_whatever_becomes_of_the_numbers() -> None:
    """Many keys are taken while their states are next to nothing; then each field of each has all its digits."""
    pipeline = parse_pipeline(WIDE, WideFiles())
    world, store = world_of(FULL_BYTES, pipeline=pipeline)
    schema, random, sandbox = pipeline.sources["wide"].schema, Random(1), world.sandbox()
    for number in range(6):
        users = []
        for key in range(600):
            values = {f"f{n}": random.uniform(-9e28, 9e28) if number else 0.0 for n in range(MANY_FIELDS)}
            ts = ARRIVAL_MS + (random.randrange(86_400_000) if number else 0)
            users.append(UserRecord("k", schema.encode({"id": f"{key}", "ts": ts % 86_400_000, **values})))
        cuts = [users[at : at + 300] for at in range(0, len(users), 300)]
        records = [
            StreamRecord(SHARD, 10**55 + 2 * number + at, "p", aggregated(cut), ARRIVAL_MS)
            for at, cut in enumerate(cuts)
        ]
        assert invoke(sandbox, records) is None
    assert len(held_once(store)) == 600


def test_chunks_grow_in_number_so_that_no_way_to_a_key_is_long() -> None:
    world, store = world_of(150)
    sandbox = world.sandbox()
    for record in records_of([[(f"d{number}", 1.0)] for number in range(1_500)]):
        assert invoke(sandbox, [record]) is None
    among = sorted({int(key.pk.split("|")[2].partition(".")[0]) for key in store.rows if "|1m|" in key.pk})
    assert len(among) <= 12
    assert all(later > earlier for earlier, later in pairwise(among))
