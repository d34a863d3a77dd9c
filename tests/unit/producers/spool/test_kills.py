"""A process that spools, killed by SIGKILL at any point, its files damaged or not: what was accepted is there, once."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from producers.spool.spool import Spool
from support.paths import ROOT
from support.spooled import name_of, put_back

HARMS = ("none", "none", "flip", "tear", "cut")


class Lives:
    """One spool, process after process, and what each said before its end."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed = path, seed
        self.kept: set[str] = set()
        self.may_be_gone: set[str] = set()
        self.rng = random.Random(seed)

    def live(self, life: int) -> None:
        """Run a process until it has said so much, and kill it there."""
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "support.spooled", str(self.path), str(self.seed), str(life)],
            stdout=subprocess.PIPE, env=environment, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            for _ in range(self.rng.randint(1, 60)):
                self._hear(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split("\n")
            for line in rest[:-1]:
                self._hear(f"{line}\n")
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        assert process.returncode == -signal.SIGKILL

    def _hear(self, line: str) -> None:
        word, *names = line.split()
        (self.kept if word == "kept" else self.may_be_gone).update(names)

    def harm(self) -> str:
        """Damage one of the files, in one place, or none."""
        harm = self.rng.choice(HARMS)
        name = self.path.with_name(self.path.name + self.rng.choice(("", "-wal")))
        if harm == "none" or not name.exists() or not name.stat().st_size:
            return "none"
        content = bytearray(name.read_bytes())
        at = self.rng.randrange(len(content))
        if harm == "flip":
            content[at] ^= 1 << self.rng.randrange(8)
        elif harm == "tear":
            content[at : at + 512] = bytes(len(content[at : at + 512]))
        else:
            del content[max(at, len(content) - 200_000) :]
        name.write_bytes(content)
        return harm

    def check(self, harm: str) -> None:
        """Open it, and compare; what was damaged is lost from here on, and named."""
        with Spool.open(self.path, fsync=False) as spool:
            before = spool.stats.damaged
            found = [name_of(each.record) for each in spool.records()]
            named = spool.stats.damaged - before + (spool.mended.lost if spool.mended else 0)
            is_told = bool(named) or spool.mended is not None
        assert len(found) == len(set(found)), (self.seed, harm)
        lost = self.kept - self.may_be_gone - set(found)
        if harm == "none":
            assert not lost, (self.seed, lost)
            assert not is_told, self.seed
        elif lost:
            assert is_told, (self.seed, harm, lost)
            assert harm == "cut" or len(lost) <= max(named, 1) <= 16, (self.seed, harm, lost, named)
        self.kept -= lost
        self.may_be_gone |= {name for name in self.kept if name not in found}


def kill(seed: int, folder: Path, *, lives: int) -> None:
    path = folder / "spool.db"
    put_back(path, {})
    each = Lives(path, seed)
    for life in range(lives):
        each.live(life)
        each.check(each.harm())


@pytest.mark.parametrize("seed", range(5))
def test_kills_at_random_points_lose_nothing_that_was_accepted_and_not_damaged(
    seed: int, tmp_path: Path
) -> None:
    kill(seed, tmp_path, lives=2)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(40))
def test_a_thousand_kills_lose_nothing_that_was_accepted_and_not_damaged(share: int, tmp_path: Path) -> None:
    for seed in range(1_000 + 5 * share, 1_005 + 5 * share):
        kill(seed, tmp_path, lives=5)
