"""The sink's store in memory, which counts what AWS would bill for it."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from infra.aws.cost.item_size import item_size_bytes, read_units, write_units
from processors.deadline import Deadline
from processors.sink.attributes import stored_item
from processors.sink.writes import WRITTEN, Moved, Outcome, Write
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.limits import DYNAMODB_BATCH_GET_KEYS, MIB

_PAGE_BYTES = MIB  # of a Query

Item = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Consumed:
    """What was billed: requests that succeeded, those whose condition failed, and their units; reads and theirs."""

    writes: int = 0
    write_units: int = 0
    failed_writes: int = 0
    failed_write_units: int = 0
    reads: int = 0
    read_units: int = 0
    largest_bytes: int = 0

    @property
    def all_write_units(self) -> int:
        """The units of all writes: those that took effect, and those whose condition failed."""
        return self.write_units + self.failed_write_units


@dataclass(slots=True)
class CountingTable:
    """An ItemStore. ``items`` counts the aggregates, ``progress`` what the lanes' progress costs beside them.

    Source: read-write-operations.html: a PutItem takes "the larger of the item's before and after sizes"; a write whose
    condition is false "still consumes write capacity"; a read of an absent item "will still consume read throughput".
    """

    batch = 25
    rows: dict[ItemKey, Item] = field(default_factory=dict)
    items: Consumed = field(default_factory=Consumed)
    progress: Consumed = field(default_factory=Consumed)

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:  # noqa: ARG002 - it takes no time
        """Return those of *keys* that exist."""
        found: dict[ItemKey, StoredItem] = {}
        for key in keys:
            consumed, row = self._consumed(key.pk), self.rows.get(key)
            consumed.reads += 1
            consumed.read_units += read_units(item_size_bytes(row) if row else 0)
            if row:
                found[key] = stored_item(row)
        return found

    def put_many(self, writes: Sequence[Write], *, deadline: Deadline) -> Sequence[Outcome]:  # noqa: ARG002 - the same
        """Write each of *writes* if its condition holds."""
        return [self._put(write) for write in writes]

    def _put(self, write: Write) -> Outcome:
        key, consumed, current = write.key, self._consumed(write.key.pk), self.rows.get(write.key)
        row = attributes_of(key, write.item)
        size_bytes = item_size_bytes(row)
        units = write_units(max(size_bytes, item_size_bytes(current) if current else 0))
        stands = stored_item(current) if current else None
        if (stands.fence if stands else None) != write.expected_fence:
            consumed.failed_writes += 1
            consumed.failed_write_units += units
            return Moved(stands)
        consumed.writes += 1
        consumed.write_units += units
        consumed.largest_bytes = max(consumed.largest_bytes, size_bytes)
        self.rows[key] = row
        return WRITTEN

    def _consumed(self, pk: str) -> Consumed:
        return self.progress if pk.startswith("~") else self.items


def attributes_of(key: ItemKey, item: StoredItem) -> Item:
    """Return *item* as DynamoDB's API has it, its body as bytes."""
    return {
        "pk": {"S": key.pk},
        "sk": {"S": key.sk},
        "fence": {"S": str(item.fence)},
        "counts": {"S": item.counts},
        "body": {"B": item.body},
        "expires": {"N": str(item.expires_s)},
    }


@dataclass(slots=True)
class CountedReads:
    """A PartialStore over *items* that counts what AWS bills for strongly consistent reads: ``read_units``, ``requests``.

    Source: read-write-operations.html: BatchGetItem "rounds up the size of each item to the next 4 KB boundary"; Query
    "processes all items as one read operation. As a result, DynamoDB computes the total size of all items and then
    rounds up to the next 4 KB boundary"; a page is 1 MB of items.
    """

    items: Mapping[ItemKey, StoredItem]
    read_units: int = 0
    requests: int = 0
    _by_pk: dict[str, list[str]] = field(default_factory=dict)
    _alone: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """Sort what there is by its keys."""
        for key in sorted(self.items):
            self._by_pk.setdefault(key.pk, []).append(key.sk)

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Yield the items of *pk* from one sort key to another, both included."""
        sks = self._by_pk.get(pk, [])
        pages = [0]
        for sk in sks[bisect_left(sks, first_sk) : bisect_right(sks, last_sk)]:
            size_bytes = item_size_bytes(attributes_of(ItemKey(pk, sk), self.items[ItemKey(pk, sk)]))
            if pages[-1] + size_bytes > _PAGE_BYTES:
                pages.append(0)
            pages[-1] += size_bytes
            yield sk, self.items[ItemKey(pk, sk)]
        self._count(sum(map(read_units, pages)), len(pages))

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist."""
        found = {key: self.items[key] for key in keys if key in self.items}
        sizes = [item_size_bytes(attributes_of(key, found[key])) if key in found else 0 for key in keys]
        self._count(sum(map(read_units, sizes)), -(-len(keys) // DYNAMODB_BATCH_GET_KEYS))
        return found

    def _count(self, units: int, requests: int) -> None:
        with self._alone:  # a reader asks in several threads
            self.read_units += units
            self.requests += requests
