"""One trial: a fresh local stack under one open-loop load, watched from outside until all of it is applied.

Processes beside the stack's own: the senders, and this one, which only looks (at the progress items, and at /proc).
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load.cpu import CpuLedger, machine_cpu_s
from benchmarks.load.freshness import Latencies, Seen
from benchmarks.load.generator import Done, Job
from benchmarks.load.schedule import divide
from benchmarks.load.sent_log import SentEntry, read_log
from infra.commands.code import CODE
from infra.local.comparison import compare, read_all_items
from infra.local.stack.clients import local_client
from infra.local.stack.home import Home, StackInfo
from infra.local.stack.running import batch_lines, running
from infra.local.stack.supervisor import StackOptions
from processors.pipeline_files import load_pipeline
from producers.simulators.totals import Totals, read_totals
from streamgage.definition.pipeline import DEFAULT_CONSUMER
from streamgage.errors import RetryableError
from streamgage.fold.items import progress_pk

_READY_S = 60.0
_LEAD_MS = 200  # between "begin" and the first event: time for every sender to hear it
_TALLY_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A load, and the stack that it is sent to."""

    rate_per_s: float
    seconds: float
    devices: int
    metrics: int = 2
    senders: int = 1
    shards: int = 4
    batching_window_s: int = 5
    memory_mb: int = 512
    seed: int = 1
    give_up_s: float = 20.0
    drain_s: float = 90.0
    look_ms: int = 100
    blocks: bool = False
    pipeline: str = "pipeline.toml"
    p99_s: float | None = None  # what freshness may take; None: two batching windows and 5 s


@dataclass(slots=True)
class Trial:
    """What was sent, seen, used, and found to differ."""

    load: Load
    senders: list[Done] = field(default_factory=list)
    latencies: Latencies = field(default_factory=Latencies)
    resolution: dict[str, float] = field(default_factory=dict)
    kinesis_records: int = 0
    kinesis_bytes: int = 0
    bytes_by_shard: dict[str, int] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    machine_cpu_s: float = 0.0
    line: list[dict[str, Any]] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    differences: list[str] = field(default_factory=list)
    drained: bool = False
    elapsed_s: float = 0.0

    @property
    def events(self) -> int:
        """How many events were sent."""
        return sum(each.events for each in self.senders)


def run_trial(load: Load, folder: Path) -> Trial:
    """Run one trial in *folder*, which it empties first; every process that it starts has ended when it returns."""
    shutil.rmtree(folder, ignore_errors=True)
    home, trial, seen = Home(folder / "stack"), Trial(load), Seen()
    options = StackOptions(
        home,
        _definition(load, folder),
        CODE,
        aws_port=0,
        kinesis_port=0,
        parameters={
            "ShardCount": str(load.shards),
            "BatchingWindow": str(load.batching_window_s),
            "MemorySize": str(load.memory_mb),
        },
    )
    with running(options) as info:
        folders = _jobs(load, info, folder)
        with _senders(folders, log=folder / "senders.log") as senders:
            _watch(trial, seen, home, info, senders)
            for sender in senders:
                sender.process.wait(_TALLY_S)
        logs = [read_log(each / "sent.json") for each in folders]
        trial.senders = [_done(each) for each in folders]
        if trial.drained:
            trial.differences, trial.rows = _differences(load, info, folders)
    _account(trial, seen, folders, logs)
    trial.batches = list(batch_lines(home))
    return trial


def _definition(load: Load, folder: Path) -> Path:
    """Return a copy of the pipeline's definition whose sources send as *load* says."""
    given = Path(load.pipeline)
    shutil.copytree(given.parent / "schemas", folder / "schemas")
    text = re.sub(r"(?m)^blocks = .*\n", "", given.read_text(encoding="utf-8"))
    wanted = f"[[sources]]\nblocks = {str(load.blocks).lower()}\n"
    text = re.sub(r"(?m)^\[\[sources\]\].*\n", wanted, text)
    (folder / given.name).write_text(text, encoding="utf-8")
    return folder / given.name


def _jobs(load: Load, info: StackInfo, folder: Path) -> list[Path]:
    shares = divide(
        senders=load.senders,
        seed=load.seed,
        devices=load.devices,
        metrics=load.metrics,
        rate_per_s=load.rate_per_s,
        seconds=load.seconds,
    )
    folders = [folder / f"sender-{share.sender}" for share in shares]
    for share, each in zip(shares, folders, strict=True):
        Job(
            load=share,
            pipeline=info.pipeline,
            endpoint=info.endpoints["kinesis"],
            credentials_file=info.credentials_file,
            stream=info.stream,
            give_up_s=load.give_up_s,
        ).write(each)
    return folders


