"""What a sender stored, where and when: for each Kinesis record its place in the stream, and the events in it."""

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SentEntry:
    """One stored Kinesis record. ``numbers`` are those of its events in the sender's schedule."""

    shard_id: str
    sequence_number: int
    stored_ms: float
    data_bytes: int
    numbers: "array[int]"


def write_log(path: Path, entries: Sequence[SentEntry]) -> None:
    """Write *entries*: their places as JSON, the numbers beside it as they are in memory."""
    places = [
        [each.shard_id, str(each.sequence_number), each.stored_ms, each.data_bytes, len(each.numbers)]
        for each in entries
    ]
    path.write_text(json.dumps(places), encoding="utf-8")
    with path.with_suffix(".numbers").open("wb") as file:
        for each in entries:
            each.numbers.tofile(file)


def read_log(path: Path) -> list[SentEntry]:
    """Return what ``write_log`` wrote. Raises: ValueError, the two files do not belong together."""
    places = json.loads(path.read_text(encoding="utf-8"))
    numbers = array("I")
    numbers.frombytes(path.with_suffix(".numbers").read_bytes())
    if len(numbers) != sum(place[4] for place in places):
        raise ValueError(f"{path}: its numbers are not those of its entries")
    entries: list[SentEntry] = []
    at = 0
    for shard_id, sequence, stored_ms, data_bytes, count in places:
        entries.append(SentEntry(shard_id, int(sequence), stored_ms, data_bytes, numbers[at : at + count]))
        at += count
    return entries
