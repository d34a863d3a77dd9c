"""Programs of others that the tests run: built by Go, installed by npm or pip, each by the hashes of a lock, once a machine.

What cannot be had here is skipped, with the reason.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.local.stack.children import wait_until
from support.paths import ROOT

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamgage"
_BUILD_S, _FETCH_S, PATIENCE_S = 1800, 300, 120
_AGENTS = ROOT / "tests" / "interop" / "agents"
_NOT_SERVED = ("dial tcp", "403 Forbidden", "no such host")
_PYTHON = ROOT / ".streamgage" / "agentsvenv" / "bin" / "python"


def go_program(name: str) -> Path:
    """Return the program of tests/interop/agents/*name*, built if its source is new. Skips where it cannot be."""
    if shutil.which("go") is None:
        pytest.skip(f"{name} is built by Go 1.26, and there is no `go` on the PATH")
    folder = _AGENTS / name
    source = hashlib.sha256(
        b"".join((folder / each).read_bytes() for each in ("go.mod", "go.sum", "main.go"))
    )
    program = _CACHE / "agents" / source.hexdigest()[:16] / name
    if not program.exists():
        built = subprocess.run(
            ["go", "build", "-p", "2", "-o", str(program), "."],
            cwd=folder,
            env={**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false"},
            capture_output=True,
            text=True,
            timeout=_BUILD_S,
            check=False,
        )
        if any(each in built.stderr for each in _NOT_SERVED):
            pytest.skip(f"the modules of {name} are not here, and cannot be fetched")
        assert built.returncode == 0, built.stderr
    return program


def npm_folder(locked: Path, wanted: str) -> Path:
    """Return a folder with what the lock in *locked* says, of which *wanted* is a package. Skips where npm cannot."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"{wanted} needs Node.js, and there is no `npm` on the PATH")
    lock = (locked / "package-lock.json").read_bytes()
    folder = _CACHE / "npm" / hashlib.sha256(lock).hexdigest()[:16]
    if not (folder / "node_modules" / wanted).is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):  # the lock holds the hash of all that is fetched
            shutil.copy(locked / name, folder)
        fetched = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_FETCH_S,
            check=False,
        )
        if fetched.returncode:
            pytest.skip(f"npm did not get {wanted}: {fetched.stderr.strip()[-200:]}")
    return folder


def python_with_clients() -> Path:
    """Return a Python that has requirements/agents.lock. Skips where `make interop` has not made it."""
    if not _PYTHON.exists():
        pytest.skip(f"{_PYTHON.relative_to(ROOT)} is not there: `make interop` installs it")
    return _PYTHON


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs, and its log."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def says(self, text: str) -> bool:
        """Tell whether its log has *text*; fails where it has ended."""
        assert self.process.poll() is None, self.log.read_text()
        return text in self.log.read_text(errors="replace")

    def await_said(self, text: str) -> None:
        """Wait until its log has *text*."""
        wait_until(lambda: self.says(text), seconds=PATIENCE_S, what=f"{text!r} in {self.log}")


@contextmanager
def running(arguments: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> Iterator[Program]:
    """Run a program until the block ends; then SIGTERM, which agents take for: send what you hold, and end."""
    with log.open("wb") as held:
        process = subprocess.Popen(
            [str(each) for each in arguments],
            stdin=subprocess.DEVNULL,
            stdout=held,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "HOME": str(log.parent), **environment},
            cwd=log.parent,
        )
        try:
            yield Program(process, log)
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def await_all(count: Callable[[], int], wanted: int) -> None:
    """Wait until *count* says *wanted*, or more."""
    wait_until(lambda: count() >= wanted, seconds=PATIENCE_S, what=f"{wanted:,} of them")


def finished(arguments: Sequence[str | Path], environment: Mapping[str, str]) -> str:
    """Run a program to its end, and return what it said; it must end well."""
    done = subprocess.run(
        [str(each) for each in arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
