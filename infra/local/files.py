"""Files that only their owner reads: folders of mode 0700, files of mode 0600, and no symbolic link followed."""

import os
import shutil
from pathlib import Path

from streamgage.errors import ConfigError

UMASK = 0o077
"""Of every process of the stack: what it makes is its owner's alone."""


def make_private(folder: Path) -> None:
    """Make *folder*, or make the one that is there its owner's alone.

    Raises:
        ConfigError: it is a file, another user's, or cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            raise ConfigError(f"{folder} belongs to another user; choose a folder of your own")
        folder.chmod(0o700)
    except FileExistsError as error:
        raise ConfigError(f"{folder} is a file; it must be a folder") from error
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror or error}") from error


def open_private(path: Path, *, append: bool = False) -> int:
    """Return a descriptor that writes to *path*, at its end or from its start; close it yourself.

    Raises:
        ConfigError: *path* is a symbolic link, which somebody may have laid there for us to follow.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_APPEND if append else os.O_TRUNC)
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        if path.is_symlink():
            raise ConfigError(f"{path} is a symbolic link; it is not followed. Remove it") from error
        raise


def bound_log(path: Path, most_bytes: int) -> None:
    """Set what a log has aside, once it is larger than *most_bytes*, for what sandboxes write from now on.

    They hold it open and write at its end, so it is copied and emptied; a line that is written meanwhile may be lost.
    """
    if path.exists() and path.stat().st_size > most_bytes:
        aside = path.with_suffix(f"{path.suffix}.1")
        with path.open("rb") as source, os.fdopen(open_private(aside), "wb") as target:
            shutil.copyfileobj(source, target)
        os.truncate(path, 0)
