"""`streamgage collect` among thousands of connections that others hold: a sender's events are taken, and what it costs is bounded."""

import json
import resource
import threading
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.local.stack.children import wait_until
from support.collecting import PATIENCE_S, Server, counted, pipeline, reading, serving, stored_in
from support.hostile_crowd import crowd_before
from support.scripted_kinesis import scripted_kinesis

_BATCHES, _EVENTS, _SENDERS = 25, 10, 3
_JSON = {"content-type": "application/json"}
_BASE_BYTES = 64 * 1024 * 1024
_CONNECTION_BYTES = 24 * 1024
_FEW_FILES = 1_024


class Sender(threading.Thread):
    """Sends batches by one connection, which it makes anew when it was ended, each until it is durable."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__()
        self._server, self._number = server, number
        self._connection: HTTPConnection | None = None
        self.accepted: Counter[int] = Counter()
        self.again = 0

    def run(self) -> None:
        for batch in range(_BATCHES):
            first = self._number * 1_000_000 + batch * _EVENTS
            events = [reading(first + at) for at in range(_EVENTS)]
            body = json.dumps({"client": f"c-{self._number}", "batch": batch, "events": events}).encode()
            while not self._is_durable(body):
                self.again += 1
                if self.again > 1_000:
                    return
            self.accepted.update(each["ts"] for each in events)
        if self._connection is not None:
            self._connection.close()

    def _is_durable(self, body: bytes) -> bool:
        if self._connection is None:
            self._connection = self._server.connect(timeout_s=30)
        try:
            self._connection.request("POST", "/v1/events", body, _JSON)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, HTTPException):  # ended in favour of others: nobody knows
            self._connection.close()
            self._connection = None
            return False
        return answer.status == 200


def files_of(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def resident_bytes(server: Server) -> int:
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def senders_go_on(folder: Path, *, count: int, most_files: int | None = None) -> None:
    with scripted_kinesis() as (url, requests), serving(folder, url, most_files=most_files) as server:
        files, resident = files_of(server), resident_bytes(server)
        with crowd_before(urlsplit(server.url).port or 0, count) as crowd:
            senders = [Sender(server, number) for number in range(_SENDERS)]
            for each in senders:
                each.start()
            most = grown = 0
            for each in senders:
                while each.is_alive():
                    each.join(0.1)
                    most = max(most, files_of(server))
                    grown = max(grown, resident_bytes(server) - resident)
            assert crowd.stdin is not None
            assert crowd.stdout is not None
            crowd.stdin.close()
            opened = crowd.stdout.readline().split()[1]
        wait_until(lambda: files_of(server) <= files + 8, seconds=PATIENCE_S, what="files to come back")
        assert server.end() == 0
        counts = counted(stored_in(requests), pipeline())
    said = (folder / "collect.log").read_text()
    print(
        f"{count:,} held, {opened} opened in all; {most:,} files of the collector; {grown / 1e6:.1f} MB more,"
        f" {grown / count:,.0f} bytes each; sent again {[each.again for each in senders]} of {_BATCHES}; it said {said!r}"
    )
    assert counts == sum((each.accepted for each in senders), Counter[int]())
    assert counts.total() == _SENDERS * _BATCHES * _EVENTS
    assert grown < _BASE_BYTES + count * _CONNECTION_BYTES
    assert len(said.splitlines()) <= 5
    if most_files is not None:
        assert most < most_files
        assert f"it holds {most_files - 256:,} connections at once, not 16,384" in said


def test_twice_as_many_connections_as_it_may_hold_keep_no_sender_out(tmp_path: Path) -> None:
    senders_go_on(tmp_path, count=1_500, most_files=_FEW_FILES)


@pytest.mark.slow
def test_ten_thousand_connections_keep_no_sender_out(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    senders_go_on(tmp_path, count=10_000 if hard == resource.RLIM_INFINITY else min(10_000, hard - 100))
