"""HTTP/2 without TLS (h2c, prior knowledge) and with it, without I/O: the same face as ``Http1``.

The AWS SDKs of JavaScript and of Java (asynchronous) speak it to Kinesis unless they are told not to. Frames, HPACK,
flow control and the order of frames are h2's; bounds are ours: streams, bodies, and what a client may leave unread.

Source: https://www.rfc-editor.org/rfc/rfc9113 (checked 2026-11-28).
"""

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings

from infra.local.http.goaway import GoAwayFilter
from infra.local.http.message import Admit, Limits, Request, Response, failure, joined

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW_BYTES = 4 * 1024 * 1024  # a PutRecords in one flight: the client need not wait for our word
_RESETS = 1000  # of one connection: a client that begins and gives up for ever (CVE-2023-44487) is cut off


@dataclass(slots=True)
class _Receiving:
    head: Request
    begun_s: float
    head_bytes: int
    body: list[bytes] = field(default_factory=list)
    size_bytes: int = 0


class Http2:
    """One connection. What breaks the protocol ends it, with a GOAWAY in ``take_output``."""

    def __init__(self, limits: Limits, admit: Admit, *, now_s: float) -> None:
        self._limits, self._admit = limits, admit
        self._connection = H2Connection(
            H2Configuration(client_side=False, header_encoding="utf-8", validate_inbound_headers=True)
        )
        self._connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.streams,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.head_bytes,
            },
        )
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(_WINDOW_BYTES * 2)
        self._receiving: dict[int, _Receiving] = {}
        self._answering: set[int] = set()
        self._heads: set[int] = set()  # of those, what was asked by HEAD
        self._sending: dict[int, memoryview] = {}
        self._resets = 0
        self._frames = GoAwayFilter(preface_bytes=len(PREFACE))
        self._last_s = now_s
        self._settled = False
        self.ended = False

    @property
    def buffered_bytes(self) -> int:
        """How much of requests is here that are not whole yet."""
        return sum(each.head_bytes + each.size_bytes for each in self._receiving.values())

    @property
    def unsent_bytes(self) -> int:
        """How much of answers waits here until the client's windows let it go."""
        return sum(map(len, self._sending.values()))

    @property
    def in_body(self) -> bool:
        """Whether a request's head is here, and its body is not."""
        return bool(self._receiving)

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return bool(self._answering)

    @property
    def expires_s(self) -> float:
        """When the client will have taken too long, of the same clock as ``now_s``."""
        limits = self._limits
        if not self._settled:
            return self._last_s + limits.head_s
        body_s = min((each.begun_s + limits.body_s for each in self._receiving.values()), default=math.inf)
        send_s = self._last_s + limits.write_s if self._sending else math.inf
        idle_s = math.inf if self._answering or self._receiving else self._last_s + limits.idle_s
        return min(body_s, send_s, idle_s)

    def receive(self, data: bytes, *, now_s: float) -> list[tuple[int, Request]]:
        """Take what the client sent; return the requests that are whole now, by stream."""
        if not data or self.ended:
            return []
        whole: list[tuple[int, Request]] = []
        try:
            for event in self._connection.receive_data(self._frames.take(data)):
                self._take(event, whole, now_s)
        except ProtocolError:  # h2 has put out a GOAWAY that says what was wrong
            self.ended = True
            self._receiving.clear()
        if self._settled and (whole or not self._sending):
            self._last_s = now_s
        self._push()
        self._leave()
        return whole

    def answer(self, stream: int, response: Response, *, now_s: float) -> list[tuple[int, Request]]:
        """Put out the answer to the request of *stream*, as far as the client takes it now."""
        if stream not in self._answering:  # the client gave it up
            return []
        self._answering.discard(stream)
        self._last_s = now_s
        self._send(stream, response)
        self._push()
        self._leave()
        return []

    def hang_up(self, stream: int) -> None:
        """Give the request of *stream* no answer."""
        self._answering.discard(stream)
        self._heads.discard(stream)
        self._reset(stream, ErrorCodes.INTERNAL_ERROR)

    def refuse(self, refusal: Response) -> None:
        """Answer what is here in part by *refusal*, and let go of it; the connection goes on."""
        for stream in list(self._receiving):
            self._refuse(stream, refusal)

    def finish(self) -> None:
        """Take no further requests: the connection ends with the answers that are due."""
        if not self.ended:
            self._connection.close_connection()
        self.ended = True
        self._receiving.clear()

    def take_output(self) -> bytes:
        """Return what is to be sent, once."""
        return self._connection.data_to_send()

    def _take(self, event: Event, whole: list[tuple[int, Request]], now_s: float) -> None:
        match event:
            case RequestReceived(stream_id=int(stream), headers=headers):
                self._begin(stream, headers or (), now_s)
            case DataReceived(stream_id=int(stream), data=data, flow_controlled_length=int(size)):
                self._body(stream, data or b"", size)
            case StreamEnded(stream_id=int(stream)):
                self._end(stream, whole)
            case StreamReset(stream_id=int(stream)):
                self._forget(stream)
            case RemoteSettingsChanged() | WindowUpdated():
                self._settled = True
                self._last_s = now_s
            case _:
                pass

    def _begin(self, stream: int, headers: Iterable[tuple[str | bytes, str | bytes]], now_s: float) -> None:
        found: dict[str, str] = {}
        for raw_name, raw_value in headers:
            name, value = str(raw_name), str(raw_value)
            name = "host" if name == ":authority" else name
            if name == "host" and found.get(name, value) != value:
                self._reset(stream, ErrorCodes.PROTOCOL_ERROR)
                return
            found[name] = joined(name, found[name], value) if name in found and name != "host" else value
        if len(self._answering) + len(self._receiving) >= self._limits.streams:
            self._reset(stream, ErrorCodes.REFUSED_STREAM)  # those that it gave up are still at work here
            return
        method, target = found.pop(":method", ""), found.pop(":path", "")
        for name in (":scheme", ":protocol"):
            found.pop(name, None)
        head = Request(method, target, found, b"")
        self._receiving[stream] = _Receiving(head, now_s, head.size_bytes)
        refusal = self._admit(head)
        if refusal is None and int(found.get("content-length", "0")) > self._limits.body_bytes:
            refusal = failure(413, f"a body has at most {self._limits.body_bytes} bytes")
        if refusal is not None:
            self._refuse(stream, refusal)

    def _body(self, stream: int, data: bytes, flow_bytes: int) -> None:
        if flow_bytes:
            self._acknowledge(stream, flow_bytes)
        receiving = self._receiving.get(stream)
        if receiving is None:
            return
        receiving.size_bytes += len(data)
        receiving.body.append(data)
        if receiving.size_bytes > self._limits.body_bytes:
            self._refuse(stream, failure(413, f"a body has at most {self._limits.body_bytes} bytes"))

    def _acknowledge(self, stream: int, flow_bytes: int) -> None:
        with suppress(StreamClosedError):  # reset meanwhile; h2 has counted it for the connection
            self._connection.acknowledge_received_data(flow_bytes, stream)

    def _end(self, stream: int, whole: list[tuple[int, Request]]) -> None:
        receiving = self._receiving.pop(stream, None)
        if receiving is None:
            return
        self._answering.add(stream)
        if receiving.head.method == "HEAD":
            self._heads.add(stream)
        whole.append((stream, receiving.head._replace(body=b"".join(receiving.body))))

    def _refuse(self, stream: int, refusal: Response) -> None:
        """Answer before the body is whole, and tell the client to stop sending (RFC 9113, section 8.1)."""
        self._receiving.pop(stream, None)
        self._send(stream, refusal)
        self._push()
        self._reset(stream, ErrorCodes.NO_ERROR)

    def _forget(self, stream: int) -> None:
        self._receiving.pop(stream, None)
        self._sending.pop(stream, None)
        self._resets += 1
        if self._resets > _RESETS:
            self._connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self.ended = True

    def _reset(self, stream: int, code: ErrorCodes) -> None:
        self._sending.pop(stream, None)
        with suppress(ProtocolError):  # it has ended already
            self._connection.reset_stream(stream, code)

    def _send(self, stream: int, response: Response) -> None:
        headers = [
            (":status", str(response.status)),
            *((name.lower(), value) for name, value in response.headers.items()),
            *(("set-cookie", each) for each in response.cookies),
        ]
        if response.has_content:
            headers += [("content-type", response.content_type), ("content-length", str(len(response.body)))]
        body = response.body if response.has_content and stream not in self._heads else b""
        self._heads.discard(stream)
        try:
            self._connection.send_headers(stream, headers, end_stream=not body)
        except ProtocolError:  # reset by the client while it was at work
            return
        if body:
            self._sending[stream] = memoryview(body)

    def _leave(self) -> None:
        """End with the last answer, where the client has said that it asks no more."""
        if self._frames.leaving and not (self._answering or self._receiving or self._sending):
            self.ended = True

    def _push(self) -> None:
        """Send of each answer what the client's windows allow."""
        for stream in list(self._sending):
            rest = self._sending[stream]
            try:
                rest = self._push_stream(stream, rest)
            except ProtocolError:  # reset, or the connection has ended
                rest = rest[:0]
            if rest:
                self._sending[stream] = rest
            else:
                del self._sending[stream]

    def _push_stream(self, stream: int, rest: memoryview) -> memoryview:
        connection = self._connection
        while rest:
            size = min(
                len(rest), connection.local_flow_control_window(stream), connection.max_outbound_frame_size
            )
            if size <= 0:
                break
            connection.send_data(stream, rest[:size].tobytes(), end_stream=size == len(rest))
            rest = rest[size:]
        return rest
