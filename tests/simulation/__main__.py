"""``python -m simulation --seeds 20000``: attack the pipeline, and say what was tried and what it did."""

import argparse
import sys
import time

from simulation.plan import FAULTS
from simulation.runner import RARE_BRANCHES, Totals, explain, simulate_in_parallel, trace_of

_ENOUGH = 1_000  # seeds after which every fault and rare branch must have happened
_SAY_EVERY_S = 5.0


def main(arguments: list[str] | None = None) -> int:
    """Run the seeds asked for; return 1 where a promise was broken, or where something was never tried."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--trace", action="store_true", help="with --seed: everything that happens in it")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _replay(options.seed, trace=options.trace)
    totals, speed = _run(options.first_seed, options.seeds, options.processes)
    _print_summary(totals, speed)
    if totals.failures:
        for seed, failure in totals.failures:
            print(f"FAILED seed {seed}: {failure}")
        print("\nThe first of them, made as small as it gets:\n")
        print(explain(min(totals.failures)[0]))
        print(f"\nReplay: python -m simulation --seed {min(totals.failures)[0]} --trace")
        return 1
    never = totals.never()
    if never and totals.schedules >= _ENOUGH:
        print("never happened, so nothing is proven about it: " + ", ".join(never))
        return 1
    print(f"every promise was kept in {totals.schedules} schedules")
    return 0


def _run(first_seed: int, seeds: int, processes: int) -> tuple[Totals, float]:
    totals = Totals()
    began = said = time.monotonic()
    for chunk in simulate_in_parallel(first_seed, seeds, processes=processes):
        totals.add(chunk)
        now = time.monotonic()
        if now - said >= _SAY_EVERY_S:
            said = now
            speed = totals.schedules / (now - began)
            print(f"{totals.schedules} of {seeds} schedules, {speed:.0f}/s", file=sys.stderr, flush=True)
        if totals.failures:
            break
    return totals, totals.schedules / max(time.monotonic() - began, 1e-9)


def _replay(seed: int, *, trace: bool) -> int:
    lines = trace_of(seed)
    holds = lines[-1] == "every promise was kept"
    print("\n".join(lines) if trace else lines[-1])
    if not holds and not trace:
        print(explain(seed))
    return 0 if holds else 1


def _print_summary(totals: Totals, speed: float) -> None:
    print(
        f"{totals.schedules} schedules, {speed:.0f}/s; {totals.records} Kinesis records, "
        f"{totals.invocations} invocations"
    )
    print("\nfaults, and how often each struck:")
    for name in FAULTS:
        print(f"  {totals.fired[name]:>9}  {name}")
    print("\nrare branches, and how often each was taken:")
    for name in RARE_BRANCHES:
        print(f"  {totals.branches[name]:>9}  {name}")
    print("\npoison in the quarantine, by code:")
    for name, count in sorted(totals.branches.items()):
        if name.startswith("poison: "):
            print(f"  {count:>9}  {name.removeprefix('poison: ')}")
    print()


if __name__ == "__main__":
    sys.exit(main())
