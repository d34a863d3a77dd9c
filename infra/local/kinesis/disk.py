"""Storage in a directory that one process owns: ``streams.json``, a log directory a shard, and a lock.

::

    DATA/lock                         held (flock) while a process serves this directory
    DATA/streams.json                 every stream and shard, with a checksum, replaced atomically
    DATA/logs/STREAM/SHARD/*.log      segments (log.py)
    DATA/marks/STREAM-SHARD           how far each log is acknowledged (mark.py)

Format 1 had no checksum and no marks: it is read, and format 2 is written beside its logs, which stay as they are.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from infra.local.kinesis.errors import StorageError
from infra.local.kinesis.log import SEGMENT_BYTES, DiskLog
from infra.local.kinesis.shards import Shard
from infra.local.kinesis.storage import ShardLog, StreamState, live_logs
from infra.local.sealed import seal, unseal
from streamgage.errors import ConfigError

_FORMAT = 2
_BEFORE_MARKS = 1


_NO_STREAMS = "Put a copy back, or start afresh by removing the whole home"


class DiskStorage:
    """The durable storage of a model.

    Raises:
        ConfigError: another process owns the directory, or what is there cannot be read.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES, fsync: bool = False) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._logs: dict[tuple[int, int], DiskLog] = {}
        self._marked: set[tuple[int, int]] = set()  # the logs of which it is known that they have one
        self._lock = _own(directory)

    def load(self) -> Sequence[StreamState]:
        """Return the saved streams, and delete logs that a crash left behind without a stream.

        Raises:
            ConfigError: what is saved is damaged, or is missing while logs are there.
        """
        path = self._directory / "streams.json"
        stored = read_streams(self._directory)
        if stored is None:
            self._write([])  # from now on a missing file is one that was deleted
            return []
        self._marked = set() if stored.format == _BEFORE_MARKS else live_logs(stored.streams)
        self._delete_orphans(stored.streams)
        if stored.format == _BEFORE_MARKS:
            try:
                self.save(stored.streams)
            except StorageError as error:
                raise ConfigError(f"{path}: cannot be brought to format {_FORMAT}: {error}") from error
        return stored.streams

    def save(self, streams: Sequence[StreamState]) -> None:
        """Replace the saved streams; then delete logs of shards that are gone."""
        kept = live_logs(streams)
        for number, index in sorted(kept):
            self.open_log(number, index)  # with its mark: every shard that is saved has one
        try:
            self._write(streams)
        except ConfigError as error:
            raise StorageError(str(error)) from error
        for key in [key for key in self._logs if key not in kept]:
            self._logs.pop(key).drop()
        self._delete_orphans(streams)

    def _write(self, streams: Sequence[StreamState]) -> None:
        path = self._directory / "streams.json"
        temporary = path.with_suffix(".tmp")
        document = {"format": _FORMAT, "streams": [asdict(stream) for stream in streams]}
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(seal(document), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}") from error

    def open_log(self, stream_number: int, shard_index: int) -> ShardLog:
        """Return the log of a shard, recovered or new."""
        key = (stream_number, shard_index)
        if key not in self._logs:
            log = DiskLog(
                log_directory(self._directory, *key),
                segment_bytes=self._segment_bytes,
                fsync=self._fsync,
                mark=mark_path(self._directory, *key),
                marked=key in self._marked,
            )
            log.establish()
            self._logs[key] = log
        return self._logs[key]

    def close(self) -> None:
        """Close every log and give the directory up."""
        for log in self._logs.values():
            log.close()
        self._logs.clear()
        os.close(self._lock)

    def _delete_orphans(self, streams: Sequence[StreamState]) -> None:
        kept = {(str(number), str(index)) for number, index in live_logs(streams)}
        numbers = {number for number, _ in kept}
        for stream in _folders(self._directory / "logs"):
            if stream.name not in numbers:
                shutil.rmtree(stream, ignore_errors=True)
                continue
            for shard in _folders(stream):
                if (stream.name, shard.name) not in kept:
                    shutil.rmtree(shard, ignore_errors=True)
        marks = {f"{number}-{index}" for number, index in kept}
        folder = self._directory / "marks"
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in marks:
                path.unlink(missing_ok=True)


def log_directory(data: Path, stream_number: int, shard_index: int) -> Path:
    """Return the folder of a shard's segments."""
    return data / "logs" / str(stream_number) / str(shard_index)


def mark_path(data: Path, stream_number: int, shard_index: int) -> Path:
    """Return the file of a shard's mark."""
    return data / "marks" / f"{stream_number}-{shard_index}"


class StoredStreams(NamedTuple):
    """What ``streams.json`` says. Up to format 1 its logs have no marks."""

    format: int
    streams: list[StreamState]

    @property
    def have_marks(self) -> bool:
        """Whether each log has a mark."""
        return self.format > _BEFORE_MARKS


def read_streams(data: Path) -> StoredStreams | None:
    """Return the streams that are saved in the directory *data*, None where nothing ever was.

    Raises:
        ConfigError: they are damaged, of another version, or missing.
    """
    path = data / "streams.json"
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError as error:
        if _folders(data / "logs") or (data / "marks").is_dir():
            raise ConfigError(
                f"{path} is missing, and records are there: what belongs to which stream is lost. {_NO_STREAMS}"
            ) from error
        return None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path} is damaged, or not of this version ({type(error).__name__}: {error}). {_NO_STREAMS}"
        ) from error


def _folders(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_dir()] if directory.is_dir() else []


def _own(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"cannot use {directory} as data directory: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise ConfigError(f"data directory {directory} is in use by process {owner}") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode("ascii"), 0)
    return lock


def _decode(content: bytes) -> StoredStreams:
    stored = json.loads(content)
    known = stored["format"]
    if known not in (_BEFORE_MARKS, _FORMAT):
        raise ValueError(f"format {known!r}, not {_FORMAT}")
    return StoredStreams(
        known,
        [
            StreamState(**{**stream, "shards": tuple(Shard(**shard) for shard in stream["shards"])})
            for stream in unseal(stored, required=known == _FORMAT)["streams"]
        ],
    )
