"""A byte flips, a file is cut or deleted: everything comes out right, or the loss is named. Never silently wrong."""

import random
import shutil
from pathlib import Path

import pytest

from infra.local.doctor.accept import accept_loss
from infra.local.doctor.checkup import examine
from infra.local.stack.home import Home
from support.damaged_home import Kept, damage, files, go_on, make, salvaged_totals

CASES, SHARE = 1000, 64


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kept, Kept]:
    folder = tmp_path_factory.mktemp("homes")
    return make(folder / "stopped", killed=False), make(folder / "killed", killed=True)


def test_a_whole_home_is_whole_and_goes_on(homes: tuple[Kept, Kept], tmp_path: Path) -> None:
    for number, kept in enumerate(homes):
        folder = tmp_path / str(number)
        shutil.copytree(kept.home, folder)
        with examine(Home(folder)) as report:
            assert (report.damages, report.notes) == ([], [])
            assert {look.subject.split(":")[0] for look in report.looks} == {
                "stream",
                "tables",
                "checkpoints",
                "stack",
            }
        outcome = go_on(folder, kept)
        assert (outcome.named, outcome.totals) == (None, kept.totals)


def test_every_kind_of_file_is_there_to_be_damaged(homes: tuple[Kept, Kept]) -> None:
    stopped, killed = (files(kept.home).keys() for kept in homes)
    assert stopped == {
        ".idx", ".log", "checkpoints.json", "credentials.json", "definition.json", "dynamodb.json", "fixed.json", "identity",
        "kinesis lock", "mapping.json", "mark", "stack.json", "stores.json", "stream.json", "streams.json", "tables lock", "tables.db",
    }  # fmt: skip
    assert killed - stopped == {"tables.db-wal", "tables.db-shm"}


@pytest.mark.parametrize("share", range(8))
def test_what_is_damaged_comes_out_right_or_is_named(
    homes: tuple[Kept, Kept], tmp_path: Path, share: int
) -> None:
    for seed in range(share, SHARE, 8):
        judge(homes, tmp_path, seed)


@pytest.mark.slow
def test_what_is_damaged_a_thousand_times_comes_out_right_or_is_named(
    homes: tuple[Kept, Kept], tmp_path: Path
) -> None:
    named = sum(judge(homes, tmp_path, seed) for seed in range(CASES))
    print(f"{CASES} cases: {named} named, {CASES - named} right")


def judge(homes: tuple[Kept, Kept], folder: Path, seed: int) -> bool:
    """Damage a home by *seed*; return whether it was named. Its totals are right otherwise."""
    rng = random.Random(seed)
    kept = rng.choice(homes)
    home, again = folder / f"{seed}", folder / f"{seed}-again"
    shutil.copytree(kept.home, home)
    what = f"seed {seed}, {'killed' if kept is homes[1] else 'stopped'}: {damage(home, rng)}"
    shutil.copytree(home, again)
    outcome = go_on(home, kept)
    if outcome.named is None:
        assert outcome.totals == kept.totals, what
    else:
        assert any(word in outcome.named for word in ("damage", "missing", "cut", "checksum", "not hold")), (
            what
        )
        names_it_and_goes_on(again, kept, what)
    shutil.rmtree(home)
    shutil.rmtree(again)
    return outcome.named is not None


def names_it_and_goes_on(root: Path, kept: Kept, what: str) -> None:
    """The doctor finds what a start found; where a loss can be accepted, the rest goes on, and nothing counts twice."""
    home = Home(root)
    with examine(home) as report:
        assert report.damages, what
        remaining = accept_loss(home, report)
    if remaining:
        return
    with examine(home) as report:
        assert report.damages == [], what
    totals = salvaged_totals(root)
    assert all(totals[name] <= count for name, count in kept.totals.items()), what
