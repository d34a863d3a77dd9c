"""The loop, before a scripted client: what is held is bounded, and what is not safe is not acknowledged."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from producers.files.stop import Stop
from producers.mqtt.bridge import Batch, Bridge, Counts
from producers.mqtt.broker import BrokerGone
from producers.mqtt.messages import Message
from producers.mqtt.worker import MOST_HELD_BYTES, MOST_MESSAGES, Worker
from producers.spool.told import SpoolFull
from streamgage.errors import ConfigError


class Steps:
    """A clock that goes on with each look."""

    def __init__(self) -> None:
        self.time_ms = 0

    def now_ms(self) -> int:
        self.time_ms += 10
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.time_ms += duration_ms


class Client:
    """A broker's client: each step has the next of *script*, a list of messages or what is raised."""

    def __init__(self, stop: Stop, script: Sequence[list[Message] | Exception | str]) -> None:
        self.is_up = False
        self.worker: Worker
        self.acknowledged: list[int] = []
        self.published: list[str] = []
        self.log: list[str] = []
        self._stop, self._script = stop, list(script)

    def connect(self) -> None:
        self.log.append("connect")

    def step(self, timeout_s: float) -> None:
        assert timeout_s >= 0
        if not self._script:
            if not self._stop.asked:
                self._stop.ask(15)
            return
        match self._script.pop(0):
            case Exception() as error:
                self.is_up = False
                raise error
            case str(word):
                self.is_up = True
                self.worker.connected(is_resumed=word == "resumed")
            case messages:
                for each in messages:
                    self.worker.received(each)

    def acknowledge(self, packet_id: int) -> bool:
        if self.is_up:
            self.acknowledged.append(packet_id)
        return self.is_up

    def publish(self, topic: str, payload: bytes) -> None:
        assert payload
        self.published.append(topic)

    def disconnect(self) -> None:
        self.is_up = False
        self.log.append("disconnect")


class FakeBridge(Bridge):
    """Takes batches, or refuses some at first."""

    def __init__(self, refusals: int = 0) -> None:
        self.batches: list[int] = []
        self._refusals = refusals

    def commit(self, batch: Batch) -> None:
        if self._refusals:
            self._refusals -= 1
            raise SpoolFull("full")
        self.batches.append(len(batch.messages))
        batch.counts = Counts(messages=len(batch.messages))
        batch.rebirths_of = ["spBv1.0/g/NCMD/n"]


def message(packet_id: int, size: int = 1, **more: Any) -> Message:
    return Message("t", b"x" * size, 1, packet_id, 0, **more)


def run(
    script: Sequence[list[Message] | Exception | str], bridge: FakeBridge, **more: Any
) -> tuple[Client, Worker, list[str]]:
    stop, warnings = Stop(), list[str]()
    client = Client(stop, script)
    worker = Worker(
        bridge, clock=Steps(), wall_ms=lambda: 1, stop=stop, rng=random.Random(1), warn=warnings.append,
        tell=lambda _: None, **more,
    )  # fmt: skip
    client.worker = worker
    worker.run(client)
    return client, worker, warnings


def test_what_came_before_the_stop_is_safe_and_acknowledged_in_order() -> None:
    client, worker, _ = run(["new", [message(2), message(1), message(3)]], FakeBridge())
    assert (client.acknowledged, worker.counts.messages, worker.held) == ([2, 1, 3], 3, 0)
    assert client.log[-1] == "disconnect"


def test_a_spool_that_takes_nothing_delays_the_acknowledgement_and_is_told_once() -> None:
    client, _, warnings = run(["new", [message(1)]], FakeBridge(refusals=5))
    assert client.acknowledged == [1]
    assert warnings == ["full; nothing is acknowledged meanwhile"]


def test_batches_are_bounded() -> None:
    bridge = FakeBridge()
    run(["new", [message(each) for each in range(1, 2_501)]], bridge)
    assert bridge.batches == [MOST_MESSAGES, MOST_MESSAGES, 500]


def test_what_is_held_is_bounded_by_ending_the_connection() -> None:
    size = MOST_HELD_BYTES // 4
    bridge = FakeBridge(refusals=20)
    client, worker, _ = run(["new", [message(each, size) for each in range(1, 6)], "resumed"], bridge)
    assert "disconnect" in client.log[:-1]
    assert (worker.held, sum(bridge.batches)) == (0, 5)


def test_a_connection_that_is_lost_is_asked_for_again_and_told_once() -> None:
    gone = [BrokerGone("the broker: gone") for _ in range(6)]
    client, _, warnings = run([*gone, "resumed", [message(1)]], FakeBridge())
    assert (client.log.count("connect"), warnings) == (7, ["the broker: gone; it is tried again"])
    assert client.acknowledged == [1]


def test_what_is_stored_when_it_comes_again_is_acknowledged_and_not_taken_twice() -> None:
    bridge = FakeBridge(refusals=1)
    again = message(1, is_duplicate=True)
    script: list[list[Message] | Exception | str] = [
        "new",
        [message(1)],
        BrokerGone("gone"),
        "resumed",
        [again],
    ]
    client, worker, _ = run(script, bridge)
    assert (sum(bridge.batches), worker.counts.messages) == (1, 1)
    assert client.acknowledged == [1]


def test_a_session_that_the_broker_lost_is_told() -> None:
    _, _, warnings = run(["new"], FakeBridge(), had_session=True)
    assert "is lost" in warnings[0]
    assert run(["resumed"], FakeBridge(), had_session=True)[2] == []


def test_a_node_is_asked_for_its_births_once_a_minute_at_most() -> None:
    script: list[list[Message] | Exception | str] = ["new"]
    for each in range(1, 4):
        script += [[message(each)], *([[]] * 30)]
    client, _, _ = run(script, FakeBridge())
    assert client.published == ["spBv1.0/g/NCMD/n"]


def test_what_a_person_has_to_change_ends_it_and_the_connection() -> None:
    stop = Stop()
    client = Client(stop, ["new", ConfigError("no right")])
    worker = Worker(
        FakeBridge(),
        clock=Steps(),
        wall_ms=lambda: 1,
        stop=stop,
        rng=random.Random(1),
        warn=print,
        tell=lambda _: None,
    )
    client.worker = worker
    with pytest.raises(ConfigError, match="no right"):
        worker.run(client)
    assert client.log[-1] == "disconnect"
