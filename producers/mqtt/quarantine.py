"""Where messages go that nobody can count: NDJSON beside the spool, on the disk before they are acknowledged.

::

    {"arrived_ms":…,"topic":"plant/7/temperature","reasons":["undecodable: …"],"payload":"n/a"}

``payload_base64`` holds bytes that are no text; ``properties`` are the user properties of MQTT 5, if there are any.
"""

import base64
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from producers.client.undelivered import sync_folder
from producers.mqtt.messages import Message
from producers.spool.told import SpoolError
from streamgage.errors import ConfigError

MOST_BYTES = 256 << 20
_PRIVATE = 0o600
_REASONS = 20  # of one message: a payload may hold thousands of metrics
_REASON_CHARS = 1_000


class QuarantineFull(ConfigError):
    """The file has no room, and what came is not acknowledged: the broker has it. A person looks, and moves the file away."""


class Quarantine:
    """The file, which comes into being with its first message. It is only ever added to."""

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.path, self._most_bytes = path, most_bytes
        self.messages = 0

    def keep(self, refused: Sequence[tuple[Message, Sequence[str]]]) -> None:
        """Return once the messages, each with its reasons, are on the disk. Killed before, they come again: so may a line.

        Raises:
            QuarantineFull: nothing was written.
            SpoolError: the disk failed, and nothing was written.
        """
        if not refused:
            return
        data = b"".join(json.dumps(_encode(*each)).encode() + b"\n" for each in refused)
        try:
            is_new = not self.path.exists()
            file = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, _PRIVATE
            )
        except OSError as error:
            raise SpoolError(f"{self.path}: cannot be written ({error.strerror})") from error
        try:
            end_bytes = os.fstat(file).st_size
            if end_bytes + len(data) > self._most_bytes:
                raise QuarantineFull(
                    f"{self.path}: {end_bytes:,} of {self._most_bytes:,} bytes are taken by messages that cannot be counted. "
                    "Look at their reasons, move the file away, and start again: the broker has what was not acknowledged"
                )
            _append(file, data, end_bytes)
            if is_new:
                sync_folder(self.path)
        except OSError as error:
            raise SpoolError(f"{self.path}: cannot be written ({error.strerror})") from error
        finally:
            os.close(file)
        self.messages += len(refused)


def _append(file: int, data: bytes, end_bytes: int) -> None:
    """Write *data* at the end, or nothing. Raises: OSError."""
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    except OSError:
        with suppress(OSError):
            os.ftruncate(file, end_bytes)  # half a line would damage the next
        raise


def _encode(message: Message, reasons: Sequence[str]) -> dict[str, Any]:
    told = [each[:_REASON_CHARS] for each in reasons[:_REASONS]]
    if len(reasons) > _REASONS:
        told.append(f"… and {len(reasons) - _REASONS} more")
    entry: dict[str, Any] = {"arrived_ms": message.arrived_ms, "topic": message.topic, "reasons": told}
    if message.properties:
        entry["properties"] = [list(each) for each in message.properties]
    try:
        entry["payload"] = message.payload.decode()
    except UnicodeDecodeError:
        entry["payload_base64"] = base64.b64encode(message.payload).decode()
    return entry
