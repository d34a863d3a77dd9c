"""Fuzz the decoder of blocks over many schemas: ``python tests/fuzz/fuzz_blocks.py -max_total_time=60``."""

import sys
from collections.abc import Iterator
from pathlib import Path

import atheris  # in a virtual environment of its own: see `make fuzz`

sys.path[:0] = [
    str(folder) for folder in Path(__file__).parents[1:3]
]  # run as a script: tests, and the repository

with atheris.instrument_imports(include=["streamgage"]):
    from fuzz.block_promises import check_block, seeds_of_blocks
    from fuzz.targets import fuzz

WORDS = (
    b"\x10\x02",  # not deflated, two events
    b"\x11\x02",  # deflated, two events
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x04",
    b"\x0f\x00",  # a list of integers: differences of 64 bits
    b"\x1f\x00",  # the same in planes
    b"\x01\x02",  # a dictionary of two
    b"\xfe",
)


def seeds() -> Iterator[bytes]:
    """Yield the number of a schema and what the real encoder wrote for it: the block, and its body alone."""
    yield from seeds_of_blocks()


if __name__ == "__main__":
    fuzz(check_block, seeds(), WORDS)
