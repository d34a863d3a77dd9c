"""A sender as a process of its own: ``python -m benchmarks.load.generator FOLDER``.

FOLDER holds ``job.json``. The process makes its values, says ``ready``, reads when to begin, and sends each event when it
is due, through the producer that applications use. It says ``sent``, then tallies what it sent, and leaves
``totals.json``, ``sent.json`` and ``done.json``. It ends by itself: after its last event, or, under a load beyond what the
stack takes, when it is ``give_up_s`` behind its schedule; what it sent until then still counts.
"""

import gc
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import boto3

from benchmarks.load.routes import Routes
from benchmarks.load.schedule import Events, SenderLoad
from benchmarks.load.sent_log import SentEntry, write_log
from infra.local.http.secret import read_credentials
from infra.template.translate import REGION
from processors.pipeline_files import load_pipeline
from producers.client.batcher import PutEntry
from producers.client.core import CoreConfig, ProducerCore
from producers.client.identity import Identity
from producers.client.kinesis import BotoKinesis, client_config
from producers.client.ports import KinesisPort, PutResult, PutStored
from producers.clock import MonotonicClock
from producers.load.sending import Timer, WallTimer, send_load
from producers.simulators.totals import Tally, write_totals
from streamgage.definition.pipeline import Source
from streamgage.errors import RetryableError
from streamgage.formats.avro import Event
from streamgage.shards import Shard

SOURCE = "reading"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a sender is told."""

    load: SenderLoad
    pipeline: str
    endpoint: str
    credentials_file: str
    stream: str
    give_up_s: float

    def write(self, folder: Path) -> None:
        """Leave it where the process looks."""
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """Return what ``write`` left."""
        raw = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        return cls(**{**raw, "load": SenderLoad(**raw["load"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a sender did. ``late_ms`` is the longest that an event waited, after it was due, before it was put."""

    start_ms: int
    events: int
    ended_ms: int
    late_ms: float
    cpu_s: float
    gave_up: bool


class LoggedKinesis:
    """A KinesisPort that keeps note of what was stored. Several threads may put. *routes* say whose events a block holds."""

    def __init__(self, port: KinesisPort, routes: Routes) -> None:
        self._port, self._routes = port, routes
        self.entries: list[SentEntry] = []

    def list_shards(self) -> Sequence[Shard]:
        """Return every shard that the stream lists."""
        return self._port.list_shards()

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        """Put *entries* in one request, and note those that were stored."""
        results = self._port.put_records(entries)
        stored_ms = time.time_ns() / 1e6
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, PutStored):
                numbers = self._routes.numbers(result.shard_id, entry)
                place = (result.shard_id, result.sequence_number)
                self.entries.append(SentEntry(*place, stored_ms, len(entry.data), numbers))
        return results


class Put(Protocol):
    """What events are sent through: a producer."""

    def send(self, source: Source, event: Event) -> None:
        """Take an event; wait while too much is buffered."""

    def poll(self) -> None:
        """Send what has lingered long enough."""

    def flush(self) -> None:
        """Return when everything is stored."""


class OneByOne:
    """An outlet of *producer* that puts each event by itself, as an application does that has one at a time."""

    def __init__(self, producer: Put) -> None:
        self._put, self.poll, self.flush = producer.send, producer.poll, producer.flush

    def put_many(self, source: Source, events: Sequence[Event]) -> None:
        """Take *events*."""
        for event in events:
            self._put(source, event)


def send(job: Job, events: Events, producer: Put, *, source: Source, start_ms: int, timer: Timer) -> Done:
    """Send each event when it is due, by the open loop of `streamgage load`, and return when all are stored.

    Raises:
        RetryableError: some were not.
    """
    began_cpu_s = time.process_time()
    sent = send_load(
        ((source, event) for event in events.between(0, job.load.events, start_ms=start_ms)),
        job.load,
        OneByOne(producer),
        start_ms=start_ms,
        timer=timer,
        give_up_s=job.give_up_s,
        is_over=lambda _: False,
    )
    if sent.undelivered:
        raise RetryableError(f"{sent.undelivered} events were not delivered: {sent.last_error}")
    return Done(
        start_ms=start_ms,
        events=sent.events,
        ended_ms=int(timer.now_ms()),
        late_ms=sent.late_ms,
        cpu_s=time.process_time() - began_cpu_s,
        gave_up=sent.gave_up,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Send the load of a folder; return the exit status."""
    (name,) = sys.argv[1:] if arguments is None else arguments
    folder = Path(name)
    job = Job.read(folder)
    pipeline = load_pipeline(Path(job.pipeline))
    events = Events(job.load)
    kinesis = BotoKinesis(_client(job), job.stream)
    port = LoggedKinesis(kinesis, Routes(events.keys, kinesis.list_shards()))
    dice = random.SystemRandom()
    gc.collect()
    gc.freeze()  # the pool of values is no garbage: looking through it would be the sender's pauses
    print("ready", flush=True)
    start_ms = int(sys.stdin.readline())
    with ProducerCore(port, clock=MonotonicClock(), rng=dice, tags_for=Identity(dice).tags_for) as producer:
        done = send(
            job,
            events,
            producer,
            source=pipeline.sources[SOURCE],
            start_ms=start_ms,
            timer=WallTimer(),
        )
    print("sent", flush=True)
    tally = Tally(pipeline)
    for event in events.between(0, done.events, start_ms=start_ms):
        tally.add(SOURCE, event)
    write_totals(tally.totals, folder / "totals.json")
    write_log(folder / "sent.json", port.entries)
    (folder / "done.json").write_text(json.dumps(asdict(done)), encoding="utf-8")
    return 0


def _client(job: Job) -> Any:
    access_key, secret_key = read_credentials(Path(job.credentials_file))
    return boto3.client(
        "kinesis",
        endpoint_url=job.endpoint,
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=client_config(CoreConfig().concurrency),
    )


if __name__ == "__main__":
    sys.exit(main())
