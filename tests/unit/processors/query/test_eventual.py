"""Windows read with eventual consistency: from where nobody knows how old it is, so nothing of it is said to be complete."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import ClientFactory, create_table
from processors.query.cells import DynamoPartialStore, PartialStore
from processors.query.question import Question, Row, ask
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.records import StreamRecord, UserRecord
from support.boto3_store import Boto3ItemStore
from support.fakes import NOW_MS, InMemoryItemStore, Reads, World, invoke
from support.strategies import ARRIVAL_MS, aggregated, pipeline, reading

MINUTE_MS = 60_000
START_MS = ARRIVAL_MS - ARRIVAL_MS % MINUTE_MS
SCHEMA = pipeline().sources["reading"].schema
MANY = [f"d{number}" for number in range(40)]


def question(*, from_ms: int = 0, to_ms: int = 2**47, device: str | None = None) -> Question:
    key = None if device is None else {"device_id": device, "metric": "m"}
    return Question.parse(
        pipeline(), rollup="device_metrics", key=key, window="1m", from_ms=from_ms, to_ms=to_ms
    )


def batch(number: int, devices: Sequence[str], *, minutes: int = 0) -> StreamRecord:
    ts = START_MS + minutes * MINUTE_MS + number
    users = [UserRecord("k", SCHEMA.encode(reading(device, "m", ts, 1.0))) for device in devices]
    return StreamRecord("shardId-000000000000", 10**55 + number, "p", aggregated(users), ts + 1)


@dataclass
class Noting:
    """A PartialStore that notes the sort keys it was asked for."""

    store: PartialStore
    asked: list[tuple[str, str]] = field(default_factory=list)

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        self.asked.append((first_sk, last_sk))
        return self.store.range(pk, first_sk, last_sk)

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        return self.store.get(keys)


def three_minutes() -> World:
    world = World(pipeline(), room_bytes=60)
    sandbox = world.sandbox()
    for minute in range(3):
        assert invoke(sandbox, [batch(minute, MANY, minutes=minute)]) is None
    return world


def starts(rows: Sequence[Row], *, may_change: bool) -> set[int]:
    return {(row.window.start_ms - START_MS) // MINUTE_MS for row in rows if row.may_change is may_change}


@pytest.mark.parametrize(
    ("applied", "by_eventual", "complete"),
    [
        (0, set(), set()),
        (START_MS + MINUTE_MS - 1, set(), set()),
        (START_MS + MINUTE_MS, {0}, set()),
        (START_MS + 2 * MINUTE_MS + 5, {0, 1}, set()),
        (START_MS + 9 * MINUTE_MS, {0, 1, 2}, set()),
    ],
)
def test_only_windows_that_are_over_and_applied_are_read_so_and_none_of_them_is_complete(
    applied: int, by_eventual: set[int], complete: set[int]
) -> None:
    world, nothing = three_minutes(), Noting(Reads(InMemoryItemStore()))
    rows = list(ask(Reads(world.store), question(), applied_ms=applied, now_ms=NOW_MS, eventual=nothing))
    assert starts(rows, may_change=True) == {0, 1, 2} - by_eventual, (
        "an old replica has nothing of the others"
    )
    rows = list(
        ask(Reads(world.store), question(), applied_ms=applied, now_ms=NOW_MS, eventual=Reads(world.store))
    )
    assert starts(rows, may_change=False) == complete
    assert starts(rows, may_change=True) == {0, 1, 2}
    assert len(rows) == 3 * len(MANY)


def test_read_consistently_the_same_windows_are_complete() -> None:
    world, applied_ms = three_minutes(), START_MS + 2 * MINUTE_MS
    rows = list(ask(Reads(world.store), question(), applied_ms=applied_ms, now_ms=NOW_MS))
    assert starts(rows, may_change=False) == {0, 1}


@pytest.mark.parametrize("from_ms", [0, START_MS, START_MS + MINUTE_MS + 7, START_MS + 5 * MINUTE_MS])
@pytest.mark.parametrize(
    "to_ms", [START_MS + 1, START_MS + 2 * MINUTE_MS, START_MS + 2 * MINUTE_MS + 1, 2**47]
)
def test_the_two_ranges_meet_and_neither_is_read_twice(from_ms: int, to_ms: int) -> None:
    world, applied_ms = three_minutes(), START_MS + 2 * MINUTE_MS + 5
    if from_ms >= to_ms:
        return
    asked = question(from_ms=from_ms, to_ms=to_ms)
    store, eventual = Noting(Reads(world.store)), Noting(Reads(world.store))
    rows = list(ask(store, asked, applied_ms=applied_ms, now_ms=NOW_MS, eventual=eventual))
    plain = list(ask(Reads(world.store), asked, applied_ms=applied_ms, now_ms=NOW_MS))
    assert [(row.window, row.key, row.events) for row in rows] == [(r.window, r.key, r.events) for r in plain]
    ranges = sorted(store.asked + eventual.asked)
    assert len(ranges) <= 2
    assert all(before[1][:15] < after[0] for before, after in pairwise(ranges))


class Stale:
    """A PartialStore whose every read may return an item as any write left it, or as it was before the first."""

    def __init__(self, history: Sequence[InMemoryItemStore], data: st.DataObject) -> None:
        self._history, self._data = history, data

    def _one(self) -> Reads:
        return Reads(self._history[self._data.draw(st.integers(0, len(self._history) - 1))])

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        for sk, _ in Reads(self._history[-1]).range(pk, first_sk, last_sk):
            yield from self._one().range(pk, sk, sk)

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        found: dict[ItemKey, StoredItem] = {}
        for key in keys:
            found.update(self._one().get([key]))
        return found


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    log=st.lists(st.lists(st.sampled_from(MANY), min_size=1, max_size=20), min_size=1, max_size=6),
    data=st.data(),
)
def test_however_old_each_item_is_no_key_has_more_than_it_got_or_stands_twice_and_none_is_called_complete(
    log: list[list[str]], data: st.DataObject
) -> None:
    world = World(pipeline(), room_bytes=60)
    sandbox, history, totals = world.sandbox(), [InMemoryItemStore()], dict[str, int]()
    for number, devices in enumerate(log):
        assert invoke(sandbox, [batch(number, devices)]) is None
        history.append(InMemoryItemStore())
        history[-1].rows.update(world.store.rows)
        for name in devices:
            totals[name] = totals.get(name, 0) + 1
    device = data.draw(st.none() | st.sampled_from(MANY))
    rows = list(
        ask(
            Reads(world.store),
            question(device=device),
            applied_ms=START_MS + MINUTE_MS,
            now_ms=NOW_MS,
            eventual=Stale(history, data),
        )
    )
    keys = [row.key[0] for row in rows]
    assert len(set(keys)) == len(keys)
    assert all(0 < row.events <= totals[row.key[0]] for row in rows)
    assert all(row.may_change for row in rows)


def test_dynamodb_reads_it_for_half_the_units(moto: ClientFactory) -> None:
    client = moto("dynamodb")
    create_table(client, "aggregates")
    world, store = three_minutes(), Boto3ItemStore(client, "aggregates")
    for key in world.store.rows:
        store.put(key, world.store.item(key), expected_fence=None)
    requests: list[object] = []
    client.meta.events.register(
        "provide-client-params.dynamodb.*", lambda params, **_: requests.append(params)
    )
    whole = DynamoPartialStore(client, "aggregates")
    half = whole.eventually()
    for each, consistent in ((whole, True), (half, False)):
        requests.clear()
        rows = list(ask(each, question(), applied_ms=0, now_ms=NOW_MS))
        assert len(rows) == 3 * len(MANY)
        asked = {str(consistent) in str(request) for request in requests}
        assert asked == {True}
    assert whole.read_units > 0
    assert half.read_units > 0
