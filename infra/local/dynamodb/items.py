"""GetItem, PutItem, UpdateItem, DeleteItem.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html and its neighbours (checked
2026-11-28).
"""

from infra.local.dynamodb import capacity
from infra.local.dynamodb.errors import DynamoError, invalid
from infra.local.dynamodb.expressions import Bound, Expressions
from infra.local.dynamodb.paths import found_at, project
from infra.local.dynamodb.requests import (
    ITEM_BYTES,
    Request,
    check_return_values,
    encode,
    flag,
    refuse,
    table_of,
    wants_old_on_failure,
    with_raw,
)
from infra.local.dynamodb.store import Row, Store
from infra.local.dynamodb.table import Table
from infra.local.dynamodb.updates import Update
from infra.local.dynamodb.values import Item, checked_item

_LEGACY = ("Expected", "ConditionalOperator")
_RETURNED = ("NONE", "ALL_OLD")
_RETURNED_OF_UPDATES = (*_RETURNED, "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW")


class ItemActions:
    """The operations on one item."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_item(self, request: Request) -> bytes:
        """Return an item, or a part of it."""
        refuse(request, "AttributesToGet")
        mode, consistent = capacity.mode_of(request), flag(request, "ConsistentRead")
        table = table_of(self._store, request)
        expressions = Expressions(request, ("ProjectionExpression",))
        paths = expressions.projection()
        expressions.finish(table.schema.names)
        key = table.schema.of_key(request.get("Key"))
        with self._store.reading():
            row = self._store.get(table, key)
        units = capacity.read_units(row.size if row else 0, consistent=consistent)
        body = None
        if row is not None:
            body = row.body if paths is None else encode(project(row.item, paths))
        return with_raw(capacity.consumed(mode, table.name, units), Item=body)

    def put_item(self, request: Request) -> bytes:
        """Write an item in the place of what stands there."""
        refuse(request, *_LEGACY)
        mode, returned = capacity.mode_of(request), check_return_values(request, _RETURNED)
        tells, table = wants_old_on_failure(request), table_of(self._store, request)
        item, size = checked_item(request.get("Item"))
        key = table.schema.of_item(item)
        condition = _condition(request, table)
        check_size(size)
        with self._store.transaction():
            old = self._store.get(table, key)
            _require(condition, old, tells=tells)
            if old is None:
                self._store.insert(table, key, item, size)
            else:
                self._store.replace(table, old, item, size)
        units = capacity.write_units(max(size, old.size if old else 0))
        attributes = old.body if old is not None and returned == "ALL_OLD" else None
        return with_raw(capacity.consumed(mode, table.name, units), Attributes=attributes)

    def delete_item(self, request: Request) -> bytes:
        """Remove an item, where it is there."""
        refuse(request, *_LEGACY)
        mode, returned = capacity.mode_of(request), check_return_values(request, _RETURNED)
        tells, table = wants_old_on_failure(request), table_of(self._store, request)
        key = table.schema.of_key(request.get("Key"))
        condition = _condition(request, table)
        with self._store.transaction():
            old = self._store.get(table, key)
            _require(condition, old, tells=tells)
            if old is not None:
                self._store.delete(table, old)
        units = capacity.write_units(old.size if old else 0)
        attributes = old.body if old is not None and returned == "ALL_OLD" else None
        return with_raw(capacity.consumed(mode, table.name, units), Attributes=attributes)

    def update_item(self, request: Request) -> bytes:
        """Change an item, or make it."""
        refuse(request, *_LEGACY, "AttributeUpdates")
        mode, returned = capacity.mode_of(request), check_return_values(request, _RETURNED_OF_UPDATES)
        tells, table = wants_old_on_failure(request), table_of(self._store, request)
        key = table.schema.of_key(request.get("Key"))
        expressions = Expressions(request, ("UpdateExpression", "ConditionExpression"))
        update, condition = expressions.update(), expressions.condition("ConditionExpression")
        expressions.finish(table.schema.names)
        if update is not None:
            update.check_keys(table.schema.names)
        with self._store.transaction():
            old = self._store.get(table, key)
            _require(condition, old, tells=tells)
            before = old.item if old else checked_item(dict(request["Key"]), "Key")[0]
            after, size = _changed(before, update, expressions)
            if old is None:
                self._store.insert(table, key, after, size)
            else:
                self._store.replace(table, old, after, size)
        units = capacity.write_units(max(size, old.size if old else 0))
        answer = capacity.consumed(mode, table.name, units)
        attributes = _returned(returned, before if old else {}, after, update)
        return encode({"Attributes": attributes, **answer} if attributes else answer)


def check_size(size_bytes: int, what: str = "Item size") -> None:
    """Refuse an item that is too large."""
    if size_bytes > ITEM_BYTES:
        raise invalid(f"{what} has exceeded the maximum allowed size")


def failed_condition(row: Row | None, *, tells: bool) -> DynamoError:
    """Return the error of a condition that did not hold, with the item that stands there where that was asked for."""
    item = row.body.decode("ascii") if row is not None and tells else None
    return DynamoError("ConditionalCheckFailedException", "The conditional request failed", item=item)


def _condition(request: Request, table: Table) -> Bound | None:
    expressions = Expressions(request, ("ConditionExpression",))
    condition = expressions.condition("ConditionExpression")
    expressions.finish(table.schema.names)
    return condition


def _require(condition: Bound | None, row: Row | None, *, tells: bool) -> None:
    if condition is not None and not condition.holds(row.item if row else {}):
        raise failed_condition(row, tells=tells)


def _changed(before: Item, update: Update | None, expressions: Expressions) -> tuple[Item, int]:
    after = before if update is None else update.apply(before, expressions.values)
    after, size = checked_item(after)
    check_size(size, "Item size to update")
    return after, size


def _returned(wanted: str, before: Item, after: Item, update: Update | None) -> Item:
    """Return what *wanted* says of the item before and after. Of what is nested, the whole it is in."""
    item = before if wanted.endswith("OLD") else after
    if wanted == "NONE":
        return {}
    if wanted.startswith("ALL"):
        return item
    paths = [] if update is None else [action.path for action in update.actions]
    return {str(path[0]): item[str(path[0])] for path in paths if found_at(item, path) is not None}
