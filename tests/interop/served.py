"""Our Kinesis data plane in this process, plain and with TLS, and what its clients said to it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from infra.local.http.message import Request, Response
from infra.local.kinesis.__main__ import wall_clock_ms
from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.faults import Faults, parse_faults
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.server import KinesisServer
from infra.local.kinesis.storage import MemoryStorage
from infra.local.kinesis.tls import server_context
from streamgage.records import StreamRecord


class Listening(KinesisServer):
    """A server that keeps (action, content type) of each request.

    ``before`` is called before each request is looked at, with the actions so far, this one the last.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.heard: list[tuple[str, str]] = []
        self.before: Callable[[list[str]], None] | None = None

    def respond(self, request: Request) -> Response:
        action = request.headers.get("x-amz-target", "").rpartition(".")[2]
        self.heard.append((action, request.headers.get("content-type", "")))
        if self.before is not None:
            self.before([heard for heard, _ in self.heard])
        return super().respond(request)

    @property
    def port(self) -> int:
        """Its port on loopback."""
        return int(self.url.rpartition(":")[2])


class Served:
    """One data plane, its two ports and a boto3 client of the plain one."""

    def __init__(self, directory: Path, *, faults: str | None) -> None:
        api = self.api = KinesisApi(KinesisModel(clock_ms=wall_clock_ms, storage=MemoryStorage()))
        self.faults = parse_faults(faults) if faults else None
        self.plain = Listening(api)
        self.tls = Listening(api, tls=server_context(directory), faults=self.faults)
        self.client: Any = boto3.client(
            "kinesis",
            endpoint_url=self.plain.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - no one checks it
            config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
        )

    def read(self, stream: str) -> dict[str, list[StreamRecord]]:
        """Return every record of *stream* through boto3, by shard, in order."""
        shards = self.client.list_shards(StreamName=stream)["Shards"]
        return {shard["ShardId"]: self._drain(stream, shard["ShardId"]) for shard in shards}

    def _drain(self, stream: str, shard_id: str) -> list[StreamRecord]:
        position = self.client.get_shard_iterator(
            StreamName=stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found: list[StreamRecord] = []
        while position is not None:
            answer = self.client.get_records(ShardIterator=position)
            found += [_stream_record(shard_id, record) for record in answer["Records"]]
            position = answer.get("NextShardIterator") if answer["MillisBehindLatest"] else None
        return found


def data_in(running: Served, stream: str = "s") -> list[bytes]:
    """Return the data of every record of *stream*."""
    return [record.data for records in running.read(stream).values() for record in records]


def _stream_record(shard_id: str, record: dict[str, Any]) -> StreamRecord:
    arrival_ms = round(record["ApproximateArrivalTimestamp"].timestamp() * 1000)
    return StreamRecord(
        shard_id, int(record["SequenceNumber"]), record["PartitionKey"], record["Data"], arrival_ms
    )


@contextmanager
def served(directory: Path, *, faults: str | None = None) -> Iterator[Served]:
    """Serve a data plane until the block ends; *faults* (of ``parse_faults``) are injected behind TLS only."""
    running = Served(directory, faults=faults)
    servers: Sequence[KinesisServer] = (running.plain, running.tls)
    for server in servers:
        server.start()
    try:
        yield running
    finally:
        running.client.close()
        for server in servers:
            server.stop()


class Attacked(NamedTuple):
    """A plain port with faults, and those that struck."""

    url: str
    faults: Faults


@contextmanager
def attacked(running: Served, faults: str = "1:delay=0", *, port: int = 0) -> Iterator[Attacked]:
    """Serve the same data plane, plain, at another port until the block ends, with *faults*."""
    schedule = parse_faults(faults)
    server = KinesisServer(running.api, port=port, faults=schedule)
    server.start()
    try:
        yield Attacked(server.url, schedule)
    finally:
        server.stop()
