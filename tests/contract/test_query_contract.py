"""One contract of the partial store that answers are read through: every engine keeps it."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import ClientFactory, create_table
from processors.query.cells import CountingStore, DynamoPartialStore
from processors.query.lean_store import LeanPartialStore
from streamgage.fold.items import ItemKey, StoredItem
from support.boto3_store import Boto3ItemStore
from support.fakes import PLENTY
from support.lean_server import PATIENT, client_at

ITEM = StoredItem(1, "", b"\xff" * 100_000, 2_000_000_000)
FIRST, LAST = "00100|shardId-0", "00200|shardId-1"


Table = tuple[Boto3ItemStore, CountingStore]


@pytest.fixture(
    params=[
        ("moto", False),  # which answers botocore only
        ("embedded", False),
        ("embedded", True),
        pytest.param(("ministack", False), marks=pytest.mark.local),
        pytest.param(("ministack", True), marks=pytest.mark.local),
        pytest.param(("dynamodb_local", False), marks=pytest.mark.local),
        pytest.param(("dynamodb_local", True), marks=pytest.mark.local),
    ],
    ids=lambda param: f"{param[0]}, {'lean' if param[1] else 'boto3'}",
)
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """A new table, to write to and to ask: by boto3, or by the lean client."""
    engine, is_lean = request.param
    client_of: ClientFactory = request.getfixturevalue(engine)
    client, name = client_of("dynamodb"), f"aggregates-{uuid.uuid4().hex}"
    create_table(client, name)
    if not is_lean:
        yield Boto3ItemStore(client, name), DynamoPartialStore(client, name)
        return
    lean = client_at(client.meta.endpoint_url, timeouts=PATIENT)
    with ThreadPoolExecutor(4) as readers:
        yield Boto3ItemStore(client, name), LeanPartialStore(lean, name, deadline=PLENTY, readers=readers)
    lean.close()


def test_a_range_has_both_its_ends_in_order_and_nothing_of_another_key(
    table: Table,
) -> None:
    store, partials = table
    inside = [FIRST, "00100|shardId-1", "00150|shardId-10", "00150|shardId-9", LAST]
    outside = ["00099|shardId-9", "00200|shardId-10", "1"]
    for sk in reversed(inside + outside):
        store.put(ItemKey("key", sk), StoredItem(1, "", b"1", 2_000_000_000), expected_fence=None)
    store.put(ItemKey("kez", FIRST), ITEM, expected_fence=None)
    assert [sk for sk, _ in partials.range("key", FIRST, LAST)] == inside
    assert list(partials.range("ke", FIRST, LAST)) == []


def test_a_range_of_more_than_a_page_is_read_to_its_end(
    table: Table,
) -> None:
    store, partials = table
    wanted = [f"{100 + n:05d}|shardId-0" for n in range(25)]  # 2.5 MB, in pages of 1 MB
    for sk in wanted:
        store.put(ItemKey("key", sk), ITEM, expected_fence=None)
    assert list(partials.range("key", FIRST, LAST)) == [(sk, ITEM) for sk in wanted]


def test_any_number_of_keys_is_read_at_once_and_of_those_that_exist_each_comes_back(
    table: Table,
) -> None:
    store, partials = table
    keys = [ItemKey(f"device_metrics.1|1m|{number}", FIRST) for number in range(250)]
    items = {key: StoredItem(number, "c", bytes((number,)), 5) for number, key in enumerate(keys[::2])}
    for key, item in items.items():
        store.put(key, item, expected_fence=None)
    assert partials.get(keys) == items
    assert partials.get([]) == {}


def test_large_items_that_one_answer_does_not_hold_are_all_read(
    table: Table,
) -> None:
    store, partials = table
    large = StoredItem(1, "c", b"\xff" * 390_000, 5)  # an answer holds 16 MB
    keys = [ItemKey("key", f"{number:05d}|shardId-0") for number in range(60)]
    for key in keys:
        store.put(key, large, expected_fence=None)
    assert partials.get(keys) == dict.fromkeys(keys, large)


def test_what_reads_cost_is_counted_and_half_of_it_with_eventual_consistency(table: Table) -> None:
    store, partials = table
    for sk in (FIRST, LAST):
        store.put(ItemKey("key", sk), ITEM, expected_fence=None)
    eventual = partials.eventually()
    for each in (partials, eventual):
        assert len(list(each.range("key", FIRST, LAST))) == 2
        assert len(each.get([ItemKey("key", FIRST), ItemKey("key", LAST)])) == 2
    assert eventual.read_units > 0
    assert partials.read_units in (
        2 * eventual.read_units,
        eventual.read_units,
    )  # moto asks the same for both
