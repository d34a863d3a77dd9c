"""Run many seeds, add up what happened, and explain the first that fails."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from typing import Protocol

from simulation.plan import FAULTS, Plan, draw_plan
from simulation.schedule import SimulationError
from simulation.shrink import shrink
from simulation.world import World

# Branches of the real code that are seldom taken: in enough seeds, each has to be.
RARE_BRANCHES = (
    "a chunk that is not the root",
    "a chunk was closed with keys in it",
    "a second consumer",
    "collector: came back after a day, and was known",
    "collector: forgotten, and counted again",
    "collector: refused, the key is of other content",
    "collector: sealed again by a note",
    "collector: several requests in one transaction",
    "collector: without a key, counted twice",
    "a spool took back what was given up",
    "keys that stand together, found below the root",
    "batch cut by a fence",
    "bisected",
    "conflict, ALL_OLD came back",
    "conflict, a part was left",
    "conflict, nothing was left",
    "dealt with before, passed over",
    "discard: RecordAgeExceeded",
    "discard: RetryAttemptsExhausted",
    "inherited from 1 parent",
    "inherited from 2 parents",
    "inherited from further up, or from nobody",
    "lane blocked, another goes on",
    "late write of a zombie dropped",
    "partial failure answered",
    "poison sent again",
    "producer: gave up",
    "producer: stored on another shard than predicted",
    "redelivery after a restart",
    "repeat seen beyond the fence",
    "stored twice",
    "zombie went on",
)
_CHUNK = 25


@dataclass(slots=True)
class Totals:
    """What happened in many worlds. ``failures`` holds (seed, what was broken)."""

    schedules: int = 0
    records: int = 0
    invocations: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    branches: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: "Totals") -> None:
        """Add what happened in others."""
        self.schedules += other.schedules
        self.records += other.records
        self.invocations += other.invocations
        self.fired.update(other.fired)
        self.branches.update(other.branches)
        self.failures += other.failures

    def never(self) -> list[str]:
        """Return the faults and rare branches that never happened: they proved nothing."""
        return [name for name in FAULTS if not self.fired[name]] + [
            name for name in RARE_BRANCHES if not self.branches[name]
        ]


class Simulation(Protocol):
    """The fixture of ``pytest_plugin``: runs seeds, and fails the test with the smallest world that breaks."""

    def __call__(self, seeds: Iterable[int], *, change: Callable[[Plan], Plan] = ...) -> Totals:
        """Return what happened in *seeds*; *change* may adapt what each of them draws."""


def simulate(seeds: Iterable[int], *, change: Callable[[Plan], Plan] = lambda plan: plan) -> Totals:
    """Run *seeds* one after the other, up to the first that fails; *change* may adapt what each draws."""
    totals = Totals()
    for seed in seeds:
        try:
            summary = World(change(draw_plan(seed))).run()
        except Exception as error:  # noqa: BLE001 - whatever the code under attack raises is what is looked for
            totals.failures.append((seed, f"{type(error).__name__}: {error}"))
            return totals
        totals.schedules += 1
        totals.records += summary.records
        totals.invocations += summary.invocations
        totals.fired.update(summary.fired)
        totals.branches.update(summary.branches)
    return totals


def simulate_in_parallel(first_seed: int, seeds: int, *, processes: int) -> Iterator[Totals]:
    """Yield the totals of one chunk of seeds after the other, until all are done or the caller has had enough."""
    ranges = iter(
        range(start, min(start + _CHUNK, first_seed + seeds))
        for start in range(first_seed, first_seed + seeds, _CHUNK)
    )
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        under_way: list[Future[Totals]] = [
            pool.submit(simulate, each) for each in islice(ranges, 2 * processes)
        ]
        try:
            while under_way:
                yield under_way.pop(0).result()
                under_way += [pool.submit(simulate, each) for each in islice(ranges, 1)]
        finally:
            pool.shutdown(cancel_futures=True)


def explain(seed: int, *, change: Callable[[Plan], Plan] = lambda plan: plan, most_lines: int = 150) -> str:
    """Return what broke in *seed*: the smallest world found that still breaks, its faults, and what happened in it."""
    plan = shrink(change(draw_plan(seed)), lambda each: bool(_failure(each)[0]))
    failure, lines = _failure(plan)
    faults = ", ".join(f"{name} {rate}" for name, rate in plan.rates.items() if rate) or "none"
    events = len(set(range(plan.events)) - plan.left_out)
    batches = len(set(range(plan.events, plan.events + plan.batches)) - plan.left_out)
    return "\n".join(
        [
            f"seed {seed}: {failure or 'holds'}",
            f"smallest world: {events} events, {batches} batches of clients, {plan.shards} shards, {plan.producers} producers; faults: {faults}",
            f"mapping: {plan.mapping}",
            *lines[-most_lines:],
        ]
    )


def trace_of(seed: int) -> list[str]:
    """Return everything that happens in *seed*, and how it ends."""
    failure, lines = _failure(draw_plan(seed))
    return [*lines, failure or "every promise was kept"]


def _failure(plan: Plan) -> tuple[str, list[str]]:
    world: World | None = None
    try:
        world = World(plan)
        world.run()
    except SimulationError as error:
        return str(error), world.trace.lines() if world else []
    except Exception as error:  # noqa: BLE001 - see simulate
        return f"{type(error).__name__}: {error}", world.trace.lines() if world else []
    return "", world.trace.lines(most=100_000)
