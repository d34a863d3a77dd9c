"""Tables and items in SQLite: one transaction a request, one request at a time.

An item is one row: its key as bytes that sort as DynamoDB sorts, its JSON as it is answered, its size, when it expires,
and a checksum over key and JSON: a byte that flipped on the disk is an error that names the item, never an answer.
"""

import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from infra.local.dynamodb.changes import ChangeLog, Kind
from infra.local.dynamodb.database import Database, Identity, damaged
from infra.local.dynamodb.errors import DamagedError
from infra.local.dynamodb.keys import Key
from infra.local.dynamodb.table import Table
from infra.local.dynamodb.values import Item

_COLUMNS = "id, pk, sk, size, expires, crc, body"
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Row(NamedTuple):
    """A stored item. ``body`` is its JSON."""

    number: int
    key: Key
    size: int
    expires_s: int | None
    body: bytes

    @property
    def item(self) -> Item:
        """The item, decoded anew at each asking."""
        item: Item = json.loads(self.body.decode("ascii"))
        return item


class Range(NamedTuple):
    """Sort keys from ``low`` to ``high``, as SQL comparisons and their bytes; in order, or backwards."""

    bounds: tuple[tuple[str, bytes], ...] = ()
    forward: bool = True

    def covers(self, sort_key: bytes) -> bool:
        """Tell whether *sort_key* lies in it."""
        return all(
            {
                "=": sort_key == bound,
                "<": sort_key < bound,
                "<=": sort_key <= bound,
                ">": sort_key > bound,
                ">=": sort_key >= bound,
            }[symbol]
            for symbol, bound in self.bounds
        )


