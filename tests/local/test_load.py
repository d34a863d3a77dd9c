"""``streamgage load`` against the real stack: any pipeline, exact to the digit, ended by whoever ends it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.aws.stacks import DeployedStack
from infra.commands.main import build_parser, main
from infra.local.stack.children import wait_until
from infra.local.stack.home import is_alive
from support.machine import PATIENCE_S, Machine
from support.odd_pipeline import write_odd
from support.paths import ROOT
from support.wheel import build_wheel, install

pytestmark = pytest.mark.local

PAGE = (ROOT / "docs" / "load.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A stack of a pipeline that is unlike ours."""
    folder = tmp_path_factory.mktemp("odd")
    machine = Machine(folder)
    machine.run(
        "up", "--detach", "--port", "0", "--kinesis-port", "0", "--param", "BatchingWindow=0",
        "--pipeline", str(write_odd(folder)),
    )  # fmt: skip
    pids = machine.pids()
    try:
        yield machine
    finally:
        machine.stop()
    assert not [pid for pid in pids if is_alive(pid)]


def start(machine: Machine, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "infra.commands.main", "load", *arguments],
        cwd=machine.folder,
        env=machine.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def senders_of(parent: int) -> list[int]:
    """Return the children of *parent* that send."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                is_child = int((each / "stat").read_text().rpartition(")")[2].split()[1]) == parent
                if is_child and b"infra.load" in (each / "cmdline").read_bytes():
                    found.append(int(each.name))
            except OSError:  # it ended meanwhile
                continue
    return found


def until_sending(load: "subprocess.Popen[str]") -> list[int]:
    """Return the senders' pids, once the load says that they have sent something."""
    assert load.stderr is not None
    for line in load.stderr:
        if re.search(r" sending: [1-9]", line):
            return senders_of(load.pid)
    raise AssertionError(f"it ended: {load.wait()}")


def test_the_events_of_any_pipeline_are_exact_also_where_others_feed_the_same_rows(machine: Machine) -> None:
    for seed in ("1", "2"):  # the second finds the rows of the first
        done = machine.run(
            "load", "--events-per-s", "1500", "--seconds", "2", "--devices", "50", "--profile", "realistic", "--seed", seed,
            "--workers", "2",
        )  # fmt: skip
        assert re.search(r"^sent 3,000 events", done.stdout), done.stdout
        assert re.search(r"exact: [\d,]+ values of [\d,]+ rows", done.stdout), done.stdout
        assert "counts twice" in done.stdout
    assert "are not told apart" in done.stdout


def test_totals_that_are_not_what_was_sent_end_it_with_1(machine: Machine) -> None:
    same = (
        "load",
        "--events-per-s",
        "100",
        "--seconds",
        "1",
        "--devices",
        "5",
        "--mark",
        "twice",
        "--source",
        "note",
    )
    assert machine.run(*same).returncode == 0
    done = machine.run(*same, check=False)
    assert done.returncode == 1
    assert re.search(r"different: authors twice-\d+ 1d from \d+: \d+ events, \d+ were sent", done.stdout)
    assert "differences in" in done.stdout


def test_a_signal_ends_the_sending_and_what_was_sent_is_compared(machine: Machine) -> None:
    load = start(machine, "--events-per-s", "300", "--seconds", "3600", "--devices", "50")
    senders = until_sending(load)
    load.send_signal(signal.SIGINT)
    said, errors = load.communicate(timeout=PATIENCE_S)
    assert load.returncode == 130, errors
    assert "exact: " in said
    assert senders
    assert not [pid for pid in senders if is_alive(pid)]


def test_senders_end_with_the_one_who_started_them_and_it_with_them(machine: Machine) -> None:
    load = start(machine, "--events-per-s", "300", "--seconds", "3600", "--devices", "50", "--workers", "2")
    senders = until_sending(load)
    assert len(senders) == 2
    os.kill(senders[0], signal.SIGKILL)
    _, errors = load.communicate(timeout=PATIENCE_S)
    assert load.returncode == 1
    assert "a sender ended with status -9" in errors
    assert not is_alive(senders[1])

    load = start(machine, "--events-per-s", "300", "--seconds", "3600", "--devices", "50")
    (sender,) = until_sending(load)
    load.kill()
    load.communicate()
    deadline = time.monotonic() + PATIENCE_S
    while is_alive(sender) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(sender)


