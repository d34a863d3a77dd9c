"""The undelivered file: Kinesis records as they were sealed, so that sending them again counts nothing twice.

::

    {"crc32":"…","header":{"format":"streamgage undelivered","version":2}}
    {"crc32":"…","record":{"number":1,"kept_ms":…,"partition_key":"…","explicit_hash_key":"…","events":12,"data":"…"}}
    …
    {"crc32":"…","end":{"records":1}}

docs/formats.md says what each is. Version 1 was a user record a line, without marks: what of it had been stored counts twice.
"""

import base64
import binascii
import fcntl
import json
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from streamgage.errors import ConfigError
from streamgage.limits import KINESIS_HASH_KEYS, KINESIS_RECORD_BYTES
from streamgage.records import SealedRecord, UserRecord

FORMAT, VERSION = "streamgage undelivered", 2
_PRIVATE = 0o600
_MOST_BYTES = 20 * KINESIS_RECORD_BYTES  # of a line: a record of 10 MiB in base64, and what is around it
_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb'\{"crc32":"([0-9a-f]{8})","(header|record|end)":(\{.*\})\}')


class UndeliveredFile:
    """A file that comes into being with its first record, for its owner only. What ``keep`` took is on the disk.

    It never touches a file that is there: ``a.ndjson`` taken, it is ``a-2.ndjson``, unless it *replaces* it. ``path`` says
    which, once written. While it is open nobody else sends it: see ``lock``. Several threads may keep.
    """

    def __init__(self, wanted: Path, now_ms: Callable[[], int], *, replaces: bool = False) -> None:
        self.path = wanted
        self.records = self.events = 0
        self._wanted, self._now_ms, self._replaces = wanted, now_ms, replaces
        self._lock = threading.Lock()
        self._file: int | None = None
        self._end_bytes = 0

    def keep(self, records: Sequence[SealedRecord]) -> None:
        """Return once *records* are on the disk.

        Raises:
            ConfigError: they cannot be written, and none of them is. Stop, or they are lost.
        """
        with self._lock:
            try:
                lines = self._lines(records)
                if self._file is None:
                    self.path, self._file = self._create()
                    lines.insert(0, _line("header", {"format": FORMAT, "version": VERSION}))
                self._append(self._file, b"".join(lines))
            except (OSError, ValueError) as error:  # ValueError: its name has a NUL
                why = getattr(error, "strerror", None) or error
                raise ConfigError(
                    f"{self.path}: cannot be written ({why}); it is needed for what cannot be sent"
                ) from error
            self.records += len(records)
            self.events += sum(each.events for each in records)

    def close(self) -> None:
        """Say that nothing more comes, and close the file, if there is one. A file without that is sent all the same."""
        with self._lock:
            if self._file is not None:
                file, self._file = self._file, None
                try:
                    self._append(file, _line("end", {"records": self.records}))
                except OSError:
                    pass  # what was kept is there; that it is all of it, the reader does not know then
                finally:
                    os.close(file)

    def _lines(self, records: Sequence[SealedRecord]) -> list[bytes]:
        now_ms = self._now_ms()
        return [
            _line("record", _encode(each, number, now_ms))
            for number, each in enumerate(records, start=self.records + 1)
        ]

    def _append(self, file: int, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
        except BaseException:
            os.ftruncate(file, self._end_bytes)  # half a line would damage the next
            raise
        self._end_bytes += len(data)

    def _create(self) -> tuple[Path, int]:
        number = 1
        while True:
            wanted = self._wanted
            path = wanted if number == 1 else wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
            if self._replaces:
                path.unlink(missing_ok=True)
            try:
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, _PRIVATE)
            except FileExistsError:
                number += 1
                continue
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sync_folder(path)
            return path, file


