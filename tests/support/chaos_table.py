"""The chaos table: what is done to a stack (rows), and when (columns). Data; `test_chaos` runs each cell.

Each act is given the rig while its phase lasts, and leaves the stack as the machine would: running, or dead.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from urllib.parse import urlsplit

from infra.local.stack.children import wait_until
from infra.local.stack.home import write_json
from infra.local.stack.processes import Identity, identify, runs
from support import stepping
from support.chaos import Rig, limit_files, unlimited
from support.machine import PATIENCE_S

HOLD_S = 1.5
"""How long a disk is full, and processes are stopped, under load."""
HOUR_S = 3_600.0
ROLES = ("kinesis", "dynamodb", "aws", "mapping", "metrics", "gateway", "changes", "sandbox", "http sandbox")


class Phase(StrEnum):
    """When it is done; BETWEEN: while the stack is down, after a kill -9 of all of it or in order."""

    SENDING = "sending"
    APPLYING = "applying"
    DRAINED = "drained"
    STOPPING = "stopping"
    BETWEEN = "between runs"


UNDER_WAY = (Phase.SENDING, Phase.APPLYING, Phase.DRAINED, Phase.STOPPING)
Act = Callable[[Rig], None]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell. ``may_lose``: what is done destroys data, so that a loss is right where it is named."""

    row: str
    phase: Phase
    act: Act
    may_lose: bool = False

    @property
    def ends_it(self) -> bool:
        """Whether the stack ends of it. Of anything else it does not, and may not be started again by a person."""
        killed = ("kill -9 of aws", "kill -9 of the supervisor", "kill -9 of all", "a reboot")
        return self.phase in (Phase.STOPPING, Phase.BETWEEN) or self.row.startswith(killed)

    @property
    def leaves_a_kill(self) -> bool:
        """Whether what it damages is only there after a kill -9."""
        return any(each in self.row for each in ("-wal", "-shm", "stack.json", "processes.json"))

    @property
    def is_of_the_stream(self) -> bool:
        """Whether it harms what the stream keeps."""
        return (
            any(each in self.row for each in ("kinesis", "marks", "streams.json"))
            and self.phase is Phase.BETWEEN
        )

    @property
    def is_of_a_document(self) -> bool:
        """Whether it harms what describes the stack, which no load changes."""
        return self.row.removeprefix("flip: ") in DOCUMENTS and not self.leaves_a_kill

    @property
    def needs_before(self) -> bool:
        """Whether it needs the stores as they were before the load."""
        return self.row.startswith("of before")

    def __str__(self) -> str:
        return f"{self.row}, {self.phase}"


def kill(role: str, rig: Rig) -> None:
    """Kill -9 at once; what comes back by itself is the stack's to say."""
    for pid in rig.victims(role):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if role in ("supervisor", "all", "aws"):  # the emulator keeps nothing, so its end is the stack's
        rig.reap()


def kill_supervisor(rig: Rig) -> None:
    """Kill the supervisor; its children end by themselves, although nobody looks."""
    children = [each for each in map(identify, rig.victims("all")) if each is not None]
    kill("supervisor", rig)
    wait_until(lambda: not any(map(runs, children)), seconds=PATIENCE_S, what="the end of the children")


def fill_disk(role: str, rig: Rig) -> None:
    """Let no file of *role* grow for a while, then free the disk; a process that is started meanwhile has no room either."""
    limited = set[int]()
    deadline_s = time.monotonic() + HOLD_S
    while time.monotonic() < deadline_s:
        for pid in rig.victims(role):
            limit_files(pid, 0)
            limited.add(pid)
        time.sleep(0.02)
    for pid in limited.union(rig.victims("all")):
        unlimited(pid)


def freeze(role: str, rig: Rig) -> None:
    """SIGSTOP for a while, then SIGCONT."""
    frozen = rig.victims(role)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if number is signal.SIGSTOP:
            hold()


def hold() -> None:
    deadline_s = time.monotonic() + HOLD_S
    while time.monotonic() < deadline_s:
        time.sleep(0.05)  # what is under way meanwhile is the load


def step_clock(seconds: float, rig: Rig) -> None:
    """Step the time of day of everybody at once."""
    rig.step_s += seconds
    stepping.write_step(rig.clock, rig.step_s)


def second_up(rig: Rig) -> None:
    """Start another one in the same home: it says who holds it, and the first is the stack still."""
    second = rig.popen(*rig.up_command())
    is_stopping = rig.stopper is not None
    wait_until(
        lambda: second.poll() is not None or not rig.is_up(), seconds=PATIENCE_S, what="one of two to end"
    )
    if second.poll() is None:
        assert is_stopping, f"a second one took the home: {rig.said()}"
        second.terminate()  # it may have the home, which the first has let go
    said, _ = second.communicate(timeout=PATIENCE_S)
    assert is_stopping or (second.returncode == 2 and "already" in said and rig.is_up()), said


def web_page(rig: Rig) -> None:
    """Post a form from a page of elsewhere, and under a foreign name, to every port; nothing obeys."""
    info = rig.home.raw_info()
    for url in (info or {"endpoints": {}})["endpoints"].values():
        port = urlsplit(url).port
        for head in (f"Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example", "Host: evil.example"):
            with suppress(OSError):  # it is just stopping
                with socket.create_connection(("127.0.0.1", port), 5) as page:
                    page.sendall(
                        f"POST /_ministack/reset HTTP/1.1\r\n{head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
                    )
                    answer = page.recv(1000)
                assert answer == b"" or answer.split()[1] == b"403", (
                    answer
                )  # not 400: it is not even looked at


