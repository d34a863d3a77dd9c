"""The spool's file as SQLite has it: two tables and a state, and keys that are remembered, written together or not at all.

The log is synced at each COMMIT (``synchronous=FULL``), the file at each checkpoint, in the order that a power cut between
any two leaves what was committed. Removals are not waited for: what comes back is sent again, and its mark is known.

Source: https://sqlite.org/pragma.html, https://sqlite.org/wal.html, https://sqlite.org/rescode.html (checked 2026-11-29).
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from producers.spool.pages import PAGE_BYTES, QUEUE_ROOT, RECORDS_ROOT, STATE_ROOT
from producers.spool.remembered import Memory
from producers.spool.row import State, decode_state

APPLICATION_ID = 0x53475350  # "SGSP"
FORMAT = 1
_CHECKPOINT_PAGES = 500  # 4 MB
_LARGEST_LOG_BYTES = 16 << 20  # what a large transaction made of the log is given back down to this
_CACHE_KIB = 4_096
_SCHEMA = (
    "CREATE TABLE records (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    (
        "CREATE TABLE queue (rank INTEGER NOT NULL, id INTEGER NOT NULL, kept_ms INTEGER NOT NULL, "
        "events INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (rank, id)) WITHOUT ROWID"
    ),
    "CREATE TABLE state (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
)


class Malformed(Exception):
    """The file is not as SQLite, or we, left it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the queue. The lowest ``rank`` goes first: it is the priority, negated; ``bytes`` are those on the disk."""

    rank: int
    id: int
    kept_ms: int
    events: int
    bytes: int


class Database:
    """An open file. One thread at a time. Methods raise Malformed, and sqlite3.OperationalError of a disk that fails."""

    def __init__(self, path: Path, *, fsync: bool) -> None:
        """Open *path*, an existing file; an empty one becomes a spool. Nothing is changed in one of another program."""
        self.path = path
        self._synchronous = "FULL" if fsync else "NORMAL"
        with _told(path):
            self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self.connection.close()
                raise

    def _prepare(self) -> None:
        run = self.connection.execute
        run(f"PRAGMA page_size = {PAGE_BYTES}")
        is_new = run("PRAGMA page_count").fetchone()[0] == 0
        found = [run(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if not is_new and found != [APPLICATION_ID, FORMAT]:
            raise Malformed(f"it is format {found[1]} of program {found[0]:x}")
        run(f"PRAGMA cache_size = -{_CACHE_KIB}")
        run("PRAGMA secure_delete = FAST")
        run("PRAGMA fullfsync = 1")  # macOS: a sync that reaches the disk
        run(f"PRAGMA synchronous = {self._synchronous}")
        if is_new:  # before it has a log, so that it is a spool as soon as it is anything
            self._create()
        run("PRAGMA journal_mode = WAL").fetchall()
        run(f"PRAGMA journal_size_limit = {_LARGEST_LOG_BYTES}")
        run(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")

    def _create(self) -> None:
        with self.writing():
            for statement in _SCHEMA:
                self.connection.execute(statement)
            self.set_state(State())
            self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self.connection.execute(f"PRAGMA user_version = {FORMAT}")

    def check(self) -> State:
        """Return the state, if all that it speaks of is there. Rows are judged one by one, when they are read."""
        with _told(self.path):
            run = self.connection.execute
            (problem,) = run("PRAGMA quick_check(1)").fetchone()
            if problem != "ok":
                raise Malformed(" ".join(problem.split()))
            roots = dict(run("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'").fetchall())
            roots.pop("remembered", None)  # made with the first key: its root is anywhere
            if roots != {"records": RECORDS_ROOT, "queue": QUEUE_ROOT, "state": STATE_ROOT}:
                raise Malformed("its tables are not those of a spool")
            state = self.state()
            for table in ("records", "queue"):
                count = total = 0
                for (row_id,) in run(f"SELECT id FROM {table}"):  # noqa: S608 - one of two names above
                    count, total = count + 1, total + row_id
                if not state.agrees(count, total):
                    raise Malformed(
                        f"{state.records} records should be in it, and {table} has {count}, or others"
                    )
            return state

    def state(self) -> State:
        """Return what the last transaction said."""
        with _told(self.path):
            row = self.connection.execute("SELECT body FROM state WHERE id = 1").fetchone()
            if row is None:
                raise Malformed("its state is missing")
            return decode_state(row[0])

    def set_state(self, state: State) -> None:
        """Write it, within ``writing``."""
        self.connection.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (state.encode(),))

    @contextmanager
    def writing(self, *, waited_for: bool = True) -> Iterator[None]:
        """Have what is written within it committed, or none of it. Not *waited_for*: a power cut may undo it."""
        run = self.connection.execute
        with _told(self.path):
            if not waited_for:
                run("PRAGMA synchronous = NORMAL")
            try:
                run("BEGIN IMMEDIATE")
                yield
                run("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    run("ROLLBACK")
                raise
            finally:
                if not waited_for:
                    run(f"PRAGMA synchronous = {self._synchronous}")

    def insert(self, entries: Sequence[tuple[Entry, bytes]]) -> None:
        """Add rows with their bodies, within ``writing``."""
        self.connection.executemany(
            "INSERT INTO records VALUES (?, ?)", [(each.id, body) for each, body in entries]
        )
        self.connection.executemany(
            "INSERT INTO queue VALUES (?, ?, ?, ?, ?)",
            [(each.rank, each.id, each.kept_ms, each.events, each.bytes) for each, _ in entries],
        )

    def delete(self, entries: Iterable[Entry]) -> None:
        """Delete rows, within ``writing``."""
        keys = [(each.rank, each.id) for each in entries]
        self.connection.executemany("DELETE FROM queue WHERE rank = ? AND id = ?", keys)
        self.connection.executemany("DELETE FROM records WHERE id = ?", [(row_id,) for _, row_id in keys])

    def entries(self, *, least_first: bool = False) -> Iterator[Entry]:
        """Yield the queue in the order it is sent; or by what matters least, and of that the oldest first."""
        order = "rank DESC, id" if least_first else "rank, id"
        with _told(self.path):
            for row in self.connection.execute(
                f"SELECT rank, id, kept_ms, events, bytes FROM queue ORDER BY {order}"  # noqa: S608 - one of two above
            ):
                yield Entry(*row)

    def entries_of(self, ids: Iterable[int]) -> list[Entry]:
        """Return those of *ids* that are in the queue."""
        with _told(self.path):
            run, ranks = self.connection.execute, self._ranks()
            found = [
                run(
                    "SELECT rank, id, kept_ms, events, bytes FROM queue WHERE rank = ? AND id = ?",
                    (rank, row_id),
                ).fetchone()
                for row_id in dict.fromkeys(ids)
                for rank in ranks
            ]
        return [Entry(*row) for row in found if row is not None]

    def oldest_ms(self) -> int | None:
        """Return since when the oldest is kept, in ms since the epoch; None where there is none."""
        with _told(self.path):
            oldest = "SELECT kept_ms FROM queue WHERE rank = ? ORDER BY id LIMIT 1"
            return min(
                (self.connection.execute(oldest, (rank,)).fetchone()[0] for rank in self._ranks()),
                default=None,
            )

    def totals(self) -> tuple[int, int]:
        """Return how many events it holds, and how many bytes of disk they take."""
        with _told(self.path):
            events, size = self.connection.execute("SELECT sum(events), sum(bytes) FROM queue").fetchone()
            return events or 0, size or 0

    def _ranks(self) -> list[int]:
        """Return the ranks that occur, by a look-up each."""
        ranks: list[int] = []
        row = self.connection.execute("SELECT min(rank) FROM queue").fetchone()
        while row[0] is not None:
            ranks.append(row[0])
            row = self.connection.execute("SELECT min(rank) FROM queue WHERE rank > ?", (row[0],)).fetchone()
        return ranks

    def memory(self, most: int) -> Memory:
        """Return what is remembered in it, *most* at most."""
        with _told(self.path):
            return Memory(self.connection, most)

    def body(self, row_id: int) -> bytes:
        """Return the row *row_id* as it was written."""
        with _told(self.path):
            row = self.connection.execute("SELECT body FROM records WHERE id = ?", (row_id,)).fetchone()
            if row is None or not isinstance(row[0], bytes):
                raise Malformed(f"record {row_id} is missing")
            return row[0]

    def close(self) -> None:
        """Write everything into the one file."""
        self.connection.close()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise Malformed for what SQLite says of a damaged file; what the disk says goes through."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in _DAMAGED:
            raise Malformed(f"{path}: {error}") from error
        raise
    except (sqlite3.DatabaseError, ValueError, UnicodeDecodeError) as error:
        raise Malformed(f"{path}: {error}") from error


_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA}
