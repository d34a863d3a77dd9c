"""Bad arguments, drawn by a seed, for every command and option that --help names: a sentence, and never a traceback.

Folders in place of files, numbers that are none, names that are no text, outputs that are full, closed or unread, homes that
are damaged. What would start a stack or a benchmark gets a definition that is not there. AWS is a port that nobody listens to.
"""

import argparse
import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.commands.main import build_parser
from support.commands import Commands
from support.paths import ROOT

pytestmark = pytest.mark.local

PATIENCE_S = 1.5  # a simulation of 10^20 events is asked to end, and does so in order
CODES = {0, 1, 2, 3, 130, 143}
VALUES = (
    *(
        "",
        " ",
        "0",
        "-1",
        "7",
        "999999999999999999999",
        "1e309",
        "nan",
        "-inf",
        "0x10",
        "½",
        "1_000",
        "-",
        "--",
        ".",
    ),
    *(
        "nope",
        "nope.toml",
        "/",
        "/dev/full",
        "/dev/null",
        "/proc/self/mem",
        "/nowhere/x",
        "a" * 300,
        "a/" * 3000,
    ),
    *("\udcff\udcfe", "é\u202e", "x=y", "=", "x=", "a+b", "%", "{0}", "*", "[", "**/x", "\t", "\n", "'", '"'),
    *(
        "http://",
        "http://127.0.0.1:9",
        "http://[::1",
        "ftp://x",
        "http://127.0.0.1:99999",
        "127.0.0.1",
        "http://a b",
    ),
    *(
        "2026-01-01",
        "0000-00-00",
        "9999-12-31T23:59:59Z",
        "1h",
        "1y",
        "99999999999d",
        "utf-8",
        "hex",
        "idna",
        "utf-16",
    ),
    *(
        "Europe/Berlin",
        "../etc",
        "+99:99",
        "%Q",
        "%s",
        "%Y%Y",
        "pipeline.toml",
        "reading",
        "a.csv",
        "dir",
        "loop",
    ),
    *(
        "latin.csv",
        "binary.csv",
        "empty.csv",
        "broken.toml",
        "template.yaml",
        "local",
        "aws",
        "table",
        "csv",
        "json",
    ),
)
NUMBERS = (
    "0",
    "-1",
    "1",
    "7",
    "65536",
    "2147483648",
    "999999999999999999999",
    "-999999999999999999999",
    "9" * 5000,
)
FLOATS = (*NUMBERS[:-1], "nan", "inf", "-inf", "1e309", "1e-320", "0.5", "1e300")
PLAIN = {  # what an option takes, so that runs come further than their arguments
    "--source": ("reading",),
    "--map": ("ts=time", "value=v"),
    "--set": ("device_id=d", "metric=m"),
    "--stream": ("s",),
    "--endpoint-url": ("http://127.0.0.1:9",),
    "--region": ("eu-west-1",),
    "--events": ("10",),
    "--pipeline": ("pipeline.toml",),
    "file": ("a.csv", "empty.csv", "latin.csv", "u.ndjson", "dir", "-"),
    "rollup": ("device_metrics",),
    "key": ("device_id=d", "metric=m"),
}
MISSING = {
    "up": ["--pipeline", "nope.toml"],
    "demo": ["--pipeline", "nope.toml"],
    "package": ["--pipeline", "nope.toml"],
}
NOT_TRIED = {"--detach", "--help"}  # the first leaves a process behind
STACKS = (
    "",
    "[]",
    "{}",
    "null",
    '{"pids": 7}',
    '{"stream": 1, "endpoints": {}}',
    "{\udcff",
    '{"pids": {"supervisor": "x"}}',
)
Leaf = tuple[tuple[str, ...], argparse.ArgumentParser]


