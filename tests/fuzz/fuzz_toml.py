"""Fuzz pipeline.toml and the schemas it names: ``python tests/fuzz/fuzz_toml.py -max_total_time=60``."""

import sys
from collections.abc import Iterator
from pathlib import Path

import atheris  # in a virtual environment of its own: see `make fuzz`

sys.path[:0] = [
    str(folder) for folder in Path(__file__).parents[1:3]
]  # run as a script: tests, and the repository

with atheris.instrument_imports(include=["streamgage", "tomllib", "json"]):
    from fuzz.promises import DEFINITION, ROOT, check_toml
    from fuzz.targets import fuzz

WORDS = (
    b"[[sources]]",
    b"[[rollups]]",
    b"0xffff",
    b"1979-05-27",
    b"'''",
    b'"""',
    b"a.a.a.a",
    b"= [[[[",
    b"inf",
    b"{a=",
)


def seeds() -> Iterator[bytes]:
    """Yield the shipped definition, the tests' own, and one whose schema stands behind a NUL."""
    shipped = (ROOT / "pipeline.toml").read_bytes()
    yield shipped
    yield DEFINITION.encode()
    schema = (ROOT / "schemas/reading.avsc").read_bytes()
    yield shipped.replace(b"schemas/reading.avsc", b"x.avsc") + b"\0" + schema
    yield b'[[sources]]\nname = "s"\nschema = "x"\npartition_key = "a"\nevent_time = "b"\nscale = {c = 3}\n'


if __name__ == "__main__":
    fuzz(check_toml, seeds(), WORDS)
