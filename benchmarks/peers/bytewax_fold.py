"""Peer: Bytewax decodes readings and folds them by key and window. A script of the peers' virtual environment.

Written as https://docs.bytewax.io shows ``fold_window``: an EventClock, a TumblingWindower, a builder, a folder. It is
given the user records already taken out of their Kinesis records, and all at once: smaller batches cost it more. ``ordered=False``, as sum and
maximum do not depend on order.
"""

import base64
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower
from bytewax.testing import TestingSink, TestingSource, run_main
from fastavro import parse_schema, schemaless_reader

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WINDOWS_MS = {"1m": 60_000, "1h": 3_600_000}


def main(source: Path, destination: Path) -> None:
    """Fold what *source* holds; write CPU time and totals to *destination*."""
    content = json.loads(source.read_text())
    schema = parse_schema(content["schema"])
    payloads = [base64.b64decode(each) for each in content["payloads"]]
    began_s = time.process_time()

    flow = Dataflow("readings")
    stream = op.input("in", flow, TestingSource(payloads, batch_size=len(payloads)))
    events = op.map("decode", stream, lambda payload: schemaless_reader(BytesIO(payload), schema, None))
    keyed = op.key_on("key", events, lambda event: f"{event['device_id']}|{event['metric']}")
    clock = EventClock(
        ts_getter=lambda event: EPOCH + timedelta(milliseconds=event["ts"]),
        wait_for_system_duration=timedelta(seconds=5),
    )
    found: dict[str, list[Any]] = {}
    for label, size_ms in WINDOWS_MS.items():
        windower = TumblingWindower(align_to=EPOCH, length=timedelta(milliseconds=size_ms))
        folded = win.fold_window(
            label, keyed, clock, windower, lambda: [0, 0.0, None], fold, merge, ordered=False
        )
        found[label] = []
        op.output(f"{label} out", folded.down, TestingSink(found[label]))
    run_main(flow)
    cpu_s = time.process_time() - began_s

    totals = {
        f"{label}|{number * WINDOWS_MS[label]}|{key}": total
        for label, rows in found.items()
        for key, (number, total) in rows
    }
    destination.write_text(json.dumps({"cpu_s": cpu_s, "answer": totals}))


def fold(total: list[Any], event: dict[str, Any]) -> list[Any]:
    """Add *event*."""
    value = event["value"]
    total[0] += 1
    total[1] += value
    if total[2] is None or value > total[2]:
        total[2] = value
    return total


def merge(one: list[Any], other: list[Any]) -> list[Any]:
    """Join two totals of one window."""
    return [one[0] + other[0], one[1] + other[1], max(one[2], other[2])]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
