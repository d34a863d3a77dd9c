"""`streamgage collect` as a process, as a page meets it: behind a relay that loses requests and answers, and kills it.

The relay adds nothing of its own but what its fates say: status, headers (CORS too) and body are the collector's. What counts
is read from the records that came to Kinesis.
"""

import secrets
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from producers.collector.keys import Keys, keys_text, new_key
from streamgage.formats.kpl import decode_aggregate
from streamgage.formats.mark import decode_mark
from streamgage.reading.record_reader import SourceReader
from support.collecting import Server, pipeline, stored_in
from support.scripted_kinesis import Script, scripted_kinesis, stores_all
from support.web_site import MOST_BYTES, QuietServer, Site, site_of

Fate = Literal["answer", "lost request", "lost answer", "proxy", "stranger", "stuck", "killed"]
"""Relayed; not relayed, no answer; relayed, no answer; 502 and 200 of another server; relayed, and answered when let go; the
collector is killed while it answers, and started again."""
_OF_OTHERS = {"proxy": (502, {}), "stranger": (200, {"Access-Control-Allow-Origin": "*"})}
_TIMEOUT_S = 120


@dataclass
class Relayed:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class RealCollector:
    """A collector of clicks. ``wrong`` is what broke the contract: a test ends with none.

    ``requests`` counts those of pages, by fate and by the status of the collector's own answer.
    """

    folder: Path
    kinesis_url: str
    stored: Sequence[tuple[str, Mapping[str, Any]]]  # what came to Kinesis, which grows
    options: tuple[str, ...]
    fate: Callable[[], Fate] = lambda: "answer"
    key: str = ""
    filler: str = ""  # another key, of programs
    url: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()  # of the books
        self._life = threading.Lock()  # of the process
        self._source = SourceReader(pipeline().sources["click"], ())
        self._read_to, self._marks, self._events = 0, set[object](), list[dict[str, Any]]()

    def start(self, origin: str) -> None:
        """Start it, with a key for pages of *origin*."""
        made = [
            new_key(name, secrets.token_bytes(32), made_ms=0, sources=["click"], origins=origins)
            for name, origins in (("web", [origin]), ("filler", None))
        ]
        self.key, self.filler = (presented for _, presented in made)
        (self.folder / "keys.json").write_text(keys_text(Keys(tuple(key for key, _ in made))))
        self.server = self._server()

    def _server(self) -> Server:
        return Server(self.folder, self.kinesis_url, "--keys", str(self.folder / "keys.json"), *self.options)

    def kill(self) -> None:
        """Kill it, and start it again over the same spool."""
        with self._life:
            self.server.end(signal.SIGKILL)
            self.server = self._server()

    def relay(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Relayed | None:
        """Return the answer to a page's request; None where nobody hears it."""
        with self._lock:
            fate = self.fate()
            self.requests[fate] += 1
            self._look_at(method, target, headers, body)
        if fate in _OF_OTHERS:
            status, marks = _OF_OTHERS[fate]
            return Relayed(status, marks, b"<!doctype html><title>Welcome</title>")
        answer = None if fate == "lost request" else self._ask(method, target, headers, body, fate)
        if fate == "stuck":
            self.let_go.wait()
        return None if fate == "lost answer" else answer

    def _look_at(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        url, content_type = urlsplit(target), headers.get("content-type")
        if method != "POST" or url.path != "/v1/events" or parse_qs(url.query) != {"key": [self.key]}:
            self.wrong.append(f"{method} {target}")
        if content_type != "text/plain;charset=UTF-8" or len(body) > MOST_BYTES:
            self.wrong.append(f"{len(body)} bytes of {content_type}")

    def _ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, fate: Fate = "answer"
    ) -> Relayed | None:
        try:
            connection = self.server.connect(_TIMEOUT_S)
        except OSError:
            return None
        try:
            connection.request(method, target, body, dict(headers))
            if fate == "killed":
                self.kill()
            answer = connection.getresponse()
            found = Relayed(answer.status, dict(answer.getheaders()), answer.read())
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        with self._lock:
            self.requests[str(found.status)] += 1
            if (
                400 <= found.status < 500
            ):  # nothing that is sent is to be refused, nor another text under one key
                self.wrong.append(f"{found.status} {found.body!r} to {body!r}")
        return found

    def put(self, body: bytes) -> int:
        """Send *body* as a program does; return the status."""
        headers = {"content-type": "application/json", "x-api-key": self.filler}
        with self._life:
            connection = self.server.connect(_TIMEOUT_S)
        try:
            connection.request("POST", "/v1/events", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def is_settled(self) -> bool:
        """Tell whether all that it acknowledged is in Kinesis."""
        with suppress(OSError, HTTPException), self._life:
            connection = self.server.connect(_TIMEOUT_S)
            try:
                connection.request("GET", "/metrics")
                return b"\nstreamgage_collector_spool_records 0\n" in connection.getresponse().read()
            finally:
                connection.close()
        return False

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """What counts of all that came to Kinesis: what a consumer makes of aggregates that it knows by their marks."""
        with self._lock:
            come = list(self.stored[self._read_to :])
            self._read_to += len(come)
            for data in stored_in(come):
                aggregate = decode_aggregate(data)
                mark = decode_mark(aggregate.tags)
                assert mark is not None
                if mark not in self._marks:
                    self._marks.add(mark)
                    for each in aggregate.user_records():
                        self._events += self._events_of(each.data)
            return list(self._events)

    def _events_of(self, data: bytes) -> Iterator[dict[str, Any]]:
        if data[:10] in self._source.block_prefixes:
            block = self._source.decode_block(data)
            yield from (block.event(number) for number in range(block.count))
        else:
            yield self._source.events.decode(data)


@contextmanager
def site_of_collector(
    folder: Path, *options: str, script: Script = stores_all
) -> Iterator[tuple[Site, RealCollector]]:
    """Serve a site whose events go to a collector over *script*'s Kinesis; in the end it drains."""
    with scripted_kinesis(script) as (kinesis_url, stored):
        collector = RealCollector(folder, kinesis_url, stored, options)
        relay = QuietServer(("127.0.0.1", 0), _handler(collector))
        collector.url = f"http://127.0.0.1:{relay.server_address[1]}"
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            with site_of(collector) as site:
                collector.start(site.url)
                try:
                    yield site, collector
                finally:
                    collector.let_go.set()
                    assert collector.server.end() == 0
        finally:
            relay.shutdown()
            relay.server_close()
            thread.join()


def _handler(collector: RealCollector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

        def do_OPTIONS(self) -> None:
            self._pass_on(b"")

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

        def _pass_on(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = collector.relay(self.command, self.path, headers, body)
            if answer is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            with suppress(OSError):  # the page has left
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in ("content-length", "connection", "keep-alive"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

    return Handler
