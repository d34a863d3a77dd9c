"""What import contracts cannot see: the core calls nothing that reads or writes a file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import streamgage

CORE = Path(streamgage.__file__).parent
FILE_CALLS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "glob"}
NOT_YET = {"definition/pipeline_toml.py"}  # docs/adr/0021: the reading of files goes outside


def calls(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in FILE_CALLS:
                yield f"{name} in line {node.lineno}"


def test_the_core_opens_no_file() -> None:
    found = {
        str(path.relative_to(CORE)): list(calls(path.read_text(encoding="utf-8")))
        for path in CORE.rglob("*.py")
    }
    assert {name: each for name, each in found.items() if each and name not in NOT_YET} == {}


def test_a_call_that_opens_a_file_would_be_seen() -> None:
    assert sorted(calls("def f(path):\n    return open(path).read(), path.read_text()")) == [
        "open in line 2",
        "read_text in line 2",
    ]
