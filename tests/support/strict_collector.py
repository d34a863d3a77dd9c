"""A collector that is strict: what a browser sends has to be as the contract says, and its answers can be taken away.

It counts a batch (client, batch) once, takes it again only with the same bytes, and reads events by the rules of every other
entrance. ``fate`` says for each request what becomes of it, so that a test says which answers a page never sees.
"""

import hashlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from streamgage.definition.pipeline import Pipeline
from streamgage.errors import PoisonRecord
from streamgage.formats.json_event import json_events_of
from support.web_site import MOST_BYTES, QuietServer

KEY = "sgk_web_public"
Fate = Literal["answer", "lost request", "lost answer", "busy", "limited", "stranger", "stuck"]
"""Answered; not taken, no answer; taken, no answer; 503; 429; some other server's 200; taken, and answered when let go."""


@dataclass
class StrictCollector:
    """``events`` are those that count. ``wrong`` is what broke the contract: a test ends with none."""

    pipeline: Pipeline
    fate: Callable[[], Fate] = lambda: "answer"
    status: int | None = None  # answers so, whatever comes
    events: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0
    requests: Counter[str] = field(default_factory=Counter)  # by fate, and "repeated": a batch came again
    wrong: list[str] = field(default_factory=list)
    url: str = ""
    key: str = KEY
    let_go: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    taken: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def meet(self, *fates: Fate) -> None:
        """Let the next requests meet *fates*, and the others be answered."""
        left = list(fates)
        self.fate = lambda: left.pop(0) if left else "answer"

    def look_at(self, path: str, content_type: str) -> None:
        """Note what of a request is not as it has to be."""
        url = urlsplit(path)
        if url.path != "/base/v1/events" or parse_qs(url.query) != {"key": [KEY]}:
            self.wrong.append(f"asked for {path}")
        if content_type != "text/plain;charset=UTF-8":
            self.wrong.append(f"a body of {content_type}")

    def reply(self, fate: Fate, body: bytes) -> tuple[int, dict[str, Any] | str] | None:
        """Return status and answer to *body*; None where nobody hears it."""
        if self.status is not None:
            return self.status, {"error": "so it is", "problems": []}
        if fate in ("busy", "limited"):
            return (503 if fate == "busy" else 429), {"error": "later", "problems": []}
        if fate == "stranger":
            return 200, "<!doctype html><title>Welcome</title>"
        if fate == "lost request":
            return None
        answered = self.take(body)
        return None if fate == "lost answer" else answered

    def is_settled(self) -> bool:
        """Tell whether all that it acknowledged counts."""
        return True

    def take(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return status and answer to *body*, an envelope."""
        envelope = json.loads(body)
        if set(envelope) != {"client", "batch", "events"} or len(body) > MOST_BYTES:
            self.wrong.append(f"{sorted(envelope)}, {len(body)} bytes")
        key, digest = (envelope["client"], envelope["batch"]), hashlib.sha256(body).digest()
        before = self.taken.setdefault(key, digest)
        if before != digest:
            self.wrong.append(f"other bytes under {key}")
            return 409, {"error": "conflict", "problems": [f"{key} came with other bytes before"]}
        events, refused = [], []
        for index, event in enumerate(envelope["events"]):
            try:
                events.append(self._read(dict(event)))
            except PoisonRecord as error:
                refused.append({"index": index, "place": f"events[{index}]", "reason": str(error)})
        repeated = key in self._counted
        if not repeated:
            self._counted.add(key)
            self.events += events
            self.refused += len(refused)
        self.requests["repeated"] += repeated
        answer = {"accepted": len(events), "refused": refused, "repeated": repeated}
        return (200 if events else 422), answer

    def __post_init__(self) -> None:
        self._counted: set[tuple[str, int]] = set()

    def _read(self, event: dict[str, Any]) -> dict[str, Any]:
        source = self.pipeline.sources[event.pop("source")]
        if not event.keys() <= source.schema.fields.keys():
            raise PoisonRecord("undecodable", f"fields {sorted(event)}")
        read = json_events_of(source.schema, source.event_time, source.time_unit).event(event)
        return {**read, "source": source.name}


@contextmanager
def collecting(pipeline: Pipeline) -> Iterator[StrictCollector]:
    """Serve a collector on loopback, at another origin than any page."""
    collector = StrictCollector(pipeline)
    server = QuietServer(("127.0.0.1", 0), _handler(collector))
    collector.url = f"http://127.0.0.1:{server.server_address[1]}/base"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        collector.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(collector: StrictCollector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

        def do_OPTIONS(self) -> None:
            collector.wrong.append("a preflight")
            self.send_error(403)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.look_at(self.path, self.headers["Content-Type"])
            with collector.lock:
                fate = collector.fate()
                collector.requests[fate] += 1
                answered = collector.reply(fate, body)
            if fate == "stuck":
                collector.let_go.wait()
            if answered is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self._send(*answered)

        def _send(self, status: int, answer: dict[str, Any] | str) -> None:
            body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            try:
                self.send_response(status)
                self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "null"))
                self.send_header("Access-Control-Expose-Headers", "Retry-After")
                if status in (429, 503):
                    self.send_header(
                        "Retry-After", "0.05"
                    )  # no whole second, as HTTP has it: a test waits for it
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # the page has left

    return Handler
