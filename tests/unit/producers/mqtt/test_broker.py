"""The client of a broker, before one that speaks as much MQTT as is needed to subscribe."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

from producers.mqtt.broker import Broker
from producers.mqtt.messages import Message
from producers.mqtt.settings import BrokerSettings

PATIENCE_S = 60.0
CONNECT, SUBSCRIBE = 1, 8


class Nobody:
    """A listener."""

    def connected(self, *, is_resumed: bool) -> None:
        """Do nothing."""

    def received(self, message: Message) -> None:
        """Do nothing."""


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


def test_a_subscribe_has_no_more_filters_than_aws_iot_core_takes() -> None:
    asked: list[list[str]] = []
    topics = [f"t/{number}" for number in range(19)]
    all_asked = threading.Event()

    def serve(server: socket.socket) -> None:
        sock, _ = server.accept()
        with sock, suppress(ConnectionResetError):  # the client leaves
            for kind, rest in packets(sock):
                if kind == CONNECT:
                    sock.sendall(b"\x20\x02\x00\x00")
                elif kind == SUBSCRIBE:
                    asked.append(filters_of(rest))
                    sock.sendall(b"\x90" + bytes((2 + len(asked[-1]),)) + rest[:2] + b"\x01" * len(asked[-1]))
                    if sum(map(len, asked)) == len(topics):
                        all_asked.set()

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(PATIENCE_S)
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        settings = BrokerSettings("127.0.0.1", server.getsockname()[1], version="3.1.1")
        broker = Broker(settings, topics, Nobody(), now_ms=lambda: 0)
        broker.connect()
        while not all_asked.is_set() and thread.is_alive():
            broker.step(0.05)
        broker.disconnect()
        thread.join(PATIENCE_S)
    assert [len(each) for each in asked] == [8, 8, 3]
    assert [topic for each in asked for topic in each] == topics
