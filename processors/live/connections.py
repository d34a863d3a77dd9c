"""Who is connected and what he wants to hear of: items of a small table, which DynamoDB forgets by itself (TTL).

| attribute | | |
|---|---|---|
| id | S | API Gateway's id of the connection |
| rollups, windows | S | JSON lists of texts, of the subscription; of who has not said yet, or no more: empty |
| may | S | of who came with a ticket: what he may hear of, as his ticket says (``tickets``) |
| expires | N | in s since 1970: API Gateway ends a connection after two hours |
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from processors.awsjson.client import AwsJsonClient
from processors.deadline import Deadline
from processors.live.subscription import Subscription
from processors.live.tickets import Pass

KEPT_S = 2 * 3600 + 600
"""How long after its begin a connection may be told something; API Gateway ends it after two hours.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html
"""
MOST = 10_000  # connections that one piece of news goes to


class Connection(NamedTuple):
    """One client."""

    id: str
    subscription: Subscription


NOTHING = Subscription(())
"""Of who is connected, and has not said what he wants."""


class ConnectionTable:
    """The *table*. What is raised besides: RetryableError, throttled, unreachable or out of time; ServiceError, refused."""

    def __init__(self, client: AwsJsonClient, table: str) -> None:
        self._client, self._table = client, table

    def put(
        self, connection: Connection, *, may: Pass | None = None, expires_s: int, deadline: Deadline
    ) -> None:
        """Keep what *connection* wants, in place of what it wanted; *may*: of who came with a ticket, what he may hear of."""
        wanted = connection.subscription
        item = {
            "id": {"S": connection.id},
            "rollups": {"S": json.dumps(wanted.rollups)},
            "windows": {"S": json.dumps(wanted.windows)},
            "expires": {"N": str(expires_s)},
            **(may.attribute() if may else {}),
        }
        self._ask("PutItem", {"Item": item}, deadline)

    def pass_of(self, connection_id: str, *, deadline: Deadline) -> Pass | None:
        """Return what a connection may hear of; None where it came without a ticket, or is not known any more."""
        asked = {"Key": {"id": {"S": connection_id}}, "ConsistentRead": True}
        return Pass.of(self._ask("GetItem", asked, deadline).get("Item", {}))

    def delete(self, connection_id: str, *, deadline: Deadline) -> None:
        """Forget a connection, which may be forgotten already."""
        self._ask("DeleteItem", {"Key": {"id": {"S": connection_id}}}, deadline)

    def all(self, *, now_s: float, deadline: Deadline) -> Iterator[Connection]:
        """Yield those that want something now, at most ``MOST``. What is not one of this version's items is passed over."""
        request: dict[str, Any] = {}
        left = MOST
        while True:
            page = self._ask("Scan", request, deadline)
            for item in page.get("Items", ()):
                found = _connection(item, now_s)
                if found is not None:
                    yield found
                    left -= 1
                if not left:
                    return
            if not page.get("LastEvaluatedKey"):
                return
            request = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _ask(self, operation: str, request: Mapping[str, Any], deadline: Deadline) -> Any:
        body = json.dumps({"TableName": self._table, **request})
        return json.loads(self._client.call(operation, body, self._client.retries(deadline)))


def _connection(item: Mapping[str, Any], now_s: float) -> Connection | None:
    try:
        if int(item["expires"]["N"]) <= now_s:
            return None  # DynamoDB takes its time
        rollups, windows = (json.loads(item[name]["S"]) for name in ("rollups", "windows"))
        wanted = Subscription(tuple(rollups), tuple(windows))
        return Connection(str(item["id"]["S"]), wanted) if wanted.rollups else None
    except (KeyError, TypeError, ValueError):
        return None
