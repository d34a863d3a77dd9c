"""Before anything is sent: is there a stack, a stream, and somebody who reads it?"""

import os
import socket
import time
from pathlib import Path

import pytest

from infra.local.stack import running
from infra.local.stack.home import Home, StackInfo, write_json
from infra.local.stack.running import check_someone_is_there
from streamgage.errors import ConfigError


@pytest.fixture
def server() -> "socket.socket":
    return socket.create_server(("127.0.0.1", 0))


def home_of(tmp_path: Path, port: int, *, mapping: int, silent_ms: int = 0) -> Home:
    home = Home(tmp_path)
    home.write_info(
        StackInfo(
            endpoints={"kinesis": f"http://127.0.0.1:{port}"}, region="r", stream="s", stream_arn="a", table="t",
            quarantine_url="q", failed_batches_bucket="b", pipeline="p", credentials_file="c",
            pids={"supervisor": os.getpid(), "mapping": mapping},
        )
    )  # fmt: skip
    write_json(home.status_file, {"as_of_ms": time.time_ns() // 1_000_000 - silent_ms})
    return home


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_PATIENCE_S", 0)


def test_a_stack_that_is_served_and_read_is_there(tmp_path: Path, server: socket.socket) -> None:
    with server:
        home = home_of(tmp_path, server.getsockname()[1], mapping=os.getpid())
        assert check_someone_is_there(home).stream == "s"


def test_no_server_a_dead_mapping_and_a_silent_one_are_told_apart(
    tmp_path: Path, server: socket.socket
) -> None:
    port = server.getsockname()[1]
    with server:
        with pytest.raises(ConfigError, match="the mapping is dead"):
            check_someone_is_there(home_of(tmp_path, port, mapping=0))
        with pytest.raises(ConfigError, match="the mapping has said nothing for 60 s"):
            check_someone_is_there(home_of(tmp_path, port, mapping=os.getpid(), silent_ms=60_000))
    with pytest.raises(ConfigError, match=f"nothing answers at http://127.0.0.1:{port}"):
        check_someone_is_there(home_of(tmp_path, port, mapping=os.getpid()))
