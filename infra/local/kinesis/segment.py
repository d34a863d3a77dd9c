"""One segment of a shard's log: an append-only file of framed records (``frames``), and its index.

A segment that is full is sealed with its index beside it (``.idx``), so that opening a shard reads megabytes of
numbers, not gigabytes of payload. An index that is missing or damaged is rebuilt by a scan.
"""

import os
import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

from infra.local.kinesis.errors import DamageError
from infra.local.kinesis.frames import HEAD_BYTES, decode, scan
from infra.local.kinesis.storage import StoredRecord

_INDEX_HEAD = struct.Struct("=4sIQQ")  # native order, as the arrays are; a foreign machine's index is rebuilt
_INDEX_MAGIC = b"SGI1"


class Segment:
    """The index of one segment file: where each counter's frame begins, 12 bytes a record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self.counters = array("Q")
        self.offsets = array("I")
        self.sealed = False
        self.index_crc = 0

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
        """Return records from a counter on within both limits, whatever the first one's size.

        Raises:
            FrameDamage: the first of them is not as it was written. Records before a damaged one are returned.
            DamageError: the file is gone or cut.
        """
        start = bisect_left(self.counters, first)
        stop = min(len(self.counters), start + max_records)
        if start >= stop:
            return []
        origin = self.offsets[start]

        def payload_bytes(end: int) -> int:  # of records start..end-1; grows with end
            stop_offset = self.offsets[end] if end < len(self.offsets) else self.size_bytes
            return stop_offset - origin - (end - start) * HEAD_BYTES

        fitting = bisect_right(range(start + 1, stop + 1), max_bytes, key=payload_bytes)
        stop = start + max(1, fitting)
        length = payload_bytes(stop) + (stop - start) * HEAD_BYTES
        content = self._pread(origin, length)
        return decode(content, self.offsets[start:stop], self.counters[start:stop], origin, self.path)

    def _pread(self, offset: int, length: int) -> bytes:
        try:
            with self.path.open("rb", buffering=0) as file:
                found = os.pread(file.fileno(), length, offset)
        except OSError as error:
            raise DamageError(f"{self.path}: {error.strerror or error}") from error
        if len(found) != length:
            raise DamageError(f"{self.path} is cut: {len(found)} of {length} bytes at {offset}")
        return found

    def seal(self) -> None:
        """Write the index beside the segment; from here on it does not change."""
        body = self.counters.tobytes() + self.offsets.tobytes()
        self.index_crc = zlib.crc32(body)
        head = _INDEX_HEAD.pack(_INDEX_MAGIC, self.index_crc, len(self.counters), self.size_bytes)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_bytes(head + body)
        temporary.replace(self.path.with_suffix(".idx"))
        self.sealed = True

    def drop(self) -> None:
        """Delete the files; the index last, or a crash between would leave a segment to be scanned."""
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".idx").unlink(missing_ok=True)

    def recover(self) -> int:
        """Load the index, from beside the segment or by a scan; return how many bytes at the end are no frames.

        Raises:
            DamageError: the file cannot be read.
        """
        try:
            actual_bytes = self.path.stat().st_size
            if self.load_index(actual_bytes):
                return 0
            found = scan(self.path.read_bytes())
        except OSError as error:
            raise DamageError(f"{self.path}: {error.strerror or error}") from error
        self.counters, self.offsets, self.size_bytes = found.counters, found.offsets, found.end
        return actual_bytes - self.size_bytes

    def load_index(self, actual_bytes: int) -> bool:
        """Take the index beside the segment, if it is whole and of a segment of so many bytes.

        Its head needs no checksum: the length of the file repeats the count, the segment the size, the body the CRC.
        """
        try:
            stored = self.path.with_suffix(".idx").read_bytes()
        except FileNotFoundError:
            return False
        if len(stored) < _INDEX_HEAD.size:
            return False
        magic, crc, count, size_bytes = _INDEX_HEAD.unpack_from(stored)
        body = memoryview(stored)[_INDEX_HEAD.size :]
        counters, offsets = array("Q"), array("I")
        split = count * counters.itemsize
        if magic != _INDEX_MAGIC or size_bytes != actual_bytes or zlib.crc32(body) != crc:
            return False
        if len(body) != count * (counters.itemsize + offsets.itemsize):
            return False
        counters.frombytes(body[:split])
        offsets.frombytes(body[split:])
        self.counters, self.offsets, self.size_bytes = counters, offsets, size_bytes
        self.sealed, self.index_crc = True, crc
        return True
