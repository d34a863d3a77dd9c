"""The durable log of one shard: segments in a directory, the last of them open for appending.

Durability: a record is handed to the operating system before it is acknowledged, so it survives the death of
the process (SIGKILL too). With ``fsync`` it is also forced to the device, and survives the machine's; without
it a power cut may take the last seconds, as whole records, never as damaged ones.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.local.kinesis.errors import StorageError
from infra.local.kinesis.segment import Segment, encode
from infra.local.kinesis.storage import StoredRecord
from streamgage.errors import ConfigError

SEGMENT_BYTES = 32 * 1024 * 1024  # bounds what a restart scans, and how much outlives its retention


class DiskLog:
    """A shard's log in *directory*, which is created by the first append.

    Raises:
        ConfigError: a segment before the last is damaged: acknowledged records are lost, a person must know.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES, fsync: bool = False) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._fd: int | None = None
        self._segments = self._recover()

    @property
    def last_counter(self) -> int:
        """The highest counter ever appended, 0 before the first."""
        return self._segments[-1].last_counter if self._segments else 0

    def append(self, records: Sequence[StoredRecord]) -> None:
        """Write records with one write; all or none are stored."""
        content, lengths = encode(records)
        try:
            segment, fd = self._active(records[0].counter)
            self._write(fd, content)
        except OSError as error:
            raise StorageError(f"{self._directory}: {error.strerror or error}") from error
        segment.add([record.counter for record in records], lengths)

    def read(self, first: int, *, max_records: int, max_bytes: int) -> list[StoredRecord]:
        """Return records from a counter on, across segments."""
        found: list[StoredRecord] = []
        size_bytes = 0
        for segment in self._segments:
            if segment.last_counter < first:
                continue
            page = segment.read(first, max_records=max_records - len(found), max_bytes=max_bytes - size_bytes)
            if found and page and size_bytes + page[0].size_bytes > max_bytes:
                break  # a segment gives its first record whatever its size
            found += page
            size_bytes += sum(len(key) + len(data) for _, key, data in page)
            if len(found) >= max_records or not _exhausted(segment, page):
                break
        return found

    def trim(self, before: int) -> None:
        """Delete sealed segments of which every record is below *before*."""
        while len(self._segments) > 1 and self._segments[0].last_counter < before:
            self._segments.pop(0).drop()

    def close(self) -> None:
        """Release the open file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def drop(self) -> None:
        """Delete every file of the log."""
        self.close()
        self._segments.clear()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _active(self, counter: int) -> tuple[Segment, int]:
        segment = self._segments[-1] if self._segments else None
        if segment is None or segment.sealed or segment.size_bytes >= self._segment_bytes:
            if segment is not None and not segment.sealed:
                if self._fsync and self._fd is not None:
                    os.fsync(self._fd)
                segment.seal()
            self.close()
            self._directory.mkdir(parents=True, exist_ok=True)
            segment = Segment(self._directory / f"{counter:020d}.log")
            self._fd = _open(segment.path)
            self._segments.append(segment)
        elif self._fd is None:
            self._fd = _open(segment.path)
            os.ftruncate(self._fd, segment.size_bytes)  # what a failed write may have left
        assert self._fd is not None  # noqa: S101 - both branches above set it
        return segment, self._fd

    def _write(self, fd: int, content: bytes) -> None:
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(fd, view) :]
            if self._fsync:
                os.fsync(fd)
        except OSError:
            self.close()  # a full disk leaves part of a frame: the next append cuts it off, or fails as well
            raise

    def _recover(self) -> list[Segment]:
        segments = [Segment(path) for path in sorted(self._directory.glob("*.log"))]
        for segment in segments:
            torn_bytes = segment.recover()
            if not torn_bytes:
                continue
            if segment is not segments[-1]:
                raise ConfigError(
                    f"{segment.path}: damaged at byte {segment.size_bytes}, {torn_bytes} bytes before a later "
                    "segment; acknowledged records are lost. Restore the file, or delete the data directory"
                )
            os.truncate(segment.path, segment.size_bytes)
            print(
                f"kinesis: {segment.path}: dropped {torn_bytes} bytes of an unfinished write", file=sys.stderr
            )
        return segments


def _exhausted(segment: Segment, page: list[StoredRecord]) -> bool:
    return not page or page[-1].counter == segment.last_counter


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
