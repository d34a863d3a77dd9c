"""The whole pipeline on this machine: real processes, real data where it is at hand."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

import pytest

from infra.local.stack.children import wait_until
from infra.local.stack.clients import local_client
from infra.local.stack.home import is_alive
from support.load import Load
from support.machine import DECOYS, PATIENCE_S, Machine, running, victims
from support.paths import ROOT

pytestmark = pytest.mark.local

ANY_PORT = ("--port", "0", "--kinesis-port", "0", "--pipeline", str(ROOT / "pipeline.toml"))


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


def test_a_parameter_on_a_kept_home_is_carried_out_or_refused_and_never_passed_over(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    try:
        machine.up()
        assert stream_of(machine) == (2, 24)
        machine.run("down")
        refused = machine.run(
            "up",
            *ANY_PORT,
            "--param",
            "ParallelizationFactor=2",
            "--param",
            "StartAt=1700000000",
            check=False,
        )
        assert refused.returncode == 2
        assert "counts twice" in refused.stderr
        assert "the one in" in refused.stderr
        machine.up("--param", "ShardCount=4", "--param", "RetentionHours=48")
        assert stream_of(machine) == (4, 48)
    finally:
        machine.stop()


def test_a_child_that_cannot_live_ends_the_stack_with_its_last_words(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.up()
    pids = machine.pids()
    machine.home.mapping_config_file.write_text("{")
    os.kill(machine.home.info().pids["mapping"], signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), seconds=PATIENCE_S, what="the end of every process")
    said = (machine.home.logs / "up.log").read_text()
    assert (
        "mapping ended by itself 2 times in a row (status 2), so the stack ends; the end of its log" in said
    )
    assert "mapping.json is not JSON" in said.partition("so the stack ends")[2]
    assert "Traceback" not in said
    assert not machine.home.info_file.exists()


def test_two_ups_at_one_moment_leave_one_stack_and_the_other_says_so(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    command = [sys.executable, "-P", "-m", "infra.commands.main", "up", *ANY_PORT]
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=machine.environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        wait_until(
            lambda: machine.home.info_file.exists() and any(each.poll() is not None for each in both),
            seconds=PATIENCE_S,
            what="a winner and a loser",
        )
        (loser,) = [each for each in both if each.poll() is not None]
        (winner,) = [each for each in both if each is not loser]
        assert loser.stderr is not None
        said = loser.stderr.read()
        assert (
            loser.returncode,
            f"is running in {machine.home.root} already (pid {winner.pid})" in said,
        ) == (2, True)
        pids = machine.pids()
        assert all(map(is_alive, pids))
    finally:
        machine.stop()
        for each in both:
            each.wait(60)
            assert each.stderr is not None
            each.stderr.close()
    assert not [pid for pid in pids if is_alive(pid)]


def stream_of(machine: Machine) -> tuple[int, int]:
    info = machine.home.info()
    kinesis = local_client("kinesis", info.endpoints["kinesis"], info.credentials)
    summary = kinesis.describe_stream_summary(StreamName=info.stream)["StreamDescriptionSummary"]
    return summary["OpenShardCount"], summary["RetentionPeriodHours"]


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
    said, exact, answers = done.stdout.partition("exact: all")
    assert exact
    assert "10,000 events" in answers
    device, pages = answers.split("$ streamgage query ")[1:]
    assert "streamgage query" not in said
    assert device.startswith("device_metrics device_id=device-0000 metric=")
    assert pages.startswith("page_views --window 1d --top 5 --by events")
    events = [int(line.split("│")[2]) for line in pages.splitlines() if line.startswith("│")]
    assert len(events) == 5
    assert events == sorted(events, reverse=True)


def test_a_demo_that_is_kept_goes_on_sending_until_it_is_stopped(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    command = [
        *(sys.executable, "-P", "-m", "infra.commands.main", "demo", "--keep"),
        *(
            "--readings",
            "2000",
            "--devices",
            "10",
            "--clicks",
            "500",
            "--pipeline",
            str(ROOT / "pipeline.toml"),
        ),
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, env=machine.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            goes_on = dropwhile(lambda line: "goes on sending" not in line, process.stdout)
            page = next(line for line in goes_on if line.startswith("page: ")).removeprefix("page: ").strip()
            was = _clicks_beyond(500, page)
            assert _clicks_beyond(was + 5, page) > was
            process.terminate()  # SIGINT is ignored where these tests run in the background
            process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0
        finally:
            process.kill()


def _clicks_beyond(known: int, page: str) -> int:
    """Return how many clicks there are, once there are more than are *known*."""
    end_s = time.monotonic() + PATIENCE_S
    address = f"{page}v1/rollups/page_views/range?window=1d&group_by="
    while True:
        with urllib.request.urlopen(address) as answer:  # noqa: S310 - on loopback
            clicks = sum(row["events"] for row in json.load(answer)["rows"])
        if clicks > known:
            return int(clicks)
        assert time.monotonic() < end_s
        time.sleep(0.2)


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
