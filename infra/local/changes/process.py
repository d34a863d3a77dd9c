"""The process that tells a function what changed in a table: ``python -m infra.local.changes.process --config FILE``."""

import argparse
import json
import os
import signal
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import boto3
from botocore.config import Config

from infra.local.changes.config import ChangesConfig, load
from infra.local.changes.poller import Poller
from infra.local.changes.reader import StreamReader
from infra.local.files import bound_log, open_private
from infra.local.function.following import FollowingPool, status_of
from infra.local.function.update import ConfigWatch
from infra.local.sealed import seal
from streamgage.errors import ConfigError

_LOOK_S = 0.5  # how often the parent, another version of the function, and the log are looked for
_LOG_BYTES = 32 * 1024 * 1024


class ChangesProcess:
    """Runs *config*; *config_file* is where another version of the function would appear. ``run`` returns when stopped."""

    def __init__(self, config: ChangesConfig, *, config_file: Path) -> None:
        self._config, self._stopping = config, threading.Event()
        self._following = FollowingPool(
            config.function, ConfigWatch(config_file, config, load), say=say_on_stderr
        )
        tables, streams = (_client(service, config) for service in ("dynamodb", "dynamodbstreams"))
        self._reader = StreamReader(tables, streams, config.table, say=say_on_stderr)
        self._poller = Poller(
            self._reader,
            self._following.pool,
            config.mapping,
            stopping=self._stopping,
            new_id=lambda: str(uuid.uuid4()),
            now_ms=lambda: time.time_ns() // 1_000_000,
            steady_s=time.monotonic,
            say=say_on_stderr,
        )
        self._written = ""
        self._parent = os.getppid()

    def stop(self) -> None:
        """Ask for an end. Safe in a signal handler. What is at work is cut off: it is news."""
        self._stopping.set()

    def run(self) -> None:
        """Tell changes until stopped."""
        worker = threading.Thread(target=self._poller.run, name="poller")
        worker.start()
        try:
            while not self._stopping.is_set() and os.getppid() == self._parent and worker.is_alive():
                self._following.look()
                self._write_status()
                with suppress(OSError):  # a full disk
                    bound_log(self._config.function.log_file, _LOG_BYTES)
                self._stopping.wait(_LOOK_S)
        finally:
            self._stopping.set()
            self._following.close()
            worker.join()

    def _write_status(self) -> None:
        status = {
            **status_of([self._following]),
            "is_reading": self._reader.is_reading,
            "changes": asdict(self._poller.counts),
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


def say_on_stderr(text: str) -> None:
    """Say *text* in the process's log."""
    print(f"changes: {text}", file=sys.stderr, flush=True)


def _client(service: str, config: ChangesConfig) -> object:
    return boto3.client(
        service,
        endpoint_url=config.endpoint,
        region_name=config.region,
        aws_access_key_id=config.access_key,
        aws_secret_access_key=config.secret_key,
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT, or until the parent has gone; return the exit status."""
    parser = argparse.ArgumentParser(prog="infra.local.changes.process", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON: infra.local.changes.config")
    options = parser.parse_args(arguments)
    try:
        process = ChangesProcess(load(options.config), config_file=options.config)
    except ConfigError as error:
        for problem in error.problems:
            say_on_stderr(problem)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.stop())
    process.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
