"""What a server answers, read from bytes as they come, without any I/O.

Source: RFC 9112 (HTTP/1.1), section 6.3 on where a body ends.
"""

from typing import NamedTuple

_HEAD_BYTES = 64 * 1024
_BODY_BYTES = 64 * 1024 * 1024  # BatchGetItem answers with 16 MB of items at most; JSON writes them longer


class BrokenAnswerError(Exception):
    """What came is not an answer, or ended in the middle of it."""


class Answer(NamedTuple):
    """A whole answer. ``reusable`` tells whether its connection takes another request."""

    status: int
    body: bytes
    reusable: bool


class AnswerParser:
    """Takes what was received, in any cuts, until it is one whole answer. One parser an answer."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._status = 0  # until the head is known
        self._length: int | None = None  # of the body; None where it is chunked or ends with the connection
        self._chunked = False
        self._keep = True
        self._body = bytearray()  # of chunks

    def feed(self, data: bytes) -> Answer | None:
        """Take *data*, and return the answer once it is whole. No data means that the connection has ended.

        Raises:
            BrokenAnswerError: see there; the connection is of no more use.
        """
        self._buffer += data
        if not self._status and not self._read_head():
            if not data:
                raise BrokenAnswerError("the connection ended before the answer")
            return None
        answer = self._read_body(ended=not data)
        if answer is None and not data:
            raise BrokenAnswerError("the connection ended within the answer")
        if len(self._buffer) + len(self._body) > _BODY_BYTES:
            raise BrokenAnswerError(f"the answer is larger than {_BODY_BYTES} bytes")
        return answer

    def _read_body(self, *, ended: bool) -> Answer | None:
        if self._length is not None:
            rest = len(self._buffer) - self._length
            return self._answer(bytes(self._buffer[: self._length]), rest=rest) if rest >= 0 else None
        if self._chunked:
            return self._answer(bytes(self._body), rest=len(self._buffer)) if self._read_chunks() else None
        self._keep = (
            False  # "determined by the number of octets received prior to the server closing the connection"
        )
        return self._answer(bytes(self._buffer), rest=0) if ended else None

    def _answer(self, body: bytes, *, rest: int) -> Answer:
        return Answer(self._status, body, self._keep and rest == 0)  # bytes nobody asked for: lost step

    def _read_head(self) -> bool:
        """Take the head out of the buffer; tell whether it was there."""
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            status_line, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            del self._buffer[: end + 4]
            version, _, rest = status_line.partition(" ")
            status = rest[:3]
            if version not in {"HTTP/1.1", "HTTP/1.0"} or len(status) != 3 or status.strip("0123456789"):
                raise BrokenAnswerError(f"not an HTTP/1.1 answer: {status_line[:80]!r}")
            if (
                status[0] == "1"
            ):  # "a client MUST be able to parse one or more 1xx responses" before the final one
                continue
            self._frame(_headers(lines), version=version, has_body=status not in {"204", "304"})
            self._status = int(status)
            return True
        if len(self._buffer) > _HEAD_BYTES:
            raise BrokenAnswerError(f"the head of the answer is larger than {_HEAD_BYTES} bytes")
        return False

    def _frame(self, headers: dict[str, str], *, version: str, has_body: bool) -> None:
        options = headers.get("connection", "").lower()
        self._keep = "close" not in options and (version == "HTTP/1.1" or "keep-alive" in options)
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if not has_body:
            self._length = 0
        elif coding is not None:
            if coding.lower() != "chunked":
                raise BrokenAnswerError(f"transfer-encoding {coding!r} was not asked for")
            self._chunked = True
        elif length is not None:
            if not (
                length.isascii() and length.isdigit() and len(length) < 12 and int(length) <= _BODY_BYTES
            ):
                raise BrokenAnswerError(f"content-length is {length[:20]!r}")
            self._length = int(length)

    def _read_chunks(self) -> bool:
        """Move whole chunks into the body; tell whether the last one, and the trailer, is among them."""
        while (end := self._buffer.find(b"\r\n")) >= 0:
            text = bytes(self._buffer[:end]).partition(b";")[0].strip(b" \t")
            if not text or len(text) > 8 or text.strip(b"0123456789abcdefABCDEF"):
                raise BrokenAnswerError(f"not the size of a chunk: {text[:20]!r}")
            size = int(text, 16)
            if size == 0:
                if self._buffer[end : end + 4] == b"\r\n\r\n":
                    stop = end + 4
                elif (stop := self._buffer.find(b"\r\n\r\n", end) + 4) < 4:
                    return False
                del self._buffer[:stop]
                return True
            start, stop = end + 2, end + 2 + size
            if len(self._buffer) < stop + 2:
                return False
            if self._buffer[stop : stop + 2] != b"\r\n":
                raise BrokenAnswerError("a chunk is longer than its size")
            self._body += self._buffer[start:stop]
            del self._buffer[: stop + 2]
        if len(self._buffer) > _HEAD_BYTES:
            raise BrokenAnswerError("a chunk without a size")
        return False


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name[-1] in " \t" or (name == "content-length" and name in headers):
            raise BrokenAnswerError(f"not a header: {line[:80]!r}")
        headers[name] = value.strip(" \t")
    return headers
