"""A supervisor, its children and its home under kills, races, strangers and a full disk: real processes, small ones."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from infra.commands.main import main
from infra.local.stack.books import noted_children
from infra.local.stack.children import wait_until
from infra.local.stack.home import Home
from infra.local.stack.leftovers import end_leftovers, take_down
from infra.local.stack.lock import Held, hold
from infra.local.stack.processes import Identity, end, identify, runs
from streamgage.errors import ConfigError
from support.paths import ROOT

pytestmark = pytest.mark.local

PATIENCE_S = 60
SHORT_S = 0.2


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    end(noted_children(home), wait_s=0)


@contextmanager
def supervisor(home: Home, *children: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "support.small_stack", str(home.root), *children],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def hears(process: "subprocess.Popen[str]", words: str) -> str:
    """Return the next line that holds *words*."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return line
    raise AssertionError(f"it never said {words!r}")


def children_of(home: Home) -> list[Identity]:
    found = noted_children(home)
    assert found
    assert all(map(runs, found))
    return found


def wait_gone(processes: list[Identity]) -> None:
    wait_until(lambda: not any(map(runs, processes)), seconds=PATIENCE_S, what="the end of the children")


def test_children_end_with_a_supervisor_that_is_killed_although_nobody_looks(home: Home) -> None:
    with supervisor(home, "a=living", "b=living") as process:
        hears(process, "up")
        children = children_of(home)
        process.send_signal(signal.SIGKILL)
        wait_gone(children)


def test_what_does_not_end_with_its_supervisor_is_ended_by_the_next_one(home: Home) -> None:
    with supervisor(home, "a=stubborn") as process:
        hears(process, "up")
        first = children_of(home)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with supervisor(home, "a=living") as following:
            hears(following, f"ending what another supervisor left: {first[0].pid}")
            hears(following, "up")
            assert not runs(first[0])
            second = children_of(home)
            following.send_signal(signal.SIGKILL)
            wait_gone(second)


def test_down_ends_what_a_killed_supervisor_left(home: Home) -> None:
    with supervisor(home, "a=stubborn", "b=living") as process:
        hears(process, "up")
        children = children_of(home)
        process.send_signal(signal.SIGKILL)
        process.wait()
        hold(home.lock_file, "up").release()  # nobody holds it
        assert end_leftovers(home, wait_s=SHORT_S)
        assert not any(map(runs, children))
        assert not end_leftovers(home)


def test_a_child_that_dies_twice_in_a_row_ends_it_with_its_last_words(home: Home) -> None:
    with supervisor(home, "a=living", "b=dying") as process:
        said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert "b ended with status 7; starting it again in 1.0 s" in said
    assert "b ended by itself 2 times in a row (status 7), so the stack ends" in said
    assert "my last words" in said.splitlines()
    assert noted_children(home) == []


def test_of_two_supervisors_the_second_says_who_the_first_is_and_harms_nothing(home: Home) -> None:
    with supervisor(home, "a=living") as first:
        hears(first, "up")
        children = children_of(home)
        with supervisor(home, "a=living") as second:
            said, _ = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 2
        assert said == (
            f"a stack is running in {home.root} already (pid {first.pid}). See it: streamgage status. "
            "Stop it: streamgage down\n"
        )
        assert children_of(home) == children
        assert take_down(home, say=print)
        assert first.wait(PATIENCE_S) == 0
        assert not any(map(runs, children))


def test_supervisors_that_start_at_one_moment_leave_one_and_no_orphan(home: Home) -> None:
    with supervisor(home, "a=living") as one, supervisor(home, "a=living") as two:
        wait_until(
            lambda: one.poll() is not None or two.poll() is not None, seconds=PATIENCE_S, what="a loser"
        )
        winner, loser = (two, one) if one.poll() is not None else (one, two)
        hears(winner, "up")
        said = hears(loser, "is running in")
        assert f"(pid {winner.pid})" in said
        children = children_of(home)
        assert take_down(home, say=print)
    assert not any(map(runs, children))


def test_down_reaches_a_supervisor_that_is_starting_and_one_that_was_stopped_by_ctrl_z(home: Home) -> None:
    with supervisor(home, "a=living") as process:
        wait_until(home.processes_file.exists, seconds=PATIENCE_S, what="its first child")
        assert take_down(home, say=print)
        assert process.wait(PATIENCE_S) == 0
    with supervisor(home, "a=living") as process:
        hears(process, "up")
        process.send_signal(signal.SIGSTOP)
        assert take_down(home, say=print)
        assert process.wait(PATIENCE_S) == 0


