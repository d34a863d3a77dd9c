"""Fuzz what reads JSON documents, the event parser and the quarantine: ``python tests/fuzz/fuzz_json.py -runs=100000``."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris  # in a virtual environment of its own: see `make fuzz`

sys.path[:0] = [
    str(folder) for folder in Path(__file__).parents[1:3]
]  # run as a script: tests, and the repository

with atheris.instrument_imports(include=["streamgage", "processors", "json", "base64"]):
    from fuzz.promises import ARN, ARRIVAL_MS, check_event, check_quarantine
    from fuzz.targets import fuzz
    from processors.quarantine.message import encode_poison, encode_reference
    from streamgage.errors import PoisonRecord
    from streamgage.formats.kinesis_event import encode_event
    from streamgage.reading.poison import Poison, refused_whole
    from streamgage.records import StreamRecord

WORDS = (
    b'"object"',
    b'"refused"',
    b'"reasons"',
    b'"compression"',
    b'"zlib"',
    b'"data"',
    b"1e999",
    b"null",
    b'"eventID"',
    b'"kinesis"',
)


def check(data: bytes) -> None:
    """Check *data* as an event of Lambda and as a message of the quarantine."""
    check_event(data)
    check_quarantine(data)


def seeds() -> Iterator[bytes]:
    """Yield an event and the messages of the quarantine, as the real encoders write them."""
    record = StreamRecord("shardId-000000000000", 2**180 + 7, "key", b"data", ARRIVAL_MS)
    yield json.dumps(encode_event([record, record], stream_arn=ARN)).encode()
    refused = refused_whole(PoisonRecord("undecodable", "why"))
    poison = Poison("s", 7, None, "key", ARRIVAL_MS, b"x", 1, refused)
    yield encode_poison(poison, deflate=True).encode()
    yield encode_reference("bucket", "key", [poison]).encode()


if __name__ == "__main__":
    fuzz(check, seeds(), WORDS)
