"""Who works on the stream of a world: producers, strangers that put single records, operators."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from infra.local.kinesis.errors import KinesisError
from simulation.collected import Clients
from simulation.collector import ApiKeys
from simulation.collector_function import Sandboxes
from simulation.collector_server import Server
from simulation.definition import draw_broken_frame, draw_event, draw_poison
from simulation.plan import TAIL_MS, Dice, Plan
from simulation.sender import Consumer, Sender, Tallies
from simulation.spooled import SpooledSender
from simulation.stream import NAME, Stream

_STRANGERS = 0.15  # of the events
_RESHARDS, _RESTARTS = 3, 4  # attempts of each kind


class Traffic:
    """Everything that is planned before the first step: who puts what and when, and when operators act."""

    def __init__(
        self,
        plan: Plan,
        *,
        stream: Stream,
        consumers: Sequence[Consumer],
        dice: Dice,
        branches: Counter[str],
        rng: random.Random,
    ) -> None:
        """*consumers* is a list that others may be added to."""
        self._stream, self._consumers, self._dice, self._rng = stream, consumers, dice, rng
        self._tally = tally = Tallies(consumers)
        self._devices = plan.devices
        scheduler = stream.scheduler
        skews = [
            dice.of("skew").randint(-240_000, 240_000) if dice.strikes("skew") else 0
            for _ in range(plan.producers)
        ]
        self.senders: list[Sender | SpooledSender] = []
        for skew_ms in skews:
            own = random.Random(rng.getrandbits(64))
            if plan.is_spooled:
                self.senders.append(SpooledSender(plan, stream, tally, dice, skew_ms=skew_ms, rng=own))
            else:
                self.senders.append(Sender(plan, stream, tally, skew_ms=skew_ms, rng=own))
        for number in range(plan.events):
            at_ms, seed = rng.randint(0, plan.span_ms), rng.getrandbits(64)
            if number not in plan.left_out:
                scheduler.after(at_ms, partial(self._put, number, seed))
        for fault, act in (
            ("split", stream.split),
            ("merge", partial(stream.merge, halves=False)),
            ("remerge", partial(stream.merge, halves=True)),
        ):
            for _ in range(_RESHARDS):
                at_ms = rng.randint(0, plan.span_ms + TAIL_MS // 4)
                scheduler.after(at_ms, partial(self._reshard, fault, act))
        for _ in range(_RESTARTS):
            scheduler.after(rng.randint(0, plan.span_ms + TAIL_MS), self._restart)

        self.clients = self._draw_clients(plan, branches, rng) if plan.collects else None

    def close(self) -> None:
        """Leave no file behind."""
        if self.clients is not None:
            self.clients.host.close()
        for sender in self.senders:
            sender.close()

    def _draw_clients(self, plan: Plan, branches: Counter[str], rng: random.Random) -> Clients:
        """Return those who send by HTTP, and the collector."""
        dice, tally = self._dice, self._tally
        skew_ms = dice.of("skew").randint(-120_000, 120_000) if dice.strikes("skew") else 0
        keys = ApiKeys(rng)
        kind = Server if plan.collects == "server" else Sandboxes
        host = kind(plan, self._stream, tally, dice, keys=keys, branches=branches, skew_ms=skew_ms, rng=rng)
        return Clients(
            plan,
            host,
            scheduler=self._stream.scheduler,
            tally=tally,
            dice=dice,
            keys=keys,
            branches=branches,
            rng=rng,
        )

    def _put(self, number: int, seed: int) -> None:
        """Put the *number*-th event. Its dice are its own: it is the same in a world with fewer faults."""
        rng = random.Random(seed)
        sender = self.senders[rng.randrange(len(self.senders))]
        if self._dice.strikes("frame_poison"):
            self._put_plain("d0", draw_broken_frame(rng, number))
            return
        if self._dice.strikes("user_poison"):
            sent = draw_poison(rng, number)
        else:
            sent = draw_event(rng, number, sender.clock.now_ms(), devices=self._devices)
        self._tally.sent(sent)
        if rng.random() < _STRANGERS:
            self._tally.sealed(sent.record.data, (sent.record,))
            self._put_plain(sent.record.partition_key, sent.record.data)
        else:
            sender.put(sent)

    def _put_plain(self, partition_key: str, data: bytes) -> None:
        """Put one record as any client may, without a retry: what Kinesis refuses was never accepted."""
        try:
            self._stream.call("PutRecord", {"StreamName": NAME, "PartitionKey": partition_key, "Data": data})
        except KinesisError:
            return

    def _reshard(self, fault: str, act: Callable[[random.Random], bool]) -> None:
        if self._dice.strikes(fault) and not act(self._dice.of(fault)):
            self._dice.fired[fault] -= 1

    def _restart(self) -> None:
        for consumer in self._consumers:
            if self._dice.strikes("restart"):
                consumer.driver.start()
