"""Make a failing world small: leave out faults, then events, as long as it still fails."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from simulation.plan import Plan

Fails = Callable[[Plan], bool]

_TRIES = 200


def shrink(plan: Plan, fails: Fails, *, tries: int = _TRIES) -> Plan:
    """Return a smaller plan that *fails* as well, after at most *tries* worlds: no fault of it can be left out alone.

    Each fault has dice of its own and each event is drawn by itself, so what is left stays much as it was.
    """
    left = [tries]

    def attempt(candidate: Plan) -> bool:
        left[0] -= 1
        return left[0] >= 0 and fails(candidate)

    smaller = True
    while smaller and left[0] > 0:
        smaller = False
        for candidate in _candidates(plan):
            if _size(candidate(plan)) < _size(plan) and attempt(candidate(plan)):
                plan, smaller = candidate(plan), True
    return plan


def _candidates(plan: Plan) -> Iterator[Callable[[Plan], Plan]]:
    """Yield ways to make a plan smaller, the large ones first; each is applied to what is left by then."""
    if plan.collects:
        yield lambda each: replace(each, collects="", batches=0)
    yield from _without_events(plan, plan.events // 2)
    yield from _without_events(plan, plan.events // 4)
    for fault, rate in plan.rates.items():
        if rate:
            yield lambda each, fault=fault: replace(each, rates={**each.rates, fault: 0.0})  # type: ignore[misc]
    yield lambda each: replace(each, producers=1)
    yield lambda each: replace(each, shards=1)
    yield from _without_events(plan, 1)


def _without_events(plan: Plan, share: int) -> Iterator[Callable[[Plan], Plan]]:
    for start in range(0, plan.events + plan.batches, max(share, 1)):
        gone = frozenset(range(start, min(start + max(share, 1), plan.events + plan.batches)))
        yield lambda each, gone=gone: replace(each, left_out=each.left_out | gone)  # type: ignore[misc]


def _size(plan: Plan) -> tuple[int, int, int]:
    kept = len(set(range(plan.events + plan.batches)) - plan.left_out)
    return sum(rate > 0 for rate in plan.rates.values()) + kept, plan.producers, plan.shards
