"""The share of a long table of cases that every run has; ``make slow`` has them all."""

import os
from collections.abc import Iterable
from zlib import crc32

import pytest

SEED = os.environ.get("STREAMGAGE_SHARE_SEED", "1")  # another one draws others


def is_drawn(name: str, *, one_of: int) -> bool:
    """Tell whether *name* is in the share of about one of so many, drawn by STREAMGAGE_SHARE_SEED; of one, all are."""
    return crc32(f"{SEED} {name}".encode()) % one_of == 0


def shared(names: Iterable[str], *, one_of: int) -> list[object]:
    """Return *names* as parameters, of which about one of so many is not slow: drawn by STREAMGAGE_SHARE_SEED."""
    return [
        pytest.param(name, marks=() if is_drawn(name, one_of=one_of) else pytest.mark.slow) for name in names
    ]
