"""What a spool says of itself, and how it refuses.

::

    RetryableError
    └── SpoolError       the disk failed, or the spool is closed: nothing was taken
        └── SpoolFull    there is no room, in the spool or on the disk: nothing was taken; try again later
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from streamgage.errors import RetryableError

# No space, and what else a write comes to: a quota, a limit on files, a disk that is gone.
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}


class SpoolError(RetryableError):
    """The disk failed, or the spool is closed. Nothing was taken."""

    code = "spool"


class SpoolFull(SpoolError):
    """There is no room. Nothing was taken: keep it, refuse it, or try again once something was sent."""

    code = "spool_full"


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """What a spool holds: ``bytes`` as they lie on the disk, ``oldest_ms`` since the epoch, None where it is empty.

    ``dropped_records`` and ``dropped_events`` made room for others, ``damaged`` counts records that were lost; since the
    file came into being. ``epoch`` counts how often it was opened.
    """

    records: int
    events: int
    bytes: int
    oldest_ms: int | None
    dropped_records: int
    dropped_events: int
    damaged: int
    epoch: int


def told_of_disk(error: sqlite3.Error, path: Path) -> SpoolError:
    """Return what *error* of the disk means."""
    if getattr(error, "sqlite_errorcode", None) in _FULL:
        return SpoolFull(f"{path}: the disk takes no more ({error}); nothing was taken. Make room on it")
    return SpoolError(f"{path}: {error}; nothing of it is known to be safe")
