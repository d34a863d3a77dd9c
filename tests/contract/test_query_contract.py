"""One contract of the partial store that answers are read through: every engine keeps it."""

import uuid

import pytest

from conftest import ClientFactory, create_table
from processors.query.cells import DynamoPartialStore
from streamgage.fold.items import ItemKey, StoredItem
from support.boto3_store import Boto3ItemStore

ITEM = StoredItem(1, "", b"\xff" * 100_000, 2_000_000_000)
FIRST, LAST = "00100|shardId-0", "00200|shardId-1"


@pytest.fixture(
    params=[
        "moto",
        "embedded",
        pytest.param("ministack", marks=pytest.mark.local),
        pytest.param("dynamodb_local", marks=pytest.mark.local),
    ]
)
def table(request: pytest.FixtureRequest) -> tuple[Boto3ItemStore, DynamoPartialStore]:
    """A new table, to write to and to ask."""
    client_of: ClientFactory = request.getfixturevalue(request.param)
    client, name = client_of("dynamodb"), f"aggregates-{uuid.uuid4().hex}"
    create_table(client, name)
    return Boto3ItemStore(client, name), DynamoPartialStore(client, name)


def test_a_range_has_both_its_ends_in_order_and_nothing_of_another_key(
    table: tuple[Boto3ItemStore, DynamoPartialStore],
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
    table: tuple[Boto3ItemStore, DynamoPartialStore],
) -> None:
    store, partials = table
    wanted = [f"{100 + n:05d}|shardId-0" for n in range(25)]  # 2.5 MB, in pages of 1 MB
    for sk in wanted:
        store.put(ItemKey("key", sk), ITEM, expected_fence=None)
    assert list(partials.range("key", FIRST, LAST)) == [(sk, ITEM) for sk in wanted]


def test_any_number_of_keys_is_read_at_once_and_of_those_that_exist_each_comes_back(
    table: tuple[Boto3ItemStore, DynamoPartialStore],
) -> None:
    store, partials = table
    keys = [ItemKey(f"device_metrics.1|1m|{number}", FIRST) for number in range(250)]
    items = {key: StoredItem(number, "c", bytes((number,)), 5) for number, key in enumerate(keys[::2])}
    for key, item in items.items():
        store.put(key, item, expected_fence=None)
    assert partials.get(keys) == items
    assert partials.get([]) == {}


def test_large_items_that_one_answer_does_not_hold_are_all_read(
    table: tuple[Boto3ItemStore, DynamoPartialStore],
) -> None:
    store, partials = table
    large = StoredItem(1, "c", b"\xff" * 390_000, 5)  # an answer holds 16 MB
    keys = [ItemKey("key", f"{number:05d}|shardId-0") for number in range(60)]
    for key in keys:
        store.put(key, large, expected_fence=None)
    assert partials.get(keys) == dict.fromkeys(keys, large)
