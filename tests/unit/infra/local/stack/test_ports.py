"""Ports are found before anything is started, and what is wrong with one is said with what to do."""

import socket
from pathlib import Path

import pytest

from infra.local.stack import ports
from infra.local.stack.ports import free_ports
from streamgage.errors import ConfigError


def test_any_free_port_is_none_that_a_client_may_be_given_meanwhile() -> None:
    first_of_clients = ports._first_of_clients()
    if not first_of_clients:
        pytest.skip("this kernel does not say which ports it gives to clients")
    found = free_ports({str(number): (0, "--port") for number in range(20)})
    assert all(10_000 <= each < first_of_clients for each in found.values())


def test_no_two_are_the_same_however_few_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "range").write_text("10060 60999")
    monkeypatch.setattr(ports, "_CLIENTS", tmp_path / "range")
    assert len(set(free_ports({str(each): (0, "--port") for each in range(40)}).values())) == 40


@pytest.mark.parametrize("told", ["", "soon", "9000 60999"])
def test_where_nobody_says_which_those_are_any_free_one_does(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text(told)
    monkeypatch.setattr(ports, "_CLIENTS", tmp_path / "range")
    assert free_ports({"": (0, "--port")})[""] > 0


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
