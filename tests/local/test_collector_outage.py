"""`streamgage collect` while the stream behind it is away, for ten minutes by the clock, and killed in the middle of that."""

import json
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.local.stack.children import wait_until
from support.collecting import PATIENCE_S, Server, counted, pipeline, reading
from support.outages import Away, FailingStream, failing_stream

OUTAGE_S = float(os.environ.get("STREAMGAGE_OUTAGE_S", "600"))  # of the long run
SPOOL_BYTES = 4 * 1024 * 1024
LOG_BYTES = 16 * 1024 * 1024  # of SQLite, beside it: docs/spool.md
_EVENTS = 60  # of a batch: some 7 kB in the spool, for nothing in them can be compressed
_FULL_AFTER = 450  # batches, or so
_CLIENTS = 3
_AWAY: tuple[Away, ...] = ("ended", "failing", "silent")
_OPTIONS = "--spool-bytes", str(SPOOL_BYTES)
_JSON = {"content-type": "application/json"}


@dataclass(slots=True)
class Told:
    """What clients were told."""

    accepted: Counter[int] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    unknown: int = 0  # no answer came, or the client did not wait for it
    problems: list[str] = field(default_factory=list)


class Client(threading.Thread):
    """Sends a batch every *pause_s*, each again and again under its key until it is told that it is durable."""

    def __init__(self, number: int, servers: list[Server], stop: threading.Event, pause_s: float) -> None:
        super().__init__()
        self._number, self._servers, self._enough, self._pause_s = number, servers, stop, pause_s
        self._random = random.Random(number)
        self.told, self.batches = Told(), 0

    def run(self) -> None:
        while not self._enough.is_set():
            first = self._number * 100_000_000 + self.batches * _EVENTS
            events = [
                reading(first + at, device_id=self._random.randbytes(100).hex(), value=at / 4)
                for at in range(_EVENTS)
            ]
            body = json.dumps(
                {"client": f"c-{self._number}", "batch": self.batches, "events": events}
            ).encode()
            if self._random.random() < 0.1:
                self._send_and_leave(body)
            while (wait_s := self._send(body)) is not None:
                time.sleep(wait_s)
            self.told.accepted.update(each["ts"] for each in events)
            self.batches += 1
            self._enough.wait(self._pause_s)

    def _send(self, body: bytes) -> float | None:
        """Return None once the batch is durable; else when to send it again."""
        connection = None
        try:
            connection = self._servers[-1].connect(timeout_s=30)
            connection.request("POST", "/v1/events", body, _JSON)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            self.told.unknown += 1
            return 0.1
        finally:
            if connection is not None:
                connection.close()
        self.told.statuses[answer.status] += 1
        if answer.status == 200:
            return None
        after = answer.headers.get("retry-after")
        if answer.status != 503 or after is None:
            self.told.problems.append(f"{answer.status}, Retry-After {after}")
        return min(float(after or 1), 5)

    def _send_and_leave(self, body: bytes) -> None:
        """Send it, and go before the answer."""
        place = urlsplit(self._servers[-1].url)
        head = f"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.told.unknown += 1
        try:
            with socket.create_connection((place.hostname or "", place.port or 0), timeout=30) as client:
                client.sendall(head.encode() + body)
        except OSError:
            return


class Watch(threading.Thread):
    """Looks at the spool all the while: what it says of itself, and what its files take."""

    def __init__(self, folder: Path, servers: list[Server]) -> None:
        super().__init__()
        self._folder, self._servers, self._over = folder, servers, threading.Event()
        self.most_bytes = self.most_on_disk = self.records = 0

    def run(self) -> None:
        while not self._over.wait(0.2):
            self.look()

    def close(self) -> None:
        self._over.set()
        self.join()

    def look(self) -> int:
        """Return how many records the spool holds."""
        on_disk = 0
        for each in self._folder.glob("spool*"):
            try:
                on_disk += each.stat().st_size
            except FileNotFoundError:
                continue
        self.most_on_disk = max(self.most_on_disk, on_disk)
        try:
            connection = self._servers[-1].connect(timeout_s=30)
            try:
                connection.request("GET", "/metrics")
                lines = connection.getresponse().read().decode().splitlines()
            finally:
                connection.close()
        except (OSError, HTTPException):
            return -1
        gauges = dict(each.split(" ") for each in lines if each.startswith("streamgage_collector_spool"))
        self.most_bytes = max(self.most_bytes, int(gauges["streamgage_collector_spool_bytes"]))
        return int(gauges["streamgage_collector_spool_records"])


