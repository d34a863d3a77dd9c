"""Child processes of the stack: started in a session of their own, ended by pid, never left behind.

Each child reads from a pipe that nobody ever writes to, and whose other end only the process that started it holds: when that
ends, however it ends, the kernel closes the pipe, and the child ends too. That works on every Unix, and does not depend on
the thread that started the child, as Linux's own signal of a parent's death does.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infra.local.files import UMASK, open_private
from infra.local.stack.processes import kill_group

STOP_S = 30.0
"""From SIGTERM to SIGKILL, unless a child is given less."""

# What a child needs of the shell it was started from; nothing else leaks into it.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "COVERAGE_PROCESS_START")


class _Pipe:
    """The pipe of this process: it is closed by its end, and by nothing else."""

    def __init__(self) -> None:
        self._pid, self._read, self._write = 0, -1, -1
        self._alone = threading.Lock()

    def reading_end(self) -> int:
        """Return the end that children read; a fork has a pipe of its own."""
        with self._alone:
            if self._pid != os.getpid():
                self._pid, (self._read, self._write) = os.getpid(), os.pipe()
            return self._read


_PIPE = _Pipe()


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
        """Start this Python with *arguments* (``-m MODULE …``); its output goes to the end of *log*.

        It gets a session of its own, so that Ctrl-C reaches only the supervisor, which ends it in order.

        Raises:
            OSError: it could not be started.
        """
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        pipe = _PIPE.reading_end()
        with os.fdopen(open_private(log, append=True), "ab") as output:
            process = subprocess.Popen(
                [*python(), "-m", "infra.local.stack.children", str(pipe), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited, "PYTHONUNBUFFERED": "1", **environment},
                cwd=folder,
                start_new_session=True,
                umask=UMASK,
                pass_fds=(pipe,),
            )
        return cls(name, process)

    @property
    def pid(self) -> int:
        """The process id, which is also its session's and its process group's."""
        return self.process.pid

    def has_ended(self) -> bool:
        """Tell whether it ended. What is left of its group is ended, before its number is given back where that can be."""
        if self.process.returncode is not None:
            return True
        if _can_peek() and not _is_zombie(self.pid):
            return False
        if not _can_peek() and self.process.poll() is None:
            return False
        kill_group(self.pid)
        return self.process.poll() is not None

    @property
    def status(self) -> int:
        """How it ended: its exit status, or minus the signal's number; 0 while it runs."""
        return self.process.returncode or 0

    def terminate(self) -> None:
        """Ask it to end."""
        if not self.has_ended():
            self.process.send_signal(signal.SIGTERM)

    def stop(self, wait_s: float = STOP_S) -> None:
        """End it: SIGTERM, then SIGKILL when that takes longer than *wait_s*; and whatever is left of its group."""
        self.terminate()
        deadline_s = time.monotonic() + wait_s
        while not self.has_ended() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        self.kill()

    def kill(self) -> None:
        """End it and its group at once."""
        if not self.has_ended():
            kill_group(self.pid)
            self.process.wait()


def _can_peek() -> bool:
    """Tell whether this system says that a child ended without giving its number back (macOS: from Python 3.13)."""
    return hasattr(os, "waitid")


def _is_zombie(pid: int) -> bool:
    """Tell whether our child *pid* ended."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True  # somebody else has waited for it


def python() -> list[str]:
    """Return how a child of ours starts this interpreter; a virtual environment's link keeps its packages.

    Nothing is imported from where a person happens to stand (``-P``): a folder there may bear the name of one of ours.
    """
    return [sys.executable, "-P"]


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait until the callable *condition* says so. Raises: TimeoutError naming *what*."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


def _main(arguments: Sequence[str]) -> None:
    """Become ``python -m MODULE …``, which ends when the pipe does."""
    pipe, _, module, *rest = arguments
    os.set_inheritable(int(pipe), False)
    threading.Thread(target=_end_with_parent, args=(int(pipe),), name="parent", daemon=True).start()
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_parent(pipe: int) -> None:
    """Wait until the parent is gone; then end this process, in order or after a while at once."""
    while os.read(pipe, 1):
        pass
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(STOP_S)
    kill_group(os.getpgid(0))


if __name__ == "__main__":
    _main(sys.argv[1:])
