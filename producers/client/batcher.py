"""Gather user records into Kinesis records: which go together, when one is full, what goes into a request.

No I/O and no clock: the caller says what time it is, and carries what comes out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from producers.client.encoder import SourceEncoder, encoder_of
from producers.client.gather import BlockGatherer, Gathered, GroupKey
from streamgage.definition.pipeline import Source
from streamgage.errors import ConfigError, StreamgageError
from streamgage.formats.avro import Event
from streamgage.formats.blocks.layout import MAX_EVENTS, MAX_RECORD_EVENTS
from streamgage.formats.kpl import MAGIC
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.limits import (
    KINESIS_HASH_KEYS,
    KINESIS_PARTITION_KEY_CHARS,
    KINESIS_RECORD_BYTES,
    MIB,
    PUT_RECORDS_BYTES,
    PUT_RECORDS_ENTRIES,
)
from streamgage.records import UserRecord
from streamgage.shards import ShardMap, hash_key_of

_BLOCK_ROOM_BYTES = 4_096  # of a Kinesis record: for what goes around a block, its keys, tags and headers
_ROUTES = 65_536  # partition keys whose shard is remembered; looking one up saves an MD5
_NEVER_MS = 2**63


class UnsendableRecord(StreamgageError, ValueError):
    """A user record that Kinesis takes in no form. Nothing was buffered; set it aside and go on."""

    code = "unsendable"


@dataclass(frozen=True, slots=True)
class BatcherConfig:
    """How user records are gathered.

    Attributes:
        aggregate_bytes: an aggregated record grows up to this, with its partition key. A provisioned stream bills
            units of 25 KB, so 50,000 fills two (a nearly empty unit costs as much as a full one), and at a shard's
            1 MB/s makes 20 of the 1,000 records/s that it takes. Larger ones would save little more (the frame and
            tables are some 3 % here) and concentrate harm: a Kinesis record is throttled, retried, quarantined and
            folded whole.
        request_bytes: a PutRecords request grows up to this. A shard takes 1 MiB/s: more at once is throttled.
        linger_ms: a user record waits at most this long for company.
        block_bytes: a block of events grows up to this, before it is compressed (to a sixth or so). One that does not
            compress still fits into a Kinesis record.
        block_events: a block grows up to so many events. It is folded, and quarantined if it is damaged, whole.
        one_key_per_record: every Kinesis record holds user records of one partition key, which is also its own.
            Required by a mapping with ParallelizationFactor > 1; costs more records.
    """

    aggregate_bytes: int = 50_000
    request_bytes: int = MIB
    linger_ms: int = 100
    block_bytes: int = 500_000
    block_events: int = 10_000
    one_key_per_record: bool = False

    def __post_init__(self) -> None:
        """Refuse what Kinesis would."""
        problems = [
            f"{name} is {value}, outside {low} to {high}"
            for name, value, low, high in (
                ("aggregate_bytes", self.aggregate_bytes, 1, KINESIS_RECORD_BYTES),
                ("request_bytes", self.request_bytes, 1, PUT_RECORDS_BYTES),
                ("linger_ms", self.linger_ms, 0, 3_600_000),
                ("block_bytes", self.block_bytes, 1, KINESIS_RECORD_BYTES - _BLOCK_ROOM_BYTES),
                ("block_events", self.block_events, 1, MAX_EVENTS),
            )
            if not low <= value <= high
        ]
        if problems:
            raise ConfigError(*problems)


@dataclass(frozen=True, slots=True, eq=False)
class PutEntry:
    """One Kinesis record to put: its bytes stay as they are however often it is sent.

    ``shard_id`` is where its user records were predicted to go. ``numbers`` says when each of ``records`` was put,
    counting every put of the batcher; a block counts as its first event. ``opened_ms`` is when the first was.
    """

    shard_id: str
    partition_key: str
    explicit_hash_key: int | None
    data: bytes
    size_bytes: int
    records: tuple[UserRecord, ...]
    numbers: tuple[int, ...]
    opened_ms: int

    @property
    def events(self) -> int:
        """How many events it holds."""
        return sum(each.events for each in self.records)


TagsFor = Callable[[GroupKey], Mapping[str, str]]
"""Gives the KPL tags of a group's next aggregated record."""


class _Group:
    """The open Kinesis record of a shard, or of a partition key in a shard."""

    __slots__ = ("builder", "events", "limit_bytes", "numbers", "opened_ms", "shard_id")

    def __init__(self, shard_id: str, builder: AggregateBuilder, *, limit_bytes: int, opened_ms: int) -> None:
        self.shard_id = shard_id
        self.builder = builder
        self.limit_bytes = limit_bytes
        self.opened_ms = opened_ms
        self.events = builder.records[0].events
        self.numbers: list[int] = []