class Store:
    """The tables of a database and their items. Call everything but ``transaction`` inside a transaction.

    *clock_ms* says when something changed, where a table has a stream; its log, ``changes``, is kept by the same transactions.

    Raises:
        ConfigError: what is stored of its tables is damaged.
    """

    def __init__(
        self, database: Database, *, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._database, self._connection = database, database.connection
        self._execute = database.connection.execute
        self.changes = ChangeLog(database.connection.execute, clock_ms)
        self._lock = threading.Lock()
        path = database.path or Path(":memory:")
        try:
            self._tables = self._load(path)
        except sqlite3.Error as error:
            database.close()
            raise damaged(path, str(error)) from error
        except BaseException:
            database.close()
            raise

    def _load(self, path: Path) -> dict[str, Table]:
        """Return the tables that are stored. Raises: ConfigError: one of them is not as it was written."""
        query = "SELECT number, name, created_ms, CAST(stored AS BLOB), crc FROM tables"
        tables = {}
        for number, name, created_ms, stored, crc in self._execute(query):
            if type(stored) is not bytes or _table_checksum(number, name, created_ms, stored) != crc:
                raise damaged(path, f"its table {number}, {name!r}, is not as it was written")
            tables[name] = Table(number, name, created_ms, json.loads(stored))
        return tables

    @property
    def identity(self) -> Identity:
        """What tells this store from every other."""
        return self._database.identity

    def close(self) -> None:
        """Finish the transaction that is under way, then close the database."""
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all that is done inside, or, where that raises, nothing of it. One at a time."""
        with self._lock:
            self._settle()
            self._execute("BEGIN IMMEDIATE")
            tables = self._tables
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                self._tables = tables
                self._settle()
                raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read what no write comes between."""
        with self._lock:
            self._settle()
            yield

    def _settle(self) -> None:
        """Undo what is left of a transaction that failed: also one whose undoing failed before."""
        if self._connection.in_transaction:
            self._connection.rollback()

    def table(self, name: str) -> Table | None:
        """Return the table *name*, which needs no transaction; None where there is none."""
        return self._tables.get(name)

    def names(self) -> list[str]:
        """Return the names of all tables in their order."""
        return sorted(self._tables)

    def create(self, name: str, stored: dict[str, Any], *, created_ms: int) -> Table:
        """Add a table, which is not there yet."""
        number = self._execute(
            "INSERT INTO tables (name, created_ms, stored, crc) VALUES (?, ?, '', 0)", (name, created_ms)
        ).lastrowid
        assert number is not None  # noqa: S101 - an INSERT has one
        table = Table(number, name, created_ms, stored)
        self._keep(table)
        self._execute(
            f"CREATE TABLE {table.items} (id INTEGER PRIMARY KEY, pk BLOB NOT NULL, sk BLOB NOT NULL, "
            "size INTEGER NOT NULL, expires INTEGER, crc INTEGER NOT NULL, body BLOB NOT NULL)"
        )
        self._execute(f"CREATE UNIQUE INDEX {table.items}_key ON {table.items} (pk, sk)")
        self._execute(
            f"CREATE INDEX {table.items}_expires ON {table.items} (expires) WHERE expires IS NOT NULL"
        )
        if table.stream:
            self.changes.create(table)
        self._tables = {**self._tables, name: table}
        return table

    def change(self, table: Table, stored: dict[str, Any]) -> Table:
        """Replace what is stored of *table*; its items get the expiry that this gives them."""
        changed = Table(table.number, table.name, table.created_ms, stored)
        self._keep(changed)
        if changed.ttl_attribute != table.ttl_attribute:
            for row in list(self._execute(f"SELECT id FROM {table.items}")):
                (found,) = self._rows(table, "WHERE id = ?", row)
                self._put(table, found, found.size, changed.expires_s(found.item), found.body)
        if table.stream and changed.stream != table.stream:
            self.changes.drop(table)
        if changed.stream and changed.stream != table.stream:
            self.changes.create(changed)
        self._tables = {**self._tables, table.name: changed}
        return changed

    def _keep(self, table: Table) -> None:
        crc = _table_checksum(table.number, table.name, table.created_ms, table.text.encode())
        self._execute(
            "UPDATE tables SET stored = ?, crc = ? WHERE number = ?", (table.text, crc, table.number)
        )

    def drop(self, table: Table) -> None:
        """Remove *table* with its items."""
        self._execute(f"DROP TABLE {table.items}")
        if table.stream:
            self.changes.drop(table)
        self._execute("DELETE FROM tables WHERE number = ?", (table.number,))
        self._tables = {name: each for name, each in self._tables.items() if name != table.name}

    def measure(self, table: Table) -> tuple[int, int]:
        """Return how many items *table* has, and their size in bytes."""
        count, size = self._execute(f"SELECT count(*), coalesce(sum(size), 0) FROM {table.items}").fetchone()
        return count, size

    def get(self, table: Table, key: Key) -> Row | None:
        """Return the item at *key*. Raises: DamagedError."""
        found = self._execute(
            f"SELECT {_COLUMNS} FROM {table.items} WHERE pk = ? AND sk = ?",
            key,
        ).fetchone()
        return None if found is None else self._row(table, found)

    def insert(self, table: Table, key: Key, item: Item, size: int) -> bool:
        """Add a canonical *item* of *size* bytes; return False, with nothing done, where one stands at *key*."""
        body, expires_s = _encode(item).encode("ascii"), table.expires_s(item)
        done = self._execute(
            f"INSERT INTO {table.items} (pk, sk, size, expires, crc, body) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (*key, size, expires_s, _checksum(key, size, expires_s, body), body),
        )
        if table.stream and done.rowcount == 1:
            self.changes.note(table, Kind.INSERT, item)
        return done.rowcount == 1

    def replace(self, table: Table, old: Row, item: Item, size: int) -> None:
        """Put a canonical *item* of *size* bytes in the place of *old*."""
        body = _encode(item).encode("ascii")
        self._put(table, old, size, table.expires_s(item), body)
        if table.stream and body != old.body:
            self.changes.note(table, Kind.MODIFY, item)

    def _put(self, table: Table, old: Row, size: int, expires_s: int | None, body: bytes) -> None:
        crc = _checksum(old.key, size, expires_s, body)
        if expires_s == old.expires_s:  # as mostly: the index of expiries is left alone
            self._execute(
                f"UPDATE {table.items} SET size = ?, crc = ?, body = ? WHERE id = ?",
                (size, crc, body, old.number),
            )
        else:
            self._execute(
                f"UPDATE {table.items} SET size = ?, expires = ?, crc = ?, body = ? WHERE id = ?",
                (size, expires_s, crc, body, old.number),
            )

    def delete(self, table: Table, row: Row) -> None:
        """Remove an item."""
        self._execute(f"DELETE FROM {table.items} WHERE id = ?", (row.number,))
        if table.stream:
            self.changes.note(table, Kind.REMOVE, row.item)

    def range(self, table: Table, hash_key: bytes, wanted: Range) -> Generator[Row]:
        """Yield the items of a partition in the order of their sort keys. Raises: DamagedError."""
        bounds = "".join(f" AND sk {symbol} ?" for symbol, _ in wanted.bounds)
        order = "" if wanted.forward else " DESC"
        yield from self._rows(
            table,
            f"WHERE pk = ?{bounds} ORDER BY sk{order}",
            (hash_key, *(bound for _, bound in wanted.bounds)),
        )

    def scan(self, table: Table, after: Key | None) -> Generator[Row]:
        """Yield all items, or those behind *after*, in the order of their keys. Raises: DamagedError."""
        if after is None:
            yield from self._rows(table, "ORDER BY pk, sk", ())
        else:
            yield from self._rows(table, "WHERE (pk, sk) > (?, ?) ORDER BY pk, sk", after)

    def expire(self, table: Table, *, after_s: int, until_s: int, limit: int) -> int:
        """Delete up to *limit* items that expired in ``(after_s, until_s]``; return how many that were."""
        if table.stream:
            self._note_expired(table, (after_s, until_s, limit))
        return self._execute(
            f"DELETE FROM {table.items} WHERE id IN (SELECT id FROM {table.items} "
            "WHERE expires > ? AND expires <= ? LIMIT ?)",
            (after_s, until_s, limit),
        ).rowcount

    def _note_expired(self, table: Table, wanted: tuple[int, int, int]) -> None:
        """Note what is about to be deleted; a row that is not what was written cannot say which item it was."""
        query = f"SELECT {_COLUMNS} FROM {table.items} WHERE expires > ? AND expires <= ? LIMIT ?"
        for found in self._execute(query, wanted).fetchall():
            with suppress(DamagedError):
                self.changes.note(table, Kind.EXPIRE, self._row(table, found).item)

    def damaged_rows(self, table: Table, on_bytes: Callable[[int], None]) -> Iterator[tuple[int, str]]:
        """Yield the number of each item that is not what was written, and which it is; read all of them."""
        for found in self._execute(f"SELECT {_COLUMNS} FROM {table.items}"):
            try:
                row = self._row(table, found)
            except DamagedError as error:
                yield found[0], str(error)
            else:
                on_bytes(len(row.body))

    def _rows(self, table: Table, clause: str, values: Sequence[Any]) -> Generator[Row]:
        for found in self._execute(f"SELECT {_COLUMNS} FROM {table.items} {clause}", values):
            yield self._row(table, found)

    def _row(self, table: Table, found: Sequence[Any]) -> Row:
        number, hash_key, range_key, size, expires, crc, body = found
        key = Key(hash_key, range_key)
        try:
            whole = type(body) is bytes and _checksum(key, size, expires, body) == crc
        except TypeError:  # a number that became a text
            whole = False
        if not whole:
            raise DamagedError(
                f"table {table.name}: the item {number} at {hash_key!r}, {range_key!r} is not what was written: "
                "its checksum differs"
            )
        return Row(number, key, size, expires, body)


def _checksum(key: Key, size: int, expires_s: int | None, body: bytes) -> int:
    crc = zlib.crc32(key.range, zlib.crc32(key.hash, zlib.crc32(b"%d %d" % (size, expires_s or -1))))
    return zlib.crc32(body, crc)


def _table_checksum(number: int, name: str, created_ms: int, stored: bytes) -> int:
    return zlib.crc32(stored, zlib.crc32(f"{number} {name} {created_ms}".encode()))


def is_storage_error(error: BaseException) -> bool:
    """Tell whether the database refused: a full disk, a damaged page, a row that is not what was written."""
    return isinstance(error, sqlite3.Error | DamagedError)
