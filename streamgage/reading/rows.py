"""Read the needed fields of rows, a user record an event, straight out of aggregated records into columns.

One regular expression a writer schema matches a `Record` of the KPL format and the Avro object in it, field by field;
``findall`` walks many of them in C. What it cannot say is checked for all of them at once: that each object ends where
its record and its data do. Whatever is not of this form, or that fastavro might refuse, is left to the caller, who
decodes it the long way; so there is one place for verdicts.
"""

import re
from collections.abc import Mapping, Sequence
from operator import add
from typing import Any

from streamgage.definition.pipeline import Source
from streamgage.formats.avro import HEADER_BYTES, Event
from streamgage.formats.blocks.decimal_column import Columns, DecimalColumn, Span
from streamgage.formats.varint import encode_varint
from streamgage.reading.row_shape import Shape, shape_of
from streamgage.reading.row_values import ReadColumn, column_reader, text_checker

# What stands before the object in a `Record` as aggregators write it: length, partition key index, size of the data,
# each below 2**14, without explicit hash key and tags. It is captured without the tag.
_VARINT = rb"[\x80-\xff]?[\x00-\x7f]"
_HEAD = rb"\x1a(" + _VARINT + rb"\x08" + _VARINT + rb"\x1a" + _VARINT + rb")"
_MATCH_HEAD = re.compile(_HEAD, re.DOTALL).match
_NO_HEAD = b"\x1a\0\x08\0\x1a\0"  # before a plain user record
# How much is matched at once: less behind each stop, or hostile bytes would have all the rest scanned at each.
_MIN_WINDOW_BYTES, _MAX_WINDOW_BYTES = 256, 32 * 1024
# Heads remembered in one table, and tables: 15 MB where hostile bytes fill all of them.
_REMEMBERED, _REMEMBERED_TABLES = 8192, 16


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    byte = raw[position]
    if byte < 0x80:
        return byte, position + 1
    return byte & 0x7F | raw[position + 1] << 7, position + 2


def _record_bytes(head: bytes) -> int:
    """Return how many bytes the record of *head* takes, tag and all, as it says itself."""
    length, position = _varint(head, 0)
    return 1 + position + length


class _DataBytes(dict[bytes, int]):
    """By head, the bytes of its data less *known*; -1, a size that none has, where it and its record disagree."""

    def __init__(self, known: int) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, head: bytes) -> int:
        length, start = _varint(head, 0)
        _, position = _varint(head, start + 1)
        size, position = _varint(head, position + 1)
        rest = size - self._known if position - start + size == length else -1
        if len(self) >= _REMEMBERED:
            self.clear()
        self[head] = rest
        return rest


class _Indexes(dict[bytes, int]):
    """By head, the partition key index."""

    def __missing__(self, head: bytes) -> int:
        index, _ = _varint(head, _varint(head, 0)[1] + 1)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[head] = index
        return index


class _PlainHeads(dict[int, bytes]):
    """By the size of a plain user record, what would stand before it in an aggregated one."""

    def __missing__(self, size: int) -> bytes:
        rest = b"\x08\0\x1a" + encode_varint(size)
        self[size] = head = b"\x1a" + encode_varint(len(rest) + size) + rest
        return head


MAX_PLAIN_BYTES = 2**14 - 8  # a head says no more
_PLAIN_HEADS = _PlainHeads()


class _MismatchError(Exception):
    """An object does not end where its record does."""


