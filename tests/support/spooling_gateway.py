"""A gateway that spools: ``python -m support.spooling_gateway SPOOL HOME``. It lives on stdin, and tells what it keeps.

A line NAME: it accepts the five events of that name, and answers ``kept NAME`` once they are in its spool; ``full NAME`` where
the disk takes nothing just now, and then, once it does, ``kept NAME``. An empty line: it answers ``empty`` once all is sent.
"""

import sys
from collections.abc import Iterator
from typing import Any

from producers import NotYetStored, Producer, ProducerConfig
from support.paths import ROOT

EVENTS, START_MS = 5, 1_767_225_600_000
_LOOK_S = 0.2


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


def main(spool: str, home: str) -> None:
    config = ProducerConfig(
        linger_ms=3_600_000
    )  # the events of a name are sealed together: all are kept, or none
    pipeline = str(ROOT / "pipeline.toml")
    with Producer.to_local(home, pipeline=pipeline, spool=spool, config=config) as producer:
        print("up", flush=True)
        for line in sys.stdin:
            name = line.strip()
            if name:
                keep(producer, name)
            else:
                producer.flush()
                print("empty", flush=True)


def keep(producer: Producer, name: str) -> None:
    """Have the events of a name in the spool, however long that takes."""
    producer.put_many("reading", list(events_of(name)))
    told = False
    while True:
        try:
            producer.commit(_LOOK_S)
            break
        except NotYetStored:  # what the spool refuses stays in the producer, sealed
            if not told and producer.waiting_for in ("spool_full", "spool"):
                print(f"full {name}", flush=True)
                told = True
    print(f"kept {name}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