class _Sender:
    """A sender's process, and the last word that it said."""

    def __init__(self, folder: Path, log: Path) -> None:
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "benchmarks.load.generator", str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        self._log = log
        self.said: set[str] = set()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            self.said.add(line.strip())

    def begin(self, start_ms: int) -> None:
        """Tell it when its first event is due."""
        assert self.process.stdin is not None  # noqa: S101 - a pipe was asked for
        self.process.stdin.write(f"{start_ms}\n")
        self.process.stdin.flush()

    def has_said(self, word: str) -> bool:
        """Tell whether it said *word*. Raises: RetryableError, it ended instead."""
        if word not in self.said and self.process.poll() is not None:
            raise RetryableError(
                f"a sender ended with status {self.process.returncode} before it was {word}: "
                + self._log.read_text(encoding="utf-8")[-2000:]
            )
        return word in self.said

    def end(self) -> None:
        """End it, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self._listener.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def _senders(folders: Sequence[Path], *, log: Path) -> Iterator[list[_Sender]]:
    senders: list[_Sender] = []
    try:
        senders += [_Sender(folder, log) for folder in folders]
        deadline = time.monotonic() + _READY_S
        while not all(each.has_said("ready") for each in senders):
            if time.monotonic() > deadline:
                raise RetryableError(f"the senders were not ready within {_READY_S:.0f} s")
            time.sleep(0.02)
        yield senders
    finally:
        for each in senders:
            each.end()


def _watch(trial: Trial, seen: Seen, home: Home, info: StackInfo, senders: Sequence[_Sender]) -> None:
    """Begin, and look every *look_ms* until all that was sent is applied, or the time for that is up."""
    load, ledger = trial.load, CpuLedger()
    client = local_client("dynamodb", info.endpoints["dynamodb"], info.credentials)
    start_ms = time.time_ns() // 1_000_000 + _LEAD_MS
    trial.cpu_s = ledger.look(_pids(home, info, senders))
    machine_s = machine_cpu_s()
    for each in senders:
        each.begin(start_ms)
    deadline = time.monotonic() + load.seconds + load.give_up_s + load.drain_s
    sent_ms, pids, second = 0.0, _pids(home, info, senders), 0
    while time.monotonic() < deadline:
        began_s = time.monotonic()
        fences = look(client, info.table)
        now_ms = time.time_ns() / 1e6
        seen.note(now_ms, fences)
        status = home.status()
        if (now_ms - start_ms) // 1000 > second:
            second = int((now_ms - start_ms) // 1000)
            pids = _pids(home, info, senders, status)
            trial.cpu_s = ledger.look(pids)
            trial.line.append({"at_s": round((now_ms - start_ms) / 1000, 2), "cpu_s": dict(trial.cpu_s)})
        if not sent_ms and all(each.has_said("sent") for each in senders):
            sent_ms = now_ms
            trial.cpu_s = ledger.look(_pids(home, info, senders, status))
            sender_s = trial.cpu_s["sender"]
        if sent_ms and (status.get("drained_to_ms") or 0) > sent_ms:
            trial.drained = True
            break
        time.sleep(max(0.0, load.look_ms / 1000 - (time.monotonic() - began_s)))
    trial.elapsed_s = (time.time_ns() / 1e6 - start_ms) / 1000
    trial.machine_cpu_s = machine_cpu_s() - machine_s
    trial.cpu_s = ledger.look(_pids(home, info, senders))
    if sent_ms:
        trial.cpu_s["sender"] = sender_s  # what it tallies afterwards is not the pipeline's
    seen.note(time.time_ns() / 1e6, look(client, info.table))
    trial.resolution = seen.resolution_ms()


def look(client: Any, table: str) -> dict[str, int]:
    """Return the fence of each lane's progress by its shard, as the table has it now."""
    answer = client.query(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": progress_pk(DEFAULT_CONSUMER)}},
        ProjectionExpression="sk, fence",
        ConsistentRead=True,
    )
    return {each["sk"]["S"].partition("/")[2]: int(each["fence"]["S"]) for each in answer["Items"]}


def _pids(
    home: Home, info: StackInfo, senders: Sequence[_Sender], status: Mapping[str, Any] | None = None
) -> dict[str, list[int]]:
    sandboxes = (home.status() if status is None else status).get("sandboxes", [])
    return {
        "sender": [each.process.pid for each in senders],
        "kinesis": [info.pids["kinesis"]],
        "mapping": [info.pids["mapping"]],
        "function": list(sandboxes),
        "database": [info.pids.get("dynamodb", info.pids["aws"])],
        "observer": [os.getpid()],
    }


def _done(folder: Path) -> Done:
    return Done(**json.loads((folder / "done.json").read_text(encoding="utf-8")))


def _differences(load: Load, info: StackInfo, folders: Sequence[Path]) -> tuple[list[str], int]:
    totals: Totals = {}
    for folder in folders:
        for rollup, rows in read_totals(folder / "totals.json").items():
            totals.setdefault(rollup, {}).update(rows)  # each sender has devices of its own
    differences = compare(load_pipeline(Path(load.pipeline)), read_all_items(info), totals)
    return differences, sum(len(each) for each in totals.values())


def _account(trial: Trial, seen: Seen, folders: Sequence[Path], logs: Sequence[Sequence[SentEntry]]) -> None:
    for folder, done, entries in zip(folders, trial.senders, logs, strict=True):
        trial.latencies.add(Job.read(folder).load, entries, seen, start_ms=done.start_ms)
        trial.kinesis_records += len(entries)
        for each in entries:
            trial.kinesis_bytes += each.data_bytes
            known = trial.bytes_by_shard.get(each.shard_id, 0)
            trial.bytes_by_shard[each.shard_id] = known + each.data_bytes
