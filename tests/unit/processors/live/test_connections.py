"""Who is connected, in a table of the real engine."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from processors.awsjson.client import AwsJsonClient
from processors.awsjson.retry import Retries
from processors.live import connections
from processors.live.connections import NOTHING, Connection, ConnectionTable
from processors.live.subscription import Subscription
from processors.live.tickets import Pass
from support.fakes import PLENTY
from support.local_tables import Tables

TABLE = "connections"
ONE = Connection("a=", Subscription(("page_views",)))
TWO = Connection("b=", Subscription(("visits", "page_views"), ("1h", "1d")))


@pytest.fixture
def engine() -> Iterator[Tables]:
    tables = Tables()
    tables(
        "CreateTable",
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield tables
    tables.close()


def over(engine: Tables, **always: Any) -> ConnectionTable:
    """Return the table in *engine*; each request also says what *always* does."""

    def call(operation: str, body: str, _: Retries) -> bytes:
        more = always if operation == "Scan" else {}
        return json.dumps(engine(operation, **json.loads(body), **more)).encode()

    client = SimpleNamespace(call=call, retries=lambda deadline: deadline)
    return ConnectionTable(cast("AwsJsonClient", client), TABLE)


def all_of(table: ConnectionTable, now_s: float = 50) -> list[Connection]:
    return sorted(table.all(now_s=now_s, deadline=PLENTY))


def test_what_was_put_is_there_until_it_is_deleted_or_expires(engine: Tables) -> None:
    table = over(engine)
    table.put(ONE, expires_s=100, deadline=PLENTY)
    table.put(TWO, expires_s=200, deadline=PLENTY)
    assert all_of(table) == [ONE, TWO]
    assert all_of(table, now_s=100) == [TWO]
    table.delete(ONE.id, deadline=PLENTY)
    table.delete("nobody", deadline=PLENTY)
    assert all_of(table) == [TWO]


def test_who_wants_nothing_takes_no_place_of_who_wants_something(
    engine: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST", 1)
    table = over(engine)
    for number in range(5):
        table.put(Connection(f"{number}=", NOTHING), may=Pass(), expires_s=100, deadline=PLENTY)
    table.put(ONE, expires_s=100, deadline=PLENTY)
    assert all_of(table) == [ONE]


def test_all_pages_are_read_and_no_more_than_so_many_connections(
    engine: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = over(engine, Limit=2)
    for number in range(7):
        table.put(Connection(f"c{number}", ONE.subscription), expires_s=100, deadline=PLENTY)
    assert len(all_of(table)) == 7
    monkeypatch.setattr(connections, "MOST", 5)
    assert len(all_of(table)) == 5


@pytest.mark.parametrize(
    "item",
    [
        {"id": {"S": "x"}},
        {"id": {"S": "x"}, "rollups": {"S": "["}, "windows": {"S": "[]"}, "expires": {"N": "100"}},
        {"id": {"S": "x"}, "rollups": {"S": "1"}, "windows": {"S": "[]"}, "expires": {"N": "100"}},
        {"id": {"S": "x"}, "rollups": {"N": "1"}, "windows": {"S": "[]"}, "expires": {"N": "100"}},
        {"id": {"S": "x"}, "rollups": {"S": "[]"}, "windows": {"S": "[]"}, "expires": {"S": "soon"}},
    ],
)
def test_what_another_version_wrote_keeps_nobody_from_being_told(item: Any, engine: Tables) -> None:
    table = over(engine)
    engine("PutItem", TableName=TABLE, Item=item)
    table.put(ONE, expires_s=100, deadline=PLENTY)
    assert all_of(table) == [ONE]
