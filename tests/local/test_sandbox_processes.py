"""Sandboxes are real: child processes of the real runtime client."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from infra.aws.bundle.dists import build_runtime_dir
from infra.local.function.outcome import Answered, Failed, NotInvoked
from infra.local.function.pool import FunctionPool
from infra.local.function.runtime_api import RuntimeApi
from infra.local.function.sandbox import FunctionConfig, Sandbox

pytestmark = pytest.mark.local

HANDLERS = """
import json, os, resource, sys, time

def echo(event, context):
    print("hello from", context.aws_request_id)
    return {"got": event, "remaining": context.get_remaining_time_in_millis(), "pid": os.getpid(),
            "env": dict(os.environ), "path": sys.path, "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}

def fail(event, context):
    raise ValueError("no good: %s" % event["why"])

def sleep(event, context):
    open(event["started"], "w").write(str(os.getpid()))
    time.sleep(event["seconds"])
    return "slept"

def spin(event, context):
    open(event["started"], "w").write(str(os.getpid()))
    while True:
        pass

def die(event, context):
    os._exit(3)

def hog(event, context):
    hoard = []
    while True:
        hoard.append(bytearray(8 * 1024 * 1024))
        time.sleep(0.01)

def size(event, context):
    return len(event["data"])
"""


PARENT = """
import json, sys
from pathlib import Path
from infra.local.function.pool import FunctionPool
from infra.local.function.sandbox import FunctionConfig

base, runtime_dir = Path(sys.argv[1]), Path(sys.argv[2])
config = FunctionConfig(name="f", handler="handlers.spin", task_dir=base / "task", runtime_dir=runtime_dir,
                        log_file=base / "log", timeout_s=60)
FunctionPool(config).invoke("r", json.dumps({"started": str(base / "pid")}).encode())
"""


@pytest.fixture(scope="session")
def runtime_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_runtime_dir(tmp_path_factory.mktemp("var") / "runtime")


@pytest.fixture
def pool_of(tmp_path: Path, runtime_dir: Path) -> Iterator[Callable[..., FunctionPool]]:
    task_dir = tmp_path / "task"
    task_dir.mkdir()
    (task_dir / "handlers.py").write_text(HANDLERS)
    (task_dir / "broken.py").write_text("import no_such_module\n")
    pools: list[FunctionPool] = []

    def build(handler: str, **settings: object) -> FunctionPool:
        config = FunctionConfig(
            name="fn",
            handler=handler,
            task_dir=task_dir,
            runtime_dir=runtime_dir,
            log_file=tmp_path / "fn.log",
            **{"timeout_s": 20, "memory_mb": 256, **settings},  # type: ignore[arg-type]  # what a test names
        )
        pools.append(FunctionPool(config))
        return pools[-1]

    yield build
    for pool in pools:
        pool.close()


def wait_for(happened: Callable[[], bool], *, within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/stat").open() as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def invoke(pool: FunctionPool, event: object) -> object:
    outcome = pool.invoke("request-1", json.dumps(event).encode()).outcome
    assert isinstance(outcome, Answered), outcome
    return json.loads(outcome.payload)


def test_the_real_client_runs_the_handler_as_lambda_would(
    pool_of: Callable[..., FunctionPool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SHELL", "x")
    pool = pool_of("handlers.echo", env={"TABLE": "t", "AWS_ACCESS_KEY_ID": "mine"})
    answer = invoke(pool, {"n": 1})
    assert isinstance(answer, dict)
    env = answer["env"]
    assert answer["got"] == {"n": 1}
    assert 10_000 < answer["remaining"] <= 20_001  # both ends round
    assert (env["TABLE"], env["AWS_ACCESS_KEY_ID"], env["_HANDLER"]) == ("t", "mine", "handlers.echo")
    assert answer["files"] <= 1_024
    assert env["LAMBDA_TASK_ROOT"] == str(tmp_path / "task")
    assert "SECRET_OF_THE_SHELL" not in env
    assert not [entry for entry in answer["path"] if entry.endswith("site-packages")]
    log = (tmp_path / "fn.log").read_text().splitlines()
    assert log[0] == "START RequestId: request-1 Version: $LATEST"
    assert log[1:3] == ["hello from request-1", "END RequestId: request-1"]
    assert log[3].startswith("REPORT RequestId: request-1\tDuration: ")
    for field in ("Billed Duration: ", "Memory Size: 256 MB", "Max Memory Used: ", "Init Duration: "):
        assert field in log[3]


def test_a_sandbox_is_reused_and_starts_cold_only_once(pool_of: Callable[..., FunctionPool]) -> None:
    pool = pool_of("handlers.size")
    first, second = (pool.invoke(f"r{n}", b'{"data": ""}') for n in range(2))
    assert first.init_ms is not None
    assert second.init_ms is None
    assert len(pool.pids()) == 1


def test_an_exception_fails_the_invocation_and_keeps_the_sandbox(
    pool_of: Callable[..., FunctionPool],
) -> None:
    pool = pool_of("handlers.fail")
    outcomes = [pool.invoke(f"r{n}", b'{"why": "rain"}').outcome for n in range(2)]
    assert outcomes == [Failed("ValueError: no good: rain")] * 2
    assert len(pool.pids()) == 1


def test_an_import_error_fails_the_invocation_with_its_reason(pool_of: Callable[..., FunctionPool]) -> None:
    outcome = pool_of("broken.handler").invoke("r", b"{}").outcome
    assert isinstance(outcome, Failed)
    assert "no_such_module" in outcome.message


def test_a_handler_that_is_not_there_fails_the_invocation(pool_of: Callable[..., FunctionPool]) -> None:
    outcome = pool_of("handlers.absent").invoke("r", b"{}").outcome
    assert isinstance(outcome, Failed)
    assert "absent" in outcome.message


def test_a_timeout_kills_the_sandbox(pool_of: Callable[..., FunctionPool], tmp_path: Path) -> None:
    pool = pool_of("handlers.spin", timeout_s=0.5)
    outcome = pool.invoke("r", json.dumps({"started": str(tmp_path / "pid")}).encode()).outcome
    assert isinstance(outcome, Failed)
    assert outcome.message.endswith("Task timed out after 0.50 seconds")
    assert not is_running(int((tmp_path / "pid").read_text()))
    assert pool.pids() == []
    log = (tmp_path / "fn.log").read_text()
    assert "r Task timed out after 0.50 seconds" in log
    assert "Status: timeout" in log


def test_a_process_that_exits_is_a_crash_and_is_replaced(pool_of: Callable[..., FunctionPool]) -> None:
    pool = pool_of("handlers.die")
    outcome = pool.invoke("r", b"{}").outcome
    assert isinstance(outcome, Failed)
    assert "exit status 3" in outcome.message
    assert isinstance(pool.invoke("r", b"{}").outcome, Failed)


def test_kill_9_in_mid_invocation_fails_it_and_the_next_one_has_a_new_sandbox(
    pool_of: Callable[..., FunctionPool], tmp_path: Path
) -> None:
    pool = pool_of("handlers.sleep")
    started = tmp_path / "started"
    with ThreadPoolExecutor(1) as caller:
        under_way = caller.submit(
            pool.invoke, "r", json.dumps({"started": str(started), "seconds": 60}).encode()
        )
        wait_for(lambda: started.exists() and started.read_text() != "")
        os.kill(int(started.read_text()), signal.SIGKILL)
        outcome = under_way.result(20).outcome
    assert isinstance(outcome, Failed)
    assert "SIGKILL" in outcome.message
    assert invoke(pool, {"started": str(tmp_path / "again"), "seconds": 0}) == "slept"


def test_kill_9_of_an_idle_sandbox_is_not_noticed_by_the_next_invocation(
    pool_of: Callable[..., FunctionPool],
) -> None:
    pool = pool_of("handlers.size")
    assert invoke(pool, {"data": "x"}) == 1
    [pid] = pool.pids()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_running(pid))
    assert invoke(pool, {"data": "xy"}) == 2
    assert pool.pids() != [pid]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_function_that_takes_too_much_memory_is_killed(pool_of: Callable[..., FunctionPool]) -> None:
    outcome = pool_of("handlers.hog", memory_mb=128).invoke("r", b"{}").outcome
    assert isinstance(outcome, Failed)
    assert "more than 128 MB" in outcome.message


def test_no_more_than_the_concurrency_limit_run_at_once(
    pool_of: Callable[..., FunctionPool], tmp_path: Path
) -> None:
    pool = pool_of("handlers.sleep", max_concurrency=2)
    with ThreadPoolExecutor(5) as callers:
        events = [json.dumps({"started": str(tmp_path / f"s{n}"), "seconds": 0.1}).encode() for n in range(5)]
        outcomes = list(callers.map(lambda event: pool.invoke("r", event).outcome, events))
    assert outcomes == [Answered(b'"slept"')] * 5
    assert len(pool.pids()) == 2


def test_close_ends_busy_and_idle_sandboxes_at_once(
    pool_of: Callable[..., FunctionPool], tmp_path: Path
) -> None:
    pool = pool_of("handlers.sleep")
    invoke(pool, {"started": str(tmp_path / "a"), "seconds": 0})
    with ThreadPoolExecutor(2) as callers:
        events = [
            json.dumps({"started": str(tmp_path / name), "seconds": 60}).encode() for name in ("b", "c")
        ]
        under_way = [callers.submit(pool.invoke, "r", event) for event in events]
        wait_for(lambda: all((tmp_path / name).exists() for name in ("b", "c")))
        pids = pool.pids()
        pool.close()
        assert all(isinstance(one.result(20).outcome, Failed) for one in under_way)
    assert len(pids) == 2
    assert not [pid for pid in pids if is_running(pid)]
    assert isinstance(pool.invoke("r", b"{}").outcome, NotInvoked)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_sandboxes_die_with_their_parent_even_in_an_endless_loop(tmp_path: Path, runtime_dir: Path) -> None:
    task_dir = tmp_path / "task"
    task_dir.mkdir()
    (task_dir / "handlers.py").write_text(HANDLERS)
    parent = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-c",
            PARENT,
            str(tmp_path),
            str(runtime_dir),
        ]
    )
    try:
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not is_running(int((tmp_path / "pid").read_text())))


def test_large_events_and_many_small_ones_are_answered_by_few_threads(
    pool_of: Callable[..., FunctionPool],
) -> None:
    pool = pool_of("handlers.size", memory_mb=512)
    largest = 6 * 1024 * 1024 - 20
    assert [invoke(pool, {"data": "x" * largest}) for _ in range(5)] == [largest] * 5
    assert [invoke(pool, {"data": ""}) for _ in range(200)] == [0] * 200
    assert threading.active_count() < 20


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells by /proc")
def test_a_stranger_who_connects_first_gets_no_payload(tmp_path: Path, runtime_dir: Path) -> None:
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "handlers.py").write_text(HANDLERS)
    config = FunctionConfig(
        name="f",
        handler="handlers.size",
        task_dir=tmp_path / "task",
        runtime_dir=runtime_dir,
        log_file=tmp_path / "log",
    )
    sandbox = Sandbox(config)
    host, _, port = sandbox._api.address.partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=10) as stranger:  # before Python is even up
            stranger.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sandbox.wait_ready() is None
            assert sandbox.invoke("r", b'{"data": "mine"}').body == b"4"
            with suppress(ConnectionResetError):
                assert stranger.recv(1000) == b""
    finally:
        sandbox.close()


def test_no_answer_waits_for_an_acknowledgement() -> None:
    """Nagle's algorithm would hold the second half of each answer for 40 ms."""
    with (
        closing(RuntimeApi(lambda: None)) as api,
        socket.create_connection(api.address.split(":"), timeout=20) as runtime,  # type: ignore[arg-type]
    ):
        runtime.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
        api.wait_next()
        assert api._connection is not None
        assert api._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
