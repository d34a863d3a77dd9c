"""The spool: sealed records on the disk, safe when ``append`` returns, until they are removed."""

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from producers.client.forks import renew_in_children
from producers.client.identity import Identity
from producers.spool.commits import Batch, GroupCommit
from producers.spool.contents import Bounds, Contents, WhenFull
from producers.spool.database import Malformed
from producers.spool.files import Ownership, create_private, finish_exchange, never_finalize
from producers.spool.mend import Mended, mend, note_damage, open_whole
from producers.spool.pages import PAGE_BYTES
from producers.spool.remembered import Remembered
from producers.spool.row import PRIORITIES, Spooled
from producers.spool.told import SpoolError, SpoolFull, SpoolStats, told_of_disk
from streamgage.errors import ConfigError
from streamgage.limits import MIB
from streamgage.records import SealedRecord

Done = TypeVar("Done")
_LOG = logging.getLogger("streamgage.spool")
_LEAST_BYTES = 16 * PAGE_BYTES
_MENDS = 3  # in a row
_TOLD = 5  # damages in one line of the log
_READ_BYTES, _READ_RECORDS = 4 * MIB, 1_000


class Spool:
    """Sealed records in a file, of one process, for any of its threads.

    ``identity`` marks the records that are sealed for it, with those of one priority apart (``identity_of``): a producer
    that seals gets its ``tags_for``. An identity is drawn when the spool is opened, and never read from the file: the file
    may be an old copy, and a counter that went on from there would use marks twice. So each time that it is opened is an
    *epoch*, with marks of its own; what earlier epochs left keeps the marks that are in its bytes.

    A forked child has no part in it: its calls raise SpoolError.
    """

    def __init__(
        self,
        path: Path,
        ownership: Ownership,
        *,
        bounds: Bounds,
        fsync: bool,
        rng: random.Random,
    ) -> None:
        """Use ``open``."""
        self.path = path
        self.mended: Mended | None = None
        self.on_append: Callable[[], None] | None = None
        self._ownership, self._bounds, self._fsync = ownership, bounds, fsync
        self._rng = rng
        self._lock = threading.RLock()
        self._commits = GroupCommit[Batch](self._commit)
        self._identities: dict[int, Identity] = {}
        self._contents: Contents | None = None
        self._is_closed = False
        self._load()
        renew_in_children(self)

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        max_bytes: int = 1 << 30,
        when_full: WhenFull = "refuse",
        most_remembered: int = 1_000_000,
        fsync: bool = True,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        rng: random.Random | None = None,
    ) -> Self:
        """Open the spool in the file *path*, mended if it is damaged, or a new one.

        Args:
            path: the file; beside it lie its log, its lock, and what was damaged.
            max_bytes: how large the file may become. Its log takes some 4 MB beside it.
            when_full: ``append`` raises SpoolFull, or drops what has the lowest priority, the oldest of it first.
            most_remembered: of how many batches the keys are kept (``append``), some 96 bytes of *max_bytes* each.
            fsync: whether what was taken survives a power cut; without, it survives the end of the process.
            now_ms: the time of day, ms since the epoch.
            rng: dice for identities; the system's own but in a simulation.

        Raises:
            ConfigError: another process has it, it is no spool, or it cannot be written; says what to do.
        """
        if max_bytes < _LEAST_BYTES or when_full not in ("refuse", "drop_oldest"):
            raise ConfigError(
                f"a spool of max_bytes {max_bytes}, when_full {when_full!r}: at least {_LEAST_BYTES}; "
                "refuse or drop_oldest"
            )
        place = Path(path)
        ownership = Ownership(place)
        try:
            finish_exchange(place)
            if create_private(place) and ownership.was_used:
                _LOG.error("%s is gone, or empty, and was a spool before: a new one begins", place)
                note_damage(place, [{"what": "the file was gone, or empty: what was in it is lost"}])
            return cls(
                place,
                ownership,
                bounds=Bounds(max_bytes, when_full, now_ms, most_remembered),
                fsync=fsync,
                rng=rng or random.SystemRandom(),
            )
        except (OSError, sqlite3.Error, Malformed) as error:
            ownership.release()
            raise ConfigError(
                f"{place}: cannot be opened, or mended ({error}); mending needs as much room as the file takes"
            ) from error
        except BaseException:
            ownership.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def identity(self) -> Identity:
        """Who seals records of priority 0."""
        return self.identity_of(0)

    def identity_of(self, priority: int) -> Identity:
        """Return who seals records of *priority*: what goes out of turn would leave gaps among the marks of others."""
        with self._lock:
            if priority not in self._identities:
                self._identities[priority] = Identity(self._rng)
            return self._identities[priority]

    @property
    def stats(self) -> SpoolStats:
        """What it holds now. Raises: SpoolError."""
        return self._run(Contents.stats)

    def append(
        self,
        records: Sequence[SealedRecord],
        *,
        priority: int = 0,
        remember: Sequence[Remembered] = (),
    ) -> None:
        """Return once *records* are on the disk. Calls of several threads share a transaction.

        Args:
            records: all of them are taken, or none.
            priority: from -128 to 127; a higher one is sent first.
            remember: the batches that *records* hold, written with them or not at all; none is known yet (``recall``).

        Raises:
            SpoolFull: there is no room.
            SpoolError: the disk failed. What was under way may be in it all the same: appended again, it counts once.
            ValueError: one is no Kinesis record.
        """
        if priority not in PRIORITIES:
            raise ValueError(f"priority {priority} is not from -128 to 127")
        if not records:
            return
        self._commits.commit(Batch(tuple(records), priority, tuple(remember)))

    def head(self, max_bytes: int, max_records: int, *, skip: Collection[int] = ()) -> Sequence[Spooled]:
        """Return what is to be sent next: by priority, of one priority in the order of ``append``; at least one, if any.

        Args:
            max_bytes: of data and partition keys.
            max_records: how many at most.
            skip: ids to pass over, for they are being sent. ``drop_oldest`` spares them, and what is returned.

        A record that turns out to be damaged is set aside, named, and passed over.
        """
        return self._run(lambda contents: contents.head(max_bytes, max_records, skip))

    def recall(self, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the content of those of *keys* under which batches were taken, as far as it is remembered.

        Two days at least, or the last million, or as many as *most_remembered* of ``open``. Raises: SpoolError.
        """
        return self._run(lambda contents: contents.recall(keys))

    def remove(self, ids: Iterable[int]) -> None:
        """Forget *ids*, those that it has: the stream has them. After a power cut some may come again.

        Raises: SpoolError, the disk takes nothing. Try again later; should the process end before, they come again.
        """
        wanted = tuple(ids)
        if wanted:
            self._run(lambda contents: contents.remove(wanted))

    def refuse(self, spooled: Spooled, reason: str) -> None:
        """Set aside a record that the stream will never take, beside the damaged. Raises: SpoolError."""
        self._run(lambda contents: contents.refuse(spooled.id, reason))

    def verify(self) -> int:
        """Read every record over, set aside those that are damaged; return how many these are. Raises: SpoolError."""
        return self._run(Contents.verify)

    def records(self) -> Iterator[Spooled]:
        """Yield all that it holds, in the order it would be sent. Raises: SpoolError."""
        skip: set[int] = set()
        while found := self.head(_READ_BYTES, _READ_RECORDS, skip=skip):
            skip |= {each.id for each in found}
            yield from found

    def close(self) -> None:
        """Give it up; what is in it stays. Closing again does nothing."""
        with self._lock:
            self._is_closed = True
            self._let_go()
            self._ownership.release()

    def renew_in_child(self) -> None:
        """Have no part in it, in a forked child: its parent goes on. SQLite must not even close the file here."""
        self._lock = threading.RLock()
        self._commits = GroupCommit[Batch](self._commit)
        self._is_closed = True
        if self._contents is not None:
            never_finalize(self._contents.connection)
        self._contents = None
        self._ownership.release()

    def _load(self) -> Contents:
        """Open the file, as another epoch. Raises: ConfigError, OSError, sqlite3.Error."""
        database, state, mended = open_whole(
            self.path, fsync=self._fsync, same_boot=self._ownership.same_boot
        )
        if mended is not None:
            self._tell(mended)
        try:
            self._contents = Contents(database, self.path, state, self._bounds)
        except BaseException:
            database.close()
            raise
        self._ownership.note()
        return self._contents

    def _run(self, what: Callable[[Contents], Done]) -> Done:
        """Do *what* with the open file, which is mended where it turns out to be damaged. Raises: SpoolError."""
        with self._lock:
            if self._is_closed:
                raise SpoolError(f"{self.path}: closed, or a forked child's, which has no part in it")
            try:
                for _ in range(_MENDS):
                    contents = self._contents or self._load()
                    try:
                        return what(contents)
                    except Malformed as error:
                        self._let_go()
                        self._tell(mend(self.path, same_boot=True, reason=str(error)))
            except sqlite3.Error as error:
                told = told_of_disk(error, self.path)
                if not isinstance(told, SpoolFull):  # what SQLite has in memory is not to be trusted then
                    self._let_go()
                raise told from error
            except (ConfigError, OSError, Malformed) as error:
                raise SpoolError(f"{self.path}: cannot be opened again, or mended: {error}") from error
        raise SpoolError(f"{self.path}: damaged again as soon as it is mended: is the disk failing?")

    def _let_go(self) -> None:
        """Close the file; the next call opens it anew."""
        contents, self._contents = self._contents, None
        if contents is not None:
            contents.close()

    def _commit(self, batches: Sequence[Batch]) -> None:
        """Write *batches* in one transaction; each that is not written has its error."""
        try:
            self._run(lambda contents: contents.write(batches))
        except SpoolError as error:
            for each in batches:
                each.error = type(error)(str(error))
        if self.on_append is not None:
            self.on_append()

    def _tell(self, mended: Mended) -> None:
        self.mended = mended
        _LOG.error(
            "%s was damaged and is mended: %d records are whole, %d are known to be lost (%s). The damaged file is %s",
            self.path,
            mended.rows,
            mended.lost,
            "; ".join(mended.damage[:_TOLD]) + ("; …" if len(mended.damage) > _TOLD else ""),
            mended.kept,
        )
