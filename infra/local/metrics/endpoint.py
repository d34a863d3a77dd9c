"""The metrics endpoint of the local stack: ``python -m infra.local.metrics.endpoint --home DIR --port N``.

``GET /metrics`` answers in Prometheus' text format, ``GET /health`` with 200. It listens on loopback only. Counters of the
function's log are those of the whole log, so they go on where this process was started again; those of the mapping begin
at 0 with the mapping: a counter that goes down is a restart, as Prometheus reads it. It asks for no key, so that a Prometheus
needs none: it tells numbers, and does nothing; web pages are refused as everywhere.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from infra.local.http.message import Limits, Request, Response
from infra.local.http.server import HttpServer
from infra.local.metrics.families import families
from infra.local.metrics.source import StackReader
from infra.local.metrics.text import CONTENT_TYPE, render
from infra.local.stack.home import Home
from streamgage.errors import ConfigError

_LIMITS = Limits(workers=2, connections=64, body_bytes=64 * 1024)
_LOOK_S = 0.5  # how often the parent is looked for


class MetricsHandler:
    """Answers with what *reader* reads. One scrape reads at a time."""

    def __init__(self, reader: StackReader) -> None:
        self._reader, self._turn = reader, threading.Lock()

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"GET /metrics\n", headers={"Allow": "GET, HEAD"})
        if request.path == "/health":
            return Response(200, b"ok\n")
        if request.path == "/metrics":
            return Response(200, self._scrape().encode(), CONTENT_TYPE)
        return Response(404, b"try /metrics\n")

    def _scrape(self) -> str:
        with self._turn:
            return render(families(self._reader.read()))


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, or until the parent has gone; return the exit status."""
    parser = argparse.ArgumentParser(prog="infra.local.metrics.endpoint", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the folder of the stack")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    options = parser.parse_args(arguments)
    reader = StackReader(Home(options.home))
    try:
        server = HttpServer(MetricsHandler(reader), name="metrics", port=options.port, limits=_LIMITS)
    except ConfigError as error:
        print(f"metrics: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server.start()
    print(f"metrics: {server.url}/metrics", flush=True)
    parent = os.getppid()
    while not stop.wait(_LOOK_S) and os.getppid() == parent:
        pass
    server.stop()
    reader.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
