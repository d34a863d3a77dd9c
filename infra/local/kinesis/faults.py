"""Faults by seed: what goes wrong with the n-th data request is a function of the seed and n alone.

Only PutRecord, PutRecords, GetRecords and GetShardIterator are attacked, and only they are counted, so that a
setup of any length leaves the schedule as it is.
"""

import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from infra.local.kinesis.errors import Code
from streamgage.errors import ConfigError

ATTACKED = frozenset({"PutRecord", "PutRecords", "GetRecords", "GetShardIterator"})
_DELAY_MS = 20
_FORM = "SEED:name=rate,… with the names throttle, internal, lost, error and delay (delay=rate@ms)"


@dataclass(frozen=True, slots=True)
class FaultRates:
    """How often each fault strikes, from 0 to 1.

    ``throttle`` and ``internal`` strike single entries of PutRecords, and whole requests of the others; ``error``
    answers 500 before anything is done; ``lost`` does the work and closes the connection without an answer;
    ``delay`` waits ``delay_ms`` first.
    """

    throttle: float = 0.0
    internal: float = 0.0
    lost: float = 0.0
    error: float = 0.0
    delay: float = 0.0
    delay_ms: int = _DELAY_MS


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What goes wrong with one request."""

    delay_ms: int = 0
    error: bool = False
    lost: bool = False
    entries: Mapping[int, Code] = field(default_factory=dict)


CALM = FaultPlan()


class Faults:
    """A seeded schedule of faults; ``fired`` counts them, since a fault that never fires proves nothing."""

    def __init__(self, seed: int, rates: FaultRates) -> None:
        self._seed = seed
        self._rates = rates
        self._number = 0
        self._lock = threading.Lock()
        self.fired: Counter[str] = Counter()

    def plan(self, action: str, entries: int) -> FaultPlan:
        """Return what goes wrong with the next request, which has this many entries."""
        if action not in ATTACKED:
            return CALM
        with self._lock:
            self._number += 1
            dice = random.Random(f"{self._seed}:{self._number}")  # noqa: S311 - a schedule to be repeated
        rates = self._rates
        plan = FaultPlan(
            delay_ms=rates.delay_ms if dice.random() < rates.delay else 0,
            error=dice.random() < rates.error,
            lost=dice.random() < rates.lost,
            entries=self._strike(dice, entries),
        )
        with self._lock:
            self.fired.update(delay=plan.delay_ms > 0, error=plan.error, lost=plan.lost)
            self.fired.update(plan.entries.values())
        return plan

    def _strike(self, dice: random.Random, entries: int) -> dict[int, Code]:
        throttle, internal = self._rates.throttle, self._rates.internal
        struck: dict[int, Code] = {}
        if throttle or internal:
            for position in range(entries):
                roll = dice.random()
                if roll < throttle:
                    struck[position] = "ProvisionedThroughputExceededException"
                elif roll < throttle + internal:
                    struck[position] = "InternalFailure"
        return struck


def parse_faults(text: str) -> Faults:
    """Return the faults that a command line asks for, such as ``7:throttle=0.05,lost=0.01,delay=0.1@30``.

    Raises:
        ConfigError: every part that is wrong.
    """
    seed_text, colon, rest = text.partition(":")
    problems: list[str] = []
    if not colon or not seed_text.lstrip("-").isdigit():
        problems.append(f"--faults {text!r}: expected {_FORM}")
    known = {f.name for f in fields(FaultRates)} - {"delay_ms"}
    rates: dict[str, float] = {}
    delay_ms = _DELAY_MS
    for part in filter(None, rest.split(",")):
        name, _, value = part.partition("=")
        try:
            if name == "delay" and "@" in value:
                value, _, wait = value.partition("@")
                delay_ms = int(wait)
            rates[name] = float(value)
        except ValueError:
            problems.append(f"--faults: {part!r}: expected {_FORM}")
            continue
        if name not in known:
            problems.append(f"--faults: {name!r} is no fault; expected {_FORM}")
        elif not 0 <= rates[name] <= 1 or delay_ms < 0:
            problems.append(f"--faults: {part!r}: a rate lies between 0 and 1, a delay is not negative")
    if problems:
        raise ConfigError(*problems)
    return Faults(int(seed_text), FaultRates(**rates, delay_ms=delay_ms))