class Batcher:
    """Groups user records by predicted shard and fills Kinesis records with them; and events, where they go in blocks.

    The Kinesis record has the partition key of its first user record, and its explicit hash key if it has one: so it
    goes to the shard predicted for all of them.

    *tags_for* is asked once for every aggregated record of a group, when its first user record comes; the tags are part
    of the bytes. With it every record is aggregated; without it a user record that stayed alone is put plain, which is
    smaller.

    Times are in ms of any clock that does not run backwards.
    """

    def __init__(
        self,
        shards: ShardMap,
        config: BatcherConfig,
        *,
        tags_for: TagsFor | None = None,
    ) -> None:
        self.shards = shards
        self._config = config
        self._tags_for = tags_for
        self._routes: dict[str, str] = {}
        self._open: dict[GroupKey, _Group] = {}  # in the order they were opened
        self._open_bytes = 0
        self._blocks = BlockGatherer(block_bytes=config.block_bytes, block_events=config.block_events)
        self._ready: list[PutEntry] = []
        self._ready_bytes = 0
        self._due_ms = _NEVER_MS
        self._count = 0
        self._encoder: tuple[Source, SourceEncoder] | None = None  # of the source that was put last

    @property
    def buffered_bytes(self) -> int:
        """The bytes of all that was put and not yet taken."""
        return self._open_bytes + self._blocks.buffered_bytes + self._ready_bytes

    def put(self, record: UserRecord, now_ms: int) -> None:
        """Take a user record.

        Raises:
            UnsendableRecord: its partition key is not 1 to 256 characters of UTF-8, its explicit hash key has more
                than 128 bits, or it is too large for a Kinesis record. Nothing has changed.
        """
        partition_key = record.partition_key
        shard_id = self._routes.get(partition_key) if record.explicit_hash_key is None else None
        if shard_id is None:
            shard_id = self._route(record)
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
                return
        group = self._new_group(record, key, shard_id=shard_id, now_ms=now_ms)
        if key in self._open:
            self._seal(key)
        self._open[key] = group
        self._open_bytes += group.builder.size_bytes
        group.numbers.append(self._count)
        self._count += 1
        self._due_ms = min(self._due_ms, now_ms + self._config.linger_ms)

    def put_event(self, source: Source, event: Event, now_ms: int) -> None:
        """Take an event into the open block of its source and shard.

        Raises:
            ValueError: as ``SourceEncoder.user_record`` does. Nothing has changed.
            UnsendableRecord: as ``put`` does. Nothing has changed.
        """
        encoder = self._encoder_of(source)
        partition_key = encoder.key_of(event)
        shard_id = self._routes.get(partition_key) or self._route(UserRecord(partition_key, b""))
        group = (shard_id, partition_key) if self._config.one_key_per_record else shard_id
        full = self._blocks.add(encoder, event, group, self._count, now_ms)
        self._count += 1
        if self._due_ms == _NEVER_MS:  # what was opened before is due before
            self._due_ms = now_ms + self._config.linger_ms
        for block in full:
            self._put_block(block)

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
            places = self._places(run[0])
        except UnsendableRecord:
            return 0
        taken = self._blocks.add_run(encoder, run, places, self._count, now_ms, room_bytes=room_bytes)
        self._count += taken
        if taken and self._due_ms == _NEVER_MS:
            self._due_ms = now_ms + config.linger_ms
        return taken

    def _places(self, keys: Sequence[str]) -> dict[GroupKey, Sequence[int]]:
        """Return which of *keys* lead to which shard, the first one's first. Raises: UnsendableRecord, as ``put`` does."""
        routes = self._routes
        try:
            shard_ids = list(map(routes.__getitem__, keys))
        except KeyError:
            shard_ids = [routes.get(key) or self._route(UserRecord(key, b"")) for key in keys]
        if len(set(shard_ids)) == 1:
            return {shard_ids[0]: range(len(keys))}
        places: dict[GroupKey, list[int]] = {}
        for at, shard_id in enumerate(shard_ids):
            places.setdefault(shard_id, []).append(at)
        return {**places}

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
        return None if self._due_ms == _NEVER_MS else self._due_ms

    def take(self, now_ms: int) -> list[PutEntry]:
        """Return the entries that are full or have lingered long enough, in the order they became so."""
        opened_until_ms = now_ms - self._config.linger_ms
        for key, group in list(self._open.items()):
            if group.opened_ms > opened_until_ms:
                break
            self._seal(key)
        for gathered in self._blocks.take(opened_until_ms):
            self._put_block(gathered)
        return self._hand_over()

    def take_all(self) -> list[PutEntry]:
        """Return everything as entries, however short of full."""
        self._seal_all()
        return self._hand_over()

    def set_shards(self, shards: ShardMap) -> None:
        """Predict with *shards* from now on. What is open is closed as it is, for its bytes may carry a tag."""
        self._seal_all()
        self.shards = shards
        self._routes.clear()

    def _seal_all(self) -> None:
        for key in list(self._open):
            self._seal(key)
        for gathered in self._blocks.take_all():
            self._put_block(gathered)

    def _route(self, record: UserRecord) -> str:
        """Check the keys of *record* and return the shard they lead to."""
        partition_key, hash_key = record.partition_key, record.explicit_hash_key
        if not 1 <= len(partition_key) <= KINESIS_PARTITION_KEY_CHARS:
            raise UnsendableRecord(
                f"partition key {partition_key[:40]!r} has {len(partition_key)} characters; Kinesis takes 1 to "
                f"{KINESIS_PARTITION_KEY_CHARS}"
            )
        try:
            key_hash = hash_key_of(partition_key)
        except UnicodeEncodeError as error:
            raise UnsendableRecord(
                f"partition key {partition_key[:40]!r} is not UTF-8: {error.reason}"
            ) from error
        if hash_key is None:
            if len(self._routes) >= _ROUTES:
                self._routes.clear()
            return self._routes.setdefault(partition_key, self.shards.shard_for(key_hash))
        if not 0 <= hash_key < KINESIS_HASH_KEYS:
            raise UnsendableRecord(
                f"explicit hash key {hash_key} (partition key {partition_key!r}) is outside 0 to 2**128 - 1"
            )
        return self.shards.shard_for(hash_key)

    def _new_group(self, record: UserRecord, key: GroupKey, *, shard_id: str, now_ms: int) -> _Group:
        key_bytes = len(record.partition_key.encode())
        plain_bytes = len(record.data) + key_bytes
        builder = AggregateBuilder(self._tags_for(key) if self._tags_for else None)
        builder.add(record)
        size_bytes = plain_bytes if self._may_go_plain(record) else builder.size_bytes + key_bytes
        if size_bytes > KINESIS_RECORD_BYTES:
            raise UnsendableRecord(
                f"user record of {len(record.data)} bytes (partition key {record.partition_key!r}) makes a Kinesis "
                f"record of {size_bytes}; the limit is {KINESIS_RECORD_BYTES}, with the partition key"
            )
        limit_bytes = self._config.aggregate_bytes - key_bytes
        return _Group(shard_id, builder, limit_bytes=limit_bytes, opened_ms=now_ms)

    def _may_go_plain(self, record: UserRecord) -> bool:
        """What begins with the magic would be taken for an aggregate if it were put plain."""
        return self._tags_for is None and not record.data.startswith(MAGIC)

    def _seal(self, key: GroupKey) -> None:
        group = self._open.pop(key)
        builder = group.builder
        first = builder.records[0]
        data = first.data if builder.count == 1 and self._may_go_plain(first) else builder.build()
        self._open_bytes -= builder.size_bytes
        self._make_ready(
            group.shard_id, builder.records, data, numbers=group.numbers, opened_ms=group.opened_ms
        )

    def _put_block(self, block: Gathered) -> None:
        """Make a Kinesis record of a block: always an aggregate, for only that carries tags and more than a key."""
        builder = AggregateBuilder(self._tags_for(block.group) if self._tags_for else None)
        builder.add(block.record)
        shard_id = block.group if isinstance(block.group, str) else block.group[0]
        self._make_ready(
            shard_id, builder.records, builder.build(), numbers=[block.number], opened_ms=block.opened_ms
        )

    def _make_ready(
        self, shard_id: str, records: list[UserRecord], data: bytes, *, numbers: list[int], opened_ms: int
    ) -> None:
        first = records[0]
        entry = PutEntry(
            shard_id=shard_id,
            partition_key=first.partition_key,
            explicit_hash_key=first.explicit_hash_key,
            data=data,
            size_bytes=len(data) + len(first.partition_key.encode()),
            records=tuple(records),
            numbers=tuple(numbers),
            opened_ms=opened_ms,
        )
        self._ready.append(entry)
        self._ready_bytes += entry.size_bytes
        if self._ready_bytes >= self._config.request_bytes or len(self._ready) >= PUT_RECORDS_ENTRIES:
            self._due_ms = 0

    def _hand_over(self) -> list[PutEntry]:
        entries, self._ready, self._ready_bytes = self._ready, [], 0
        opened_ms = [each.opened_ms for each in islice(self._open.values(), 1)]
        if self._blocks.oldest_ms is not None:
            opened_ms.append(self._blocks.oldest_ms)
        self._due_ms = min(opened_ms) + self._config.linger_ms if opened_ms else _NEVER_MS
        return entries
