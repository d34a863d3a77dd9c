"""The gateway as a process: its server, the sandboxes of its function, and what it says of itself in a file."""

import json
import os
import shutil
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from infra.local.files import open_private
from infra.local.function.pool import FunctionPool
from infra.local.function.update import ConfigWatch
from infra.local.gateway.config import GatewayConfig, load
from infra.local.gateway.gateway import Gateway
from infra.local.gateway.page import Page
from infra.local.http.guard import HEALTH, Guard
from infra.local.http.message import Limits
from infra.local.http.server import HttpServer
from infra.local.sealed import seal
from streamgage.errors import ConfigError

LIMITS = Limits(
    chunked=True,
    head_bytes=32 * 1024,  # 10,240 bytes of it are counted as AWS does, by the gateway
    body_bytes=10 * 1024 * 1024,
    buffered_bytes=128 * 1024 * 1024,
    body_s=30,
    grace_s=6,  # of the ten seconds that the supervisor gives it
)
_LOOK_S = 0.5  # how often the parent, another version of the function, and the log are looked for
_LOG_BYTES = 32 * 1024 * 1024


class GatewayProcess:
    """Serves *config* under the secret *base*. ``run`` returns when it was told to stop; what it owns is then gone.

    *config_file* is where another version of the function would appear.

    Raises:
        ConfigError: the port is taken.
    """

    def __init__(self, config: GatewayConfig, *, base: str, config_file: Path) -> None:
        self._config = config
        self._pool = FunctionPool(config.function)
        self._gateway = Gateway(
            config.api,
            self._pool,
            Page(config.web_dir),
            base=base,
            port=config.port,
            account=config.function.account_id,
            concurrency=config.function.max_concurrency,
        )
        origins = config.api.cors.named_origins if config.api.cors else frozenset()
        guard = Guard(base=base, open_paths=frozenset({HEALTH}), origins=origins)
        self._server = HttpServer(self._gateway, name="gateway", port=config.port, limits=LIMITS, guard=guard)
        self._watch = ConfigWatch(config_file, config, load)
        self._updater = ThreadPoolExecutor(1, thread_name_prefix="updater")
        self._update: Future[str | None] | None = None
        self._refused: dict[str, object] = {"update_refused": None, "refused_at_ms": 0}
        self._written = ""
        self._stopping = threading.Event()
        self._parent = os.getppid()

    def stop(self) -> None:
        """Ask for an orderly end. Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Serve until stopped."""
        self._server.start()
        _say(f"listens at {self._server.url}")
        try:
            while not self._stopping.is_set() and os.getppid() == self._parent:
                self._look_for_update()
                self._write_status()
                with suppress(OSError):  # a full disk
                    bound_log(self._config.function.log_file, _LOG_BYTES)
                self._stopping.wait(_LOOK_S)
        finally:
            self._server.stop()
            self._gateway.close()
            self._updater.shutdown(wait=False, cancel_futures=True)
            self._pool.close()
            self._updater.shutdown()

    def _look_for_update(self) -> None:
        """Shift the function to another version where the configuration file has one."""
        if self._update is not None:
            if not self._update.done():
                return
            self._note(self._update.result())
            self._update = None
        try:
            function = self._watch.changed()
        except ConfigError as error:
            self._note("; ".join(error.problems))
            return
        if function is not None:
            self._update = self._updater.submit(self._pool.update, function)

    def _note(self, refused: str | None) -> None:
        _say(f"update: {refused or f'version {self._pool.version} runs'}")
        self._refused = {"update_refused": refused, "refused_at_ms": time.time_ns() // 1_000_000}

    def _write_status(self) -> None:
        """Say which version runs, and in which sandboxes, where that has changed."""
        status = {
            "version": self._pool.version,
            "draining": self._pool.draining(),
            "sandboxes": self._pool.pids(),
            **self._refused,
        }
        text = json.dumps(seal(status))
        if text == self._written:
            return
        path = self._config.status_file
        partial = path.with_suffix(".partial")
        with suppress(OSError):  # a full disk: it is tried again
            with os.fdopen(open_private(partial), "w", encoding="ascii") as file:
                file.write(text)
            partial.replace(path)
            self._written = text


def bound_log(path: Path, most_bytes: int) -> None:
    """Set what a log has aside, once it is larger than *most_bytes*, for what sandboxes write from now on.

    They hold it open and write at its end, so it is copied and emptied; a line that is written meanwhile may be lost.
    """
    if path.exists() and path.stat().st_size > most_bytes:
        aside = path.with_suffix(f"{path.suffix}.1")
        with path.open("rb") as source, os.fdopen(open_private(aside), "wb") as target:
            shutil.copyfileobj(source, target)
        os.truncate(path, 0)


def _say(text: str) -> None:
    print(f"gateway: {text}", file=sys.stderr, flush=True)
