"""Fuzz Avro schemas, and bodies read with them: ``python tests/fuzz/fuzz_schema.py -max_total_time=60``."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris  # in a virtual environment of its own: see `make fuzz`

sys.path[:0] = [
    str(folder) for folder in Path(__file__).parents[1:3]
]  # run as a script: tests, and the repository

with atheris.instrument_imports(include=["streamgage", "json"]):
    from fuzz.promises import check_schema, readers
    from fuzz.targets import fuzz

WORDS = (
    *(
        b'"%s"' % each
        for each in (b"type", b"name", b"fields", b"items", b"values", b"symbols", b"size", b"namespace")
    ),
    *(
        b'"%s"' % each
        for each in (b"record", b"array", b"map", b"enum", b"fixed", b"null", b"union", b"default")
    ),
)


def seeds() -> Iterator[bytes]:
    """Yield each schema that the tests know, and a body behind a NUL."""
    for reader in readers():
        parsed = {key: value for key, value in reader.reader.parsed.items() if not key.startswith("__")}
        yield json.dumps(parsed).encode() + b"\0" + b"\x02" * 9


if __name__ == "__main__":
    fuzz(check_schema, seeds(), WORDS)
