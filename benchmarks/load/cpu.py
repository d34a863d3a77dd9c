"""CPU time by role, from /proc: what each process of the stack, and those beside it, used since it was first seen."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def process_cpu_s(pid: int) -> float | None:
    """Return the user and system time of a process's threads, in seconds; None where it has gone.

    Source: proc_pid_stat(5), fields 14 and 15; the name in parentheses before them may hold anything.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def machine_cpu_s() -> float:
    """Return the time that all cores together were busy since the machine started, in seconds.

    Source: proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
    """
    line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    user, nice, system, _, _, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) * _TICK_S


@dataclass(slots=True)
class CpuLedger:
    """Adds up the CPU of the processes of each role; sandboxes come and go within theirs.

    A process that is first seen later counts from nothing: it was started since. What it used between the last look and
    its end is not seen.
    """

    _first: dict[int, float] = field(default_factory=dict)
    _used: dict[tuple[str, int], float] = field(default_factory=dict)
    _looked: bool = False

    def look(self, pids: Mapping[str, Iterable[int]]) -> dict[str, float]:
        """Return the CPU seconds of each role since the first look."""
        for role, each in pids.items():
            for pid in each:
                used_s = process_cpu_s(pid)
                if used_s is not None:
                    first_s = self._first.setdefault(pid, 0.0 if self._looked else used_s)
                    self._used[role, pid] = used_s - first_s
        self._looked = True
        totals = dict.fromkeys(pids, 0.0)
        for (role, _), used_s in self._used.items():
            totals[role] = totals.get(role, 0.0) + used_s
        return totals
