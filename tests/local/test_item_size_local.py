"""Our item sizes against DynamoDB Local, AWS's own engine, and our own: what they say they consumed."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from benchmarks.shard_slice import ReferenceLoad, cut, drive, shard_records
from benchmarks.write_units import pipeline_of
from conftest import ClientFactory, create_table
from infra.aws.cost.counting import CountingTable
from infra.aws.cost.item_size import item_size_bytes, read_units, write_units

pytestmark = pytest.mark.local
TABLE = "sizes"


@pytest.fixture(scope="module", params=["dynamodb_local", "embedded"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    engine: ClientFactory = request.getfixturevalue(request.param)
    client = engine("dynamodb")
    create_table(client, TABLE)
    yield client
    client.delete_table(TableName=TABLE)


def padded(item: dict[str, Any], size_bytes: int) -> dict[str, Any]:
    """Return *item* with a text that makes it *size_bytes* long, by our rules."""
    filler = size_bytes - item_size_bytes({**item, "filler": {"S": ""}})
    assert filler >= 0
    made = {**item, "filler": {"S": "x" * filler}}
    assert item_size_bytes(made) == size_bytes
    return made


def put(client: Any, item: dict[str, Any], **condition: Any) -> float:
    answer = client.put_item(TableName=TABLE, Item=item, ReturnConsumedCapacity="TOTAL", **condition)
    units: float = answer["ConsumedCapacity"]["CapacityUnits"]
    return units


def attribute(random: Random) -> dict[str, Any]:
    digits = random.randint(1, 38)
    return random.choice(
        [
            {"S": "ü" * random.randint(0, 30)},
            {"N": str(random.randint(10 ** (digits - 1), 10**digits - 1) | 1)},
            {"B": random.randbytes(random.randint(0, 30))},
            {"BOOL": True},
            {"NULL": True},
            {"L": [{"S": "ab"}, {"N": "7"}]},
            {"M": {"name": {"S": "value"}, "other": {"L": []}}},
        ]
    )


@pytest.mark.parametrize("edge", [1024, 2048, 5120])
def test_the_last_byte_of_a_unit_is_where_we_say(client: Any, edge: int) -> None:
    """Random items of every documented type, filled up to a unit's edge, and a byte further."""
    random = Random(edge)
    for number in range(30):
        item: dict[str, Any] = {"pk": {"S": f"{edge}-{number}"}, "sk": {"S": "lane"}}
        item |= {f"a{place}": attribute(random) for place in range(random.randint(1, 6))}
        fits, over = padded(item, edge), padded({**item, "sk": {"S": "other"}}, edge + 1)
        assert put(client, fits) == write_units(edge), fits
        assert put(client, over) == write_units(edge + 1) == write_units(edge) + 1, over


def test_real_items_take_what_we_count(client: Any) -> None:
    pipeline = pipeline_of("3 windows")
    puts = shard_records(ReferenceLoad(devices=720), pipeline, seconds=25)
    table: CountingTable = drive(cut(puts, window_ms=10_000), pipeline).table
    assert len(table.rows) > 9
    for item in table.rows.values():
        assert put(client, dict(item)) == write_units(item_size_bytes(item))
        key = {"pk": item["pk"], "sk": item["sk"]}
        answer = client.get_item(
            TableName=TABLE, Key=key, ConsistentRead=True, ReturnConsumedCapacity="TOTAL"
        )
        assert answer["ConsumedCapacity"]["CapacityUnits"] == read_units(item_size_bytes(item))


def test_an_overwrite_takes_the_larger_of_both(client: Any) -> None:
    item: dict[str, Any] = {"pk": {"S": "shrinks"}, "sk": {"S": "lane"}}
    assert put(client, padded(item, 3000)) == 3
    assert put(client, item) == 3
    assert put(client, item) == 1


def test_an_absent_item_takes_a_read_unit(client: Any) -> None:
    key = {"pk": {"S": "absent"}, "sk": {"S": "lane"}}
    answer = client.get_item(TableName=TABLE, Key=key, ConsistentRead=True, ReturnConsumedCapacity="TOTAL")
    assert answer["ConsumedCapacity"]["CapacityUnits"] == read_units(0) == 1


def test_a_condition_that_fails_tells_no_units_so_the_documentation_is_followed(client: Any) -> None:
    """The answer of a failed condition carries no ConsumedCapacity: no engine can check what AWS documents."""
    item = {"pk": {"S": "fenced"}, "sk": {"S": "lane"}}
    put(client, item)
    with pytest.raises(ClientError) as caught:
        put(client, item, ConditionExpression="attribute_not_exists(pk)")
    assert "ConsumedCapacity" not in caught.value.response
