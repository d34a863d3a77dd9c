"""Fuzz the decoder of aggregated records: ``python tests/fuzz/fuzz_kpl.py -max_total_time=60``."""

import sys
from collections.abc import Iterator
from pathlib import Path

import atheris  # in a virtual environment of its own: see `make fuzz`

sys.path[:0] = [
    str(folder) for folder in Path(__file__).parents[1:3]
]  # run as a script: tests, and the repository

with atheris.instrument_imports(include=["streamgage"]):
    from fuzz.promises import check_kpl
    from fuzz.targets import fuzz
    from streamgage.formats.kpl import DIGEST_BYTES, MAGIC
    from streamgage.formats.kpl_builder import AggregateBuilder
    from streamgage.records import UserRecord

WORDS = (
    MAGIC,
    b"\x0a\x01a",
    b"\x1a\x04\x08\x00\x1a\x00",
    b"\x12\x011",
    b"\x80\x80\x04",
    b"\x22\x03\x0a\x01k",
)


def seeds() -> Iterator[bytes]:
    """Yield what the real encoder writes: the whole record, and its message, which the target signs."""
    for count in (1, 2, 5):
        builder = AggregateBuilder({"pid": "x-17", "n": "1"} if count > 1 else None)
        for number in range(count):
            hash_key = number if number % 2 else None
            builder.add(UserRecord(f"key-{number % 3}", b"d" * (number * 70), hash_key))
        yield builder.build()
        yield builder.build()[len(MAGIC) : -DIGEST_BYTES]


if __name__ == "__main__":
    fuzz(check_kpl, seeds(), WORDS)
