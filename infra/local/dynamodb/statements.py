"""ExecuteStatement and BatchExecuteStatement: each statement on its own condition.

Two statements on one item are refused before anything is done, as others measured on AWS (docs/adr/0013); DynamoDB
Local refuses them after both took effect.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html (checked
2026-11-28).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from infra.local.dynamodb import capacity
from infra.local.dynamodb.conditions import At, Comparison, Given
from infra.local.dynamodb.errors import DynamoError, invalid, malformed
from infra.local.dynamodb.items import check_size, failed_condition
from infra.local.dynamodb.keys import Key, KeySchema
from infra.local.dynamodb.partiql import STATEMENT_BYTES, Change, Insert, parse
from infra.local.dynamodb.requests import (
    Request,
    encode,
    encode_text,
    members,
    refuse,
    structure,
    table_named,
    wants_old_on_failure,
    with_raw,
)
from infra.local.dynamodb.store import Row, Store
from infra.local.dynamodb.table import Table
from infra.local.dynamodb.values import Item, Value, checked, checked_item, kind_of

STATEMENTS = 25
_EMPTY = "The statement was empty."


@dataclass(frozen=True, slots=True)
class _Asked:
    """A statement with its parameters, canonical and measured."""

    statement: Insert | Change
    values: tuple[Value, ...]
    sizes: tuple[int, ...]
    tells: bool


@dataclass(frozen=True, slots=True)
class _Ready:
    """A statement whose item is known; ``run`` does it inside a transaction and returns its units."""

    table: Table
    key: Key
    run: Callable[[], float]


class StatementActions:
    """The operations that run statements."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def execute_statement(self, request: Request) -> bytes:
        """Run one statement."""
        refuse(request, "NextToken", "Limit")
        mode = capacity.mode_of(request)
        try:
            asked = _asked(request)
        except _ParseError as error:
            raise error.cause from error
        ready = self._ready(asked)
        with self._store.transaction():
            units = ready.run()
        return encode({"Items": [], **capacity.consumed(mode, ready.table.name, units)})

    def batch_execute_statement(self, request: Request) -> bytes:
        """Run up to 25 statements; what one answers does not touch the others."""
        mode = capacity.mode_of(request)
        given = members(request, "Statements")
        if not given:
            raise invalid(_EMPTY)
        if len(given) > STATEMENTS:
            raise invalid("BatchWriteItem cannot write more than 25 items")
        planned: list[_Ready | DynamoError] = []
        for each in given:
            try:
                asked = _asked(structure(each, "a statement"))
            except _ParseError as error:
                planned.append(error.cause)
                continue
            try:
                planned.append(self._ready(asked))
            except DynamoError as error:
                planned.append(error)
        keys = [(each.table.name, each.key) for each in planned if isinstance(each, _Ready)]
        if len(set(keys)) < len(keys):
            raise invalid("Provided list of item keys contains duplicates")
        units: list[tuple[str, float]] = []
        with self._store.transaction():
            responses = [_response(each, units) for each in planned]
        return with_raw(capacity.consumed_by_tables(mode, units), Responses=responses)

    def _ready(self, asked: _Asked) -> _Ready:
        statement, values = asked.statement, asked.values
        table = table_named(self._store, statement.table)
        if len(values) != statement.parameters:
            raise invalid("Number of parameters in request and statement don't match.")
        if isinstance(statement, Insert):
            item, size = (
                dict(zip(statement.names, values, strict=True)),
                _names_size(statement) + sum(asked.sizes),
            )
            _check_key_types(item, table.schema)
            key = table.schema.of_item(item)
            check_size(size)
            return _Ready(table, key, lambda: self._insert(table, key, item, size))
        places, condition = _plan(statement, table.schema)
        key = table.schema.of_item(
            {each.name: values[place] for each, place in zip(table.schema, places, strict=True)}
        )
        return _Ready(table, key, lambda: self._change(table, key, asked, condition))

    def _insert(self, table: Table, key: Key, item: Item, size: int) -> float:
        if not self._store.insert(table, key, item, size):
            raise DynamoError("DuplicateItemException", "Duplicate primary key exists in table")
        return capacity.write_units(size)

    def _change(self, table: Table, key: Key, asked: _Asked, condition: tuple[Comparison, ...]) -> float:
        statement = asked.statement
        assert isinstance(statement, Change)  # noqa: S101 - what it was made for
        row = self._store.get(table, key)
        if row is None:
            raise failed_condition(None, tells=False)
        item = row.item
        if condition:
            given = {str(place): value for place, value in enumerate(asked.values)}
            if not all(each.holds(item, given) for each in condition):
                raise failed_condition(row, tells=asked.tells)
        size = _set(row, item, statement.sets, asked)
        check_size(size, "Item size to update")
        self._store.replace(table, row, item, size)
        return capacity.write_units(max(size, row.size))


