"""Gather user records into Kinesis records: which go together, when one is full, what goes into a request.

No I/O and no clock: the caller says what time it is, and carries what comes out.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from producers.client.batching import BatcherConfig
from producers.client.encoder import SourceEncoder, encoder_of
from producers.client.entry import (
    RECORD_MEMORY_BYTES,
    PutEntry,
    UnsendableRecord,
    check_size,
    user_records_of,
)
from producers.client.gather import BlockGatherer, GroupKey, OpenBlock
from producers.client.open_record import OpenRecord
from producers.client.outcomes import OnDelivery
from producers.client.routes import Routes
from streamgage.definition.pipeline import Source
from streamgage.formats.avro import Event
from streamgage.formats.blocks.layout import MAX_RECORD_EVENTS
from streamgage.formats.kpl import MAGIC
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.limits import PUT_RECORDS_ENTRIES
from streamgage.records import SealedRecord, UserRecord
from streamgage.shards import ShardMap

__all__ = ["Batcher", "BatcherConfig", "PutEntry", "TagsFor", "UnsendableRecord"]

NEVER_MS = 2**63
BLOCK_MEMORY = 8  # an open block has its values as objects: bytes in memory for each it is estimated at
_LONGEST_RUN = 65_536  # events that one call takes at most


TagsFor = Callable[[GroupKey], Mapping[str, str]]
"""Gives the KPL tags of a group's next aggregated record."""


