"""The composition root of the function behind the WebSocket API: ``processors.live.socket.handler`` is what Lambda calls.

Routes: ``$connect``, ``$disconnect``, and messages ``{"action": "subscribe" | "unsubscribe" | "ping"}``. Whoever may connect,
API Gateway decides (AWS_IAM), or where the HTTP API takes tokens, a ticket of it: ``?ticket=``, see ``tickets``. News says
nothing of keys, so of what a caller may see it matters here which rollups.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-route-keys-connect-disconnect.html
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Protocol

from processors.deadline import Deadline
from processors.live.clients import aws_client
from processors.live.connections import KEPT_S, NOTHING, Connection, ConnectionTable
from processors.live.live_settings import LiveSettings
from processors.live.subscription import Subscription
from processors.live.tickets import Pass, TicketTable
from processors.pipeline_files import load_pipeline
from processors.sink.lean_dynamodb import TARGET as DYNAMODB
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError, RetryableError

MESSAGE_BYTES = 4_096
ACTIONS = ("subscribe", "unsubscribe", "ping")
_MARGIN_S = 0.5
_LONGEST_S = 5.0


class Context(Protocol):
    """What Lambda tells of an invocation."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how much of its time is left."""


class Table(Protocol):
    """Where subscriptions are kept."""

    def put(
        self, connection: Connection, *, may: Pass | None = None, expires_s: int, deadline: Deadline
    ) -> None:
        """Keep what it wants. Raises: RetryableError, ServiceError."""

    def pass_of(self, connection_id: str, *, deadline: Deadline) -> Pass | None:
        """Return what it may hear of; None: nobody knows it. Raises: RetryableError, ServiceError."""

    def delete(self, connection_id: str, *, deadline: Deadline) -> None:
        """Forget it. Raises: RetryableError, ServiceError."""


class Tickets(Protocol):
    """Where tickets are taken."""

    def take(self, ticket: str, *, now_s: float, deadline: Deadline) -> Pass | None:
        """Return what it is good for, once; None: it is not good. Raises: RetryableError, ServiceError."""


class Socket:
    """Answers one event at a time. *tickets*: who connects has one; None: API Gateway has asked who he is.

    A connection stands in the table from its subscription on, and no sooner; with tickets from its begin on.
    """

    def __init__(
        self, table: Table, pipeline: Pipeline, now_ms: Callable[[], int], tickets: Tickets | None = None
    ) -> None:
        self._table, self._pipeline, self._now_ms, self._tickets = table, pipeline, now_ms, tickets

    def handle(self, event: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        """Return the answer to an event of API Gateway: its body goes to the client.

        Raises:
            ServiceError: the table refuses.
            RetryableError: the table does not answer, to a $connect or a $disconnect; items expire by themselves.
        """
        place = event["requestContext"]
        kind, connection_id = place["eventType"], place["connectionId"]
        if kind == "CONNECT":
            return {"statusCode": self._admitted(event, connection_id, deadline)}
        if kind == "DISCONNECT":
            self._table.delete(connection_id, deadline=deadline)
            return {"statusCode": 200}
        try:
            said = self._said(event)
            answer = self._answer(said, connection_id, int(place["connectedAt"]), deadline)
        except ConfigError as error:
            answer = {"error": error.problems[0], "problems": list(error.problems)}
        except RetryableError:
            answer = {"error": "the table of connections does not answer; say it again"}
        return {"statusCode": 200, "body": json.dumps(answer, separators=(",", ":"))}

    def _admitted(self, event: dict[str, Any], connection_id: str, deadline: Deadline) -> int:
        """Return the status of a handshake: 401 for who has no good ticket, where there has to be one."""
        if self._tickets is None:
            return 200
        ticket = str((event.get("queryStringParameters") or {}).get("ticket", ""))
        may = self._tickets.take(ticket, now_s=self._now_ms() / 1000, deadline=deadline)
        if may is None:
            return 401
        expires_s = int(event["requestContext"]["connectedAt"]) // 1000 + KEPT_S
        self._table.put(Connection(connection_id, NOTHING), may=may, expires_s=expires_s, deadline=deadline)
        return 200

    def _said(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return the message, an object with an action that there is. Raises: ConfigError."""
        body = event.get("body") or ""
        if event.get("isBase64Encoded"):
            raise ConfigError("a message is text, not bytes")
        if len(body.encode("utf-8", "surrogatepass")) > MESSAGE_BYTES:
            raise ConfigError(f"a message has {MESSAGE_BYTES} bytes at most")
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise ConfigError('a message is a JSON object, such as {"action": "ping"}')
        if said.get("action") not in ACTIONS:
            raise ConfigError(f"there is no such action; there are: {', '.join(ACTIONS)}")
        return said

    def _answer(
        self, said: dict[str, Any], connection_id: str, since_ms: int, deadline: Deadline
    ) -> dict[str, Any]:
        if said["action"] == "ping":
            return {"pong": self._now_ms()}
        may = None
        if self._tickets is not None:
            may = self._table.pass_of(connection_id, deadline=deadline)
            if may is None:
                raise ConfigError("this connection is not known any more: connect again, with a new ticket")
        wanted = NOTHING
        if said["action"] == "subscribe":
            wanted = Subscription.of(said, _heard_of(self._pipeline, may))
        elif may is None:
            self._table.delete(connection_id, deadline=deadline)
            return {"unsubscribed": True}
        expires_s = since_ms // 1000 + KEPT_S
        self._table.put(Connection(connection_id, wanted), may=may, expires_s=expires_s, deadline=deadline)
        return {"subscribed": wanted.told()} if wanted.rollups else {"unsubscribed": True}


def _heard_of(pipeline: Pipeline, may: Pass | None) -> Pipeline:
    """Return *pipeline* with the rollups that *may* names; others are not there for who has it."""
    if may is None or may.rollups is None:
        return pipeline
    allowed = set(may.rollups)
    return replace(
        pipeline, rollups={name: each for name, each in pipeline.rollups.items() if name in allowed}
    )


def build(settings: LiveSettings) -> Socket:
    """Return the function of *settings*, with real clients. No call is made yet. Raises: ConfigError."""
    client, table = aws_client("dynamodb", DYNAMODB), settings.connections_table
    return Socket(
        ConnectionTable(client, table),
        load_pipeline(settings.pipeline).of_consumer(settings.consumer),
        lambda: time.time_ns() // 1_000_000,
        TicketTable(client, table) if settings.takes_tickets else None,
    )


@cache
def _built() -> Socket:
    return build(LiveSettings.of(os.environ, pushes=False))


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Answer one event of API Gateway's WebSocket API."""
    left_s = context.get_remaining_time_in_millis() / 1000 - _MARGIN_S
    try:
        return _built().handle(event, Deadline.after(min(left_s, _LONGEST_S)))
    except RetryableError as error:
        what = "not forgotten" if event["requestContext"]["eventType"] == "DISCONNECT" else "not admitted"
        sys.stdout.write(f"{json.dumps({'level': 'WARNING', 'message': what, 'error': str(error)})}\n")
        return {"statusCode": 503}


# In a sandbox it is built while it is imported, as the aggregate function is: docs/adr/0011.
if "LAMBDA_TASK_ROOT" in os.environ:
    _built()