class _Matcher:
    """The expression of one writer schema's rows, and what its groups are read by. Compiled when it is first used."""

    def __init__(self, shape: Shape) -> None:
        self.defaults = shape.defaults
        self.known_bytes = HEADER_BYTES
        self.readers: list[tuple[int, str, ReadColumn]] = []
        self.checkers = []
        self.varying: list[int] = []
        parts, group = [_HEAD, re.escape(shape.prefix)], 0
        for piece in shape.pieces:
            size = piece.size_bytes
            if size is not None:
                self.known_bytes += size
                if not piece.is_needed and not piece.is_text:
                    parts.append(piece.pattern)
                    continue
            parts.append(b"(" + piece.pattern + b")")
            group += 1
            if size is None:
                self.varying.append(group)
            if piece.is_needed:
                place = 0 if piece.is_text else len(self.readers)  # what may fail comes first
                self.readers.insert(place, (group, piece.name, column_reader(piece)))
            elif piece.is_text:
                self.checkers.append((group, text_checker(piece)))
        self._parts = parts
        self._pattern: re.Pattern[bytes] | None = None

    @property
    def pattern(self) -> re.Pattern[bytes]:
        """Matches a record; or, in its last group, all the rest, from the first byte that is not as it should be."""
        if self._pattern is None:
            self._pattern = re.compile(b"".join(self._parts) + b"|(.+)", re.DOTALL)
        return self._pattern


