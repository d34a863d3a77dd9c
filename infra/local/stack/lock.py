"""One command at a time on a home: a file that the kernel locks for as long as its holder lives.

The file says who holds it, by pid and start time, so that whoever is refused can say it. A holder that was killed holds
nothing; what it wrote is then of a process that does not run, and is passed over.
"""

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local.stack.processes import Identity, identify, runs
from streamgage.errors import ConfigError

_UNNAMED_S = 2.0  # how long a holder may take to write its name
_POLL_S = 0.01
_NAME_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a home: ``doing`` is its command (``up``, ``demo``)."""

    process: Identity
    doing: str


class Held(ConfigError):
    """Somebody else is at work there. ``holder`` is None where it does not say who it is."""

    def __init__(self, home: Path, holder: Holder | None) -> None:
        self.holder = holder
        if holder is None:
            super().__init__(f"another process is at work in {home}, and does not say which; try again")
        elif holder.doing == "up":
            super().__init__(
                f"a stack is running in {home} already (pid {holder.process.pid}). See it: streamgage status. "
                "Stop it: streamgage down"
            )
        else:
            pid = holder.process.pid
            super().__init__(
                f"`streamgage {holder.doing}` (pid {pid}) is at work in {home}: let it end, or end it: kill {pid}"
            )


class Hold:
    """A home that this process holds, until ``release`` or its death; children do not inherit it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor

    def is_lost(self) -> bool:
        """Tell whether the file is gone or another: the home was removed under its holder."""
        try:
            there, ours = self._path.stat(), os.fstat(self._descriptor)
        except OSError:
            return True
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Let go. The file stays: who removed it would part those that wait for it from those that come."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold(path: Path, doing: str) -> Hold:
    """Lock *path*, whose folder is there, and write down that this process does *doing*.

    Raises:
        Held: somebody else does; the message says who, and what to do.
        ConfigError: it cannot be locked.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        _lock(path, descriptor)
        own = identify(os.getpid())
        if own is not None:
            _write(descriptor, Holder(own, doing))
    except BaseException:
        os.close(descriptor)
        raise
    return Hold(path, descriptor)


def _lock(path: Path, descriptor: int) -> None:
    deadline_s = time.monotonic() + _UNNAMED_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read(descriptor)
            if (holder is not None and runs(holder.process)) or time.monotonic() > deadline_s:
                raise Held(path.parent, holder) from None
            time.sleep(_POLL_S)  # it has just got it, or has just died
        except OSError as error:
            raise _unusable(path, error) from error
        else:
            return


def _write(descriptor: int, holder: Holder) -> None:
    """Say who holds it. On a full disk nobody can be told, and the lock holds none the less."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({**asdict(holder.process), "doing": holder.doing}).encode(), 0)
    except OSError:
        pass


def _read(descriptor: int) -> Holder | None:
    try:
        raw = json.loads(os.pread(descriptor, _NAME_BYTES, 0))
        return Holder(Identity(int(raw["pid"]), str(raw["started"])), str(raw["doing"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be locked ({error.strerror or error}), so {path.parent} is no home. Choose a folder that you may "
        "write to, on a local disk: STREAMGAGE_HOME=/path"
    )
