"""Bytecode for the Python of a function, by an interpreter of that version: half of a cold start is compiling without it.

It is unchecked (PEP 552): Python takes it without looking at the source's date, which a zip may change on its way.
"""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from streamgage.errors import StreamgageError

TASK_ROOT = "/var/task"  # where Lambda unpacks a bundle: tracebacks name it
_PATIENCE_S = 60
_MOST_KNOWN = 2_000  # sources; a stack has 300
_KNOWN: dict[
    tuple[str, str, bytes], bytes
] = {}  # bytecode, by the interpreter's version, the name and the source
# Runs in the interpreter of the target, without site or any of our modules. Marshal writes what is shared as a
# reference, so what it writes may depend on what lives beside: a fresh process, always the same files in one order.
# Of a .pyc: the magic number, flags (1: by hash, 2 would be: checked), the source's hash, the code.
_COMPILE = """
import base64, importlib.util, json, marshal, sys
compiled = {}
for name, source in json.load(sys.stdin).items():
    data = source.encode("utf-8")
    code = compile(data, name, "exec", dont_inherit=True, optimize=0)
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(data)
    compiled[name] = base64.b64encode(head + marshal.dumps(code)).decode("ascii")
json.dump(compiled, sys.stdout)
"""
_ASK = "import sys; v = sys.version_info; print(sys.implementation.cache_tag, v.releaselevel, *v[:3])"


class NotCompiledError(StreamgageError):
    """An interpreter did not compile what it was given; its last words are the message."""

    code = "not_compiled"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that can be run here. ``tag`` is in the names of its bytecode: cpython-313."""

    path: Path
    version: str
    tag: str


def this_interpreter() -> Interpreter:
    """Return the Python that runs this."""
    version = ".".join(map(str, sys.version_info[:3]))
    tag = sys.implementation.cache_tag or ""
    return Interpreter(Path(sys.executable), version, tag)


def find_interpreter(python: str, environment: Mapping[str, str] = os.environ) -> Interpreter | None:
    """Return a released CPython of the minor version *python*: this one, or one on the path, of pyenv or of uv."""
    for path in _candidates(python, environment):
        found = _ask(path)
        if found is not None and found.version.split(".")[:2] == python.split("."):
            return found
    return None


def compiled(files: Mapping[str, bytes], interpreter: Interpreter) -> dict[str, bytes]:
    """Return the bytecode of each Python source in *files* (name → content), by its place: ``__pycache__/…``.

    Raises:
        NotCompiledError: the interpreter failed; a source is not valid Python of its version.
    """
    sources = {
        f"{TASK_ROOT}/{name}": files[name].decode("utf-8") for name in sorted(files) if name.endswith(".py")
    }
    done = subprocess.run(
        [str(interpreter.path), "-I", "-S", "-c", _COMPILE],
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=_PATIENCE_S,
    )
    if done.returncode:
        raise NotCompiledError(
            f"Python {interpreter.version} compiled nothing: {done.stderr.strip()[-2_000:]}"
        )
    return {
        _place(PurePosixPath(name).relative_to(TASK_ROOT), interpreter.tag): b64decode(content)
        for name, content in json.loads(done.stdout).items()
    }


def compiled_once(files: Mapping[str, bytes], interpreter: Interpreter) -> dict[str, bytes]:
    """Return what ``compiled`` does, but each source compiled once in this process: bundles share most of their modules.

    The bytes may be others from one process to another, for what lives beside a source is. So it is not for what is deployed.
    """
    marks = {
        name: (interpreter.version, name, content) for name, content in files.items() if name.endswith(".py")
    }
    new = {name: files[name] for name, mark in marks.items() if mark not in _KNOWN}
    if len(_KNOWN) + len(new) > _MOST_KNOWN:
        _KNOWN.clear()
        new = {name: files[name] for name in marks}
    made = compiled(new, interpreter) if new else {}
    places = {name: _place(PurePosixPath(name), interpreter.tag) for name in marks}
    _KNOWN.update({marks[name]: made[places[name]] for name in new})
    return {places[name]: _KNOWN[mark] for name, mark in marks.items()}


def _place(source: PurePosixPath, tag: str) -> str:
    return str(source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc")


def _candidates(python: str, environment: Mapping[str, str]) -> Iterator[Path]:
    name = f"python{python}"
    if this_interpreter().version.startswith(python + "."):
        yield Path(sys.executable)
    on_path = shutil.which(name, path=environment.get("PATH"))
    if on_path:
        yield Path(on_path)
    home = Path(environment.get("HOME") or "/nonexistent")
    pyenv = Path(environment.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    uv = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "uv" / "python"
    for folder, pattern in ((pyenv, f"{python}.*"), (uv, f"cpython-{python}.*")):
        yield from sorted(folder.glob(f"{pattern}/bin/{name}"))


def _ask(path: Path) -> Interpreter | None:
    """Return what *path* is; None of a shim for a Python that is not there, or of one before its release."""
    try:
        done = subprocess.run(
            [str(path), "-I", "-S", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    tag, level, *numbers = done.stdout.split() or ("", "")
    if done.returncode or level != "final" or not tag.startswith("cpython"):
        return None
    return Interpreter(path, ".".join(numbers), tag)