def stranger_in_the_books(boot: str, rig: Rig) -> None:
    """Write down a stranger's pid as every child's, the supervisor's and the holder's; *boot*: in which boot they ran."""
    with subprocess.Popen([sys.executable, "-P", "-c", "import signal; signal.pause()"]) as stranger:
        wait_until(lambda: identify(stranger.pid) is not None, seconds=PATIENCE_S, what="a stranger")
        own = identify(stranger.pid)
        assert own is not None
        start = f"{boot}/{own.started.rpartition('/')[2]}" if boot else own.started + "0"
        noted = Identity(stranger.pid, start)
        write_json(
            rig.home.processes_file, {role: asdict(noted) for role in ("kinesis", "mapping", "dynamodb")}
        )
        raw = rig.home.raw_info()
        if raw is not None:
            raw["pids"] = dict.fromkeys(raw["pids"], stranger.pid)
            raw["started"] = dict.fromkeys(raw["started"], start)
            write_json(rig.home.info_file, raw)
        rig.home.lock_file.write_text(json.dumps({**asdict(noted), "doing": "up"}))
        refused = rig.try_up()
        assert refused is None, refused
        assert runs(own), "a stranger was ended"
        stranger.kill()


def reboot(rig: Rig) -> None:
    """End all at once, and go on under another boot id: pids, starts and shared memory mean nothing any more."""
    if rig.stopper is not None:
        rig.stopper.kill()
    kill("all", rig)
    lock = rig.home.tables_data / "lock"
    words = lock.read_text().split()
    if words[0] == "open":
        lock.write_text(" ".join((*words[:2], "another-boot")))
    stranger_in_the_books("another-boot", rig)


def damage(kind: str, how: str, rig: Rig) -> None:
    """Flip, cut or delete one file of *kind*, while the stack is down."""
    paths = sorted(path for path in rig.home.root.rglob(kind) if path.is_file() and "aws" not in path.parts)
    assert paths, kind
    path = rig.dice.choice(paths)
    content = bytearray(path.read_bytes())
    if how == "delete" or not content:
        path.unlink()
    elif how == "cut":
        os.truncate(path, rig.dice.randrange(len(content)))
    else:
        content[rig.dice.randrange(len(content))] ^= rig.dice.randrange(1, 256)
        path.write_bytes(content)


def put_back(store: str, rig: Rig) -> None:
    """Put one of the stores back as it was before the last load."""
    ours, before = rig.home.root / "data" / store, rig.before / store
    if ours.is_dir():
        shutil.rmtree(ours)
        shutil.copytree(before, ours)
    else:
        shutil.copy(before, ours)


# Every kind of file that a home keeps, as a pattern. What only a kill leaves (-wal, -shm, who runs) is there after a kill.
STORES = (
    "data/kinesis/**/*.log",
    "marks/*",
    "streams.json",
    "tables.db",
    "tables.db-wal",
    "checkpoints.json",
)
DOCUMENTS = (
    "tables.db-shm", "stores.json", "stream.json", "fixed.json", "definition.json", "dynamodb.json", "mapping.json",
    "credentials.json", "keys.json", "stack.json", "processes.json", "lock",
)  # fmt: skip


def _cells() -> list[Cell]:
    rows: dict[str, Act] = {f"kill -9 of {role}": partial(kill, role) for role in ROLES}
    rows["kill -9 of the supervisor"] = kill_supervisor
    rows["kill -9 of the supervisor, and up at once"] = partial(kill, "supervisor")
    rows["kill -9 of all at once"] = partial(kill, "all")
    rows["a full disk"] = partial(fill_disk, "all")
    rows["a full disk under the tables"] = partial(fill_disk, "dynamodb")
    rows["a full disk under the stream"] = partial(fill_disk, "kinesis")
    rows["a full disk under the mapping"] = partial(fill_disk, "mapping")
    rows |= {
        f"SIGSTOP of {role}": partial(freeze, role) for role in ("supervisor", *ROLES) if role != "metrics"
    }
    rows["SIGSTOP of all"] = partial(freeze, "all")
    rows["the clock an hour ahead"] = partial(step_clock, HOUR_S)
    rows["the clock an hour back"] = partial(step_clock, -HOUR_S)
    rows["a second up"] = second_up
    rows["a web page at each port"] = web_page
    rows["a reboot"] = reboot
    cells = [Cell(row, phase, act) for row, act in rows.items() for phase in UNDER_WAY]
    cells.append(Cell("stale pids", Phase.BETWEEN, partial(stranger_in_the_books, "")))
    cells += [
        Cell(f"of before: {store}", Phase.BETWEEN, partial(put_back, store), may_lose=store == "kinesis")
        for store in ("kinesis", "tables", "checkpoints.json")
    ]
    damages = [(how, kind) for kind in STORES for how in ("flip", "cut", "delete")]
    damages += [("flip", kind) for kind in DOCUMENTS]
    cells += [
        Cell(f"{how}: {kind}", Phase.BETWEEN, partial(damage, kind, how), may_lose=True)
        for how, kind in damages
    ]
    return cells


CELLS = _cells()


def share(seed: int) -> list[Cell]:
    """Draw a cell of each sort: a kill, something else under way, something done between runs."""
    kills = [each for each in CELLS if each.row.startswith("kill")]
    between = [each for each in CELLS if each.phase is Phase.BETWEEN]
    others = [each for each in CELLS if each not in kills and each not in between]
    dice = random.Random(seed)
    return [dice.choice(each) for each in (kills, others, between)]
