"""Fuzz the decoder of Avro user records over many schemas: ``python tests/fuzz/fuzz_avro.py -max_total_time=60``.

The decoder that runs is compiled, and its branches are hidden from the fuzzer. So each input is read by fastavro's
Python twin too, only to show the fuzzer where it leads; what the twin makes of it is not looked at.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import atheris  # in a virtual environment of its own: see `make fuzz`

sys.path[:0] = [
    str(folder) for folder in Path(__file__).parents[1:3]
]  # run as a script: tests, and the repository

with atheris.instrument_imports(include=["streamgage", "fastavro"]):
    from fastavro import _read_py as twin
    from fastavro.read import SchemaResolutionError

    from fuzz.promises import check_avro, readers
    from fuzz.targets import fuzz
    from streamgage.formats.avro import HEADER_BYTES

WORDS = (
    b"\x80\x80\x80\x80\x80\x40",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x03\x80\x80\x80\x80\x04",
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    7,
    1.5,
    b"\x01\x02\x03\x04",
    "text",
    "RED",
    [None, True],
    [[[True]]],
    {"a": None},
    {"x": 1},
)
_EVENT: dict[str, Any] = {
    "id": "d1",
    "ts": 1_700_000_000_000,
    "colour": "RED",
    "value": 1.5,
    "blob": b"b",
    "points": [{"x": 1.0, "y": 2.0, "label": "p"}, None],
    "deep": {"a": {"b": [True]}},
    "code": b"1234",
}


def check(data: bytes) -> None:
    """Check *data*, and let the twin read it with the same schemas."""
    check_avro(data)
    if data:
        reader = readers()[data[0] % len(readers())]
        prefixes = sorted(reader.prefixes)
        schemas = reader._resolve[prefixes[data[0] // 128 % len(prefixes)]]
        with suppress(
            EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError, SchemaResolutionError
        ):
            twin.schemaless_reader(BytesIO(data[1:]), *schemas)


def seeds() -> Iterator[bytes]:
    """Yield the number of a reader and a body that the real encoder wrote for it."""
    for number, reader in enumerate(readers()):
        for event in (_EVENT, *({"field": value} for value in _VALUES)):
            try:
                body = reader.reader.encode(event)[HEADER_BYTES:]
            except ValueError:
                continue  # a value of another schema
            yield bytes((number,)) + body
        yield bytes((number,)) + b"\x02" * 20


if __name__ == "__main__":
    fuzz(check, seeds(), WORDS)
