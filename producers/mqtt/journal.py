"""What the bridge remembers on the disk: ids of messages, and the batch that is on its way into the spool.

A batch and its ids are one transaction, waited for (``synchronous=FULL``). Then the batch is appended to the spool, and only
then struck out here. Killed in between, the next bridge appends the same sealed records again, by whose marks they count once:
so an id is remembered exactly where its events are safe.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from producers.spool.files import create_private
from producers.spool.row import Spooled, decode_row, encode_row
from producers.spool.told import SpoolError, told_of_disk
from streamgage.errors import ConfigError
from streamgage.records import SealedRecord

MOST_IDS = 1_000_000
APPLICATION_ID = 0x53474D51  # "SGMQ"
FORMAT = 1
_SCHEMA = (
    "CREATE TABLE ids (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE)",
    "CREATE TABLE batch (number INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID",
)
_ASKED = 500  # ids in one question: SQLite has taken 999 parameters since ever
_LARGEST_LOG_BYTES = 16 << 20


class Journal:
    """A file beside the spool, of the process that owns the spool. One thread at a time.

    Each call raises SpoolError where the disk fails: nothing changed, and the call may be made again.
    """

    def __init__(self, path: Path, *, most_ids: int = MOST_IDS) -> None:
        """Open the file *path*, or a new one. The newest *most_ids* are remembered.

        Raises: ConfigError, it cannot be opened; says what to do.
        """
        self.path, self._most_ids = path, most_ids
        create_private(path)
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise ConfigError(
                f"{path}: cannot be opened ({error}). Move it away to begin with none: what is known by its id, and comes "
                "again, counts again then"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _prepare(self) -> None:
        run = self._connection.execute
        is_new = run("PRAGMA page_count").fetchone()[0] == 0
        found = [run(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if not is_new and found != [APPLICATION_ID, FORMAT]:
            raise sqlite3.DatabaseError(f"it is format {found[1]} of program {found[0]:x}")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA fullfsync = 1")
        if is_new:
            with self._writing():
                for statement in _SCHEMA:
                    run(statement)
                run(f"PRAGMA application_id = {APPLICATION_ID}")
                run(f"PRAGMA user_version = {FORMAT}")
        run("PRAGMA journal_mode = WAL").fetchall()
        run(f"PRAGMA journal_size_limit = {_LARGEST_LOG_BYTES}")
        if (problem := run("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(" ".join(problem.split()))
        self._number = run("SELECT coalesce(max(number), 0) FROM ids").fetchone()[0]

    def known(self, ids: Iterable[bytes]) -> set[bytes]:
        """Return those of *ids* that are remembered."""
        found: set[bytes] = set()
        wanted = iter(ids)
        with self._told():
            while some := list(islice(wanted, _ASKED)):
                marks = ",".join("?" * len(some))
                rows = self._connection.execute(f"SELECT id FROM ids WHERE id IN ({marks})", some)  # noqa: S608 - marks only
                found.update(row[0] for row in rows)
        return found

    def write(
        self, ids: Sequence[bytes], records: Sequence[SealedRecord], facts: Mapping[str, str], *, now_ms: int
    ) -> None:
        """Remember *ids* and *facts*, and *records* until they are ``struck_out``; return when that is on the disk."""
        bodies = [
            encode_row(Spooled(number, 0, _kept(record, now_ms))) for number, record in enumerate(records, 1)
        ]
        number = self._number
        with self._told(), self._writing():
            run, many = self._connection.execute, self._connection.executemany
            run("DELETE FROM batch")
            many("INSERT INTO batch VALUES (?, ?)", list(enumerate(bodies, 1)))
            many("INSERT OR IGNORE INTO ids VALUES (?, ?)", list(enumerate(ids, number + 1)))
            run("DELETE FROM ids WHERE number <= ?", (number + len(ids) - self._most_ids,))
            many("INSERT OR REPLACE INTO facts VALUES (?, ?)", list(facts.items()))
        self._number = number + len(ids)

    def strike_out(self) -> None:
        """Forget the batch: the spool has it. Not waited for: appended again, it counts once."""
        with self._told():
            self._connection.execute("PRAGMA synchronous = NORMAL")
            try:
                self._connection.execute("DELETE FROM batch")
            finally:
                self._connection.execute("PRAGMA synchronous = FULL")

    def unfinished(self) -> list[SealedRecord]:
        """Return the batch that is not struck out: it may be in the spool, or not. Raises: ConfigError, it is damaged."""
        with self._told():
            rows = self._connection.execute("SELECT body FROM batch ORDER BY number").fetchall()
        try:
            return [decode_row(body).record for (body,) in rows]
        except ValueError as error:
            raise ConfigError(
                f"{self.path}: the batch in it is damaged ({error}); move the file away"
            ) from error

    def facts(self) -> dict[str, str]:
        """Return all facts by name."""
        with self._told():
            return dict(self._connection.execute("SELECT name, text FROM facts").fetchall())

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            yield
            run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            told: SpoolError = told_of_disk(error, self.path)
            raise told from error


def _kept(record: SealedRecord, now_ms: int) -> SealedRecord:
    if record.kept_ms is not None:
        return record
    return SealedRecord(
        record.partition_key, record.data, record.explicit_hash_key, record.events, kept_ms=now_ms
    )
