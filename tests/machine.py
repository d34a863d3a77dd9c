"""The local stack as a test handles it: its command line, in a home of its own."""

import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from infra.local.demo import compare, read_all_items
from infra.local.home import Home, is_alive
from producers.simulators.totals import read_totals
from streamgage.pipeline_toml import load_pipeline

ROOT = Path(__file__).parents[1]


class Machine:
    """The command line of a stack with a home and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / ".streamgage")
        self.folder = folder
        self.environment = {**os.environ, "STREAMGAGE_HOME": str(self.home.root), "COLUMNS": "200"}

    def run(self, *arguments: str, check: bool = True, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "infra.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"streamgage {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def up(self, *options: str) -> None:
        self.run(
            "up",
            "--detach",
            "--port",
            "0",
            "--kinesis-port",
            "0",
            "--pipeline",
            str(ROOT / "pipeline.toml"),
            *options,
        )

    def send(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        done = self.run("send", *arguments, "--pipeline", str(ROOT / "pipeline.toml"), check=False)
        assert done.returncode in (0, 3), done.stderr
        return done

    def query(self, *arguments: str) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(
            self.run("query", *arguments, "--format", "json").stdout, parse_float=Decimal
        )
        return answer

    def pids(self) -> list[int]:
        """Every process of the stack: those it names, and the sandboxes."""
        return [*self.home.info().pids.values(), *self.home.status().get("sandboxes", [])]

    def stop(self) -> None:
        self.run("down", check=False)


def victims(machine: Machine, role: str) -> list[int]:
    """Return the living processes of *role*, once the function has done some more work."""
    log = machine.home.logs / "function.log"
    size = log.stat().st_size if log.exists() else 0
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        named = (
            machine.home.status().get("sandboxes", [])
            if role == "sandbox"
            else [machine.home.info().pids[role]]
        )
        living = [pid for pid in named if is_alive(pid)]
        if living and log.exists() and log.stat().st_size > size:
            return living
        time.sleep(0.02)
    raise AssertionError(f"no {role} at work within 30 s")


def differences(machine: Machine, totals: Path) -> list[str]:
    return compare(
        load_pipeline(ROOT / "pipeline.toml"), read_all_items(machine.home.info()), read_totals(totals)
    )
