"""A soak: minutes of load with kills, splits and merges at random. `make soak`; STREAMGAGE_SOAK_S says how long."""

import os
import random
import time
from pathlib import Path

import pytest

from support.machine import FAULTS, finish, kill, merge_last_two, reshard, running, simulate, split_first

pytestmark = [pytest.mark.local, pytest.mark.slow]

SECONDS = int(os.environ.get("STREAMGAGE_SOAK_S", "600"))
RATE = 1_000


def test_a_soak_under_kills_and_resharding_ends_with_exact_totals(tmp_path: Path) -> None:
    dice, totals, done = (
        random.Random(SECONDS),
        tmp_path / "totals.json",
        dict.fromkeys(("kills", "reshards"), 0),
    )
    with running(tmp_path, "--param", "BatchSize=50", "--kinesis-faults", FAULTS) as machine:
        sender = simulate(machine, totals, events=SECONDS * RATE, rate=RATE)
        end = time.monotonic() + SECONDS - 10
        while time.monotonic() < end and sender.poll() is None:
            kill(machine, dice.choice(("sandbox", "mapping", "kinesis")))
            done["kills"] += 1
            if done["kills"] % 5 == 0:
                reshard(machine, split_first if done["reshards"] % 2 == 0 else merge_last_two)
                done["reshards"] += 1
            print(f"{max(end - time.monotonic(), 0):.0f} s left; {done}", flush=True)
            pause = time.monotonic() + dice.uniform(2, 8)
            while time.monotonic() < min(pause, end):
                time.sleep(0.1)  # the load itself is what takes time here
        assert finish(machine, sender, totals) == []
        assert done["kills"] >= SECONDS // 20
