"""Who accepts connections: a few at a time, none while there is no room, and quietly where no file can be opened.

asyncio's own accepting (3.11 to 3.13) goes on through its whole backlog when the process is out of files, a traceback each
time, and again a second later; and it takes whoever comes, whether there is room or not.
Source: https://github.com/python/cpython/issues/151615 (checked 2026-11-29).
"""

import asyncio
import errno
import socket
from typing import Protocol

_AT_ONCE = 64  # then the others have their turn
_REST_S = 0.05  # long enough not to spin, and short enough that nobody notices
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class House(Protocol):
    """What is behind a door. Called in the loop's thread."""

    def has_room(self) -> bool:
        """Tell whether one more may come in; make room for it, where that can be."""

    def take(self, client: socket.socket) -> None:
        """Have a new connection."""

    def out_of_files(self, error: OSError) -> None:
        """Know that the process can open no file just now; let go of some."""


class Door:
    """Accepts on *listening* for *house*, in the thread of *loop*: who comes while there is no room waits in the kernel."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listening: socket.socket, house: House) -> None:
        self._loop, self._socket, self._house = loop, listening, house
        self._is_open = False
        listening.setblocking(False)

    def open(self) -> None:
        """Begin to accept."""
        self._is_open = True
        self._look()

    def close(self) -> None:
        """Accept no more, and close the socket."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._socket)
        self._socket.close()

    def _look(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._house.has_room():
                self._rest()
                return
            try:
                client, _address = self._socket.accept()
            except ConnectionAbortedError:
                continue
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _NO_FILES:
                    raise
                self._house.out_of_files(error)
                self._rest()
                return
            client.setblocking(False)
            self._house.take(client)

    def _rest(self) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.call_later(_REST_S, self._look)
