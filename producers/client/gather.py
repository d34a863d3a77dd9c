"""Gather events into blocks: one open block a source and shard, or with one key a Kinesis record, a partition key.

No I/O and no clock, as the batcher that it belongs to.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from producers.client.encoder import SourceEncoder
from streamgage.formats.avro import Event
from streamgage.formats.blocks.builder import BlockBuilder
from streamgage.limits import KINESIS_RECORD_BYTES
from streamgage.records import UserRecord

GroupKey = str | tuple[str, str]
"""What an open Kinesis record gathers: a shard's user records, or those of one partition key in a shard."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A closed block as a user record. ``number`` and ``opened_ms`` are those of its first event."""

    group: GroupKey
    record: UserRecord
    number: int
    opened_ms: int


class _Open:
    """The open block of one source and group."""

    __slots__ = ("builder", "bytes", "group", "number", "opened_ms", "partition_key")

    def __init__(
        self, group: GroupKey, builder: BlockBuilder, *, partition_key: str, number: int, opened_ms: int
    ) -> None:
        self.group = group
        self.builder = builder
        self.bytes = 0
        self.partition_key = partition_key
        self.number = number
        self.opened_ms = opened_ms


class BlockGatherer:
    """The open blocks, in the order they were opened. A block has the partition key of its first event."""

    def __init__(self, *, block_bytes: int, block_events: int) -> None:
        self._block_bytes, self._block_events = block_bytes, block_events
        self._open: dict[tuple[str, GroupKey], _Open] = {}
        self.buffered_bytes = 0

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest open block was opened; None where none is open."""
        return next((each.opened_ms for each in self._open.values()), None)

    def add(
        self, source: SourceEncoder, event: Event, group: GroupKey, number: int, now_ms: int
    ) -> list[Gathered]:
        """Take *event*, the *number*-th put; return the blocks that are full now.

        Raises:
            ValueError: the event does not fit the schema. Nothing has changed.
        """
        key = (source.source.name, group)
        full: list[Gathered] = []
        block = self._open.get(key)
        grown = block.builder.add_within(event, self._block_bytes) if block is not None else 0
        if block is None or not grown:  # the first event of a block is taken however large it is
            builder = BlockBuilder(source.blocks)
            grown = builder.add_within(event, KINESIS_RECORD_BYTES)
            if block is not None:
                full.append(self._close(key))
            block = _Open(group, builder, partition_key=source.key_of(event), number=number, opened_ms=now_ms)
            self._open[key] = block
        block.bytes += grown
        self.buffered_bytes += grown
        if block.builder.count >= self._block_events:
            full.append(self._close(key))
        return full

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
        for (group, block, builder, part, room), at in zip(parts, places.values(), strict=True):
            here = bisect_left(at, taken)
            if not here:
                continue
            if here < len(at):
                part = [each[:here] for each in part]  # noqa: PLW2901 - a run is taken a piece at a time
                room = builder.room_for(part, self._block_bytes)  # noqa: PLW2901 - a run is taken a piece at a time
            if block is None:
                first = at[0]
                block = _Open(  # noqa: PLW2901 - a run is taken a piece at a time
                    group, builder, partition_key=keys[first], number=number + first, opened_ms=now_ms
                )
                self._open[source.source.name, group] = block
            builder.add_all(part, room)
            block.bytes += room.grown_bytes
            self.buffered_bytes += room.grown_bytes
        return taken

    def take(self, opened_until_ms: int) -> list[Gathered]:
        """Close and return the blocks that were opened by then."""
        return [
            self._close(key) for key, each in list(self._open.items()) if each.opened_ms <= opened_until_ms
        ]

    def take_all(self) -> list[Gathered]:
        """Close and return every block."""
        return [self._close(key) for key in list(self._open)]

    def _close(self, key: tuple[str, GroupKey]) -> Gathered:
        block = self._open.pop(key)
        self.buffered_bytes -= block.bytes
        record = UserRecord(block.partition_key, block.builder.build(), events=block.builder.count)
        return Gathered(block.group, record, block.number, block.opened_ms)