class RowReader:
    """Reads the needed fields of one source's rows into columns.

    Whoever calls it decides what is poison: what it leaves, and ``max_index`` beyond the table of partition keys.
    It keeps what it read until ``drain``, and texts it has seen for good, bounded.
    """

    def __init__(self, source: Source, fields: tuple[str, ...]) -> None:
        """Read *fields*, each once, all of them fields of the source's schema."""
        self._fields = fields
        reader = source.schema
        schemas = {each.prefix: (each.parsed, reader.parsed) for each in source.writers}
        schemas[reader.prefix] = (reader.parsed, None)
        shapes = [shape_of(prefix, *each, fields) for prefix, each in schemas.items()]
        self._matchers = {each.prefix: _Matcher(each) for each in shapes if each}
        self._data_bytes: dict[int, _DataBytes] = {}
        self._indexes = _Indexes()
        self._window_bytes = _MIN_WINDOW_BYTES
        self.max_index = -1
        self._begin_columns()

    def _begin_columns(self) -> None:
        self.count = 0
        self._lists: dict[str, list[Any]] = {name: [] for name in self._fields}
        self._decimals: dict[str, list[Span]] = {}

    @property
    def prefixes(self) -> frozenset[bytes]:
        """The first ten bytes of each object that it may be able to read."""
        return frozenset(self._matchers)

    def begin(self) -> None:
        """Forget ``max_index``: a Kinesis record begins."""
        self.max_index = -1

    def take(self, data: bytes, position: int, stop: int) -> int:
        """Read consecutive records at *position* of an aggregated record whose message ends at *stop*.

        Returns:
            Where it stopped: *stop*, or the first byte of what it leaves to the caller, of which nothing was read.
        """
        end = position
        matcher: _Matcher | None = None
        while position < stop:
            head = _MATCH_HEAD(data, position, stop)
            if not head:
                break
            last, matcher = matcher, self._matchers.get(data[head.end() : head.end() + HEADER_BYTES])
            if not matcher:
                break
            record_end = position + _record_bytes(head[1])
            if matcher is last and record_end <= end:
                break  # it was seen whole, and left
            end = min(stop, max(position + self._window_bytes, record_end))
            reached = self._take_window(matcher, data, position, end)
            if reached == position:
                break
            self._window_bytes = min(4 * self._window_bytes, _MAX_WINDOW_BYTES)
            position = reached
        if position < stop:
            self._window_bytes = max(self._window_bytes // 16, _MIN_WINDOW_BYTES)
        return position

    def _take_window(self, matcher: _Matcher, data: bytes, position: int, end: int) -> int:
        """Read what begins at *position* and ends by *end*, all of one writer schema; return where it stopped."""
        rows = matcher.pattern.findall(data, position, end)
        rest_bytes = len(rows[-1][-1])
        if rest_bytes:
            rows.pop()
        added = self._add_good(matcher, rows)
        if added == len(rows):
            return end - rest_bytes
        return position + sum(_record_bytes(row[0]) for row in rows[:added])

    def _add_good(self, matcher: _Matcher, rows: list[tuple[bytes, ...]]) -> int:
        """Add the rows before the first that is not as it should be; return how many."""
        if not rows:
            return 0
        try:
            self._add_rows(matcher, rows, framed=True)
        except (_MismatchError, UnicodeDecodeError):
            half = len(rows) // 2
            if not half:
                return 0
            added = self._add_good(matcher, rows[:half])
            return added if added < half else half + self._add_good(matcher, rows[half:])
        return len(rows)

    def take_plain(self, datas: Sequence[bytes]) -> int:
        """Read plain user records, each shorter than MAX_PLAIN_BYTES, up to the first that it leaves; return how many."""
        known = self.count
        joined = b"".join([_PLAIN_HEADS[len(data)] + data for data in datas])
        self.take(joined, 0, len(joined))
        return self.count - known

    def take_one(self, data: bytes) -> bool:
        """Read one plain user record, and return True; False: it is left to the caller."""
        matcher = self._matchers.get(data[:HEADER_BYTES])
        match = matcher and matcher.pattern.fullmatch(_NO_HEAD + data)
        if not matcher or not match or match[match.re.groups] is not None:
            return False
        try:
            self._add_rows(matcher, [match.groups(b"")], framed=False)
        except UnicodeDecodeError:
            return False
        return True

    def _add_rows(self, matcher: _Matcher, rows: list[tuple[bytes, ...]], *, framed: bool) -> None:
        """Add *rows*, all of them or none. Raises: _MismatchError, UnicodeDecodeError where one is not as it should be."""
        columns = list(zip(*rows, strict=True))
        if framed:
            self._check_sizes(matcher, columns, len(rows))
        for group, check in matcher.checkers:
            check(columns[group])
        values = [(name, read(columns[group])) for group, name, read in matcher.readers]
        for name, column in values:
            self._lists[name] += column
        for name, value in matcher.defaults.items():
            self._lists[name] += [value] * len(rows)
        self.count += len(rows)
        if framed:
            self.max_index = max(self.max_index, *map(self._indexes.__getitem__, columns[0]))

    def _check_sizes(self, matcher: _Matcher, columns: list[tuple[bytes, ...]], count: int) -> None:
        """See that each object ends where its data does, and its data where its record does. Raises: _MismatchError."""
        known_bytes = matcher.known_bytes
        varying = [0] * count
        for group in matcher.varying:
            sizes = list(map(len, columns[group]))
            if sizes.count(sizes[0]) == count:
                known_bytes += sizes[0]
            else:
                varying = list(map(add, varying, sizes))
        table = self._data_bytes.get(known_bytes)
        if table is None:
            if len(self._data_bytes) >= _REMEMBERED_TABLES:
                self._data_bytes.clear()
            table = self._data_bytes[known_bytes] = _DataBytes(known_bytes)
        if list(map(table.__getitem__, columns[0])) != varying:
            raise _MismatchError

    def add(self, event: Event) -> None:
        """Add an event that the caller decoded."""
        for name, column in self._lists.items():
            column.append(event[name])
        self.count += 1

    def add_columns(self, columns: Mapping[str, Sequence[Any] | DecimalColumn], count: int) -> None:
        """Add *count* events by column: a value each in every needed field."""
        for name, known in self._lists.items():
            column = columns[name]
            if isinstance(column, DecimalColumn):
                span = Span(self.count, self.count + count, column.places)
                self._decimals.setdefault(name, []).append(span)
                known.extend(column.values)
            else:
                known.extend(column)
        self.count += count

    def truncate(self, count: int) -> None:
        """Forget the events from *count* on: their Kinesis record is poison, or a repeat."""
        for column in self._lists.values():
            del column[count:]
        for name, spans in self._decimals.items():
            self._decimals[name] = [
                Span(each.start, min(each.stop, count), each.places) for each in spans if each.start < count
            ]
        self.count = count

    def drain(self) -> Columns:
        """Return all that was read, and begin anew."""
        columns = Columns(
            self.count, self._lists, {name: each for name, each in self._decimals.items() if each}
        )
        self._begin_columns()
        return columns
