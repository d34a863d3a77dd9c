"""Simulated devices: each a client of its own with QoS 1, which sends again what the broker did not acknowledge."""

import contextlib
import json
import select
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

START_MS = 1_767_225_600_000
_PATIENCE_S = 240.0


class Devices:
    """*count* devices, driven by one thread: ``send`` publishes a message of each, ``settle`` waits for the broker to have all."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._clients = [self._client(number) for number in range(count)]
        self.sent = 0
        self._acknowledged: set[tuple[int, int]] = set()
        for client in self._clients:
            client.connect("127.0.0.1", port)

    def _client(self, number: int) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, f"device-{number}", clean_session=False)
        client.max_inflight_messages_set(0)
        client.on_publish = lambda _, __, packet_id, *___: self._acknowledged.add((number, packet_id))
        return client

    def send(self) -> None:
        """Have each device publish its next message, once the broker has its last. It is numbered: its id, and its value."""
        self.settle()
        for number, client in enumerate(self._clients):
            event = {"id": self.sent, "ts": START_MS + self.sent, "value": float(self.sent)}
            client.publish(f"plant/d{number}/reading", json.dumps(event), qos=1)
            self.sent += 1
        self.drive()

    def drive(self) -> None:
        """Let each client do what there is to do; connect those that lost the broker."""
        poll = select.poll()  # paho's own loop selects, which ends at 1,024 descriptors
        by_file = {}
        for client in self._clients:
            if (sock := client.socket()) is not None:
                poll.register(sock, select.POLLIN)
                by_file[sock.fileno()] = client
        for file, _ in poll.poll(0):
            by_file[file].loop_read()
        for client in self._clients:
            if client.want_write():
                client.loop_write()
            if client.loop_misc() != paho.MQTT_ERR_SUCCESS or client.socket() is None:
                with contextlib.suppress(OSError):
                    client.reconnect()

    def settle(self) -> None:
        """Return once the broker has acknowledged everything."""
        until(lambda: len(self._acknowledged) == self.sent, meanwhile=self.drive)

    def close(self) -> None:
        for client in self._clients:
            client.disconnect()


def until(is_so: Callable[[], Any], meanwhile: Callable[[], Any] = lambda: None) -> None:
    """Return once it is so; fail after minutes."""
    until_s = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < until_s
        meanwhile()
        time.sleep(0.01)
