"""The mark of an aggregated record: who sent it, and its how manyth it is. It travels in a KPL tag, which others ignore."""

from collections.abc import Mapping
from typing import NamedTuple

TAG = "sg"
# So long after a lane's last record its marks are forgotten: longer than any stream's retention (365 days).
KEPT_MS = 400 * 86_400_000
_ID_CHARS = 64
_COUNTER_DIGITS = 15


class Mark(NamedTuple):
    """Who sent an aggregated record, and its how manyth it is; ``producer`` names a producer's group."""

    producer: str
    counter: int


def encode_mark(mark: Mark) -> dict[str, str]:
    """Return the KPL tags that carry *mark*."""
    return {TAG: f"{mark.producer}:{mark.counter}"}


def decode_mark(tags: Mapping[str, str]) -> Mark | None:
    """Return the mark in *tags*; None where there is none, or one of somebody else's making."""
    producer, _, counter = tags.get(TAG, "").rpartition(":")
    if not 0 < len(producer) <= _ID_CHARS or len(counter) > _COUNTER_DIGITS:
        return None
    return Mark(producer, int(counter)) if counter.isascii() and counter.isdigit() else None
