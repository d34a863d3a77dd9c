"""A DynamoDB and a Kinesis on a loopback port that accept every write: what remains is the client's own cost. Prints its port.

``python -m benchmarks.stub_server`` serves until its standard input ends: it cannot outlive who started it.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import ROOT

_HEAD = (
    "HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    "Content-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\nConnection: keep-alive\r\n"
    "x-amzn-RequestId: 3QV0O1O2O3O4O5O6O7O8O9O0OPVV4KQNSO5AEMVJF66Q9ASUAAJG\r\n\r\n"
)


def answer_to(head: bytes, body: bytes) -> bytes:
    """Return the answer to a request: nothing is stored yet, and every write succeeds."""
    answer: dict[str, object] = {}
    if b"batchgetitem" in head:
        answer = {"Responses": {}, "UnprocessedKeys": {}}
    elif b"batchexecutestatement" in head:
        answer = {"Responses": [{"TableName": "aggregates"}] * len(json.loads(body)["Statements"])}
    elif b"kinesis_20131202" in head:
        answer = _of_kinesis(head, body)
    content = json.dumps(answer)
    return (_HEAD.format(len(content)) + content).encode()


def _of_kinesis(head: bytes, body: bytes) -> dict[str, object]:
    """Return the answer of a stream of one shard."""
    stored = {"ShardId": "shardId-000000000000", "SequenceNumber": "1"}
    if b"putrecords" in head:
        return {"FailedRecordCount": 0, "Records": [stored] * body.count(b'"PartitionKey"')}
    if b"putrecord" in head:
        return dict(stored)
    shard = {
        "ShardId": stored["ShardId"],
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)},
        "SequenceNumberRange": {"StartingSequenceNumber": "1"},
    }
    name = {"StreamName": "events", "StreamStatus": "ACTIVE"}
    return {
        "Shards": [shard],
        "StreamDescription": {**name, "Shards": [shard], "HasMoreShards": False},
        "StreamDescriptionSummary": {**name, "OpenShardCount": 1},
    }


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TCP server gives
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            at = head.index(b"content-length:") + len(b"content-length:")
            stop = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
            if len(self._received) < stop:
                return
            body, self._received = self._received[end + 4 : stop], self._received[stop:]
            self._transport.write(answer_to(head, body))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def stub_server() -> Iterator[str]:
    """Run the server in a process of its own; yield its URL."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "benchmarks.stub_server"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018, S101 - both are pipes
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve())
