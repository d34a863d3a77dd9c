"""Records as bytes of a log: frames, each with its checksum, and how they are found again behind damage.

A record is framed as ``length u32, crc u32, counter u64, key length u16, key, data`` (little-endian); the length is that
of key and data, the CRC-32 covers all after itself.
"""

import re
import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from infra.local.kinesis.errors import FrameDamage
from infra.local.kinesis.storage import StoredRecord

_HEAD = struct.Struct("<IIQH")
_LENGTH_AND_CRC, _COUNTER_AND_KEY = struct.Struct("<II"), struct.Struct("<QH")
_BEHIND_LENGTH = struct.Struct("<IQH")
_LENGTH_BYTES = 4
_SMALL_BYTES = 4096
HEAD_BYTES = _HEAD.size
_CRC_FROM = 8  # the CRC covers the frame from its counter on
_COUNTER_AT = 8


class Scan(NamedTuple):
    """The frames from a place on, up to ``end``, where no valid one begins."""

    counters: "array[int]"
    offsets: "array[int]"
    end: int


class Gap(NamedTuple):
    """Bytes ``[start, stop)`` that are no frames; records between two counters stood there, which are whole."""

    start: int
    stop: int
    after: int
    before: int | None


def encode(records: Sequence[StoredRecord]) -> tuple[bytes, list[int]]:
    """Return the frames of *records*, and the length of each in bytes."""
    parts: list[bytes] = []
    lengths: list[int] = []
    pack_head, pack_tail, crc32 = _LENGTH_AND_CRC.pack, _COUNTER_AND_KEY.pack, zlib.crc32
    for counter, key, data in records:
        tail = pack_tail(counter, len(key)) + key
        length = len(key) + len(data)
        parts += (pack_head(length, crc32(data, crc32(tail))), tail, data)
        lengths.append(HEAD_BYTES + length)
    return b"".join(parts), lengths


def decode(
    content: bytes, offsets: Sequence[int], counters: Sequence[int], origin: int, path: Path
) -> list[StoredRecord]:
    """Return the records whose frames stand in *content*, which begins at byte *origin* of the file *path*.

    Raises:
        FrameDamage: the first is not as it was written. Those before a damaged one are returned.
    """
    records: list[StoredRecord] = []
    view, unpack, crc32, make = memoryview(content), _BEHIND_LENGTH.unpack_from, zlib.crc32, tuple.__new__
    starts = [offset - origin for offset in offsets]
    for at, stop, expected in zip(starts, [*starts[1:], len(content)], counters, strict=True):
        crc, counter, key_length = unpack(content, at + _LENGTH_BYTES)
        covered = at + _CRC_FROM
        # A copy of a small frame costs less than a view of it.
        frame = content[covered:stop] if stop - covered < _SMALL_BYTES else view[covered:stop]
        if crc32(frame) != crc or counter != expected:
            if records:
                return records
            raise _damage(content, offsets, counters, origin, path)
        start = at + HEAD_BYTES
        split = start + key_length
        # What the class itself does, in half the time: a read makes 10,000 of them.
        records.append(make(StoredRecord, (counter, content[start:split], content[split:stop])))
    return records


def _damage(
    content: bytes, offsets: Sequence[int], counters: Sequence[int], origin: int, path: Path
) -> FrameDamage:
    """Return the error of the first frame and of those after it, up to the next that is whole."""
    view, count = memoryview(content), len(offsets)
    stops = [*offsets[1:], len(content) + origin]
    bad = next((n for n in range(1, count) if is_frame(view, offsets[n] - origin, counters[n] - 1)), count)
    return FrameDamage(
        f"{path} is damaged in its bytes {offsets[0]} to {stops[bad - 1]}",
        first=counters[0],
        last=counters[bad - 1],
    )


def is_frame(view: memoryview, at: int, last: int) -> int:
    """Return where the frame at byte *at* ends, whose counter is above *last*; 0 where there is none."""
    if at + HEAD_BYTES > len(view):
        return 0
    length, crc, counter, key_length = _HEAD.unpack_from(view, at)
    end: int = at + HEAD_BYTES + length
    whole = end <= len(view) and key_length <= length and counter > last
    return end if whole and zlib.crc32(view[at + _CRC_FROM : end]) == crc else 0


