"""Answers in place of AWS: yes to every write, nothing found by any read, one shard. A process of its own.

``python -m benchmarks.coldstart.aws_stub DIRECTORY`` prints its port; the certificate is in DIRECTORY/cert.pem. A GET
returns how often each operation was asked for since the last GET.
"""

import asyncio
import json
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from infra.local.kinesis.tls import server_context

_SHARD = {"ShardId": "shardId-000000000000", "SequenceNumberRange": {"StartingSequenceNumber": "1"}}
_ANSWERS: dict[str, Any] = {
    "BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
    "GetRecords": {"Records": [], "MillisBehindLatest": 0, "NextShardIterator": "iterator"},  # at the end
    "GetShardIterator": {"ShardIterator": "iterator"},
    "ListShards": {"Shards": [_SHARD]},
    "Query": {"Items": [], "Count": 0},
}


def answer(operation: str, request: Any) -> Any:
    """Return what *operation* answers to *request*."""
    if operation == "DescribeStreamSummary":  # of a stream that is young: nothing was missed
        return {
            "StreamDescriptionSummary": {"StreamCreationTimestamp": time.time(), "RetentionPeriodHours": 24}
        }
    if operation == "BatchExecuteStatement":
        return {"Responses": [{} for _ in request["Statements"]]}
    return _ANSWERS.get(operation, {})


class Stub(asyncio.Protocol):
    """One connection; requests are told apart by Content-Length alone."""

    def __init__(self, asked: Counter[str]) -> None:
        self._asked = asked
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of where answers go."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n") + 4) >= 4:
            start, *lines = self._received[:end].decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)
            }
            whole = end + int(headers.get("content-length", 0))
            if len(self._received) < whole:
                return
            body, self._received = self._received[end:whole], self._received[whole:]
            self._answer(start, headers.get("x-amz-target", ""), body)

    def _answer(self, start: str, target: str, body: bytes) -> None:
        if start.startswith("GET"):
            content = json.dumps(self._asked).encode()
            self._asked.clear()
        else:
            operation = target.rpartition(".")[2]
            self._asked[operation] += 1
            content = json.dumps(answer(operation, json.loads(body))).encode()
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
            f"Content-Length: {len(content)}\r\nx-amz-crc32: {zlib.crc32(content)}\r\n\r\n"
        )
        if isinstance(self._transport, asyncio.Transport):
            self._transport.write(head.encode() + content)


async def serve(directory: Path) -> None:
    """Serve until killed."""
    asked: Counter[str] = Counter()
    server = await asyncio.get_running_loop().create_server(
        lambda: Stub(asked), "127.0.0.1", 0, ssl=server_context(directory)
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
