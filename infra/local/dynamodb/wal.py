"""What a killed process left in SQLite's write-ahead log: is all of it there that was acknowledged?

At its start SQLite reads the log up to the first frame whose checksum differs, and takes that for its end: a byte that
flipped takes all later transactions with it, without a word. So the log is read here first. How far it was acknowledged
stands in the index beside it (``-shm``), which SQLite writes before a COMMIT returns, and which outlives the process, not
the machine.

Source: https://sqlite.org/fileformat2.html#the_write_ahead_log, https://sqlite.org/walformat.html (checked 2026-11-29).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEAD = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682  # the lowest bit: words are big-endian
_INDEX = struct.Struct("=3I2BH8I")  # native order
_INDEX_COPY_BYTES = 48
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """How far the log was acknowledged: so many frames, which end with this checksum."""

    frames: int
    salt: bytes
    checksum: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Log:
    """A log as it is read. ``whole`` frames are valid, the last of them that ends a transaction is ``committed``."""

    size_bytes: int
    whole: int
    committed: int
    salt: bytes
    page_bytes: int
    checksums: tuple[tuple[int, int], ...]
    commits_behind: int
    begun_behind: bool

    @property
    def committed_bytes(self) -> int:
        """The length of what SQLite will read of it."""
        return _HEAD.size + self.committed * (_FRAME.size + self.page_bytes) if self.committed else 0


def problem_of(database: Path, *, same_boot: bool, was_open: bool) -> str | None:
    """Return what acknowledged transactions are missing from the log of *database*; None where none are.

    Call it before SQLite opens the file, which forgets. *was_open*: the process before did not close it. Where the machine
    went down in between, not *same_boot*, the index tells nothing, and a last transaction that is not whole may be one
    that was never acknowledged.
    """
    wal = database.with_name(database.name + "-wal")
    acknowledged = read_index(database.with_name(database.name + "-shm")) if same_boot else None
    log = read_log(wal)
    if log is None:
        if (acknowledged and acknowledged.frames) or (
            was_open and database.exists() and database.stat().st_size
        ):
            return f"{wal} is missing, and what was written last stood in it"
        return None
    if acknowledged is not None:
        return _compare(wal, log, acknowledged)
    if log.size_bytes and not log.page_bytes:
        return f"{wal} is damaged: it is no write-ahead log"
    tolerated = 0 if same_boot else 1  # commits: one transaction may have been under way
    if log.commits_behind > tolerated or (same_boot and log.begun_behind):
        return f"{wal} is damaged behind its frame {log.whole}: what was written behind it cannot be read"
    return None


def _compare(wal: Path, log: Log, acknowledged: Acknowledged) -> str | None:
    frames = acknowledged.frames
    if not frames:
        return None
    if log.salt != acknowledged.salt or log.whole < frames:
        whole = 0 if log.salt != acknowledged.salt else log.whole
        return f"{wal} is damaged: {whole} of {frames} frames that were acknowledged are whole"
    if log.checksums[frames - 1] != acknowledged.checksum:
        return f"{wal} is not the log that was written: its checksum differs"
    return None


def read_index(path: Path) -> Acknowledged | None:
    """Return how far the log beside *path* was acknowledged; None where that is not told."""
    try:
        with path.open("rb") as file:
            content = file.read(2 * _INDEX_COPY_BYTES)
    except OSError:
        return None
    if len(content) < 2 * _INDEX_COPY_BYTES or content[:_INDEX_COPY_BYTES] != content[_INDEX_COPY_BYTES:]:
        return None
    values = _INDEX.unpack_from(content)
    is_init, frames, first, second, stored = values[3], values[6], values[8], values[9], values[12:14]
    if not is_init or (*_sum(content[:40], (0, 0), "="),) != stored:
        return None
    return Acknowledged(frames, content[32:40], (first, second))


def read_log(path: Path) -> Log | None:
    """Return what stands in the log *path*, None where there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    nothing = Log(len(content), 0, 0, b"", 0, (), 0, begun_behind=False)
    if len(content) < _HEAD.size:
        return nothing
    magic, _, page_bytes, _, _, _, *stored = _HEAD.unpack_from(content)
    order = ">" if magic & 1 else "<"
    running = _sum(content[:24], (0, 0), order)
    if magic & ~1 != _MAGIC or list(running) != stored:
        return nothing
    salt, checksums, committed = content[16:24], [], 0
    for head, page in _frames(content, page_bytes):
        running = _sum(page, _sum(head[:8], running, order), order)
        if head[8:16] != salt or struct.unpack(">2I", head[16:]) != running:
            break
        checksums.append(running)
        if head[4:8] != bytes(4):
            committed = len(checksums)
    whole = len(checksums)
    behind = _HEAD.size + whole * (_FRAME.size + page_bytes)
    heads = [content[at : at + 24] for at in range(behind, len(content), _FRAME.size + page_bytes)]
    ours = [head for head in heads if salt.startswith(head[8:16])]  # the head, too, may be cut
    return Log(
        len(content),
        whole,
        committed,
        salt,
        page_bytes,
        tuple(checksums),
        commits_behind=sum(head[4:8] not in (b"", bytes(4)) for head in ours),
        begun_behind=bool(ours),
    )


def _frames(content: bytes, page_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    step = _FRAME.size + page_bytes
    for at in range(_HEAD.size, len(content) - step + 1, step):
        yield content[at : at + 24], content[at + 24 : at + step]


def _sum(content: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    """Return the checksum of *content* that goes on from *before*: a sum of words, each of which weighs like its place."""
    first, second = before
    words = iter(struct.unpack(f"{order}{len(content) // 4}I", content))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
