"""``python -m infra.local.dynamodb``: the tables as a process. SIGTERM or Ctrl-C ends it with status 0."""

import argparse
import gc
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from infra.local.dynamodb.api import ACCOUNT, REGION, DynamoApi
from infra.local.dynamodb.database import open_database
from infra.local.dynamodb.expiry import SWEEP_S, sweep
from infra.local.dynamodb.server import DynamoServer
from infra.local.dynamodb.store import Store, is_storage_error
from infra.local.http.guard import owner_guard
from streamgage.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit status."""
    options = _parse(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with ExitStack() as stack:
            _serve(options, stop, stack)
    except ConfigError as error:
        print(f"dynamodb: {error}", file=sys.stderr)
        return 2
    return 0


def _serve(options: argparse.Namespace, stop: threading.Event, stack: ExitStack) -> None:
    store = Store(
        open_database(options.data, now_ms=_wall_clock_ms(), fsync=options.fsync), clock_ms=_wall_clock_ms
    )
    stack.callback(store.close)
    api = DynamoApi(store, clock_ms=_wall_clock_ms, region=options.region, account=options.account)
    # A request makes objects that no cycle holds; the collector would look through the caches for nothing.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    guard = owner_guard(options.host, options.credentials)
    server = DynamoServer(api, host=options.host, port=options.port, guard=guard, may_block=options.fsync)
    server.start()
    stack.callback(server.stop)
    print("dynamodb: ready on", server.url, flush=True)
    while not stop.wait(SWEEP_S):
        try:
            sweep(store, now_s=int(time.time()))
        except Exception as error:
            if not is_storage_error(error):
                raise
            traceback.print_exc()  # a full disk: the next sweep finds what is left


def _wall_clock_ms() -> int:
    """Return the time in ms since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.local.dynamodb", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=4568, help="HTTP port, 0 for a free one (%(default)s)")
    parser.add_argument("--data", type=Path, help="directory for the tables; in memory without it")
    parser.add_argument("--fsync", action="store_true", help="survive power cuts as well, at the disk's pace")
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="of a home: only its access key is obeyed; any without it",
    )
    parser.add_argument("--region", default=REGION, help="region in ARNs (%(default)s)")
    parser.add_argument("--account", default=ACCOUNT, help="account in ARNs (%(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