class Batcher:
    """Groups user records by predicted shard and fills Kinesis records with them; and events, where they go in blocks.

    The Kinesis record has the partition key of its first user record, and its explicit hash key if it has one: so it
    goes to the shard predicted for all of them.

    *tags_for* is asked once for every aggregated record of a group, when its first user record comes; the tags are part
    of the bytes. With it every record is aggregated; without it a user record that stayed alone is put plain, which is
    smaller.

    Who was interrupted in a call by an exception that is not the call's own (Ctrl-C) calls ``mend``: then each user record
    was taken whole, or not at all.

    Times are in ms of any clock that does not run backwards.
    """

    def __init__(
        self,
        shards: ShardMap,
        config: BatcherConfig,
        *,
        tags_for: TagsFor | None = None,
    ) -> None:
        self._config = config
        self._tags_for = tags_for
        self._spare_tags: dict[GroupKey, Mapping[str, str]] = {}  # drawn, and not used: a gap costs a range
        self._routes = Routes(shards, config.remembered_keys)
        self._open: dict[GroupKey, OpenRecord] = {}  # in the order they were opened
        self._open_bytes = self._open_records = 0
        self._blocks = BlockGatherer(
            block_bytes=config.block_bytes,
            block_events=config.block_events,
            seal=self._seal_block,
            check=self._check_block,
        )
        self._ready: list[PutEntry] = []
        self._ready_bytes = self._ready_memory_bytes = 0
        self._due_ms = NEVER_MS
        self._count = 0
        self._encoder: tuple[Source, SourceEncoder] | None = None  # of the source that was put last

    @property
    def shards(self) -> ShardMap:
        """The shards that it predicts with."""
        return self._routes.shards

    @property
    def events(self) -> int:
        """How many events were put and not yet taken. Counts them all: for who was interrupted."""
        groups = sum(record.events for each in self._open.values() for record in each.builder.records)
        return groups + self._blocks.events + sum(each.events for each in self._ready)

    @property
    def buffered_bytes(self) -> int:
        """The bytes of all that was put and not yet taken."""
        return self._open_bytes + self._blocks.buffered_bytes + self._ready_bytes

    @property
    def memory_bytes(self) -> int:
        """What all that was put and not yet taken takes in memory, never less."""
        return (
            2 * self._open_bytes
            + RECORD_MEMORY_BYTES * self._open_records
            + BLOCK_MEMORY * self._blocks.buffered_bytes
            + self._ready_memory_bytes
        )

    def put(self, record: UserRecord, now_ms: int, outcome: OnDelivery | None = None) -> None:
        """Take a user record.

        Raises:
            UnsendableRecord: its partition key is not 1 to 256 characters of UTF-8, its explicit hash key has more
                than 128 bits, or it is too large for a Kinesis record. Nothing has changed.
        """
        partition_key = record.partition_key
        shard_id = self._routes.known.get(partition_key) if record.explicit_hash_key is None else None
        if shard_id is None:
            shard_id = self._routes.shard_of(record)
        key = (shard_id, partition_key) if self._config.one_key_per_record else shard_id
        group = self._open.get(key)
        if group is not None:
            builder = group.builder
            size_bytes = builder.size_bytes
            # A block that is sent anew may say tens of thousands in a hundred bytes: see MAX_RECORD_EVENTS.
            if group.events + record.events <= MAX_RECORD_EVENTS and builder.add_within(
                record, group.limit_bytes
            ):
                group.events += record.events
                self._open_bytes += builder.size_bytes - size_bytes
                group.numbers.append(self._count)
                self._count += 1
                self._open_records += 1
                if outcome is not None:
                    group.outcomes.append(outcome)
                    self._open_records += 1
                return
        group = self._new_group(record, key, shard_id=shard_id, now_ms=now_ms)
        if key in self._open:
            self._seal(key)
        self._open[key] = group
        self._open_bytes += group.builder.size_bytes
        group.numbers.append(self._count)
        self._count += 1
        self._open_records += 1
        if outcome is not None:
            group.outcomes.append(outcome)
            self._open_records += 1
        self._due_ms = min(self._due_ms, now_ms + self._config.linger_ms)

    def put_event(self, source: Source, event: Event, now_ms: int, outcome: OnDelivery | None = None) -> None:
        """Take an event into the open block of its source and shard.

        Raises:
            ValueError: as ``SourceEncoder.user_record`` does. Nothing has changed.
            UnsendableRecord: as ``put`` does. Nothing has changed.
        """
        encoder = self._encoder_of(source)
        partition_key = encoder.key_of(event)
        shard_id = self._routes.shard_of_key(partition_key)
        group = (shard_id, partition_key) if self._config.one_key_per_record else shard_id
        self._blocks.add(encoder, event, group, self._count, now_ms, outcome=outcome)
        self._count += 1
        self._open_records += outcome is not None
        if self._due_ms == NEVER_MS:  # what was opened before is due before
            self._due_ms = now_ms + self._config.linger_ms

    def put_run(self, source: Source, events: Sequence[Event], now_ms: int, *, room_bytes: int) -> int:
        """Take the first of *events*, at least one, with the outcome of ``put_event`` for each; return how many.

        Only such as fit, fill no block, leave nothing due, and add no more than *room_bytes* to ``buffered_bytes``. So 0
        may be due to any of them: fewer at a time or ``put_event`` will tell.
        """
        config = self._config
        if config.one_key_per_record or not config.linger_ms or self.due(now_ms):
            return 0
        encoder = self._encoder_of(source)
        run = encoder.run_of(events)
        if run is None:
            return 0
        try:
            places: Mapping[Any, Sequence[int]] = self._routes.places(run[0])
        except UnsendableRecord:
            return 0
        taken = self._blocks.add_run(encoder, run, places, self._count, now_ms, room_bytes=room_bytes)
        self._count += taken
        if taken and self._due_ms == NEVER_MS:
            self._due_ms = now_ms + config.linger_ms
        return taken

    def _encoder_of(self, source: Source) -> SourceEncoder:
        last = self._encoder
        if last is None or last[0] is not source:  # the encoder's own source may be another that is equal
            last = self._encoder = source, encoder_of(source)
        return last[1]

    def due(self, now_ms: int) -> bool:
        """Tell whether it is time to ``take``: a request is full, or a user record has lingered long enough."""
        return self._due_ms <= now_ms

    def next_deadline_ms(self) -> int | None:
        """Return when it will be time to ``take`` if no more is put (0: it is); None when there is nothing."""
        return None if self._due_ms == NEVER_MS else self._due_ms

    def take(self, now_ms: int) -> list[PutEntry]:
        """Return the entries that are full or have lingered long enough, in the order they became so."""
        self._seal_due(now_ms)
        return self._hand_over()

    def take_all(self) -> list[PutEntry]:
        """Return everything as entries, however short of full."""
        self._seal_all()
        return self._hand_over()

    def move(self, into: Callable[[list[PutEntry]], None], now_ms: int | None) -> None:
        """Hand to *into* what ``take`` returns at *now_ms*, or ``take_all``; it is here until *into* has returned."""
        if now_ms is None:
            self._seal_all()
        else:
            self._seal_due(now_ms)
        into(self._ready)
        self._hand_over()

    def sealed(self, record: SealedRecord, now_ms: int) -> PutEntry:
        """Return what somebody sealed before as an entry, which is not taken here.

        Raises: UnsendableRecord, as ``put`` does.
        """
        check_size(len(record.data), record.partition_key, made_of_bytes=len(record.data))
        shard_id = self._routes.shard_of(record)
        records = tuple(user_records_of(record))
        numbers = range(self._count, self._count + len(records))
        self._count += len(records)
        return self._entry(
            shard_id,
            records,
            record.data,
            numbers=numbers,
            opened_ms=now_ms,
            kept_ms=record.kept_ms,
            of=record,
        )

    def set_shards(self, shards: ShardMap) -> None:
        """Predict with *shards* from now on. What is open is closed as it is, for its bytes may carry a tag."""
        self._seal_all()
        self._routes.set_shards(shards)

    def mend(self, elsewhere: Collection[PutEntry]) -> None:
        """Take in what an interrupt left half done. *elsewhere* are the entries that were handed over."""
        sealed = self._blocks.mend()
        sealed += [each.entry for each in self._open.values() if each.entry is not None]
        self._ready += [each for each in sealed if each not in self._ready]
        self._open = {key: each for key, each in self._open.items() if each.entry is None}
        self._ready = [each for each in self._ready if each not in elsewhere]
        for group in self._open.values():
            group.numbers += [self._count] * (len(group.builder.records) - len(group.numbers))
        self._count += _LONGEST_RUN
        self._open_bytes = sum(each.builder.size_bytes for each in self._open.values())
        self._open_records = self._blocks.outcomes
        self._open_records += sum(len(each.numbers) + len(each.outcomes) for each in self._open.values())
        self._ready_bytes = sum(each.size_bytes for each in self._ready)
        self._ready_memory_bytes = sum(each.memory_bytes for each in self._ready)
        self._due_ms = 0

    def _seal_due(self, now_ms: int) -> None:
        opened_until_ms = now_ms - self._config.linger_ms
        for key, group in list(self._open.items()):
            if group.opened_ms > opened_until_ms:
                break
            self._seal(key)
        self._blocks.seal_due(opened_until_ms)

    def _seal_all(self) -> None:
        for key in list(self._open):
            self._seal(key)
        self._blocks.seal_all()

    def _new_group(self, record: UserRecord, key: GroupKey, *, shard_id: str, now_ms: int) -> OpenRecord:
        tags = self._draw_tags(key)
        builder = AggregateBuilder(tags)
        builder.add(record)
        data_bytes = len(record.data) if self._may_go_plain(record) else builder.size_bytes
        try:
            check_size(data_bytes, record.partition_key, made_of_bytes=len(record.data))
        except UnsendableRecord:
            self._put_back_tags(key, tags)
            raise
        limit_bytes = self._config.aggregate_bytes - len(record.partition_key.encode())
        return OpenRecord(shard_id, builder, limit_bytes=limit_bytes, opened_ms=now_ms)

    def _draw_tags(self, key: GroupKey) -> Mapping[str, str] | None:
        if self._tags_for is None:
            return None
        return self._spare_tags.pop(key, None) or self._tags_for(key)

    def _put_back_tags(self, key: GroupKey, tags: Mapping[str, str] | None) -> None:
        if tags is not None:
            self._spare_tags[key] = tags

    def _may_go_plain(self, record: UserRecord) -> bool:
        """What begins with the magic would be taken for an aggregate if it were put plain."""
        return self._tags_for is None and not record.data.startswith(MAGIC)

    def _seal(self, key: GroupKey) -> None:
        group = self._open[key]
        builder = group.builder
        first = builder.records[0]
        data = first.data if builder.count == 1 and self._may_go_plain(first) else builder.build()
        group.entry = entry = self._entry(  # from here on it is sealed: see mend
            group.shard_id,
            builder.records,
            data,
            numbers=group.numbers,
            opened_ms=group.opened_ms,
            of=first,
            outcomes=group.outcomes,
        )
        self._make_ready(entry)
        del self._open[key]
        self._open_bytes -= builder.size_bytes
        self._open_records -= len(group.numbers) + len(group.outcomes)

    def _check_block(self, block: OpenBlock) -> None:
        """Let pass a block of one large event, by what its Kinesis record will take to the byte: its tags are drawn."""
        block.tags = self._draw_tags(block.group)
        record = block.record()
        builder = AggregateBuilder(block.tags)
        builder.add(record)
        try:
            check_size(builder.size_bytes, record.partition_key, made_of_bytes=len(record.data))
        except UnsendableRecord:
            self._put_back_tags(block.group, block.tags)
            raise

    def _seal_block(self, block: OpenBlock) -> None:
        """Make a Kinesis record of a block: always an aggregate, for only that carries tags and more than a key."""
        if block.tags is None:
            block.tags = self._draw_tags(block.group)
        builder = AggregateBuilder(block.tags)
        record = block.record()
        builder.add(record)
        shard_id = block.group if isinstance(block.group, str) else block.group[0]
        block.entry = entry = self._entry(
            shard_id,
            [record],
            builder.build(),
            numbers=[block.number],
            opened_ms=block.opened_ms,
            of=record,
            outcomes=block.outcomes,
        )
        self._open_records -= len(block.outcomes)
        self._make_ready(entry)

    @staticmethod
    def _entry(
        shard_id: str,
        records: Sequence[UserRecord],
        data: bytes,
        *,
        numbers: Sequence[int],
        opened_ms: int,
        of: UserRecord | SealedRecord,
        kept_ms: int | None = None,
        outcomes: Sequence[OnDelivery] = (),
    ) -> PutEntry:
        return PutEntry(
            shard_id=shard_id,
            partition_key=of.partition_key,
            explicit_hash_key=of.explicit_hash_key,
            data=data,
            size_bytes=len(data) + len(of.partition_key.encode()),
            records=tuple(records),
            numbers=tuple(numbers),
            opened_ms=opened_ms,
            kept_ms=kept_ms,
            outcomes=tuple(outcomes),
        )

    def _make_ready(self, entry: PutEntry) -> None:
        self._ready.append(entry)
        self._ready_bytes += entry.size_bytes
        self._ready_memory_bytes += entry.memory_bytes
        if self._ready_bytes >= self._config.request_bytes or len(self._ready) >= PUT_RECORDS_ENTRIES:
            self._due_ms = 0

    def _hand_over(self) -> list[PutEntry]:
        entries, self._ready, self._ready_bytes, self._ready_memory_bytes = self._ready, [], 0, 0
        opened_ms = [each.opened_ms for each in islice(self._open.values(), 1)]
        if self._blocks.oldest_ms is not None:
            opened_ms.append(self._blocks.oldest_ms)
        self._due_ms = min(opened_ms) + self._config.linger_ms if opened_ms else NEVER_MS
        return entries
