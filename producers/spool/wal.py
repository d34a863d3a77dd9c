"""SQLite's write-ahead log, read before SQLite reads it: is all of it there that was acknowledged?

SQLite takes the first frame whose checksum differs for the end of the log, and forgets what stands behind it, without a
word. A frame's checksum goes on from that of the frame before, as it is written there: so each frame is judged by itself
here, and those behind a damaged one are used. How many frames were acknowledged stands in the index beside the log
(``-shm``), which SQLite writes before a COMMIT returns, and which outlives the process, not the machine.

Source: https://sqlite.org/fileformat2.html#the_write_ahead_log, https://sqlite.org/walformat.html (checked 2026-11-29).
"""

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from producers.spool.files import log_of, shm_of

_HEAD = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682  # the lowest bit: words are big-endian
_INDEX = struct.Struct("=3I2BH8I")  # native order
_INDEX_COPY_BYTES = 48
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Log:
    """The pages of finished transactions in the log, each by the place of a frame in the file, in bytes.

    ``views``: the newest of each; where frames are damaged also the newest that no damaged frame holds, and those from
    before the first that is. A row that is whole is so in one of them. ``damage`` says what is wrong, None where nothing is:
    SQLite may read it then.
    """

    views: tuple[dict[int, int], ...]
    damage: str | None


def read_log(database: Path, page_bytes: int, *, same_boot: bool) -> Log:
    """Return what stands in the log of *database*, which no one has open.

    *same_boot*: the machine did not go down since it was written, so the index beside it may be believed.
    """
    path = log_of(database)
    acknowledged = _acknowledged(shm_of(database)) if same_boot else None
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    if not content:
        lost = acknowledged[0] if acknowledged else 0
        return Log(({},), f"its write-ahead log is gone: {lost} frames" if lost else None)
    step = _FRAME.size + page_bytes
    places = range(_HEAD.size, len(content) - step + 1, step)
    frames = [_FRAME.unpack_from(content, at) for at in places]
    salt, order, damage = _head(content, frames)
    if salt is None:
        return Log(({},), damage)
    known = acknowledged[0] if acknowledged and acknowledged[1] == struct.pack(">2I", *salt) else 0
    reading = _Reading(salt, known)
    checksum = _HEAD.unpack_from(content)[6:]
    for at, frame in zip(places, frames, strict=True):
        before = _sum(content[at : at + 8], checksum, order)
        checksum = frame[4:]
        is_whole = _sum(content[at + _FRAME.size : at + step], before, order) == checksum
        reading.take(frame, at + _FRAME.size, is_whole=is_whole)
    return Log(reading.views(), damage or reading.damage())


class _Reading:
    """Takes frame after frame. ``known`` of them were acknowledged."""

    def __init__(self, salt: tuple[int, int], known: int) -> None:
        self._pages: dict[int, int] = {}
        self._whole: dict[int, int] = {}
        self._before: dict[int, int] | None = None
        self._pending: dict[int, int] = {}
        self._pending_whole: dict[int, int] = {}
        self._salt, self._known = salt, known
        self._count = 0
        self._bad: list[int] = []
        self._wrong: list[
            int
        ] = []  # since the last frame that is whole: they may be an end that was never finished

    def take(self, frame: tuple[int, ...], at: int, *, is_whole: bool) -> None:
        page, size, *salt = frame[:4]
        number, self._count = self._count, self._count + 1
        is_ours = tuple(salt) == self._salt
        if not (is_ours and is_whole):
            self._wrong.append(number)
            if self._before is None:
                self._before = dict(self._pages)
        if not is_ours:
            return
        self._pending[page] = at
        if is_whole:
            self._bad, self._wrong = self._bad + self._wrong, []
            self._pending_whole[page] = at
        if size and (is_whole or number < self._known):
            self._finish()

    def _finish(self) -> None:
        self._pages.update(self._pending)
        self._whole.update(self._pending_whole)
        self._pending, self._pending_whole = {}, {}

    def views(self) -> tuple[dict[int, int], ...]:
        """Return the pages with damaged frames, without them, and as they stood before the first; those that differ."""
        if (
            self._count <= self._known
        ):  # the log is cut off: what is left of its last transaction was acknowledged
            before = dict(self._pages) if self._before is None else self._before
            self._finish()
            return self._pages, self._whole, before
        if self.damage() is None:
            return (self._pages,)
        return self._pages, self._whole, self._before or {}

    def damage(self) -> str | None:
        bad = self._bad + [each for each in self._wrong if each < self._known]
        if bad:
            return f"frame {min(bad)} of its write-ahead log is damaged"
        if self._count < self._known:
            return (
                f"{self._known - self._count} of the {self._known} frames of its write-ahead log are cut off"
            )
        return None


def _head(content: bytes, frames: list[tuple[int, ...]]) -> tuple[tuple[int, int] | None, str, str | None]:
    """Return the salt of the log, the order of its words, and what is wrong with its head."""
    if len(content) >= _HEAD.size:
        magic, *_, first, second, one, two = _HEAD.unpack_from(content)
        order = ">" if magic & 1 else "<"
        if magic & ~1 == _MAGIC and _sum(content[:24], (0, 0), order) == (one, two):
            return (first, second), order, None
    if not frames:  # a head that was never finished: nothing stood behind it
        return None, "<", None
    ((salt, _),) = Counter((frame[2], frame[3]) for frame in frames).most_common(1)
    return salt, "<", "the head of its write-ahead log is damaged"


def _acknowledged(path: Path) -> tuple[int, bytes] | None:
    """Return how many frames were acknowledged, and their salt; None where that is not told."""
    try:
        with path.open("rb") as file:
            content = file.read(2 * _INDEX_COPY_BYTES)
    except OSError:
        return None
    if len(content) < 2 * _INDEX_COPY_BYTES or content[:_INDEX_COPY_BYTES] != content[_INDEX_COPY_BYTES:]:
        return None
    values = _INDEX.unpack_from(content)
    if not values[3] or _sum(content[:40], (0, 0), "=") != tuple(values[12:14]):
        return None
    return values[6], content[32:40]


def _sum(content: bytes, before: tuple[int, ...], order: str) -> tuple[int, int]:
    """Return the checksum of *content* that goes on from *before*: a sum of words, each of which weighs like its place."""
    first, second = before
    words = iter(struct.unpack(f"{order}{len(content) // 4}I", content))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
