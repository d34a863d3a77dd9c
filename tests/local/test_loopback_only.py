"""Nothing of a running stack listens where another machine could reach it."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.local.stack.children import wait_until
from support.machine import running

pytestmark = pytest.mark.local


def listeners(pid: int) -> Iterator[tuple[str, int]]:
    """Yield address and port of each TCP socket on which *pid* listens. Source: proc_pid_net(5)."""
    inodes = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in inodes:
                address, _, port = local.partition(":")
                yield address_of(address), int(port, 16)


def address_of(text: str) -> str:
    words = struct.pack(f"={len(text) // 8}I", *(int(text[n : n + 8], 16) for n in range(0, len(text), 8)))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="there is no /proc/net")
def test_every_process_of_the_stack_listens_on_loopback_only(tmp_path: Path) -> None:
    with running(tmp_path) as machine:
        wanted = {urlsplit(url).port for url in machine.home.info().endpoints.values()}
        found: dict[int, list[tuple[str, int]]] = {}

        def all_listen() -> bool:
            found.update({pid: list(listeners(pid)) for pid in machine.pids()})
            return wanted <= {port for each in found.values() for _, port in each}

        wait_until(
            all_listen, seconds=120, what="every endpoint"
        )  # metrics come last; nothing waits for them
        assert {address for each in found.values() for address, _ in each} == {"127.0.0.1"}
