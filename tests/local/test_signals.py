"""Signals at random moments, against the local Kinesis plane alone: what is said to be sent is in the stream, once.

Each run is drawn from its seed: what is sent and how, which signal comes when, and whether a second one follows. Whatever
the moment, it must hold that

- the stream and the undelivered file together hold exactly the rows above the place that is named, each once;
- as many as are claimed are in the stream;
- from that place on the same command, and `send undelivered`, complete the job: each row is there exactly once;
- nobody sees a traceback, and the exit code says which signal it was, or that something is kept in a file.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from processors.pipeline_files import load_pipeline
from producers.client.undelivered import UndeliveredReader
from streamgage.formats.blocks.reader import BlockReader
from streamgage.formats.kpl import decode_aggregate, is_aggregated
from streamgage.records import SealedRecord
from support.commands import Commands
from support.paths import ROOT

pytestmark = pytest.mark.local

ROWS = 3_000
FAULTS = "7:throttle=0.2,delay=0.5@40"
BLOCKS = BlockReader(load_pipeline(ROOT / "pipeline.toml").sources["reading"].schema)
ENDING = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
PASSING = ("ProvisionedThroughputExceededException", "LimitExceededException", "ThrottlingException")


@dataclass
class Plane:
    """The Kinesis plane and who runs commands, each a process."""

    url: str
    client: Any
    commands: Commands

    def call(self, operation: str, **arguments: Any) -> Any:
        """Ask the plane until it answers without a fault."""
        while True:
            try:
                return getattr(self.client, operation)(**arguments)
            except ClientError as error:
                if error.response["Error"]["Code"] not in PASSING:
                    raise

    def values(self, stream: str, *, but: Collection[bytes] = ()) -> list[float]:
        """Return the values of all events in *stream*, of records not in *but*; one sent again with the same mark counts once."""
        found: list[float] = []
        records: set[bytes] = set()
        for shard in self.call("list_shards", StreamName=stream)["Shards"]:
            where = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
            iterator = self.call("get_shard_iterator", StreamName=stream, **where)["ShardIterator"]
            while True:
                answer = self.call("get_records", ShardIterator=iterator)
                records.update(each["Data"] for each in answer["Records"])
                iterator = answer["NextShardIterator"]
                if not answer["Records"] and not answer["MillisBehindLatest"]:
                    break
        for data in records - set(but):
            parts = decode_aggregate(data).user_records() if is_aggregated(data) else []
            for part in parts:
                block = BLOCKS.decode(part.data, ("value",))
                found += [block.event(at)["value"] for at in range(block.count)]
        return sorted(found)


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    environ = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    kinesis = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "infra.local.kinesis"),
            *("--port", "0", "--transition-ms", "0", "--faults", FAULTS),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    commands = Commands(environ)
    try:
        assert kinesis.stdout is not None
        url = next(word for word in kinesis.stdout.readline().split() if word.startswith("http"))
        client = boto3.client(
            "kinesis",
            endpoint_url=url,
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - no one checks it
            config=Config(retries={"total_max_attempts": 1}),
        )
        yield Plane(url, client, commands)
    finally:
        commands.close()
        kinesis.terminate()
        kinesis.communicate()


@dataclass
class Run:
    """One run of a seed, in a folder of its own, to a stream of its own."""

    seed: int
    folder: Path
    plane: Plane

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.stream = f"s{self.seed}"
        self.kind = self.dice.choice(["csv", "csv", "wide", "gzip", "pipe", "pipe", "replay", "follow"])
        self.plane.call("create_stream", StreamName=self.stream, ShardCount=self.dice.randint(1, 3))

    def go(self) -> None:
        argv, expected, feed = self._input()
        for name in ("out", "err"):
            (self.folder / name).touch()  # a child that is killed before it begins makes none
        pid = self.plane.commands.start([*argv, *self._to()], self.folder, feed=str(feed) if feed else None)
        numbers = self._disturb(pid)
        code = self.plane.commands.finish()
        said, errors = (self.folder / "out").read_text(), (self.folder / "err").read_text()
        story = f"{self!r} {self.kind} {numbers} -> {code}\n{said}\n{errors}"
        assert "Traceback" not in said + errors, story
        self._check_code(code, numbers, said, story)
        stored = self.plane.values(self.stream, but=self._kept())
        claimed = _number(r"imported ([\d,]+)", said)
        assert len(stored) == claimed, story
        line = (
            len(expected) + 1
            if self._is_complete(said)
            else _number(r"interrupted after line ([\d,]+)", said)
        )
        above = sorted(value for at, value in expected if at <= line)
        kept = _number(r"not delivered: ([\d,]+)", said)
        assert len(above) == claimed + kept, story
        self._complete(argv, line, kept, story)
        assert self.plane.values(self.stream) == sorted(value for _, value in expected), story
        self.plane.call("delete_stream", StreamName=self.stream)

    def _kept(self) -> set[bytes]:
        """Return the records that were kept: what was under way then may be in the stream all the same, and counts once."""
        found: set[bytes] = set()
        for path in self.folder.glob("*.undelivered*.ndjson"):
            with path.open("rb") as file:
                found.update(
                    each.data for each in UndeliveredReader(file, path.name) if isinstance(each, SealedRecord)
                )
        return found

    def _to(self) -> list[str]:
        to = ["--stream", self.stream, "--endpoint-url", self.plane.url, "--region", "eu-west-1"]
        return [*to, "--pipeline", str(ROOT / "pipeline.toml")]

    def _input(self) -> tuple[list[str], list[tuple[int, float]], Path | None]:
        """Return the command, what its input holds (line, value), and the file that is its standard input."""
        now_ms = time.time_ns() // 1_000_000 - 60_000
        constants = ["--source", "reading", "--set", "device_id=d"]
        if self.kind == "wide":
            text = "ts,a,b,c\n" + "".join(f"{now_ms},{n},{n}.25,{n}.5\n" for n in range(ROWS // 3))
            (self.folder / "in.csv").write_text(text)
            values = [(n + 2, n + part) for n in range(ROWS // 3) for part in (0, 0.25, 0.5)]
            return ["send", "csv", "in.csv", *constants, "--melt"], values, None
        values = [(n + 2, float(n)) for n in range(ROWS)]
        if self.kind in ("csv", "gzip", "replay"):
            step_ms = 1 if self.kind == "replay" else 0
            text = "ts,value\n" + "".join(f"{now_ms + n * step_ms},{n}\n" for n in range(ROWS))
            (self.folder / "in.csv").write_text(text)
            argv = ["send", "csv", "in.csv", *constants, "--set", "metric=m"]
            if self.kind == "gzip":
                subprocess.run(["gzip", "in.csv"], cwd=self.folder, check=True)
                argv[2] = "in.csv.gz"
            return argv + (["--speed", "3"] if self.kind == "replay" else []), values, None
        event = {"device_id": "d", "metric": "m", "ts": now_ms}
        lines = [json.dumps({**event, "value": n}) for n in range(ROWS)]
        path = self.folder / "in.ndjson"
        path.write_text(
            "\n" + "\n".join(lines) + "\n"
        )  # a blank line, so that lines number as those of a CSV file
        if self.kind == "follow":
            return ["send", "ndjson", "in.ndjson", "--source", "reading", "--follow"], values, None
        return ["send", "ndjson", "-", "--source", "reading"], values, path

    def _disturb(self, pid: int) -> list[signal.Signals]:
        """Send a signal at some moment, and perhaps another one soon after it."""
        numbers = [self.dice.choice(list(ENDING))]
        moments_s = [self.dice.random() ** 2 * 1.2]
        if self.dice.random() < 0.35:
            numbers.append(self.dice.choice(list(ENDING)))
            moments_s.append(self.dice.choice([0.0, 0.002, 0.03, 0.2]) * self.dice.random())
        for number, moment_s in zip(numbers, moments_s, strict=True):
            time.sleep(moment_s)  # the moment is what is tried; nothing is awaited
            os.kill(pid, number)
        return numbers

    def _is_complete(self, said: str) -> bool:
        return (
            "imported" in said and "interrupted after line" not in said and "interrupted before" not in said
        )

    def _check_code(self, code: int, numbers: list[signal.Signals], said: str, story: str) -> None:
        # Two that come within a moment are seen in the order of their numbers.
        ended, killed = {ENDING[each] for each in numbers}, {-each for each in numbers}
        if "not delivered" in said:
            assert code == 1, story
        elif not said:  # before anything was begun, or before there was a handler
            assert code in ended | killed, story
        elif "interrupted" in said:
            assert code in ended, story
        else:  # all was done when the signal came, or just before it
            assert code in {0} | ended | killed, story

    def _complete(self, argv: list[str], line: int, kept: int, story: str) -> None:
        """Do what the command said: send what is kept, and go on from the place."""
        if kept:
            (path,) = self.folder.glob("*.undelivered*.ndjson")
            self.plane.commands.start(["send", "undelivered", path.name, *self._to()[:-2]], self.folder)
            assert self.plane.commands.finish() == 0, story + (self.folder / "out").read_text()
        above = max(line - 1, 0)
        if self.kind == "follow" and above == ROWS:
            return
        more = ["--limit", str(ROWS - above)] if self.kind == "follow" else ["--from-line", str(line + 1)]
        again = [*argv, *self._to(), *more]
        again = [each for each in again if each not in ("--speed", "3")]
        self.plane.commands.start(
            ["send", "ndjson", "in.ndjson", *again[3:]] if self.kind == "pipe" else again, self.folder
        )
        assert self.plane.commands.finish() == 0, (
            story + (self.folder / "out").read_text() + (self.folder / "err").read_text()
        )


def _number(pattern: str, said: str) -> int:
    found = re.search(pattern, said)
    return int(found[1].replace(",", "")) if found else 0


@pytest.mark.parametrize("seed", range(15))
def test_whenever_a_signal_comes_each_row_is_sent_once_and_it_is_said_how_to_go_on(
    plane: Plane, tmp_path: Path, seed: int
) -> None:
    Run(seed, tmp_path, plane).go()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_500))
def test_so_it_is_of_five_hundred(plane: Plane, tmp_path: Path, seed: int) -> None:
    Run(seed, tmp_path, plane).go()
