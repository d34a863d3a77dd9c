"""Where events go that were not sent, so that none is dropped: NDJSON files, made only when needed."""

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from streamgage.errors import ConfigError


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
