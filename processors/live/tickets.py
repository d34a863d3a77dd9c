"""Tickets for the WebSocket API, which knows no tokens: who has shown one to the HTTP API gets a ticket, and connects with it.

A ticket is good once, for a minute, for the stack whose table it stands in. It is 256 random bits; the table has its hash
only, so who reads the table connects by none of them. It says which rollups its bearer may hear of.

| attribute | | |
|---|---|---|
| id | S | ``ticket#``, and the SHA-256 of the ticket |
| may | S | JSON: a list of rollups, or null: all |
| expires | N | in s since 1970 |
"""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.deadline import Deadline

TICKET_S = 60
_BYTES = 32
_TICKET = re.compile(r"[A-Za-z0-9_-]{43}")  # what token_urlsafe makes of so many bytes


class Pass(NamedTuple):
    """What a caller may hear of: the names of ``rollups``; None: of all."""

    rollups: tuple[str, ...] | None = None

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Pass | None":
        """Return the pass in *item*; None where it has none."""
        try:
            found = json.loads(item["may"]["S"])
            return cls(None if found is None else tuple(map(str, found)))
        except (KeyError, TypeError, ValueError):
            return None

    def attribute(self) -> dict[str, Any]:
        """Return it as the attribute ``may`` of an item."""
        return {"may": {"S": json.dumps(self.rollups)}}


class TicketTable:
    """Tickets in the *table* of connections. *secret* makes one.

    Raised besides: RetryableError, throttled, unreachable or out of time; ServiceError, refused.
    """

    def __init__(
        self,
        client: AwsJsonClient,
        table: str,
        *,
        secret: Callable[[], str] = lambda: secrets.token_urlsafe(_BYTES),
    ) -> None:
        self._client, self._table, self._secret = client, table, secret

    def give(self, may: Pass, *, now_s: float, deadline: Deadline) -> str:
        """Return a new ticket, good for ``TICKET_S``."""
        ticket = self._secret()
        expires = {"N": str(int(now_s) + TICKET_S)}
        item = {"id": {"S": _id_of(ticket)}, "expires": expires, **may.attribute()}
        self._ask("PutItem", {"Item": item}, deadline)
        return ticket

    def take(self, ticket: str, *, now_s: float, deadline: Deadline) -> Pass | None:
        """Return what *ticket* is good for, which it is never again; None: it is forged, expired, used, or of another stack."""
        if not _TICKET.fullmatch(ticket):
            return None
        request = {
            "Key": {"id": {"S": _id_of(ticket)}},
            "ConditionExpression": "expires > :now",  # of what is not there nothing holds
            "ExpressionAttributeValues": {":now": {"N": str(int(now_s))}},
            "ReturnValues": "ALL_OLD",
        }
        try:
            return Pass.of(self._ask("DeleteItem", request, deadline).get("Attributes", {}))
        except ServiceError as error:
            if error.error == "ConditionalCheckFailedException":
                return None
            raise

    def _ask(self, operation: str, request: Mapping[str, Any], deadline: Deadline) -> Any:
        body = json.dumps({"TableName": self._table, **request})
        return json.loads(self._client.call(operation, body, self._client.retries(deadline)))


def _id_of(ticket: str) -> str:
    return f"ticket#{sha256(ticket.encode()).hexdigest()}"
