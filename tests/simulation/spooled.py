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

from producers.client.batcher import BatcherConfig, PutEntry
from producers.client.core import CoreConfig, ProducerCore
from producers.client.entry import user_records_of
from producers.client.kinesis import BotoKinesis
from producers.client.outbox import RetryConfig
from producers.client.ports import PutResult
from producers.spool.forwarder import Forwarder
from producers.spool.remembered import Remembered
from producers.spool.row import Spooled
from producers.spool.spool import Spool
from simulation.definition import Sent
from simulation.plan import Dice, Plan
from simulation.schedule import SimulationError
from simulation.sender import NotingPort, SkewedClock, Tallies
from simulation.stream import NAME, ProducerClient, Stream
from streamgage.errors import RetryableError
from streamgage.records import SealedRecord, UserRecord
from streamgage.shards import Shard

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
logging.getLogger("streamgage.spool").addHandler(
    logging.NullHandler()
)  # that nothing is sent is no news here
_COPIED = 0.3  # of the appends
_AGAIN_MS, _NEVER_MS = 500, 2**62
_GIVES_UP_MS = 1_000


def _nobody_dies() -> None: ...


def _forget(_: Sequence[SealedRecord]) -> None:
    """Forget what was in the memory of a process that was killed."""


class Killed(BaseException):
    """The process is gone. Nothing that handles errors handles it."""


class _MortalSpool(Spool):
    """A spool in a process that may be killed before and after each call."""

    strike: Callable[[], None]

    def append(
        self,
        records: Sequence[SealedRecord],
        *,
        priority: int = 0,
        remember: Sequence[Remembered] = (),
    ) -> None:
        self.strike()
        super().append(records, priority=priority, remember=remember)
        self.strike()

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


class _SealingPort:
    """What the sealing producer has of the stream: its shards, as they were when the process began."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards

    def list_shards(self) -> Sequence[Shard]:
        return self._shards

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        raise SimulationError(f"{len(entries)} records went past the spool")


class _OrderedPort(NotingPort):
    """Watches that a shard is first sent each record in the order in which the spool took them, while none is resharded."""

    def __init__(self, sender: "SpooledSender", stream: Stream, tally: Tallies) -> None:
        super().__init__(BotoKinesis(ProducerClient(stream), NAME), tally)
        self.listed: Sequence[Shard] = ()
        self._sender = sender

    def list_shards(self) -> Sequence[Shard]:
        self.listed = super().list_shards()
        return self.listed

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
        self._folder = TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)
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

    def close(self) -> None:
        """Leave nothing behind."""
        self._spool.close()
        self._folder.cleanup()

    def _start(self) -> None:
        plan = self._plan
        self._spool = _MortalSpool.open(self._path, fsync=False, now_ms=self.clock.now_ms, rng=self._rng)
        self._spool.strike = self.strike
        port = _OrderedPort(self, self._stream, self._tally)
        self.producer = ProducerCore(
            port,
            clock=self.clock,
            rng=self._rng,
            config=CoreConfig(
                retries=RetryConfig(timeout_ms=min(plan.put_timeout_ms, _GIVES_UP_MS), cap_ms=2_000),
                concurrency=1,
            ),
        )
        batching = BatcherConfig(
            aggregate_bytes=plan.aggregate_bytes,
            linger_ms=plan.linger_ms,
            one_key_per_record=plan.parallel,
        )
        self._sealer = ProducerCore(
            _SealingPort(port.listed),
            clock=self.clock,
            rng=self._rng,
            config=CoreConfig(batching=batching, concurrency=1, max_buffered_bytes=plan.max_buffered_bytes),
            tags_for=self._spool.identity.tags_for,
        )
        self._sealer.divert(self._keep)
        self._forwarder = Forwarder(self._spool, self.producer, clock=self.clock, rng=self._rng)

    def _keep(self, records: Sequence[SealedRecord]) -> None:
        """Take what was sealed; from here on it is accepted."""
        for each in records:
            self._numbers.setdefault(each.data, len(self._numbers))
        held = [(each, user_records_of(each)) for each in records]
        self._spool.append(records)
        for _, user_records in held:
            for record in user_records:
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
                self._sealer.put(self._waiting.popleft().record)
            self._sealer.poll()
            pause_ms = self._forwarder.step()
        except Killed:
            self._live_again()
        finally:
            self._busy = False
        self._arm(pause_ms)

    def _live_again(self) -> None:
        """Start anew, with what is on the disk."""
        there = self._spool.held() if self._copy else {}
        for producer in (self._sealer, self.producer):
            producer.divert(_forget)
        self._spool.close()
        put_back = bool(self._copy) and self._dice.strikes("spool_put_back")
        if put_back:
            for each in self._path.parent.glob("spool.db*"):
                each.unlink()
            for name, content in self._copy.items():
                name.write_bytes(content)
        while True:
            try:
                self._start()
                break
            except RetryableError:  # Kinesis does not tell its shards
                self._spool.close()
                self._scheduler.pause(_AGAIN_MS)
        if put_back:
            with_it = self._spool.held()
            for data, record in there.items():
                if data not in with_it:
                    self._lost(user_records_of(record))

    def _lost(self, records: Sequence[UserRecord]) -> None:
        for record in records:
            self._tally.given_up(record)

    def _arm(self, pause_ms: int) -> None:
        due_ms = self._sealer.next_due_ms()
        stats = self._spool.stats
        if stats.records or self._forwarder.under_way or self._waiting:
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
        if self._spool.stats.records or self._waiting or self._sealer.buffered_bytes:
            raise SimulationError(f"a spool still holds {self._spool.stats.records} records")
        if self._spool.stats.damaged:
            raise SimulationError(f"{self._spool.stats.damaged} records of a spool are damaged")
