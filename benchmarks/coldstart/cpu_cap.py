"""A share of a core for a process, by cgroups v1 or v2, where this user may make one.

Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html ("At 1,769 MB, a function has the
equivalent of one vCPU"); https://docs.kernel.org/scheduler/sched-bwc.html
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VCPU_MB = 1_769
_PERIOD_US = 20_000
_V1 = Path("/sys/fs/cgroup/cpu")
_V2 = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class CpuCap:
    """A cgroup of ours. ``kind`` is "v1" or "v2"."""

    kind: str
    parent: Path
    group: Path

    def set_memory_mb(self, memory_mb: int) -> None:
        """Allow what a function of this memory size has of a core."""
        quota_us = max(1_000, round(_PERIOD_US * memory_mb / VCPU_MB))
        if self.kind == "v1":
            (self.group / "cpu.cfs_period_us").write_text(f"{_PERIOD_US}\n")
            (self.group / "cpu.cfs_quota_us").write_text(f"{quota_us}\n")
        else:
            (self.group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}\n")

    @contextlib.contextmanager
    def around_spawn(self) -> Iterator[None]:
        """Have a child that this thread starts begin its life inside; the thread (v2: the process) comes back out."""
        name, own = (
            ("tasks", threading.get_native_id()) if self.kind == "v1" else ("cgroup.procs", os.getpid())
        )
        (self.group / name).write_text(f"{own}\n")
        try:
            yield
        finally:
            (self.parent / name).write_text(f"{own}\n")


@contextlib.contextmanager
def cpu_cap(v1: Path = _V1, v2: Path = _V2) -> Iterator[CpuCap | str]:
    """Make a cgroup, and remove it afterwards, when all that ran in it has ended; or say why there is none."""
    made = _make(v1, v2)
    try:
        yield made
    finally:
        if isinstance(made, CpuCap):
            made.group.rmdir()


def _make(v1: Path, v2: Path) -> CpuCap | str:
    reason = "no cgroup with a CPU controller here"
    for kind, parent, file in (("v1", v1, "cpu.cfs_quota_us"), ("v2", v2, "cpu.max")):
        group = parent / f"streamgage-{os.getpid()}"
        try:
            if kind == "v2" and "cpu" not in (parent / "cgroup.subtree_control").read_text().split():
                continue
            group.mkdir()
        except OSError as error:
            if parent.exists() and not isinstance(error, FileNotFoundError):
                reason = f"cgroup {kind}: {error.strerror}"
            continue
        if (group / file).exists():
            return CpuCap(kind, parent, group)
        group.rmdir()
    return reason
