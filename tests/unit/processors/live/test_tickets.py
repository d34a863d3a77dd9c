"""Tickets for the WebSocket API, over a table of the real engine: each is good once, for a minute, and for what it says."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.awsjson.retry import Retries
from processors.live.connections import Connection, ConnectionTable
from processors.live.socket import Socket
from processors.live.subscription import Subscription
from processors.live.tickets import TICKET_S, Pass, TicketTable
from support.fakes import NOW_MS, PLENTY
from support.http_face import Face, FakeStack, world
from support.local_tables import Refused, Tables
from support.strategies import pipeline

PATH = "/v1/live/ticket"
ID = "L0SM9cOFvHcCIhw="
ALL = Pass()
VIEWS = Pass(("page_views",))
FORGED = "A" * 43


class World:
    """A stack's table of connections, its tickets, and its function behind the WebSocket API."""

    def __init__(self) -> None:
        self.engine, self.now_ms = Tables(), NOW_MS
        self.engine(
            "CreateTable",
            TableName="connections",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        client = cast("AwsJsonClient", SimpleNamespace(call=self._call, retries=lambda deadline: deadline))
        self.tickets = TicketTable(client, "connections")
        self.connections = ConnectionTable(client, "connections")

    def _call(self, operation: str, body: str, _: Retries) -> bytes:
        try:
            return json.dumps(self.engine(operation, **json.loads(body))).encode()
        except Refused as error:
            raise ServiceError(operation, status=400, error=error.code, answer={}) from error

    def give(self, may: Pass = ALL) -> str:
        return self.tickets.give(may, now_s=self.now_ms / 1000, deadline=PLENTY)

    def connect(self, ticket: str | None, connection_id: str = ID) -> int:
        """Return the status of a handshake."""
        query = {} if ticket is None else {"queryStringParameters": {"ticket": ticket}}
        return int(self._handle("CONNECT", connection_id, **query)["statusCode"])

    def say(self, message: dict[str, Any]) -> Any:
        """Return what the connection is told."""
        return json.loads(self._handle("MESSAGE", ID, body=json.dumps(message))["body"])

    def leave(self) -> None:
        self._handle("DISCONNECT", ID)

    def _handle(self, kind: str, connection_id: str, **more: Any) -> dict[str, Any]:
        place = {"eventType": kind, "connectionId": connection_id, "connectedAt": NOW_MS}
        socket = Socket(self.connections, pipeline(), lambda: self.now_ms, self.tickets)
        return socket.handle({"requestContext": place, "isBase64Encoded": False, **more}, PLENTY)

    def items(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.engine("Scan", TableName="connections")["Items"]
        return found

    def listeners(self) -> list[Connection]:
        return list(self.connections.all(now_s=self.now_ms / 1000, deadline=PLENTY))


@pytest.fixture
def stack() -> Iterator[World]:
    found = World()
    yield found
    found.engine.close()


def test_a_ticket_lets_in_once(stack: World) -> None:
    ticket = stack.give()
    assert stack.connect(ticket) == 200
    assert stack.connect(ticket, "another=") == 401
    assert [each["id"]["S"] for each in stack.items()] == [ID]


@pytest.mark.parametrize("ticket", [None, "", FORGED, "x" * 10_000, "ticket#", "\ud800" * 43, "é" * 43])
def test_who_has_no_ticket_or_a_forged_one_stays_outside_and_leaves_no_trace(
    ticket: str | None, stack: World
) -> None:
    assert stack.connect(ticket) == 401
    assert stack.items() == []


def test_a_ticket_is_good_for_a_minute_whether_or_not_the_table_has_forgotten_it(stack: World) -> None:
    early, late = stack.give(), stack.give()
    stack.now_ms += (TICKET_S - 1) * 1000
    assert stack.connect(early) == 200
    stack.now_ms += 1000
    assert stack.connect(late) == 401


def test_a_ticket_of_another_stack_is_none_here(stack: World) -> None:
    other = World()
    try:
        ticket = other.give()
        assert stack.connect(ticket) == 401
        assert other.connect(ticket) == 200
    finally:
        other.engine.close()


def test_the_name_of_a_connection_or_what_the_table_shows_is_no_ticket(stack: World) -> None:
    stack.give()
    (item,) = stack.items()
    shown = item["id"]["S"]
    assert stack.connect(ID) == stack.connect(shown) == stack.connect(shown.removeprefix("ticket#")) == 401
    assert len(stack.items()) == 1


def test_no_two_tickets_are_one_and_each_is_of_256_bits(stack: World) -> None:
    tickets = {stack.give() for _ in range(50)}
    assert len(tickets) == 50
    assert {len(each) for each in tickets} == {43}
    assert not any(each in json.dumps(stack.items()) for each in tickets)


def test_who_may_hear_of_some_rollups_hears_of_no_others_and_is_told_no_names(stack: World) -> None:
    assert stack.connect(stack.give(VIEWS)) == 200
    told = stack.say({"action": "subscribe", "rollups": ["device_metrics"]})
    assert told["problems"] == ["there is no rollup 'device_metrics'; there are: page_views"]
    assert stack.say({"action": "subscribe", "rollups": ["page_views"]}) == {
        "subscribed": {"rollups": ["page_views"]}
    }
    assert stack.listeners() == [Connection(ID, Subscription(("page_views",)))]
    assert stack.say({"action": "unsubscribe"}) == {"unsubscribed": True}
    assert stack.listeners() == []
    assert "there are: page_views" in stack.say({"action": "subscribe", "rollups": ["visits"]})["error"]


def test_who_is_not_known_any_more_connects_again(stack: World) -> None:
    assert stack.connect(stack.give()) == 200
    stack.leave()
    assert "connect again" in stack.say({"action": "subscribe", "rollups": ["page_views"]})["error"]
    assert stack.items() == []


def test_a_ticket_is_no_listener(stack: World) -> None:
    stack.give()
    assert stack.listeners() == []


# What the HTTP API gives.


class Giving(FakeStack):
    """A stack that says for what it gave a ticket."""

    given: Pass | None = None

    def ticket(self, may: Pass, now_ms: int, deadline: Any) -> str | None:  # noqa: ARG002 - the port's
        self.check(deadline)
        self.given = may
        return FORGED


def test_who_is_limited_to_keys_gets_a_ticket_for_the_rollups_that_have_them() -> None:
    stack = Giving(world().store)
    face = Face(stack, keys_claim="keys")
    limited = {"jwt": {"claims": {"keys": "device_id=d1"}}}
    answer = face(PATH, method="POST", authorizer=limited)
    assert (answer.status, answer.json) == (200, {"ticket": FORGED, "expires_ms": NOW_MS + TICKET_S * 1000})
    assert answer.headers["cache-control"] == "no-store"
    assert stack.given == Pass(("device_metrics",))
    assert face(PATH, method="POST", authorizer={"jwt": {"claims": {"keys": "*"}}}).status == 200
    assert stack.given == ALL


@pytest.mark.parametrize("claims", [{}, {"keys": ""}, {"keys": "device_id"}, {"other": "*"}])
def test_who_may_see_nothing_gets_no_ticket(claims: dict[str, str]) -> None:
    stack = Giving(world().store)
    face = Face(stack, keys_claim="keys")
    assert face(PATH, method="POST", authorizer={"jwt": {"claims": claims}}).status == 403
    assert stack.given is None


def test_where_no_ticket_is_needed_none_is_given_and_nothing_is_written() -> None:
    answer = Face(FakeStack(world().store))(PATH, method="POST")
    assert (answer.status, answer.json) == (200, {"ticket": None, "expires_ms": None})


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_ticket_is_posted_for(method: str) -> None:
    stack = Giving(world().store)
    answer = Face(stack)(PATH, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert stack.given is None


@pytest.mark.parametrize("target", [f"{PATH}?for=ever", f"{PATH}/", f"{PATH}s"])
def test_what_is_no_request_for_a_ticket_is_refused(target: str) -> None:
    stack = Giving(world().store)
    assert Face(stack)(target, method="POST").status in (400, 404)
    assert Face(stack)(PATH, method="POST", body=b"ticket=1").status == 400
    assert stack.given is None
