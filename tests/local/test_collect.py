"""`streamgage collect` as a process: killed under load, ended in order, and before clients that mean it no good."""

import gzip
import json
import signal
import socket
import threading
from collections import Counter
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from producers.collector.keys import Keys, keys_text, new_key
from support.collecting import NOW_MS, Server, counted, pipeline, reading, serving, stored_in
from support.scripted_kinesis import scripted_kinesis, stores_all

_JSON = {"content-type": "application/json"}
_CLIENTS = 3


class Client(threading.Thread):
    """Sends batches of its own, each again and again under its key until it is told that it is durable."""

    def __init__(self, number: int, servers: list[Server], stop: threading.Event) -> None:
        super().__init__()
        self.number, self.servers, self.stop = number, servers, stop
        self.acknowledged: Counter[int] = Counter()
        self.batches = 0
        self.failed: str | None = None

    def run(self) -> None:
        while not self.stop.is_set():
            first = (self.number * 1_000_000) + self.batches * 20
            events = [reading(first + at) for at in range(20)]
            body = json.dumps({"client": f"c-{self.number}", "batch": self.batches, "events": events})
            while not self._sent(body):
                self.stop.wait(0.02)
            self.acknowledged.update(each["ts"] for each in events)
            self.batches += 1

    def _sent(self, body: str) -> bool:
        connection = None
        try:
            connection = self.servers[-1].connect(timeout_s=10)
            connection.request("POST", "/v1/events", body, _JSON)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            return False  # nobody knows
        finally:
            if connection is not None:
                connection.close()
        if answer.status not in (200, 503):
            self.failed = f"{answer.status}"
        return answer.status == 200


def totals_are_exact(folder: Path, *, kills: int) -> None:
    with scripted_kinesis() as (url, requests):
        servers, stop = [Server(folder, url)], threading.Event()
        clients = [Client(number, servers, stop) for number in range(_CLIENTS)]
        for each in clients:
            each.start()
        for kill in range(kills):
            while sum(each.batches for each in clients) < 10 * (kill + 1):
                stop.wait(0.01)
            servers[-1].end(signal.SIGKILL)
            servers.append(Server(folder, url))
        stop.set()
        for each in clients:
            each.join()
        assert servers[-1].end() == 0
        counts = counted(stored_in(requests), pipeline())
    assert not any(each.failed for each in clients)
    assert counts == sum((each.acknowledged for each in clients), Counter())


def test_a_collector_killed_twice_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    totals_are_exact(tmp_path, kills=2)


@pytest.mark.slow
def test_a_collector_killed_twenty_times_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    totals_are_exact(tmp_path, kills=20)


def test_while_the_stream_is_down_it_accepts_and_what_it_accepted_is_sent_when_that_is_back(
    tmp_path: Path,
) -> None:
    is_down = [True]

    def script(operation: str, request: Any) -> Any:
        return (500, {"__type": "InternalFailure"}) if is_down[0] else stores_all(operation, request)

    with scripted_kinesis(script) as (url, requests), serving(tmp_path, url) as server:
        connection = server.connect()
        connection.request("POST", "/v1/events", json.dumps([reading(1), reading(2)]), _JSON)
        assert connection.getresponse().status == 200
        connection.close()
        is_down[0] = False
        del requests[:]
        assert server.end() == 0
        assert counted(stored_in(requests), pipeline()) == {NOW_MS + 1: 1, NOW_MS + 2: 1}


def test_hostile_clients_neither_crash_nor_starve_it(tmp_path: Path) -> None:
    key, presented = new_key("app", b"s" * 32, made_ms=0)
    keys = tmp_path / "keys.json"
    keys.write_text(keys_text(Keys((key,))))
    head = {**_JSON, "X-Api-Key": presented}
    with (
        scripted_kinesis() as (url, _),
        serving(tmp_path, url, "--keys", str(keys)) as server,
        ExitStack() as stack,
    ):
        place = urlsplit(server.url)
        address = (place.hostname or "", place.port or 0)

        def good() -> int:
            connection = server.connect()
            connection.request("POST", "/v1/events", json.dumps([reading()]), head)
            status = connection.getresponse().status
            connection.close()
            return status

        idle = [stack.enter_context(socket.create_connection(address)) for _ in range(500)]
        for number, each in enumerate(idle):  # half of them begin a request, and never end it
            if number % 2:
                each.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert good() == 200

        large = stack.enter_context(socket.create_connection(address))
        large.sendall(
            b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Api-Key: "
            + presented.encode()
            + b"\r\nContent-Length: 100000000\r\n\r\n"
        )
        assert large.recv(100).startswith(b"HTTP/1.1 413")
        forged = stack.enter_context(socket.create_connection(address))
        forged.sendall(
            b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Api-Key: sgk_app_x\r\nContent-Length: 9000000\r\n\r\n"
        )
        assert forged.recv(100).startswith(b"HTTP/1.1 401")  # not a byte of its body was waited for

        connection = server.connect()
        for body, more, status in (
            (gzip.compress(bytes(40_000_000)), {"Content-Encoding": "gzip"}, 413),
            (b"[" * 1_000_000, {}, 400),
            (b"\x00" * 1_000, {}, 400),
            (b"[]", {"Content-Type": "application/xml"}, 415),
        ):
            connection.request("POST", "/v1/events", body, {**head, **more})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
        connection.close()
        assert good() == 200
        assert server.end() == 0


def test_without_keys_no_page_of_another_site_and_no_other_machine_may_send(tmp_path: Path) -> None:
    with scripted_kinesis() as (url, _), serving(tmp_path, url) as server:
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            connection = server.connect()
            connection.request("POST", "/v1/events", json.dumps([reading()]), {**_JSON, **headers})
            assert connection.getresponse().status == 403
            connection.close()
