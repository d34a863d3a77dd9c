"""The whole pipeline on this machine: real processes, real data where it is at hand."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.stack.home import is_alive
from support.load import Load
from support.machine import DECOYS, Machine, running, victims
from support.paths import ROOT

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("stack"))
    machine.up()
    yield machine
    machine.stop()


def test_folders_of_a_persons_own_that_bear_our_names_break_nothing(machine: Machine) -> None:
    """The stack runs where they stand, and so does each command, here as a person has it: the script on the path."""
    assert {each.name for each in machine.folder.iterdir() if each.is_dir()} >= set(DECOYS)
    for command in (["check", "--pipeline", str(ROOT / "pipeline.toml")], ["status"]):
        done = subprocess.run(
            [Path(sys.executable).with_name("streamgage"), *command],
            cwd=machine.folder, env=machine.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_down_keeps_stream_and_tables_and_leaves_no_process(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    events = "".join(
        json.dumps({"device_id": "d", "metric": "m", "ts": 1_700_000_000_000 + n, "value": n}) + "\n"
        for n in range(100)
    )
    try:
        machine.up()
        first = machine.pids()
        machine.run(
            "send",
            "ndjson",
            "-",
            "--source",
            "reading",
            "--pipeline",
            str(ROOT / "pipeline.toml"),
            stdin=events,
        )
        machine.run("drain")
        machine.run("down")
        assert not [pid for pid in first if is_alive(pid)]
        refused = machine.run("query", "device_metrics", "device_id=d", "metric=m", check=False)
        assert refused.returncode == 2
        assert "streamgage up" in refused.stderr
        machine.up()
        machine.run(
            "send",
            "ndjson",
            "-",
            "--source",
            "reading",
            "--pipeline",
            str(ROOT / "pipeline.toml"),
            stdin=events,
        )
        machine.run("drain")
        (row,) = machine.query("device_metrics", "device_id=d", "metric=m", "--window", "1d")
        assert (row["events"], row["value.sum"]) == (200, 9900)
        second = machine.pids()
    finally:
        machine.stop()
    assert not [pid for pid in second if is_alive(pid)]


def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.up()
    pids = machine.pids()
    os.kill(machine.home.info().pids["supervisor"], signal.SIGINT)
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if is_alive(pid)]
    assert not machine.home.info_file.exists()


def test_a_supervisor_that_is_killed_takes_its_processes_with_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.up()
    pids = machine.pids()
    os.kill(machine.home.info().pids["supervisor"], signal.SIGKILL)
    machine.run("down")
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if is_alive(pid)]


def test_a_taken_port_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = Machine(tmp_path).run(
            "up",
            "--port",
            str(port),
            "--kinesis-port",
            "0",
            "--pipeline",
            str(ROOT / "pipeline.toml"),
            check=False,
        )
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
    assert "--port 0" in done.stderr


def test_a_second_stack_in_one_home_is_refused(machine: Machine) -> None:
    done = machine.run(
        "up", "--port", "0", "--kinesis-port", "0", "--pipeline", str(ROOT / "pipeline.toml"), check=False
    )
    assert done.returncode == 2
    assert "is running in" in done.stderr


def test_the_demo_compares_every_total(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    done = machine.run(
        "demo",
        "--readings",
        "8000",
        "--devices",
        "40",
        "--clicks",
        "2000",
        "--pipeline",
        str(ROOT / "pipeline.toml"),
    )
    assert "exact: all" in done.stdout
    assert "10,000 events" in done.stdout


@pytest.mark.slow
def test_kills_of_sandboxes_and_mapping_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    """SIGKILL by pid: sandboxes in mid-batch and the event source mapping. The bounded share is in test_faults.py."""
    pids: list[int] = []
    with (
        running(tmp_path, "--param", "BatchSize=20") as machine,
        Load(machine, events=12_000, rate=12_000) as load,
    ):
        for victim in ("sandbox", "mapping", "sandbox", "sandbox", "mapping", "sandbox", "mapping"):
            for pid in victims(machine, victim):
                os.kill(pid, signal.SIGKILL)
                pids.append(pid)
        assert load.finish() == []
    assert len(pids) >= 7
    assert not [pid for pid in pids if is_alive(pid)]
