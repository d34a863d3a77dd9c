"""What is in an open spool, and what each call changes of it: one transaction a change, then what is remembered of it."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from producers.spool.commits import Batch
from producers.spool.database import Database, Entry
from producers.spool.mend import entry_of
from producers.spool.mend import set_aside as note_aside
from producers.spool.pages import EPOCH_SHIFT
from producers.spool.remembered import ROW_BYTES, Remembered
from producers.spool.row import Spooled, State, decode_row, encode_row
from producers.spool.told import SpoolFull, SpoolStats

WhenFull = Literal["refuse", "drop_oldest"]
_LOG = logging.getLogger("streamgage.spool")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a spool may become, what happens then, and what time it is."""

    max_bytes: int
    when_full: WhenFull
    now_ms: Callable[[], int]
    most_remembered: int = 1_000_000


class Contents:
    """The rows of an open file. One thread at a time.

    ``lent`` are the ids that somebody is sending: they are not dropped. Each call raises Malformed and sqlite3.Error, as
    ``Database`` does; then nothing changed, and what is here is to be made anew.
    """

    def __init__(self, database: Database, path: Path, state: State, bounds: Bounds) -> None:
        """Begin another epoch: *state* is that of the one before. It is written with the first row."""
        self.path, self._database = path, database
        self._bounds = bounds
        self._events, self._bytes = database.totals()
        self._memory = database.memory(bounds.most_remembered)
        self.lent: Collection[int] = ()
        self._number = 0
        self.state = replace(state, epoch=state.epoch + 1)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def connection(self) -> object:
        """What a forked child must never let go of."""
        return self._database.connection

    def stats(self) -> SpoolStats:
        """Return what it holds."""
        state = self.state
        return SpoolStats(
            records=state.records,
            events=self._events,
            bytes=self._bytes,
            oldest_ms=self._database.oldest_ms(),
            dropped_records=state.dropped_records,
            dropped_events=state.dropped_events,
            damaged=state.damaged,
            epoch=state.epoch,
        )

    def recall(self, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the content of those of *keys* that are remembered."""
        return self._memory.find(keys)

    def write(self, batches: Sequence[Batch]) -> None:
        """Write *batches* in one transaction; each that is not written has its error."""
        room_bytes = self._bounds.max_bytes - self._bytes - ROW_BYTES * self._memory.count
        remembered: list[Remembered] = []
        rows: list[tuple[Entry, bytes]] = []
        dropped: dict[int, Entry] = {}
        for batch in batches:
            batch.error = None
            try:
                mine = self._rows_of(batch)
            except ValueError as error:
                batch.error = error
                continue
            size = sum(entry.bytes for entry, _ in mine) + ROW_BYTES * len(batch.remembered)
            if size > room_bytes:
                more = self._droppable(dropped, batch, size - room_bytes)
                if more is None:
                    batch.error = self._full(size)
                    continue
                dropped |= more
                room_bytes += sum(each.bytes for each in more.values())
            room_bytes -= size
            rows += mine
            remembered += batch.remembered
        if not rows:
            return
        before = self.state
        after = self._without(before, dropped.values())
        after = replace(
            after,
            records=after.records + len(rows),
            id_sum=(after.id_sum + sum(entry.id for entry, _ in rows)) % 2**64,
            dropped_records=before.dropped_records + len(dropped),
            dropped_events=before.dropped_events + sum(each.events for each in dropped.values()),
        )
        with self._database.writing():
            self._database.delete(dropped.values())
            self._database.insert(rows)
            self._memory.add(remembered, self._bounds.now_ms())
            self._database.set_state(after)
        self.state = after
        self._events += sum(entry.events for entry, _ in rows) - sum(each.events for each in dropped.values())
        self._bytes += sum(entry.bytes for entry, _ in rows) - sum(each.bytes for each in dropped.values())

    def _rows_of(self, batch: Batch) -> list[tuple[Entry, bytes]]:
        """Return the rows of *batch*, numbered. Raises: ValueError."""
        now_ms = self._bounds.now_ms()
        rows: list[tuple[Entry, bytes]] = []
        for record in batch.records:
            self._number += 1
            spooled = Spooled(
                self.state.epoch << EPOCH_SHIFT | self._number,
                batch.priority,
                replace(record, kept_ms=record.kept_ms or now_ms),
            )
            body = encode_row(spooled)
            rows.append((entry_of(spooled, body), body))
        return rows

    def _droppable(self, dropped: Collection[int], batch: Batch, least_bytes: int) -> dict[int, Entry] | None:
        """Return what is to be dropped for *batch*: of no higher priority, not under way; None where that is too little."""
        found: dict[int, Entry] = {}
        if self._bounds.when_full == "refuse":
            return None
        for entry in self._database.entries(least_first=True):
            if least_bytes <= 0 or entry.rank < -batch.priority:
                break
            if entry.id not in dropped and entry.id not in self.lent:
                found[entry.id] = entry
                least_bytes -= entry.bytes
        return found if least_bytes <= 0 else None

    def _full(self, size: int) -> SpoolFull:
        return SpoolFull(
            f"{self.path}: {self._bytes} of {self._bounds.max_bytes} bytes are taken, and {size} more were to come; "
            "nothing of these was taken"
        )

    def head(self, max_bytes: int, max_records: int, skip: Collection[int]) -> Sequence[Spooled]:
        """Return what is to be sent next, without *skip*. What is damaged is set aside."""
        found: list[Spooled] = []
        damaged: list[tuple[Entry, str, bytes]] = []
        for entry in self._database.entries():
            if len(found) >= max_records:
                break
            if entry.id in skip:
                continue
            body = self._database.body(entry.id)
            try:
                spooled = _checked(entry, body)
            except ValueError as error:
                damaged.append((entry, str(error), body))
                continue
            size = len(spooled.record.data) + len(spooled.record.partition_key.encode())
            if found and size > max_bytes:
                break
            max_bytes -= size
            found.append(spooled)
        if damaged:
            self._set_aside(damaged)
        self.lent = {*skip, *(each.id for each in found)}
        return found

    def verify(self) -> int:
        """Read all of it over, set aside what is damaged, and return how many rows these are."""
        damaged = [
            (entry, reason, b"")
            for entry in self._database.entries()
            if (reason := _damage_of(entry, self._database.body(entry.id)))
        ]
        if damaged:
            self._set_aside([(each, why, self._database.body(each.id)) for each, why, _ in damaged])
        return len(damaged)

    def remove(self, ids: Collection[int]) -> None:
        """Delete those of *ids* that it has."""
        self._delete(self._database.entries_of(ids), self.state)

    def refuse(self, row_id: int, reason: str) -> None:
        """Set aside a row that is whole, and of no use."""
        entries = self._database.entries_of([row_id])
        self._set_aside([(each, reason, self._database.body(each.id)) for each in entries])

    def _delete(self, entries: Collection[Entry], state: State) -> None:
        """Delete *entries*, of which *state* tells everything but that they are gone."""
        after = self._without(state, entries)
        with self._database.writing(waited_for=False):
            self._database.delete(entries)
            self._database.set_state(after)
        self.state = after
        self._events -= sum(each.events for each in entries)
        self._bytes -= sum(each.bytes for each in entries)

    def _set_aside(self, damaged: Sequence[tuple[Entry, str, bytes]]) -> None:
        """Move damaged rows into the list beside the file; where the disk has no room for that, they stay, passed over."""
        for entry, reason, _ in damaged:
            _LOG.error(
                "%s: record %d, of %d events, is set aside: %s", self.path, entry.id, entry.events, reason
            )
        try:
            note_aside(self.path, damaged)
        except OSError:
            return
        state = replace(self.state, damaged=self.state.damaged + len(damaged))
        self._delete([entry for entry, _, _ in damaged], state)

    @staticmethod
    def _without(state: State, entries: Collection[Entry]) -> State:
        return replace(
            state,
            records=state.records - len(entries),
            id_sum=(state.id_sum - sum(each.id for each in entries)) % 2**64,
        )


def _checked(entry: Entry, body: bytes) -> Spooled:
    """Return the record in a row, if it is the one that *entry* means. Raises: ValueError."""
    spooled = decode_row(body)
    if (spooled.id, -spooled.priority) != (entry.id, entry.rank):
        raise ValueError(f"it is record {spooled.id} of priority {spooled.priority}")
    return spooled


def _damage_of(entry: Entry, body: bytes) -> str | None:
    try:
        _checked(entry, body)
    except ValueError as error:
        return str(error)
    return None
