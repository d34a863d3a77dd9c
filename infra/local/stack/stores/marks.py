"""The mark that each store of a home carries, and the home's own note of it.

The stream carries it as tags, the table as an item that no reader of aggregates looks at, the checkpoints as a field. An
``up`` notes first that it begins, then marks all three, then notes that all are marked: a crash in between is told from a
store that was exchanged.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.local.mapping.checkpoints import CheckpointFile
from infra.local.stack.home import Home, read_json, write_json
from infra.local.stack.stores.facts import Facts, Mark

_HOME_TAG, _EPOCH_TAG = "streamgage:home", "streamgage:epoch"
_KEY = {"pk": {"S": "~stores"}, "sk": {"S": "mark"}}  # no rollup's name begins so


@dataclass(frozen=True, slots=True)
class Note:
    """The home's own note. ``told`` is what the last check found, for whoever asks later."""

    mark: Mark | None = None
    settled: bool = False
    accepted: Mapping[str, int] = field(default_factory=dict)
    told: tuple[str, ...] = ()


def read_note(home: Home) -> Note:
    """Return the note of *home*; an empty one where there is none, or none that can be read: the stores say it as well."""
    raw = read_json(home.stores_file)
    try:
        accepted = {shard_id: int(number) for shard_id, number in raw["accepted"].items()}
        return Note(
            Mark(str(raw["home"]), int(raw["epoch"])), bool(raw["settled"]), accepted, tuple(raw["told"])
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        return Note()


def write_note(home: Home, note: Note) -> None:
    """Replace the note of *home*."""
    mark = note.mark or Mark("", 0)
    accepted = {shard_id: str(number) for shard_id, number in note.accepted.items()}
    document = {**asdict(mark), "settled": note.settled, "accepted": accepted, "told": list(note.told)}
    write_json(home.stores_file, document)


def next_mark(facts: Facts, noted: Mark | None) -> Mark:
    """Return the mark of this start: the home's identity, or a new one, and the next epoch."""
    found: Iterable[Mark | None] = (
        facts.stream.mark if facts.stream else None, facts.tables.mark, facts.checkpoints.mark, noted
    )  # fmt: skip
    known = [mark for mark in found if mark is not None]
    if not known:
        return Mark(uuid.uuid4().hex, 1)
    home = known[0].home
    return Mark(home, 1 + max(mark.epoch for mark in known if mark.home == home))


def mark_of_tags(tags: Mapping[str, str]) -> Mark | None:
    """Return the mark that the tags of a stream are; None where there is none."""
    home, epoch = tags.get(_HOME_TAG), tags.get(_EPOCH_TAG, "")
    return Mark(home, int(epoch)) if home and epoch.isdecimal() else None


def mark_stream(kinesis: Any, stream: str, mark: Mark) -> None:
    """Mark *stream*. *kinesis* is a boto3 client."""
    tags = {_HOME_TAG: mark.home, _EPOCH_TAG: str(mark.epoch)}
    kinesis.add_tags_to_stream(StreamName=stream, Tags=tags)


def mark_of_table(dynamodb: Any, table: str) -> Mark | None:
    """Return the mark of *table*; None where there is none. *dynamodb* is a boto3 client."""
    item = dynamodb.get_item(TableName=table, Key=_KEY, ConsistentRead=True).get("Item")
    return Mark(item["home"]["S"], int(item["epoch"]["N"])) if item else None


def mark_table(dynamodb: Any, table: str, mark: Mark) -> None:
    """Mark *table*."""
    values = {"home": {"S": mark.home}, "epoch": {"N": str(mark.epoch)}}
    dynamodb.put_item(TableName=table, Item={**_KEY, **values})


def mark_of_checkpoints(file: CheckpointFile) -> Mark | None:
    """Return the mark of checkpoints that were loaded."""
    return Mark(file.mark["home"], file.mark["epoch"]) if file.mark else None
