"""Fuzz the importers of CSV, NDJSON and access logs: ``python tests/fuzz/fuzz_import.py -max_total_time=60``."""

import sys
from collections.abc import Iterator
from pathlib import Path

import atheris  # in a virtual environment of its own: see `make fuzz`

sys.path[:0] = [
    str(folder) for folder in Path(__file__).parents[1:3]
]  # run as a script: tests, and the repository

with atheris.instrument_imports(include=["streamgage", "producers", "json"]):
    from fuzz.promises import check_import
    from fuzz.targets import fuzz

WORDS = (
    b'a","\n',
    b'"',
    b'""',
    b"\r\n",
    b"\xef\xbb\xbf",
    b'{"ts":',
    b"1e999999999",
    b"17/May/2015:10:05:03 +0000",
    b"NaN",
)
_CSV = b'device_id,metric,ts,value\nd1,m,1700000000,1.5\n"d\n2",m,2014-02-14 14:30:00,"2"\n\nx,y\n"'
_NDJSON = (
    b'{"device_id":"d1","metric":"m","ts":1700000000000,"value":1.5,"tags":{"a":"b"}}\n\n[]\n'
    b'{"a":{"b":"d"},"c":"s","ts":"1700000000000","value":"1","metric":"m"}\n'
    b'{"id":"d","ts":1700000000,"colour":"RED","value":null,"blob":"b","points":[null,{"x":1.0,"y":1.0}]}\n'
)
_LOG = b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 203023 "r" "u \\"a\\""\n'


def seeds() -> Iterator[bytes]:
    """Yield files of each kind; the first byte says which kind, and which delimiter."""
    yield b"\0" + _CSV
    yield b"\3" + _CSV.replace(b",", b";")
    yield b"\1" + _NDJSON
    yield b"\2" + _LOG + _LOG.replace(b"GET", b"POST") + b'1 - - [x] "-" 408 -\n'
    yield b"\0" + b'device_id,metric,ts,value\na","\na","\n'


if __name__ == "__main__":
    fuzz(check_import, seeds(), WORDS)
