"""The row reader beside the strict decoder and fastavro, whose word counts."""

from collections.abc import Sequence
from typing import Any

from streamgage.errors import PoisonRecord
from streamgage.formats.avro import AvroReader
from streamgage.formats.blocks.decimal_column import Columns
from streamgage.formats.kpl import decode_aggregate, walk_aggregate
from streamgage.reading.rows import RowReader

Lists = dict[str, list[Any]]


class RowVisitor:
    """Reads aggregated records as the fold does: what the row reader leaves is decoded one by one; poison is dropped."""

    def __init__(self, rows: RowReader, slow: AvroReader) -> None:
        self.rows, self._slow = rows, slow
        self.left = 0

    @property
    def max_index(self) -> int:
        return self.rows.max_index

    def take(self, data: bytes, position: int, stop: int) -> int:
        return self.rows.take(data, position, stop)

    def visit(self, data: bytes, partition_key_index: int) -> None:  # noqa: ARG002 - the protocol's
        self.left += 1
        try:
            event = self._slow.decode(data)
        except PoisonRecord:
            return
        self.rows.add(event)

    def read(self, record: bytes) -> bool:
        """Read *record*; return False where it is poison: nothing of it was kept."""
        before = self.rows.count
        self.rows.begin()
        try:
            walk_aggregate(record, self)
        except PoisonRecord:
            self.rows.truncate(before)
            return False
        return True


def read_slowly(fields: Sequence[str], slow: AvroReader, datas: Sequence[bytes]) -> Lists:
    """Return the columns of the user records *datas* that are no poison."""
    lists: Lists = {name: [] for name in fields}
    for data in datas:
        try:
            event = slow.decode(data)
        except PoisonRecord:
            continue
        for name in fields:
            lists[name].append(event[name])
    return lists


def are_same(columns: Columns, lists: Lists) -> bool:
    """Tell whether values and their types are the same; NaN is itself, and -0.0 is not 0.0."""
    return repr(columns.lists) == repr(lists) and not columns.decimals


def check_aggregate(rows: RowReader, slow: AvroReader, fields: Sequence[str], record: bytes) -> None:
    """Assert that *record*, read fast, is poison where the strict decoder says so, and else gives what fastavro gives."""
    try:
        datas: Sequence[bytes] | None = decode_aggregate(record).datas
    except PoisonRecord:
        datas = None
    assert RowVisitor(rows, slow).read(record) == (datas is not None)
    assert are_same(rows.drain(), read_slowly(fields, slow, datas or ()))
