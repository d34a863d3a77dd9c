"""The function behind the WebSocket API: what a client may say, what it is told, and what is kept of it."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

import processors.live.socket
from processors.deadline import Deadline
from processors.live.connections import KEPT_S, Connection
from processors.live.live_settings import LiveSettings
from processors.live.socket import MESSAGE_BYTES, Socket
from processors.live.subscription import Subscription
from processors.live.tickets import Pass
from streamgage.errors import ConfigError, RetryableError
from support.fakes import NOW_MS, PLENTY
from support.strategies import pipeline

ID = "L0SM9cOFvHcCIhw="
CONNECTED_MS = 1_700_000_123_456


@dataclass
class Table:
    """Subscriptions in a dict; *fails* once it is to."""

    kept: dict[str, tuple[Connection, int]] = field(default_factory=dict)
    fails: bool = False

    def put(
        self,
        connection: Connection,
        *,
        may: Pass | None = None,
        expires_s: int,
        deadline: Deadline,  # noqa: ARG002 - the port's
    ) -> None:
        assert may is None
        if self.fails:
            raise RetryableError("throttled")
        self.kept[connection.id] = (connection, expires_s)

    def pass_of(self, connection_id: str, *, deadline: Deadline) -> Pass | None:  # noqa: ARG002 - the port's
        raise AssertionError("nobody came with a ticket")

    def delete(self, connection_id: str, *, deadline: Deadline) -> None:  # noqa: ARG002 - the port's
        if self.fails:
            raise RetryableError("throttled")
        self.kept.pop(connection_id, None)


@pytest.fixture
def table() -> Table:
    return Table()


def event_of(kind: str, **more: Any) -> dict[str, Any]:
    """Return an event of API Gateway's WebSocket API, as far as the function reads it."""
    route = {"CONNECT": "$connect", "DISCONNECT": "$disconnect"}.get(kind, "$default")
    place = {"routeKey": route, "eventType": kind, "connectionId": ID, "connectedAt": CONNECTED_MS}
    return {"requestContext": {**place, "stage": "live"}, "isBase64Encoded": False, **more}


def say(table: Table, message: Any) -> Any:
    """Return what a client is told who sends *message*, a text or what becomes one."""
    body = message if isinstance(message, str) else json.dumps(message)
    socket = Socket(table, pipeline(), lambda: NOW_MS)
    answer = socket.handle(event_of("MESSAGE", body=body), PLENTY)
    assert answer["statusCode"] == 200
    return json.loads(answer["body"])


def test_who_connects_is_let_in_and_not_kept_before_he_subscribes(table: Table) -> None:
    socket = Socket(table, pipeline(), lambda: NOW_MS)
    assert socket.handle(event_of("CONNECT"), PLENTY) == {"statusCode": 200}
    assert not table.kept


