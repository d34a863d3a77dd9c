"""A stream of this machine that can be away in each way there is: its process ended, every answer a 500, no answer at all."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from support.paths import ROOT

Away = Literal["ended", "failing", "silent"]

_STREAM = "s"
_FAILURE = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: 28\r\n"
    b'Connection: close\r\n\r\n{"__type":"InternalFailure"}'
)
_PATIENCE_S = 120
_CREDENTIALS: dict[str, Any] = {
    "region_name": "eu-west-1",
    "aws_access_key_id": "a",
    "aws_secret_access_key": "b",
}


class FailingStream:
    """``python -m infra.local.kinesis`` with one stream, kept in *folder*, and what is at its port while it is away."""

    def __init__(self, folder: Path, *, shards: int = 2) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._stand_in: _StandIn | None = None
        self.port = 0
        self.back()
        self.client().create_stream(StreamName=_STREAM, ShardCount=shards)
        self.client().get_waiter("stream_exists").wait(
            StreamName=_STREAM, WaiterConfig={"Delay": 1, "MaxAttempts": _PATIENCE_S}
        )

    @property
    def url(self) -> str:
        """Where it is, or would be."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        """Return a client of its own."""
        import boto3

        return boto3.client("kinesis", endpoint_url=self.url, **_CREDENTIALS)

    def go(self, away: Away) -> None:
        """Be away in another way."""
        self._leave()
        if away != "ended":
            self._stand_in = _StandIn(self.port, _FAILURE if away == "failing" else b"")

    def back(self) -> None:
        """Answer again, with all that was stored."""
        self._leave()
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "infra.local.kinesis"),
                *("--port", str(self.port), "--data", str(self._folder), "--region", "eu-west-1"),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        self._process = process
        line = process.stdout.readline().decode()
        assert line.startswith("kinesis: ready on "), line
        self.port = int(line.rpartition(":")[2])

    def close(self) -> None:
        """End it, or what stands in for it."""
        self._leave()

    def records(self) -> Iterator[bytes]:
        """Yield the data of all records that it holds."""
        client = self.client()
        for shard in client.list_shards(StreamName=_STREAM)["Shards"]:
            iterator = client.get_shard_iterator(
                StreamName=_STREAM, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while True:
                found = client.get_records(ShardIterator=iterator)
                for each in found["Records"]:
                    yield each["Data"]
                if not found["MillisBehindLatest"]:
                    break
                iterator = found["NextShardIterator"]

    def _leave(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(_PATIENCE_S)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
        if self._stand_in is not None:
            self._stand_in.close()
            self._stand_in = None


class _StandIn:
    """Takes connections at *port*, and says *answer* to whatever comes first, once; nothing where that is empty."""

    def __init__(self, port: int, answer: bytes) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", port), backlog=64)
        self._taken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Take no more, and end those that were taken."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._thread.join()
        self._socket.close()
        for each in self._taken:
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            if not self._answer:
                self._taken.append(client)
                continue
            with client, suppress(OSError):
                client.settimeout(5)
                client.recv(1 << 20)
                client.sendall(self._answer)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1 << 20):
                    pass


@contextmanager
def failing_stream(folder: Path) -> Iterator[FailingStream]:
    """Run one, and end it."""
    stream = FailingStream(folder)
    try:
        yield stream
    finally:
        stream.close()
