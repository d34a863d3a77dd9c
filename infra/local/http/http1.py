"""HTTP/1.1 without I/O: bytes in, whole requests out; answers in, bytes out.

The parser is llhttp (by httptools), strict: lengths that contradict each other, bare line feeds and folded headers are
refused there. What it leaves to its user is checked here: Host, bounds, the codings that we take. Measured: docs/adr/0025.

Source: https://www.rfc-editor.org/rfc/rfc9112 and https://www.rfc-editor.org/rfc/rfc9110 (checked 2026-11-28).
"""

import math
from collections import deque
from typing import NoReturn

import httptools

from infra.local.http.message import Admit, Limits, Request, Response, failure, joined, reason

_STREAM = 1  # HTTP/1.1 has one at a time
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_METHODS = _WITH_BODY | {"GET", "HEAD", "DELETE", "OPTIONS"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Http1:
    """One connection. A request that was refused is answered in ``take_output``; nothing after it is understood."""

    def __init__(self, limits: Limits, admit: Admit, *, now_s: float) -> None:
        self._limits, self._admit = limits, admit
        self._output: list[bytes] = []
        self._ready: deque[tuple[Request, bool, int]] = (
            deque()
        )  # a request, whether the connection is kept after it, and its size
        self._ready_bytes = 0
        self._answering: tuple[Request, bool] | None = None
        self._refusal: Response | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._now_s = now_s
        self._expires_s = now_s + limits.head_s
        self._begun: bool
        self._began_now: bool
        self.ended = False
        self._clear()

    def receive(self, data: bytes, *, now_s: float) -> list[tuple[int, Request]]:
        """Take what the client sent; return the request that is whole now, if none is being answered."""
        self._now_s = now_s
        if data and not self.ended:
            self._parse(data)
        return self._next()

    def answer(self, stream: int, response: Response, *, now_s: float) -> list[tuple[int, Request]]:  # noqa: ARG002 - HTTP/2's form
        """Put out the answer to the request that was returned last; return the next, where it is here already."""
        self._now_s = now_s
        answered, self._answering = self._answering, None
        if answered is None:
            return []
        request, kept = answered
        self._write(request.method, response, keep=kept and not self.ended)
        return self._next()

    def hang_up(self, stream: int) -> None:  # noqa: ARG002 - HTTP/2's form
        """Give the request no answer."""
        self._answering = None
        self.ended = True

    def refuse(self, refusal: Response) -> None:
        """Answer what is here in part by *refusal*, let go of it, and take no more. Not while a request is answered."""
        self._clear()
        self._parser = httptools.HttpRequestParser(self)
        self._end_with(refusal)
        self._next()

    def finish(self) -> None:
        """Take no further requests: the connection ends with the answer that is due."""
        self._ready.clear()
        self._ready_bytes = 0
        self.ended = True

    def take_output(self) -> bytes:
        """Return what is to be sent, once."""
        output, self._output = b"".join(self._output), []
        return output

    @property
    def buffered_bytes(self) -> int:
        """How much is here of requests that are not whole yet, or not begun; at least."""
        return self._ready_bytes + self._head_bytes + max(self._seen_bytes, self._unended_bytes)

    @property
    def unsent_bytes(self) -> int:
        """How much of answers waits here until the client takes it: none, it is all put out at once."""
        return 0

    @property
    def in_body(self) -> bool:
        """Whether a request's head is here, and its body is not."""
        return self._begun and not self._in_head

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._answering is not None

    @property
    def expires_s(self) -> float:
        """When the client will have taken too long, of the same clock as ``now_s``."""
        return math.inf if self.busy else self._expires_s

    def _parse(self, data: bytes) -> None:
        try:
            while data:
                try:
                    self._parser.feed_data(data)
                    break
                except (
                    httptools.HttpParserUpgrade
                ) as upgrade:  # offered, and not taken: HTTP/1.1 goes on behind it
                    data = data[upgrade.args[0] :]
                    self._parser = httptools.HttpRequestParser(self)
            self._bound_head(len(data))
        except (httptools.HttpParserError, _Refused) as error:
            self._end_with(self._refusal or failure(400, f"this is no HTTP/1.1 request: {error}"))

    def _bound_head(self, received: int) -> None:
        """Refuse a head that does not end: the parser shows a header when it is whole, and keeps it until then."""
        if not (self._in_head and self._begun):
            return
        began_now, self._began_now = self._began_now, False
        self._unended_bytes += received  # at most: what it began in may have held the end of another
        if not began_now:
            self._later_bytes += received
            if self._later_bytes > self._limits.head_bytes:
                self._refuse(431, f"a head has at most {self._limits.head_bytes} bytes")

    def _next(self) -> list[tuple[int, Request]]:
        if self._answering is None and self._ready:
            request, kept, size_bytes = self._ready.popleft()
            self._answering = request, kept
            self._ready_bytes -= size_bytes
            return [(_STREAM, self._answering[0])]
        if self._answering is None and self._refusal is not None:  # after the answers of what came before it
            self._write("GET", self._refusal, keep=False)
            self._refusal = None
        return []

    def _end_with(self, refusal: Response) -> None:
        self._refusal = refusal
        self.ended = True

    def _refuse(self, status: int, why: str) -> NoReturn:
        self._refusal = failure(status, why)
        raise _Refused(why)

    def _write(self, method: str, response: Response, *, keep: bool) -> None:
        lines = [
            f"HTTP/1.1 {response.status} {reason(response.status)}",
            *(f"{name}: {value}" for name, value in response.headers.items()),
            *(f"Set-Cookie: {each}" for each in response.cookies),
        ]
        if response.has_content:
            lines += [f"Content-Type: {response.content_type}", f"Content-Length: {len(response.body)}"]
        if not keep:
            lines.append("Connection: close")
            self.ended = True
        self._output.append("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
        if method != "HEAD" and response.has_content:
            self._output.append(response.body)
        self._expires_s = self._now_s + (self._limits.head_s if self._begun else self._limits.idle_s)

    def _clear(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head_bytes = self._seen_bytes = 0
        self._unended_bytes = self._later_bytes = 0
        self._in_head = True
        self._begun = False
        self._began_now = False

    # What the parser calls, in this order; a request may come in any number of pieces.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._clear()
        self._begun = self._began_now = True
        self._expires_s = self._now_s + self._limits.head_s

    def on_url(self, piece: bytes) -> None:
        """Take a piece of the target."""
        self._target += piece
        self._count(len(piece))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Take a whole header."""
        key, text = name.decode("latin-1").lower(), (value or b"").decode("latin-1")
        self._count(len(name) + len(text))
        if key in self._headers:
            if key == "host":
                self._refuse(400, "a request has one Host")
            text = joined(key, self._headers[key], text)
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        """Check the head before any of the body is taken."""
        self._in_head = False
        self._head_bytes, self._seen_bytes, self._unended_bytes = self._seen_bytes, 0, 0
        self._expires_s = self._now_s + self._limits.body_s
        headers, method = self._headers, self._parser.get_method().decode("latin-1")
        if self._parser.get_http_version() not in ("1.0", "1.1"):
            self._refuse(505, "this is HTTP/1.1")
        if method not in _METHODS:
            self._refuse(501, f"the methods are {', '.join(sorted(_METHODS))}")
        if "host" not in headers:
            self._refuse(400, "a request names its Host")
        coding = headers.get("transfer-encoding")
        if coding is not None and not (self._limits.chunked and coding.lower() == "chunked"):
            self._refuse(411, "say the Content-Length")
        is_bare = coding is None and "content-length" not in headers and method in _WITH_BODY
        if (
            is_bare and not self._limits.chunked
        ):  # where any client asks, it has no body: RFC 9112, section 6.3
            self._refuse(411, "say the Content-Length")
        if int(headers.get("content-length", "0")) > self._limits.body_bytes:
            self._refuse(413, f"a body has at most {self._limits.body_bytes} bytes")
        if self._parser.should_upgrade() and headers.get("content-length", "0") != "0":
            self._refuse(
                501, "no Upgrade is taken; a request that offers one has no body here"
            )  # llhttp skips it
        refusal = self._admit(Request(method, self._target.decode("latin-1"), headers, b""))
        if refusal is not None:
            self._refusal = refusal
            raise _Refused
        if headers.get("expect", "").lower() == "100-continue":
            self._output.append(_CONTINUE)

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._seen_bytes += len(piece)
        if self._seen_bytes > self._limits.body_bytes:
            self._refuse(413, f"a body has at most {self._limits.body_bytes} bytes")
        self._body.append(piece)

    def on_message_complete(self) -> None:
        """Keep the request until the one before it is answered."""
        method = self._parser.get_method().decode("latin-1")
        request = Request(method, self._target.decode("latin-1"), self._headers, b"".join(self._body))
        size_bytes = request.size_bytes
        self._ready.append((request, self._parser.should_keep_alive(), size_bytes))
        self._ready_bytes += size_bytes
        self._clear()

    def _count(self, size: int) -> None:
        self._seen_bytes += size
        if self._seen_bytes > self._limits.head_bytes:
            self._refuse(431, f"a head has at most {self._limits.head_bytes} bytes")


class _Refused(Exception):
    """Out of a callback of the parser's."""
