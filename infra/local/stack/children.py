"""Child processes of the stack: started in a session of their own, ended by pid, never left behind."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from infra.local.files import UMASK, open_private

_STOP_S = 30.0
_PR_SET_PDEATHSIG = 1

# What a child needs of the shell it was started from; nothing else leaks into it.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "COVERAGE_PROCESS_START")


class Child:
    """One running child process; ``name`` is its role."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]") -> None:
        self.name, self.process = name, process

    @classmethod
    def start(
        cls,
        name: str,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        folder: Path | None = None,
    ) -> "Child":
        """Start this Python with *arguments*; its output goes to the end of *log*.

        It gets a session of its own, so that Ctrl-C reaches only the supervisor, which ends it in order. Where the
        kernel can do that (Linux), it is told to stop when the supervisor dies.
        """
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        with os.fdopen(open_private(log, append=True), "ab") as output:
            process = subprocess.Popen(
                [*python(), "-m", "infra.local.stack.children", str(os.getpid()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited, "PYTHONUNBUFFERED": "1", **environment},
                cwd=folder,
                start_new_session=True,
                umask=UMASK,
            )
        return cls(name, process)

    @property
    def pid(self) -> int:
        """The process id, which is also its session's and its process group's."""
        return self.process.pid

    def has_ended(self) -> bool:
        """Tell whether it ended, and clear it away."""
        return self.process.poll() is not None

    def stop(self, wait_s: float = _STOP_S) -> None:
        """End it: SIGTERM, then SIGKILL when that takes longer than *wait_s*; and whatever is left of its group."""
        if not self.has_ended():
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(wait_s)
        self.kill()

    def kill(self) -> None:
        """End it and its group at once."""
        kill_group(self.pid)
        self.process.wait()


def kill_group(pid: int) -> None:
    """SIGKILL the process group that *pid* leads, where it is still there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def python() -> list[str]:
    """Return how a child of ours starts this interpreter; a virtual environment's link keeps its packages.

    Nothing is imported from where a person happens to stand (``-P``): a folder there may bear the name of one of ours.
    """
    return [sys.executable, "-P"]


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait until the callable *condition* says so. Raises: TimeoutError naming *what*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


def _main(arguments: Sequence[str]) -> None:
    """Become ``python ARGUMENTS`` with the kernel's word that the parent's death ends this process."""
    parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before the word was given
        sys.exit(0)
    os.execv(sys.executable, [*python(), *command])  # noqa: S606 - our own interpreter


if __name__ == "__main__":
    _main(sys.argv[1:])
