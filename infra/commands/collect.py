"""``streamgage collect``: take events by HTTP, acknowledge what is on the disk, and carry it to a stack's stream."""

import argparse
import ipaddress
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from infra.commands.arguments import Verbs, add_pipeline, add_target_options, add_verb, aws_stack
from infra.commands.signals import noting_signals
from producers.files.stop import Stop
from streamgage.errors import ConfigError

if TYPE_CHECKING:
    from infra.commands.collecting import CollectorServer

EXAMPLES = """examples:
  streamgage collect                                     to the stack in this folder, for programs of this machine
  streamgage collect --port 8080 --bind 0.0.0.0 --keys keys.json --target aws --stack plant-7
  curl http://127.0.0.1:8080/v1/events -H 'content-type: application/json' \\
    -d '{"source":"reading","device_id":"d1","metric":"temperature","ts":1767614400000,"value":20.5}'

What is answered by 200 is on the disk, in the spool, and goes to the stream when that takes it. SIGTERM ends it in order:
what is being answered is answered, and what is left in the spool is sent by the next one that has it. docs/sending.md."""
_DEFAULT_PORT = 8080
_MIB = 1024 * 1024
_LOOK_S = 0.25


def add_parser(verbs: Verbs) -> None:
    """Add ``collect``."""
    parser = add_verb(verbs, "collect", "take events by HTTP, and carry them to the stream", epilog=EXAMPLES)
    parser.add_argument(
        "--port", type=int, default=_DEFAULT_PORT, help="where it listens; 0: any (%(default)s)"
    )
    parser.add_argument("--bind", metavar="HOST", default="127.0.0.1", help="at which address (%(default)s)")
    parser.add_argument(
        "--spool",
        metavar="FILE",
        type=Path,
        default=Path("collector.spool"),
        help="where it keeps them (%(default)s)",
    )
    parser.add_argument(
        "--spool-bytes",
        metavar="N",
        type=int,
        default=1 << 30,
        help="how large that may become; then it answers 503 (%(default)s)",
    )
    parser.add_argument(
        "--keys", metavar="FILE", type=Path, help="who may send: as `streamgage keys` writes it"
    )
    parser.add_argument(
        "--origin",
        metavar="URL",
        action="append",
        default=[],
        help="a page that may send where there are no keys, as https://example.com",
    )
    parser.add_argument(
        "--drain-s",
        metavar="S",
        type=float,
        default=10.0,
        help="at the end, so long to forward (%(default)s)",
    )
    add_pipeline(parser, help="the definition; of a local stack, its own")
    add_target_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes; 0 where it ended in order. Raises: ConfigError."""
    from infra.commands.collecting import CollectorServer, KeysFile
    from infra.commands.places import find_aws_target, find_target
    from infra.local.http.descriptors import allow_many_files
    from processors.pipeline_files import load_pipeline
    from producers.client.distribution import check_distribution
    from producers.sending.transports import open_stream
    from producers.spool import Spool

    _check(arguments)
    allow_many_files()
    stack = aws_stack(arguments)
    if stack is None:
        target = find_target(
            stream=arguments.stream,
            endpoint_url=arguments.endpoint_url,
            region=arguments.region,
            environ=os.environ,
            folder=Path.cwd(),
        )
    else:
        target = find_aws_target(stack, region=arguments.region)
    pipeline = load_pipeline(arguments.pipeline)
    keys = None if arguments.keys is None else KeysFile(arguments.keys, time.monotonic)
    port = open_stream(
        "boto3",
        target.stream,
        region=target.region,
        endpoint_url=target.endpoint_url,
        credentials=target.credentials,
        concurrency=2,
    )
    stop = Stop()
    try:
        check_distribution(target.stream, port.describe, waits=False)
        with noting_signals(stop), Spool.open(arguments.spool, max_bytes=arguments.spool_bytes) as spool:
            server = CollectorServer(
                pipeline,
                port,
                spool,
                keys=keys,
                host=arguments.bind,
                listen_port=arguments.port,
                max_bytes=arguments.spool_bytes,
                one_key_per_record=target.one_key_per_record or arguments.one_key_per_record,
                origins=frozenset(arguments.origin),
            )
            has, wanted = server.connections
            if has < wanted:
                print(
                    f"collector: it holds {has:,} connections at once, not {wanted:,}: `ulimit -Hn` says how many files a process may open",
                    file=sys.stderr,
                )
            server.start()
            print(f"the collector listens: {server.url}/v1/events", flush=True)
            _serve(server, stop)
            left = server.drain(arguments.drain_s)
    finally:
        port.close()
    if left:
        print(f"{left:,} records stay in {arguments.spool}: the next collector that has it sends them")
    return 0


def _serve(server: "CollectorServer", stop: Stop) -> None:
    """Return when a signal comes; say meanwhile why nothing is forwarded, where that changes."""
    told: str | None = None
    while not stop.asked:
        time.sleep(_LOOK_S)  # a signal ends it at once
        why = server.waiting_for
        if why != told:
            print(
                f"collector: the stream {'takes events again' if why is None else f'takes nothing: {why}'}",
                file=sys.stderr,
            )
            told = why


def _check(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for what would be open to strangers, or cannot be."""
    problems = []
    if not 0 <= arguments.port <= 65_535:
        problems.append(f"--port {arguments.port} is none: 0 to 65535")
    if arguments.spool_bytes < 4 * _MIB:
        problems.append(f"--spool-bytes {arguments.spool_bytes}: at least {4 * _MIB}")
    if not 0 <= arguments.drain_s <= 3_600:
        problems.append(f"--drain-s {arguments.drain_s}: 0 to 3600")
    if arguments.keys is None and not _is_loopback(arguments.bind):
        problems.append(
            f"--bind {arguments.bind} lets other machines send, and without --keys anybody: `streamgage keys create` makes one"
        )
    if arguments.keys is not None and arguments.origin:
        problems.append("--origin is for a collector without keys; a key says whose pages may send with it")
    if problems:
        raise ConfigError(*problems)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
