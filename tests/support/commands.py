"""Commands run as processes of their own, quickly: by a process that forks them, see forked_commands.py."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.paths import ROOT

PATIENCE_S = 30  # for what must end: a command that does not is stuck


class Commands:
    """Starts one command after the other."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._pid = 0
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(ROOT / "tests/support/forked_commands.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        )

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate()

    def start(self, argv: list[str], folder: Path, **more: Any) -> int:
        """Start a command in *folder*, and return its pid; *more* is said in forked_commands.py."""
        self._say(json.dumps({"argv": argv, "folder": str(folder), **more}))
        self._pid = self._told("pid")
        return self._pid

    def finish(self) -> int:
        """Return the exit code, negative where a signal killed it. Its pid is its own until now."""
        self._say("")
        return os.waitstatus_to_exitcode(self._told("status"))

    def run(self, argv: list[str], folder: Path, *, patience_s: float, **more: Any) -> int:
        """Run a command; SIGTERM ends it where it takes longer than *patience_s*."""
        pid = self.start(argv, folder, **more)
        end = os.pidfd_open(pid)
        try:
            if not select.select([end], [], [], patience_s)[0]:
                signal.pidfd_send_signal(end, signal.SIGTERM)
        finally:
            os.close(end)
        return self.finish()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _told(self, what: str) -> int:
        """Return the next number of that name; one that a run before it left unread is passed over."""
        assert self._process.stdout is not None
        while True:
            if not select.select([self._process.stdout], [], [], PATIENCE_S)[0]:
                if self._pid:
                    os.kill(self._pid, signal.SIGKILL)
                raise AssertionError("the command hangs")
            name, number = self._process.stdout.readline().split()
            if name == what:
                return int(number)
