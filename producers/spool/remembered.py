"""Which batches a spool has taken, by their keys, in the transaction that took their records: sent again, they count nothing.

A key is remembered for as long as its day is one of the last ``DAYS``, so two days at least; of more than *most* the oldest
days go first, in no order within one. What is forgotten is deleted a little with each commit, never all at once.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

DAY_MS = 86_400_000
DAYS = 3
ROW_BYTES = 96
"""Of the file, for a key: a row of some 40 bytes in pages that random keys fill by two thirds, and its head."""
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS remembered (day INTEGER NOT NULL, key BLOB NOT NULL, content BLOB NOT NULL, "
    "PRIMARY KEY (day, key)) WITHOUT ROWID"
)
_LEAST_FORGOTTEN = 16  # by a commit


class Remembered(NamedTuple):
    """A batch that was taken: 16 bytes of its key, and 16 of its content."""

    key: bytes
    content: bytes


class Memory:
    """The keys in an open spool. One thread at a time; what it writes, it writes within ``Database.writing``."""

    def __init__(self, connection: sqlite3.Connection, most: int) -> None:
        self._run, self._run_many = connection.execute, connection.executemany
        self._most = most
        has_table = self._run("SELECT count(*) FROM sqlite_master WHERE name = 'remembered'").fetchone()[0]
        self._has_table = bool(has_table)
        self.count, last = 0, None
        if self._has_table:
            self.count, last = self._run("SELECT count(*), max(day) FROM remembered").fetchone()
        self._day = last or 0

    def find(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the content of those of *keys* that are known."""
        if not self.count:
            return {}
        found: dict[bytes, bytes] = {}
        for key in keys:
            for day in range(self._day, self._day - DAYS, -1):
                row = self._run(
                    "SELECT content FROM remembered WHERE day = ? AND key = ?", (day, key)
                ).fetchone()
                if row is not None:
                    found[key] = row[0]
                    break
        return found

    def add(self, batches: Sequence[Remembered], now_ms: int) -> None:
        """Remember *batches*, none of which is known; forget what is due. A clock that is set back changes no day."""
        if not batches:
            return
        if not self._has_table:
            self._run(_SCHEMA)
            self._has_table = True
        day = max(self._day, now_ms // DAY_MS)
        self._run_many("INSERT INTO remembered VALUES (?, ?, ?)", [(day, *each) for each in batches])
        forgotten = self._forget(day, len(batches))
        self._day, self.count = day, self.count + len(batches) - forgotten

    def _forget(self, day: int, added: int) -> int:
        """Delete a few of those that are too old, or too many; return how many."""
        excess = self.count + added - self._most
        before_day = day + 1 if excess > 0 else day - DAYS + 1
        few = min(2 * added + _LEAST_FORGOTTEN, excess if excess > 0 else self._most)
        return self._run(
            "DELETE FROM remembered WHERE (day, key) IN (SELECT day, key FROM remembered WHERE day < ? "
            "ORDER BY day, key LIMIT ?)",
            (before_day, few),
        ).rowcount


def rescued(connection: sqlite3.Connection) -> Iterable[tuple[int, bytes, bytes]]:
    """Yield the rows that a damaged file still gives, from either end; where it is broken, they end."""
    for order in ("ASC", "DESC"):
        try:
            yield from connection.execute(
                f"SELECT day, key, content FROM remembered ORDER BY day {order}, key {order}"  # noqa: S608 - one of two
            )
        except sqlite3.Error:
            continue
        return


def rescue(connection: sqlite3.Connection, rows: Iterable[tuple[int, bytes, bytes]]) -> int:
    """Write *rows* into a new file, within ``Database.writing``; return how many."""
    connection.execute(_SCHEMA)
    connection.executemany("INSERT OR IGNORE INTO remembered VALUES (?, ?, ?)", rows)
    count: int = connection.execute("SELECT count(*) FROM remembered").fetchone()[0]
    return count
