"""Events to Kinesis records with their marks, in one step; and the same records again, from what was noted of the first time."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from zlib import crc32

from producers.client.batcher import Batcher, TagsFor
from producers.client.batching import BatcherConfig
from producers.client.entry import PutEntry
from producers.client.gather import GroupKey
from producers.client.many import take_many, untold
from producers.collector.durable import KeyReused
from streamgage.definition.pipeline import Source
from streamgage.errors import StreamgageError
from streamgage.formats.avro import Event
from streamgage.formats.mark import Mark, decode_mark, encode_mark
from streamgage.limits import KINESIS_HASH_KEYS
from streamgage.shards import Shard, ShardMap

_NEVER_MS = 3_600_000  # lingering: what is gathered is taken by hand
_ROOM_BYTES = 1 << 40
Groups = Iterable[tuple[Source, Sequence[Event]]]


class NotSealed(StreamgageError):
    """An event that was judged to fit does not: a bug, and nothing was kept."""

    code = "not_sealed"


def seal(
    groups: Groups, shards: ShardMap, tags_for: TagsFor, *, one_key_per_record: bool
) -> Sequence[PutEntry]:
    """Return the records that hold the events of *groups*; they say the shards that they are predicted for.

    A function of what it is given, and of the marks that *tags_for* gives, one a record, in an order that is one too.

    Raises: NotSealed.
    """
    config = BatcherConfig(linger_ms=_NEVER_MS, one_key_per_record=one_key_per_record)
    batcher = Batcher(shards, config, tags_for=tags_for)
    entries: list[PutEntry] = []
    for source, events in groups:
        run = partial(_put_run, batcher, source, entries)
        one: Callable[[Event], None] = partial(_put_one, batcher, source)
        refused = take_many(events, run, one, untold)
        if refused:
            raise NotSealed(f"{source.name}: {refused[0].error}") from refused[0].error
    entries += batcher.take_all()
    return entries


def _put_run(batcher: Batcher, source: Source, entries: list[PutEntry], events: Sequence[Event]) -> int:
    if not source.blocks:
        return 0
    if batcher.due(0):
        entries += batcher.take(0)
    return batcher.put_run(source, events, 0, room_bytes=_ROOM_BYTES)


def _put_one(batcher: Batcher, source: Source, event: Event) -> None:
    if source.blocks:
        batcher.put_event(source, event, 0)
    else:
        from producers.client.encoder import encoder_of  # noqa: PLC0415 - rare

        batcher.put(encoder_of(source).user_record(event), 0)


@dataclass(frozen=True, slots=True)
class Note:
    """What has to be known of a batch to seal it again to the same records: a few bytes a record.

    ``starts``: where the shards that its events went to begin, less those that got none. Events are assigned by them, not by
    the shards of another day. ``marks`` are in the order in which they were drawn; ``events`` is how many there were.
    ``cuts`` says which records they came into, whatever these are compressed to: a version of this code that would cut them
    otherwise finds that out, for under the same marks it would drop events, or have them counted twice.
    """

    starts: tuple[int, ...]
    marks: tuple[Mark, ...]
    events: int
    cuts: int

    def encode(self) -> str:
        """Return it as text: what marks have in common is said once."""
        names: dict[str, int] = {}
        marks = [(names.setdefault(each.producer, len(names)), each.counter) for each in self.marks]
        return json.dumps(
            [self.events, self.cuts, [f"{each:x}" for each in self.starts], list(names), marks],
            separators=(",", ":"),
        )

    @classmethod
    def decode(cls, text: str) -> "Note":
        """Return what *text* says. Raises: ValueError."""
        try:
            events, cuts, starts, names, marks = json.loads(text)
            return cls(
                tuple(int(each, 16) for each in starts),
                tuple(Mark(names[name], counter) for name, counter in marks),
                int(events),
                int(cuts),
            )
        except (TypeError, IndexError, KeyError) as error:
            raise ValueError(f"this is no note of a batch: {text[:80]!r}") from error


def seal_first(
    groups: Groups, shards: Sequence[Shard], tags_for: TagsFor, *, one_key_per_record: bool
) -> tuple[Sequence[PutEntry], Note]:
    """Return the records of a batch, and what has to be noted to make them again.

    Raises: NotSealed; RetryableError, no shard is open.
    """
    marks: list[Mark] = []

    def draw(group: GroupKey) -> Mapping[str, str]:
        tags = tags_for(group)
        mark = decode_mark(tags)
        assert mark is not None  # noqa: S101 - what Identity makes is a mark
        marks.append(mark)
        return tags

    groups = list(groups)
    entries = seal(groups, ShardMap(shards), draw, one_key_per_record=one_key_per_record)
    used = {each.shard_id for each in entries}
    starts = sorted(each.start for each in shards if each.is_open and each.shard_id in used)
    events = sum(len(events) for _, events in groups)
    return entries, Note(tuple(starts), tuple(marks), events, _cuts(entries))


def _cuts(entries: Sequence[PutEntry]) -> int:
    """Return a checksum of how many events each record has, and of which key it is."""
    return crc32(json.dumps([(each.events, each.partition_key) for each in entries]).encode())


def seal_again(groups: Groups, note: Note, *, one_key_per_record: bool) -> Sequence[PutEntry]:
    """Return the records that *note* is of, from the same events: with the same marks, each with the same events in it.

    Raises: KeyReused, they cannot be made any more: the definition takes other events, or this code cuts them otherwise.
    """
    groups = list(groups)
    marks = iter(note.marks)

    def draw(_group: GroupKey) -> Mapping[str, str]:
        try:
            return encode_mark(next(marks))
        except StopIteration:
            raise _changed() from None

    ends = [*note.starts[1:], KINESIS_HASH_KEYS]
    shards = [Shard(f"{start:x}", start, end - 1) for start, end in zip(note.starts, ends, strict=True)]
    if sum(len(events) for _, events in groups) != note.events or not shards:
        raise _changed()
    entries = seal(groups, ShardMap(shards), draw, one_key_per_record=one_key_per_record)
    if next(marks, None) is not None or _cuts(entries) != note.cuts:
        raise _changed()
    return entries


def _changed() -> KeyReused:
    return KeyReused(
        "the batch of this key was begun under another definition, or by another version, and cannot be finished: send it under a new key"
    )
