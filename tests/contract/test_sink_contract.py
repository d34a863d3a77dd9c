"""One contract of the item store and of the sink over it: every engine, fake or real, keeps these promises.

To add an engine: write a fixture that returns an ``Engine``, and name it in ``ENGINES``.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from random import Random

import pytest

from conftest import REGION, ClientFactory, create_table
from processors.awsjson.client import AwsJsonClient
from processors.awsjson.credentials import credential_source
from processors.deadline import Deadline
from processors.sink import lean_dynamodb
from processors.sink.fenced import ItemStore
from processors.sink.writes import WRITTEN, Moved, Outcome, Unsure, Write
from streamgage.definition.pipeline import Rollup
from streamgage.errors import ConfigError, RetryableError
from streamgage.fold.cells import Contribution
from streamgage.fold.chunk import Chunk, encode_chunk
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.measures.layout import FieldLayout, StateLayout, plan_of
from streamgage.measures.windows import TumblingWindows
from support.boto3_store import Boto3ItemStore
from support.fake_statements import FakeStatements
from support.fakes import (
    PLENTY,
    Clock,
    InMemoryItemStore,
    ItemRecord,
    contribution_of,
    sink_over,
    values_of,
)
from support.lean_server import client_of, serving
from support.one_by_one import OneByOne
from support.strategies import REAL_SEQUENCE

MEASURES = ("count", "sum", "min", "max", "first", "last")
ROLLUP = Rollup(
    name="device_metrics",
    source="reading",
    key=("device_id",),
    windows=(TumblingWindows(60_000),),
    keep_ms=None,
    generation=1,
    measures={"value": MEASURES},
    layout=StateLayout((FieldLayout.of("value", 9, MEASURES),)),
)
COUNTS = "counts"
A, B, C = (ItemKey(f"device_metrics.1|1m|d|{name}", "001699999200000|shardId-0") for name in "ABC")


@dataclass(frozen=True, slots=True)
class Engine:
    """A store, and what only a test does to it."""

    store: ItemStore
    delete: Callable[[ItemKey], None]
    """Remove an item, as TTL does."""


@pytest.fixture
def in_memory() -> Engine:
    store = InMemoryItemStore()
    return Engine(OneByOne(store), store.delete)


def table_of(client_of: ClientFactory) -> tuple[Engine, str]:
    """Return the engine over a new table, through boto3, and the table's name."""
    client, table = client_of("dynamodb"), f"aggregates-{uuid.uuid4().hex}"
    create_table(client, table)
    engine = Engine(
        OneByOne(Boto3ItemStore(client, table)),
        lambda key: client.delete_item(TableName=table, Key={"pk": {"S": key.pk}, "sk": {"S": key.sk}}),
    )
    return engine, table


@pytest.fixture
def over_moto(moto: ClientFactory) -> Engine:
    return table_of(moto)[0]


@pytest.fixture
def over_ministack(ministack: ClientFactory) -> Engine:
    return table_of(ministack)[0]


@pytest.fixture
def over_embedded(embedded: ClientFactory) -> Engine:
    return table_of(embedded)[0]


@pytest.fixture
def lean_over_embedded(embedded: ClientFactory) -> Iterator[Engine]:
    yield from lean_engine(embedded)


@pytest.fixture
def lean_one_by_one_over_embedded(embedded: ClientFactory) -> Iterator[Engine]:
    yield from lean_engine(embedded, one_by_one=True)


@pytest.fixture
def over_dynamodb_local(dynamodb_local: ClientFactory) -> Engine:
    return table_of(dynamodb_local)[0]


@pytest.fixture
def lean_over_ministack(ministack: ClientFactory) -> Iterator[Engine]:
    yield from lean_engine(ministack)


@pytest.fixture
def lean_over_dynamodb_local(dynamodb_local: ClientFactory) -> Iterator[Engine]:
    yield from lean_engine(dynamodb_local)


