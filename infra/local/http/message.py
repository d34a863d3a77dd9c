"""What a handler gets and gives: one request, one answer."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple, Protocol

_OBJECTS_BYTES = 1_024  # of a request, beside what came of it


class Request(NamedTuple):
    """One whole request. ``target`` is path and query as they came; names of headers are in lower case.

    What came more than once is joined by "," (RFC 9110, section 5.2), cookies by "; " (RFC 9113, section 8.2.3).
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def size_bytes(self) -> int:
        """What it takes while it is held, about."""
        head_bytes = sum(len(name) + len(value) for name, value in self.headers.items())
        return len(self.body) + len(self.target) + head_bytes + _OBJECTS_BYTES


class Successor(Protocol):
    """What speaks on a connection behind a 101. Called in the loop's thread; asyncio calls it as its own Protocol."""

    def taken(self, transport: asyncio.Transport) -> None:
        """Speak on *transport* from now on."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Know that the client is gone, maybe before it was ``taken``."""

    def look(self, now_s: float) -> bool:
        """End what has lasted too long, twice a second; tell whether it is still there."""

    def finish(self) -> None:
        """Say goodbye: the server stops."""

    def abort(self) -> None:
        """End it now."""


@dataclass(frozen=True, slots=True)
class Response:
    """One whole answer; its length is said by the server. Each of ``cookies`` is a Set-Cookie of its own.

    A 101 has a ``successor``, and is for HTTP/1.1 alone.
    """

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()
    successor: Successor | None = None

    @property
    def has_content(self) -> bool:
        """Whether its status has content at all: what followed a 204 or 304 would be taken for the next answer."""
        return self.status not in (101, 204, 304)


Handler = Callable[[Request], Response]
"""Answers one request, in a thread of the server's. It may block; it raises only ``HangUp``, or by a bug (a 500)."""


def joined(name: str, before: str, value: str) -> str:
    """Return the value of the header *name*, of which *before* came already."""
    return f"{before}; {value}" if name == "cookie" else f"{before},{value}"


Admit = Callable[[Request], Response | None]
"""Looks at a request whose body is not here yet; what it returns is the answer, and the body is never taken."""


class HangUp(Exception):
    """Raised by a handler: the client must get no answer. The connection, or the stream of HTTP/2, is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one server. Each holds for every connection, whoever it belongs to.

    ``connections`` beyond the limit cost the one that has waited longest for its client. The server has fewer where the
    system lets the process open no more files, of which ``other_files`` are for what it opens beside them.
    ``head_s`` and ``body_s`` run from the first byte of a request's head and body, ``idle_s`` from the last answer,
    ``write_s`` while a client does not read. ``streams`` is how many requests of one HTTP/2 connection may be under way.
    ``buffered_bytes`` is what all requests that are not answered, and answers that are not read, may hold together: beyond
    it 503 is answered, first to those that are not whole, in the order in which they began, and who does not read is ended.
    ``workers`` are the threads that answer; 0 for handlers that never block: they answer in the loop's own thread, in turn,
    and save a fifth of a millisecond each. ``grace_s`` is for the last requests when it stops.
    """

    connections: int = 512
    other_files: int = 256
    head_bytes: int = 32 * 1024
    body_bytes: int = 16 * 1024 * 1024
    buffered_bytes: int = 256 * 1024 * 1024
    head_s: float = 10
    body_s: float = 60
    idle_s: float = 300
    write_s: float = 60
    streams: int = 32
    workers: int = 32
    chunked: bool = False
    grace_s: float = 3


def reason(status: int) -> str:
    """Return the words beside *status*."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def failure(status: int, why: str) -> Response:
    """Return an answer that is a refusal, with its reason as text."""
    return Response(status, f"{why}\n".encode())