def _set(row: Row, item: Item, names: tuple[str, ...], asked: _Asked) -> int:
    """Set the first values of *asked* as *names* of *item*, in place; return the size of it then."""
    size = row.size
    for name, value, value_bytes in zip(names, asked.values, asked.sizes, strict=False):
        old = item.get(name)
        size += value_bytes + (len(name.encode()) if old is None else -checked(old)[1])
        item[name] = value
    return size


class _ParseError(Exception):
    """A text that is no statement of ours: an answer of its own in a batch, unlike a parameter that is no value."""

    def __init__(self, cause: DynamoError) -> None:
        self.cause = cause
        super().__init__(cause.message)


def _asked(request: Request) -> _Asked:
    text = request.get("Statement")
    if not text:
        raise invalid(_EMPTY)
    if not isinstance(text, str):
        raise malformed("Statement is not a text")
    if len(text) > STATEMENT_BYTES:
        raise invalid("Member must have length less than or equal to 8192")
    values, sizes = [], []
    for each in members(request, "Parameters"):
        value, size = checked(each)
        values.append(value)
        sizes.append(size)
    tells = wants_old_on_failure(request)
    return _Asked(_parsed(text), tuple(values), tuple(sizes), tells)


def _parsed(text: str) -> Insert | Change:
    try:
        return parse(text)
    except DynamoError as error:
        raise _ParseError(error) from error


@lru_cache(maxsize=1024)
def _names_size(statement: Insert) -> int:
    return checked_item({name: {"S": ""} for name in statement.names})[1]


@lru_cache(maxsize=1024)
def _plan(statement: Change, schema: KeySchema) -> tuple[tuple[int, ...], tuple[Comparison, ...]]:
    """Return which parameters are the key, and what else is to hold. Raises: DynamoError."""
    places: dict[str, int] = {}
    rest: list[Comparison] = []
    for clause in statement.where:
        if clause.name in schema.names and clause.symbol == "=" and clause.name not in places:
            places[clause.name] = clause.parameter
        else:
            rest.append(Comparison(clause.symbol, At((clause.name,)), Given(str(clause.parameter))))
    if len(places) < len(schema.names):
        raise invalid("Where clause does not contain a mandatory equality on all key attributes")
    for name in statement.sets:
        if name in schema.names:
            raise invalid(
                f"One or more parameter values were invalid: Cannot update attribute {name}. "
                "This attribute is part of the key"
            )
    return tuple(places[name] for name in schema.names), tuple(rest)


def _check_key_types(item: Item, schema: KeySchema) -> None:
    for each in schema:
        if each.name not in item:
            raise invalid(f"Key attribute should be present in the item: Key {each.name}")
        if kind_of(item[each.name]) != each.kind:
            raise invalid(
                f"Key attribute's data type should match its data type in table's schema: Key {each.name}"
            )


def _response(planned: "_Ready | DynamoError", units: list[tuple[str, float]]) -> bytes:
    """Run a statement; return its answer, and add what it consumed to *units*."""
    if isinstance(planned, DynamoError):
        return _error(planned, {})
    told: dict[str, Any] = {"TableName": planned.table.name}
    try:
        units.append((planned.table.name, planned.run()))
    except DynamoError as error:
        return _error(error, told)
    return encode(told)


def _error(error: DynamoError, told: dict[str, Any]) -> bytes:
    described = {"Code": error.batch_code, "Message": error.message}
    item = f',"Item":{error.item}' if error.item else ""
    text = f'{{"Error":{encode_text(described)[:-1]}{item}}}'
    rest = encode_text(told)[1:-1]
    return f"{text},{rest}}}".encode("ascii") if rest else f"{text}}}".encode("ascii")
