"""Sealed records to spool, and a child that spools until it is killed: ``python -m support.spooled PATH SEED LIFE``.

The child says each thing on a line of its own: ``kept NAME…`` once an append has returned, ``sent NAME…`` before it removes.
"""

import os
import random
import sys
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from producers.spool.spool import Spool
from streamgage.records import SealedRecord

SIZES = (20, 300, 3_000, 9_000, 40_000)
THREADS = 3
CLOCK_MS = 1_700_000_000_000


def record_of(name: str) -> SealedRecord:
    """Return the record of a name: everything of it follows from that."""
    rng = random.Random(name)
    data = f"{name}|".encode() + rng.randbytes(rng.choice(SIZES))
    return SealedRecord(f"key {rng.randrange(5)}", data, rng.choice((None, 2**127 + 1)), rng.randint(1, 500))


def name_of(record: SealedRecord) -> str:
    """Return a record's name; fails where it is not as it was put."""
    name = record.data.partition(b"|")[0].decode()
    assert record == record_of(name), name
    return name


def names_in(spool: Spool) -> list[str]:
    """Return the names of all that a spool holds, in its order."""
    return [name_of(each.record) for each in spool.records()]


def put_back(path: Path, files: dict[str, bytes]) -> None:
    """Make the files of a spool these, and no others."""
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()
    for name, content in files.items():
        path.with_name(name).write_bytes(content)


def files_of(path: Path, *ends: str) -> dict[str, bytes]:
    """Return the files of a spool, those with these ends to their names."""
    names = [path.name + end for end in ends]
    return {name: path.with_name(name).read_bytes() for name in names if path.with_name(name).exists()}


def main(path: str, seed: str, life: str) -> None:
    """Append in several threads, and remove what is at the head, for ever."""
    spool = Spool.open(path, fsync=False)
    output = threading.Lock()

    def say(word: str, names: Sequence[str]) -> None:
        with output:
            os.write(1, f"{word} {' '.join(names)}\n".encode())

    def append(thread: int) -> None:
        rng, numbers = random.Random(f"{seed} {life} {thread}"), _numbers()
        while True:
            names = [f"{seed}.{life}.{thread}.{next(numbers)}" for _ in range(rng.randint(1, 4))]
            spool.append([record_of(each) for each in names], priority=zlib.crc32(names[0].encode()) % 2)
            say("kept", names)

    threads = [threading.Thread(target=append, args=(each,), daemon=True) for each in range(THREADS)]
    for each in threads:
        each.start()
    rng = random.Random(f"{seed} {life}")
    while True:
        head = spool.head(200_000, rng.randint(1, 6))
        say("sent", [name_of(each.record) for each in head])
        spool.remove([each.id for each in head])


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
