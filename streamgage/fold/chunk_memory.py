"""Chunks that a sandbox wrote, decoded: the next batch adds to them, and need not read their bytes again.

A body says what its chunk holds, so a chunk is remembered by its body: what stands in the table decides which chunk is
meant, and a stale memory is one that nobody asks for. Whoever takes a chunk out owns it, and may change it.
"""

from streamgage.fold.chunk import Chunk
from streamgage.measures.layout import StatePlan

_MOST_BYTES = 32 * 1024 * 1024
_CHUNK_BYTES, _COLUMN_BYTES, _STATE_BYTES, _NAME_BYTES = 900, 100, 45, 90
_PAIR_BYTES = 90  # of a state that is a pair, beside
_TURNS = 4  # batches: what was put in before them makes room

CellName = tuple[StatePlan, int, int]
"""What a body needs to mean something: its layout, and the start of the window that its times are relative to.

With it the window's size: windows that begin together have the same states at first, and each needs a chunk of its own.
"""


class ChunkMemory:
    """Chunks by their bodies, bounded in bytes. Full of what the last batches used, it takes no more.

    So batches that touch more chunks than there is room for still find as many as there is.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self.held_bytes = 0
        self._turn = 0
        self._chunks: dict[
            tuple[CellName, bytes], tuple[Chunk, int, int]
        ] = {}  # with its bytes, and its turn; the oldest first

    def begin_turn(self) -> None:
        """Take note that the next batch begins."""
        self._turn += 1

    def take(self, cell: CellName, body: bytes) -> Chunk | None:
        """Return the chunk that *body* holds in *cell*, and forget it; None: it is not known."""
        found = self._chunks.pop((cell, body), None)
        if found is None:
            return None
        self.held_bytes -= found[1]
        return found[0]

    def put(self, cell: CellName, body: bytes, chunk: Chunk) -> None:
        """Remember *chunk*, of which *body* was made, and which nobody changes any more."""
        size_bytes = _size_bytes(cell[0], chunk) + len(body)
        while self.held_bytes + size_bytes > self._most_bytes:
            oldest = next(iter(self._chunks), None)
            if oldest is None or self._chunks[oldest][2] > self._turn - _TURNS:
                return
            self.held_bytes -= self._chunks.pop(oldest)[1]
        self.take(cell, body)
        self._chunks[cell, body] = chunk, size_bytes, self._turn
        self.held_bytes += size_bytes


def _size_bytes(plan: StatePlan, chunk: Chunk) -> int:
    """Return about how many bytes *chunk* takes in memory: a test compares."""
    columns = len(chunk.table)
    key_bytes = columns * _STATE_BYTES + plan.pairs * _PAIR_BYTES + _NAME_BYTES
    return (
        _CHUNK_BYTES
        + columns * _COLUMN_BYTES
        + len(chunk.keys) * key_bytes
        + sum(map(len, chunk.keys))
        + plan.held_bytes(chunk.table)
    )
