"""Query and Scan: pages of up to 1 MB.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html, API_Scan.html (checked 2026-11-28);
where a page ends, DynamoDB Local: behind the item that makes it 1 MB.
"""

from collections.abc import Generator
from contextlib import closing
from typing import Any

from infra.local.dynamodb import capacity
from infra.local.dynamodb.errors import DynamoError, invalid, malformed
from infra.local.dynamodb.expressions import Expressions
from infra.local.dynamodb.key_conditions import partition_and_range
from infra.local.dynamodb.keys import Key, KeySchema
from infra.local.dynamodb.paths import paths_in, project
from infra.local.dynamodb.requests import Request, encode, flag, limit, refuse, table_of, with_raw
from infra.local.dynamodb.store import Range, Row, Store
from infra.local.dynamodb.table import Table
from infra.local.dynamodb.values import checked, kind_of

PAGE_BYTES = 1024 * 1024
_SELECTS = ("ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "COUNT", "SPECIFIC_ATTRIBUTES")
_LEGACY = ("AttributesToGet", "ConditionalOperator", "KeyConditions", "QueryFilter", "ScanFilter")
_BESIDE_RANGE = "The provided starting key does not match the range key predicate"


class QueryActions:
    """The operations that read pages."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def query(self, request: Request) -> bytes:
        """Return a page of one partition, in the order of its sort keys."""
        refuse(request, *_LEGACY)
        expressions = Expressions(
            request, ("KeyConditionExpression", "FilterExpression", "ProjectionExpression")
        )
        table = table_of(self._store, request)
        _refuse_index(request)
        page = _Page(request, expressions)
        condition = expressions.condition("KeyConditionExpression")
        if condition is None:
            raise invalid(
                "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
            )
        expressions.finish(table.schema.names)
        wanted = flag(request, "ScanIndexForward", default=True)
        partition, range_ = partition_and_range(condition, table.schema, forward=wanted)
        if page.filter is not None:
            for name in table.schema.names:
                if any(path[0] == name for path in paths_in(page.filter.condition)):
                    raise invalid(
                        "Filter Expression can only contain non-primary key attributes: "
                        f"Primary key attribute: {name}"
                    )
        start = _start_key(request, table.schema)
        if start is not None:
            if start.hash != partition or not range_.covers(start.range):
                raise invalid(_BESIDE_RANGE)
            beyond = (">" if range_.forward else "<", start.range)
            range_ = Range((*range_.bounds, beyond), range_.forward)
        with self._store.reading():
            most = 1 if table.schema.range is None else None
            return page.of(table, self._store.range(table, partition, range_), most=most)

    def scan(self, request: Request) -> bytes:
        """Return a page of all items."""
        refuse(request, *_LEGACY, "TotalSegments")
        if request.get("Segment") is not None:
            raise invalid("If segment is specified, total segment must also be specified")
        expressions = Expressions(request, ("FilterExpression", "ProjectionExpression"))
        table = table_of(self._store, request)
        page = _Page(request, expressions)
        expressions.finish(table.schema.names)
        _refuse_index(request)
        start = _start_key(request, table.schema)
        with self._store.reading():
            return page.of(table, self._store.scan(table, start))


class _Page:
    """What a request wants of a page, and how one is made of rows."""

    def __init__(self, request: Request, expressions: Expressions) -> None:
        self._request, self._mode, self._limit = request, capacity.mode_of(request), limit(request)
        self._consistent = flag(request, "ConsistentRead")
        self.filter = expressions.condition("FilterExpression")
        self._paths = expressions.projection()

    def of(self, table: Table, rows: Generator[Row], *, most: int | None = None) -> bytes:
        """Return the answer that *rows* make, of which no more are taken than it needs.

        There are *most* of them at most: behind that many, there is no other page.
        """
        bodies: list[bytes] = []
        counts_only = _select(self._request) == "COUNT"
        count = scanned = size = 0
        last: Row | None = None
        with closing(rows):
            for row in rows:
                if size >= PAGE_BYTES:
                    break
                last, scanned, size = row, scanned + 1, size + row.size
                if self.filter is None or self.filter.holds(row.item):
                    count += 1
                    if not counts_only:
                        bodies.append(self._body(row))
                if scanned == self._limit and scanned != most:
                    break
            else:
                last = None  # there are no more
        units = capacity.read_units(size, consistent=self._consistent, least=0)
        answer: dict[str, Any] = {"Count": count, "ScannedCount": scanned}
        if last is not None:
            answer["LastEvaluatedKey"] = table.schema.cut(last.item)
        answer |= capacity.consumed(self._mode, table.name, units)
        return with_raw(answer, Items=None if counts_only else bodies)

    def _body(self, row: Row) -> bytes:
        return row.body if self._paths is None else encode(project(row.item, self._paths))


def _select(request: Request) -> str:
    select, projection = request.get("Select"), request.get("ProjectionExpression")
    if select is None:
        return "ALL_ATTRIBUTES" if projection is None else "SPECIFIC_ATTRIBUTES"
    if select not in _SELECTS:
        raise invalid(
            "Select must be ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES, COUNT, or SPECIFIC_ATTRIBUTES"
        )
    if select == "ALL_PROJECTED_ATTRIBUTES":
        raise invalid("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
    if select == "SPECIFIC_ATTRIBUTES" and projection is None:
        raise invalid(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
        )
    if select != "SPECIFIC_ATTRIBUTES" and projection is not None:
        what = "only the Count" if select == "COUNT" else select
        raise invalid(f"Cannot specify the ProjectionExpression when choosing to get {what}")
    return str(select)


def _refuse_index(request: Request) -> None:
    if request.get("IndexName") is not None:
        raise invalid(f"The table does not have the specified index: {request['IndexName']}")


def _start_key(request: Request, schema: KeySchema) -> Key | None:
    given = request.get("ExclusiveStartKey")
    if not given:
        return None
    if not isinstance(given, dict):
        raise malformed("ExclusiveStartKey is not a map of attributes")
    if len(given) != len(schema.names):
        raise invalid("Exclusive Start Key must have same size as table's key schema")
    key = {name: checked(value)[0] for name, value in given.items()}
    for each in schema:
        if each.name in key and kind_of(key[each.name]) != each.kind:
            raise invalid("Type mismatch for attribute to update")
    try:
        return schema.of_item(key)
    except DynamoError as error:
        raise invalid(f"The provided starting key is invalid: {error.message}") from error
