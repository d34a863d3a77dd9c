"""The share of the simulation that every change has to pass; ``make simulate SEEDS=…`` runs as many as one likes."""

import hashlib
import os
import random
import subprocess
import sys
from dataclasses import replace

import pytest

import streamgage.fold.lane_log
from simulation.__main__ import main
from simulation.plan import FAULTS, Dice, Plan, draw_plan
from simulation.runner import Simulation, Totals, explain, simulate_in_parallel, trace_of
from simulation.schedule import Scheduler, SimulationError
from simulation.shrink import shrink
from simulation.tally import LogRecord
from simulation.trace import Trace
from simulation.world import World
from support.paths import ROOT

pytest_plugins = ["simulation.pytest_plugin"]

SEEDS = 500


def test_no_schedule_breaks_a_promise_and_every_fault_and_rare_branch_is_tried() -> None:
    totals = Totals()
    for chunk in simulate_in_parallel(0, SEEDS, processes=2):
        totals.add(chunk)
        assert not totals.failures, explain(totals.failures[0][0])
    assert totals.schedules == SEEDS
    assert totals.never() == []


def test_a_calm_world_writes_nothing_twice(simulation: Simulation) -> None:
    def calm(plan: Plan) -> Plan:
        return replace(plan, rates=dict.fromkeys(FAULTS, 0.0))

    totals = simulation(range(20), change=calm)
    assert not +totals.fired
    assert not totals.branches["stored twice"]
    assert not totals.branches["conflict, ALL_OLD came back"]


def test_a_seed_replays_exactly_in_another_process() -> None:
    code = "from simulation.runner import trace_of; print(*(l for s in range(4) for l in trace_of(s)), sep='\\n')"
    here = "\n".join(line for seed in range(4) for line in trace_of(seed)) + "\n"
    there = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert hashlib.sha256(there.encode()).digest() == hashlib.sha256(here.encode()).digest()


def test_a_fault_left_out_leaves_the_dice_of_the_others() -> None:
    plan = replace(draw_plan(3), rates={"split": 0.5, "crash": 0.5})
    other = replace(plan, rates={"split": 0.5})
    both, alone = Dice(plan, Trace()), Dice(other, Trace())
    fell = []
    for _ in range(20):
        both.strikes("crash")
        fell.append((both.strikes("split"), alone.strikes("split")))
    assert all(one == two for one, two in fell)
    assert {one for one, _ in fell} == {True, False}


def test_shrinking_keeps_what_it_takes_to_fail_and_nothing_else() -> None:
    def fails(plan: Plan) -> bool:
        return bool(plan.rates["split"] and plan.rates["crash"]) and 7 not in plan.left_out

    plan = replace(draw_plan(0), rates=dict.fromkeys(FAULTS, 0.5), events=30, producers=3, shards=3)
    small = shrink(plan, fails, tries=500)
    assert {name for name, rate in small.rates.items() if rate} == {"split", "crash"}
    assert set(range(30)) - small.left_out == {7}
    assert (small.producers, small.shards) == (1, 1)


def test_shrinking_is_bounded() -> None:
    tried: list[Plan] = []

    def fails(plan: Plan) -> bool:
        tried.append(plan)
        return False

    assert shrink(draw_plan(0), fails, tries=3) == draw_plan(0)
    assert len(tried) == 3


def test_what_is_due_in_a_pause_happens_within_it() -> None:
    scheduler = Scheduler(start_ms=0, rng=random.Random(1), trace=Trace())
    seen: list[str] = []

    def slow() -> None:
        seen.append("slow begins")
        scheduler.pause(10)
        seen.append(f"slow ends at {scheduler.now_ms}")

    scheduler.after(1, slow)
    scheduler.after(5, lambda: seen.append(f"fast at {scheduler.now_ms}"))
    scheduler.after(50, lambda: seen.append("later"))
    scheduler.drain(most_steps=10)
    assert seen == ["slow begins", "fast at 5", "slow ends at 11", "later"]


def test_what_never_ends_is_told() -> None:
    scheduler = Scheduler(start_ms=0, rng=random.Random(1), trace=Trace())

    def again() -> None:
        scheduler.after(1, again)

    again()
    with pytest.raises(SimulationError, match="does not end"):
        scheduler.drain(most_steps=100)


def test_the_command_says_what_it_tried(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "4", "--processes", "1"]) == 0
    out = capsys.readouterr().out
    assert "every promise was kept in 4 schedules" in out
    assert all(fault in out for fault in FAULTS)


def test_the_command_replays_a_seed_with_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "2", "--trace"]) == 0
    out = capsys.readouterr().out
    assert "mapping starts, process 1" in out
    assert out.splitlines()[-1] == "every promise was kept"


def test_an_event_that_kinesis_lost_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(draw_plan(0))
    world.run()
    world.tally.accepted_data.add(b"never stored")
    with pytest.raises(SimulationError, match="neither in the log nor handed back"):
        world.oracle.judge()


def test_what_is_forgotten_of_producers_may_count_again_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, simulation: Simulation
) -> None:
    """The bound of streamgage.fold.lane_log, as small as it gets: then every copy is allowed to count."""
    for bound in ("LOG_BYTES", "RANGES"):
        monkeypatch.setattr(streamgage.fold.lane_log, bound, 1)
    monkeypatch.setattr(
        LogRecord, "optional", property(lambda self: self.discarded or self.original is not None)
    )
    totals = simulation(range(60))
    assert totals.branches["repeats dropped"]
    assert totals.branches["optional, and counted"]
