"""Who a process is: its number and when it started. A number alone may belong to a stranger by now.

Linux: field 22 of ``/proc/<pid>/stat`` (ticks since the boot) and the boot's own id. Elsewhere: ``ps -o lstart=``.
Source: proc_pid_stat(5).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.02
_KILLED_S = 5.0  # until the kernel has cleared away what was killed
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE, _START = 0, 19  # fields 3 and 22, counted behind the name, which may hold anything


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, of all that ever had this number."""

    pid: int
    started: str


def identify(pid: int) -> Identity | None:
    """Return who *pid* is now; None where no such process runs (a zombie does not), or none that we may look at."""
    if pid <= 0:
        return None
    started = _started_linux(pid) if sys.platform == "linux" else _started_by_ps(pid)
    return Identity(pid, started) if started else None


def runs(identity: Identity) -> bool:
    """Tell whether this very process still runs."""
    return identify(identity.pid) == identity


def end(processes: Iterable[Identity], *, wait_s: float) -> list[Identity]:
    """End those of *processes* that run, and their groups: SIGTERM, and SIGKILL to what is left after *wait_s*.

    Each leads a group of its own. Returns what even SIGKILL did not end (it hangs in the kernel).
    """
    ours = [each for each in processes if runs(each)]
    for each in ours:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(each.pid, signal.SIGTERM)
            os.kill(each.pid, signal.SIGCONT)  # one that was stopped (Ctrl-Z) hears nothing else
    left = _wait(ours, wait_s)
    for each in left:
        kill_group(each.pid)
    return _wait(left, _KILLED_S)


def kill_group(pid: int) -> None:
    """SIGKILL the process group that *pid* leads, where it is still there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _wait(processes: list[Identity], seconds: float) -> list[Identity]:
    deadline_s = time.monotonic() + seconds
    while processes := [each for each in processes if runs(each)]:
        if time.monotonic() > deadline_s:
            break
        time.sleep(_POLL_S)
    return processes


def _started_linux(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()
        if fields[_STATE] in "ZX":
            return None
        return f"{_BOOT_ID.read_text(encoding='ascii').strip()}/{fields[_START]}"
    except (OSError, IndexError):
        return None


def _started_by_ps(pid: int) -> str | None:
    done = subprocess.run(
        ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        env={"LC_ALL": "C", "TZ": "UTC"},
        check=False,
    )
    state, _, started = done.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else " ".join(started.split())
