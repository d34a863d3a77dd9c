"""How many files a process may have open, and how many connections that leaves: each is a file.

A process that runs out of them can do nothing any more: accept, open a log, read its own database. So a server keeps its
connections below the limit of the system, by what the process opens beside them, and raises that limit first where it may.
"""

import resource
from typing import Final

MOST_FILES: Final = 65_536


def allow_many_files() -> None:
    """Raise the limit of open files to what the system allows, `MOST_FILES` at most. Call it first in a process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    for most in (wanted, 10_240):  # macOS says "unlimited", and takes OPEN_MAX
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(most, wanted)), hard))
        except (ValueError, OSError):
            continue
        return


def connections_within(wanted: int, *, beside: int) -> int:
    """Return how many of *wanted* connections may be open at once, *beside* other files; half of all files, at least."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, max(soft - beside, soft // 2))
