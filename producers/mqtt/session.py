"""What is owed to the broker: which deliveries are held, and which may be acknowledged now. No I/O, no clock.

A packet id means something within one session only. So what was received before the session was lost is never acknowledged:
the id may be another message's by then. And until a delivery is acknowledged its id is taken:

    "the Client and Server MUST resend any unacknowledged PUBLISH packets (where QoS > 0) […] using their original Packet
    Identifiers" [MQTT-4.4.0-1]

so one that comes again with DUP under an id that was never acknowledged is the same, and is not taken twice.
"""

from dataclasses import dataclass
from typing import Literal

from producers.mqtt.messages import Message


@dataclass(slots=True)
class _Held:
    message: Message
    is_current: bool = True  # the broker sent it on this connection: it may be acknowledged on it
    is_stored: bool = False


class Session:
    """The deliveries with QoS 1 that were received and not acknowledged, by packet id.

    The caller tells of each connection and its end, of each delivery, each that is stored, and each acknowledgement it sent.
    """

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}

    def __len__(self) -> int:
        """How many are held."""
        return len(self._held)

    def connected(self, *, is_resumed: bool) -> None:
        """Begin a connection. Not *is_resumed*: the broker has no session of ours, and what it meant by its ids is gone."""
        if not is_resumed:
            self._held.clear()
        self.disconnected()

    def disconnected(self) -> None:
        """End a connection: what is held is acknowledged once it comes again."""
        for each in self._held.values():
            each.is_current = False

    def received(self, message: Message) -> Literal["take", "wait", "acknowledge"]:
        """Return what to do with *message*: it is new, or being stored, or stored."""
        if message.qos == 0:
            return "take"
        held = self._held.get(message.packet_id)
        if held is None or not message.is_duplicate or not held.message.is_same_as(message):
            self._held[message.packet_id] = _Held(message)
            return "take"
        held.is_current = True
        return "acknowledge" if held.is_stored else "wait"

    def stored(self, message: Message) -> bool:
        """Take note that *message* is safe; return whether to acknowledge it now."""
        held = self._held.get(message.packet_id) if message.qos else None
        if held is None or held.message is not message:
            return False  # of a session that is gone
        held.is_stored = True
        return held.is_current

    def acknowledged(self, packet_id: int) -> None:
        """Take note that the acknowledgement was sent."""
        self._held.pop(packet_id, None)
