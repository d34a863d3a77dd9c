"""The library as a program holds it, in a world: ``Producer`` without threads. Who has it takes its turns, in virtual time."""

import atexit
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from producers import Producer, ProducerConfig
from producers.client.core import ProducerCore
from producers.client.encoder import encoder_of
from producers.client.engine import Engine
from producers.client.outcomes import OnDelivery
from producers.client.settings import CoreConfig
from simulation.definition import Sent, pipeline
from streamgage.records import SealedRecord

_MEMORY_A_BYTE = (
    6  # what a small user record takes while it waits: its price, by the bytes that Kinesis counts
)


@dataclass(frozen=True, slots=True)
class WorldConfig(ProducerConfig):
    """Sizes as a world draws them, smaller than anybody's; no threads."""

    engine: CoreConfig = field(default_factory=CoreConfig)
    forwarder: CoreConfig = field(default_factory=CoreConfig)

    @property
    def events_memory_bytes(self) -> int:
        """What events may take."""
        return _MEMORY_A_BYTE * self.engine.max_buffered_bytes

    def core(self) -> CoreConfig:
        """Return how the engine sends."""
        return replace(self.engine, concurrency=1, paced=True)

    def forwarding(self) -> CoreConfig:
        """Return how a spool is sent."""
        return replace(self.forwarder, concurrency=1, paced=True)


class Faced:
    """A Producer whose thread is its holder, and which takes what no event stands for, too: poison, and what agents write."""

    def __init__(self, port: Any, config: WorldConfig, **options: Any) -> None:
        self.producer = Producer.over(port, pipeline=pipeline(), config=config, **options)
        self._engine, self._courier = self.producer._engine, self.producer._courier

    @property
    def buffered_bytes(self) -> int:
        """All that is held and not known to be stored, or in the spool."""
        return self._engine.buffered_bytes

    def put(self, sent: Sent, on_delivery: OnDelivery | None = None) -> None:
        """Put it, as an event where it is one. Raises: DeliveryError, of others; it was not taken."""
        record, event = sent.record, sent.event
        if event is not None and not sent.more and record.explicit_hash_key is None and _is_plain(sent):
            self.producer.put(sent.source, event, on_delivery=on_delivery)
            return
        with self._courier.lock:
            self.producer._intake.check()
            self._engine.take(record, on_delivery)
            self._courier.noticed()

    def turn(self) -> None:
        """Do what its thread would do now. What was given up is raised by the next ``put``, or ``close``."""
        self._courier.turn()

    def next_due_ms(self) -> int | None:
        """Return when there will be something to do, on the clock; None: that is up to others."""
        return self._engine.next_due_ms()

    def forget(self) -> None:
        """The process is gone: nothing of it is sent, or closed."""
        cores: tuple[Engine | ProducerCore, ...] = (self._engine,)
        if (kept := self.producer._forwarding) is not None:
            cores += (kept.core,)
        for each in cores:
            each.divert(forget)
        atexit.unregister(self.producer._at_exit)
        self.producer._ended = True


def forget(_: Sequence[SealedRecord]) -> None:
    """Forget what was in the memory of a process that is gone."""


def _is_plain(sent: Sent) -> bool:
    try:
        return encoder_of(pipeline().sources[sent.source]).user_record(sent.event or {}) == sent.record
    except ValueError:
        return False