def test_a_subscription_is_told_back_and_kept_for_as_long_as_a_connection_may_last(table: Table) -> None:
    told = say(
        table, {"action": "subscribe", "rollups": ["page_views", "device_metrics"], "windows": ["60m"]}
    )
    assert told == {"subscribed": {"rollups": ["page_views", "device_metrics"], "windows": ["1h"]}}
    wanted = Subscription(("page_views", "device_metrics"), ("1h",))
    assert table.kept == {ID: (Connection(ID, wanted), CONNECTED_MS // 1000 + KEPT_S)}


def test_another_subscription_takes_the_place_of_the_first(table: Table) -> None:
    say(table, {"action": "subscribe", "rollups": ["page_views"]})
    assert say(table, {"action": "subscribe", "rollups": ["visits"]}) == {
        "subscribed": {"rollups": ["visits"]}
    }
    assert table.kept[ID][0].subscription == Subscription(("visits",))


@pytest.mark.parametrize("how", ["unsubscribe", "disconnect"])
def test_who_unsubscribes_or_leaves_is_forgotten(how: str, table: Table) -> None:
    say(table, {"action": "subscribe", "rollups": ["page_views"]})
    if how == "unsubscribe":
        assert say(table, {"action": "unsubscribe"}) == {"unsubscribed": True}
    else:
        Socket(table, pipeline(), lambda: NOW_MS).handle(event_of("DISCONNECT"), PLENTY)
    assert not table.kept


def test_a_ping_is_answered_with_the_time(table: Table) -> None:
    assert say(table, {"action": "ping"}) == {"pong": NOW_MS}


def test_every_problem_of_a_subscription_is_told_at_once(table: Table) -> None:
    told = say(table, {"action": "subscribe", "rollups": ["page_views", "x" * 90], "windows": ["1m", "soon"]})
    assert told["error"] == told["problems"][0]
    assert told["problems"] == [
        f"there is no rollup {'x' * 40!r}; there are: device_metrics, page_views, visits",
        "no rollup that is named has windows of '1m'",
        "no rollup that is named has windows of 'soon'",
    ]
    assert not table.kept


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("", "JSON object"),
        ("{", "JSON object"),
        ("[]", "JSON object"),
        ('"subscribe"', "JSON object"),
        ("[" * 4_000, "JSON object"),
        ({}, "no such action"),
        ({"action": "scan"}, "no such action"),
        ({"action": ["subscribe"]}, "no such action"),
        ({"action": "subscribe"}, "rollups is a list"),
        ({"action": "subscribe", "rollups": "page_views"}, "rollups is a list"),
        ({"action": "subscribe", "rollups": [1]}, "rollups is a list"),
        ({"action": "subscribe", "rollups": []}, "names none"),
        ({"action": "subscribe", "rollups": ["page_views"] * 17}, "at most 16"),
        ({"action": "subscribe", "rollups": ["page_views"], "windows": None}, "windows is a list"),
        ({"action": "subscribe", "rollups": ["page_views"], "windows": ["1h"] * 17}, "at most 16"),
        (json.dumps({"action": "ping", "x": "y" * MESSAGE_BYTES}), "4096 bytes"),
        (json.dumps({"action": "ping", "x": "é" * 2_100}, ensure_ascii=False), "4096 bytes"),
        ('{"action": "ping", "x": "\\ud800"}' + "\ud800", "JSON object"),
    ],
)
def test_what_is_no_message_is_told_so(message: Any, word: str, table: Table) -> None:
    told = say(table, message)
    assert word in told["error"]
    assert not table.kept


def test_bytes_are_refused(table: Table) -> None:
    socket = Socket(table, pipeline(), lambda: NOW_MS)
    answer = socket.handle(event_of("MESSAGE", body="e30=", isBase64Encoded=True), PLENTY)
    assert "text" in json.loads(answer["body"])["error"]


def test_a_table_that_does_not_answer_is_told_and_a_client_may_say_it_again(table: Table) -> None:
    table.fails = True
    assert "say it again" in say(table, {"action": "subscribe", "rollups": ["page_views"]})["error"]
    table.fails = False
    assert "subscribed" in say(table, {"action": "subscribe", "rollups": ["page_views"]})


class LambdaContext:
    """What Lambda tells."""

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


def test_who_cannot_be_forgotten_now_expires_and_no_invocation_fails_by_it(
    table: Table, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table.fails = True
    monkeypatch.setattr("processors.live.socket._built", lambda: Socket(table, pipeline(), lambda: NOW_MS))
    assert processors.live.socket.handler(event_of("DISCONNECT"), LambdaContext()) == {"statusCode": 503}
    assert json.loads(capsys.readouterr().out)["message"] == "not forgotten"


def test_every_problem_of_the_settings_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        LiveSettings.of({})
    assert error.value.problems == ("CONNECTIONS_TABLE is not set", "SOCKET_ENDPOINT is not set")
    assert LiveSettings.of({"CONNECTIONS_TABLE": "c"}, pushes=False) == LiveSettings(
        "c", "main", "pipeline.toml"
    )


@pytest.mark.parametrize(("value", "takes"), [("true", True), ("false", False)])
def test_whether_there_are_tickets_is_said_in_a_word(value: str, takes: bool) -> None:  # noqa: FBT001 - a table's
    given = {"CONNECTIONS_TABLE": "c", "SOCKET_TICKETS": value}
    assert LiveSettings.of(given, pushes=False).takes_tickets is takes


def test_any_other_word_is_refused_for_it_could_let_everybody_in() -> None:
    with pytest.raises(ConfigError, match="SOCKET_TICKETS is 'yes'"):
        LiveSettings.of({"CONNECTIONS_TABLE": "c", "SOCKET_TICKETS": "yes"}, pushes=False)
