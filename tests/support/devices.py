"""Simulated devices: each a client of its own with QoS 1, which sends again what the broker did not acknowledge."""

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

START_MS = 1_767_225_600_000
_PATIENCE_S = 180.0


class Devices:
    """*count* devices, driven by one thread: ``send`` publishes a message of each, ``settle`` waits for the broker to have all."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._clients = [self._client(number) for number in range(count)]
        self.sent = self.acknowledged = 0
        for client in self._clients:
            client.connect("127.0.0.1", port)

    def _client(self, number: int) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, f"device-{number}", clean_session=False)
        client.max_inflight_messages_set(0)
        client.on_publish = self._note
        return client

    def _note(self, *_: object) -> None:
        self.acknowledged += 1

    def send(self) -> None:
        """Have each device publish its next message. It is numbered: its id, and its value."""
        for number, client in enumerate(self._clients):
            event = {"id": self.sent, "ts": START_MS + self.sent, "value": float(self.sent)}
            client.publish(f"plant/d{number}/reading", json.dumps(event), qos=1)
            self.sent += 1
        self.drive()

    def drive(self) -> None:
        """Let each client do what there is to do; connect those that lost the broker."""
        for client in self._clients:
            if client.loop(0) != paho.MQTT_ERR_SUCCESS:
                with contextlib.suppress(OSError):
                    client.reconnect()

    def settle(self) -> None:
        """Return once the broker has acknowledged everything."""
        until(lambda: self.acknowledged == self.sent, meanwhile=self.drive)

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
