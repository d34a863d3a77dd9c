"""Every command that shows what strangers wrote, on a real terminal, with keys and names that mean to drive it."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import Machine, running
from support.paths import ROOT

pytestmark = pytest.mark.local

KEY = "k\x1b]0;owned\x07\x9b2J\u202e[bold red]x[/]\n=1+1"
FILE = "f\x1b]0;owned\x07\u202e[red]x.ndjson"
RAW = ("\x1b]", "\x07", "\x9b", "\u202e")  # none of it is anything that rich draws with


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with running(tmp_path_factory.mktemp("hostile")) as machine:
        rows = [
            {"device_id": KEY, "metric": KEY, "ts": 1_700_000_000_000, "value": 1.5},
            {
                "device_id": KEY,
                "metric": "late",
                "ts": 4_000_000_000_000,
                "value": 1.5,
            },  # set aside by its time
            {"device_id": KEY, "metric": "bad", "ts": KEY, "value": KEY},  # and by its value
        ]
        text = "".join(json.dumps(each) + "\n" for each in rows)
        (machine.folder / FILE).write_text(text, encoding="utf-8")
        said = on_terminal(machine, *sending(FILE))
        assert "imported 1, quarantined 2" in said
        machine.run("drain")
        yield machine


def sending(name: str) -> tuple[str, ...]:
    return "send", "ndjson", name, "--source", "reading", "--pipeline", str(ROOT / "pipeline.toml")


def on_terminal(
    machine: Machine, *arguments: str, keys: bytes = b"", module: str = "infra.commands.main"
) -> str:
    """Return what a command writes to a terminal of its own, output and errors."""
    ours, theirs = pty.openpty()
    environment = {**machine.environment, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        cwd=machine.folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 65_536):
            parts.append(part)
            os.write(ours, keys)  # those before the first frame are flushed
    except OSError:  # the other side is closed: this is how Linux says it
        pass
    finally:
        os.close(ours)
        process.wait(60)
    return b"".join(parts).decode("utf-8")


KEY_ARGUMENTS = (f"device_id={KEY}", f"metric={KEY}")
COMMANDS: dict[str, tuple[str, ...]] = {
    "query": ("query", "device_metrics", *KEY_ARGUMENTS, "--window", "1d"),
    "query csv": ("query", "device_metrics", *KEY_ARGUMENTS, "--format", "csv"),
    "query csv raw": ("query", "device_metrics", *KEY_ARGUMENTS, "--format", "csv", "--raw"),
    "query json": ("query", "device_metrics", *KEY_ARGUMENTS, "--format", "json"),
    "query wrong": ("query", KEY, *KEY_ARGUMENTS),
    "query wrong key": ("query", "device_metrics", KEY, f"{KEY}=1"),
    "items": ("items", "show", "device_metrics"),
    "items of a key": ("items", "show", "device_metrics", *KEY_ARGUMENTS),
    "items json": ("items", "show", "device_metrics", "--format", "json"),
    "send": sending(FILE),
    "send dry": (*sending(FILE), "--dry-run"),
    "send nothing": sending(f"no{FILE}"),
    "send elsewhere": (
        *sending(FILE),
        "--stream",
        KEY,
        "--endpoint-url",
        f"http://user:geheim@127.0.0.1:1/{KEY}",
    ),
    "status": ("status",),
    "status json": ("status", "--format", "json"),
    "status once": ("status", "--watch", "--once"),
    "status watch": ("status", "--watch"),
    "check": ("check", "--pipeline", FILE),
    "lint": ("lint", FILE),
    "lint parameter": ("lint", "--parameter", KEY),
    "usage": ("query", "--window"),
    "no verb": (KEY,),
    "up": ("up", "--template", FILE),
    "update": ("update", "--pipeline", FILE),
    "env": ("env",),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_of_a_stranger_reaches_the_terminal_raw(machine: Machine, name: str) -> None:
    said = on_terminal(machine, *COMMANDS[name], keys=b"q" if name == "status watch" else b"")
    assert said
    assert "Traceback" not in said
    assert [each for each in RAW if each in said] == []
    if "csv" not in name:  # a line end within quotes is CSV's own
        assert not re.search(r"^=1\+1", said, re.MULTILINE), "a line of a stranger's begins as one of ours"
    assert "geheim" not in said


def test_the_hostile_key_is_shown_all_the_same(machine: Machine) -> None:
    shown = on_terminal(machine, *COMMANDS["send dry"])
    assert r"k\x1b]0;owned\x07\x9b2J\u202e[bold red]x[/]\n=1+1" in shown


def test_what_is_left_of_a_redrive_is_told_visibly(machine: Machine, tmp_path: Path) -> None:
    program = f"import sys; sys.argv[1:] = {[str(ROOT / 'pipeline.toml')]!r}\nfrom processors.quarantine import redrive\n"
    line = json.dumps({"id": KEY, "reasons": KEY, KEY: KEY})
    program += f"import io; sys.stdin = io.StringIO({line!r} + chr(10)); redrive.main()"
    (tmp_path / "redriving.py").write_text(program, encoding="utf-8")
    machine.environment["PYTHONPATH"] = str(tmp_path)
    try:
        said = on_terminal(machine, module="redriving")
    finally:
        del machine.environment["PYTHONPATH"]
    assert "left, 1" in said
    assert [each for each in RAW if each in said] == []


def test_data_in_a_file_is_exact(machine: Machine) -> None:
    done = machine.run(*COMMANDS["query json"])
    assert json.loads(done.stdout)[0]["device_id"] == KEY
    assert KEY.replace("\n", "") in machine.run(*COMMANDS["query csv raw"]).stdout.replace("\n", "")
