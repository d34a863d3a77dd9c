"""The durable log of one shard: segments in a directory, the last of them open for appending.

Durability: a record is handed to the operating system before it is acknowledged, so it survives the death of
the process (SIGKILL too). With ``fsync`` it is also forced to the device, and survives the machine's; without
it a power cut may take the last seconds: the log's mark (``mark``) says so at the next start.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from infra.local.kinesis.errors import DamageError, StorageError
from infra.local.kinesis.frames import encode
from infra.local.kinesis.mark import MarkFile
from infra.local.kinesis.recovery import entry_of, mark_of, recover, segment_path
from infra.local.kinesis.segment import Segment
from infra.local.kinesis.storage import StoredRecord
from streamgage.errors import ConfigError

SEGMENT_BYTES = 32 * 1024 * 1024  # bounds what a restart scans, and how much outlives its retention


class DiskLog:
    """A shard's log in *directory*, which is created by the first append, as its *mark* is if it is not there.

    Raises:
        ConfigError: acknowledged records are lost, or the mark that is *marked* to be there is not: a person must know.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        fsync: bool = False,
        mark: Path | None = None,
        marked: bool = False,
    ) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._fd: int | None = None
        mark_path = mark or directory / "mark"
        try:
            self._segments, stored = recover(directory, mark_path, required=marked)
        except DamageError as error:
            raise damaged(error) from error
        self._mark = MarkFile(mark_path, fsync=fsync)
        self._now = mark_of(self._segments, stored)
        self._is_marked = stored == self._now
        if stored == self._now:
            self._mark.open_at(stored)
        self._last_given = self._now.last

    @property
    def last_counter(self) -> int:
        """The highest counter ever appended, 0 before the first."""
        return self._last_given

    def establish(self) -> None:
        """Write the mark, if what stands there is not it. Raises: StorageError."""
        if self._is_marked:
            return
        try:
            self._mark.replace(mark_of(self._segments, replace(self._now, last=self._last_given)))
        except OSError as error:
            raise StorageError(f"{self._directory}: {error.strerror or error}") from error
        self._is_marked = True

    def append(self, records: Sequence[StoredRecord]) -> None:
        """Write records with one write; all or none are stored."""
        content, lengths = encode(records)
        counters = [record.counter for record in records]
        self.establish()
        try:
            segment, fd = self._active(counters[0])
            self._write(fd, content)
            size_bytes, count = segment.size_bytes + len(content), len(segment.counters) + len(counters)
            self._mark.acknowledge(segment.first_counter, size_bytes, count, counters[-1])
        except OSError as error:
            self.close()  # a full disk leaves part of a frame: the next append cuts it off, or fails as well
            self._is_marked = False  # nor is it known what stands in the mark
            raise StorageError(f"{self._directory}: {error.strerror or error}") from error
        segment.add(counters, lengths)
        self._last_given = counters[-1]

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
            found = found + page if found else page
            if len(found) >= max_records or not _exhausted(segment, page):
                break
            size_bytes += sum(len(key) + len(data) for _, key, data in page)
        return found

    def trim(self, before: int) -> None:
        """Delete sealed segments of which every record is below *before*."""
        expired = 0
        while expired < len(self._segments) - 1 and self._segments[expired].last_counter < before:
            expired += 1
        if not expired:
            return
        self.establish()
        kept, last = self._segments[expired], self._segments[-1]
        active = (0, 0, 0) if last.sealed else (last.first_counter, last.size_bytes, len(last.counters))
        try:
            self._mark.raise_floor(kept.first_counter, *active, self._last_given)
        except OSError as error:
            raise StorageError(f"{self._directory}: {error.strerror or error}") from error
        for segment in self._segments[:expired]:
            segment.drop()
        del self._segments[:expired]

    def close(self) -> None:
        """Release the open files."""
        self._mark.close()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def drop(self) -> None:
        """Delete every file of the log."""
        self.close()
        self._segments.clear()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._mark.drop()

    def _active(self, counter: int) -> tuple[Segment, int]:
        segment = self._segments[-1] if self._segments else None
        if (
            segment is None
            or segment.sealed
            or (segment.counters and segment.size_bytes >= self._segment_bytes)
        ):
            if segment is not None and not segment.sealed:
                if self._fsync and self._fd is not None:
                    os.fsync(self._fd)
                segment.seal()
                self._mark.seal(entry_of(segment))
            self.close()
            self._directory.mkdir(parents=True, exist_ok=True)
            segment = Segment(segment_path(self._directory, counter))
            self._fd = _open(segment.path)
            self._segments.append(segment)
        elif self._fd is None:
            self._fd = _open(segment.path)
            os.ftruncate(self._fd, segment.size_bytes)  # what a failed write may have left
        assert self._fd is not None  # noqa: S101 - both branches above set it
        return segment, self._fd

    def _write(self, fd: int, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        if self._fsync:
            os.fsync(fd)


def damaged(error: DamageError) -> ConfigError:
    """Return the error of a log that is not as it was acknowledged."""
    return ConfigError(
        f"{error}. Nothing was changed; `streamgage doctor` says what is lost, and how to go on"
    )


def _exhausted(segment: Segment, page: list[StoredRecord]) -> bool:
    return not page or page[-1].counter == segment.last_counter


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
