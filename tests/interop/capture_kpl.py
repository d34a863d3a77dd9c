"""Capture what the real KPL writes as golden files: ``PYTHONPATH=.:tests .venv/bin/python -m interop.capture_kpl``.

A file holds one Kinesis record as it came out of the stream, and the user records that went in, in the order they were
put. The stream has two shards; each case is sent when everything before it is stored.
"""

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from interop.java_clients import BARRIER, KPL, JavaClients, Placed, build
from interop.served import served
from streamgage.records import StreamRecord, UserRecord

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TOP = 2**128 - 1


def cases() -> dict[str, list[UserRecord]]:
    """Return, by name, user records that the KPL puts into one Kinesis record: all on the second shard."""
    dice = random.Random(1)
    keys = ["žluťoučký kůň", "𝄞", "k" * 256, *(f"device-{n}" for n in range(160))]
    return {
        "one": [UserRecord("device-1", b"alone", TOP)],
        "three": [UserRecord(f"device-{n}", b"reading %d" % n, TOP) for n in range(3)],
        "one_key": [
            UserRecord("device-5", b"\x00\xff" * n) for n in range(5)
        ],  # its MD5 begins with 0xe3: the second shard
        "explicit_hash_keys": [
            UserRecord("device-5", b"by its key"),
            UserRecord("device-5", b"lowest of the shard", 2**127),
            UserRecord("device-6", b"highest", TOP),
            UserRecord("device-6", b"highest again", TOP),
            UserRecord("device-7", b"", 2**127 + 1),
        ],
        "many": [
            UserRecord(dice.choice(keys), dice.randbytes(dice.choice((0, 9, 20, 127, 128))), TOP - n % 140)
            for n in range(300)
        ],
    }


def capture(java: JavaClients) -> dict[str, dict[str, Any]]:
    """Return the content of each golden file, by case."""
    named = cases()
    flights: list[UserRecord | None] = [UserRecord("the KPL lists the shards", b"first")]
    for records in named.values():
        flights += [BARRIER, *records]
    with tempfile.TemporaryDirectory() as directory, served(Path(directory)) as plane:
        plane.client.create_stream(StreamName="s", ShardCount=2)
        placed = iter(java.kpl_send("s", flights, port=plane.tls.port)[1:])
        stored = {
            Placed(record.shard_id, record.sequence_number): record
            for shard in plane.read("s").values()
            for record in shard
        }
        found = {}
        for name, records in named.items():
            places = {next(placed) for _ in records}
            if len(places) != 1:
                raise SystemExit(f"the KPL put case {name} into {len(places)} Kinesis records")
            found[name] = _content(stored[places.pop()], records)
        return found


def _content(stored: StreamRecord, records: list[UserRecord]) -> dict[str, Any]:
    return {
        "kpl": KPL,
        "partition_key": stored.partition_key,
        "data": stored.data.hex(),
        "user_records": [
            [record.partition_key, record.data.hex(), record.explicit_hash_key] for record in records
        ],
    }


def main() -> None:
    """Write the files anew."""
    for name, content in capture(build()).items():
        path = GOLDEN / f"kpl_{name}.json"
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