def be_away(stream: FailingStream, folder: Path, servers: list[Server], outage_s: float) -> None:
    """Take the stream away for *outage_s*, a third in each way; kill the collector in the middle of it."""
    for away in _AWAY:
        stream.go(away)
        time.sleep(outage_s / 6)
        if away == "failing":
            servers[-1].end(signal.SIGKILL)
            servers.append(Server(folder, stream.url, *_OPTIONS))
        time.sleep(outage_s / 6)


def totals_are_exact(folder: Path, *, outage_s: float) -> None:
    with failing_stream(folder / "kinesis") as stream, ExitStack() as stack:
        servers, stop = [Server(folder, stream.url, *_OPTIONS)], threading.Event()
        stack.callback(lambda: servers[-1].process.kill())  # noqa: PLW0108 - of the last one there is, where it was not ended
        pause_s = outage_s * 0.5 * _CLIENTS / _FULL_AFTER  # it is full when half of the outage is over
        clients = [Client(number, servers, stop, pause_s) for number in range(_CLIENTS)]
        watch = Watch(folder, servers)
        for each in (*clients, watch):
            each.start()
        stack.callback(watch.close)
        try:
            wait_until(
                lambda: all(each.batches for each in clients), seconds=PATIENCE_S, what="a first batch"
            )
            before = sum(each.batches for each in clients)
            be_away(stream, folder, servers, outage_s)
            wait_until(
                lambda: any(each.told.statuses[503] for each in clients),
                seconds=outage_s + PATIENCE_S,
                what="a full spool",
            )
            during = sum(each.batches for each in clients) - before
            returned_s = time.monotonic()
            stream.back()
            wait_until(
                lambda: sum(each.batches for each in clients) >= before + during + _CLIENTS,
                seconds=600,
                what="the clients to be let in again",
            )
        finally:
            stop.set()
            for each in clients:
                each.join()
        wait_until(lambda: watch.look() == 0, seconds=600, what="the spool to be drained")
        drained_s = time.monotonic() - returned_s
        watch.close()
        assert servers[-1].end() == 0
        counts = counted(list(stream.records()), pipeline())
    told = [each.told for each in clients]
    accepted = sum((each.accepted for each in told), Counter[int]())
    statuses = sum((each.statuses for each in told), Counter[int]())
    print(
        f"away for {outage_s:.0f} s: {during} batches accepted meanwhile, {accepted.total():,} events in all; answers"
        f" {dict(statuses)}, {sum(each.unknown for each in told)} lost; spool at most {watch.most_bytes:,} bytes,"
        f" {watch.most_on_disk:,} on the disk; drained {drained_s:.1f} s after the stream was back"
    )
    assert not [problem for each in told for problem in each.problems]
    assert during
    assert statuses[503]
    assert 0 < watch.most_bytes <= SPOOL_BYTES
    assert watch.most_on_disk <= SPOOL_BYTES + LOG_BYTES + 4096
    assert counts == accepted


def test_while_the_stream_is_away_a_full_spool_answers_503_and_nothing_is_lost_or_doubled(
    tmp_path: Path,
) -> None:
    totals_are_exact(tmp_path, outage_s=9)


@pytest.mark.slow
def test_ten_minutes_without_the_stream_lose_and_double_nothing(tmp_path: Path) -> None:
    totals_are_exact(tmp_path, outage_s=OUTAGE_S)
