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
    from streamgage.fold.folder import Poison

    from fuzz.promises import ARN, ARRIVAL_MS, check_event, check_quarantine
    from fuzz.targets import fuzz
    from processors.quarantine.sqs import encode_poison
    from streamgage.formats.kinesis_event import encode_event
    from streamgage.records import StreamRecord

WORDS = (
    b'"part"',
    b'"parts"',
    b'"compression"',
    b'"zlib"',
    b'"data"',
    b"1e999",
    b"null",
    b'"eventID"',
    b'"kinesis"',
)


def check(data: bytes) -> None:
    """Check *data* as an event of Lambda and as messages of the quarantine."""
    check_event(data)
    check_quarantine(data)


def seeds() -> Iterator[bytes]:
    """Yield an event and the messages of a poison record, as the real encoders write them."""
    record = StreamRecord("shardId-000000000000", 2**180 + 7, "key", b"data", ARRIVAL_MS)
    yield json.dumps(encode_event([record, record], stream_arn=ARN)).encode()
    poison = Poison("s", 7, None, "key", ARRIVAL_MS, b"x", "undecodable", "why")
    yield f"[{','.join(encode_poison(poison))}]".encode()
    yield b'[{"part":0,"parts":2,"compression":"zlib","data":"eJw="},{"part":1,"parts":2,"data":"AwAAAAAB"}]'


if __name__ == "__main__":
    fuzz(check, seeds(), WORDS)
