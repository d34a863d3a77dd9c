"""A collector of events by HTTP: ours, durable on the disk and each key once, beside FastAPI, pydantic and boto3."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.harness import ROOT, Headline, Progress, Result, Role, Series, Table, WrongAnswerError
from benchmarks.peers.external import INTERPRETER
from benchmarks.stub_server import stub_server
from infra.local.stack.ports import any_port

QUESTION = "What does it cost to take events by HTTP, and how long does a client wait until they are durable?"
OURS, KEYED, PEER = "streamgage collect", "streamgage collect, idempotency keys", "FastAPI + pydantic + boto3"
_SIZES = (1, 100)
_CLIENTS = 8
_TIMEOUT_S = 120
_ABSENT = "not measured: FastAPI and uvicorn are not in the peers' virtual environment"
_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "PATH": os.environ.get("PATH", "")}


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Start each server in a process of its own, in turns, and have clients send to it as fast as it answers."""
    rounds, requests = (1, 40) if quick else (5, 1_500)
    has_peer = _has_fastapi()
    labels = [OURS, KEYED, *([PEER] if has_peer else [])]
    found: dict[tuple[str, int], list[Mapping[str, float]]] = {}
    with stub_server() as url:
        for number in range(rounds):
            for size in _SIZES:
                for label in labels:
                    progress(f"round {number + 1}: {label}, {size} a request")
                    found.setdefault((label, size), []).append(_turn(label, url, size, requests))
    tables = tuple(
        Table(
            title=f"{title}, {size} a request",
            unit=unit,
            series=tuple(_series(label, found[label, size], name) for label in labels),
            baseline=OURS,
            better="more" if name == "events_per_cpu_s" else "less",
        )
        for size in _SIZES
        for title, unit, name in (
            ("Events a second of CPU", "events/s a core", "events_per_cpu_s"),
            ("Until they are durable, p99", "ms", "p99_ms"),
            ("Memory at the end, the most", "MB", "rss_mb"),
        )
    )
    return Result(
        name="collector",
        question=QUESTION,
        method=(
            f"{_CLIENTS} clients on kept connections send JSON to a server on loopback, as fast as it answers; CPU time is that of "
            "all threads of the server, its start not counted. Ours answers once the events are in its spool, synced, and sends "
            "them on to a Kinesis that stores everything at once, which is in its figure; FastAPI's once that Kinesis has "
            "answered PutRecords. Every request must be answered by 200."
        ),
        tables=tables,
        configuration={"rounds": rounds, "requests": requests, "clients": _CLIENTS, "seed": seed},
        missing={} if has_peer else {PEER: _ABSENT},
        headlines=_headlines(tables, has_peer=has_peer),
        limits=(
            "Clients and servers share the machine: p99 is of a machine that is full.",
            "What came last may be forwarded after the last answer: of ours some of the sending is not counted.",
        ),
    )


def _has_fastapi() -> bool:
    if not INTERPRETER.exists():
        return False
    asked = [str(INTERPRETER), "-c", "import fastapi, uvicorn, boto3"]
    return subprocess.run(asked, capture_output=True, timeout=_TIMEOUT_S, check=False).returncode == 0


def _turn(label: str, url: str, size: int, requests: int) -> Mapping[str, float]:
    with _served(label, url) as (pid, port):
        before_s = _cpu_s(pid)
        waits_ms = _load(port, size, requests, keyed=label == KEYED)
        cpu_s = _cpu_s(pid) - before_s
        status = Path(f"/proc/{pid}/status").read_text()
    rss_kb = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    waits_ms.sort()
    return {
        "events_per_cpu_s": size * requests / max(cpu_s, 0.01),
        "p99_ms": waits_ms[int(len(waits_ms) * 0.99)],
        "rss_mb": rss_kb / 1024,
    }


@contextmanager
def _served(label: str, url: str) -> Iterator[tuple[int, int]]:
    port = any_port()
    with tempfile.TemporaryDirectory() as folder:
        if label == PEER:
            command = [
                str(INTERPRETER),
                "-P",
                str(ROOT / "benchmarks" / "peers" / "fastapi_collector.py"),
                str(port),
                url,
            ]
        else:
            command = [
                *(sys.executable, "-P", "-m", "infra.commands.main", "collect", "--port", str(port)),
                *("--pipeline", str(ROOT / "pipeline.toml"), "--spool", str(Path(folder, "spool"))),
                *("--stream", "s", "--endpoint-url", url, "--region", "eu-west-1", "--drain-s", "0"),
            ]
        environment = {**_ENVIRONMENT, "HOME": folder, **({} if label == PEER else {"PYTHONPATH": str(ROOT)})}
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            _wait_for(port, process, Path(folder, "log"))
            yield process.pid, port
        finally:
            process.terminate()
            process.wait(_TIMEOUT_S)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until_s = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < until_s and process.poll() is None:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.02)
    raise WrongAnswerError(f"the server does not listen: {log.read_text()[-2000:]}")


def _load(port: int, size: int, requests: int, *, keyed: bool) -> list[float]:
    """Send so many requests by all clients together; return how long each waited."""
    waits_ms: list[float] = []
    failures: list[str] = []

    def send(client: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        mine: list[float] = []
        for number in range(client, requests, _CLIENTS):
            body = json.dumps([_event(number * size + at) for at in range(size)])
            headers = {
                "Content-Type": "application/json",
                **({"Idempotency-Key": f"k{number}"} if keyed else {}),
            }
            began_s = time.perf_counter()
            connection.request("POST", "/v1/events", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            mine.append((time.perf_counter() - began_s) * 1000)
            if answer.status != 200 or json.loads(content)["accepted"] != size:
                failures.append(f"{answer.status}: {content[:500]!r}")
                break
        connection.close()
        waits_ms.extend(mine)

    threads = [threading.Thread(target=send, args=(client,)) for client in range(_CLIENTS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if failures or len(waits_ms) != requests:
        raise WrongAnswerError(f"{len(waits_ms)} of {requests} requests were answered; {failures[:1]}")
    return waits_ms


def _event(number: int) -> dict[str, object]:
    return {
        "source": "reading",
        "device_id": f"device-{number % 1_000}",
        "metric": "temperature",
        "ts": 1_767_614_400_000 + number * 10,
        "value": 20 + number % 100 / 8,
    }


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _series(label: str, turns: list[Mapping[str, float]], name: str) -> Series:
    role: Role = "peer" if label == PEER else "ours"
    return Series(label, role, tuple(each[name] for each in turns))


def _headlines(tables: tuple[Table, ...], *, has_peer: bool) -> tuple[Headline, ...]:
    targets = {"Events a second of CPU, 100 a request": "≥ 50,000"}
    found = []
    for table in tables:
        if not table.title.startswith("Events"):
            continue
        mine, peer = table.median_of(OURS), table.median_of(PEER) if has_peer else None
        if mine:
            found.append(
                Headline(
                    what=f"a collector: {table.title[0].lower()}{table.title[1:]}",
                    ours=f"{mine:,.0f} events/s",
                    peer=f"{peer:,.0f} events/s ({PEER})" if peer else "",
                    ratio=mine / peer if peer else None,
                    target=targets.get(table.title, ""),
                )
            )
    return tuple(found)
