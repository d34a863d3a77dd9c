"""Free ports of the loopback for the servers of a stack, looked for before anything is started."""

import socket
from collections.abc import Mapping
from contextlib import ExitStack

from streamgage.errors import ConfigError

_LOOPBACK = "127.0.0.1"
_LAST = 65_535


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
            found[role] = _bind(held.enter_context(socket.socket()), number, option)
    return found


def if_free(number: int) -> int:
    """Return *number* where that port is free, else 0: any free one."""
    try:
        free_ports({"": (number, "")})
    except ConfigError:
        return 0
    return number


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
