"""The files of a spool, whose they are, and the names of those beside it."""

import ctypes
import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from producers.client.undelivered import sync_folder
from streamgage.errors import ConfigError

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PRIVATE = 0o600
KEPT_COPIES = 2  # of damaged files: each may be as large as the spool


def log_of(path: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of *path*."""
    return path.with_name(path.name + "-wal")


def shm_of(path: Path) -> Path:
    """Return where SQLite keeps the index of that log."""
    return path.with_name(path.name + "-shm")


class Ownership:
    """The lock file of a spool, held by one process.

    ``was_used``: it has been open before. ``same_boot``: and the machine has not gone down since.
    """

    def __init__(self, path: Path) -> None:
        """Take it. Raises: ConfigError, another process has it, or it cannot be made."""
        name = path.with_name(path.name + ".lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._file: int | None = os.open(name, flags, _PRIVATE)
        except OSError as error:
            raise ConfigError(f"{name}: cannot be opened ({error.strerror})") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _read(self._file).partition(" ")[0]
            os.close(self._file)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise ConfigError(f"{name}: cannot be locked ({error.strerror})") from error
            raise ConfigError(
                f"{path} is in use by process {owner or '?'}: a spool has one owner. Stop that one first"
            ) from error
        self._boot, noted = _boot_id(), _read(self._file)
        self.was_used = bool(noted)
        self.same_boot = bool(self._boot) and noted.partition(" ")[2] == self._boot

    def note(self) -> None:
        """Say whose it is, once it is open."""
        if self._file is not None:
            with suppress(OSError):  # on a full disk: the index beside the log is not believed then
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, f"{os.getpid()} {self._boot}".encode(), 0)

    def release(self) -> None:
        """Give it up; in a forked child, the child's copy only."""
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)


def create_private(path: Path) -> bool:
    """Make *path* a file of its owner only, if it is not there; return whether it, and its log, are empty.

    Raises: ConfigError.
    """
    try:
        is_new = not path.exists()
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _PRIVATE))
        if is_new:
            sync_folder(path)
        return not any(each.exists() and each.stat().st_size for each in (path, log_of(path)))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be opened ({error.strerror})") from error


def finish_exchange(path: Path) -> None:
    """End what a crash left of ``exchange``, if anything. To be called before the file is opened."""
    _mended(path).unlink(missing_ok=True)
    whole = _whole(path)
    if whole.exists():
        log_of(path).unlink(missing_ok=True)
        shm_of(path).unlink(missing_ok=True)
        whole.replace(path)
        sync_folder(path)


def exchange(path: Path) -> Path:
    """Put what was written to ``mended_path`` in the place of *path*, and return where the damaged file is kept.

    At each moment one of them is there whole: from the moment that the new one is called ``.whole`` it is the spool.
    """
    numbers = [
        int(each.suffix[1:])
        for each in path.parent.glob(f"{path.name}.damaged.*")
        if each.suffix[1:].isdigit()
    ]
    kept = path.with_name(f"{path.name}.damaged.{max(numbers, default=0) + 1}")
    for source, target in ((path, kept), (log_of(path), log_of(kept))):
        if source.exists():
            target.unlink(missing_ok=True)
            os.link(source, target)
    _mended(path).replace(_whole(path))
    sync_folder(path)
    finish_exchange(path)
    for number in sorted(numbers)[: -(KEPT_COPIES - 1)]:
        old = path.with_name(f"{path.name}.damaged.{number}")
        old.unlink(missing_ok=True)
        log_of(old).unlink(missing_ok=True)
    return kept


def mended_path(path: Path) -> Path:
    """Return where a new file is to be written, from the beginning."""
    _mended(path).unlink(missing_ok=True)
    return _mended(path)


def _mended(path: Path) -> Path:
    return path.with_name(path.name + ".mended")


def _whole(path: Path) -> Path:
    return path.with_name(path.name + ".whole")


def _read(file: int) -> str:
    return os.pread(file, 200, 0).decode(errors="replace")


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def never_finalize(thing: object) -> None:
    """Keep *thing* for ever: in a forked child SQLite, closing a file, would write to the parent's."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
