"""Ports are found before anything is started, and what is wrong with one is said with what to do."""

import socket

import pytest

from infra.local.stack.ports import free_ports
from streamgage.errors import ConfigError


def test_free_ports_are_free_and_all_different() -> None:
    found = free_ports({str(role): (0, "--port") for role in range(50)})
    assert len(set(found.values())) == 50
    for port in found.values():
        socket.create_server(("127.0.0.1", port)).close()


def test_a_taken_port_one_that_is_none_and_one_asked_for_twice_are_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {number} of 127.0.0.1 is taken .*--port 0"):
            free_ports({"aws": (number, "--port")})
    for number in (-1, 65_536, 10**9):
        with pytest.raises(ConfigError, match=f"--port {number} is no port"):
            free_ports({"aws": (number, "--port")})
    (number,) = free_ports({"aws": (0, "")}).values()
    with pytest.raises(ConfigError, match=f"port {number} is asked for twice: --kinesis-port 0"):
        free_ports({"aws": (number, "--port"), "kinesis": (number, "--kinesis-port")})
