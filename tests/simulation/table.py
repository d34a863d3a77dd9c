"""DynamoDB and the quarantine of a world, by the rules of the sink's ports, with their faults."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from processors.deadline import Deadline
from simulation.function import Calls
from simulation.schedule import SimulationError
from simulation.trace import Trace
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.limits import (
    DYNAMODB_ITEM_BYTES,
    DYNAMODB_PARTITION_KEY_BYTES,
    DYNAMODB_SORT_KEY_BYTES,
)
from streamgage.reading.poison import Poison
from support.one_by_one import FenceMovedError


class Row(NamedTuple):
    """An item as the table keeps it."""

    fence: str
    counts: str
    body: bytes
    expires_s: int

    def item(self) -> StoredItem:
        """Return the item as a reader gets it."""
        return StoredItem(int(self.fence), self.counts, self.body, self.expires_s)


class Table:
    """A SingleStore. *written* is told of each write that took effect, with the fence that stood there before."""

    def __init__(
        self,
        calls: Calls,
        *,
        written: Callable[[ItemKey, "Row", int | None], None],
        branches: Counter[str],
        trace: Trace,
    ) -> None:
        self.rows: dict[ItemKey, Row] = {}
        self._calls, self._written, self._branches, self._trace = calls, written, branches, trace

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:  # noqa: ARG002 - the port's
        """Return those of *keys* that exist, as they are at one moment of the call."""
        found: dict[ItemKey, StoredItem] = {}

        def effect() -> None:
            found.update({key: self.rows[key].item() for key in keys if key in self.rows})

        self._calls.make(effect, refused="read_throttled")
        return found

    def put(self, key: ItemKey, item: StoredItem, *, expected_fence: int | None) -> None:
        """Write *item* where the fence is the expected one."""
        row = Row(str(item.fence), item.counts, item.body, item.expires_s)
        _check_size(key, row)
        call = _Write(self, key, row, expected_fence)
        self._calls.make(call, refused="write_throttled", lost="write_lost", delayed="write_delayed")
        if call.moved is not None:
            raise call.moved

    def write(self, key: ItemKey, row: Row, expected_fence: int | None) -> FenceMovedError | None:
        """Let one conditional write take effect, or return why not."""
        stands = self.rows.get(key)
        fence = None if stands is None else int(stands.fence)
        run = self._calls.run
        self._trace.note(
            "write" if fence == expected_fence else "write refused",
            f"{key.pk}/{key.sk}",
            expected_fence,
            "->",
            int(row.fence),
        )
        if fence != expected_fence:
            if run is not None and run.given_up:
                self._branches["late write of a zombie dropped"] += 1
            if fence is not None:
                self._branches["conflict, ALL_OLD came back"] += 1
                left = fence < int(row.fence)
                self._branches["conflict, a part was left" if left else "conflict, nothing was left"] += 1
            return FenceMovedError(None if stands is None else stands.item())
        if fence is not None and run is not None and run.records[0].sequence_number <= fence:
            self._branches["batch cut by a fence"] += 1
        self.rows[key] = row
        self._written(key, row, fence)
        return None


class _Write:
    """One conditional write on its way: called once, now or later."""

    def __init__(self, table: Table, key: ItemKey, row: Row, expected_fence: int | None) -> None:
        self._table, self._key, self._row, self._expected_fence = table, key, row, expected_fence
        self.moved: FenceMovedError | None = None

    def __call__(self) -> None:
        """Take effect."""
        self.moved = self._table.write(self._key, self._row, self._expected_fence)


class KeptPoison:
    """A Quarantine: a queue in SQS. *sent* is told of everything in it, repeats too."""

    def __init__(self, calls: Calls, *, sent: Callable[[Poison], None]) -> None:
        self._calls, self._sent = calls, sent

    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:  # noqa: ARG002 - the port's
        """Keep *poison*."""

        def effect() -> None:
            for each in poison:
                self._sent(each)

        if poison:
            self._calls.make(effect, refused="quarantine_failed", lost="quarantine_lost")


def _check_size(key: ItemKey, row: Row) -> None:
    pk_bytes, sk_bytes = len(key.pk.encode()), len(key.sk.encode())
    names_bytes = len("pkskfencecountsbodyexpires")
    size_bytes = pk_bytes + sk_bytes + names_bytes + len(row.fence) + len(row.counts) + len(row.body) + 21
    if (
        size_bytes > DYNAMODB_ITEM_BYTES
        or not 0 < pk_bytes <= DYNAMODB_PARTITION_KEY_BYTES
        or not 0 < sk_bytes <= DYNAMODB_SORT_KEY_BYTES
    ):
        raise SimulationError(
            f"DynamoDB takes no item of {size_bytes} bytes with keys of {pk_bytes} and {sk_bytes}"
        )
