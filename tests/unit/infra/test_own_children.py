"""Every Python that we start imports nothing from the folder in which a person happens to stand."""

import ast
import re
from collections.abc import Iterator

import pytest

from support.paths import ROOT

FLAGS = ("-P", "-I")  # nothing from the current folder; nothing from outside at all
# sys.executable, its real path, and variables that are named for it
PYTHON = re.compile(r"(?:.*\()?(?:sys\.executable|\w*python)\)?", re.IGNORECASE)
ROOMS = ("streamgage", "producers", "processors", "infra", "benchmarks", "tests")


def commands(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the first argument of each command in *source* that starts a Python."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.List) and len(node.elts) > 1:
            program, argument = node.elts[:2]
            if PYTHON.fullmatch(ast.unparse(program)):
                yield node.lineno, str(argument.value) if isinstance(argument, ast.Constant) else "?"


def test_every_python_that_we_start_is_told_not_to_look_where_a_person_stands() -> None:
    found = [
        (f"{path.relative_to(ROOT)}:{line}", first)
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        for line, first in commands(path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 25
    assert [place for place, first in found if first not in FLAGS] == []


@pytest.mark.parametrize(
    "source",
    [
        '[sys.executable, "-m", "infra"]',
        '[_PYTHON, "-S"]',
        '[os.path.realpath(sys.executable), "-c", x]',
        "[python, *rest]",
    ],
)
def test_a_command_without_the_flag_is_seen(source: str) -> None:
    assert [first in FLAGS for _, first in commands(source)] == [False]
