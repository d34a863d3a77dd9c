"""A gateway that spools, killed again and again, its disk full once: every total is exact."""

import os
import random
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from infra.local.comparison import compare, read_all_items
from processors.pipeline_files import load_pipeline
from producers.simulators.totals import Tally
from support.chaos import limit_files, unlimited
from support.machine import FAULTS, Machine, running
from support.paths import ROOT
from support.spooling_gateway import events_of

pytestmark = pytest.mark.local


class Gateway:
    """One gateway after the other, on one spool; and what each of them said."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._spool = machine, machine.folder / "spool.db"
        self.kept: list[str] = []
        self.unknown: list[str] = []  # what was on its way when the gateway was killed
        self._start()

    def _start(self) -> None:
        path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "support.spooling_gateway", str(self._spool), str(self._machine.home.root)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**self._machine.environment, "PYTHONPATH": path},
            cwd=self._machine.folder, text=True, bufsize=1,
        )  # fmt: skip
        assert self._hear() == "up"

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")

    def send(self, name: str) -> None:
        self._say(name)
        assert self._hear() == f"kept {name}"
        self.kept.append(name)

    def kill_while_sending(self, name: str) -> None:
        """Kill it, maybe before it has kept *name*, maybe after it has told so; and start another."""
        self._say(name)
        self._process.kill()
        (self.kept if f"kept {name}\n" in self._ended() else self.unknown).append(name)
        self._start()

    def fill_the_disk(self, name: str) -> None:
        """No file of it may grow for a while; it takes nothing then, and goes on afterwards."""
        limit_files(self._process.pid, 0)
        self._say(name)
        assert self._hear() == f"full {name}"
        unlimited(self._process.pid)
        assert resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
        assert self._hear() == f"kept {name}"
        self.kept.append(name)

    def finish(self) -> None:
        """Wait until the spool is empty, and end it."""
        self._say("")
        assert self._hear() == "empty"
        self.end()

    def end(self) -> None:
        self._process.kill()
        self._ended()

    def _ended(self) -> str:
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        if self._process.stdout.closed:
            return ""
        said = self._process.stdout.read()
        self._process.wait()
        self._process.stdout.close()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        return said


def totals_are_exact(folder: Path, *, kills: int) -> None:
    rng, pipeline = random.Random(kills), load_pipeline(ROOT / "pipeline.toml")
    with running(folder, "--kinesis-faults", FAULTS) as machine:
        gateway = Gateway(machine)
        try:
            for life in range(kills):
                for number in range(rng.randint(1, 20)):
                    gateway.send(f"g{life}-{number}")
                gateway.kill_while_sending(f"g{life}-last")
                if life == kills // 2:
                    gateway.fill_the_disk(f"g{life}-full")
            gateway.finish()
        finally:
            gateway.end()
        machine.run("drain", "--seconds", "200")
        tally = Tally(pipeline)
        for name in gateway.kept:
            for event in events_of(name):
                tally.add("reading", event)
        for name in gateway.unknown:  # all of it is there, or nothing
            asked = ("device_metrics", f"device_id={name}", "metric=temperature", "--window", "1h")
            if machine.query(*asked):
                for event in events_of(name):
                    tally.add("reading", event)
        assert compare(pipeline, read_all_items(machine.home.info()), tally.totals) == []


def test_a_gateway_killed_three_times_and_its_disk_full_once_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    totals_are_exact(tmp_path, kills=3)


@pytest.mark.slow
def test_a_gateway_killed_twenty_times_and_its_disk_full_once_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    totals_are_exact(tmp_path, kills=20)
