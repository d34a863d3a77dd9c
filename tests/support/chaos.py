"""One real stack under chaos: a home, fixed ports, a clock that steps, and loads of which every event must count once.

The home is kept from cell to cell, so each cell also answers for what the ones before it sent.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from botocore.exceptions import ClientError

from infra.local.comparison import compare, read_all_items
from infra.local.stack.children import wait_until
from infra.local.stack.home import is_alive
from infra.local.stack.ports import free_ports
from processors.pipeline_files import load_pipeline
from producers.simulators.totals import Totals, read_totals
from support import stepping
from support.machine import PATIENCE_S, Machine
from support.paths import ROOT

EVENTS, RATE = 2_000, 1_500
PIPELINE = ROOT / "pipeline.toml"
STEPPING = Path(stepping.__file__)


class Rig:
    """A stack that is started again wherever a cell leaves it down."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.machine, self.dice = Machine(folder), random.Random(seed)
        self.home = self.machine.home
        self.clock, self.before = folder / "clock", folder / "before"
        self.step_s = 0.0
        stepping.write_step(self.clock, self.step_s)
        wanted = dict.fromkeys(("aws", "kinesis", "metrics"), (0, ""))
        self.ports = free_ports(wanted)
        self.sent: Totals = {}
        self.ends: list[str] = []  # the last words of each stack that had to be started again
        self.stopper: subprocess.Popen[str] | None = None
        self._day = 0
        self._up: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of streamgage, whose clock is the stack's."""
        return [sys.executable, "-P", str(STEPPING), str(self.clock), "-m", "infra.commands.main", *arguments]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments), cwd=self.machine.folder, env=self._environment(), capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip

    def popen(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command."""
        return subprocess.Popen(
            self.command(*arguments), cwd=self.machine.folder, env=self._environment(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def up_command(self) -> list[str]:
        """Return how the stack is started."""
        ports = ((f"--{role}port", role) for role in ("", "kinesis-", "metrics-"))
        named = [
            word for option, role in ports for word in (option, str(self.ports[role.rstrip("-") or "aws"]))
        ]
        return [
            "up",
            *named,
            "--pipeline",
            str(PIPELINE),
            "--param",
            "BatchingWindow=0",
            "--param",
            "BatchSize=10",
        ]

    def try_up(self) -> str | None:
        """Start the stack; return None, or what it said where it refuses."""
        self.home.logs.mkdir(parents=True, exist_ok=True)
        log = self.home.logs / "up.log"
        with log.open("wb") as output:
            self._up = subprocess.Popen(
                self.command(*self.up_command()), cwd=self.machine.folder, env=self._environment(), stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        up, told = self._up, "streamgage: up: Kinesis"
        wait_until(lambda: up.poll() is not None or told in log.read_text(), seconds=PATIENCE_S, what="up")
        return None if up.poll() is None else log.read_text()

    def is_up(self) -> bool:
        """Tell whether the supervisor runs."""
        return self._up is not None and self._up.poll() is None

    def settle(self) -> None:
        """Start the stack again where it has ended; whatever was done may not keep it from starting."""
        if not self.is_up():
            last = self.said().splitlines()[-1:] if self._up is not None else []
            self.ends += [
                each for each in last if not each.startswith("streamgage: stopping")
            ]  # as it was told to
            refused = self.try_up()
            assert refused is None, refused
            if not self.home.keys_file.exists():
                self.run("keys", "create", "chaos")

    def said(self) -> str:
        """Return what the supervisor said."""
        return (self.home.logs / "up.log").read_text(errors="replace")

    def victims(self, role: str) -> list[int]:
        """Return the living processes of *role* (``all``: everybody's)."""
        if role == "all":
            return tree_of(self._up.pid) if self._up is not None and self._up.poll() is None else []
        if role == "supervisor":
            return [self._up.pid] if self.is_up() and self._up is not None else []
        if role == "sandbox":
            named = self.home.status().get("sandboxes", [])
        elif role == "http sandbox":  # of the API's function, of the collector, of the WebSocket API's
            named = self.home.gateway_status().get("sandboxes", [])
        else:
            named = [(self.home.raw_info() or {"pids": {}})["pids"].get(role, 0)]
        return [pid for pid in named if is_alive(pid)]

    def reap(self) -> None:
        """Wait for the supervisor's end."""
        if self._up is not None:
            self._up.wait(PATIENCE_S)

    def await_work(self, since_bytes: int | None = None) -> None:
        """Wait until the function has done more than it had."""
        log = self.home.logs / "function.log"
        size = log.stat().st_size if since_bytes is None else since_bytes
        wait_until(lambda: log.stat().st_size > size, seconds=PATIENCE_S, what="the function at work")

    def freeze_mapping(self) -> int:
        """Stop the mapping where it stands: what is sent now is not applied."""
        (mapping,) = self.victims("mapping")
        os.kill(mapping, signal.SIGSTOP)
        return mapping

    @contextmanager
    def backlog(self) -> Iterator[None]:
        """Nothing is applied meanwhile; afterwards the function has just begun."""
        size, mapping = (self.home.logs / "function.log").stat().st_size, self.freeze_mapping()
        try:
            yield
        finally:
            os.kill(mapping, signal.SIGCONT)
        self.await_work(size)

    def keep_up_until(self, condition: Callable[[], bool]) -> None:
        """Start the stack again whenever it is down, as a person would who sends to it."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition() and time.monotonic() < deadline_s:
            self.settle()
            time.sleep(0.05)

    def goes_on(self) -> str | None:
        """Start, drain and compare; return None where all is exact, or how a loss or damage is named."""
        refused = self.try_up()
        if refused is not None:
            return refused
        done = self.run("drain", "--seconds", "20")
        if done.returncode:
            return done.stderr if self.is_up() else self.said()
        try:
            found = self.differences()
        except ClientError as error:
            return str(error)
        assert found == []
        return None

    def keep_before(self) -> None:
        """Keep a copy of the stores as they are, and go on."""
        self.down()
        shutil.rmtree(self.before, ignore_errors=True)
        shutil.copytree(self.home.root / "data", self.before)
        self.settle()

    def put_back(self, kept: Path) -> None:
        """Put the home back as it was *kept*."""
        shutil.rmtree(self.home.root)
        shutil.copytree(kept, self.home.root, symlinks=True)

    def down(self) -> None:
        """Stop the stack in order, as a person does."""
        done = self.run("down")
        assert done.returncode == 0, done.stderr
        self.reap()

    def send(self) -> "Sender":
        """Start to send events of another day."""
        self._day += 1
        return Sender(self, self._day)

    def drain(self) -> None:
        """Wait until all is applied."""
        for _ in range(3):  # it may just be ending of what was done to it
            self.settle()
            done = self.run("drain", "--seconds", "60")
            if done.returncode == 0 or self.is_up():
                break
        assert done.returncode == 0, done.stderr + self.said()

    def differences(self) -> list[str]:
        """Return where the tables differ from all that was ever sent."""
        return compare(load_pipeline(PIPELINE), read_all_items(self.home.info()), self.sent)

    def note_sent(self, totals: Path) -> None:
        for rollup, rows in read_totals(totals).items():
            self.sent.setdefault(rollup, {}).update(rows)

    def end(self) -> None:
        """End all of it, whatever it is doing."""
        for pid in self.victims("all"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                unlimited(pid)
        if self.is_up():
            self.run("down")
        if self._up is not None and self._up.poll() is None:
            self._up.kill()
            self._up.wait()

    def _environment(self) -> dict[str, str]:
        return {**self.machine.environment, "PYTHONPATH": ""}


class Sender:
    """One load on its way; at the end of ``with`` it has ended well, and what the tables must have is noted."""

    def __init__(self, rig: Rig, day: int) -> None:
        self._rig, self.totals = rig, rig.machine.folder / f"totals-{day}.json"
        start = date(2026, 1, 1) + timedelta(days=day)
        self._process = rig.popen(
            "simulate", "fleet", "--devices", "20", "--events", str(EVENTS), "--metrics", "2", "--period", "1s", "--seed",
            str(day), "--start", start.isoformat(), "--totals", str(self.totals), "--rate", str(RATE), "--pipeline",
            str(PIPELINE),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        said, _ = self._process.communicate(timeout=PATIENCE_S)
        if kind is None:
            assert self._process.returncode == 0, said
            self._rig.note_sent(self.totals)

    def is_done(self) -> bool:
        """Tell whether it ended."""
        return self._process.poll() is not None


def tree_of(pid: int) -> list[int]:
    """Return *pid* and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] not in "ZX":
                parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def unlimited(pid: int) -> None:
    """Let *pid* write again."""
    limit_files(pid, resource.RLIM_INFINITY)


def limit_files(pid: int, most_bytes: int) -> None:
    """Let no file of *pid* grow beyond *most_bytes*: with 0 it is as a full disk, and a strict one."""
    with suppress(ProcessLookupError, PermissionError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, hard))
