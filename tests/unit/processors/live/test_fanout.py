"""News to connections: one message each, coalesced, in the time that there is; who is gone is forgotten."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

import processors.live.push
from processors.awsjson.retry import Retries, RetryPolicy
from processors.deadline import Deadline
from processors.live.connections import Connection
from processors.live.fanout import Fanout, Told
from processors.live.management import Posted
from processors.live.news import Span, Windows, WindowSize
from processors.live.push import Push, report
from processors.live.subscription import Subscription
from streamgage.errors import RetryableError
from support.fakes import NOW_MS
from support.strategies import pipeline

HOUR = WindowSize("page_views", "1h")
MINUTE = WindowSize("device_metrics", "1m")
NEWS = {HOUR: Span(0, 3_600_000), MINUTE: Span(60_000, 180_000)}


@dataclass
class World:
    """Who is connected, what each was sent, and a clock that only waiting moves."""

    connected: list[Connection] = field(default_factory=list)
    becomes: dict[str, Posted | Exception] = field(default_factory=dict)
    sent: list[tuple[str, Any]] = field(default_factory=list)
    now_s: float = 100.0
    waits: list[float] = field(default_factory=list)
    asked: int = 0
    fails_to_forget: bool = False

    def all(self, *, now_s: float, deadline: Deadline) -> Iterable[Connection]:  # noqa: ARG002 - the port's
        self.asked += 1
        return tuple(self.connected)

    def delete(self, connection_id: str, *, deadline: Deadline) -> None:  # noqa: ARG002 - the port's
        if self.fails_to_forget:
            raise RetryableError("throttled")
        self.connected = [each for each in self.connected if each.id != connection_id]

    def post(self, connection_id: str, body: bytes, retries: Retries, /) -> Posted:
        if retries.deadline.has_passed:
            raise RetryableError("no time left")
        became = self.becomes.get(connection_id, "sent")
        if isinstance(became, Exception):
            raise became
        if became == "sent":
            self.sent.append((connection_id, json.loads(body)))
        return became

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now_s += seconds

    def deadline(self, seconds: float = 10) -> Deadline:
        return Deadline(self.now_s + seconds, lambda: self.now_s)


@pytest.fixture
def world() -> World:
    return World([Connection("a", Subscription(("page_views", "device_metrics")))])


@pytest.fixture
def fanout(world: World) -> Iterator[Fanout]:
    with ThreadPoolExecutor(4) as posts:
        yield Fanout(
            world, world.post, posts=posts, policy=RetryPolicy(), clock=lambda: world.now_s, wait=world.wait,
            now_ms=lambda: NOW_MS,
        )  # fmt: skip


def test_a_connection_is_sent_one_message_with_all_its_news(world: World, fanout: Fanout) -> None:
    assert fanout.tell(NEWS, world.deadline()) == Told(sent=1)
    entries = [
        {"rollup": "device_metrics", "window": "1m", "from_ms": 60_000, "to_ms": 180_000},
        {"rollup": "page_views", "window": "1h", "from_ms": 0, "to_ms": 3_600_000},
    ]
    assert world.sent == [("a", {"changed": entries, "now_ms": NOW_MS})]


def test_each_hears_what_he_asked_for_and_who_hears_nothing_is_sent_nothing(
    world: World, fanout: Fanout
) -> None:
    world.connected = [
        Connection("hours", Subscription(("page_views", "device_metrics"), ("1h",))),
        Connection("days", Subscription(("page_views",), ("1d",))),
        Connection("visits", Subscription(("visits",))),
    ]
    assert fanout.tell(NEWS, world.deadline()) == Told(sent=1)
    assert [(to, [each["rollup"] for each in said["changed"]]) for to, said in world.sent] == [
        ("hours", ["page_views"])
    ]
    assert fanout.tell({MINUTE: NEWS[MINUTE]}, world.deadline()) == Told()
    assert not world.waits


def test_two_messages_to_one_connection_are_a_second_apart(world: World, fanout: Fanout) -> None:
    for _ in range(3):
        fanout.tell(NEWS, world.deadline())
        world.now_s += 0.25
    assert world.waits == [0.75, 0.75]
    world.now_s += 5
    fanout.tell(NEWS, world.deadline())
    assert len(world.waits) == 2


def test_nobody_waits_longer_than_there_is_time(world: World, fanout: Fanout) -> None:
    fanout.tell(NEWS, world.deadline())
    assert fanout.tell(NEWS, world.deadline(0.5)).dropped == 1
    assert world.waits == [0.5]


def test_who_has_just_come_hears_the_next_news(world: World, fanout: Fanout) -> None:
    (late,), world.connected = world.connected, []
    assert fanout.tell(NEWS, world.deadline()) == Told()
    world.connected = [late]
    assert fanout.tell(NEWS, world.deadline()).sent == 1


def test_of_many_it_is_asked_once_a_second_who_is_connected(world: World, fanout: Fanout) -> None:
    news = {HOUR: NEWS[HOUR]}
    world.connected = [Connection(f"v{number}", Subscription(("visits",))) for number in range(101)]
    fanout.tell(news, world.deadline())
    world.now_s += 0.9
    fanout.tell(news, world.deadline())
    assert world.asked == 1
    world.now_s += 0.2
    fanout.tell(news, world.deadline())
    assert world.asked == 2


@pytest.mark.parametrize("fails", [False, True])
def test_who_is_gone_is_forgotten_and_the_others_are_told(fails: bool, world: World, fanout: Fanout) -> None:  # noqa: FBT001
    world.connected.append(Connection("b", Subscription(("page_views",))))
    world.becomes["a"], world.fails_to_forget = "gone", fails
    assert fanout.tell(NEWS, world.deadline()) == Told(sent=1, gone=1)
    assert [each.id for each in world.connected] == (["a", "b"] if fails else ["b"])
    assert fanout.tell(NEWS, world.deadline()).sent == 1


def test_what_cannot_be_sent_is_dropped_and_counted_with_a_reason(world: World, fanout: Fanout) -> None:
    world.connected += [Connection(each, Subscription(("page_views",))) for each in ("b", "c")]
    world.becomes |= {"a": RetryableError("HTTP 500"), "b": "refused"}
    assert fanout.tell(NEWS, world.deadline()) == Told(sent=1, dropped=2, error="HTTP 500")


def test_nobody_is_told_after_the_deadline(world: World, fanout: Fanout) -> None:
    assert fanout.tell(NEWS, world.deadline(0)) == Told(dropped=1, error="no time left")


def test_news_that_nobody_could_hear_asks_for_nobody(world: World, fanout: Fanout) -> None:
    push = Push(Windows(pipeline()), fanout)
    events: tuple[Any, ...] = ({"Records": []}, {}, None, {"Records": [{"eventName": "MODIFY"}]})
    for event in events:
        assert push.handle(event, world.deadline()) == Told()
    assert world.asked == 0


class LambdaContext:
    """What Lambda tells."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def test_an_invocation_tells_the_news_of_its_batch_and_says_what_became_of_it(
    world: World, fanout: Fanout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("processors.live.push._built", lambda: Push(Windows(pipeline()), fanout))
    keys = {"pk": {"S": "page_views.1|1h|0"}, "sk": {"S": "001699999200000|lane"}}
    event = {"Records": [{"eventName": "INSERT", "dynamodb": {"Keys": keys}}]}
    assert processors.live.push.handler(event, LambdaContext()) == {"sent": 1, "gone": 0, "dropped": 0}
    assert world.sent[0][1]["changed"][0]["from_ms"] == 1_699_999_200_000
    assert json.loads(capsys.readouterr().out)["NewsSent"] == 1
    assert processors.live.push.handler({"Records": []}, LambdaContext())["sent"] == 0
    assert capsys.readouterr().out == ""


def test_a_report_has_its_metrics_and_names_nobody() -> None:
    line = json.loads(report(Told(3, 1, 2, "HTTP 500"), "push-1", NOW_MS))
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert {each["Name"]: line[each["Name"]] for each in directive["Metrics"]} == {
        "NewsSent": 3,
        "NewsDropped": 2,
    }
    assert (line["level"], line["service"], line["error"]) == ("WARNING", "push-1", "HTTP 500")
