"""The metrics endpoint of the local stack: ``python -m infra.local.metrics.endpoint --home DIR --port N``.

``GET /metrics`` answers in Prometheus' text format, ``GET /health`` with 200. It listens on loopback only. Counters of the
function's log are those of the whole log, so they go on where this process was started again; those of the mapping begin
at 0 with the mapping: a counter that goes down is a restart, as Prometheus reads it.
"""

import argparse
import os
import signal
import socketserver
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from infra.local.metrics.families import families
from infra.local.metrics.source import StackReader
from infra.local.metrics.text import CONTENT_TYPE, render
from infra.local.stack.home import Home

LOOPBACK = "127.0.0.1"
_TIMEOUT_S = 10  # of a client that does not finish its request
_LOOK_S = 0.5  # how often the parent is looked for


class MetricsServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves what *reader* reads. One scrape reads at a time."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, reader: StackReader) -> None:
        self._reader, self._turn = reader, threading.Lock()
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self.server_address[1]}"

    def scrape(self) -> str:
        """Return the text of one scrape."""
        with self._turn:
            return render(families(self._reader.read()))


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(HTTPStatus.OK, "ok\n", "text/plain")
        elif self.path.partition("?")[0] == "/metrics":
            self._answer(HTTPStatus.OK, self.server.scrape(), CONTENT_TYPE)
        else:
            self._answer(HTTPStatus.NOT_FOUND, "try /metrics\n", "text/plain")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Leave scrapes out of the log: they come for ever."""

    def _answer(self, status: HTTPStatus, text: str, content_type: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, or until the parent has gone; return the exit status."""
    parser = argparse.ArgumentParser(prog="infra.local.metrics.endpoint", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the folder of the stack")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    options = parser.parse_args(arguments)
    reader = StackReader(Home(options.home))
    with MetricsServer(options.port, reader) as server:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"metrics: {server.url}/metrics", flush=True)
        parent = os.getppid()
        while not stop.wait(_LOOK_S) and os.getppid() == parent:
            pass
        server.shutdown()
    reader.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