def test_the_doctor_sends_a_record_the_whole_way_before_it_reads_everything_over(machine: Machine) -> None:
    before = machine.home.status()["counters"]["records_invoked"]
    done = machine.run("doctor")
    first, second, *_ = done.stdout.splitlines()
    assert re.match(r"ok  stream: .* is ACTIVE", first)
    assert re.match(r"ok  round trip: .* applied after", second)
    assert "nothing is damaged" in done.stdout
    wait_until(
        lambda: machine.home.status()["counters"]["records_invoked"] > before,
        seconds=PATIENCE_S,
        what="the record in the mapping's counters",
    )


@pytest.mark.parametrize("seconds", [3, pytest.param(30, marks=pytest.mark.slow)])  # 30: as they stand there
def test_the_lines_of_the_page_work_in_an_empty_folder_from_an_installed_wheel(
    tmp_path: Path, seconds: int
) -> None:
    added = install(build_wheel(tmp_path), tmp_path)
    environment = {key: value for key, value in os.environ.items() if key != "STREAMGAGE_HOME"}
    environment |= {"PYTHONPATH": added["PYTHONPATH"], "PATH": f"{added['PROGRAMS']}:{os.environ['PATH']}"}
    (profile,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    # The ports are the defaults there, which this machine may have given to somebody else; and no batch waits here.
    lines = BLOCKS[0].replace("up --detach", "up --detach --port 0 --kinesis-port 0 --param BatchingWindow=0")
    lines = lines.replace("--seconds 30", f"--seconds {seconds}")
    script = (
        f"{lines}\ncat > evening.toml <<'END'\n{profile}END\n{BLOCKS[1]}\npython device.py\nstreamgage drain\n"
        "streamgage query device_metrics device_id=d1 metric=temperature --window 1h --format csv\n"
        "python -c 'import infra; print(infra.__file__)'\n"
    )
    folder = tmp_path / "work"
    folder.mkdir()
    try:
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    finally:
        subprocess.run(
            ["streamgage", "down"],
            cwd=folder / "my-pipeline",
            env=environment,
            check=False,
            capture_output=True,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"sent {2_000 * seconds:,} events" in done.stdout
    assert len(re.findall(r"^exact: ", done.stdout, re.MULTILINE)) == 2
    assert "ok  round trip" in done.stdout
    assert re.search(r"^.*d1,temperature,.*\b10,", done.stdout, re.MULTILINE), done.stdout
    assert str(tmp_path / "installed") in done.stdout


def test_the_commands_of_a_load_on_aws_are_commands() -> None:
    for line in BLOCKS[2].splitlines():
        assert callable(build_parser().parse_args(line.split()[1:]).run)


def test_a_load_to_a_stack_on_aws_finds_stream_and_table_by_its_outputs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The endpoints are the local stack's: what is AWS's alone (its prices, its throttling) is not here."""
    info = machine.home.info()
    environment = dict(re.findall(r"export (\w+)='?([^'\n]*)'?", machine.run("env").stdout))
    outputs = {
        "StreamName": info.stream,
        "TableName": info.table,
        "FunctionName": "x-Aggregate",
        "Lanes": "shard",
    }
    stack = DeployedStack("x", info.region, "CREATE_COMPLETE", outputs)
    monkeypatch.setattr("infra.aws.stacks.find_stack", lambda _name, _region: stack)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    words = [
        "load",
        "--events-per-s",
        "300",
        "--seconds",
        "1",
        "--devices",
        "20",
        "--target",
        "aws",
        "--stack",
        "x",
    ]
    code = main([*words, "--pipeline", str(machine.folder / "odd.toml"), "--source", "note"])
    said = capsys.readouterr()
    assert code == 0, said
    assert "about $0.00 for 300 events" in said.err
    assert "exact: " in said.out
    assert (
        main(["doctor", "--target", "aws", "--stack", "x", "--pipeline", str(machine.folder / "odd.toml")])
        == 1
    )
    told = capsys.readouterr().out
    assert re.search(r"^ok  permission: these credentials may put records", told, re.MULTILINE), told
    assert re.search(r"^ok  round trip: .* applied after", told, re.MULTILINE), told
    assert re.search(r"^BAD mapping: ", told, re.MULTILINE), told  # Lambda's API is not served here
