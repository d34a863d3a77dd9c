"""What a kill leaves in the write-ahead log: all that was acknowledged is there, or its loss is named."""

import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local.dynamodb.audit import audit, give_up_log
from infra.local.dynamodb.wal import read_index, read_log
from streamgage.errors import ConfigError
from support.local_tables import Tables

ITEMS = 12


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a killed process leaves it: every item in the write-ahead log, some in the database too."""
    folder = tmp_path_factory.mktemp("killed")
    tables = Tables(folder / "at work")
    for number in range(ITEMS):
        tables.put(f"key {number}", filler={"S": "x" * 300})
        if number == 3:
            tables.store._connection.execute("PRAGMA wal_checkpoint")
    shutil.copytree(folder / "at work", folder / "left")
    tables.close()
    return folder / "left"


@pytest.fixture
def left(killed: Path, tmp_path: Path) -> Path:
    shutil.copytree(killed, tmp_path / "tables")
    return tmp_path / "tables"


def items(folder: Path) -> list[bool]:
    tables = Tables(folder)
    try:
        return [tables.get(f"key {number}") is not None for number in range(ITEMS)]
    finally:
        tables.close()


def wal(folder: Path) -> Path:
    return folder / "tables.db-wal"


def flip(path: Path, at: int, mask: int = 0x11) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)


def test_everything_is_there_after_a_kill(left: Path) -> None:
    assert audit(left, is_running=False).problems == []  # type: ignore[union-attr]
    assert items(left) == [True] * ITEMS
    assert not wal(left).exists()  # closed: all of it is in the database


def test_a_flipped_byte_anywhere_in_the_log_is_named_or_changes_nothing(killed: Path, tmp_path: Path) -> None:
    size, named = wal(killed).stat().st_size, 0
    for seed in range(60):
        folder = tmp_path / str(seed)
        shutil.copytree(killed, folder)
        flip(wal(folder), random.Random(seed).randrange(size))
        try:
            assert items(folder) == [True] * ITEMS, seed
        except ConfigError as error:
            named += 1
            assert "tables.db-wal is damaged" in str(error)  # noqa: PT017 - either of two outcomes is right
    assert named > 30


def test_the_very_last_transaction_is_missed_too(left: Path) -> None:
    log = read_log(wal(left))
    assert log is not None
    flip(wal(left), log.committed_bytes - 1)
    with pytest.raises(
        ConfigError, match=r"tables\.db-wal is damaged: \d+ of \d+ frames that were acknowledged"
    ):
        Tables(left)
    with pytest.raises(ConfigError):  # and at the next start as well
        Tables(left)


@pytest.mark.parametrize("cut", [0, 1, 31, 32, 5000])
def test_a_log_that_was_cut_is_named(left: Path, cut: int) -> None:
    os.truncate(wal(left), cut)
    with pytest.raises(ConfigError, match=r"tables\.db-wal is damaged"):
        Tables(left)


@pytest.mark.parametrize("with_index", [True, False])
def test_a_log_that_was_deleted_is_missed(left: Path, with_index: bool) -> None:  # noqa: FBT001 - a case
    wal(left).unlink()
    if not with_index:
        (left / "tables.db-shm").unlink()
    with pytest.raises(
        ConfigError, match=r"tables\.db-wal is missing, and what was written last stood in it"
    ):
        Tables(left)


@pytest.mark.parametrize(
    "damage", [lambda p: p.unlink(), lambda p: flip(p, 17), lambda p: os.truncate(p, 50)]
)
def test_the_index_alone_takes_nothing_with_it(left: Path, damage: Callable[[Path], None]) -> None:
    damage(left / "tables.db-shm")
    assert read_index(left / "tables.db-shm") is None
    assert items(left) == [True] * ITEMS


def test_a_write_that_was_under_way_is_no_damage(left: Path) -> None:
    log = read_log(wal(left))
    assert log is not None
    frame = struct.pack(">6I", 2, 9, *struct.unpack(">2I", log.salt), 1, 2) + b"half a page"
    content = wal(left).read_bytes()[: log.committed_bytes]
    wal(left).write_bytes(content + frame)
    assert items(left) == [True] * ITEMS


def test_where_the_machine_went_down_one_unfinished_write_is_no_damage_but_two_are(left: Path) -> None:
    log = read_log(wal(left))
    assert log is not None
    (left / "lock").write_text("open 1 another-boot")
    start = log.committed_bytes - log.page_bytes - 24
    shutil.copytree(left, left.parent / "two")
    flip(wal(left), start + 30)
    assert items(left) == [True] * (ITEMS - 1) + [False]  # it may never have been acknowledged
    flip(wal(left.parent / "two"), start // 2)
    with pytest.raises(ConfigError, match=r"tables\.db-wal is damaged behind its frame"):
        Tables(left.parent / "two")


def test_what_is_whole_goes_on_once_the_loss_is_accepted(left: Path, tmp_path: Path) -> None:
    log = read_log(wal(left))
    assert log is not None
    flip(wal(left), log.committed_bytes - 1)
    before = {path: path.read_bytes() for path in left.iterdir()}
    found = audit(left, is_running=False)
    assert found is not None
    assert found.log_problem
    assert {path: path.read_bytes() for path in left.iterdir()} == before
    give_up_log(left, given_up=tmp_path / "aside")
    assert (tmp_path / "aside" / "tables.db-wal").read_bytes() == before[wal(left)]
    assert items(left) == [True] * (ITEMS - 1) + [False]


def test_a_store_of_the_version_before_that_was_closed_is_opened(left: Path) -> None:
    items(left)
    (left / "lock").write_text("4711")  # it wrote this alone, and left it there
    assert items(left) == [True] * ITEMS
