"""How events come in: a way for one, a way for many, and what happens where there is no room."""

import logging
import time
from collections.abc import Sequence
from functools import partial

from producers.client.batcher import BLOCK_MEMORY
from producers.client.engine import Engine
from producers.client.many import RefusedEvent, RefusedEvents, take_many
from producers.client.outcomes import OnDelivery
from producers.sending.courier import Courier
from producers.sending.problems import BufferFull, ProducerClosed
from producers.sending.settings import ProducerConfig
from streamgage.definition.pipeline import Source
from streamgage.formats.avro import Event
from streamgage.records import SealedRecord

_LOG = logging.getLogger("streamgage.producer")


class Intake:
    """Takes events into *engine*, under the lock of *courier*. ``until_s`` are of time.monotonic; None is for ever."""

    def __init__(self, engine: Engine, courier: Courier, config: ProducerConfig) -> None:
        self.is_closed = False
        self._engine, self._courier, self._config = engine, courier, config

    def deadline_s(self, timeout_s: float | None) -> float | None:
        """Return until when to wait for room."""
        if timeout_s is None:
            timeout_s = 0 if self._config.when_full == "raise" else self._config.put_timeout_s
        return None if timeout_s is None else time.monotonic() + timeout_s

    def take(
        self,
        source: Source,
        event: Event,
        until_s: float | None,
        *,
        on_delivery: OnDelivery | None = None,
        raise_given_up: bool = True,
    ) -> None:
        """Take *event*. Raises: as ``Producer.put`` does."""
        courier = self._courier
        while True:
            with courier.lock:
                if self.is_closed or self._engine.outbox.given_up:
                    self.check(raise_given_up=raise_given_up)
                if not courier.is_full:
                    self._engine.take_event(source, event, on_delivery)
                    courier.noticed()
                    return
            self._wait_for_room(until_s)

    def take_many(self, source: Source, events: Sequence[Event], until_s: float | None) -> None:
        """Take *events*. Raises: as ``Producer.put_many`` does."""
        with self._courier.lock:
            self.check()
        taken, refused = 0, list[RefusedEvent]()

        def count(so_far: int) -> None:
            nonlocal taken
            taken = so_far

        def take_one(event: Event) -> None:
            try:
                self.take(source, event, until_s, raise_given_up=False)
            except ValueError as error:
                refused.append(RefusedEvent(taken + len(refused), error))
                raise

        try:
            take_many(events, partial(self._take_run, source), take_one, count)
        except BufferFull as full:
            raise BufferFull(str(full), done=taken + len(refused), refused=refused) from full
        if refused:
            raise RefusedEvents(refused, len(events))

    def take_sealed(self, record: SealedRecord, until_s: float | None) -> None:
        """Take *record*. Raises: as ``Producer.put_sealed`` does."""
        self._wait_for_room(until_s)
        with self._courier.lock:
            self.check(raise_given_up=False)
            self._engine.take_sealed(record)
        self._courier.wake()

    def check(self, *, raise_given_up: bool = True) -> None:
        """Raise what is to be raised before anything is taken: ProducerClosed, DeliveryError. The lock is held."""
        if self.is_closed:
            raise ProducerClosed("put() on a closed producer")
        if raise_given_up:
            self.raise_given_up()

    def raise_given_up(self) -> None:
        """Raise what was given up, if anything was. The lock is held."""
        if self._engine.outbox.given_up:
            raise self._engine.hand_back()

    def _take_run(self, source: Source, events: Sequence[Event]) -> int:
        courier = self._courier
        with courier.lock:
            self.check(raise_given_up=False)
            room_bytes = self._config.events_memory_bytes - self._engine.memory_bytes
            if room_bytes <= 0:
                return 0
            taken = self._engine.take_run(source, events, room_bytes=room_bytes // BLOCK_MEMORY)
            courier.noticed()
            return taken

    def _wait_for_room(self, until_s: float | None) -> None:
        courier = self._courier
        with courier.lock:
            if self._has_room():
                return
        left_s = None if until_s is None else max(until_s - time.monotonic(), 0)
        if not courier.wait(lambda: self.is_closed or self._has_room(), left_s):
            reason = self._engine.sender.waiting_for
            raise BufferFull(
                f"{self._engine.memory_bytes:,} bytes are held, of {self._config.max_memory_bytes:,} with the requests under "
                f"way{f' (a shard takes nothing: {reason})' if reason else ''}: the stream does not keep up. Try later, or "
                "give it more memory, or a spool"
            )

    def _has_room(self) -> bool:
        """Tell whether there is room, and make it where that is the rule: what is under way cannot be dropped."""
        if self._config.when_full == "drop_oldest":
            self._drop_oldest()
        return not self._courier.is_full

    def _drop_oldest(self) -> None:
        dropped = 0
        while self._courier.is_full and (events := self._engine.drop_oldest()):
            dropped += events
        if dropped:
            _LOG.warning("memory is full: %d events were dropped, the oldest", dropped)
