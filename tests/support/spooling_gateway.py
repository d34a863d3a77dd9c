"""A gateway that spools: ``python -m support.spooling_gateway SPOOL HOME``. It lives on stdin, and tells what it keeps.

A line NAME: it accepts the five events of that name, and answers ``kept NAME`` once they are in its spool; ``full NAME`` where
the disk takes nothing just now, and then, once it does, ``kept NAME``. An empty line: it answers ``empty`` once all is sent.
"""

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.local.stack.home import Home, StackInfo
from processors.pipeline_files import load_pipeline
from producers.client.batching import BatcherConfig
from producers.client.core import CoreConfig, ProducerCore
from producers.client.kinesis import connect
from producers.clock import MonotonicClock
from producers.spool.forwarder import PATIENT, Forwarder
from producers.spool.spool import Spool
from producers.spool.told import SpoolFull
from support.paths import ROOT

EVENTS, START_MS = 5, 1_767_225_600_000


def events_of(name: str) -> Iterator[dict[str, Any]]:
    """Yield the events of a name: of a device of their own."""
    for number in range(EVENTS):
        yield {
            "device_id": name,
            "metric": "temperature",
            "ts": START_MS + number * 1_000,
            "value": number / 4,
            "tags": {},
        }


def core_of(info: StackInfo) -> ProducerCore:
    """Return what sends to a stack."""
    credentials = info.credentials
    return connect(
        info.stream,
        endpoint_url=info.endpoints["kinesis"],
        region=info.region,
        credentials=(credentials.access_key, credentials.secret_key),
        config=CoreConfig(retries=PATIENT),
    )


def main(path: str, home: str) -> None:
    source = load_pipeline(ROOT / "pipeline.toml").sources["reading"]
    core = core_of(Home(Path(home)).info())
    with Spool.open(path) as spool:
        sealer = ProducerCore(
            core._engine.sender._port,
            clock=MonotonicClock(),
            rng=random.Random(),
            config=CoreConfig(batching=BatcherConfig(linger_ms=3_600_000), concurrency=1),
            tags_for=spool.identity.tags_for,
        )
        sealer.divert(spool.append)
        forwarder = Forwarder(spool, core)
        forwarder.start()
        print("up", flush=True)
        for line in sys.stdin:
            name = line.strip()
            if not name:
                while spool.stats.records:
                    time.sleep(0.02)
                print("empty", flush=True)
                continue
            keep(sealer, source, name)
        forwarder.stop()


def keep(sealer: ProducerCore, source: Any, name: str) -> None:
    """Have the events of a name in the spool, however long that takes."""
    for event in events_of(name):
        sealer.send(source, event)
    told = False
    while True:
        try:
            sealer.flush()  # what the spool refuses stays in the sealer, sealed
            break
        except SpoolFull:
            if not told:
                print(f"full {name}", flush=True)
            told = True
            time.sleep(0.05)
    print(f"kept {name}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
