"""Undo what an exporter compressed, within bounds: gzip and zlib, which say themselves what they are.

Source: RFC 1950, RFC 1952. The Collector's awskinesis exporter offers ``gzip``, ``zlib`` and ``flate``; the last says nothing of
itself, so nobody could tell it from other bytes.
"""

import zlib

from streamgage.formats.agents.items import undecodable

MAX_INFLATED_BYTES = 16 * 1024 * 1024
"""Of all that one Kinesis record holds: what a block may hold."""
_MEMBERS = 100
"""Of one gzip file: a writer makes one, and what is behind each is copied, so that many empty ones would take long."""
_GZIP = b"\x1f\x8b"
_ZLIB = (b"\x78\x01", b"\x78\x9c", b"\x78\xda")  # as Go's and zlib's levels write it; none begins a text
_ZSTD = b"\x28\xb5\x2f\xfd"


def is_compressed(data: bytes) -> bool:
    """Tell whether *data* says that it is compressed."""
    return data.startswith((_GZIP, _ZSTD, *_ZLIB))


def opened(data: bytes) -> bytes:
    """Return what *data* holds, compressed or not. Raises: PoisonRecord, as ``inflated``."""
    return inflated(data) if is_compressed(data) else data


def inflated(data: bytes, most_bytes: int = MAX_INFLATED_BYTES) -> bytes:
    """Return what *data* holds, which ``is_compressed``.

    Raises:
        PoisonRecord: it is broken, holds more than *most_bytes* or 100 members, or is zstd.
    """
    if data.startswith(_ZSTD):
        raise undecodable("compressed by zstd, which the function does not read; say compression: gzip")
    parts, left, rest = list[bytes](), most_bytes, data
    while rest:  # gzip: "a series of members"
        if len(parts) == _MEMBERS:
            raise undecodable(f"more than {_MEMBERS} gzip members; a batch is one")
        inflate = zlib.decompressobj(wbits=47)  # 32 + 15: gzip or zlib, by its header
        try:
            parts.append(inflate.decompress(rest, left + 1))
        except zlib.error as error:
            raise undecodable(f"not what its first bytes say, gzip or zlib: {error}") from error
        left -= len(parts[-1])
        if left < 0:
            raise undecodable(
                f"more than {most_bytes:,} bytes, inflated; {MAX_INFLATED_BYTES:,} is the most of a Kinesis record"
            )
        if not inflate.eof:
            raise undecodable("the end of what is compressed is missing")
        rest = inflate.unused_data
    return b"".join(parts)
