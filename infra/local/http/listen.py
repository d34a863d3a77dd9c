"""The listening socket of a server."""

import socket

from streamgage.errors import ConfigError

BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on *host* and *port*; 0 is any free one. Raises: ConfigError: it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), backlog=BACKLOG, family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; is another process using the port?"
        ) from error
