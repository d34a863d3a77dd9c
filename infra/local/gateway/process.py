"""The gateway as a process: its server, the sandboxes of its function, and what it says of itself in a file."""

import json
import os
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from infra.local.files import bound_log, open_private
from infra.local.function.following import FollowingPool, status_of
from infra.local.function.pool import FunctionPool
from infra.local.function.update import ConfigWatch
from infra.local.gateway.api import preflight_paths
from infra.local.gateway.config import GatewayConfig, OtherConfig, SocketConfig, load
from infra.local.gateway.gateway import Gateway
from infra.local.gateway.page import Page
from infra.local.gateway.say import say_on_stderr
from infra.local.gateway.sockets import SocketFace
from infra.local.http.guard import HEALTH, Guard
from infra.local.http.message import Limits
from infra.local.http.secret import Credentials
from infra.local.http.server import HttpServer
from infra.local.sealed import seal
from streamgage.errors import ConfigError

LIMITS = Limits(
    connections=16_384,
    other_files=2_048,  # a thousand WebSockets, and what sandboxes, logs and workers have open
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
    """Serves *config* under the secret base of *credentials*. ``run`` returns when it was told to stop; what it owns is then gone.

    *config_file* is where another version of the functions would appear.

    Raises:
        ConfigError: the port is taken.
    """

    def __init__(self, config: GatewayConfig, *, credentials: Credentials, config_file: Path) -> None:
        self._config = config
        watch = ConfigWatch(
            config_file,
            config,
            lambda path: replace(load(path), socket=config.socket, collector=config.collector),
        )
        self._pools = [FollowingPool(config.function, watch, say=say_on_stderr)]
        self._sockets = self._make_sockets(config.socket, credentials, config_file)
        others = self._make_others(config.collector, config_file)
        self._gateway = Gateway(
            config.api,
            self._pools[0].pool,
            Page(config.web_dir),
            base=credentials.base,
            port=config.port,
            account=config.function.account_id,
            concurrency=config.function.max_concurrency,
            sockets=self._sockets,
            others=others,
        )
        origins = config.api.cors.named_origins if config.api.cors else frozenset()
        guard = Guard(
            base=credentials.base,
            open_paths=frozenset({HEALTH}),
            origins=origins,
            page_paths=preflight_paths(config.api.routes),
        )
        self._server = HttpServer(self._gateway, name="gateway", port=config.port, limits=LIMITS, guard=guard)
        functions = [config.function, *(each.function for each in (config.socket, config.collector) if each)]
        self._logs = [each.log_file for each in functions]
        self._written = ""
        self._stopping = threading.Event()
        self._parent = os.getppid()

    def stop(self) -> None:
        """Ask for an orderly end. Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Serve until stopped."""
        self._server.start()
        say_on_stderr(f"listens at {self._server.url}")
        try:
            while not self._stopping.is_set() and os.getppid() == self._parent:
                for each in self._pools:
                    each.look()
                self._write_status()
                for log in self._logs:
                    with suppress(OSError):  # a full disk
                        bound_log(log, _LOG_BYTES)
                self._stopping.wait(_LOOK_S)
        finally:
            self._server.stop()
            self._gateway.close()
            if self._sockets is not None:
                self._sockets.close()
            for each in self._pools:
                each.close()

    def _make_sockets(
        self, config: SocketConfig | None, credentials: Credentials, config_file: Path
    ) -> SocketFace | None:
        """Return the WebSocket API, where there is one, with a pool of its own."""
        if config is None:
            return None
        pool = FollowingPool(config.function, ConfigWatch(config_file, config, _socket_of), say=say_on_stderr)
        self._pools.append(pool)
        return SocketFace(
            config.api,
            pool.pool,
            port=self._config.port,
            access_key=credentials.access_key,
            concurrency=config.function.max_concurrency,
        )

    def _make_others(self, config: OtherConfig | None, config_file: Path) -> dict[str, FunctionPool]:
        """Return the sandboxes of the collector, where there is one, by what its routes call it."""
        if config is None:
            return {}
        watch = ConfigWatch(config_file, config, _collector_of)
        pool = FollowingPool(config.function, watch, say=say_on_stderr)
        self._pools.append(pool)
        return {config.named: pool.pool}

    def _write_status(self) -> None:
        """Say which version runs, and in which sandboxes, where that has changed."""
        text = json.dumps(seal(status_of(self._pools)))
        if text == self._written:
            return
        path = self._config.status_file
        partial = path.with_suffix(".partial")
        with suppress(OSError):  # a full disk: it is tried again
            with os.fdopen(open_private(partial), "w", encoding="ascii") as file:
                file.write(text)
            partial.replace(path)
            self._written = text


def _collector_of(path: Path) -> OtherConfig:
    config = load(path).collector
    if config is None:
        raise ConfigError("the collector is gone from the configuration; restart the stack")
    return config


def _socket_of(path: Path) -> SocketConfig:
    config = load(path).socket
    if config is None:
        raise ConfigError("the WebSocket API is gone from the configuration; restart the stack")
    return config