def test_down_kills_one_that_does_not_stop_after_the_time_that_it_states(home: Home) -> None:
    home.root.mkdir()
    said: list[str] = []
    program = (
        "import signal, sys, pathlib, time\n"
        "from infra.local.stack.lock import hold\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "kept = hold(pathlib.Path(sys.argv[1]), 'up')\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-P", "-c", program, str(home.lock_file)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            hears(process, "held")
            assert take_down(home, say=said.append, wait_s=SHORT_S)
            assert process.wait(PATIENCE_S) == -signal.SIGKILL
        finally:
            process.kill()
    assert said == [f"pid {process.pid} did not stop within 0 s; killing it"]


def test_a_stranger_who_has_the_number_of_one_of_ours_is_left_alone(home: Home) -> None:
    """The number is its, the start is not: in the note of children, in the lock, and in both at once."""
    home.root.mkdir()
    with subprocess.Popen([sys.executable, "-P", "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        now = identify(stranger.pid)
        assert now is not None
        ours = Identity(now.pid, now.started + "0")
        home.processes_file.write_text(json.dumps({"kinesis": asdict(ours)}))
        home.lock_file.write_text(json.dumps({**asdict(ours), "doing": "up"}))
        home.info_file.write_text(
            json.dumps({"pids": {"supervisor": now.pid}, "started": {"supervisor": ours.started}})
        )
        take_down(home, say=print)
        assert runs(now)
        home.processes_file.write_text(json.dumps({"kinesis": asdict(ours)}))
        with hold(home.lock_file, "up"):
            end_leftovers(home)
        assert runs(now)
        stranger.kill()


def test_a_disk_that_fills_up_is_told_and_survived(home: Home) -> None:
    with supervisor(home, "a=living") as process:
        hears(process, "up")
        (first,) = children_of(home)
        process.send_signal(signal.SIGUSR1)
        os.kill(first.pid, signal.SIGKILL)
        hears(process, "a ended with signal 9; starting it again")
        hears(process, "cannot write down which processes run")
        assert noted_children(home) == [first]
        process.send_signal(signal.SIGUSR2)
        wait_until(lambda: noted_children(home) not in ([], [first]), seconds=PATIENCE_S, what="a new note")
        (second,) = children_of(home)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert not runs(second)


def test_a_home_is_held_once_and_says_by_whom_and_for_what(home: Home) -> None:
    home.root.mkdir()
    with (
        hold(home.lock_file, "demo"),
        pytest.raises(
            Held, match=rf"`streamgage demo` \(pid {os.getpid()}\) is at work in .*kill {os.getpid()}"
        ),
    ):
        hold(home.lock_file, "up")
    kept = hold(home.lock_file, "up")
    assert not kept.is_lost()
    home.lock_file.unlink()
    assert kept.is_lost()
    hold(home.lock_file, "up").release()
    assert kept.is_lost()
    kept.release()


def test_a_home_that_no_stack_can_use_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "linked", tmp_path / "linked" / "demo"):
        folder.mkdir()
        (folder / "lock").symlink_to("/dev/full")
    homes = {
        tmp_path / "file": "is a file; it must be a folder",
        tmp_path / "file" / "home": "is a file; it must be a folder",
        tmp_path / "a:b": "has no ':' in its path",
        tmp_path / "linked": "cannot be locked",
        tmp_path / ("long" * 100): "File name too long",
        Path("/proc/home"): "/proc/home",
    }
    for path, words in homes.items():
        monkeypatch.setenv("STREAMGAGE_HOME", str(path))
        for verb in (["up"], ["up", "--detach"], ["demo"]):
            command = [*verb, "--pipeline", str(ROOT / "pipeline.toml")]
            monkeypatch.setattr(sys, "argv", ["streamgage", *command])
            code = main(command)
            said = capsys.readouterr().err
            assert code == 2, (path, verb, said)
            assert words in said, (path, verb, said)
            assert "STREAMGAGE_HOME=/" in said
            assert len(said.splitlines()) == 1, (path, verb, said)


def test_a_process_is_another_when_its_number_comes_again() -> None:
    own = identify(os.getpid())
    assert own is not None
    assert runs(own)
    assert not runs(Identity(own.pid, "another boot/" + own.started.rpartition("/")[2]))
    with subprocess.Popen([sys.executable, "-P", "-c", ""]) as child:
        wait_until(lambda: identify(child.pid) is None, seconds=PATIENCE_S, what="a zombie")  # not reaped yet
    assert identify(child.pid) is None
    assert identify(0) is None
    assert identify(-1) is None


@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="there is no /bin/ps")
def test_where_there_is_no_proc_ps_tells_when_a_process_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    own = identify(os.getpid())
    assert own is not None
    assert str(time.gmtime().tm_year) in own.started
    assert runs(own)
    with subprocess.Popen([sys.executable, "-P", "-c", ""]) as child:
        wait_until(lambda: identify(child.pid) is None, seconds=PATIENCE_S, what="a zombie")


def test_a_folder_where_nothing_can_be_locked_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be locked"):
        hold(tmp_path / "absent" / "lock", "up")
