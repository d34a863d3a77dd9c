"""``Producer`` before the real stack, as hard as it comes: every total is exact.

Threads, a fork in mid-buffer, interrupts at whatever bytecode, a stream that takes half of what it is offered, a split.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.comparison import compare, read_all_items
from processors.pipeline_files import load_pipeline
from producers.simulators.totals import Tally
from support.hard_sending import MEMORY_BYTES, reading_of
from support.machine import Machine, merge_last_two, reshard, running, split_first
from support.paths import ROOT

pytestmark = pytest.mark.local

MIB = 2**20
LONG_S = 1_200


class Stack:
    """A stack of one shard, and how many events of each device were sent to it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.sent: Counter[str] = Counter()

    def send(self, way: str, count: int) -> dict[str, Any]:
        """Have a process send, and return what it saw."""
        seen = send(self.machine, way, count)
        assert not self.sent.keys() & seen["sent"].keys()
        self.sent.update(seen["sent"])
        return seen

    def differences(self) -> list[str]:
        """Return where the table differs from what was sent, once all is applied."""
        self.machine.run("drain", "--seconds", "500")
        pipeline = load_pipeline(ROOT / "pipeline.toml")
        tally = Tally(pipeline)
        for device, count in self.sent.items():
            for number in range(count):
                tally.add("reading", reading_of(device, number))
        return compare(pipeline, read_all_items(self.machine.home.info()), tally.totals)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("stack"), "--param", "ShardCount=1") as machine:
        yield Stack(machine)


def send(machine: Machine, way: str, count: int) -> dict[str, Any]:
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    done = subprocess.run(
        [sys.executable, "-P", "-X", "faulthandler", "-m", "support.hard_sending", way, str(machine.home.root), str(count)],
        cwd=machine.folder, env={**machine.environment, "PYTHONPATH": path}, capture_output=True, text=True,
        timeout=LONG_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    seen: dict[str, Any] = json.loads(done.stdout)
    print(way, seen)
    return seen


COUNTS = [2_000, pytest.param(100_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
def test_eight_threads_put_and_every_total_is_exact(stack: Stack, count: int) -> None:
    stack.send("in_threads", count)
    assert stack.differences() == []


@pytest.mark.parametrize("count", COUNTS)
def test_a_fork_in_mid_buffer_leaves_every_total_exact(stack: Stack, count: int) -> None:
    assert stack.send("forked", count)["child"] == 0
    assert stack.differences() == []


@pytest.mark.parametrize("count", COUNTS)
def test_interrupts_at_whatever_bytecode_leave_every_total_exact(stack: Stack, count: int) -> None:
    assert stack.send("interrupted", count)["interrupts"]
    assert stack.differences() == []


@pytest.mark.parametrize("seconds", [4, pytest.param(300, marks=pytest.mark.slow)])
def test_a_stream_that_takes_half_of_what_it_is_offered_loses_nothing_and_fills_no_more_than_it_may(
    stack: Stack, seconds: int
) -> None:
    """How near to the limit it came is printed; that it comes near is a law in virtual time (test_pace.py)."""
    seen = stack.send("throttled", seconds)
    assert seen["grown_mib"] <= MEMORY_BYTES / MIB
    assert stack.differences() == []


@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_two_splits_and_a_merge_during_a_load_leave_every_total_exact(tmp_path: Path, seconds: int) -> None:
    with running(tmp_path) as machine:
        load_while_it_is_resharded(machine, seconds)


def load_while_it_is_resharded(machine: Machine, seconds: int) -> None:
    load = subprocess.Popen(
        [
            sys.executable, "-P", "-m", "infra.commands.main", "load", "--events-per-s", "1000", "--devices", "100", "--seconds",
            str(seconds), "--profile", "realistic", "--pipeline", str(ROOT / "pipeline.toml"),
        ],
        cwd=machine.folder, env=machine.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert load.stderr is not None
    try:
        assert any(" sending: " in line for line in load.stderr)
        reshard(machine, split_first)
        reshard(machine, split_first)
        reshard(machine, merge_last_two)
        said, errors = load.communicate(timeout=LONG_S)
    finally:
        load.kill()
        load.communicate()
    print(said)
    assert load.returncode == 0, said + errors
    assert re.search(rf"^sent {1_000 * seconds:,} events", said), said
    assert re.search(r"^exact: ", said, re.MULTILINE), said
