"""A sender that keeps what it accepts in a spool: the real spool, forwarder and producer, in a process that dies.

It is killed before or after any call of its spool, and of Kinesis; what was in its memory is gone, and what it had accepted
must not be. Sometimes it then starts from an old copy of its spool: what is only in the newer one is lost by that, and what
was sent since the copy is sent again. The disk is a real file; a kill within SQLite, and a power cut, are tested elsewhere.
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from producers.client.entry import PutEntry, user_records_of
from producers.client.kinesis import BotoKinesis
from producers.client.outbox import RetryConfig
from producers.client.ports import PutResult
from producers.client.settings import CoreConfig, ProducerStats
from producers.spool.remembered import Remembered
from producers.spool.row import Spooled
from producers.spool.spool import Spool
from simulation.definition import Sent
from simulation.faced import Faced, WorldConfig
from simulation.plan import Dice, Plan
from simulation.schedule import SimulationError
from simulation.sender import NotingPort, SkewedClock, Tallies, batching_of
from simulation.stream import NAME, ProducerClient, Stream
from streamgage.records import SealedRecord, UserRecord

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
logging.getLogger("streamgage.spool").addHandler(
    logging.NullHandler()
)  # that nothing is sent is no news here
_COPIED = 0.3  # of the appends
_NEVER_MS = 2**62
GIVES_UP_MS = 1_000


def _nobody_dies() -> None: ...


class Killed(BaseException):
    """The process is gone. Nothing that handles errors handles it."""


class MortalSpool(Spool):
    """A spool in a process that may be killed before and after each call."""

    strike: Callable[[], None]
    comes: Callable[[Sequence[SealedRecord]], None]
    accepted: Callable[[Sequence[SealedRecord]], None]

    def append(
        self,
        records: Sequence[SealedRecord],
        *,
        priority: int = 0,
        remember: Sequence[Remembered] = (),
    ) -> None:
        self.comes(records)
        self.strike()
        super().append(records, priority=priority, remember=remember)
        self.strike()
        self.accepted(records)

    def head(self, max_bytes: int, max_records: int, *, skip: Collection[int] = ()) -> Sequence[Spooled]:
        self.strike()
        return super().head(max_bytes, max_records, skip=skip)

    def remove(self, ids: Iterable[int]) -> None:
        self.strike()
        super().remove(ids)
        self.strike()

    def held(self) -> dict[bytes, SealedRecord]:
        """Return all that is in it, by its data; nobody dies meanwhile."""
        strike, self.strike = self.strike, _nobody_dies
        try:
            return {each.record.data: each.record for each in self.records()}
        finally:
            self.strike = strike


class _OrderedPort(NotingPort):
    """Watches that a shard is first sent each record in the order in which the spool took them, while none is resharded."""

    def __init__(self, sender: "SpooledSender", stream: Stream, tally: Tallies) -> None:
        super().__init__(BotoKinesis(ProducerClient(stream), NAME), tally)
        self._sender = sender

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        self._sender.strike()
        for entry in entries:
            self._sender.sending(entry)
        results = super().put_records(entries)
        self._sender.strike()
        return results


class SpooledSender:
    """A process that accepts events, seals them into its spool, and carries the spool to the stream; again and again."""

    def __init__(
        self, plan: Plan, stream: Stream, tally: Tallies, dice: Dice, *, skew_ms: int, rng: random.Random
    ) -> None:
        self.clock = SkewedClock(stream.scheduler, skew_ms)
        self._plan, self._stream, self._tally, self._dice, self._rng = plan, stream, tally, dice, rng
        self._scheduler = stream.scheduler
        self._folder = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self._path = Path(self._folder.name) / "spool.db"
        self._waiting: deque[Sent] = deque()
        self._sent: dict[bytes, Sent] = {}
        self._numbers: dict[bytes, int] = {}
        self._attempted: dict[str, int] = {}
        self._ever_attempted: set[bytes] = set()
        self._copy: dict[Path, bytes] = {}
        self._is_resharded = any(plan.rates.get(each) for each in ("split", "merge", "remerge"))
        self._is_copied = bool(plan.rates.get("spool_put_back"))
        self._busy = True
        self._armed_ms: int | None = None
        self._start()
        self._busy = False

    def put(self, sent: Sent) -> None:
        """Put an event, now or after what waits for it. It is accepted once it is in the spool."""
        self._sent[sent.record.data] = sent
        self._waiting.append(sent)
        self._work()

    def strike(self) -> None:
        """Die here, if the dice say so."""
        if self._dice.strikes("sender_killed"):
            raise Killed

    def sending(self, entry: PutEntry) -> None:
        """Check that no record overtakes another that was never tried."""
        number = self._numbers.get(entry.data)
        if number is None:
            raise SimulationError("a record is sent by other bytes than the spool took")
        if entry.data not in self._ever_attempted:
            self._ever_attempted.add(entry.data)
            last = self._attempted.get(entry.shard_id, -1)
            if number < last and not self._is_resharded:
                raise SimulationError(
                    f"record {number} of a spool is first sent to {entry.shard_id} behind {last}"
                )
            self._attempted[entry.shard_id] = max(last, number)

    @property
    def stats(self) -> ProducerStats:
        """What this life of it has sent."""
        return self._kept.core.stats

    def close(self) -> None:
        """Leave nothing behind."""
        self.faced.forget()
        self._spool.close()
        self._folder.cleanup()

    def _start(self) -> None:
        plan = self._plan
        self._spool = MortalSpool.open(self._path, fsync=False, now_ms=self.clock.now_ms, rng=self._rng)
        self._spool.strike, self._spool.comes, self._spool.accepted = self.strike, self._comes, self._accepted
        retries = RetryConfig(timeout_ms=min(plan.put_timeout_ms, GIVES_UP_MS), cap_ms=2_000)
        config = WorldConfig(
            engine=CoreConfig(batching=batching_of(plan), max_buffered_bytes=plan.max_buffered_bytes),
            forwarder=CoreConfig(retries=retries),
        )
        port = _OrderedPort(self, self._stream, self._tally)
        self.faced = Faced(port, config, spool=self._spool, clock=self.clock, rng=self._rng)
        kept = self.faced.producer._forwarding
        assert kept is not None
        self._kept = kept

    def _comes(self, records: Sequence[SealedRecord]) -> None:
        """Number what the spool is given, in its order."""
        for each in records:
            self._numbers.setdefault(each.data, len(self._numbers))

    def _accepted(self, records: Sequence[SealedRecord]) -> None:
        """Take note that what was sealed is kept."""
        for each in records:
            for record in user_records_of(each):
                self._tally.accepted(self._sent[record.data])
        if self._is_copied and self._dice.of("spool_put_back").random() < _COPIED:
            names = (self._path, self._path.with_name(self._path.name + "-wal"))
            self._copy = {each: each.read_bytes() for each in names if each.exists()}

    def _work(self) -> None:
        if self._busy:
            return
        self._busy = True
        pause_ms = 0
        try:
            while self._waiting:
                self.faced.put(self._waiting.popleft())
            self.faced.turn()
            pause_ms = self._kept.forwarder.step()
        except Killed:
            self._live_again()
        finally:
            self._busy = False
        self._arm(pause_ms)

    def _live_again(self) -> None:
        """Start anew, with what is on the disk."""
        there = self._spool.held() if self._copy else {}
        self.faced.forget()
        self._spool.close()
        put_back = bool(self._copy) and self._dice.strikes("spool_put_back")
        if put_back:
            for each in self._path.parent.glob("spool.db*"):
                each.unlink()
            for name, content in self._copy.items():
                name.write_bytes(content)
        self._start()
        if put_back:
            with_it = self._spool.held()
            for data, record in there.items():
                if data not in with_it:
                    self._lost(user_records_of(record))

    def _lost(self, records: Sequence[UserRecord]) -> None:
        for record in records:
            self._tally.given_up(record)

    def _arm(self, pause_ms: int) -> None:
        due_ms = self.faced.next_due_ms()
        stats = self._spool.stats
        if stats.records or self._kept.forwarder.under_way or self._waiting:
            due_ms = min(self.clock.now_ms() + pause_ms, due_ms if due_ms is not None else _NEVER_MS)
        if due_ms is None:
            return
        if self._armed_ms is None or due_ms < self._armed_ms or self._armed_ms <= self.clock.now_ms():
            self._armed_ms = max(due_ms, self.clock.now_ms() + 1)
            self._scheduler.after(self._armed_ms - self.clock.now_ms(), self._wake)

    def _wake(self) -> None:
        self._armed_ms = None
        self._work()

    def check_idle(self) -> None:
        """Check that all was carried to the stream."""
        if self._spool.stats.records or self._waiting or self.faced.buffered_bytes:
            raise SimulationError(f"a spool still holds {self._spool.stats.records} records")
        if self._spool.stats.damaged:
            raise SimulationError(f"{self._spool.stats.damaged} records of a spool are damaged")
        self.faced.producer.close()
