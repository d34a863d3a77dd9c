"""``streamgage mqtt`` as a process, before a stream that counts as the consumer does."""

import base64
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from producers.client.entry import PutEntry
from producers.client.ports import PutStored
from support.counting import CountingStream
from support.paths import ROOT
from support.scripted_kinesis import Reply, scripted_kinesis, stores_all
from support.sending import numbers_of

READINGS = """
[[mqtt]]
topic = "plant/+/reading"
source = "reading"
id = "id"
fields = { device_id = "topic:2", metric = "text:temperature" }
"""


class Counted:
    """What a stream of one shard holds: each sealed record once, by its mark."""

    def __init__(self) -> None:
        self._stream, self._lock = CountingStream(), threading.Lock()
        self.is_down = False

    def script(self, operation: str, request: Mapping[str, Any]) -> Reply:
        if self.is_down:
            return 503, {"__type": "ServiceUnavailable"}
        if operation == "PutRecords":
            with self._lock:
                for each in request["Records"]:
                    data = base64.b64decode(each["Data"])
                    hash_key = each.get("ExplicitHashKey")
                    entry = PutEntry(
                        "s",
                        each["PartitionKey"],
                        None if hash_key is None else int(hash_key),
                        data,
                        len(data),
                        (),
                        (0,),
                        0,
                    )
                    assert isinstance(self._stream._put(entry, "stored"), PutStored)
        return stores_all(operation, request)

    def numbers(self) -> dict[int, int]:
        """Return how often each value was counted."""
        with self._lock:
            return numbers_of(dict(self._stream.counts))

    def user_records(self) -> Counter[bytes]:
        with self._lock:
            return Counter(self._stream.counts)


@contextmanager
def counted_stream() -> Iterator[tuple[str, Counted]]:
    """Run the stream; yield its address, and what it holds."""
    counted = Counted()
    with scripted_kinesis(counted.script) as (url, _):
        yield url, counted


class BridgeProcess:
    """One bridge after the other, in one folder. Use it as a context: what it started ends with it."""

    def __init__(self, folder: Path, broker: str, stream: str, *options: str, mqtt: str = READINGS) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "schemas").symlink_to(ROOT / "schemas")
        pipeline = (ROOT / "pipeline.toml").read_text(encoding="utf-8")
        (folder / "pipeline.toml").write_text(pipeline + mqtt, encoding="utf-8")
        self._arguments = [
            *(sys.executable, "-P", "-m", "infra.commands.main", "mqtt", broker),
            *(
                "--stream",
                "events",
                "--endpoint-url",
                stream,
                "--region",
                "eu-west-1",
                "--every",
                "100ms",
                *options,
            ),
        ]
        self._environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.end(signal.SIGKILL)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments, cwd=self.folder, env=self._environ, stdout=log, stderr=log
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return its exit code."""
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        return process.wait(timeout=120)

    def wait(self) -> int:
        """Wait for it to end by itself."""
        process, self._process = self._process, None
        assert process is not None
        return process.wait(timeout=300)

    @property
    def said(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")

    @property
    def quarantine(self) -> Path:
        return self.folder / "mqtt.spool.quarantine.ndjson"
