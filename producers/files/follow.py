"""Follow a file that grows, as ``tail -F`` does: through rotation and truncation, and from where it stopped."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from producers.files.stop import Stopped
from streamgage.errors import ConfigError

_POLL_MS = 250
_HEAD_BYTES = 512  # of a file, to know it again: numbers of deleted files are given anew


class Sleep(Protocol):
    """Lets time pass."""

    def sleep_ms(self, duration_ms: int) -> None:
        """Return after *duration_ms*."""


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where a file was sent: its number on disk, what it begins with, and the bytes that are done."""

    inode: int
    head: str
    done_bytes: int


class PositionFile:
    """Keeps a position on disk, written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Position | None:
        """Return the position, None where none was kept. Raises: ConfigError, the file is damaged."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            return Position(int(kept["inode"]), str(kept["head"]), int(kept["done_bytes"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self.path}: not a position ({error}); without it all is sent again: delete it"
            ) from error

    def save(self, position: Position) -> None:
        """Keep *position*. Raises: ConfigError."""
        text = json.dumps(
            {"inode": position.inode, "head": position.head, "done_bytes": position.done_bytes}, indent=1
        )
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            fresh.write_text(text + "\n", encoding="utf-8")
            fresh.replace(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written ({error.strerror})") from error


class Generation:
    """One file under the name that is followed, until another takes its place. Lines come whole."""

    def __init__(
        self, path: Path, raw: BinaryIO, follow: "Follow", *, begin_bytes: int, is_past: bool
    ) -> None:
        self.path, self.raw = path, raw
        self.begin_bytes = begin_bytes
        self._follow = follow
        self._is_past = is_past
        self._partial = b""
        self._read_bytes = 0

    def position(self, done_bytes: int) -> Position:
        """Return the position after *done_bytes* of this file."""
        return Position(os.fstat(self.raw.fileno()).st_ino, _head(self.raw, done_bytes), done_bytes)

    def readline(self, size: int, /) -> bytes:
        """Return the next whole line, or *size* bytes of it; wait for it. Nothing once the file was replaced."""
        while True:
            piece = self.raw.readline(size - len(self._partial))
            self._read_bytes += len(piece)
            line = self._partial + piece
            if line.endswith(b"\n") or len(line) >= size:
                self._partial = b""
                return line
            self._partial = line
            if self._ended():
                self._is_past, self._partial = True, b""
                return line  # the last line, perhaps without its end; nothing more will come
            if not self._is_past:  # else once more at once, for what came before it was moved
                self._follow.wait()

    def _ended(self) -> bool:
        if self._follow.stopped():
            # A line without its end may still be written: it is left for the next time.
            self._partial = b""
            raise Stopped
        if self._is_past:
            return True
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False  # between two moves of a rotation
        here = os.fstat(self.raw.fileno())
        if (now.st_ino, now.st_dev) != (here.st_ino, here.st_dev):
            self._is_past = here.st_size > self._read_bytes
            return not self._is_past
        return now.st_size < self._read_bytes  # cut to nothing, and written anew (copytruncate)


class Follow:
    """The generations of one file. ``idle`` is called before each wait: what was read is to be sent, and the place kept."""

    def __init__(
        self,
        path: Path,
        position: Position | None,
        *,
        clock: Sleep,
        stopped: Callable[[], bool] = lambda: False,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.idle: Callable[[], None] = lambda: None
        self.stopped = stopped
        self._warn = warn
        self._path = path
        self._position = position
        self._clock = clock

    def generations(self) -> Iterator[Generation]:
        """Yield each file that has, or had, the name; the first from where it was left. Raises: ConfigError."""
        found = False
        for each in self._left_behind():
            found = True
            yield each
        position = None if found else self._position
        while True:
            if self._path.exists() and not self._path.is_file():
                raise ConfigError(f"{self._path}: not a file that grows; a pipe needs no --follow")
            try:
                raw = self._path.open("rb")
            except FileNotFoundError:
                self.wait()
                continue
            except OSError as error:
                raise ConfigError(f"{self._path}: cannot be read ({error.strerror})") from error
            with raw:
                begin_bytes = _known_bytes(raw, position)
                if position is not None and position.done_bytes and not begin_bytes:
                    self._warn(
                        f"{self._path} is not the file that was followed until byte {position.done_bytes:,}, nor is that one "
                        "beside it (compressed, cut to nothing, deleted?): what was written to it since is not sent"
                    )
                yield Generation(self._path, raw, self, begin_bytes=begin_bytes, is_past=False)
            position = None

    def wait(self) -> None:
        """Let what was read be sent, then let time pass."""
        self.idle()
        self._clock.sleep_ms(_POLL_MS)

    def _left_behind(self) -> Iterator[Generation]:
        """Yield the file that was being followed and has been moved aside since."""
        position = self._position
        if position is None or not self._path.parent.is_dir():
            return
        for each in sorted(self._path.parent.iterdir()):
            try:
                if each == self._path or not each.is_file() or each.stat().st_ino != position.inode:
                    continue
                opened = each.open("rb")
            except OSError:  # gone meanwhile, or not for us: as good as not there
                continue
            with opened as raw:
                begin_bytes = _known_bytes(raw, position)
                if begin_bytes:
                    yield Generation(each, raw, self, begin_bytes=begin_bytes, is_past=True)


def _head(raw: BinaryIO, done_bytes: int) -> str:
    data = os.pread(raw.fileno(), min(_HEAD_BYTES, done_bytes), 0)
    return f"{len(data)}:{hashlib.sha256(data).hexdigest()}"


def _known_bytes(raw: BinaryIO, position: Position | None) -> int:
    """Return how much of the file is done already: 0 where it is another file than the one of *position*."""
    if position is None or os.fstat(raw.fileno()).st_ino != position.inode:
        return 0
    if (
        os.fstat(raw.fileno()).st_size < position.done_bytes
        or _head(raw, position.done_bytes) != position.head
    ):
        return 0
    return position.done_bytes
