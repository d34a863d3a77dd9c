"""A shard's mark: what is known of its log from outside of it.

A log alone cannot tell a write that was cut short from a record that was acknowledged and cut off, nor a segment that
was deleted from one that never was. The mark says how far the log is acknowledged, and which segments are sealed. It is
written after the records and before they are acknowledged: what lies behind it never was.

::

    head     magic, crc u32, floor u64, sealed u64, active u64, size u64, count u64, last u64
    sealed   first u64, last u64, size u64, count u64, crc of the index u32, crc u32            an entry a segment

``floor``: segments below were trimmed. ``active``: the counter that the segment open for appending is named after, 0
where there is none; ``size`` and ``count`` are its acknowledged bytes and records. ``last``: the highest counter ever.
"""

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from infra.local.kinesis.errors import DamageError

_HEAD = struct.Struct("<4sI6Q")
_TAIL = struct.Struct("<6Q")  # of the head, behind its checksum
_ENTRY = struct.Struct("<4QII")
_MAGIC = b"SGM1"
_CRC_FROM = 8


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment that does not change any more: its counters, bytes and records, and the checksum of its index."""

    first: int
    last: int
    size_bytes: int
    count: int
    index_crc: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What a mark says. *active* 0: no segment is open."""

    floor: int = 0
    active: int = 0
    size_bytes: int = 0
    count: int = 0
    last: int = 0
    sealed: tuple[Sealed, ...] = ()

    @property
    def kept(self) -> tuple[Sealed, ...]:
        """The sealed segments that were not trimmed."""
        return tuple(entry for entry in self.sealed if entry.first >= self.floor)


def read_mark(path: Path) -> Mark | None:
    """Return the mark in *path*, None where there is none.

    Raises:
        DamageError: it is not as it was written.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamageError(f"{path}: {error.strerror or error}") from error
    if len(content) < _HEAD.size:
        raise DamageError(f"{path} is damaged: {len(content)} bytes of a mark of {_HEAD.size}")
    magic, crc, floor, sealed, active, size_bytes, count, last = _HEAD.unpack_from(content)
    if magic != _MAGIC or crc != zlib.crc32(content[_CRC_FROM : _HEAD.size]):
        raise DamageError(f"{path} is damaged: its checksum differs")
    if len(content) < _HEAD.size + sealed * _ENTRY.size:
        raise DamageError(f"{path} is damaged: it is cut, and {sealed} sealed segments stood in it")
    entries = []
    for number in range(sealed):
        at = _HEAD.size + number * _ENTRY.size
        *values, entry_crc = _ENTRY.unpack_from(content, at)
        if entry_crc != zlib.crc32(content[at : at + _ENTRY.size - 4]):
            raise DamageError(f"{path} is damaged: the checksum of its entry {number} differs")
        entries.append(Sealed(*values))
    return Mark(floor, active, size_bytes, count, last, tuple(entries))


class MarkFile:
    """The mark of a log that one process writes. Every change is one write of less than a page: a kill leaves no half."""

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self._path, self._fsync = path, fsync
        self._fd: int | None = None
        self._sealed = 0
        self._floor = 0

    def replace(self, mark: Mark) -> None:
        """Write all of *mark* anew. Raises: OSError, and the old one stands."""
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._sealed, self._floor = len(mark.kept), mark.floor
        body = b"".join(map(_entry, mark.kept))
        partial = self._path.with_name(self._path.name + ".partial")
        with partial.open("wb") as file:
            file.write(self._head(mark.active, mark.size_bytes, mark.count, mark.last) + body)
            file.flush()
            if self._fsync:
                os.fsync(file.fileno())
        partial.replace(self._path)

    def open_at(self, mark: Mark) -> None:
        """Go on from *mark*, which is what stands in the file."""
        self._sealed, self._floor = len(mark.sealed), mark.floor

    def seal(self, entry: Sealed) -> None:
        """Add a sealed segment: it counts from the next ``acknowledge`` on."""
        fd = self._open()
        _write_at(fd, _entry(entry), _HEAD.size + self._sealed * _ENTRY.size)
        self._sealed += 1
        if self._fsync:
            os.fsync(fd)

    def acknowledge(self, active: int, size_bytes: int, count: int, last: int) -> None:
        """Say that the log is acknowledged so far."""
        fd = self._fd if self._fd is not None else self._open()
        os.pwrite(fd, self._head(active, size_bytes, count, last), 0)

    def raise_floor(self, floor: int, active: int, size_bytes: int, count: int, last: int) -> None:
        """Say that segments below *floor* are to be deleted, for good: the files go only after this."""
        self._floor = floor
        self.acknowledge(active, size_bytes, count, last)
        if self._fsync:
            os.fsync(self._open())

    def close(self) -> None:
        """Release the open file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def drop(self) -> None:
        """Delete the mark."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        return self._fd

    def _head(self, active: int, size_bytes: int, count: int, last: int) -> bytes:
        tail = _TAIL.pack(self._floor, self._sealed, active, size_bytes, count, last)
        return _MAGIC + zlib.crc32(tail).to_bytes(4, "little") + tail


def _entry(entry: Sealed) -> bytes:
    body = struct.pack("<4QI", entry.first, entry.last, entry.size_bytes, entry.count, entry.index_crc)
    return body + struct.pack("<I", zlib.crc32(body))


def _write_at(fd: int, content: bytes, offset: int) -> None:
    if os.pwrite(fd, content, offset) != len(content):
        raise OSError("short write")
