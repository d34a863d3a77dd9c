"""The addresses of a host, known by a deadline: getaddrinfo takes no timeout, and may block for ever."""

import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from processors.awsjson.aside import Aside, Spawn, on_a_daemon_thread
from processors.deadline import Deadline

LookUp = Callable[[], Sequence["Address"]]


class Address(NamedTuple):
    """An address, as a socket takes it."""

    family: int
    place: tuple[Any, ...]


class Addresses:
    """Where *host* is. Asked for with each new connection, from several threads at once: one lookup serves all.

    What was found is good for ``keep_s``. After that it is looked up again, and where that fails, or takes longer than
    the caller has, the last addresses stand in.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        look_up: LookUp | None = None,
        clock: Callable[[], float] = time.monotonic,
        spawn: Spawn = on_a_daemon_thread,
        keep_s: float = 5.0,
    ) -> None:
        self._host, self._port, self._clock, self._keep_s = host, port, clock, keep_s
        self._literal: Sequence[Address] | None = (
            None  # until it is asked for: a snapshot holds nothing of a network
        )
        self._look_up = look_up or (lambda: _look_up(host, port))
        self._finding = Aside(self._find, clock=clock, spawn=spawn)
        self._known: tuple[float, Sequence[Address]] | None = None  # and until when they are good

    def by(self, deadline: Deadline) -> Sequence[Address]:
        """Return the addresses, at least one, in the order to try them.

        Raises:
            OSError: the name has none, or none was found by *deadline*.
        """
        if self._literal is None:
            self._literal = _literal(self._host, self._port)
        if self._literal:
            return self._literal
        known = self._known
        if known is not None and self._clock() < known[0]:
            return known[1]
        try:
            return self._finding.result(deadline)
        except OSError as error:
            if known is not None:
                return known[1]
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"{self._host} was not found in time") from error
            raise OSError(f"{self._host} is not found: {error}") from error

    def forget(self) -> None:
        """Forget what was found: nobody answers there."""
        self._known = None

    def _find(self) -> Sequence[Address]:
        """Look the name up, and remember what is found, also where nobody waits for it any more."""
        found = self._look_up()
        self._known = (self._clock() + self._keep_s, found)
        return found


def _literal(host: str, port: int) -> Sequence[Address]:
    """Return the address that *host* itself is, or nothing where it is a name."""
    try:
        return _look_up(host, port, socket.AI_NUMERICHOST)  # which asks nobody
    except socket.gaierror:
        return ()


def _look_up(host: str, port: int, flags: int = 0) -> Sequence[Address]:
    # Bytes: as text, the name would go through the IDNA codec, which takes milliseconds to import.
    found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM, flags=flags)
    return [Address(family, place) for family, _, _, _, place in found]