def lean_engine(client_of: ClientFactory, *, one_by_one: bool = False) -> Iterator[Engine]:
    """Yield the store that the function uses, over an engine; *one_by_one*: as where it knows no statements."""
    boto3_engine, table = table_of(client_of)
    environment = {
        "AWS_ENDPOINT_URL": client_of("dynamodb").meta.endpoint_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    client = AwsJsonClient.of_environment(
        "dynamodb",
        lean_dynamodb.TARGET,
        environment=environment,
        credentials=credential_source(environment),
        tls=None,
    )
    store = lean_dynamodb.LeanDynamoItemStore(client, table)
    store._takes_statements = not one_by_one
    yield Engine(store, boto3_engine.delete)
    client.close()


@pytest.fixture
def in_memory_at_once() -> Engine:
    store = InMemoryItemStore()
    return Engine(OneByOne(store, batch=25), store.delete)


@pytest.fixture
def lean_one_by_one_over_ministack(ministack: ClientFactory) -> Iterator[Engine]:
    yield from lean_engine(ministack, one_by_one=True)


@pytest.fixture
def lean_one_by_one_over_dynamodb_local(dynamodb_local: ClientFactory) -> Iterator[Engine]:
    yield from lean_engine(dynamodb_local, one_by_one=True)


@pytest.fixture
def lean_one_by_one_over_fake() -> Iterator[Engine]:
    dynamo = FakeStatements("aggregates", knows_statements=False)
    with serving(dynamo) as service, closing(client_of(service)) as client:
        yield Engine(lean_dynamodb.LeanDynamoItemStore(client, "aggregates"), dynamo.delete)


@pytest.fixture
def lean_over_fake() -> Iterator[Engine]:
    dynamo = FakeStatements("aggregates")
    with serving(dynamo) as service, closing(client_of(service)) as client:
        yield Engine(lean_dynamodb.LeanDynamoItemStore(client, "aggregates"), dynamo.delete)


ENGINES = [
    "in_memory",
    "in_memory_at_once",
    "over_moto",
    "lean_over_fake",
    "lean_one_by_one_over_fake",
    "over_embedded",
    "lean_over_embedded",
    "lean_one_by_one_over_embedded",
    pytest.param("over_ministack", marks=pytest.mark.local),
    pytest.param("lean_over_ministack", marks=pytest.mark.local),
    pytest.param("over_dynamodb_local", marks=pytest.mark.local),
    pytest.param("lean_over_dynamodb_local", marks=pytest.mark.local),
    pytest.param("lean_one_by_one_over_ministack", marks=pytest.mark.local),
    pytest.param("lean_one_by_one_over_dynamodb_local", marks=pytest.mark.local),
]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    built: Engine = request.getfixturevalue(request.param)
    return built


@pytest.fixture
def store(engine: Engine) -> ItemStore:
    return engine.store


@pytest.fixture(params=[1, 16], ids=["one by one", "16 at once"])
def concurrency(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


def contributions(records: Sequence[ItemRecord], counts: str = COUNTS) -> Contribution:
    return contribution_of(ROLLUP, records, counts=counts)


def parts(*sequence_numbers: int) -> Contribution:
    return contributions([(each, (1,)) for each in sequence_numbers])


def log(sequence_numbers: Iterable[int]) -> list[ItemRecord]:
    """Return records whose values tell them apart: the n-th adds 2**n."""
    return [(each, (1 << at,)) for at, each in enumerate(sequence_numbers)]


def stored(store: ItemStore, key: ItemKey = A) -> StoredItem:
    return store.get([key], deadline=PLENTY)[key]


def state(store: ItemStore, key: ItemKey = A) -> list[object]:
    return values_of(ROLLUP, stored(store, key))


def empty(fence: int) -> StoredItem:
    """Return an item in which no key stands yet."""
    body = encode_chunk(Chunk(0, plan_of(ROLLUP.layout).empty()), ROLLUP.layout, start_ms=0)
    return StoredItem(fence, COUNTS, body, 0)


def put(store: ItemStore, key: ItemKey, item: StoredItem, expected_fence: int | None) -> Outcome:
    (outcome,) = store.put_many([Write(key, item, expected_fence)], deadline=PLENTY)
    return outcome


def events(store: ItemStore, key: ItemKey = A) -> object:
    return state(store, key)[0]


def folded(records: Sequence[ItemRecord]) -> list[object]:
    item = contributions(records).joined(None).item
    assert item is not None
    return values_of(ROLLUP, item)


class Interposed:
    """A store in front of another: something happens before or after its calls."""

    def __init__(
        self,
        inner: ItemStore,
        *,
        before_put: Callable[[ItemKey], None] = lambda _: None,
        after_put: Callable[[ItemKey], None] = lambda _: None,
        before_get: Callable[[], None] = lambda: None,
    ) -> None:
        self._inner = inner
        self._before_put, self._after_put, self._before_get = before_put, after_put, before_get

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:
        self._before_get()
        return self._inner.get(keys, deadline=deadline)

    @property
    def batch(self) -> int:
        return self._inner.batch

    def put_many(self, writes: Sequence[Write], *, deadline: Deadline) -> Sequence[Outcome]:
        outcomes = {each.key: error for each in writes if (error := self._unsure(self._before_put, each.key))}
        made = [each for each in writes if each.key not in outcomes]
        for each, outcome in zip(made, self._inner.put_many(made, deadline=deadline), strict=True):
            outcomes[each.key] = self._unsure(self._after_put, each.key) or outcome
        return [outcomes[each.key] for each in writes]

    def _unsure(self, hook: Callable[[ItemKey], None], key: ItemKey) -> Outcome | None:
        try:
            hook(key)
        except RetryableError as error:
            return Unsure(str(error))
        return None


def failing(*keys: ItemKey, times: int = 1000) -> Callable[[ItemKey], None]:
    left = dict.fromkeys(keys, times)

    def fail(key: ItemKey) -> None:
        if left.get(key, 0) > 0:
            left[key] -= 1
            raise RetryableError(f"timed out on {key.pk}")

    return fail


def once(action: Callable[[], object]) -> Callable[[ItemKey], None]:
    pending = [action]

    def act(key: ItemKey) -> None:
        if pending:
            pending.pop()()

    return act


class TestItemStoreContract:
    """Every ItemStore keeps these promises."""

    ITEM = StoredItem(REAL_SEQUENCE, COUNTS, bytes(range(256)), 1_700_000_000)

    @pytest.mark.parametrize("body", [b"", b"\x00", b"\xff" * 3, bytes(range(256)), b"text", b"=" * 70_000])
    def test_what_was_written_comes_back_to_the_last_bit(self, store: ItemStore, body: bytes) -> None:
        key = ItemKey("rollup.1|1m|größe|%7C 🌊", "001699999200000|shardId-0")
        item = replace(self.ITEM, body=body)
        assert put(store, key, item, None) == WRITTEN
        assert store.get([A, key], deadline=PLENTY) == {key: item}
        again = replace(item, fence=REAL_SEQUENCE + 1, body=body[::-1] + b"\x80")
        assert put(store, key, again, REAL_SEQUENCE) == WRITTEN
        assert stored(store, key) == again
        assert put(store, key, item, REAL_SEQUENCE) == Moved(again)

    def test_any_number_of_keys_is_read_at_once(self, store: ItemStore) -> None:
        keys = [ItemKey(f"device_metrics.1|1m|d|{number}", A.sk) for number in range(260)]
        items = {key: replace(self.ITEM, fence=number) for number, key in enumerate(keys) if number % 3}
        store.put_many([Write(key, item, None) for key, item in items.items()], deadline=PLENTY)
        assert store.get(keys, deadline=PLENTY) == items
        assert store.get([], deadline=PLENTY) == {}

    def test_an_item_expected_absent_but_present_is_not_overwritten(self, store: ItemStore) -> None:
        put(store, A, self.ITEM, None)
        assert put(store, A, StoredItem(REAL_SEQUENCE + 1, "", b"", 0), None) == Moved(self.ITEM)
        assert stored(store) == self.ITEM

    @pytest.mark.parametrize("expected", [REAL_SEQUENCE - 1, REAL_SEQUENCE + 1, 10**55])
    def test_an_item_with_another_fence_is_not_overwritten(self, store: ItemStore, expected: int) -> None:
        put(store, A, self.ITEM, None)
        assert put(store, A, StoredItem(REAL_SEQUENCE + 2, "", b"", 0), expected) == Moved(self.ITEM)
        assert stored(store) == self.ITEM

    def test_an_item_expected_present_but_absent_is_not_written(self, store: ItemStore) -> None:
        assert put(store, A, self.ITEM, REAL_SEQUENCE - 1) == Moved(None)
        assert store.get([A], deadline=PLENTY) == {}

    def test_the_expected_fence_lets_a_write_through(self, store: ItemStore) -> None:
        put(store, A, self.ITEM, None)
        item = StoredItem(REAL_SEQUENCE + 1, COUNTS, b"\x02", 5)
        assert put(store, A, item, REAL_SEQUENCE) == WRITTEN
        assert stored(store) == item


class TestAggregateSinkContract:
    """Every AggregateSink, over a fake or a real store, keeps these promises."""

    def test_overlapping_redelivery_applies_only_what_is_new(
        self, store: ItemStore, concurrency: int
    ) -> None:
        everything = log(REAL_SEQUENCE + 10**18 * n for n in range(6))
        for start, stop in [(0, 3), (0, 3), (1, 4), (0, 2), (2, 6), (0, 6)]:
            for sink in (sink_over(store, concurrency=concurrency), sink_over(store)):
                batch = contributions(everything[start:stop])
                assert sink.apply({A: batch, B: batch}, deadline=PLENTY).failed_from is None
        assert state(store) == state(store, B) == folded(everything)
        assert stored(store).fence == everything[-1][0]

    def test_a_fence_inside_the_batch_lets_only_the_records_behind_it_through(
        self, store: ItemStore, concurrency: int
    ) -> None:
        everything = log(REAL_SEQUENCE + 3 * n for n in range(5))
        for fence in range(-1, 14):
            key = ItemKey(f"device_metrics.1|1m|d|{fence}", A.sk)
            item = empty(REAL_SEQUENCE + fence)
            put(store, key, item, None)
            behind = [each for each in everything if each[0] > item.fence]
            applied = sink_over(store, concurrency=concurrency).apply(
                {key: contributions(everything)}, deadline=PLENTY
            )
            assert (applied.writes, applied.already_applied) == ((1, 0) if behind else (0, 1))
            if behind:
                assert (stored(store, key).fence, state(store, key)) == (everything[-1][0], folded(behind))
            else:
                assert stored(store, key) == item

    @pytest.mark.parametrize(
        ("lower", "higher"),
        [
            (9, 10),
            (10**55 - 1, 10**55),
            (9 * 10**54, REAL_SEQUENCE),
            (REAL_SEQUENCE, REAL_SEQUENCE + 1),
            (2, 10**128),
        ],
        ids=[
            "1 and 2 digits",
            "55 and 56 digits",
            "55 digits and real",
            "real neighbours",
            "1 and 129 digits",
        ],
    )
    def test_sequence_numbers_compare_as_numbers(self, store: ItemStore, lower: int, higher: int) -> None:
        sink = sink_over(store)
        sink.apply({A: parts(lower)}, deadline=PLENTY)
        sink.apply({A: parts(lower, higher)}, deadline=PLENTY)
        assert events(store) == 2
        assert sink.apply({A: parts(lower)}, deadline=PLENTY).already_applied == 1
        assert sink_over(store).apply({A: parts(lower, higher)}, deadline=PLENTY).already_applied == 1
        assert (events(store), stored(store).fence) == (2, higher)

    @pytest.mark.parametrize("writers", [2, 10])
    def test_writers_racing_for_one_item_all_count(self, store: ItemStore, writers: int) -> None:
        everything = log(REAL_SEQUENCE + n for n in range(24))

        def deliver(seed: int) -> None:
            random, sink, start = Random(seed), sink_over(store), 0
            while start < len(everything):
                stop = start + random.randint(1, 6)
                batch = contributions(everything[max(0, start - 2) : stop])
                if sink.apply({A: batch, B: batch}, deadline=PLENTY).failed_from is None:
                    start = stop

        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(deliver, range(writers)))
        assert state(store) == state(store, B) == folded(everything)

    def test_a_stale_memory_costs_a_conflict_not_an_event(self, store: ItemStore, concurrency: int) -> None:
        stale, other = sink_over(store, concurrency=concurrency), sink_over(store)
        everything = log(REAL_SEQUENCE + n for n in range(4))
        stale.apply({A: contributions(everything[:1])}, deadline=PLENTY)
        other.apply({A: contributions(everything[:3])}, deadline=PLENTY)
        applied = stale.apply({A: contributions(everything[1:])}, deadline=PLENTY)
        assert (applied.failed_from, applied.conflicts, applied.writes) == (None, 1, 2)
        assert state(store) == folded(everything)

    def test_a_batch_that_was_applied_while_it_ran_is_not_applied_again(self, store: ItemStore) -> None:
        everything = log(REAL_SEQUENCE + n for n in range(3))
        overtake = once(lambda: sink_over(store).apply({A: contributions(everything)}, deadline=PLENTY))
        sink = sink_over(Interposed(store, before_put=overtake))
        applied = sink.apply(
            {A: contributions(everything)}, deadline=PLENTY
        )  # it read that the item is absent
        assert (applied.failed_from, applied.conflicts) == (None, 1)
        assert state(store) == folded(everything)

    def test_an_item_read_as_absent_but_present_when_written_is_merged_with(self, store: ItemStore) -> None:
        everything = log(REAL_SEQUENCE + n for n in range(3))
        earlier = contributions(everything[:2])
        overtake = once(lambda: sink_over(store).apply({A: earlier}, deadline=PLENTY))
        sink = sink_over(Interposed(store, before_put=overtake))
        assert sink.apply({A: contributions(everything)}, deadline=PLENTY).conflicts == 1
        assert state(store) == folded(everything)

    def test_an_item_that_ttl_removed_starts_afresh(self, engine: Engine) -> None:
        sink = sink_over(engine.store)
        sink.apply({A: parts(1, 2)}, deadline=PLENTY)
        engine.delete(A)
        applied = sink.apply({A: parts(3)}, deadline=PLENTY)
        assert (applied.failed_from, applied.conflicts) == (None, 1)
        assert (events(engine.store), stored(engine.store).fence) == (1, 3)

    def test_a_lost_response_after_the_write_counts_once_when_redelivered(
        self, store: ItemStore, concurrency: int
    ) -> None:
        batch = {A: parts(REAL_SEQUENCE, REAL_SEQUENCE + 1), B: parts(REAL_SEQUENCE + 1)}
        sink = sink_over(Interposed(store, after_put=failing(A, times=1)), concurrency=concurrency)
        applied = sink.apply(batch, deadline=PLENTY)
        assert applied.failed_from == REAL_SEQUENCE
        assert "timed out" in applied.errors[0]
        again = sink.apply(batch, deadline=PLENTY)
        assert (again.failed_from, again.already_applied, again.writes) == (None, 2, 0)
        assert (events(store, A), events(store, B)) == (2, 1)

    def test_a_write_that_did_not_happen_is_made_when_redelivered(self, store: ItemStore) -> None:
        sink = sink_over(Interposed(store, before_put=failing(A, times=1)))
        assert sink.apply({A: parts(5, 6)}, deadline=PLENTY).failed_from == 5
        assert store.get([A], deadline=PLENTY) == {}
        assert sink.apply({A: parts(5, 6)}, deadline=PLENTY).failed_from is None
        assert events(store) == 2

    def test_what_cannot_be_read_is_not_written_and_the_lowest_is_named(
        self, store: ItemStore, concurrency: int
    ) -> None:
        """A table that answers no read would take no write either, and a write without one mostly meets a moved fence."""
        sink_over(store).apply({A: parts(1), B: parts(1)}, deadline=PLENTY)
        answers = [False]

        def throttle() -> None:
            if not answers[0]:
                raise RetryableError("throttled")

        sink = sink_over(Interposed(store, before_get=throttle), concurrency=concurrency)
        batch = {A: parts(3, 4), B: parts(1, 2)}
        applied = sink.apply(batch, deadline=PLENTY)
        assert (applied.failed_from, applied.writes, applied.conflicts) == (1, 0, 0)
        assert "throttled" in applied.errors[0]
        answers[0] = True
        assert sink.apply(batch, deadline=PLENTY).failed_from is None
        assert (events(store, A), events(store, B)) == (3, 2)

    def test_any_number_of_items_is_read_and_counted(self, store: ItemStore, concurrency: int) -> None:
        keys = [ItemKey(f"device_metrics.1|1m|d{n}", "001699999200000|shardId-0") for n in range(250)]
        first = sink_over(store, concurrency=concurrency)
        assert first.apply(dict.fromkeys(keys[:120], parts(1)), deadline=PLENTY).reads == 120
        applied = sink_over(store, concurrency=concurrency).apply(
            dict.fromkeys(keys, parts(1, 2)), deadline=PLENTY
        )
        assert (applied.reads, applied.writes, applied.conflicts, applied.items) == (250, 250, 0, 250)
        found = store.get(keys[80:160], deadline=PLENTY)
        assert {values_of(ROLLUP, item)[0] for item in found.values()} == {2}

    def test_a_warm_batch_reads_nothing_that_it_wrote(self, store: ItemStore) -> None:
        sink = sink_over(store)
        sink.apply({A: parts(1)}, deadline=PLENTY)
        assert sink.apply({A: parts(2)}, deadline=PLENTY).reads == 0
        assert sink.apply({A: parts(3), B: parts(3)}, deadline=PLENTY).reads == 1
        assert (events(store, A), events(store, B)) == (3, 1)

    def test_with_no_time_left_nothing_is_written_and_the_lowest_is_named(
        self, store: ItemStore, concurrency: int
    ) -> None:
        sink = sink_over(store, concurrency=concurrency)
        batch = {A: parts(12, 13), B: parts(11, 14), C: parts(15)}
        applied = sink.apply(batch, deadline=Deadline(0.0, Clock()))
        assert (applied.failed_from, applied.writes, applied.reads) == (11, 0, 0)
        assert store.get([A, B, C], deadline=PLENTY) == {}
        assert sink.apply(batch, deadline=PLENTY).failed_from is None
        assert [events(store, key) for key in (A, B, C)] == [2, 2, 1]

    def test_when_time_runs_out_midway_what_was_written_stays_and_the_rest_is_named(
        self, store: ItemStore
    ) -> None:
        at_once, clock = store.batch, Clock()
        first = [ItemKey(f"device_metrics.1|1m|d{n}", A.sk) for n in range(at_once)]
        batch = {**dict.fromkeys(first, parts(11, 14)), B: parts(12), C: parts(10)}
        slow = Interposed(store, after_put=once(clock.run_out))  # one write, of as many as it takes at once
        applied = sink_over(slow).apply(batch, deadline=Deadline.after(60, clock))
        assert (applied.failed_from, applied.writes) == (10, at_once)
        assert store.get([*first, B, C], deadline=PLENTY).keys() == set(first)
        sink_over(store).apply(batch, deadline=PLENTY)
        assert [events(store, key) for key in (*first, B, C)] == [*[2] * at_once, 1, 1]

    @pytest.mark.parametrize(("broken", "lowest"), [((A, B, C), 3), ((A, C), 4), ((C,), 10), ((), None)])
    def test_the_lowest_sequence_number_that_is_not_durable_everywhere_is_named(
        self, store: ItemStore, concurrency: int, broken: tuple[ItemKey, ...], lowest: int | None
    ) -> None:
        sink = sink_over(Interposed(store, before_put=failing(*broken)), concurrency=concurrency)
        batch = {A: parts(4, 5), B: parts(3, 11), C: parts(10)}
        applied = sink.apply(batch, deadline=PLENTY)
        assert applied.failed_from == lowest
        assert len(applied.errors) == len(broken)

    def test_of_an_item_written_before_only_what_is_beyond_its_fence_can_fail(self, store: ItemStore) -> None:
        sink_over(store).apply({A: parts(4, 5)}, deadline=PLENTY)
        sink = sink_over(Interposed(store, before_put=failing(A)))
        assert sink.apply({A: parts(4, 5, 6)}, deadline=PLENTY).failed_from == 6

    def test_a_fence_that_moves_for_ever_ends_in_redelivery(self, store: ItemStore) -> None:
        fence = [0]

        def move(key: ItemKey) -> None:
            fence[0] += 1
            current = store.get([key], deadline=PLENTY).get(key)
            put(store, key, empty(fence[0]), current.fence if current else None)

        sink = sink_over(Interposed(store, before_put=move), write_attempts=4)
        applied = sink.apply({A: parts(100, 101)}, deadline=PLENTY)
        assert (applied.failed_from, applied.conflicts, fence[0]) == (100, 4, 4)
        assert "moved 4 times" in applied.errors[0]

    def test_an_item_that_counts_something_else_stops_the_function(
        self, store: ItemStore, concurrency: int
    ) -> None:
        sink_over(store).apply({A: parts(1)}, deadline=PLENTY)
        changed = contributions([(2, (1,))], counts="others")
        with pytest.raises(ConfigError, match=r"\(counts; now it is others\).*generation = 2"):
            sink_over(store, concurrency=concurrency).apply({A: changed}, deadline=PLENTY)
        assert events(store) == 1

    def test_a_damaged_item_stops_the_function_and_stays(self, store: ItemStore, concurrency: int) -> None:
        sink_over(store).apply({A: parts(1)}, deadline=PLENTY)
        damaged = replace(stored(store), fence=2, body=stored(store).body[:-1])
        put(store, A, damaged, 1)
        with pytest.raises(ConfigError, match="device_metrics, window 1m at 0, is damaged"):
            sink_over(store, concurrency=concurrency).apply({A: parts(1, 2, 3)}, deadline=PLENTY)
        assert stored(store) == damaged

    def test_a_memory_smaller_than_the_batch_changes_nothing(
        self, store: ItemStore, concurrency: int
    ) -> None:
        sink = sink_over(store, concurrency=concurrency, cached_bytes=2_000)
        keys = [ItemKey(f"device_metrics.1|1m|d{n}", "001699999200000|shardId-0") for n in range(7)]
        for last in (2, 3, 4):
            sink.apply(dict.fromkeys(keys, parts(1, last)), deadline=PLENTY)
        found = store.get(keys, deadline=PLENTY)
        assert {values_of(ROLLUP, item)[0] for item in found.values()} == {4}
        assert 0 < len(sink._known) < 4
