"""What stands behind the page in its tests: its files, and ``/v1`` by the real library over a table in memory.

It answers as the contract of the HTTP API says, under a path that nobody guesses, with the headers that the page has to work
under. ``send`` counts events as the function does; what a test knows of them is its oracle.
"""

import csv
import hashlib
import io
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from infra.template.page import HEADERS
from processors.live.questions import as_parameters
from processors.query.answer import Answer, answer, silence
from processors.query.asking import prepared
from processors.query.freshness import Freshness
from processors.query.render import number_text, to_csv, to_ndjson
from processors.query.shape import columns_of
from processors.query.tables import instant_ms
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.measures.named import find_measure
from streamgage.measures.windows import MAX_EVENT_TIME_MS
from streamgage.records import StreamRecord
from support.fakes import Reads, World, invoke
from support.page_socket import PageSocket
from support.paths import ROOT

WEB = ROOT / "processors" / "live" / "web"
BASE = "/0123456789abcdef"
CSP = HEADERS["Content-Security-Policy"]
_KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
_MOVING = ("now_ms", "behind_ms", "freshness", "read_units")  # what makes no answer another
_BATCH = 5_000
_SHARD = "shardId-000000000000"


class PageServer:
    """A stack in this process. ``quarantined`` is what its queue says.

    ``config`` stands in for config.json, ``csp`` is the policy; ``may`` says whether the Authorization of a request is taken.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.world = World(pipeline)
        self.sandbox = self.world.sandbox()
        self.quarantined: int | None = 0
        self.behind_ms = 1_000
        self.stuck_ms: int | None = None  # everything is applied up to then, and no further
        self.asked: list[str] = []
        self.config: bytes | None = None
        self.csp = CSP
        self.may: Callable[[str | None], bool] = lambda _: True
        self.socket: PageSocket | None = None  # where there is one
        self.too_many = 0  # so many questions are answered 429
        self.tickets: set[str] | None = (
            None  # that were given and not used, where the socket is for who has one
        )
        self._lock = threading.Lock()
        self._sent = 0
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self._port}{BASE}/"

    def start(self) -> None:
        """Serve; again where it served before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Be gone; the table stays."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            if self.socket is not None:
                self.socket.drop()
            self._server = None

    def send(self, source: str, events: Iterable[Mapping[str, Any]]) -> None:
        """Let *events* arrive now, and be counted."""
        encode, arrival_ms = self.pipeline.sources[source].schema.encode, now_ms()
        data = [encode(dict(each)) for each in events]
        with self._lock:
            for first in range(0, len(data), _BATCH):
                records = [
                    StreamRecord(_SHARD, self._sent + at, "p", each, arrival_ms)
                    for at, each in enumerate(data[first : first + _BATCH])
                ]
                self._sent += len(records)
                self.world.clock.begin()
                assert invoke(self.sandbox, records) is None

    def is_too_many(self) -> bool:
        """Tell whether one more question is one too many."""
        with self._lock:
            is_one = self.too_many > 0
            self.too_many -= is_one
        return is_one

    def ticket(self) -> str | None:
        """Return a new ticket; None where none is needed."""
        if self.tickets is None:
            return None
        ticket = secrets.token_urlsafe()
        self.tickets.add(ticket)
        return ticket

    def takes(self, query: str) -> bool:
        """Tell whether a handshake with *query* is let in; its ticket is used then."""
        if self.tickets is None:
            return True
        ticket = dict(parse_qsl(query)).get("ticket", "")
        is_good = ticket in self.tickets
        self.tickets.discard(ticket)
        return is_good

    def file(self, name: str) -> tuple[int, str, bytes]:
        """Return status, type and body of the file *name*."""
        file = WEB / name
        if file.parent != WEB or not file.is_file():
            return 404, "text/plain", b""
        body = file.read_bytes()
        if name == "config.json" and self.config is not None:
            body = self.config
        return 200, _KINDS.get(file.suffix, "text/plain"), body

    def reply(self, path: str, params: list[tuple[str, str]], accept: str) -> tuple[int, str, str]:
        """Return status, type and body of a question under ``/v1/``."""
        now = now_ms()
        with self._lock:
            try:
                found = self._reply(path.split("/"), params, now)
            except ConfigError as error:
                problems = [as_parameters(each) for each in error.problems]
                return 400, "application/json", _error(problems[0], problems)
        if found is None:
            return 404, "application/json", _error(f"there is no {path}", ())
        if isinstance(found, Answer):
            if accept == "text/csv":
                return 200, "text/csv", "".join(f"{each}\r\n" for each in to_csv(found))
            return 200, "application/json", self._answer_json(found, now)
        return 200, "application/json", json.dumps(found)

    def _reply(
        self, path: list[str], params: list[tuple[str, str]], now: int
    ) -> Answer | dict[str, Any] | None:
        if path == ["status"]:
            return {
                "now_ms": now,
                "applied_ms": self._applied_ms(now),
                "behind_ms": now - self._applied_ms(now),
                "freshness": self._fresh(now).describe(now),
                "quarantined": {"messages": self.quarantined},
            }
        if path == ["rollups"]:
            rollups = [_rollup_json(each) for each in self.pipeline.rollups.values()]
            fresh = self._fresh(now)
            return {
                "rollups": rollups,
                "consumer": "main",
                "now_ms": now,
                "applied_ms": fresh.applied_ms,
                "freshness": fresh.describe(now),
            }
        if len(path) != 3 or path[0] != "rollups" or unquote(path[1]) not in self.pipeline.rollups:
            return None
        return self._asked(unquote(path[1]), path[2], params, now)

    def _asked(
        self, rollup: str, what: str, params: list[tuple[str, str]], now: int
    ) -> Answer | dict[str, Any] | None:
        given = dict(params)
        select = [each for name, each in params if name == "select"]
        key = {name[4:]: value for name, value in params if name.startswith("key.")}
        group_by = given.get("group_by")
        to_ms = instant_ms(given.get("to"), now_ms=now, default_ms=MAX_EVENT_TIME_MS)
        question, shape = prepared(
            self.pipeline,
            rollup,
            key=key,
            window=given.get("window"),
            from_ms=instant_ms(given.get("from"), now_ms=now, default_ms=0),
            to_ms=to_ms,
            group_by=None if group_by is None else [each for each in group_by.split(",") if each],
            total=what == "keys",
            top=int(given["n"]) if what == "top" else None,
            by=given.get("by"),
            where=given.get("where"),
            select=dict(_computed(each) for each in select),
            compare=given.get("compare"),
            limit=int(given["limit"]) if "limit" in given and what != "keys" else None,
        )
        store = Reads(self.world.store)
        if what == "silent":
            as_of_ms = instant_ms(given.get("at"), now_ms=now, default_ms=now)
            found = silence(
                store, question, for_ms=parse_duration(given["for"]), as_of_ms=as_of_ms, now_ms=now
            )
            most = int(given["limit"])
            return replace(found, rows=found.rows[:most], left=max(len(found.rows) - most, 0))
        found = answer(store, question, shape, applied_ms=self._applied_ms(now), now_ms=now)
        if what in ("range", "top"):
            return found
        if what == "keys":
            most = int(given.get("limit", "100"))
            keys = [dict(zip(found.names[: found.keys], row, strict=False)) for row in found.rows]
            return {"keys": keys[:most], "left": max(len(keys) - most, 0)}
        return None

    def _fresh(self, now: int) -> Freshness:
        return Freshness({_SHARD: self._applied_ms(now)}, 0, 0)

    def _applied_ms(self, now: int) -> int:
        return now - self.behind_ms if self.stuck_ms is None else self.stuck_ms

    def _answer_json(self, found: Answer, now: int) -> str:
        fresh = self._fresh(now)
        told = {
            "columns": [{"name": name, "kind": "number"} for name in found.names],
            "keys": found.keys,
            "left": found.left,
            "errors": dict(found.errors),
            "freshness": {"applied_ms": fresh.applied_ms, "text": fresh.describe(now)},
            "now_ms": now,
            "read_units": 1.0,
        }
        return f'{json.dumps(told)[:-1]}, "rows": [{", ".join(to_ndjson(found))}]}}'