def leaves(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Yield every command, with the words that name it."""
    below = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not below:
        yield path, parser
    for each in below:
        for name, child in each.choices.items():
            yield from leaves(child, (*path, name))


LEAVES = list(leaves(build_parser()))
OPTIONS = [
    (path, action)
    for path, parser in LEAVES
    for action in parser._actions
    if not NOT_TRIED & set(action.option_strings)
]


@dataclass
class Folder:
    """Where commands run: files of every kind."""

    path: Path

    def fill(self) -> "Folder":
        shutil.copy(ROOT / "pipeline.toml", self.path)
        shutil.copytree(ROOT / "schemas", self.path / "schemas")
        event_ms = 1_700_000_000_000
        (self.path / "a.csv").write_text(f"time,v,x\n{event_ms},1,2\nx,y,z\n{event_ms},2\n")
        (self.path / "latin.csv").write_bytes(b"time,v\n1700000000000,\xe9\n")
        (self.path / "binary.csv").write_bytes(bytes(range(256)))
        (self.path / "empty.csv").write_bytes(b"")
        (self.path / "u.ndjson").write_text('{"partition_key": "k", "data": "AAE="}\nx\n')
        (self.path / "broken.toml").write_bytes(b"[[sources]]\nname = \xff")
        (self.path / "template.yaml").write_text("Resources: [")
        (self.path / "dir").mkdir()
        (self.path / "loop").symlink_to("loop")
        return self


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    running = Commands(
        {
            **os.environ,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    )
    yield running
    running.close()


def arguments(dice: random.Random, path: tuple[str, ...], chosen: argparse.Action) -> list[str]:
    """Return a command line of *path* in which *chosen* has a hostile value, and others have any."""
    parser = next(each for words, each in LEAVES if words == path)
    argv = list(path)
    positional: list[str] = []
    for action in parser._actions:
        if NOT_TRIED & set(action.option_strings):
            continue
        name = action.option_strings[0] if action.option_strings else action.dest
        wanted = action is chosen or action.required or (name in PLAIN and dice.random() < 0.7)
        if not wanted and dice.random() > 0.06:
            continue
        hostile = action is chosen or dice.random() < 0.1
        values = [_hostile(action, dice)] if hostile else list(PLAIN.get(name, ("7",)))
        if action.choices and dice.random() < 0.9:
            values = [dice.choice([*action.choices])]
        if not action.option_strings:
            positional += values if action.nargs in ("*", "+") else values[:1]
        elif action.nargs == 0:
            argv.append(name)
        else:
            many = isinstance(action, argparse._AppendAction)
            argv += [f"{name}={value}" for value in (values if many else values[:1])]
    return (
        [*argv, *(MISSING.get(path[0], ())), "--", *positional]
        if positional
        else [*argv, *MISSING.get(path[0], ())]
    )


def _hostile(action: argparse.Action, dice: random.Random) -> str:
    """Return a value that gets past the parser, mostly."""
    if action.type in (int, float) and dice.random() < 0.9:
        return dice.choice(NUMBERS if action.type is int else FLOATS)
    return dice.choice(VALUES)


def surroundings(dice: random.Random, folder: Path) -> dict[str, Any]:
    """Return the streams and the home that a command finds."""
    more: dict[str, Any] = {}
    if dice.random() < 0.4:
        more.update(
            dice.choice(
                [{"closed": [each]} for each in range(3)]
                + [{"closed": [0, 1, 2]}, {"out": "/dev/full"}, {"err": "/dev/full"}, {"unreadable": True}]
            )
        )
    if dice.random() < 0.3:
        home = folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        (home / "stack.json").write_text(dice.choice(STACKS), encoding="utf-8", errors="surrogateescape")
        more["environ"] = {
            "STREAMGAGE_HOME": dice.choice([str(home), str(home), "/dev/null/x", "/proc/x", "dir"])
        }
    return more


def attempt(
    commands: Commands, folder: Path, seed: int, path: tuple[str, ...], chosen: argparse.Action
) -> str | None:
    """Run one command; return what is wrong with how it ended."""
    dice = random.Random(seed)
    argv, more = arguments(dice, path, chosen), surroundings(dice, folder)
    for name in ("out", "err", "trace"):
        (folder / name).unlink(missing_ok=True)
    code = commands.run(argv, folder, patience_s=PATIENCE_S, **more)
    said = "".join(
        (folder / name).read_text(errors="replace")
        for name in ("out", "err", "trace")
        if (folder / name).exists()
    )
    if code in CODES and "Traceback" not in said and "Exception ignored" not in said:
        return None
    return f"seed {seed}: {json.dumps(argv)} {more} -> {code}\n{said[-1500:]}"


@pytest.mark.parametrize("seed", range(60))
def test_bad_arguments_are_told_in_a_sentence(commands: Commands, tmp_path: Path, seed: int) -> None:
    path, chosen = random.Random(seed).choice(OPTIONS)
    assert attempt(commands, Folder(tmp_path).fill().path, seed, path, chosen) is None


@pytest.mark.slow
@pytest.mark.parametrize("at", range(len(OPTIONS)))
def test_so_are_those_of_every_option(commands: Commands, tmp_path: Path, at: int) -> None:
    path, chosen = OPTIONS[at]
    folder = Folder(tmp_path).fill().path
    wrong = [attempt(commands, folder, seed, path, chosen) for seed in range(at * 100, at * 100 + 12)]
    assert not [each for each in wrong if each]
