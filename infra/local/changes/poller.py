"""Gathers what changed into batches, and gives each to the function: news, so what is old or fails too often is dropped.

Nothing here holds up who writes: the log that is read is bounded, and whoever is too slow for it goes on at its end.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from infra.local.changes.event import Record, created_ms, encode_event
from infra.local.changes.mapping import ChangesMapping
from infra.local.function.outcome import Answered
from infra.local.function.pool import Invoked

PAYLOAD_BYTES = 6 * 1024 * 1024
IDLE_S = 0.25
"""How long a stream without news is left alone: Lambda asks four times a second."""
_RETRY_FIRST_S, _RETRY_MAX_S = 0.2, 10.0


class Reader(Protocol):
    """A table's stream, read from its end on."""

    def read(self) -> Sequence[Record]:
        """Return what has come since; nothing where it cannot be read just now."""

    @property
    def stream_arn(self) -> str:
        """The stream that was read last."""


class Pool(Protocol):
    """Sandboxes of one function."""

    def invoke(self, request_id: str, payload: bytes) -> Invoked:
        """Run the function once."""


@dataclass(slots=True)
class Counts:
    """What became of all that was read: the sum of ``told``, ``too_old`` and ``given_up`` lags behind ``read``."""

    read: int = 0
    told: int = 0
    too_old: int = 0
    given_up: int = 0
    invocations: int = 0
    last_error: str | None = None


class Poller:
    """Runs *mapping* between *reader* and *pool*. ``run`` in a thread of its own until *stopping* is set.

    *new_id* names an invocation; *now_ms* is the time of day, *steady_s* a clock that never goes back.
    """

    def __init__(
        self,
        reader: Reader,
        pool: Pool,
        mapping: ChangesMapping,
        *,
        stopping: threading.Event,
        new_id: Callable[[], str],
        now_ms: Callable[[], int],
        steady_s: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._reader, self._pool, self._mapping, self._stopping = reader, pool, mapping, stopping
        self._new_id, self._now_ms, self._steady_s, self._say = new_id, now_ms, steady_s, say
        self._pending: deque[Record] = deque()
        self._since_s = 0.0
        self.counts = Counts()

    def run(self) -> None:
        """Tell what changes, until stopped."""
        while not self._stopping.is_set():
            if not self.step():
                self._stopping.wait(IDLE_S)

    def step(self) -> bool:
        """Read once, and tell a batch where it is full or its window is over; return whether there may be more at once."""
        found = self._reader.read() if len(self._pending) < self._mapping.batch_size else []
        self.counts.read += len(found)
        if found and not self._pending:
            self._since_s = self._steady_s()
        self._pending += found
        is_full = len(self._pending) >= self._mapping.batch_size
        if not self._pending or not (
            is_full or self._steady_s() - self._since_s >= self._mapping.window_ms / 1000
        ):
            return False
        batch = [self._pending.popleft() for _ in range(min(len(self._pending), self._mapping.batch_size))]
        self._tell(batch)
        return True

    def _tell(self, batch: list[Record]) -> None:
        """Have the function take *batch*, in two where it is too large for one."""
        failures = 0
        while batch := self._young(batch):
            payload = encode_event(batch, self._reader.stream_arn)
            if len(payload) > PAYLOAD_BYTES and len(batch) > 1:
                half = len(batch) // 2
                self._tell(batch[:half])
                self._tell(batch[half:])
                return
            self.counts.invocations += 1
            outcome = self._pool.invoke(self._new_id(), payload).outcome
            if isinstance(outcome, Answered):
                self.counts.told += len(batch)
                return
            failures += 1
            self.counts.last_error = outcome.message
            if self._stopping.is_set() or -1 < self._mapping.max_retry_attempts < failures:
                self.counts.given_up += len(batch)
                self._say(f"{len(batch)} changes are not told, after {failures} attempts: {outcome.message}")
                return
            self._stopping.wait(min(_RETRY_MAX_S, _RETRY_FIRST_S * 2.0 ** min(failures - 1, 16)))

    def _young(self, batch: list[Record]) -> list[Record]:
        """Return those of *batch* that are news still."""
        age_ms = self._mapping.max_record_age_ms
        if age_ms < 0:
            return batch
        oldest_ms = self._now_ms() - age_ms
        young = [each for each in batch if created_ms(each) >= oldest_ms]
        self.counts.too_old += len(batch) - len(young)
        return young
