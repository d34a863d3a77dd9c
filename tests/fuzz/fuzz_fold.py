"""Fuzz whole Kinesis records, JSON and Avro, up to the quarantine: ``python tests/fuzz/fuzz_fold.py -runs=100000``."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris  # in a virtual environment of its own: see `make fuzz`

sys.path[:0] = [
    str(folder) for folder in Path(__file__).parents[1:3]
]  # run as a script: tests, and the repository

with atheris.instrument_imports(include=["streamgage", "processors", "json"]):
    from fuzz.promises import ARRIVAL_MS, check_fold, pipelines, sign
    from fuzz.targets import fuzz
    from streamgage.formats.kpl import DIGEST_BYTES, MAGIC
    from streamgage.formats.kpl_builder import AggregateBuilder
    from streamgage.records import UserRecord
    from support.histograms import event
    from support.histograms import pipeline as of_histograms

WORDS = (
    MAGIC,
    b'{"source":',
    b'"reading"',
    b'"everything"',
    b"1e999999999",
    b"NaN",
    b"\\ud800",
    b'"value":',
    b'"ts":',
)
_EVENTS = {
    "reading": {"device_id": "d1", "metric": "m", "ts": ARRIVAL_MS, "value": 21.5, "tags": {"room": "k"}},
    "click": {"visitor_id": "v", "page": "/", "ts": ARRIVAL_MS, "bytes": 7, "properties": {"a": "b"}},
    "everything": {"id": "d", "ts": ARRIVAL_MS, "colour": "RED", "value": 1, "blob": b"b", "points": [None]},
}


def check(data: bytes) -> None:
    """Check *data* as it is, and as the message of an aggregated record."""
    check_fold(data)
    check_fold(sign(data))


def seeds() -> Iterator[bytes]:
    """Yield events in both encodings, one by one and aggregated."""
    users = []
    for pipeline in pipelines():
        for name, source in pipeline.sources.items():
            known = _EVENTS[name]
            users.append(UserRecord("k", source.schema.encode(known)))
            shown = {
                key: value.decode() if isinstance(value, bytes) else value for key, value in known.items()
            }
            users.append(UserRecord("j", json.dumps({"source": name, **shown}).encode()))
    counted = event([1.5, 0.0, -2.0], 3, ts=ARRIVAL_MS)
    users.append(UserRecord("h", of_histograms().sources["latency"].schema.encode(counted)))
    users.append(UserRecord("h", json.dumps({"source": "latency", **counted}).encode()))
    builder = AggregateBuilder({"pid": "x"})
    for user in users:
        yield user.data
        builder.add(user)
    yield builder.build()
    yield builder.build()[len(MAGIC) : -DIGEST_BYTES]


if __name__ == "__main__":
    fuzz(check, seeds(), WORDS)
