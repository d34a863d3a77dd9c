"""``streamgage doctor``: what it says of a whole home, of damage, and of what was given up."""

import fcntl
import shutil
import sqlite3
from pathlib import Path

import pytest

from infra.commands.main import main
from support.damaged_home import RECORDS, Kept, go_on, make, salvaged_totals


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return make(tmp_path_factory.mktemp("home"), killed=True)


@pytest.fixture
def home(kept: Kept, tmp_path: Path) -> Path:
    shutil.copytree(kept.home, tmp_path / "home")
    return tmp_path / "home"


def doctor(home: Path, *more: str) -> int:
    return main(["doctor", "--home", str(home), *more])


def contents(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


def damage_log(home: Path) -> Path:
    path = min((home / "data" / "kinesis" / "logs").rglob("*.log"))
    content = bytearray(path.read_bytes())
    content[40] ^= 1  # of its first record's data
    path.write_bytes(content)
    return path


def test_a_whole_home_is_told_so_and_nothing_is_changed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(home)
    assert doctor(home) == 0
    assert contents(home) == before
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == "nothing is damaged"
    assert "stream: events, shardId-000000000001" in output
    assert "62 items in 1 tables" in output


def test_damage_is_named_with_its_extent_and_nothing_is_changed(
    home: Path, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damage_log(home)
    before = contents(home)
    assert doctor(home) == 1
    assert contents(home) == before
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("damaged:")]
    assert f"of {path}; the rest of it is whole. Put a copy back, or go on without it" in line
    assert "stream events, shardId-000000000000: 1 record behind 49" in line
    outcome = go_on(home, kept)
    assert outcome.named is not None
    assert "damaged: stream events, shardId-000000000000, records 49" in outcome.named


def test_a_loss_that_is_accepted_is_written_down_and_the_rest_goes_on(
    home: Path, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damage_log(home)
    damaged = path.read_bytes()
    assert doctor(home, "--accept-loss") == 0
    assert "given up: 1 of 1" in capsys.readouterr().out
    assert doctor(home) == 0
    told = capsys.readouterr().out
    assert "given up 20" in told
    assert "1 record behind" in told
    assert damaged in [each.read_bytes() for each in (home / "data" / "given-up").rglob("*.log")]
    totals = salvaged_totals(home)
    # The record had been applied before it was damaged.
    assert totals == kept.totals
    assert sum(totals.values()) == sum(range(RECORDS))


def test_an_item_that_is_damaged_is_named_and_can_be_given_up(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(home / "data" / "tables" / "tables.db") as opened:
        opened.execute("PRAGMA wal_checkpoint")
        opened.execute("UPDATE items_1 SET body = body || ' ' WHERE pk = ? AND sk = ?", (b"key 7", b"0"))
    opened.close()
    assert doctor(home) == 1
    assert "at b'key 7', b'0' is not what was written" in capsys.readouterr().out
    assert doctor(home, "--accept-loss") == 0
    assert doctor(home) == 0
    assert "61 items" in capsys.readouterr().out


def test_what_cannot_be_given_up_says_what_to_do(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "data" / "checkpoints.json").write_text("{")
    (home / "credentials.json").write_bytes(b"\xff")
    assert doctor(home, "--accept-loss") == 1
    output = capsys.readouterr().out
    assert "checkpoints.json is not a checkpoint" in output
    assert "the next `streamgage up` makes new ones" in output
    assert "given up: 0 of 2" in output


def test_a_stack_that_runs_is_read_and_not_mended(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        (home / "data" / "kinesis" / "lock").open("rb+") as lock,
        (home / "data" / "tables" / "lock").open() as other,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)
        assert doctor(home) == 0
        assert "nothing is damaged, of a stack that runs, as it is now" in capsys.readouterr().out
        damage_log(home)
        assert doctor(home, "--accept-loss") == 2
        assert "the stack runs; stop it first: streamgage down" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_no_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(tmp_path / "nowhere") == 2
    assert "nowhere is no home of a stack" in capsys.readouterr().err