def sync_folder(path: Path) -> None:
    """Return once the folder of *path* knows on the disk what is in it."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def lock(stream: BinaryIO, name: str) -> None:
    """Have the opened file for oneself. Raises: ConfigError, somebody writes or sends it just now."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"{name} is being written, or sent, by another command. Send it once that has ended"
        ) from error


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line that holds nothing that can be sent, and why."""

    line: int
    reason: str
    raw: bytes


Kept = SealedRecord | UserRecord | Damaged
"""A line: a record with its mark, a user record of version 1 without one, or neither."""


class UndeliveredReader:
    """Reads an undelivered file: once, from where *stream* stands. ``line`` is that of the record that came last.

    ``is_whole`` tells, at the end, whether the writer said that this is all (of files put together: each of the writers).
    ``is_known`` tells whether any line was one of an undelivered file, be it damaged.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.line = 0
        self.is_whole = self.is_known = False
        self._stream, self._name = stream, name
        self._sealed = self._sealed_before = self._unmarked = self._cut = False
        self._number = self._damaged = 0

    def __iter__(self) -> Iterator[Kept]:
        """Yield what is in each line. Raises: ConfigError, a newer version wrote the file."""
        while raw := self._stream.readline(_MOST_BYTES):
            self.line += 1
            text = raw.rstrip(b"\r\n").removeprefix(_BOM)  # an editor of Windows puts one
            if not text.strip():
                continue
            try:
                yield from self._read(text)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                self._damaged += 1
                yield Damaged(self.line, f"{error}" or type(error).__name__, text)
        self.is_whole = (self.is_whole or self._unmarked) and not self._cut  # version 1 never says

    def _read(self, text: bytes) -> Iterator[Kept]:
        matched = _LINE.fullmatch(text)
        self.is_known |= text.startswith(b'{"crc32"')
        if matched is None:
            if self._sealed or text.startswith(b'{"crc32"'):
                raise ValueError("damaged: not a line of an undelivered file, or cut short")
            record = decode_unmarked(text)
            self._unmarked = self.is_known = True
            yield record
            return
        crc, kind, body = matched.groups()
        self._sealed = True
        if int(crc, 16) != zlib.crc32(kind + body):
            raise ValueError(f"damaged: its CRC-32 is not {crc.decode()}")
        value = json.loads(body)
        if kind == b"header":
            if value["version"] != VERSION:
                raise ConfigError(
                    f"{self._name}: version {value['version']}, not {VERSION}: a newer streamgage wrote it"
                )
            self._cut |= (
                self._sealed_before and not self.is_whole
            )  # of files put together the next one begins
            self._sealed_before, self.is_whole, self._number, self._damaged = True, False, 0, 0
        elif kind == b"end":
            yield from self._missing(value["records"] + 1)
            self.is_whole = True
        else:
            self.is_whole = False
            yield from self._missing(value["number"])
            self._number = value["number"]
            yield _decode(value)

    def _missing(self, number: int) -> Iterator[Damaged]:
        """Say how many records are missing before the *number*-th, for which there is no damaged line."""
        missing = number - 1 - self._number - self._damaged
        if missing > 0:
            yield Damaged(self.line, f"{missing} records are missing above this line", b"")
        self._number, self._damaged = number - 1, 0


def _line(kind: str, value: dict[str, Any]) -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode()
    return b'{"crc32":"%08x","%s":%s}\n' % (zlib.crc32(kind.encode() + body), kind.encode(), body)


def _encode(record: SealedRecord, number: int, now_ms: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"number": number, "kept_ms": record.kept_ms or now_ms}
    entry["partition_key"] = record.partition_key
    if record.explicit_hash_key is not None:
        entry["explicit_hash_key"] = str(record.explicit_hash_key)
    entry["events"] = record.events
    entry["data"] = base64.b64encode(record.data).decode()
    return entry


def _decode(entry: dict[str, Any]) -> SealedRecord:
    hash_key = entry.get("explicit_hash_key")
    return SealedRecord(
        entry["partition_key"],
        base64.b64decode(entry["data"], validate=True),
        None if hash_key is None else int(hash_key),
        entry["events"],
        kept_ms=entry["kept_ms"],
    )


def decode_unmarked(text: bytes | str) -> UserRecord:
    """Return the user record in a line of version 1. Raises: ValueError."""
    entry = json.loads(text)
    try:
        data = base64.b64decode(entry["data"], validate=True)
        hash_key = int(entry["explicit_hash_key"]) if "explicit_hash_key" in entry else None
        partition_key, events = entry["partition_key"], entry.get("events", 1)
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError(
            f"not a line of an undelivered file (partition_key, data in base64): {error}"
        ) from error
    if not isinstance(partition_key, str):
        raise ValueError("partition_key is not a text")  # noqa: TRY004 - one kind of error for a bad line
    if hash_key is not None and not 0 <= hash_key < KINESIS_HASH_KEYS:
        raise ValueError(f"explicit_hash_key {hash_key} is not from 0 to 2**128 - 1")
    if type(events) is not int or events < 1:
        raise ValueError(f"events is {events!r}, not a number from 1 on")
    return UserRecord(partition_key, data, hash_key, events)
