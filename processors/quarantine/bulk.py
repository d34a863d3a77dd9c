"""Much poison in one object: a line of JSON for each user record, gzipped; its name is the same on every delivery."""

import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from processors.quarantine.message import decode_poison, encode_poison
from streamgage.reading.poison import Poison

PREFIX = "quarantine/"
CONTENT_TYPE = "application/gzip"
_GZIP = 16 + zlib.MAX_WBITS  # zlib's header of it has no time and no name: the same lines are the same bytes
# Of a line, once inflated: a payload of 10 MiB as base64, and a million ranges of what was refused.
_LINE_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BulkObject:
    """An object, and its name."""

    key: str
    body: bytes


def encode_bulk(poison: Sequence[Poison]) -> BulkObject:
    """Return the object of *poison*: one or more, of one shard, in the order of the log.

    Its name says the day of arrival, the shard, the first and the last sequence number, and a hash of what it holds: a
    redelivery writes the same object again, and nothing else is ever written over it.
    """
    deflater, digest, pieces = zlib.compressobj(wbits=_GZIP), sha256(), list[bytes]()
    for each in poison:
        line = f"{encode_poison(each, deflate=False)}\n".encode("ascii")
        digest.update(line)
        pieces.append(deflater.compress(line))
    pieces.append(deflater.flush())
    first, last = poison[0], poison[-1]
    day = time.strftime("%Y-%m-%d", time.gmtime(first.arrival_ms // 1000))
    name = f"{first.sequence_number}-{last.sequence_number}-{digest.hexdigest()[:16]}"
    return BulkObject(f"{PREFIX}{day}/{first.shard_id}/{name}.ndjson.gz", b"".join(pieces))


def decode_bulk(body: bytes) -> Iterator[Poison]:
    """Yield the poison in an object, one at a time.

    Raises:
        ValueError: *body* is no such object, or it is not whole. What was yielded before stands in it all the same.
    """
    for line in _lines(body):
        yield decode_poison(line)


def _lines(body: bytes) -> Iterator[bytes]:
    inflater, rest, compressed = zlib.decompressobj(wbits=_GZIP), bytearray(), body
    while not inflater.eof:
        try:
            piece = inflater.decompress(compressed, _PIECE_BYTES)
        except zlib.error as error:
            raise ValueError(f"not an object of the quarantine: {error}") from error
        if not piece and not inflater.unconsumed_tail and not inflater.eof:
            raise ValueError("an object of the quarantine that is cut short")
        compressed = inflater.unconsumed_tail
        *whole, last = piece.split(b"\n")
        for each in whole:
            yield bytes(rest) + each
            rest.clear()
        rest += last
        if len(rest) > _LINE_BYTES:
            raise ValueError(f"a line of more than {_LINE_BYTES:,} bytes")
    if rest or inflater.unused_data:
        raise ValueError("an object of the quarantine with bytes left over")
