"""What became of an event that somebody wants to know of."""

from collections.abc import Callable
from dataclasses import dataclass

from streamgage.errors import DeliveryError


@dataclass(frozen=True, slots=True)
class Delivered:
    """The event is safe: in the stream, at the sequence number of its Kinesis record; or, where both are None, in the spool."""

    shard_id: str | None = None
    sequence_number: int | None = None


Outcome = Delivered | DeliveryError
OnDelivery = Callable[[Outcome], None]
"""Told once what became of an event, on the producer's thread: it must not wait, and not call the producer."""
