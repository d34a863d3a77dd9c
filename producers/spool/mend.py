"""A damaged spool is written anew from the rows that are whole; what was damaged is kept aside, and named."""

import base64
import json
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from producers.client.undelivered import sync_folder
from producers.spool.database import Database, Entry, Malformed
from producers.spool.files import create_private, exchange, log_of, mended_path, shm_of
from producers.spool.pages import PAGE_BYTES, Found, Pages, disk_bytes, survey
from producers.spool.remembered import rescue, rescued
from producers.spool.row import Spooled, State, encode_row
from producers.spool.wal import read_log
from streamgage.errors import ConfigError

_MOST_NAMED = 1_000  # damages of one mend that are named one by one
_MOST_LIST_BYTES = 16 << 20
_BATCH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done to a damaged file: how many rows were kept, what was damaged, and where the old one lies."""

    rows: int
    damage: tuple[str, ...]
    lost: int
    kept: Path | None


def damage_list(path: Path) -> Path:
    """Return where the damages of the spool *path* are named: NDJSON."""
    return path.with_name(path.name + ".damaged.ndjson")


def entry_of(spooled: Spooled, body: bytes) -> Entry:
    """Return how the queue has a row."""
    record = spooled.record
    return Entry(-spooled.priority, spooled.id, record.kept_ms or 0, record.events, disk_bytes(len(body)))


def open_whole(path: Path, *, fsync: bool, same_boot: bool) -> tuple[Database, State, Mended | None]:
    """Open *path*, an existing file, mended first if it has to be.

    Raises:
        ConfigError: it is something else, and was not changed.
        OSError, sqlite3.OperationalError: the disk has no room for what is to be written.
        Malformed: it is damaged as soon as it is mended.
    """
    mended = None
    damage = damage_of(path, same_boot=same_boot)
    if damage is not None:
        mended = mend(path, same_boot=same_boot, reason=damage)
    database = Database(path, fsync=fsync)
    try:
        return database, database.check(), mended
    except BaseException:
        database.close()
        raise


def damage_of(path: Path, *, same_boot: bool) -> str | None:
    """Return what keeps *path* from being opened as it is; None where nothing does. What is whole is not changed."""
    log = read_log(path, PAGE_BYTES, same_boot=same_boot)
    if log.damage is not None:
        return log.damage
    if not path.stat().st_size:
        return "the file is empty, and its write-ahead log is not" if log.views[0] else None
    try:
        database = Database(path, fsync=True)
    except Malformed as error:
        return str(error)
    try:
        database.check()
    except Malformed as error:
        return str(error)
    finally:
        database.close()
    return None


def mend(path: Path, *, same_boot: bool, reason: str) -> Mended:
    """Put a new file of all whole rows in the place of *path*, which nobody has open.

    Raises:
        ConfigError: there is nothing of a spool in it; it was not changed.
        OSError, sqlite3.OperationalError: the disk has no room for that; *path* is as it was.
    """
    log = read_log(path, PAGE_BYTES, same_boot=same_boot)
    with Pages(path, log) as pages:
        found = survey(pages, log)
        if not found.is_spool:
            raise ConfigError(f"{path} is no spool of this version ({reason}); nothing was changed in it")
        target = mended_path(path)
        create_private(target)
        database = Database(target, fsync=False)  # it is synced whole
        try:
            rows = _copy(pages, database, found)
            keys = _copy_remembered(path, database)
        finally:
            database.close()
    for each in (log_of(target), shm_of(target)):
        each.unlink(missing_ok=True)
    _sync(target)
    damage = found.damage or (reason,)
    if keys is not None:
        damage = (
            *damage,
            f"of the keys of batches {keys} are known still: a batch of another key that is sent again counts again",
        )
    named = [{"what": each} for each in damage[:_MOST_NAMED]]
    if len(damage) > _MOST_NAMED:
        named.append({"what": f"{len(damage) - _MOST_NAMED} more"})
    with suppress(OSError):  # the damaged file itself is kept
        note_damage(path, named)
    return Mended(rows, damage, len(found.missing), exchange(path))


def _copy(pages: Pages, database: Database, found: Found) -> int:
    """Write each whole row once, those that were removed not; return how many."""
    lost = found.state.damaged + len(found.missing)
    seen: set[int] = set()
    pending: list[tuple[Entry, bytes]] = []
    size = 0

    def write() -> None:
        nonlocal size
        with database.writing():
            database.insert(pending)
            database.set_state(
                replace(found.state, records=len(seen), id_sum=sum(seen) % 2**64, damaged=lost)
            )
        pending.clear()
        size = 0

    for row in pages.rows():
        if row.id in seen or row.id in found.removed:
            continue
        body = encode_row(row)
        seen.add(row.id)
        pending.append((entry_of(row, body), body))
        size += len(body)
        if size >= _BATCH_BYTES:
            write()
    write()
    return len(seen)


def _copy_remembered(path: Path, database: Database) -> int | None:
    """Copy the keys of batches that the damaged file still gives; return how many, None where it had none."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as damaged:
        if not damaged.execute("SELECT 1 FROM sqlite_master WHERE name = 'remembered'").fetchone():
            return None
        with database.writing():
            return rescue(database.connection, rescued(damaged))
    with path.open(
        "rb"
    ) as file:  # SQLite reads nothing of it: is the table's definition in the first page, or its log?
        had_any = b"TABLE remembered" in file.read(PAGE_BYTES)
    return 0 if had_any else None


def set_aside(path: Path, damaged: Sequence[tuple[Entry, str, bytes]]) -> None:
    """Put damaged rows on the list beside *path*, with what there is of them. Raises: OSError."""
    note_damage(
        path,
        [
            {
                "what": f"record {entry.id}: {reason}",
                "id": entry.id,
                "priority": -entry.rank,
                "kept_ms": entry.kept_ms,
                "events": entry.events,
                "row": base64.b64encode(body).decode(),
            }
            for entry, reason, body in damaged
        ],
    )


def note_damage(path: Path, damages: Sequence[Mapping[str, object]]) -> None:
    """Append *damages* to the list beside *path*, of which the last 16 MiB or more are kept. Raises: OSError."""
    name = damage_list(path)
    if name.exists() and name.stat().st_size > _MOST_LIST_BYTES:
        name.replace(name.with_name(name.name + ".1"))
    now_ms = time.time_ns() // 1_000_000
    lines = [json.dumps({"found_ms": now_ms, **each}) for each in damages]
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        view = memoryview("".join(f"{line}\n" for line in lines).encode())
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    finally:
        os.close(file)
    sync_folder(name)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
