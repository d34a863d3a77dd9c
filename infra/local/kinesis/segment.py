"""One segment of a shard's log: an append-only file of framed records, and its index.

A record is framed as ``length u32, crc u32, counter u64, key length u16, key, data`` (little-endian); the length
is that of key and data, the CRC-32 covers all after itself. A segment that is full is sealed with its index
beside it (``.idx``), so that opening a shard reads megabytes of numbers, not gigabytes of payload. An index that
is missing or damaged is rebuilt by a scan.
"""

import os
import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

from infra.local.kinesis.errors import StorageError
from infra.local.kinesis.storage import StoredRecord

_HEAD = struct.Struct("<IIQH")
_CRC_FROM = 8  # the CRC covers the frame from its counter on
_INDEX_HEAD = struct.Struct("=4sIQQ")  # native order, as the arrays are; a foreign machine's index is rebuilt
_INDEX_MAGIC = b"SGI1"


def encode(records: Sequence[StoredRecord]) -> tuple[bytes, list[int]]:
    """Return the frames of *records*, and the length of each in bytes."""
    parts: list[bytes] = []
    lengths: list[int] = []
    for counter, key, data in records:
        tail = struct.pack("<QH", counter, len(key))
        crc = zlib.crc32(data, zlib.crc32(key, zlib.crc32(tail)))
        length = len(key) + len(data)
        parts += (struct.pack("<II", length, crc), tail, key, data)
        lengths.append(_HEAD.size + length)
    return b"".join(parts), lengths


class Segment:
    """The index of one segment file: where each counter's frame begins, 12 bytes a record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self.counters = array("Q")
        self.offsets = array("I")
        self.sealed = False

    @property
    def first_counter(self) -> int:
        """The counter that the file is named after: none of its records is below, none before it at or above."""
        return int(self.path.stem)

    @property
    def last_counter(self) -> int:
        """The highest counter within, or the one just below its first."""
        return self.counters[-1] if self.counters else self.first_counter - 1

    def add(self, counters: Sequence[int], lengths: Sequence[int]) -> None:
        """Index frames that were just written at the end."""
        offset = self.size_bytes
        self.counters.extend(counters)
        for length in lengths:
            self.offsets.append(offset)
            offset += length
        self.size_bytes = offset

    def read(self, first: int, *, max_records: int, max_bytes: int) -> list[StoredRecord]:
        """Return records from a counter on within both limits, whatever the first one's size."""
        start = bisect_left(self.counters, first)
        stop = min(len(self.counters), start + max_records)
        if start >= stop:
            return []
        origin = self.offsets[start]

        def payload_bytes(end: int) -> int:  # of records start..end-1; grows with end
            stop_offset = self.offsets[end] if end < len(self.offsets) else self.size_bytes
            return stop_offset - origin - (end - start) * _HEAD.size

        fitting = bisect_right(range(start + 1, stop + 1), max_bytes, key=payload_bytes)
        stop = start + max(1, fitting)
        length = payload_bytes(stop) + (stop - start) * _HEAD.size
        return _decode(self._pread(origin, length), self.offsets[start:stop], origin)

    def _pread(self, offset: int, length: int) -> bytes:
        with self.path.open("rb", buffering=0) as file:
            found = os.pread(file.fileno(), length, offset)
        if len(found) != length:
            raise StorageError(
                f"{self.path}: {len(found)} of {length} bytes at {offset}: was the file cut by hand?"
            )
        return found

    def seal(self) -> None:
        """Write the index beside the segment; from here on it does not change."""
        self.sealed = True
        body = self.counters.tobytes() + self.offsets.tobytes()
        head = _INDEX_HEAD.pack(_INDEX_MAGIC, zlib.crc32(body), len(self.counters), self.size_bytes)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_bytes(head + body)
        temporary.replace(self.path.with_suffix(".idx"))

    def drop(self) -> None:
        """Delete the files; the index last, or a crash between would leave a segment to be scanned."""
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".idx").unlink(missing_ok=True)

    def recover(self) -> int:
        """Load the index, from beside the segment or by a scan; return how many bytes at the end are torn.

        A torn end is a write that was never acknowledged: the caller cuts it off, or refuses to go on.
        """
        actual_bytes = self.path.stat().st_size
        if self._load_index(actual_bytes):
            return 0
        self._scan(self.path.read_bytes())
        return actual_bytes - self.size_bytes

    def _load_index(self, actual_bytes: int) -> bool:
        try:
            stored = self.path.with_suffix(".idx").read_bytes()
        except FileNotFoundError:
            return False
        if len(stored) < _INDEX_HEAD.size:
            return False
        magic, crc, count, size_bytes = _INDEX_HEAD.unpack_from(stored)
        body = stored[_INDEX_HEAD.size :]
        if magic != _INDEX_MAGIC or size_bytes != actual_bytes or zlib.crc32(body) != crc:
            return False
        self.counters.frombytes(body[: count * self.counters.itemsize])
        self.offsets.frombytes(body[count * self.counters.itemsize :])
        self.size_bytes = size_bytes
        self.sealed = True
        return True

    def _scan(self, content: bytes) -> None:
        view = memoryview(content)
        total, offset, last = len(view), 0, -1
        while offset + _HEAD.size <= total:
            length, crc, counter, _ = _HEAD.unpack_from(view, offset)
            end = offset + _HEAD.size + length
            if end > total or counter <= last or zlib.crc32(view[offset + _CRC_FROM : end]) != crc:
                break
            self.counters.append(counter)
            self.offsets.append(offset)
            offset, last = end, counter
        self.size_bytes = offset


def _decode(content: bytes, offsets: Sequence[int], origin: int) -> list[StoredRecord]:
    records: list[StoredRecord] = []
    head_bytes, unpack = _HEAD.size, _HEAD.unpack_from
    for offset in offsets:
        at = offset - origin
        length, _, counter, key_length = unpack(content, at)
        at += head_bytes
        split = at + key_length
        records.append(StoredRecord(counter, content[at:split], content[split : at + length]))
    return records
