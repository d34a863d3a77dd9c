"""The listening socket of a server."""

import socket

from streamgage.errors import ConfigError

_BACKLOG = 1_024  # the kernel makes it net.core.somaxconn, where that is less; beyond it a client tries again after a second


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on *host* and *port*; 0 is any free one. Raises: ConfigError: it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), backlog=_BACKLOG, family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; is another process using the port?"
        ) from error
