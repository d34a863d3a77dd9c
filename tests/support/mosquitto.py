"""A real broker on loopback: Debian's mosquitto, with its sessions in a file, so that it may be ended and started again."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

from infra.local.stack.ports import any_port

BINARY = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
needs_mosquitto = pytest.mark.skipif(BINARY is None, reason="no mosquitto here: apt-get install mosquitto")
_PATIENCE_S = 120.0


class Mosquitto:
    """The broker, in a folder of its own. Use it as a context: what it started ends with it."""

    def __init__(self, folder: Path, *lines: str) -> None:
        folder.mkdir(parents=True)
        self.port = any_port()
        self._config, self._log = folder / "mosquitto.conf", folder / "log"
        user = "root" if os.geteuid() == 0 else None
        said = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_interval 3600",  # it saves when it ends
            "max_queued_messages 0",
            "max_queued_bytes 0",
            "log_type error",
            *([f"user {user}"] if user else []),
            *(lines or ("allow_anonymous true",)),
        ]
        self._config.write_text("\n".join(said) + "\n", encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def start(self) -> None:
        assert BINARY is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([BINARY, "-c", str(self._config)], stdout=log, stderr=log)
        until_s = time.monotonic() + _PATIENCE_S
        while True:
            assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < until_s, "mosquitto does not answer"
                time.sleep(0.01)
            else:
                return

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it: by SIGTERM it saves what it holds."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait()
