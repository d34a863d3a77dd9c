"""A Kinesis on loopback that answers by a script, over real HTTP."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Mapping[str, Any] | bytes]
Script = Callable[[str, Mapping[str, Any]], Reply]
"""Gives the answer to an operation, by its name and request."""

ONE_SHARD = {
    "Shards": [
        {
            "ShardId": "s",
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)},
            "SequenceNumberRange": {"StartingSequenceNumber": "1"},
        }
    ]
}


def stores_all(operation: str, request: Mapping[str, Any]) -> Reply:
    """Answer as a stream of one shard that stores everything."""
    if operation == "ListShards":
        return 200, ONE_SHARD
    if operation == "PutRecords":
        stored = {"ShardId": "s", "SequenceNumber": "1"}
        return 200, {"FailedRecordCount": 0, "Records": [stored] * len(request["Records"])}
    return 200, {"StreamDescriptionSummary": {"RecordDistributionStrategy": "USER_PARTITION_KEY"}}


@contextmanager
def scripted_kinesis(
    script: Script = stores_all,
) -> Iterator[tuple[str, list[tuple[str, Mapping[str, Any]]]]]:
    """Run it; yield its URL, and the requests that come."""
    requests: list[tuple[str, Mapping[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            requests.append((operation, request))
            status, body = script(operation, request)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
