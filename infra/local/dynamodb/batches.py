"""BatchGetItem and BatchWriteItem.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html, API_BatchWriteItem.html
(checked 2026-11-28).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.dynamodb import capacity
from infra.local.dynamodb.errors import invalid
from infra.local.dynamodb.expressions import Expressions
from infra.local.dynamodb.items import check_size
from infra.local.dynamodb.keys import Key
from infra.local.dynamodb.paths import Path, project
from infra.local.dynamodb.requests import (
    Request,
    encode,
    encode_text,
    flag,
    members,
    refuse,
    structure,
    table_named,
    with_raw,
)
from infra.local.dynamodb.store import Row, Store
from infra.local.dynamodb.table import Table
from infra.local.dynamodb.values import Item, checked_item

GET_KEYS, WRITES = 100, 25
ANSWER_BYTES = 16 * 1024 * 1024
_DUPLICATES = "Provided list of item keys contains duplicates"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is wanted of one table."""

    table: Table
    request: Mapping[str, Any]
    keys: tuple[Key, ...]
    consistent: bool
    paths: tuple[Path, ...] | None


@dataclass(frozen=True, slots=True)
class _Write:
    """An item to be put (with its size), or, where it is None, a key to be deleted."""

    table: Table
    key: Key
    item: Item | None
    size: int


class BatchActions:
    """The operations on many items. They have no conditions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def batch_get_item(self, request: Request) -> bytes:
        """Return items, up to 16 MB of them; the keys of the rest come back."""
        mode = capacity.mode_of(request)
        tables = request.get("RequestItems")
        if not tables:
            raise invalid("BatchGetItem must have some requests set")
        wanted = [
            self._wanted(name, structure(each, name))
            for name, each in structure(tables, "RequestItems").items()
        ]
        if sum(len(each.keys) for each in wanted) > GET_KEYS:
            raise invalid("Too many items requested for the BatchGetItem call")
        responses, left, units, size = [], dict[str, Any](), list[tuple[str, float]](), 0
        with self._store.reading():
            for each in wanted:
                bodies = []
                for at, key in enumerate(each.keys):
                    row = self._store.get(each.table, key)
                    size += row.size if row else 0
                    if size > ANSWER_BYTES:
                        left[each.table.name] = {**each.request, "Keys": each.request["Keys"][at:]}
                        break
                    read = capacity.read_units(row.size if row else 0, consistent=each.consistent)
                    units.append((each.table.name, read))
                    if row is not None:
                        bodies.append(_body(row, each.paths))
                responses.append(
                    b"%s:[%s]" % (encode_text(each.table.name).encode("ascii"), b",".join(bodies))
                )
        answer = {"UnprocessedKeys": left, **capacity.consumed_by_tables(mode, units)}
        return with_raw(answer, Responses=b"{" + b",".join(responses) + b"}")

    def _wanted(self, name: str, request: Mapping[str, Any]) -> _Wanted:
        refuse(request, "AttributesToGet")
        expressions = Expressions(request, ("ProjectionExpression",))
        paths = expressions.projection()
        given = members(request, "Keys")
        if not given:
            raise invalid(
                f"The list of keys in RequestItems for BatchGetItem is required: {name} has empty list"
            )
        if len(given) > GET_KEYS:
            raise invalid("Too many items requested for the BatchGetItem call")
        table = table_named(self._store, name)
        expressions.finish(table.schema.names)
        keys = tuple(table.schema.of_key(each) for each in given)
        if len(set(keys)) < len(keys):
            raise invalid(_DUPLICATES)
        return _Wanted(table, request, keys, flag(request, "ConsistentRead"), paths)

    def batch_write_item(self, request: Request) -> bytes:
        """Put and delete items: all of them, or, where the request is refused, none."""
        mode = capacity.mode_of(request)
        refuse(request, "ReturnItemCollectionMetrics")
        tables = request.get("RequestItems")
        if not tables:
            raise invalid("BatchWriteItem cannot have a null or no requests set")
        tables = structure(tables, "RequestItems")
        if sum(len(members(tables, name)) for name in tables) > WRITES:
            raise invalid("Too many items requested for the BatchWriteItem call")
        writes = [each for name in tables for each in self._writes(name, members(tables, name))]
        if len({(each.table.name, each.key) for each in writes}) < len(writes):
            raise invalid(_DUPLICATES)
        units = []
        with self._store.transaction():
            for each in writes:
                old = self._store.get(each.table, each.key)
                self._apply(each, old)
                units.append((each.table.name, capacity.write_units(max(each.size, old.size if old else 0))))
        return encode({"UnprocessedItems": {}, **capacity.consumed_by_tables(mode, units)})

    def _apply(self, write: _Write, old: Row | None) -> None:
        if write.item is None:
            if old is not None:
                self._store.delete(write.table, old)
        elif old is None:
            self._store.insert(write.table, write.key, write.item, write.size)
        else:
            self._store.replace(write.table, old, write.item, write.size)

    def _writes(self, name: str, requests: list[Any]) -> list[_Write]:
        table = table_named(self._store, name)
        if not requests:
            raise invalid(f"The batch write request list for a table cannot be null or empty: {name}")
        return [_write(table, structure(each, "a write")) for each in requests]


def _write(table: Table, request: Mapping[str, Any]) -> _Write:
    put, delete = request.get("PutRequest"), request.get("DeleteRequest")
    if (put is None) is (delete is None):
        raise invalid(
            "Supplied AttributeValue has more than one datatypes set, "
            "must contain exactly one of the supported datatypes"
        )
    if put is None:
        key = table.schema.of_key(structure(delete, "DeleteRequest").get("Key"))
        return _Write(table, key, None, 0)
    item, size = checked_item(structure(put, "PutRequest").get("Item"))
    key = table.schema.of_item(item)
    check_size(size)
    return _Write(table, key, item, size)


def _body(row: Row, paths: tuple[Path, ...] | None) -> bytes:
    return row.body if paths is None else encode(project(row.item, paths))
