"""The SQLite file: opened by one process, checked, private, and with an identity of its own.

::

    DATA/lock        held (flock) while a process serves this directory; says who, and whether it was closed
    DATA/tables.db   everything, with its write-ahead log beside it while it is open
    DATA/identity    the identity that tables.db has: a file that was emptied or exchanged is found

Source: https://sqlite.org/pragma.html, https://sqlite.org/wal.html (checked 2026-11-28).
"""

import fcntl
import os
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from infra.local.dynamodb.wal import problem_of
from streamgage.errors import ConfigError

APPLICATION_ID = 0x53474442  # "SGDB"
FORMAT = 1
CLOSED = "closed"
_CHECKPOINT_PAGES = 4000
_CACHE_KIB = 64 * 1024
_STATEMENTS = 512  # prepared ones that are kept
_SCHEMA = (
    "CREATE TABLE meta (identity TEXT NOT NULL, created_ms INTEGER NOT NULL)",
    (
        "CREATE TABLE tables (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, "
        "created_ms INTEGER NOT NULL, stored TEXT NOT NULL, crc INTEGER NOT NULL)"
    ),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells this store from every other, and since when it is there."""

    identity: str
    created_ms: int

    def __str__(self) -> str:
        """Return it as it is noted beside the store."""
        return f"{self.identity} {self.created_ms}"


@dataclass(frozen=True, slots=True)
class Database:
    """An open store. ``lock`` is the file that says whose it is; None in memory, which has no ``path`` either."""

    connection: sqlite3.Connection
    identity: Identity
    path: Path | None
    lock: int | None

    def close(self) -> None:
        """Write everything into the one file and give the directory up."""
        try:
            if self.lock is not None:
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                write_note(self.lock, CLOSED)  # from here on the write-ahead log may go
        finally:
            self.connection.close()
            if self.lock is not None:
                os.close(self.lock)


def open_database(directory: Path | None, *, now_ms: int, fsync: bool = False) -> Database:
    """Open the store in *directory*, or a new one in memory.

    With *fsync*, what is acknowledged survives power loss; without, SIGKILL, and a power loss may take the last
    transactions, none in part.

    Raises:
        ConfigError: another process owns it, it is damaged, or it is no store of this version.
    """
    if directory is None:
        connection = _connect(":memory:")
        return Database(connection, _create(connection, now_ms), None, None)
    lock = _own(directory)
    try:
        return _open(directory, lock, now_ms=now_ms, fsync=fsync)
    except BaseException:
        os.close(lock)
        raise


def _open(directory: Path, lock: int, *, now_ms: int, fsync: bool) -> Database:
    path, note = directory / "tables.db", directory / "identity"
    left = read_note(lock)
    if problem := problem_of(path, same_boot=left.boot in ("", boot_id()), was_open=left.is_open):
        raise ConfigError(
            f"{problem}: acknowledged writes are lost. Nothing was changed; `streamgage doctor` says how to go on"
        )
    noted = noted_identity(directory)
    was = None if noted is None else noted.partition(" ")[0]
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        path.chmod(0o600)
        connection = _connect(str(path))
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"{path}: cannot be opened: {error}") from error
    try:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        identity = check_database(connection, path, was) or _create(connection, now_ms)
    except sqlite3.Error as error:
        connection.close()
        raise damaged(path, str(error)) from error
    except BaseException:
        connection.close()
        raise
    text = str(identity)
    if noted is None:
        _note(note, text)
    elif noted != text:
        connection.close()
        raise damaged(path, f"it says that it is {text}, and {note} that it is {noted}")
    write_note(lock, f"open {os.getpid()} {boot_id()}")
    return Database(connection, identity, path, lock)


def noted_identity(directory: Path) -> str | None:
    """Return what ``DATA/identity`` says, None where it is not there."""
    try:
        text = (directory / "identity").read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return "".join(each if each.isprintable() else "?" for each in text)  # it is shown where it is damaged


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS)


def _create(connection: sqlite3.Connection, now_ms: int) -> Identity:
    identity = Identity(uuid.uuid4().hex, now_ms)
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES (?, ?)", (identity.identity, identity.created_ms))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")
    return identity


def check_database(connection: sqlite3.Connection, path: Path, noted: str | None) -> Identity | None:
    """Return the identity of the store at *path*, None where it is empty and was never another.

    Raises:
        ConfigError: it is damaged, not ours, or not the one that was here.
    """
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        if noted is not None:
            raise damaged(path, f"it is empty, and it held the store {noted}")
        return None
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ConfigError(f"{path} is a database of another program; nothing was changed in it")
    if (found := connection.execute("PRAGMA user_version").fetchone()[0]) != FORMAT:
        raise ConfigError(f"{path} has format {found}, and this version reads format {FORMAT}")
    (problem,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if problem != "ok":
        raise damaged(path, problem)
    rows = connection.execute("SELECT identity, created_ms FROM meta").fetchall()
    if len(rows) != 1:
        raise damaged(path, f"it has {len(rows)} identities")
    identity = Identity(*rows[0])
    if noted not in (None, identity.identity):
        raise ConfigError(
            f"{path} is the store {identity.identity}, and {path.parent} held the store {noted}: it was exchanged. "
            f"Put the right one back, or, if this is the one you want, delete {path.parent / 'identity'}"
        )
    return identity


def damaged(path: Path, problem: str) -> ConfigError:
    """Return the error of a store at *path* that is not as it was written."""
    return ConfigError(
        f"{path} is damaged: {problem}. The tables cannot be trusted. Put a copy back, or start afresh by deleting "
        "the whole home, so that the stream is read again"
    )


def _note(path: Path, text: str) -> None:
    """Write *text*, whole or not at all, for the owner alone."""
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _own(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot use {directory} as data directory: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = read_note(lock).pid or "unknown"
        os.close(lock)
        raise ConfigError(f"data directory {directory} is in use by process {owner}") from error
    return lock


class Note(NamedTuple):
    """What the last process wrote into the lock: whether it left the store open, and in which boot of the machine."""

    is_open: bool
    pid: str
    boot: str


def read_note(lock: int) -> Note:
    """Return what stands in the file *lock*; a version before this one wrote its pid alone, and never that it closed."""
    words = os.pread(lock, 100, 0).decode("ascii", "replace").split()
    if len(words) == 3 and words[0] == "open":
        return Note(is_open=True, pid=words[1], boot=words[2])
    return Note(is_open=False, pid=words[0] if words and words[0].isdecimal() else "", boot="")


def write_note(lock: int, text: str) -> None:
    """Replace what stands in the file *lock*."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, text.encode("ascii"), 0)


def boot_id() -> str:
    """Return what tells this boot of the machine from every other, - where it has nothing of the kind."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "-"
