"""The collector as a function: sandboxes that die, several at once, beside a table that remembers keys."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from processors.awsjson.client import ServiceError
from producers.collector.collector import Collector
from producers.collector.message import Answer, Asked
from producers.collector.streamed import DynamoDbNotes, StreamDurable
from simulation.collector import HOUR_MS, ApiKeys, MortalPort, Told, collector_of
from simulation.plan import Dice, Plan
from simulation.schedule import Scheduler, SimulationError
from simulation.sender import SkewedClock, Tallies
from simulation.spooled import Killed
from simulation.stream import Stream
from streamgage.errors import RetryableError

_IDLE = 3  # sandboxes kept for the next request
_COLD = 0.3  # of the requests get a new one all the same


class KeyTable:
    """DynamoDB's answers to PutItem, with its faults; what has expired is deleted some time later."""

    def __init__(
        self, scheduler: Scheduler, dice: Dice, branches: Counter[str], strike: Callable[[], None]
    ) -> None:
        self._scheduler, self._dice, self._branches, self._strike = scheduler, dice, branches, strike
        self._items: dict[str, tuple[Mapping[str, Any], int]] = {}

    def __call__(self, operation: str, body: str) -> Any:
        """Answer one call. Raises: ServiceError, RetryableError."""
        if operation != "PutItem":
            raise SimulationError(f"the table of keys is asked for {operation}")
        dice, request = self._dice, json.loads(body)
        self._strike()
        self._wait()
        if dice.strikes("note_throttled"):
            code = "ProvisionedThroughputExceededException"
            raise ServiceError(operation, status=400, error=code, answer={})
        if dice.strikes("note_delayed"):
            late_ms = dice.of("note_delayed").choice((1, 300, 3_000, 30_000))
            self._scheduler.after(late_ms, lambda: self._arrive(request))
            raise RetryableError("timed out")
        there = self._put(request)
        self._strike()
        if dice.strikes("note_lost"):
            if dice.of("note_lost").random() < 0.5:
                raise RetryableError("timed out after it was done")
            there = self._put(request)  # the AWS client calls again by itself
        self._wait()
        if there is not None:
            self._branches["collector: sealed again by a note"] += 1
            code = "ConditionalCheckFailedException"
            raise ServiceError(operation, status=400, error=code, answer={"Item": there})
        return {}

    def _put(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Write an item and return None; or return the one that stands there, where the condition says so."""
        item, now_ms = request["Item"], self._scheduler.now_ms
        there, deleted_ms = self._items.get(item["id"]["S"], (None, 0))
        if there is not None and now_ms < deleted_ms and "ConditionExpression" in request:
            return there
        lag_ms = (
            int(item["expires"]["N"]) % 3 * HOUR_MS
        )  # AWS: "within a few days", and until then it stands there
        self._items[item["id"]["S"]] = item, int(item["expires"]["N"]) * 1000 + lag_ms
        return None

    def _arrive(self, request: Mapping[str, Any]) -> None:
        """Take effect, when nobody waits for the answer any more."""
        self._put(request)

    def _wait(self) -> None:
        if self._dice.strikes("post_overtaken"):
            self._scheduler.pause(self._dice.of("post_overtaken").choice((1, 50, 1_000, 5_000)))


class Sandboxes:
    """A function of API Gateway: each request has a sandbox of its own while it is answered, and any of them the next."""

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
        self._plan, self._stream, self._tally, self._dice = plan, stream, tally, dice
        self._keys, self._rng = keys, rng
        self._clock = SkewedClock(stream.scheduler, skew_ms)
        self._table = KeyTable(stream.scheduler, dice, branches, self._strike)
        self._idle: list[Collector] = []

    def take(self, asked: Asked, told: Told) -> None:
        """Answer *asked*; others are answered meanwhile."""
        sandbox = self._idle.pop() if self._idle and self._rng.random() >= _COLD else self._made()
        answer: Answer | None = None
        with suppress(Killed):
            answer = sandbox.answer(asked)
            self._idle.insert(0, sandbox)
            del self._idle[_IDLE:]
        told(answer)

    def check_idle(self) -> None:
        """Nothing waits in a sandbox."""

    def close(self) -> None:
        """A sandbox leaves nothing behind."""

    def _made(self) -> Collector:
        clock, left_ms = self._clock, self._rng.choice((300, 3_000, 27_000))
        durable = StreamDurable(
            MortalPort(self._stream, self._tally, self._strike),
            DynamoDbNotes(self._table, "keys"),
            clock=clock,
            left_ms=lambda: left_ms,
            rng=random.Random(self._rng.getrandbits(64)),
            one_key_per_record=self._plan.parallel,
        )
        return collector_of(durable, self._keys, clock)

    def _strike(self) -> None:
        if self._dice.strikes("collector_killed"):
            raise Killed