def now_ms() -> int:
    """Return the time."""
    return time.time_ns() // 1_000_000


@contextmanager
def serving(pipeline: Pipeline) -> Iterator[PageServer]:
    """Serve the page of an empty stack."""
    server = PageServer(pipeline)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def csv_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def grouped(value: Any) -> str:
    """Return a number as the page writes it: every digit, commas between thousands."""
    text = number_text(value)
    whole, point, part = text.removeprefix("-").partition(".")
    return f"{'-' if text.startswith('-') else ''}{int(whole):,}{point}{part}"


def _computed(text: str) -> tuple[str, str]:
    name, equals, expression = text.partition("=")
    if not name or not equals or not expression:
        raise ConfigError(f"select is name=expression, each name once; {text!r} is not")
    return name, expression


def _rollup_json(rollup: Rollup) -> dict[str, Any]:
    def told(measure: str) -> str | None:
        found = find_measure(measure)
        return (found.error if found else None) or None

    return {
        "name": rollup.name,
        "source": rollup.source,
        "key": list(rollup.key),
        "windows": [each.label for each in rollup.windows],
        "columns": [
            {"name": each.name, "kind": "number" if each.is_number else "json", "error": told(each.measure)}
            for each in columns_of(rollup)
        ],
    }


def _error(error: str, problems: Iterable[str]) -> str:
    return json.dumps({"error": error, "problems": list(problems)})


