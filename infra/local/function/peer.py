"""Whose socket is at the other end of a loopback connection? The kernel knows.

Source: https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html and proc_pid_fd(5) (checked 2026-11-28).
"""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

_INODE = 9  # column of /proc/net/tcp
_PROC = Path("/proc")


def is_of_process(connection: socket.socket, pid: int, *, proc: Path = _PROC) -> bool:
    """Tell whether the client's end of *connection* is held by process *pid*; True where the system has no /proc.

    A connection that is closed already is nobody's.
    """
    if sys.platform != "linux":
        return True
    try:
        inode = _inode(proc, client=connection.getpeername(), server=connection.getsockname())
        return inode is not None and f"socket:[{inode}]" in set(_files(proc / str(pid) / "fd"))
    except OSError:
        return False


def _inode(proc: Path, *, client: tuple[str, int], server: tuple[str, int]) -> str | None:
    """Return the inode of the socket that is bound to *client* and connected to *server*."""
    ends = [_kernel_form(client), _kernel_form(server)]
    with (proc / "net" / "tcp").open(encoding="ascii") as table:
        for line in table:
            columns = line.split()
            if columns[1:3] == ends:
                return columns[_INODE]
    return None


def _kernel_form(address: tuple[str, int]) -> str:
    host, port = address
    number = int.from_bytes(socket.inet_aton(host), sys.byteorder)
    return f"{number:08X}:{port:04X}"


def _files(folder: Path) -> Iterator[str]:
    for entry in folder.iterdir():
        try:
            yield str(entry.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
