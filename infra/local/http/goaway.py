"""A client's GOAWAY, taken out of what it sends before h2 sees it.

A client that says GOAWAY opens no more streams, and waits for the answers of those that it has opened (RFC 9113, section
6.8). h2 takes it for the end of the connection: it sends nothing after it, and calls the client's next WINDOW_UPDATE an error.
The JavaScript SDK says it whenever it sets a session aside, with requests still under way.
"""

from h2.exceptions import FrameTooLargeError

_HEAD_BYTES = 9  # of a frame: length 3, type 1, flags 1, stream 4 (section 4.1)
_GOAWAY = 7
_MAX_FRAME_BYTES = (
    16_384  # what we let a client send, as section 4.2 has it; h2 would wait for all of a longer one
)


class GoAwayFilter:
    """The frames of one connection. ``leaving`` tells whether a GOAWAY was among them."""

    def __init__(self, *, preface_bytes: int) -> None:
        self._rest = b""
        self._unframed_bytes = preface_bytes
        self.leaving = False

    def take(self, data: bytes) -> bytes:
        """Return the whole frames that are here now, without GOAWAY; the beginning of another is kept.

        Raises:
            FrameTooLargeError: a frame is longer than we let a client send.
        """
        data = self._rest + data
        kept: list[bytes] = []
        begin = at = min(self._unframed_bytes, len(data))
        if at:
            kept.append(data[:at])
            self._unframed_bytes -= at
        while at + _HEAD_BYTES <= len(data):
            size = int.from_bytes(data[at : at + 3], "big")
            if size > _MAX_FRAME_BYTES:
                raise FrameTooLargeError(f"a frame of {size} bytes")
            end = at + _HEAD_BYTES + size
            if end > len(data):
                break
            if data[at + 3] == _GOAWAY:
                self.leaving = True
                kept.append(data[begin:at])
                begin = end
            at = end
        kept.append(data[begin:at])
        self._rest = data[at:]
        return b"".join(kept)
