"""Where events go that were not sent, so that none is dropped: NDJSON files, made only when needed."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from producers.files.lines import Line
from streamgage.errors import ConfigError
from streamgage.limits import KINESIS_HASH_KEYS
from streamgage.records import UserRecord


class NdjsonFile:
    """A file that comes into being with its first line, each line on disk as soon as it is written.

    It never touches a file that is there: ``a.ndjson`` taken, it is ``a-2.ndjson``. ``path`` says which, once written.
    """

    def __init__(self, wanted: Path) -> None:
        self.path = wanted
        self.count = 0
        self._wanted = wanted
        self._file: TextIO | None = None

    def write(self, value: dict[str, Any]) -> None:
        """Add a line. Raises: ConfigError, it cannot be written; stop, or the event is lost."""
        try:
            if self._file is None:
                self.path, self._file = _create(self._wanted)
            self._file.write(json.dumps(value) + "\n")
        except (OSError, ValueError) as error:  # ValueError: its name has a NUL
            raise ConfigError(
                f"{self.path}: cannot be written ({getattr(error, 'strerror', error)}); it is needed for what cannot be "
                "sent"
            ) from error
        self.count += 1

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            with suppress(OSError):  # of a line that could not be written, which was told when it was
                self._file.close()
            self._file = None


def _create(wanted: Path) -> tuple[Path, TextIO]:
    number = 1
    if wanted.is_char_device():  # /dev/null, a terminal
        return wanted, wanted.open("w", encoding="utf-8", buffering=1)
    while True:
        path = wanted if number == 1 else wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        try:
            return path, path.open("x", encoding="utf-8", buffering=1)
        except FileExistsError:
            number += 1


def encode_reject(*, file: str, line: int, reason: str, raw: bytes) -> dict[str, Any]:
    """Return a quarantined row as JSON: ``raw`` holds its text, or ``raw_base64`` its bytes where they are none."""
    entry: dict[str, Any] = {"file": file, "line": line, "reason": reason}
    try:
        entry["raw"] = raw.decode()
    except UnicodeDecodeError:
        entry["raw_base64"] = base64.b64encode(raw).decode()
    return entry


def encode_undelivered(record: UserRecord) -> dict[str, Any]:
    """Return a user record as JSON, for ``decode_undelivered``."""
    entry: dict[str, Any] = {"partition_key": record.partition_key}
    if record.explicit_hash_key is not None:
        entry["explicit_hash_key"] = str(record.explicit_hash_key)
    if record.events != 1:
        entry["events"] = record.events
    entry["data"] = base64.b64encode(record.data).decode()
    return entry


def decode_undelivered(text: str) -> UserRecord:
    """Return the user record in a line of an undelivered file. Raises: ValueError."""
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


def read_undelivered(lines: Iterable[Line]) -> Iterator[tuple[Line, UserRecord | str]]:
    """Yield each line that is not blank, with its user record or what is wrong with it."""
    for line in lines:
        if line.is_blank:
            continue
        if line.problem is not None:
            yield line, line.problem
            continue
        try:
            yield line, decode_undelivered(line.text)
        except (ValueError, RecursionError) as error:
            yield line, str(error)
