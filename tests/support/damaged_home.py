"""A home of a local stack, small, with everything in it that is kept; damaged by a seed; and gone on with in this process.

The parts are the real ones: the stream's storage and model, the tables' engine, the checkpoint, the stack's files. What
consumes is small: it adds each record's number to the item of its key, behind a fence a shard.
"""

import os
import random
import shutil
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from infra.local.http.secret import keep_credentials, read_credentials
from infra.local.kinesis.disk import DiskStorage
from infra.local.kinesis.errors import KinesisError, StorageError
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.stream import Entry
from infra.local.mapping.checkpoints import CheckpointFile
from infra.local.mapping.stream import ShardCheckpoint
from infra.local.stack.home import Home, StackInfo, read_json, write_json
from streamgage.errors import ConfigError
from streamgage.limits import KINESIS_HASH_KEYS
from support.local_tables import TABLE, Refused, Tables, key

STREAM, SHARDS, KEYS, RECORDS = "events", 2, 31, 240
_FILLER = {"S": "f" * 400}  # so that most bytes of the tables are of items
_SEGMENT_BYTES = 4_000
_START_MS = 1_700_000_000_000
Records = dict[int, list[tuple[int, bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class Kept:
    """A home as it was left, and what must come of it."""

    home: Path
    records: Records
    totals: Counter[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of going on: everything, or ``named``, which says what is damaged."""

    named: str | None
    totals: Counter[str]


def make(folder: Path, *, killed: bool) -> Kept:
    """Return a home of a stack that was stopped, or *killed* while it was at work."""
    home = Home(folder / "working")
    home.root.mkdir(parents=True)
    now_ms = [_START_MS]
    storage = DiskStorage(home.kinesis_data, segment_bytes=_SEGMENT_BYTES)
    model = KinesisModel(clock_ms=lambda: now_ms[0], storage=storage)
    model.create(STREAM, shard_count=SHARDS, on_demand=False, tags={})
    stream, totals = model.find(STREAM), Counter[str]()
    for number in range(RECORDS):
        now_ms[0] += 3
        name = f"key {number % KEYS}"
        totals[name] += number
        data = f"{name}|{number}|".encode() + b"x" * (number % 90)
        stream.put([Entry(number * 7919 % 64 * (KINESIS_HASH_KEYS // 64), name.encode(), data)])
    tables = Tables(home.tables_data)
    checkpoints: dict[str, ShardCheckpoint] = {}
    for index in range(SHARDS):
        consumed = _consume(model, tables, index, 0, stop=70)
        saved = _consume(
            model, tables, index, 0, stop=55
        )  # a checkpoint that is behind: what follows comes again
        assert consumed > saved
        tables.store._connection.execute(
            "PRAGMA wal_checkpoint"
        )  # of what a kill leaves, some is in the database
        shard = stream.map.by_index[index]
        checkpoints[shard.shard_id] = ShardCheckpoint(
            shard.space.number(saved), finished=False, since_ms=None
        )
    CheckpointFile(home.checkpoint_file).save(checkpoints)
    keep_credentials(home.credentials_file)
    write_json(home.dynamodb_file, {"engine": "embedded"})
    write_json(home.definition_file, {"consumer": "all", "definition": {"rollups": ["a", "b"]}})
    write_json(home.stores_file, {"home": "a", "epoch": 2, "settled": True, "accepted": {}, "told": []})
    write_json(home.stream_file, {"mode": "PROVISIONED", "shards": SHARDS, "hours": 24})
    write_json(home.fixed_file, {"lanes": "shard", "start": ["TRIM_HORIZON", ""]})
    write_json(home.mapping_config_file, {"stream_arn": "arn", "function": {"env": {"A": "1"}}})
    home.write_info(StackInfo({}, "r", STREAM, "arn", TABLE, "q", "b", "p", str(home.credentials_file)))
    records = {index: _records(model, index) for index in range(SHARDS)}
    kept = folder / "kept"
    if killed:
        shutil.copytree(home.root, kept)
    storage.close()
    tables.close()
    if not killed:
        shutil.copytree(home.root, kept)
    return Kept(kept, records, totals)


def files(home: Path) -> dict[str, list[Path]]:
    """Return the files of *home* by their kind."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(home.rglob("*")):
        if path.is_file():
            kind = path.suffix if path.suffix in (".log", ".idx") else path.name
            kind = "mark" if path.parent.name == "marks" else kind
            kinds.setdefault(f"{path.parent.name if kind == 'lock' else ''} {kind}".strip(), []).append(path)
    return kinds


def damage(home: Path, rng: random.Random) -> str:
    """Flip a byte of a file in *home*, cut it, or delete it; say what was done."""
    kinds = files(home)
    path = rng.choice(kinds[rng.choice(sorted(kinds))])
    content, how = bytearray(path.read_bytes()), rng.choice(("flip", "flip", "cut", "delete"))
    if how == "delete" or not content:
        path.unlink()
        return f"deleted {path.relative_to(home)}"
    at = rng.randrange(len(content))
    if how == "cut":
        os.truncate(path, at)
        return f"cut {path.relative_to(home)} to {at} of {len(content)}"
    content[at] ^= rng.randrange(1, 256)
    path.write_bytes(content)
    return f"flipped byte {at} of {path.relative_to(home)}"


def go_on(root: Path, kept: Kept) -> Outcome:
    """Do what the stack's processes do at a start, and consume to the end. Fail where a record is not what it was."""
    home = Home(root)
    with ExitStack() as opened:
        try:
            return Outcome(None, _go_on(home, kept, opened))
        except (ConfigError, StorageError, KinesisError, Refused) as error:
            return Outcome(str(error), Counter())


def _go_on(home: Home, kept: Kept, opened: ExitStack) -> Counter[str]:
    for path in home.documents:
        read_json(path)
    if home.credentials_file.exists():
        read_credentials(home.credentials_file)
    info = read_json(home.info_file)
    assert info is None or info["stream"] == STREAM
    storage = DiskStorage(home.kinesis_data, segment_bytes=_SEGMENT_BYTES)
    opened.callback(storage.close)
    model = KinesisModel(clock_ms=lambda: _START_MS + 60_000, storage=storage)
    tables = Tables(home.tables_data)
    opened.callback(tables.close)
    checkpoints = CheckpointFile(home.checkpoint_file).load()
    for index in range(SHARDS):
        found = _records(model, index)
        if found != kept.records[index]:
            raise AssertionError(f"shard {index} reads {len(found)} records, not as they were written")
        shard = model.find(STREAM).map.by_index[index]
        sequence = checkpoints.get(shard.shard_id, ShardCheckpoint(None, False, None)).sequence
        first = 0 if sequence is None else shard.space.counter_from(sequence, after=True)
        assert first is not None
        _consume(model, tables, index, first)
    return totals_of(tables)


def salvaged_totals(root: Path) -> Counter[str]:
    """Go on where losses were accepted; return the totals."""
    home = Home(root)
    with ExitStack() as opened:
        storage = DiskStorage(home.kinesis_data, segment_bytes=_SEGMENT_BYTES)
        opened.callback(storage.close)
        model = KinesisModel(clock_ms=lambda: _START_MS + 60_000, storage=storage)
        tables = Tables(home.tables_data)
        opened.callback(tables.close)
        for index in range(SHARDS):
            _consume(model, tables, index, 0)
        return totals_of(tables)


def totals_of(tables: Tables) -> Counter[str]:
    """Return the sum of each key over its shards."""
    totals = Counter[str]()
    for item in tables("Scan", TableName=TABLE)["Items"]:
        totals[item["pk"]["S"]] += int(item["total"]["N"])
    return totals


def _records(model: KinesisModel, index: int) -> list[tuple[int, bytes, bytes]]:
    stream, position = model.find(STREAM), 0
    found: list[tuple[int, bytes, bytes]] = []
    while True:
        page = stream.read(index, position, max_records=20, max_bytes=10**6)
        found += [(*record,) for record in page.records]
        if not page.records:
            return found
        assert page.next_counter is not None
        position = page.next_counter


def _consume(model: KinesisModel, tables: Tables, index: int, first: int, *, stop: int = 10**9) -> int:
    """Apply records of a shard from a counter on, to the *stop*-th; return the last one's counter."""
    stream, position, done, last = model.find(STREAM), first, 0, 0
    while done < stop:
        page = stream.read(index, position, max_records=min(20, stop - done), max_bytes=10**6)
        for counter, name, data in page.records:
            _apply(tables, index, counter, name.decode(), int(data.split(b"|")[1]))
            last = counter
        done += len(page.records)
        if not page.records or page.next_counter is None:
            break
        position = page.next_counter
    return last


def _apply(tables: Tables, index: int, counter: int, name: str, value: int) -> None:
    item = tables("GetItem", TableName=TABLE, Key=key(name, str(index)), ConsistentRead=True).get("Item")
    total, fence = (int(item["total"]["N"]), int(item["fence"]["N"])) if item else (0, 0)
    if counter > fence:
        tables.put(
            name, str(index), total={"N": str(total + value)}, fence={"N": str(counter)}, filler=_FILLER
        )
