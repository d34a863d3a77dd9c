"""Files, pipes and terminals, read so that a wish to end is seen, and what was read goes on while nothing comes."""

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO, cast

from producers.files.lines import DamagedInput
from producers.files.stop import Patience

_BUFFER_BYTES = 131_072


def open_input(path: Path) -> BinaryIO:
    """Open *path* to read. A named pipe that nobody writes to yet does not hold us up. Raises: OSError."""
    return io.BufferedReader(io.FileIO(path, "rb", opener=_open_at_once))


def _open_at_once(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def watched(raw: BinaryIO, patience: Patience) -> BinaryIO:
    """Return *raw*, read under *patience*; as it is where it is no file of the system (a test's)."""
    try:
        descriptor = raw.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, AttributeError):  # io.UnsupportedOperation is an OSError
        return raw
    inner = _File(raw, patience) if stat.S_ISREG(mode) else _Pipe(descriptor, patience)
    return cast(BinaryIO, io.BufferedReader(inner, _BUFFER_BYTES))


class _File(io.RawIOBase):
    """A file on disk: it is always there to be read, however endless."""

    def __init__(self, raw: BinaryIO, patience: Patience) -> None:
        self._raw, self._patience = raw, patience

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self._patience.stop.check()
        try:
            count: int = self._raw.readinto(buffer)  # type: ignore[attr-defined]  # what open("rb") returns has one
        except OSError as error:
            raise _broken(error) from error
        return count

    def tell(self) -> int:
        return self._raw.tell()


class _Pipe(io.RawIOBase):
    """What may have nothing for us now: a pipe, a terminal, a device."""

    def __init__(self, descriptor: int, patience: Patience) -> None:
        self._descriptor, self._patience = descriptor, patience

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # what io hands over
        while True:
            self._patience.until_readable(self._descriptor)
            try:
                data = os.read(self._descriptor, len(view))
            except BlockingIOError:
                continue  # another reader of the pipe was faster
            except OSError as error:
                raise _broken(error) from error
            view[: len(data)] = data
            return len(data)


def _broken(error: OSError) -> DamagedInput:
    return DamagedInput(f"cannot be read from here on ({error.strerror})")
