"""The HTTP face without a gateway: events of payload format 2.0, the application over a table in memory, and a WSGI shim.

The shim does with a request what API Gateway does: it decodes the path once, joins headers of one name, and puts nothing of
the client's into ``requestContext``.
"""

import gzip
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from processors.deadline import Deadline
from processors.live.application import Application, Told
from processors.live.tickets import Pass
from processors.query.cells import CountingStore
from processors.query.freshness import Freshness
from streamgage.definition.pipeline import Pipeline
from streamgage.records import StreamRecord
from support.fakes import NOW_MS, InMemoryItemStore, Reads, World, invoke
from support.strategies import ARRIVAL_MS, click, pipeline, reading

HOSTILE_KEYS = [
    "<script>alert(1)</script>", "=1+1", "a|b%", "\x1b[31m", "q\"uo'te", "", "日本", "x\r\nSet-Cookie: a=b",
]  # fmt: skip


class Counted(Reads):
    """A store that says what it cost: a unit a range, and one for any number of items."""

    def __init__(self, store: InMemoryItemStore) -> None:
        super().__init__(store)
        self.read_units = 0.0

    def range(self, pk: str, first_sk: str, last_sk: str) -> Any:
        self.read_units += 1
        return super().range(pk, first_sk, last_sk)

    def get(self, keys: Any) -> Any:
        self.read_units += 1
        return super().get(keys)

    def eventually(self) -> "Counted":
        return Counted(self._store)


@dataclass
class FakeStack:
    """A stack whose table is in memory. *fails* is raised by whatever asks the table."""

    store: InMemoryItemStore
    pipeline: Pipeline = field(default_factory=pipeline)
    consumer: str = "main"
    applied_ms: int = NOW_MS
    messages: int | None = 3
    fails: Exception | None = None
    opened: list[CountingStore] = field(default_factory=list)

    def open(self, deadline: Deadline) -> tuple[CountingStore, Freshness]:
        self.check(deadline)
        self.opened.append(Counted(self.store))
        return self.opened[-1], Freshness({"shardId-0": self.applied_ms}, 0, 0)

    def check(self, deadline: Deadline) -> None:
        if self.fails is not None:
            raise self.fails

    def quarantined(self, deadline: Deadline) -> int | None:
        return self.messages

    def ticket(self, may: Pass, now_ms: int, deadline: Deadline) -> str | None:
        self.check(deadline)
        return None


def world(room_bytes: int = 200) -> World:
    """Return a world of seven devices and some hostile pages."""
    found = World(pipeline(), room_bytes=room_bytes)
    sources = pipeline().sources
    datas = [
        sources["reading"].schema.encode(
            reading(f"d{n % 7}", ("temp", "hum")[n % 2], ARRIVAL_MS - n * 700_000, n / 8)
        )
        for n in range(60)
    ]
    datas += [
        sources["click"].schema.encode(
            click("v", HOSTILE_KEYS[n % len(HOSTILE_KEYS)], ARRIVAL_MS - n * 900_000, 10**15 + n)
        )
        for n in range(30)
    ]
    records = [StreamRecord(f"shardId-{n % 2}", n, "p", data, ARRIVAL_MS) for n, data in enumerate(datas, 1)]
    for shard in range(2):
        of_shard = [each for each in records if each.shard_id == f"shardId-{shard}"]
        assert invoke(found.sandbox(), of_shard) is None
    return found


@dataclass
class Context:
    """Lambda's, as far as it is looked at."""

    left_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


@dataclass(frozen=True)
class Answered:
    """What a client gets. Names of headers are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded; a number is an int or a Decimal."""
        return json.loads(self.body, parse_float=Decimal)

    @property
    def plain(self) -> bytes:
        """The body, inflated where it is deflated."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body


def event_of(
    target: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    stage: str = "$default",
    authorizer: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the event of a request for *target*, a path and maybe a query string."""
    path, _, query = target.partition("?")
    lower = {name.lower(): value for name, value in (headers or {}).items()}
    raw_path = (f"/{stage}" if stage != "$default" else "") + unquote(path)
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": raw_path,
        "rawQueryString": query,
        "headers": lower,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "api",
            "domainName": "api.example.com",
            "http": {"method": method, "path": raw_path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": ""},
            "requestId": "id",
            "routeKey": "$default",
            "stage": stage,
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 0,
            **({"authorizer": authorizer} if authorizer is not None else {}),
        },
        "body": b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }  # fmt: skip


def answered(response: Mapping[str, Any]) -> Answered:
    """Return what a client gets of Lambda's *response*, which must be one that Lambda takes."""
    assert len(json.dumps(response)) <= 6 * 1024 * 1024
    text = response["body"]
    body = b64decode(text) if response["isBase64Encoded"] else text.encode()
    headers = {name.lower(): str(value) for name, value in response["headers"].items()}
    for name, value in headers.items():
        assert (name + value).isprintable(), f"{name}: {value!r} is no header"
    return Answered(response["statusCode"], headers, body)


@dataclass
class Face:
    """The application over a stack in memory, and what it told of itself."""

    stack: FakeStack
    told: list[Told] = field(default_factory=list)
    origins: tuple[str, ...] = ()
    keys_claim: str = ""
    now_ms: int = NOW_MS

    def __post_init__(self) -> None:
        self.application = Application(
            self.stack, now_ms=lambda: self.now_ms, told=self.told.append, origins=self.origins, keys_claim=self.keys_claim,
            clock=lambda: self.now_ms / 1000,
        )  # fmt: skip

    def __call__(self, target: str, *, left_ms: int = 60_000, **more: Any) -> Answered:
        return answered(self.application.handle(event_of(target, **more), Context(left_ms)))


StartResponse = Callable[[str, list[tuple[str, str]]], object]


def wsgi(application: Application) -> Callable[[dict[str, Any], StartResponse], Iterable[bytes]]:
    """Return *application* for a client that speaks WSGI, and inflates nothing."""

    def serve(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        headers = {
            name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")
        }
        if environ.get("CONTENT_TYPE"):
            headers["content-type"] = environ["CONTENT_TYPE"]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        event = event_of(
            environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace").replace("%", "%25").replace("?", "%3F")
            + "?" + environ.get("QUERY_STRING", ""),
            method=environ["REQUEST_METHOD"],
            headers=headers,
            body=environ["wsgi.input"].read(length) if length else b"",
        )  # fmt: skip
        found = answered(application.handle(event, Context()))
        found.headers["content-length"] = str(len(found.plain))
        start(
            f"{found.status} {found.status}",
            [each for each in found.headers.items() if each[0] != "content-encoding"],
        )
        return [found.plain]

    return serve
