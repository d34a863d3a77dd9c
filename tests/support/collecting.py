"""A collector as tests handle it: one over a port of the test's, and `streamgage collect` as a process; and what a stream got."""

import base64
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from processors.pipeline_files import load_pipeline
from producers.collector.collector import Collector
from producers.collector.durable import Batch
from producers.collector.keys import OPEN, Keys
from producers.collector.limits import Bounds
from producers.collector.message import Answer, Asked
from streamgage.definition.pipeline import Pipeline
from streamgage.formats.kpl import decode_aggregate
from streamgage.formats.mark import decode_mark
from streamgage.reading.record_reader import SourceReader
from support.paths import ROOT

NOW_MS = 1_767_614_400_000
PATIENCE_S = 120
_FEW_FILES = (
    "import os, resource, sys; most = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_NOFILE, (most, most));"
    "os.execv(sys.argv[2], sys.argv[2:])"
)


def reading(number: int = 0, **other: Any) -> dict[str, Any]:
    """Return a reading as a client sends it."""
    return {
        "source": "reading",
        "device_id": f"d{number % 7}",
        "metric": "temperature",
        "ts": NOW_MS + number,
        "value": number / 4,
        **other,
    }


@dataclass(slots=True)
class Kept:
    """A port that keeps batches in memory, and fails where it is told to."""

    batches: list[Batch] = field(default_factory=list)
    failure: Exception | None = None

    def keep(self, batch: Batch) -> bool:
        self.check()
        known = [each for each in self.batches if batch.once is not None and each.once == batch.once]
        if not known:
            self.batches.append(batch)
        return bool(known)

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure

    @property
    def events(self) -> list[Mapping[str, Any]]:
        """All events, of any source."""
        return [event for batch in self.batches for events in batch.events.values() for event in events]


def pipeline() -> Pipeline:
    """Return the definition of this repository."""
    return load_pipeline(ROOT / "pipeline.toml")


def collector_over(
    port: Any, *, keys: Keys = OPEN, bounds: Bounds | None = None, definition: Pipeline | None = None
) -> Collector:
    """Return a collector at one instant."""
    return Collector(
        definition or pipeline(),
        port,
        keys=lambda: keys,
        now_ms=lambda: NOW_MS,
        clock_s=lambda: 0.0,
        bounds=bounds or Bounds(),
    )


def post(
    collector: Collector, body: Any, path: str = "/v1/events", query: str = "", **headers: str
) -> Answer:
    """Return the answer to *body*, JSON where it is no bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"content-type": "application/json"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return collector.answer(Asked("POST", path, query, named, content))


def told(answer: Answer) -> Any:
    """Return the JSON of an answer."""
    return json.loads(answer.body)


def counted(records: Sequence[bytes], definition: Pipeline) -> Counter[int]:
    """Return how often each reading counts, by its time: what a consumer makes of aggregates that it knows by their marks."""
    source = definition.sources["reading"]
    reader = SourceReader(source, ("ts",))
    seen: set[object] = set()
    times: Counter[int] = Counter()
    for data in records:
        aggregate = decode_aggregate(data)
        mark = decode_mark(aggregate.tags)
        if mark in seen:
            continue
        seen.add(mark)
        for record in aggregate.user_records():
            if record.data[:10] in reader.block_prefixes:
                block = reader.decode_block(record.data)
                times.update(_times(block))
            else:
                times[reader.events.decode(record.data)["ts"]] += 1
    return times


def _times(block: Any) -> Sequence[int]:
    return list(block.columns["ts"])


def stored_in(requests: Sequence[tuple[str, Mapping[str, Any]]]) -> list[bytes]:
    """Return the data of the records that came to a scripted Kinesis."""
    return [
        base64.b64decode(each["Data"])
        for operation, request in list(requests)
        if operation == "PutRecords"
        for each in request["Records"]
    ]


class Server:
    """``streamgage collect`` as a process; it is killed, or ended, by its pid."""

    def __init__(self, folder: Path, kinesis_url: str, *options: str, most_files: int | None = None) -> None:
        """Start it; *most_files* are how many files it may open at once."""
        self.log = (folder / "collect.log").open("ab")
        bounded = () if most_files is None else (sys.executable, "-c", _FEW_FILES, str(most_files))
        self.process = subprocess.Popen(
            [
                *(*bounded, sys.executable, "-m", "infra.commands.main", "collect", "--port", "0"),
                *("--pipeline", str(ROOT / "pipeline.toml"), "--spool", str(folder / "spool")),
                *("--stream", "s", "--endpoint-url", kinesis_url, "--region", "eu-west-1", "--drain-s", "60"),
                *options,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={
                "AWS_ACCESS_KEY_ID": "a",
                "AWS_SECRET_ACCESS_KEY": "b",
                "PATH": "/usr/bin:/bin",
                "HOME": str(folder),
            },
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line.startswith("the collector listens: "), (folder / "collect.log").read_text()
        self.url = line.split()[-1]

    def connect(self, timeout_s: float = PATIENCE_S) -> HTTPConnection:
        """Return a connection to it."""
        place = urlsplit(self.url)
        return HTTPConnection(place.hostname or "", place.port, timeout=timeout_s)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it by signal *number*; return how it ended."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()
        return code


@contextmanager
def serving(folder: Path, kinesis_url: str, *options: str, most_files: int | None = None) -> Iterator[Server]:
    """Run one, and end it."""
    server = Server(folder, kinesis_url, *options, most_files=most_files)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end()