def _handler(server: PageServer) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one place a path
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            server.asked.append(self.path)
            path = url.path.removeprefix(BASE)
            if path == "/live" and _is_told(server, self):
                self.close_connection = True
            elif path in (url.path, "/live"):
                self._write(404, "text/plain", b"")
            elif path.startswith("/v1/") and server.is_too_many():
                self._write(429, "application/json", b'{"message":"Too Many Requests"}')
            elif path.startswith("/v1/") and not server.may(self.headers.get("Authorization")):
                self._write(401, "application/json", b'{"message":"Unauthorized"}')
            elif path.startswith("/v1/"):
                params = parse_qsl(url.query, keep_blank_values=True)
                status, kind, body = server.reply(path[4:], params, self.headers.get("Accept", ""))
                self._write(status, kind, body.encode(), etag=_etag(body))
            else:
                self._write(*server.file(path.strip("/") or "index.html"))

        def do_POST(self) -> None:
            server.asked.append(self.path)
            if self.path != f"{BASE}/v1/live/ticket":
                self._write(405, "text/plain", b"")
            elif not server.may(self.headers.get("Authorization")):
                self._write(401, "application/json", b'{"message":"Unauthorized"}')
            else:
                self._write(200, "application/json", json.dumps({"ticket": server.ticket()}).encode())

        def _write(self, status: int, kind: str, body: bytes, *, etag: str = "") -> None:
            if etag and self.headers.get("If-None-Match") == etag:
                status, body = 304, b""
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Security-Policy", server.csp)
            self.send_header("X-Content-Type-Options", "nosniff")
            if etag:
                self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the page has left

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    return Handler


def _is_told(server: PageServer, client: BaseHTTPRequestHandler) -> bool:
    """Serve *client* by the socket until he leaves; tell whether there is one for him."""
    if server.socket is None or client.headers.get("Upgrade") != "websocket":
        return False
    server.socket.handshakes += 1
    if server.socket.refuses or not server.takes(urlsplit(client.path).query):
        return False
    headers = "".join(f"{name}: {value}\r\n" for name, value in client.headers.items())
    server.socket.serve(client.connection, f"{client.requestline}\r\n{headers}\r\n".encode())
    return True


def _etag(body: str) -> str:
    """Return a tag of what is answered, without when."""
    try:
        told = json.loads(body)
    except ValueError:
        told = body
    if isinstance(told, dict):
        told = {name: value for name, value in told.items() if name not in _MOVING}
    return f'"{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}"'
