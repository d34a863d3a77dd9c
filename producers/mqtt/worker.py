"""The loop: messages are gathered, made safe, and acknowledged; the connection is kept up; nothing is held without bound."""

import random
from collections.abc import Callable
from typing import Protocol

from producers.clock import Clock
from producers.files.stop import Stop
from producers.mqtt.bridge import Batch, Bridge, Counts
from producers.mqtt.broker import BrokerGone
from producers.mqtt.messages import Message
from producers.mqtt.session import Session
from producers.mqtt.sparkplug.payload import rebirth_command
from producers.spool.told import SpoolError

LINGER_MS = 100
MOST_MESSAGES, MOST_BYTES = 1_000, 4 << 20  # of a batch
MOST_HELD_BYTES = 32 << 20  # beyond, the connection is ended until the spool takes more
MOST_HELD_MESSAGES = 100_000
_STEP_S = 0.05
_AGAIN_MS = 500  # after a spool that takes nothing
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 500, 60_000
_REBIRTH_MS = 60_000  # between two requests to one node
_MESSAGE_BYTES = 500  # of the objects around a payload


class Client(Protocol):
    """The broker's client: a Broker."""

    @property
    def is_up(self) -> bool:
        """Whether there is a connection that the broker took."""

    def connect(self) -> None:
        """Ask for a connection. Raises: BrokerGone, ConfigError."""

    def step(self, timeout_s: float) -> None:
        """Read and write what there is. Raises: BrokerGone, ConfigError."""

    def acknowledge(self, packet_id: int) -> bool:
        """Acknowledge; return whether that is on its way."""

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish once."""

    def disconnect(self) -> None:
        """End the connection."""


class Worker:
    """Carries messages from a client to a bridge, until it is stopped. ``counts`` are of what is committed."""

    def __init__(
        self,
        bridge: Bridge,
        *,
        clock: Clock,
        wall_ms: Callable[[], int],
        stop: Stop,
        rng: random.Random,
        warn: Callable[[str], None],
        tell: Callable[["Worker"], None],
        had_session: bool = False,
    ) -> None:
        """Have a *client* before ``run``: it is made with this as its listener.

        Args:
            bridge: makes batches safe.
            clock: measures.
            wall_ms: the time of day, ms since the epoch.
            stop: the wish to end.
            rng: dice for pauses.
            warn: told of what a person should know.
            tell: called again and again; says how it stands, when it likes.
            had_session: the broker keeps a session of an earlier run.
        """
        self.counts = Counts()
        self.waiting_for: str | None = "broker"
        self.session = Session()
        self._bridge, self._clock, self._wall_ms, self._stop = bridge, clock, wall_ms, stop
        self._rng, self._warn, self._tell = rng, warn, tell
        self._arrived: list[Message] = []
        self._arrived_ms = self._held_bytes = 0
        self._batch: Batch | None = None
        self._stored_before: list[int] = []  # came again on this connection, and are safe
        self._not_before_ms = self._connect_ms = 0  # of the next commit, of the next connection
        self._failures = 0
        self._is_connecting = False
        self.has_session = had_session
        self._reborn_ms: dict[str, int] = {}

    @property
    def held(self) -> int:
        """How many messages came and are not safe yet."""
        return len(self._arrived) + (0 if self._batch is None else len(self._batch.messages))

    @property
    def is_between(self) -> bool:
        """Whether no batch is on its way."""
        return self._batch is None

    def run(self, client: Client) -> None:
        """Work until a stop is asked for, and what came by then is safe and acknowledged; then disconnect.

        Raises: ConfigError, a person has to change something; QuarantineFull is one.
        """
        try:
            while not self._stop.asked or (self._has_work() and not self._stop.insisted):
                self._turn(client)
                self._tell(self)
        finally:
            client.disconnect()

    def connected(self, *, is_resumed: bool) -> None:
        """Begin a connection: the client calls it."""
        if not is_resumed and self.has_session:
            self._warn(
                "the broker has no session of this client any more: what was published while nobody was connected is lost"
            )
        self.has_session = True
        self._stored_before.clear()
        self.session.connected(is_resumed=is_resumed)
        self._is_connecting, self._failures = False, 0

    def received(self, message: Message) -> None:
        """Take a message: the client calls it."""
        match self.session.received(message):
            case "take":
                if not self._arrived:
                    self._arrived_ms = self._clock.now_ms()
                self._arrived.append(message)
                self._held_bytes += _size(message)
            case "acknowledge":
                self._stored_before.append(message.packet_id)
            case "wait":
                pass

    def _has_work(self) -> bool:
        return bool(self._arrived) or self._batch is not None

    def _turn(self, client: Client) -> None:
        is_full = self._held_bytes > MOST_HELD_BYTES or self.held > MOST_HELD_MESSAGES
        if is_full and client.is_up:
            client.disconnect()
            self.session.disconnected()
        if not is_full and not self._stop.asked and not client.is_up and not self._is_connecting:
            self._connect(client)
        if client.is_up or self._is_connecting:
            self._step(client)
        else:
            self._clock.sleep_ms(int(_STEP_S * 1000))
        stored, self._stored_before = self._stored_before, []
        for packet_id in stored:
            self._acknowledge(client, packet_id)
        self._work(client)

    def _connect(self, client: Client) -> None:
        if self._clock.now_ms() < self._connect_ms:
            return
        try:
            client.connect()
            self._is_connecting = True
        except BrokerGone as error:
            self._lost(error)

    def _step(self, client: Client) -> None:
        try:
            client.step(0.0 if self._is_due() else _STEP_S)
        except BrokerGone as error:
            self._lost(error)

    def _lost(self, error: BrokerGone) -> None:
        """Wait before the next connection, for longer each time."""
        self._is_connecting = False
        self.session.disconnected()
        if not self._failures:
            self._warn(f"{error}; it is tried again")
        longest_ms = min(_LONGEST_PAUSE_MS, _FIRST_PAUSE_MS << min(self._failures, 16))
        self._failures += 1
        self._connect_ms = self._clock.now_ms() + self._rng.randint(longest_ms // 2, longest_ms)

    def _is_due(self) -> bool:
        """Tell whether what came is to be committed, however little it is."""
        if self._batch is not None:
            return self._clock.now_ms() >= self._not_before_ms
        return bool(self._arrived) and (
            self._stop.asked
            or len(self._arrived) >= MOST_MESSAGES
            or self._held_bytes >= MOST_BYTES
            or self._clock.now_ms() - self._arrived_ms >= LINGER_MS
        )

    def _work(self, client: Client) -> None:
        if not self._is_due():
            self.waiting_for = self._waits(client)
            return
        if self._batch is None:
            self._batch = Batch(self._next_messages())
        try:
            self._bridge.commit(self._batch)
        except SpoolError as error:
            if self.waiting_for != error.code:
                self._warn(f"{error}; nothing is acknowledged meanwhile")
            self.waiting_for = error.code
            self._not_before_ms = self._clock.now_ms() + _AGAIN_MS
            return
        batch, self._batch = self._batch, None
        self._held_bytes -= sum(map(_size, batch.messages))
        self._not_before_ms = 0
        self.counts.add(batch.counts)
        for message in batch.messages:
            if self.session.stored(message):
                self._acknowledge(client, message.packet_id)
        self._ask_rebirths(client, batch.rebirths_of)
        self.waiting_for = self._waits(client)

    def _waits(self, client: Client) -> str | None:
        return self.waiting_for if self._batch is not None else None if client.is_up else "broker"

    def _next_messages(self) -> list[Message]:
        size, number = 0, 0
        for message in self._arrived[:MOST_MESSAGES]:
            size += _size(message)
            if number and size > MOST_BYTES:
                break
            number += 1
        messages, self._arrived = self._arrived[:number], self._arrived[number:]
        return messages

    def _acknowledge(self, client: Client, packet_id: int) -> None:
        if client.acknowledge(packet_id):
            self.session.acknowledged(packet_id)

    def _ask_rebirths(self, client: Client, topics: list[str]) -> None:
        now_ms = self._clock.now_ms()
        for topic in dict.fromkeys(topics):
            if client.is_up and now_ms - self._reborn_ms.get(topic, -_REBIRTH_MS) >= _REBIRTH_MS:
                self._reborn_ms[topic] = now_ms
                client.publish(topic, rebirth_command(self._wall_ms()))


def _size(message: Message) -> int:
    return len(message.payload) + len(message.topic) + _MESSAGE_BYTES
