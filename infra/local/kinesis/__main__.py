"""``python -m infra.local.kinesis``: the data plane as a process. SIGTERM or Ctrl-C ends it with status 0."""

import argparse
import gc
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from infra.local.http.descriptors import allow_many_files
from infra.local.http.guard import owner_guard
from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.disk import DiskStorage
from infra.local.kinesis.errors import StorageError
from infra.local.kinesis.faults import parse_faults
from infra.local.kinesis.limits import Throttle
from infra.local.kinesis.model import KinesisModel, Settings
from infra.local.kinesis.server import KinesisServer
from infra.local.kinesis.storage import MemoryStorage, Storage
from infra.local.kinesis.tls import server_context
from streamgage.errors import ConfigError

_SWEEP_S = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit status."""
    options = _parse(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with ExitStack() as stack:
            _serve(options, stop, stack)
    except (ConfigError, StorageError) as error:
        print(f"kinesis: {error}", file=sys.stderr)
        return 2
    return 0


def _serve(options: argparse.Namespace, stop: threading.Event, stack: ExitStack) -> None:
    allow_many_files()  # each open shard holds one
    faults = parse_faults(options.faults) if options.faults else None
    model = KinesisModel(
        clock_ms=wall_clock_ms, storage=_storage(options, stack), settings=_settings(options)
    )
    api = KinesisApi(model, throttle=Throttle() if options.limits else None)
    guard = owner_guard(options.host, options.credentials, origins=options.allow_origin)
    serve = partial(
        KinesisServer, api, host=options.host, faults=faults, guard=guard, may_block=options.fsync
    )
    servers = [serve(port=options.port)]
    if options.tls_port is not None:
        if options.data:
            directory = options.data / "tls"
        else:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kinesis-tls-")))
        tls = server_context(directory)
        servers.append(serve(port=options.tls_port, tls=tls))
    # A read makes 10,000 small objects that no cycle holds; the collector would look through them for nothing.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    for server in servers:
        server.start()
        stack.callback(server.stop)
    print("kinesis: ready on", " and ".join(server.url for server in servers), flush=True)
    while not stop.wait(_SWEEP_S):
        try:
            model.sweep()
        except StorageError as error:  # a full disk: the next sweep finds what is left
            print(f"kinesis: {error}", file=sys.stderr, flush=True)


def wall_clock_ms() -> int:
    """Return the time in ms since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def _storage(options: argparse.Namespace, stack: ExitStack) -> Storage:
    if options.data is None:
        return MemoryStorage()
    storage = DiskStorage(options.data, fsync=options.fsync)
    stack.callback(storage.close)
    return storage


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        region=options.region,
        account=options.account,
        shard_limit=options.shard_limit,
        transition_ms=options.transition_ms,
        iterator_life_ms=options.iterator_life_ms,
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.local.kinesis", description=__doc__)
    defaults = Settings()
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=4567, help="plain HTTP port, 0 for a free one (%(default)s)"
    )
    parser.add_argument(
        "--tls-port", type=int, help="TLS port with a self-signed certificate, 0 for a free one"
    )
    parser.add_argument("--data", type=Path, help="directory for streams and records; in memory without it")
    parser.add_argument("--fsync", action="store_true", help="survive power cuts as well, at the disk's pace")
    parser.add_argument(
        "--limits", action="store_true", help="enforce the limits of a shard, with throttling"
    )
    parser.add_argument(
        "--faults", help="injected faults: SEED:throttle=RATE,internal=,lost=,error=,delay=RATE@MS"
    )
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="of a home: only its access key is obeyed; any without it",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a web page that may send, as https://example.org; none without it",
    )
    parser.add_argument("--region", default=defaults.region, help="region in ARNs (%(default)s)")
    parser.add_argument("--account", default=defaults.account, help="account in ARNs (%(default)s)")
    parser.add_argument(
        "--shard-limit", type=int, default=defaults.shard_limit, help="open shards (%(default)s)"
    )
    parser.add_argument(
        "--transition-ms",
        type=int,
        default=defaults.transition_ms,
        help="how long CREATING, UPDATING and DELETING last (%(default)s)",
    )
    parser.add_argument(
        "--iterator-life-ms",
        type=int,
        default=defaults.iterator_life_ms,
        help="when a shard iterator expires (%(default)s)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
