"""A client of Kinesis from its start to its last event: ours by boto3 and lean, beside what people put together."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping

from benchmarks.harness import (
    ROOT,
    Headline,
    Progress,
    Result,
    Role,
    Series,
    Table,
    WrongAnswerError,
)
from benchmarks.peers.external import ABSENT, INTERPRETER, are_installed
from benchmarks.stub_server import stub_server

QUESTION = "What does a device or a gateway spend to start, and to send an event?"
LEAN, BOTO3 = "streamgage, lean, put", "streamgage, boto3, put"
LEAN_MANY, BOTO3_MANY = "streamgage, lean, put_many", "streamgage, boto3, put_many"
ROWS, ROWS_MANY = "streamgage, boto3, put, rows", "streamgage, boto3, put_many, rows"
AGG, ASYNC = "fastavro + aws_kinesis_agg + boto3", "async-kinesis, JSON list"
_CLIENTS = {
    LEAN: "lean put",
    LEAN_MANY: "lean put_many",
    BOTO3: "boto3 put",
    BOTO3_MANY: "boto3 put_many",
    ROWS: "boto3 put rows",
    ROWS_MANY: "boto3 put_many rows",
    AGG: "agg",
    ASYNC: "async-kinesis",
}
_OURS = (LEAN, LEAN_MANY, BOTO3, BOTO3_MANY, ROWS, ROWS_MANY)
_STARTED = (LEAN, BOTO3, AGG, ASYNC)  # put and put_many start alike
_TIMEOUT_S = 600
_PIPELINE = str(ROOT / "pipeline.toml")  # its readings go in blocks


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Start each client in a process of its own, in turns, and have it send to a server that stores everything."""
    count, rounds = (2_000, 1) if quick else (100_000, 7)
    missing = {} if are_installed() else {ASYNC: ABSENT}
    labels = [each for each in _CLIENTS if each not in missing]
    found: dict[str, list[Mapping[str, float]]] = {label: [] for label in labels}
    with stub_server() as url:
        for number in range(rounds):
            for label in labels:
                progress(f"round {number + 1}: {label}")
                found[label].append(_turn(label, url, count))
    started = [each for each in labels if each in _STARTED]
    init = Table(
        title="Start: imports, and a producer that knows its stream",
        unit="ms of CPU",
        series=tuple(_series(each, found[each], "init_ms") for each in started),
        baseline=LEAN,
    )
    memory = Table(
        title="Memory, once an event was sent",
        unit="MB of RSS",
        series=tuple(_series(each, found[each], "rss_mb") for each in started),
        baseline=LEAN,
    )
    cpu = Table(
        title="Send an event",
        unit="µs of CPU an event",
        series=tuple(_series(each, found[each], "cpu_s", 1e6 / count) for each in labels),
        baseline=BOTO3_MANY,
    )
    return Result(
        name="sending",
        question=QUESTION,
        method=(
            "Each turn is a new process: it makes its client, sends one event, then the rest, to a server on loopback that "
            "stores everything at once. CPU time of all its threads; of the start, above the bare interpreter's; plain HTTP "
            "for all. Ours checks each event, gathers them in blocks and marks each record; one shard, at its 1 MiB/s."
        ),
        tables=(init, memory, cpu),
        configuration={"events": count, "rounds": rounds, "seed": seed, "python": sys.version.split()[0]},
        missing=missing,
        headlines=_headlines(init, memory, cpu),
        limits=(
            "TLS is in nobody's figure: it costs each the same handshake, and the loading of some 140 roots.",
            "async-kinesis sends JSON; aws_kinesis_agg gathers for whatever shard, and its one put at a time is not repeated.",
        ),
    )


def _turn(label: str, url: str, count: int) -> Mapping[str, float]:
    python = str(INTERPRETER) if label == ASYNC else sys.executable
    done = subprocess.run(
        [python, "-P", str(ROOT / "benchmarks" / "peers" / "send_child.py"), _CLIENTS[label], url, str(count), _PIPELINE],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": "" if label == ASYNC else str(ROOT),
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "eu-west-1",
        },
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise WrongAnswerError(f"{label} ended with {done.returncode}: {done.stderr[-2000:]}")
    answer: Mapping[str, float] = json.loads(done.stdout)
    if answer["sent"] != count:
        raise WrongAnswerError(f"{label} sent {answer['sent']} events of {count}")
    return answer


def _series(label: str, turns: list[Mapping[str, float]], name: str, times: float = 1.0) -> Series:
    role: Role = "ours" if label in _OURS else "peer"
    return Series(label, role, tuple(each[name] * times for each in turns))


def _headlines(init: Table, memory: Table, cpu: Table) -> tuple[Headline, ...]:
    rows = (
        ("start of a client, lean against boto3", init, LEAN, BOTO3, "ms of CPU", "≤ 50 ms"),
        ("memory of a client, lean against boto3", memory, LEAN, BOTO3, "MB", "≤ 30 MB"),
        ("put and send, against fastavro + aws_kinesis_agg + boto3", cpu, BOTO3, AGG, "µs an event", ""),
        ("put_many and send, against fastavro + aws_kinesis_agg + boto3", cpu, BOTO3_MANY, AGG, "µs an event", "≥ 4"),
        ("put and send, in rows, against fastavro + aws_kinesis_agg + boto3", cpu, ROWS, AGG, "µs an event", "≥ 1"),
        ("put_many and send, in rows, against fastavro + aws_kinesis_agg + boto3", cpu, ROWS_MANY, AGG, "µs an event", "≥ 1"),
        ("put_many and send, against async-kinesis", cpu, BOTO3_MANY, ASYNC, "µs an event", "≥ 2"),
    )  # fmt: skip
    found = []
    for what, table, ours, peer, unit, target in rows:
        mine, other = table.median_of(ours), table.median_of(peer)
        if mine and other:
            found.append(
                Headline(
                    what=what,
                    ours=f"{mine:.1f} {unit}",
                    peer=f"{other:.1f} {unit}",
                    ratio=other / mine,
                    target=target,
                )
            )
    return tuple(found)
