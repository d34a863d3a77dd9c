"""The change log of a table that has a stream: the keys of what was written, in the transaction that wrote it.

A change is a row: its number, which only grows, when it was, of what kind, the JSON of the keys, and a checksum. The last
``MOST`` are kept, where AWS keeps a day; who reads more slowly than that is told so. A table without a stream has no log.
"""

import json
import zlib
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from infra.local.dynamodb.errors import DamagedError
from infra.local.dynamodb.table import Table
from infra.local.dynamodb.values import Item

MOST = 100_000
_TRIMMED = 1_000  # at once, so that a write mostly has nothing to trim
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Kind(IntEnum):
    """What became of an item. Stored: a number keeps its meaning for ever."""

    INSERT = 0
    MODIFY = 1
    REMOVE = 2
    EXPIRE = 3
    """A REMOVE by time to live, which a stream tells from a person's."""


class Change(NamedTuple):
    """One change; ``keys`` is the JSON of the item's key attributes."""

    number: int
    at_ms: int
    kind: Kind
    keys: bytes


class Execute(Protocol):
    """SQLite's execute."""

    def __call__(self, statement: str, values: tuple[Any, ...] = ..., /) -> Any:
        """Run *statement*."""


class ChangeLog:
    """The change logs of a store. Everything of it is called inside a transaction of the store's."""

    def __init__(self, execute: Execute, clock_ms: Callable[[], int]) -> None:
        self._execute, self._clock_ms = execute, clock_ms

    def create(self, table: Table) -> None:
        """Begin an empty log."""
        self._execute(
            f"CREATE TABLE {table.changes} (number INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, "
            "kind INTEGER NOT NULL, crc INTEGER NOT NULL, keys BLOB NOT NULL)"
        )

    def drop(self, table: Table) -> None:
        """Remove a log with what is in it."""
        self._execute(f"DROP TABLE {table.changes}")

    def note(self, table: Table, kind: Kind, item: Item) -> None:
        """Note a change of *item*; what is too old goes."""
        keys, at_ms = _encode(table.schema.cut(item)).encode("ascii"), self._clock_ms()
        number: int = self._execute(
            f"INSERT INTO {table.changes} (at_ms, kind, crc, keys) VALUES (?, ?, ?, ?)",
            (at_ms, int(kind), _checksum(at_ms, kind, keys), keys),
        ).lastrowid
        if number % _TRIMMED == 0:
            self._execute(f"DELETE FROM {table.changes} WHERE number <= ?", (number - MOST,))

    def ends(self, table: Table) -> tuple[int, int]:
        """Return the numbers of the oldest change that is kept and of the newest; (1, 0) of an empty log."""
        oldest, newest = self._execute(f"SELECT min(number), max(number) FROM {table.changes}").fetchone()
        return (1, 0) if newest is None else (oldest, newest)

    def read(self, table: Table, after: int, limit: int) -> Iterator[Change]:
        """Yield up to *limit* changes behind the number *after*, in their order. Raises: DamagedError."""
        found = self._execute(
            f"SELECT number, at_ms, kind, crc, keys FROM {table.changes} WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        for number, at_ms, kind, crc, keys in found:
            if type(keys) is not bytes or _checksum(at_ms, kind, keys) != crc:
                raise DamagedError(
                    f"table {table.name}: the change {number} of its stream is not what was written"
                )
            yield Change(number, at_ms, Kind(kind), keys)


def _checksum(at_ms: object, kind: object, keys: bytes) -> int:
    return zlib.crc32(keys, zlib.crc32(f"{at_ms} {kind:d}".encode() if isinstance(kind, int) else b"?"))
