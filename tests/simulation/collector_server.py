"""The collector as a server over its spool: requests that wait together, kills, power cuts, a disk that is full or fails."""

import random
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from producers.client.outbox import RetryConfig
from producers.client.settings import CoreConfig
from producers.collector.collector import Collector
from producers.collector.durable import Batch
from producers.collector.message import Answer, Asked
from producers.collector.spooled import SpoolDurable, _Waiting
from producers.sending.forwarding import Forwarding
from producers.spool.remembered import Remembered
from producers.spool.told import SpoolError, SpoolFull
from simulation.collector import ApiKeys, MortalPort, Told, collector_of
from simulation.faced import WorldConfig, forget
from simulation.plan import Dice, Plan
from simulation.schedule import SimulationError
from simulation.sender import SkewedClock, Tallies
from simulation.spooled import GIVES_UP_MS, MEMORY, Killed, MortalSpool
from simulation.stream import Stream
from streamgage.errors import StreamgageError
from streamgage.records import SealedRecord

_ROOM_BYTES = 1 << 30


class _Disk(MortalSpool):
    """A spool on a disk that may be full, or fail before or after it wrote."""

    dice: Dice

    def append(
        self,
        records: Sequence[SealedRecord],
        *,
        priority: int = 0,
        remember: Sequence[Remembered] = (),
    ) -> None:
        if self.dice.strikes("spool_full"):
            raise SpoolFull("injected: there is no room")
        is_failing = self.dice.strikes("disk_failed")
        if not is_failing or self.dice.of("disk_failed").random() < 0.5:
            super().append(records, priority=priority, remember=remember)
        if is_failing:
            raise SpoolError("injected: nothing of it is known to be safe")

    def recall(self, keys: Collection[bytes]) -> dict[bytes, bytes]:
        self.strike()
        return super().recall(keys)


class _Parked(Exception):
    """A request has come to its batch, and waits until those of others are there."""


class _Together:
    """The port of requests that wait at one time. Each comes twice: with its batch, and for what became of it."""

    def __init__(self, durable: SpoolDurable) -> None:
        self._durable = durable
        self._batches: list[Batch] = []
        self._outcome: bool | Exception | None = None

    def keep(self, batch: Batch) -> bool:
        if self._outcome is None:
            self._batches.append(batch)
            raise _Parked
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def check(self) -> None:
        self._durable.check()

    def answer_all(self, collector: Collector, asked: Sequence[Asked]) -> list[Answer]:
        """Return the answers to *asked*, whose threads wait for one transaction. Raises: Killed."""
        answers: list[Answer | None] = [self._parked_or_answered(collector, each) for each in asked]
        batches, self._batches = self._batches, []
        outcomes = iter(self._written(batches))
        found = []
        for each, answer in zip(asked, answers, strict=True):
            if answer is None:
                self._outcome = next(outcomes)
                answer = collector.answer(each)  # noqa: PLW2901 - its answer, at last
                self._outcome = None
            found.append(answer)
        return found

    def _parked_or_answered(self, collector: Collector, asked: Asked) -> Answer | None:
        try:
            return collector.answer(asked)
        except _Parked:
            return None

    def _written(self, batches: Sequence[Batch]) -> list[bool | Exception]:
        """Return whether each was known, or why it was not kept: the last one's thread writes for all."""
        if not batches:
            return []
        others = [_Waiting(each) for each in batches[:-1]]
        self._durable._commits._waiting.extend(others)
        last: bool | Exception
        try:
            last = self._durable.keep(batches[-1])
        except StreamgageError as error:
            last = error
        if not all(each.done for each in others):
            raise SimulationError("a request waits for ever: whoever wrote for others did not write it")
        return [*(each.known if each.error is None else each.error for each in others), last]


