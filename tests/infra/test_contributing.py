"""CONTRIBUTING.md stays true: each of its examples is made in a copy of this tree, and what it says to run is run."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
ROOMS = ("streamgage", "producers", "processors", "infra", "benchmarks", "tests", "schemas")
FILES = ("pipeline.toml", "pyproject.toml")


def blocks(example: str) -> Iterator[tuple[str, str, str]]:
    """Yield the kind, the first line and the rest of each block of code."""
    for kind, text in re.findall(r"^```(\w+)\n(.*?)^```$", example, re.DOTALL | re.MULTILINE):
        first, _, rest = text.partition("\n")
        yield (kind, "", text) if kind == "sh" else (kind, first.removeprefix("# "), rest)


def change(path: Path, text: str) -> None:
    """Replace what the `-` and plain lines of *text* say by what the `+` and plain lines say."""
    lines = text.splitlines(keepends=True)
    before = "".join(each[1:] for each in lines if each[0] in "- ")
    after = "".join(each[1:] for each in lines if each[0] in "+ ")
    content = path.read_text(encoding="utf-8")
    assert content.count(before) == 1, f"{path.name} has {content.count(before)} times:\n{before}"
    path.write_text(content.replace(before, after), encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__", "local"))
    shutil.copytree(ROOT / "infra" / "local", tmp_path / "infra" / "local")
    for name in FILES:
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def run(folder: Path, *arguments: str) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
    }
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_examples_are_these() -> None:
    assert list(EXAMPLES) == ["A measure", "A source format", "A store", "A command"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_works_as_it_stands_there_and_the_linter_agrees(name: str, copy: Path) -> None:
    made: list[str] = []
    for kind, first, rest in blocks(EXAMPLES[name]):
        if kind == "diff":
            change(copy / first, rest)
        elif kind == "python":
            (copy / first).parent.mkdir(parents=True, exist_ok=True)
            (copy / first).write_text(rest, encoding="utf-8")
        else:
            run(copy, "ruff", "check", *made)
            run(copy, "ruff", "format", "--check", *made)
            run(copy, "bash", "-euo", "pipefail", "-c", rest)
            return
        made.append(first)
    pytest.fail("it says nothing to run")


def test_a_change_of_what_is_not_there_is_seen(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one\ntwo\n")
    with pytest.raises(AssertionError, match="0 times"):
        change(tmp_path / "file", "-three\n+four\n")


def test_each_suite_is_named() -> None:
    named = set(re.findall(r"`tests/(\w+)`", PAGE.partition("\n## ")[0]))
    aside = {"support", "fuzz", "interop"}  # helpers; and what has targets of its own
    assert (
        named
        == {each.name for each in (ROOT / "tests").iterdir() if each.is_dir() and each.name[0] != "_"} - aside
    )
