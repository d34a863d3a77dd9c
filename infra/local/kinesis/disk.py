"""Storage in a directory that one process owns: ``streams.json``, a log directory a shard, and a lock.

::

    DATA/lock                         held (flock) while a process serves this directory
    DATA/streams.json                 every stream and shard, replaced atomically
    DATA/logs/STREAM/SHARD/*.log      segments (log.py)
"""

import fcntl
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from infra.local.kinesis.errors import StorageError
from infra.local.kinesis.log import SEGMENT_BYTES, DiskLog
from infra.local.kinesis.shards import Shard
from infra.local.kinesis.storage import ShardLog, StreamState, live_logs
from streamgage.errors import ConfigError

_FORMAT = 1


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
        self._lock = _own(directory)

    def load(self) -> Sequence[StreamState]:
        """Return the saved streams, and delete logs that a crash left behind without a stream."""
        path = self._directory / "streams.json"
        try:
            streams = _decode(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            streams = []
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: not the streams of this version: {error}") from error
        self._delete_orphans(streams)
        return streams

    def save(self, streams: Sequence[StreamState]) -> None:
        """Replace the saved streams; then delete logs of shards that are gone."""
        path = self._directory / "streams.json"
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump({"format": _FORMAT, "streams": [asdict(stream) for stream in streams]}, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror or error}") from error
        kept = live_logs(streams)
        for key in [key for key in self._logs if key not in kept]:
            self._logs.pop(key).drop()
        self._delete_orphans(streams)

    def open_log(self, stream_number: int, shard_index: int) -> ShardLog:
        """Return the log of a shard, recovered or new."""
        key = (stream_number, shard_index)
        if key not in self._logs:
            directory = self._directory / "logs" / str(stream_number) / str(shard_index)
            self._logs[key] = DiskLog(directory, segment_bytes=self._segment_bytes, fsync=self._fsync)
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


def _decode(text: str) -> list[StreamState]:
    stored = json.loads(text)
    if stored["format"] != _FORMAT:
        raise ValueError(f"format {stored['format']}, not {_FORMAT}")
    return [
        StreamState(**{**stream, "shards": tuple(Shard(**shard) for shard in stream["shards"])})
        for stream in stored["streams"]
    ]
