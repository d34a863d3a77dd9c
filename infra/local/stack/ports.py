"""Free ports of the loopback for the servers of a stack, looked for before anything is started.

Any free one is one that the kernel gives to no client: between looking and listening some seconds pass, in which a connection
of anybody could take it.
"""

import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from streamgage.errors import ConfigError

_LOOPBACK = "127.0.0.1"
_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LAST = 65_535
_FIRST_OF_OURS = 10_000  # where there are enough up to the first of clients
_TRIES = 50


def free_ports(wanted: Mapping[str, tuple[int, str]]) -> dict[str, int]:
    """Return a port for each role of *wanted*: its number (0: any) and the option that asks for it. No two are the same.

    Raises:
        ConfigError: one is taken, or no port, or asked for twice.
    """
    found: dict[str, int] = {}
    with ExitStack() as held:  # all at once: a port that is given back may be given out again
        for role, (number, option) in sorted(wanted.items(), key=lambda each: each[1][0] == 0):
            if number and number in found.values():
                raise ConfigError(f"port {number} is asked for twice: {option} 0 is any free one")
            probe = held.enter_context(socket.socket())
            found[role] = _bind(probe, number, option) if number else _bind_any(probe, found)
    return found


def any_port() -> int:
    """Return a free port for one server, that no client may be given meanwhile."""
    return free_ports({"": (0, "")})[""]


def if_free(number: int) -> int:
    """Return *number* where that port is free, else 0: any free one."""
    try:
        free_ports({"": (number, "")})
    except ConfigError:
        return 0
    return number


def _bind_any(probe: socket.socket, found: Mapping[str, int]) -> int:
    """Bind a port that no client is given, and that is none of *found*; where nobody says which those are, any."""
    first_of_clients = _first_of_clients()
    for _ in range(_TRIES if first_of_clients > _FIRST_OF_OURS else 0):
        number = _FIRST_OF_OURS + secrets.randbelow(first_of_clients - _FIRST_OF_OURS)
        if number not in found.values():  # two that do not listen yet may have one port
            with suppress(ConfigError):
                return _bind(probe, number, "")
    return _bind(probe, 0, "")


def _first_of_clients() -> int:
    """Return the first port that the kernel gives to clients; 0: it does not say. Source: ip-sysctl.rst of Linux."""
    try:
        return int(_CLIENTS.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _bind(probe: socket.socket, number: int, option: str) -> int:
    if not 0 <= number <= _LAST:
        raise ConfigError(f"{option} {number} is no port: they go to {_LAST}; 0 is any free one")
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((_LOOPBACK, number))
    except PermissionError as error:
        raise ConfigError(
            f"port {number} of {_LOOPBACK} is not ours to use ({error.strerror}); from 1024 on they are: {option} 14566"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"port {number} of {_LOOPBACK} is taken ({error.strerror}). Choose another: {option} 14566, "
            f"or any free one: {option} 0"
        ) from error
    return int(probe.getsockname()[1])
