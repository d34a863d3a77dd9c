"""The client of a broker, before one that speaks as much MQTT as is needed to subscribe."""

import random
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress

import pytest

from producers.client.identity import Identity
from producers.mqtt.broker import Broker
from producers.mqtt.messages import Message
from producers.mqtt.reading import Reader
from producers.mqtt.routes_toml import subscriptions_of
from producers.mqtt.sealing import Sealer
from producers.mqtt.settings import BrokerSettings
from streamgage.errors import ConfigError
from streamgage.shards import ShardMap
from support.counting import HALVES
from support.sending import ROWS

PATIENCE_S = 60.0
CONNECT, SUBSCRIBE = 1, 8
NOW_MS = 1_767_225_600_000


class Listener:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[Message] = []

    def connected(self, *, is_resumed: bool) -> None:
        """Do nothing."""

    def received(self, message: Message) -> None:
        """Note it."""
        self.heard.append(message)


def packets(sock: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the rest of each packet of MQTT 3.1.1, all of them of 127 bytes at most."""
    with sock.makefile("rb") as file:
        while head := file.read(2):
            yield head[0] >> 4, file.read(head[1])


def filters_of(rest: bytes) -> list[str]:
    """Return the filters of a SUBSCRIBE: each a length, a text, and a QoS."""
    found, at = [], 2
    while at < len(rest):
        end = at + 2 + int.from_bytes(rest[at : at + 2], "big")
        found.append(rest[at + 2 : end].decode())
        at = end + 1
    return found


@contextmanager
def served(answer: Callable[[socket.socket, int, bytes], None]) -> Iterator[int]:
    """Yield the port of a broker that takes one client, and does what *answer* does with each packet after the first."""

    def serve(server: socket.socket) -> None:
        sock, _ = server.accept()
        with sock, suppress(ConnectionResetError):  # the client leaves
            for kind, rest in packets(sock):
                if kind == CONNECT:
                    sock.sendall(b"\x20\x02\x00\x00")
                else:
                    answer(sock, kind, rest)

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(PATIENCE_S)
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def grant(sock: socket.socket, rest: bytes) -> list[str]:
    """Answer a SUBSCRIBE with QoS 1; return its filters."""
    found = filters_of(rest)
    sock.sendall(b"\x90" + bytes((2 + len(found),)) + rest[:2] + b"\x01" * len(found))
    return found


def run(port: int, topics: Sequence[str], listener: Listener, *, until: Callable[[], bool]) -> None:
    """Be a client of the broker at *port* until then."""
    settings = BrokerSettings("127.0.0.1", port, version="3.1.1")
    broker = Broker(settings, topics, listener, now_ms=lambda: 0)
    broker.connect()
    try:
        while not until():
            broker.step(0.05)
    finally:
        broker.disconnect()


def test_a_subscribe_has_no_more_filters_than_aws_iot_core_takes() -> None:
    asked: list[list[str]] = []
    topics = [f"t/{number}" for number in range(19)]

    def answer(sock: socket.socket, kind: int, rest: bytes) -> None:
        if kind == SUBSCRIBE:
            asked.append(grant(sock, rest))

    with served(answer) as port:
        run(port, topics, Listener(), until=lambda: sum(map(len, asked)) == len(topics))
    assert [len(each) for each in asked] == [8, 8, 3]
    assert [topic for each in asked for topic in each] == topics


def test_a_filter_that_is_refused_ends_a_first_start_whichever_subscribe_it_is_of() -> None:
    """Tried again for ever, nobody would learn of it: the topics of the others come in."""

    def answer(sock: socket.socket, kind: int, rest: bytes) -> None:
        if kind == SUBSCRIBE and "t/9" in filters_of(rest):
            sock.sendall(b"\x90\x04" + rest[:2] + b"\x01\x80")
        elif kind == SUBSCRIBE:
            grant(sock, rest)

    topics = [f"t/{number}" for number in range(10)]
    with served(answer) as port, pytest.raises(ConfigError, match="refuses the subscription to t/9"):
        run(port, topics, Listener(), until=lambda: False)


def test_a_topic_that_is_no_text_ends_nothing_and_no_event_holds_it() -> None:
    listener = Listener()

    def answer(sock: socket.socket, kind: int, rest: bytes) -> None:
        if kind == SUBSCRIBE:
            grant(sock, rest)
            sock.sendall(b"\x30\x08\x00\x03t/\xff20." + b"\x30\x08\x00\x03t/a20.")

    with served(answer) as port:
        run(port, ["t/+"], listener, until=lambda: len(listener.heard) == 2)
    assert [each.topic for each in listener.heard] == ["t/\udcff", "t/a"]
    table = {
        "topic": "t/+",
        "source": "reading",
        "payload": "number",
        "fields": {"device_id": "topic:2", "metric": "text:m", "ts": "arrival", "value": "value"},
    }
    sealer = Sealer(ROWS, ShardMap(HALVES), Identity(random.Random(1)))
    (read,) = Reader(subscriptions_of([table], ROWS.sources)).read(listener.heard[0]).events
    with pytest.raises(ValueError, match="surrogates"):
        sealer.put(read.source, read.event, NOW_MS)