def scan(content: bytes | memoryview, *, start: int = 0, last: int = -1) -> Scan:
    """Return the frames from byte *start* on, with counters above *last*, up to the first that is not whole."""
    view = memoryview(content)
    counters, offsets, offset = array("Q"), array("I"), start
    unpack, crc32, whole = _HEAD.unpack_from, zlib.crc32, len(view) - HEAD_BYTES
    while offset <= whole:
        length, crc, counter, key_length = unpack(view, offset)
        end = offset + HEAD_BYTES + length
        if (
            counter <= last
            or key_length > length
            or end > len(view)
            or crc32(view[offset + _CRC_FROM : end]) != crc
        ):
            break
        counters.append(counter)
        offsets.append(offset)
        offset, last = end, counter
    return Scan(counters, offsets, offset)


def next_frame(content: bytes | memoryview, start: int, *, last: int, highest: int) -> int | None:
    """Return where the next whole frame begins, at byte *start* or behind, with a counter in ``(last, highest]``."""
    view, low = memoryview(content), last + 1
    if highest < low:
        return None
    before = _COUNTER_AT + _skipped(low, highest)
    pattern, place = _pattern(low, highest), start + before
    while found := pattern.search(view, place):  # not finditer: matches may overlap
        at = found.start() - before
        if is_frame(view, at, last):
            return at
        place = found.start() + 1
    return None


def gaps(content: bytes | memoryview, *, first: int, highest: int) -> Iterator[Gap | Scan]:
    """Yield what stands in *content* in order: runs of frames, and the gaps between, before and behind them."""
    view, at, last = memoryview(content), 0, first - 1
    while True:
        run = scan(view, start=at, last=last)
        if run.counters:
            yield run
            at, last = run.end, run.counters[-1]
        if at >= len(view):
            return
        resumed = next_frame(view, at + 1, last=last, highest=highest)
        if resumed is None:
            yield Gap(at, len(view), last, None)
            return
        (before,) = struct.unpack_from("<Q", view, resumed + _COUNTER_AT)
        yield Gap(at, resumed, last, before)
        at = resumed


def mended(content: bytes, gap: Gap) -> bytes | None:
    """Return the one frame that stands in *gap* and is whole but for its length; None where there is none."""
    if gap.stop - gap.start < HEAD_BYTES:
        return None
    _, crc, counter, key_length = _HEAD.unpack_from(content, gap.start)
    covered = content[gap.start + _CRC_FROM : gap.stop]
    length = gap.stop - gap.start - HEAD_BYTES
    if zlib.crc32(covered) != crc or counter <= gap.after or key_length > length:
        return None
    return _LENGTH_AND_CRC.pack(length, crc) + covered


def is_unfinished(content: bytes | memoryview, start: int) -> bool:
    """Tell whether what stands from byte *start* on may be the beginning of a frame that was being written.

    Not so where the whole frame is there, and only its length or its checksum is wrong.
    """
    view = memoryview(content)[start:]
    if len(view) < HEAD_BYTES:
        return True
    length, crc, _, key_length = _HEAD.unpack_from(view)
    cut = HEAD_BYTES + length > len(view) and key_length <= length
    return bool(cut and zlib.crc32(view[_CRC_FROM:]) != crc)


def _skipped(low: int, high: int) -> int:
    """Return how many low bytes of a counter the pattern of ``_pattern`` leaves out."""
    low_bytes, high_bytes = _big(low), _big(high)
    same = next((n for n in range(8) if low_bytes[n] != high_bytes[n]), 7)
    return 7 - same


def _pattern(low: int, high: int) -> "re.Pattern[bytes]":
    """Return what the high bytes of a counter in ``[low, high]`` look like in a frame: the search is by them."""
    low_bytes, high_bytes = _big(low), _big(high)
    same = 7 - _skipped(low, high)
    bounds = b"[%s-%s]" % (re.escape(low_bytes[same : same + 1]), re.escape(high_bytes[same : same + 1]))
    return re.compile(bounds + re.escape(low_bytes[:same][::-1]), re.DOTALL)


def _big(counter: int) -> bytes:
    return min(max(counter, 0), 2**64 - 1).to_bytes(8, "big")
