"""Gather events into blocks: one open block a source and shard, or with one key a Kinesis record, a partition key.

No I/O and no clock, as the batcher that it belongs to.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from producers.client.encoder import SourceEncoder
from producers.client.entry import PutEntry
from producers.client.outcomes import OnDelivery
from streamgage.formats.avro import Event
from streamgage.formats.blocks.builder import BlockBuilder
from streamgage.limits import KINESIS_RECORD_BYTES
from streamgage.records import UserRecord

GroupKey = str | tuple[str, str]
"""What an open Kinesis record gathers: a shard's user records, or those of one partition key in a shard."""


class OpenBlock:
    """The open block of one source and group. ``number`` and ``opened_ms`` are those of its first event.

    ``tags`` are those of its Kinesis record, where they were drawn before its sealing. ``entry`` is what was made of it.
    """

    __slots__ = (
        "builder",
        "bytes",
        "entry",
        "group",
        "number",
        "opened_ms",
        "outcomes",
        "partition_key",
        "tags",
    )

    def __init__(
        self, group: GroupKey, builder: BlockBuilder, *, partition_key: str, number: int, opened_ms: int
    ) -> None:
        self.group = group
        self.builder = builder
        self.bytes = 0
        self.partition_key = partition_key
        self.number = number
        self.opened_ms = opened_ms
        self.tags: Mapping[str, str] | None = None
        self.outcomes: list[OnDelivery] = []
        self.entry: PutEntry | None = None

    def record(self) -> UserRecord:
        """Return it as a user record."""
        return UserRecord(self.partition_key, self.builder.build(), events=self.builder.count)


class BlockGatherer:
    """The open blocks, in the order they were opened. A block has the partition key of its first event.

    *seal* is given each block that is full or due: it sets ``entry``, or raises and nothing has changed. *check* is given
    a block of one event that is larger than *block_bytes* may grow, and raises UnsendableRecord where it can never be sent.
    """

    def __init__(
        self,
        *,
        block_bytes: int,
        block_events: int,
        seal: Callable[[OpenBlock], None],
        check: Callable[[OpenBlock], None],
    ) -> None:
        self._block_bytes, self._block_events = block_bytes, block_events
        self._seal, self._check = seal, check
        self._open: dict[tuple[str, GroupKey], OpenBlock] = {}
        self.buffered_bytes = 0
        self._adding: list[tuple[BlockBuilder, list[list[Any]]]] = []  # a run that goes to several blocks

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest open block was opened; None where none is open."""
        return next((each.opened_ms for each in self._open.values()), None)

    @property
    def outcomes(self) -> int:
        """How many of these somebody wants to know of. Counts them all: for who was interrupted."""
        return sum(len(each.outcomes) for each in self._open.values())

    @property
    def events(self) -> int:
        """How many events are in open blocks."""
        return sum(each.builder.count for each in self._open.values())

    def add(
        self,
        source: SourceEncoder,
        event: Event,
        group: GroupKey,
        number: int,
        now_ms: int,
        *,
        outcome: OnDelivery | None = None,
    ) -> None:
        """Take *event*, the *number*-th put, and seal the blocks that are full now.

        Raises:
            ValueError: the event does not fit the schema. Nothing has changed.
            UnsendableRecord: it is too large, alone and compressed. Nothing has changed.
        """
        key = (source.source.name, group)
        block = self._open.get(key)
        grown = block.builder.add_within(event, self._block_bytes) if block is not None else 0
        if block is None or not grown:  # the first event of a block is taken however large it is
            builder = BlockBuilder(source.blocks)
            grown = builder.add_within(event, KINESIS_RECORD_BYTES)
            fresh = OpenBlock(
                group, builder, partition_key=source.key_of(event), number=number, opened_ms=now_ms
            )
            if builder.estimated_bytes > self._block_bytes:
                self._check(fresh)
            if block is not None:
                self._close(key)
            self._open[key] = block = fresh
        block.bytes += grown
        self.buffered_bytes += grown
        if outcome is not None:
            block.outcomes.append(outcome)
        if block.builder.count >= self._block_events:
            self._close(key)

    def add_run(
        self,
        source: SourceEncoder,
        run: tuple[Sequence[str], list[list[Any]]],
        places: Mapping[GroupKey, Sequence[int]],
        number: int,
        now_ms: int,
        *,
        room_bytes: int,
    ) -> int:
        """Take the first events of *run*, the *number*-th put and those after it, as long as no block is full; return how many.

        *run* is as ``SourceEncoder.run_of`` gives it; *places* says which of it go to which group, the group of the
        first event first. ``buffered_bytes`` grows by no more than *room_bytes*.
        """
        keys, columns = run
        taken, texts_bytes, parts = len(keys), 0, []
        for group, at in places.items():
            block = self._open.get((source.source.name, group))
            builder = block.builder if block is not None else BlockBuilder(source.blocks)
            part = columns if len(at) == len(keys) else [list(map(each.__getitem__, at)) for each in columns]
            room = builder.room_for(part, self._block_bytes)
            fits = min(room.fits, self._block_events - 1 - builder.count)
            if fits < len(at):
                taken = min(taken, at[max(fits, 0)])
            texts_bytes += room.grown_bytes - room.fits * builder.event_bytes
            room_events = (room_bytes - texts_bytes) // builder.event_bytes
            taken = max(0, min(taken, room_events))
            parts.append((group, block, builder, part, room))
        adding = []
        for (group, block, builder, part, room), at in zip(parts, places.values(), strict=True):
            here = bisect_left(at, taken)
            if not here:
                continue
            if here < len(at):
                part = [each[:here] for each in part]  # noqa: PLW2901 - a run is taken a piece at a time
                room = builder.room_for(part, self._block_bytes)  # noqa: PLW2901 - a run is taken a piece at a time
            if block is None:
                first = at[0]
                block = OpenBlock(  # noqa: PLW2901 - a run is taken a piece at a time
                    group, builder, partition_key=keys[first], number=number + first, opened_ms=now_ms
                )
                self._open[source.source.name, group] = block
            adding.append((block, part, room))
        self._adding = [(block.builder, part) for block, part, _ in adding]
        for block, part, room in adding:
            block.builder.add_all(part, room)
            block.bytes += room.grown_bytes
            self.buffered_bytes += room.grown_bytes
        self._adding = []  # from here on all of them are taken; until then, none: see mend
        return taken

    def seal_due(self, opened_until_ms: int) -> None:
        """Seal the blocks that were opened by then."""
        for key, each in list(self._open.items()):
            if each.opened_ms <= opened_until_ms:
                self._close(key)

    def seal_all(self) -> None:
        """Seal every block."""
        for key in list(self._open):
            self._close(key)

    def mend(self) -> list[PutEntry]:
        """Take in what an interrupt left half done; return what was made of blocks that were still open."""
        sealed = [each.entry for each in self._open.values() if each.entry is not None]
        self._open = {key: each for key, each in self._open.items() if each.entry is None}
        for builder, columns in self._adding:
            builder.take_back(columns)
        self._adding = []
        for each in self._open.values():
            each.builder.mend()
        self._open = {key: each for key, each in self._open.items() if each.builder.count}
        self.buffered_bytes = sum(each.bytes for each in self._open.values())
        return sealed

    def _close(self, key: tuple[str, GroupKey]) -> None:
        block = self._open[key]
        self._seal(block)
        del self._open[key]
        self.buffered_bytes -= block.bytes
