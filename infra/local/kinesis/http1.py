"""The part of HTTP/1.1 that AWS clients speak: POST with Content-Length, ``Expect: 100-continue``, keep-alive.

By hand, since the standard library's parser spends more on the headers of a PutRecords than the data plane
does on its records. Source: https://www.rfc-editor.org/rfc/rfc9112.
"""

import os
import socket
from typing import NamedTuple

_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 16 * 1024 * 1024  # 5 MiB of records in base64, their keys, and room to spare
_RECEIVE_BYTES = 64 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 411: "Length Required", 413: "Content Too Large"}


class Request(NamedTuple):
    """One request; the names of its headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Refused(Exception):
    """An answer, after which the connection closes: its rest cannot be understood."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(str(status))


class Reader:
    """Requests off one connection, in order; bytes read beyond one belong to the next."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def next_request(self) -> Request | None:
        """Return the next request, or None where the client closed between requests."""
        head = self._head()
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if method == "GET":
            return Request(method, rest.partition(" ")[0], headers, b"")
        length_text = headers.get("content-length", "")
        if not length_text.isdecimal():
            raise Refused(411)
        length = int(length_text)
        if length > _MAX_BODY_BYTES:
            raise Refused(413)
        if headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Request(method, rest.partition(" ")[0], headers, self._body(length))

    def _head(self) -> bytes | None:
        buffer = self._rest
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            if len(buffer) > _MAX_HEAD_BYTES:
                raise Refused(413)
            received = self._connection.recv(_RECEIVE_BYTES)
            if not received:
                return None
            buffer += received
        self._rest = buffer[end + 4 :]
        return buffer[:end]

    def _body(self, length: int) -> bytes:
        if len(self._rest) >= length:
            body, self._rest = self._rest[:length], self._rest[length:]
            return body
        buffer = bytearray(length)
        filled = len(self._rest)
        buffer[:filled] = self._rest
        self._rest = b""
        view = memoryview(buffer)
        while filled < length:
            received = self._connection.recv_into(view[filled:])
            if not received:
                raise ConnectionResetError("closed within a request")
            filled += received
        return bytes(buffer)


def response_head(
    status: int, content_type: str, length: int, *, error: str | None = None, close: bool = False
) -> bytes:
    """Return the status line and headers of an answer."""
    request_id = os.urandom(16).hex()
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Internal Server Error')}",
        f"Content-Type: {content_type}",
        f"Content-Length: {length}",
        f"x-amzn-RequestId: {request_id[:8]}-{request_id[8:12]}-{request_id[12:16]}-{request_id[16:20]}-{request_id[20:]}",
    ]
    if error is not None:
        lines.append(f"x-amzn-ErrorType: {error}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
