"""Everything that sends: the library, files, simulators, and their command line.

``Producer`` is what a program sends with; the rest of ``__all__`` is what it takes and raises, and what is told of an event.
Each is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from producers.client.many import RefusedEvents
    from producers.client.outbox import RetryConfig
    from producers.client.outcomes import Delivered
    from producers.client.settings import ProducerStats
    from producers.sending.problems import BufferFull, NotYetStored, ProducerClosed
    from producers.sending.producer import Producer
    from producers.sending.settings import ProducerConfig
    from streamgage.errors import ConfigError, DeliveryError, RetryableError

__all__ = [
    "BufferFull",
    "ConfigError",
    "Delivered",
    "DeliveryError",
    "NotYetStored",
    "Producer",
    "ProducerClosed",
    "ProducerConfig",
    "ProducerStats",
    "RefusedEvents",
    "RetryConfig",
    "RetryableError",
]

_HOMES = {
    "BufferFull": "producers.sending.problems",
    "ConfigError": "streamgage.errors",
    "Delivered": "producers.client.outcomes",
    "DeliveryError": "streamgage.errors",
    "NotYetStored": "producers.sending.problems",
    "Producer": "producers.sending.producer",
    "ProducerClosed": "producers.sending.problems",
    "ProducerConfig": "producers.sending.settings",
    "ProducerStats": "producers.client.settings",
    "RefusedEvents": "producers.client.many",
    "RetryConfig": "producers.client.outbox",
    "RetryableError": "streamgage.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'producers' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
