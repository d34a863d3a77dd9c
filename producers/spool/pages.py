"""A spool's file read page by page, without SQLite: each row that is whole is found, whatever else is broken.

A row says by itself how long it is and whether it is whole, so of a page's own bookkeeping nothing is needed. What lies
beyond a page goes on in a chain of overflow pages, by the formulas of the file format.

Source: https://sqlite.org/fileformat2.html#b_tree_pages (checked 2026-11-29).
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

from producers.spool.files import log_of
from producers.spool.row import (
    HEAD_BYTES,
    ROW_MAGIC,
    STATE_BYTES,
    STATE_MAGIC,
    Spooled,
    State,
    decode_row,
    decode_state,
    row_bytes,
)
from producers.spool.wal import Log

PAGE_BYTES = 8192
RECORDS_ROOT, QUEUE_ROOT, STATE_ROOT = 2, 3, 4
_LEAF, _INTERIOR = 0x0A, 0x02  # of an index, which a table WITHOUT ROWID is
_INT_BYTES = (0, 1, 2, 3, 4, 6, 8)
_MOST_DEPTH = 40


class Pages:
    """The pages of a database with those of its log over them. A context: it holds both files open.

    The *view* of a method is one of the log's.
    """

    def __init__(self, path: Path, log: Log) -> None:
        self._path = path
        self._over = log.views
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._file = self._stack.enter_context(self._path.open("rb"))
        self._log: BinaryIO | None = None
        if self._over[0]:
            self._log = self._stack.enter_context(log_of(self._path).open("rb"))
        self.count = max([-(-self._path.stat().st_size // PAGE_BYTES), *self._over[0]])
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def page(self, number: int, view: int) -> bytes:
        """Return a page; less of it, or nothing, where the file ends."""
        at = self._over[view].get(number)
        if at is not None and self._log is not None:
            self._log.seek(at)
            return self._log.read(PAGE_BYTES)
        if number < 1:
            return b""
        self._file.seek((number - 1) * PAGE_BYTES)
        return self._file.read(PAGE_BYTES)

    def rows(self) -> Iterator[Spooled]:
        """Yield each whole row, removed ones too where they were not written over; one may come more than once."""
        for view in range(len(self._over)):
            for number in range(1, self.count + 1):
                page = self.page(number, view)
                at = page.find(ROW_MAGIC)
                while at >= 0:
                    row = self._row(page, at, view)
                    if row is not None:
                        yield row
                    at = page.find(ROW_MAGIC, at + 1)

    def _row(self, page: bytes, at: int, view: int) -> Spooled | None:
        head = page[at : at + HEAD_BYTES]
        size = row_bytes(head) if len(head) == HEAD_BYTES else None
        if size is None:
            return None
        local = local_bytes(size)
        parts = [page[at : at + local]]
        missing = size - len(parts[0])
        onward = int.from_bytes(page[at + local : at + local + 4], "big")
        while missing > 0 and 0 < onward <= self.count:
            overflow = self.page(onward, view)
            parts.append(overflow[4 : 4 + missing])
            if len(overflow) < PAGE_BYTES and len(parts[-1]) < missing:
                return None
            missing -= len(parts[-1])
            onward = int.from_bytes(overflow[:4], "big")
        try:
            return decode_row(b"".join(parts))
        except ValueError:
            return None

    def state(self, view: int) -> State | None:
        """Return what the spool's last transaction said of it; None where that is damaged."""
        page = self.page(STATE_ROOT, view)
        at = page.find(STATE_MAGIC)
        while at >= 0:
            try:
                return decode_state(page[at : at + STATE_BYTES])
            except ValueError:
                at = page.find(STATE_MAGIC, at + 1)
        return None

    def queue(self, view: int) -> "Queue":
        """Return what should be there."""
        queue = Queue()
        _Walk(self, queue, view).page(QUEUE_ROOT)
        return queue


@dataclass(slots=True)
class Queue:
    """Which rows should be there: the events of each, by id. ``is_broken``: more may have been in it."""

    events: dict[int, int] = field(default_factory=dict)
    is_broken: bool = False


