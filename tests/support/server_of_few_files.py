"""``python -m support.server_of_few_files N``: an HTTP server in a process that may open N files, and believes otherwise.

It prints its port, and ends when its stdin does.
"""

import resource
import sys

from infra.local.http.message import Limits, Request, Response
from infra.local.http.server import HttpServer


def main(most: str) -> None:
    server = HttpServer(answer, name="few", limits=Limits(connections=1_000, workers=1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(most), int(most)))
    server.start()
    print(server.url.rpartition(":")[2], flush=True)
    sys.stdin.read()
    server.stop()


def answer(_: Request) -> Response:
    return Response(200, b"here")


if __name__ == "__main__":
    main(*sys.argv[1:])
