"""Engines of DynamoDB's operations for one machine, each a process on a loopback port, ended by its pid."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import ROOT
from infra.local.stack import dynamodb_local
from infra.local.stack.ports import any_port
from streamgage.errors import RetryableError

_START_S = 60
_DYNOXIDE = Path("node_modules", "@dynoxide", "linux-x64", "dynoxide")


@dataclass(frozen=True, slots=True)
class TableEngine:
    """How an engine is started: its command for a port and a folder, or why it cannot be."""

    label: str
    command: Callable[[int, Path], Sequence[str]]
    unavailable: str | None = None
    environment: Callable[[int], Mapping[str, str]] = field(default=lambda _: {})


def engines() -> list[TableEngine]:
    """Return ours, as `up` starts it and with fsync, and its peers."""
    ours = [sys.executable, "-P", "-m", "infra.local.dynamodb"]
    dynoxide = find_dynoxide()
    return [
        TableEngine("ours", lambda port, data: [*ours, "--port", str(port), "--data", str(data)]),
        TableEngine(
            "ours, --fsync", lambda port, data: [*ours, "--port", str(port), "--data", str(data), "--fsync"]
        ),
        TableEngine(
            "MiniStack", lambda _, __: [sys.executable, "-P", "-m", "ministack"], environment=_ministack
        ),
        TableEngine(
            "DynamoDB Local, in memory",
            lambda port, _: dynamodb_local.command(dynamodb_local.install(), port=port, data=None),
            unavailable=dynamodb_local.unavailable(),
        ),
        TableEngine(
            "dynoxide",
            lambda port, data: [
                str(dynoxide),
                "--port",
                str(port),
                "--db-path",
                str(data / "dynoxide.db"),
            ],
            unavailable=None if dynoxide else _how_to_get_dynoxide(),
        ),
    ]


def find_dynoxide() -> Path | None:
    """Return the program, where $DYNOXIDE, the PATH or npm in the cache folder has it."""
    found = os.environ.get("DYNOXIDE") or shutil.which("dynoxide")
    path = Path(found) if found else _cache() / _DYNOXIDE
    return path if path.exists() else None


@contextmanager
def running(engine: TableEngine, data: Path) -> Iterator[tuple[str, int]]:
    """Run *engine* with its files in folder *data*; yield its address and process id."""
    data.mkdir()
    port = any_port()
    with (data / "engine.log").open("wb") as log:
        child = subprocess.Popen(
            engine.command(port, data),
            cwd=ROOT,
            env={**os.environ, **engine.environment(port)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(child, port, engine.label)
        yield f"127.0.0.1:{port}", child.pid
    finally:
        child.kill()
        child.wait()


def _wait(child: "subprocess.Popen[bytes]", port: int, label: str) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RetryableError(f"{label} does not listen on port {port}: exit status {child.poll()}")


def _ministack(port: int) -> Mapping[str, str]:
    return {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SERVICES": "dynamodb",
        "PERSIST_STATE": "0",
        "LOG_LEVEL": "WARNING",
    }


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamgage" / "dynoxide"


def _how_to_get_dynoxide() -> str:
    return f"not measured: npm install --prefix {_cache()} @dynoxide/linux-x64"
