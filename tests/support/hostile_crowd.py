"""``python -m support.hostile_crowd PORT COUNT``: holds COUNT connections to a server of this machine, and lets nobody go.

Half have asked once, and say no more; the others say nothing, half a head, or a byte of one now and then. Half come from one address, half from many. What
the server ends is opened again. It prints a line when all were opened once, and ends when its stdin does, with how many it
opened in all. It is a process of its own: connections are files at either end.
"""

import os
import resource
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from support.paths import ROOT

_ASKED = b"GET /v1/events/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
_DRIPS = 4  # the place of what is said byte by byte
_SAID = (_ASKED, b"", _ASKED, b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"P", _ASKED)
_AGAIN = 200  # connections that are opened anew before it looks at others
_DRIP_S = 0.5
_PATIENCE_S = 60


class Crowd:
    """The connections, by number; what is said on each is by its number, too."""

    def __init__(self, port: int) -> None:
        self._port, self.opened = port, 0
        self._all = selectors.DefaultSelector()
        self._all.register(sys.stdin, selectors.EVENT_READ, -1)

    def open(self, number: int) -> None:
        """Open the connection *number*; where it is reset at once, it is one that was ended."""
        address = (
            f"127.0.{number % 199}.{1 + number % 97}"
            if number % 2 and sys.platform == "linux"
            else "127.0.0.1"
        )
        client = socket.create_connection(
            ("127.0.0.1", self._port), timeout=_PATIENCE_S, source_address=(address, 0)
        )
        self.opened += 1
        with suppress(OSError):
            client.sendall(_SAID[number % len(_SAID)])
        self._all.register(client, selectors.EVENT_READ, number)

    def hold(self) -> None:
        """Open again what is ended, and say another byte where that is due, until stdin ends."""
        while True:
            ready = self._all.select(_DRIP_S)
            for key, _ in ready[:_AGAIN]:
                if key.data < 0:
                    return
                if isinstance(key.fileobj, socket.socket) and self._is_over(key.fileobj):
                    self._all.unregister(key.fileobj)
                    key.fileobj.close()
                    self.open(key.data)
            if not ready:
                self._drip()

    def _is_over(self, client: socket.socket) -> bool:
        try:
            return not client.recv(65_536)
        except OSError:
            return True

    def _drip(self) -> None:
        for key in list(self._all.get_map().values()):
            if key.data % len(_SAID) == _DRIPS and isinstance(key.fileobj, socket.socket):
                with suppress(OSError):
                    key.fileobj.send(b"O")


def main(port: str, count: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(int(port))
    for number in range(int(count)):
        crowd.open(number)
    print(f"opened {crowd.opened}", flush=True)
    crowd.hold()
    print(f"opened {crowd.opened}", flush=True)


@contextmanager
def crowd_before(port: int, count: int) -> Iterator["subprocess.Popen[str]"]:
    """Have *count* connections to *port* held by another process; all were opened once when it begins."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "support.hostile_crowd", str(port), str(count)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == f"opened {count}\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