class _Walk:
    """Goes through the queue's B-tree, as far as that is whole."""

    def __init__(self, pages: Pages, queue: Queue, view: int) -> None:
        self._pages, self._queue, self._view = pages, queue, view
        self._seen: set[int] = set()

    def page(self, number: int, depth: int = 0) -> None:
        content = self._pages.page(number, self._view)
        kind = content[:1]
        if number in self._seen or depth > _MOST_DEPTH or kind not in (b"\x0a", b"\x02"):
            self._queue.is_broken = True
            return
        self._seen.add(number)
        is_leaf = kind[0] == _LEAF
        first = 8 if is_leaf else 12
        cells = int.from_bytes(content[3:5], "big")
        for index in range(cells):
            at = int.from_bytes(content[first + 2 * index : first + 2 * index + 2], "big")
            if not is_leaf:
                self.page(int.from_bytes(content[at : at + 4], "big"), depth + 1)
                at += 4
            try:
                self._entry(content, at)
            except (IndexError, ValueError):
                self._queue.is_broken = True
        if not is_leaf:
            self.page(int.from_bytes(content[8:12], "big"), depth + 1)

    def _entry(self, content: bytes, at: int) -> None:
        size, at = _varint(content, at)
        end = at + size
        head_bytes, value_at = content[at], at + content[at]
        if end > len(content) or head_bytes != 6:
            raise ValueError
        values: list[int] = []
        for kind in content[at + 1 : at + head_bytes]:
            if kind in (8, 9):
                values.append(kind - 8)
                continue
            if kind > 6:
                raise ValueError
            values.append(int.from_bytes(content[value_at : value_at + _INT_BYTES[kind]], "big", signed=True))
            value_at += _INT_BYTES[kind]
        _, row_id, _, events, _ = values
        self._queue.events[row_id] = events


def local_bytes(size: int) -> int:
    """Return how many bytes of a row of *size* lie in its leaf page.

    P = payload, U = page: all of it where P <= U-35; else K = M+((P-M)%(U-4)) where K <= U-35, else M = ((U-12)*32/255)-23.
    """
    before = _payload_head_bytes(size)
    payload, usable = size + before, PAGE_BYTES
    if payload <= usable - 35:
        return size
    least = (usable - 12) * 32 // 255 - 23
    most = least + (payload - least) % (usable - 4)
    return (most if most <= usable - 35 else least) - before


def disk_bytes(size: int) -> int:
    """Return how much of the file a row of *size* takes, with what the queue has of it: its share of whole pages."""
    local = local_bytes(size)
    overflow_pages = -(-(size - local) // (PAGE_BYTES - 4))
    share = PAGE_BYTES // max(1, (PAGE_BYTES - 8) // (local + 24))
    return overflow_pages * PAGE_BYTES + share + 64


def _payload_head_bytes(size: int) -> int:
    """Return what stands before the row in its payload: the head's length, the type of the id, the type of the row."""
    kind, count = 2 * size + 12, 1
    while kind >= 128:
        kind, count = kind >> 7, count + 1
    return 2 + count


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(9):
        byte = content[at + index]
        if index == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at + index + 1
    raise ValueError


@dataclass(frozen=True, slots=True)
class Found:
    """What reading a file over found. ``damage`` says what is wrong, nothing where all is whole.

    ``missing``: the events of each row that should be there and is not whole, by id. ``removed``: the ids of rows that are
    whole still, and are known to be removed. ``is_spool``: whether there is anything of a spool in it.
    """

    rows: int
    events: int
    missing: Mapping[int, int]
    removed: Collection[int]
    damage: tuple[str, ...]
    state: State
    is_spool: bool


def survey(pages: Pages, log: Log) -> Found:
    """Read all of it."""
    whole = {row.id: row.record.events for row in pages.rows()}
    for view in range(min(2, len(log.views))):  # the third may lack what came later
        queue, state = pages.queue(view), pages.state(view)
        is_known = (
            state is not None and not queue.is_broken and state.agrees(len(queue.events), sum(queue.events))
        )
        if is_known:
            break
    # Where the list is damaged, rows are kept of which nobody knows: sent again, their marks are known.
    removed = {each for each in whole if each not in queue.events} if is_known else set()
    missing = {each: events for each, events in queue.events.items() if each not in whole}
    damage = [log.damage] if log.damage else []
    if state is None:
        damage.append("what says how much is in it is damaged")
    elif not is_known:
        damage.append(
            "the list of what is in it is damaged: what was sent before may be sent again, and counts once"
        )
    damage += [f"record {each} is damaged: {events} events" for each, events in missing.items()]
    return Found(
        rows=len(whole) - len(removed),
        events=sum(events for each, events in whole.items() if each not in removed),
        missing=missing,
        removed=removed,
        damage=tuple(damage),
        state=state or State(epoch=max(whole, default=0) >> EPOCH_SHIFT),
        is_spool=state is not None or bool(whole),
    )


EPOCH_SHIFT = 40
"""An id is ``epoch << 40 | number``: those of a later epoch are higher."""
