"""Each store of a home deleted, or put back from another day, under the real processes: every total, or a refusal."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.machine import Machine
from support.paths import ROOT
from support.shares import shared

pytestmark = pytest.mark.local
EVENTS = 50


def send(machine: Machine, day: int) -> None:
    events = "".join(
        json.dumps({"device_id": "d", "metric": "m", "ts": 1_700_000_000_000 + n, "value": day}) + "\n"
        for n in range(EVENTS)
    )
    machine.run(
        "send", "ndjson", "-", "--source", "reading", "--pipeline", str(ROOT / "pipeline.toml"), stdin=events
    )  # fmt: skip
    machine.run("drain")


def counted(machine: Machine) -> int:
    (row,) = machine.query("device_metrics", "device_id=d", "metric=m", "--window", "1d")
    return int(row["events"])


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The data of a home after its first day, and after its second: 50 events, and 100."""
    folder = tmp_path_factory.mktemp("days")
    machine = Machine(folder)
    kept = []
    try:
        for day in (1, 2):
            machine.up()
            send(machine, day)
            machine.run("down")
            kept.append(folder / f"day{day}")
            shutil.copytree(machine.home.root, kept[-1])
    finally:
        machine.stop()
    return kept[0], kept[1]


Act = Callable[[Machine, Path], None]


def put_back(name: str) -> Act:
    def act(machine: Machine, yesterday: Path) -> None:
        shutil.rmtree(machine.home.root / "data" / name)
        shutil.copytree(yesterday / "data" / name, machine.home.root / "data" / name)

    return act


def delete(name: str) -> Act:
    def act(machine: Machine, _: Path) -> None:
        path = machine.home.root / "data" / name
        path.unlink() if path.is_file() else shutil.rmtree(path)

    return act


def home_of(tmp_path: Path, today: Path) -> Machine:
    machine = Machine(tmp_path)
    shutil.copytree(today, machine.home.root)
    return machine


READ_AGAIN: dict[str, Act] = {
    "tables deleted": delete("tables"),
    "tables of yesterday": put_back("tables"),
    "checkpoints deleted": delete("checkpoints.json"),
}


@pytest.mark.parametrize("name", shared(READ_AGAIN, one_of=2))
def test_what_the_log_still_has_is_read_again_to_exact_totals(
    days: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    machine = home_of(tmp_path, days[1])
    READ_AGAIN[name](machine, days[0])
    try:
        machine.up()
        assert "found at the start" in machine.run("status").stdout
        machine.run("drain")
        assert counted(machine) == 2 * EVENTS
    finally:
        machine.stop()


@pytest.mark.parametrize(
    ("act", "says"),
    [(delete("kinesis"), "it was deleted, reset or exchanged"), (put_back("kinesis"), "the stream is an older copy")],
    ids=["stream deleted", "stream of yesterday"],
)  # fmt: skip
def test_a_stream_that_is_not_the_one_that_was_read_is_refused_until_a_person_accepts(
    days: tuple[Path, Path], tmp_path: Path, act: Act, says: str
) -> None:
    machine = home_of(tmp_path, days[1])
    act(machine, days[0])
    try:
        with pytest.raises(AssertionError, match=says) as refused:
            machine.up()
        assert "up --accept-loss" in str(refused.value)
        machine.up("--accept-loss")
        send(machine, 3)
        assert counted(machine) == 3 * EVENTS  # nothing that is put now is taken for a repeat
    finally:
        machine.stop()
