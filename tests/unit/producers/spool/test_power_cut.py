"""A power cut: of what was not synced, any sector may be on the disk or not. What was accepted is there."""

import random
from pathlib import Path

import pytest

from producers.spool.spool import Spool
from support.spooled import files_of, name_of, names_in, put_back, record_of

SECTOR = 512


def half_written(rng: random.Random, before: bytes, after: bytes) -> bytes:
    """Return *before*, with some of the sectors in which *after* differs, of a length between the two."""
    size = rng.choice((len(before), len(after), rng.randint(*sorted((len(before), len(after))))))
    mixed = bytearray(before[:size].ljust(size, b"\0"))
    share = rng.random()
    for at in range(0, size, SECTOR):
        if rng.random() < share:
            mixed[at : at + SECTOR] = after[at : at + SECTOR].ljust(len(mixed[at : at + SECTOR]), b"\0")
    return bytes(mixed)


class Disk:
    """The files of a spool after each call, and what a power cut in the next call makes of them."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self.before = self.now = self._read()

    def note(self) -> None:
        self.before, self.now = self.now, self._read()

    def _read(self) -> tuple[bytes, bytes]:
        files = files_of(self.path, "", "-wal")
        return files.get(self.name, b""), files.get(f"{self.name}-wal", b"")

    def cut(self, rng: random.Random) -> dict[str, bytes]:
        """SQLite syncs the log before it writes to the file, and the file before it begins the log anew."""
        (file, log), (new_file, new_log) = self.before, self.now
        if file == new_file:
            return {self.name: file, f"{self.name}-wal": half_written(rng, log, new_log)}
        if new_log[:32] == log[:32]:  # its head: no new run
            return {self.name: half_written(rng, file, new_file), f"{self.name}-wal": new_log}
        return {self.name: new_file, f"{self.name}-wal": new_log}


def live_and_cut(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    path, copy = folder / "spool.db", folder / "copy.db"
    put_back(path, {})
    spool = Spool.open(path)
    disk = Disk(path)
    accepted: set[str] = set()
    removed: set[str] = set()
    tried: set[str] = set()
    for step in range(8):
        safe = set(accepted)
        if rng.random() < 0.3:
            head = spool.head(10**6, 3)
            removed |= {name_of(each.record) for each in head}
            spool.remove([each.id for each in head])
        else:
            names = [f"{seed}.{step}.{each}" for each in range(rng.choice((1, 3, 30)))]
            tried |= set(names)
            spool.append([record_of(each) for each in names], priority=rng.randrange(2))
            accepted |= set(names)
        disk.note()
        for _ in range(3):
            files = {key.replace(path.name, copy.name): each for key, each in disk.cut(rng).items()}
            put_back(copy, files)
            with Spool.open(copy) as found:
                names_there = names_in(found)
            assert len(names_there) == len(set(names_there)), seed
            assert set(names_there) >= safe - removed, (seed, step)
            assert set(names_there) <= tried, (seed, step)
        put_back(
            copy,
            {key.replace(path.name, copy.name): each for key, each in files_of(path, "", "-wal").items()},
        )
        with Spool.open(copy) as found:
            assert set(names_in(found)) >= accepted - removed, (seed, step)
            assert found.mended is None
    spool.close()


@pytest.mark.parametrize("seed", range(3))
def test_after_a_power_cut_all_that_was_accepted_is_there(seed: int, tmp_path: Path) -> None:
    live_and_cut(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(8))
def test_after_many_power_cuts_all_that_was_accepted_is_there(share: int, tmp_path: Path) -> None:
    for seed in range(100 + 10 * share, 110 + 10 * share):
        live_and_cut(seed, tmp_path)
