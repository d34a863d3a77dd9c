"""The real collector in a world: how it is made, what it is asked for by whom, and how it dies."""

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from producers.client.entry import PutEntry
from producers.client.kinesis import BotoKinesis
from producers.client.ports import PutResult
from producers.collector.collector import Collector
from producers.collector.durable import Durable
from producers.collector.keys import Keys, new_key
from producers.collector.message import Answer, Asked
from simulation.definition import pipeline
from simulation.sender import NotingPort, SkewedClock, Tallies
from simulation.stream import NAME, ProducerClient, Stream

HOUR_MS = 3_600_000
LINES = ("app", "web")
Told = Callable[[Answer | None], None]


class Host(Protocol):
    """Where a collector runs."""

    def take(self, asked: Asked, told: Told) -> None:
        """Answer *asked*, now or later; *told* None, it died meanwhile."""

    def check_idle(self) -> None:
        """Check that nothing waits any more."""

    def close(self) -> None:
        """Leave nothing behind."""


class ApiKeys:
    """The API keys of a collector: two lines of them, either of which may be rotated."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.keys = Keys()
        self._presented: dict[str, list[str]] = {line: [] for line in LINES}
        for line in LINES:
            self._make(line, line)

    def rotate(self, line: str, now_ms: int) -> None:
        """Make a key in place of the last one of *line*, which holds for an hour."""
        last = [each.id for each in self.keys.entries if each.line == line][-1]
        self.keys = self.keys.until(last, now_ms + HOUR_MS)
        self._make(line, f"{line}-{len(self._presented[line])}")

    def of_now(self) -> Keys:
        """Return the keys of now, as a collector reads them."""
        return self.keys

    def presented(self, line: str, rng: random.Random, *, newest: bool) -> str:
        """Return what a client of *line* presents."""
        return self._presented[line][-1] if newest else rng.choice(self._presented[line])

    def _make(self, line: str, key_id: str) -> None:
        rotated_from = None if key_id == line else line
        key, presented = new_key(key_id, self._rng.randbytes(32), made_ms=1, rotated_from=rotated_from)
        self.keys = self.keys.plus(key)
        self._presented[line].append(presented)


class MortalPort(NotingPort):
    """The way to Kinesis of a process that may be killed before and after each call."""

    def __init__(self, stream: Stream, tally: Tallies, strike: Callable[[], None]) -> None:
        super().__init__(BotoKinesis(ProducerClient(stream), NAME), tally)
        self._strike = strike

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        self._strike()
        try:
            return super().put_records(entries)
        finally:  # whoever died meanwhile hears of no answer, and of no error
            self._strike()


def collector_of(durable: Durable, keys: ApiKeys, clock: SkewedClock) -> Collector:
    """Return the real collector over *durable*."""
    return Collector(
        pipeline(),
        durable,
        keys=keys.of_now,
        now_ms=clock.now_ms,
        clock_s=lambda: clock.now_ms() / 1000,
    )
