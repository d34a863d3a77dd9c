"""A message as the broker delivered it."""

import hashlib
from dataclasses import dataclass

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery of a message.

    ``packet_id`` is the broker's for this delivery, 0 with QoS 0. ``is_duplicate`` is DUP: an earlier delivery may have been
    seen. ``is_retained``: it was kept for who subscribes, and is no news. ``properties`` are the user properties of MQTT 5.
    ``arrived_ms`` is the time of day, ms since the epoch.
    """

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    arrived_ms: int
    is_duplicate: bool = False
    is_retained: bool = False
    properties: tuple[tuple[str, str], ...] = ()

    def is_same_as(self, other: "Message") -> bool:
        """Tell whether both are deliveries of equal bytes to one topic."""
        return (self.topic, self.payload, self.properties) == (other.topic, other.payload, other.properties)

    def property_named(self, name: str) -> str | None:
        """Return a user property; None where there is none."""
        return next((value for key, value in self.properties if key == name), None)


def digest(*parts: str | bytes) -> bytes:
    """Return 16 bytes that stand for *parts*: no two lists of parts are joined to the same."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        content = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        state.update(len(content).to_bytes(8, "big"))
        state.update(content)
    return state.digest()
