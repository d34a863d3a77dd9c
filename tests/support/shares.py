"""The share of a long table of cases that every run has; ``make slow`` has them all."""

import os
from collections.abc import Iterable
from zlib import crc32

import pytest

SEED = os.environ.get("STREAMGAGE_SHARE_SEED", "1")  # another one draws others


def _number(name: str) -> int:
    return crc32(f"{SEED} {name}".encode())


def is_drawn(name: str, *, one_of: int) -> bool:
    """Tell whether *name* is in the share of about one of so many, drawn by STREAMGAGE_SHARE_SEED; of one, all are."""
    return _number(name) % one_of == 0


def shared(names: Iterable[str], *, one_of: int) -> list[object]:
    """Return *names* as parameters, of which about one of so many is not slow, and one at least, whatever the seed is."""
    names = list(names)
    drawn = {each for each in names if is_drawn(each, one_of=one_of)} or {*sorted(names, key=_number)[:1]}
    return [pytest.param(each, marks=() if each in drawn else pytest.mark.slow) for each in names]
