"""A chunk: the keys of one item and their states, and how they stand in its body. The layout is in docs/formats.md.

::

    body     = 01 | flags | onward | begin | count | payload
    flags      one byte: 1 where the payload is deflated (RFC 1951)
    onward     varint: where no new key is taken any more, among how many chunks others are found; else 0
    begin      varint: the arrival time in ms from which on it was counted; 0: from the stream's first record on
    count      varint: the number of keys
    payload  = varint: bytes of the names | names, UTF-8, a line each | table (measures/codec.py)

Names and table are of different bytes, so of many keys each is deflated by itself, in one stream: smaller by 4 %, and
the names, which seldom change, need not be deflated again.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import compress

from streamgage.measures.codec import decode_table, encode_table
from streamgage.measures.layout import StateLayout, Table, plan_of
from streamgage.measures.packing import read_varint, varint

VERSION = 1
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024  # ten times what an item holds: what claims more is damaged
MAX_KEYS = 50_000  # of an item: a hundred times what it is given room for
_DEFLATED = 1
_WHOLE = 8  # times: where more than that share of the keys is wanted, whole columns are read faster than entries of them
_APART = 16  # keys, from where on names and table are deflated apart


@dataclass(slots=True)
class Chunk:
    """The keys of an item, in the order in which they came, and the table of their states.

    ``onward``: no key is added any more, and one that is not here is looked for among so many chunks; 0: new keys are
    taken. ``begin_ms``: the arrival time from which on it was counted, 0 from the first record on.
    """

    begin_ms: int
    table: Table
    keys: list[str] = field(default_factory=list)
    onward: int = 0
    _names: "_Names | None" = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of the first *count* keys, to which others are only ever added, as a payload begins with them.

    ``deflated`` ends at a byte, and another stream goes on from there.
    """

    count: int
    size_bytes: int
    deflated: bytes


def encode_chunk(chunk: Chunk, layout: StateLayout, *, start_ms: int) -> bytes:
    """Return the body of an item of the window that starts at *start_ms*."""
    table = encode_table(layout, chunk.table, start_ms=start_ms)
    heads = b"".join(map(varint, (chunk.onward, chunk.begin_ms, len(chunk.keys))))
    if len(chunk.keys) < _APART:
        payload = _names_of(chunk) + table
        deflated, plain_bytes = _deflated(payload), len(payload)
    else:
        names = _names_deflated(chunk)
        deflated, plain_bytes = names.deflated + _deflated(table), names.size_bytes + len(table)
    if len(deflated) < plain_bytes:
        return bytes((VERSION, _DEFLATED)) + heads + deflated
    return bytes((VERSION, 0)) + heads + _names_of(chunk) + table


def _names_of(chunk: Chunk) -> bytes:
    names = "\n".join(chunk.keys).encode()
    return varint(len(names)) + names


def _names_deflated(chunk: Chunk) -> _Names:
    names = chunk._names  # noqa: SLF001 - of this module
    if names is None or names.count != len(chunk.keys):
        plain = _names_of(chunk)
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        deflated = deflater.compress(plain) + deflater.flush(zlib.Z_SYNC_FLUSH)
        names = chunk._names = _Names(len(chunk.keys), len(plain), deflated)  # noqa: SLF001 - of this module
    return names


def _deflated(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-zlib.MAX_WBITS)


def decode_chunk(
    body: bytes,
    layout: StateLayout,
    *,
    start_ms: int,
    asked: StateLayout | None = None,
    wanted: Callable[[str], bool] | None = None,
) -> Chunk:
    """Return what ``encode_chunk`` wrote: of the keys that are *wanted*, and the columns *asked*; None is all.

    Raises:
        ValueError: *body* is damaged, or of a newer version. What is not asked for may be damaged unseen.
    """
    try:
        if body[0] != VERSION:
            raise ValueError(f"version {body[0]}, not {VERSION}: a newer streamgage wrote it")
        flags = body[1]
        onward, at = read_varint(body, 2)
        begin_ms, at = read_varint(body, at)
        count, at = read_varint(body, at)
        payload = _inflated(body[at:]) if flags & _DEFLATED else body[at:]
        names_bytes, at = read_varint(payload, 0)
        names, at = payload[at : at + names_bytes], at + names_bytes
        found = names.count(b"\n") + 1 if count else 0
        if found != count or count > MAX_KEYS:
            raise ValueError(f"{found} names of {count} keys, of which an item holds {MAX_KEYS} at most")
        keys = names.decode().split("\n") if count else []
        rows = range(count) if wanted is None else list(compress(range(count), map(wanted, keys)))
        if not rows and wanted is not None:
            return Chunk(begin_ms, plan_of(asked or layout).empty(), [], onward)
        are_few = len(rows) * _WHOLE < count
        table = decode_table(
            layout, payload, at, count=count, start_ms=start_ms, asked=asked, rows=rows if are_few else None
        )
        if len(rows) < count:
            keys = [keys[row] for row in rows]
            table = table if are_few else [[column[row] for row in rows] for column in table]
    except (IndexError, TypeError, zlib.error, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return Chunk(begin_ms, table, keys, onward)


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    payload = inflater.decompress(data, MAX_PAYLOAD_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("cut short, or with bytes left over")
    return payload