class _Life:
    """One process of the server: what is in its memory."""

    def __init__(self, server: "Server", path: Path) -> None:
        plan, rng = server.plan, random.Random(server.rng.getrandbits(64))
        self.is_over = self.is_forwarding = False
        self.spool = _Disk.open(path, fsync=False, now_ms=server.clock.now_ms, rng=rng)
        self.spool.dice, self.spool.strike = server.dice, self.strike
        self.spool.comes = self.spool.accepted = lambda _: None
        self._dice = server.dice
        config = WorldConfig(
            forwarder=CoreConfig(
                retries=RetryConfig(timeout_ms=min(plan.put_timeout_ms, GIVES_UP_MS), cap_ms=2_000)
            )
        )
        port = MortalPort(server.stream, server.tally, self.strike)
        self.forwarding = Forwarding(
            self.spool, port, config=config.forwarding(), clock=server.clock, rng=rng
        )
        durable = SpoolDurable(
            self.spool, self.forwarding.shards, max_bytes=_ROOM_BYTES, one_key_per_record=plan.parallel
        )
        self.forwarding.start(durable.take_shards)
        self.together = _Together(durable)
        self.collector = collector_of(self.together, server.keys, server.clock)

    def strike(self) -> None:
        """Die here, if the dice say so, or if it is dead already."""
        if self.is_over or self._dice.strikes("collector_killed"):
            raise Killed

    def end(self) -> None:
        """It is gone: nothing of it is sent, or written."""
        self.is_over = True
        self.forwarding.core.divert(forget)
        self.spool.close()


class Server:
    """``streamgage collect``: it answers those who wait together, and carries its spool to the stream; again and again.

    A power cut takes what was written since the last commit that was waited for: what was removed comes again.
    """

    def __init__(
        self,
        plan: Plan,
        stream: Stream,
        tally: Tallies,
        dice: Dice,
        *,
        keys: ApiKeys,
        branches: Counter[str],
        skew_ms: int,
        rng: random.Random,
    ) -> None:
        self.plan, self.stream, self.tally, self.dice, self.keys = plan, stream, tally, dice, keys
        self.rng, self._branches, self._scheduler = rng, branches, stream.scheduler
        self.clock = SkewedClock(stream.scheduler, skew_ms)
        self._folder = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self._path = Path(self._folder.name) / "spool.db"
        self._requests: list[tuple[Asked, Told]] = []
        self._committed: dict[Path, bytes] = {}
        self._life = self._begin()

    def take(self, asked: Asked, told: Told) -> None:
        """Answer *asked* soon, with those that wait by then."""
        self._requests.append((asked, told))
        self._scheduler.after(self.rng.choice((0, 3, 50)), self._serve)

    def check_idle(self) -> None:
        """Check that all was answered, and carried to the stream."""
        stats = self._life.spool.stats
        if self._requests or stats.records or stats.damaged:
            raise SimulationError(
                f"a collector still has {len(self._requests)} requests, and in its spool {stats}"
            )

    def close(self) -> None:
        """Leave nothing behind."""
        self._life.end()
        self._folder.cleanup()

    def _begin(self) -> _Life:
        life = _Life(self, self._path)
        if self.plan.rates.get("collector_power_cut"):
            life.spool.on_append = self._note_committed
        self._scheduler.after(1, self._forward)
        return life

    def _note_committed(self) -> None:
        names = (self._path, self._path.with_name(self._path.name + "-wal"))
        self._committed = {each: each.read_bytes() for each in names if each.exists()}

    def _serve(self) -> None:
        together, self._requests = self._requests, []
        if not together:
            return
        life = self._life
        self._branches["collector: several requests in one transaction"] += len(together) > 1
        answers: Sequence[Answer | None] = [None] * len(together)
        try:
            answers = life.together.answer_all(life.collector, [asked for asked, _ in together])
        except Killed:
            self._live_again(life)
        self._scheduler.after(1, self._forward)
        for (_, told), answer in zip(together, answers, strict=True):
            told(answer)

    def _forward(self) -> None:
        """Send what there is; others are answered meanwhile."""
        life = self._life
        if life.is_forwarding:
            return
        life.is_forwarding = True
        pause_ms = 1
        try:
            pause_ms = life.forwarding.forwarder.step()
        except Killed:
            self._live_again(life)
        finally:
            life.is_forwarding = False
        if life is self._life and (life.spool.stats.records or life.forwarding.forwarder.under_way):
            self._scheduler.after(max(pause_ms, 1), self._forward)

    def _live_again(self, life: _Life) -> None:
        """Begin anew with what is on the disk, unless that was done while *life* waited for an answer."""
        if life is not self._life:
            return
        life.end()
        if self._committed and self.dice.strikes("collector_power_cut"):
            for each in self._path.parent.glob("spool.db*"):
                each.unlink()
            for name, content in self._committed.items():
                name.write_bytes(content)
        self._life = self._begin()
