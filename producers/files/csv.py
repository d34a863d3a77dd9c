"""Read CSV (RFC 4180, with a header): rows one by one, each that cannot be read with its reason."""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from producers.files.lines import MAX_LINE_BYTES, Line
from producers.files.rows import AnyRow, BadRow, BlankLine, Row
from streamgage.errors import ConfigError

MAX_ROW_LINES = 10_000  # a row that takes more, in quotes, is one whose quote was never meant
_REREAD_BYTES = 4 * MAX_LINE_BYTES
_REREAD_RATIO = 8


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The columns of a file, and its rows, which can be read once."""

    columns: tuple[str, ...]
    rows: Iterator[AnyRow]


class _Unusable(Exception):
    """A line that cannot go on a record."""


class _Records:
    """The records of a file: the csv module reads them, line by line as it asks for them.

    A record that cannot be read is blamed on its first line; the lines after it are read again on their own. So a
    stray quote costs one line, and not all up to the next quote.

    Reading again is bounded: to _REREAD_BYTES, and _REREAD_RATIO times what was read for good. In a file where each
    line opens a quote anew (``a","``) the work would otherwise grow with the square of its size; there, rows that take
    several lines are given up once the bound is reached.
    """

    def __init__(self, lines: Iterator[Line], delimiter: str) -> None:
        self._lines = lines
        self._again: deque[Line] = deque()
        self._taken: list[Line] = []
        self._taken_bytes = 0
        self._reread_left_bytes = _REREAD_BYTES
        self._reader = csv.reader(self, delimiter=delimiter, strict=True)

    def __iter__(self) -> "_Records":
        return self

    def __next__(self) -> str:
        """Return the next line to the csv module."""
        line = self._again.popleft() if self._again else next(self._lines)
        self._taken.append(line)
        self._taken_bytes += len(line.raw)
        if line.problem is not None:
            raise _Unusable(line.problem)
        limit_bytes = min(MAX_LINE_BYTES, self._reread_left_bytes)
        if self._taken_bytes > limit_bytes and len(self._taken) > 1:
            raise _Unusable(f"the row runs on, in quotes, for more than {limit_bytes:,} bytes")
        if len(self._taken) > MAX_ROW_LINES:
            raise _Unusable(f"the row runs on, in quotes, for more than {MAX_ROW_LINES:,} lines")
        return line.text

    def record(self) -> tuple[list[Line], list[str] | str]:
        """Return the next record's lines with its cells, or one line with what is wrong.

        Raises:
            StopIteration: there are no more.
        """
        self._taken, self._taken_bytes = [], 0
        try:
            cells = next(self._reader)
        except (_Unusable, csv.Error) as error:
            first, *rest = self._taken
            self._again.extendleft(reversed(rest))
            self._settle(len(first.raw), self._taken_bytes - len(first.raw))
            reason = str(error)
            if reason == "unexpected end of data":
                reason = "a quoted field is not closed"
            return [first], reason
        self._settle(self._taken_bytes, 0)
        return self._taken, cells

    def _settle(self, done_bytes: int, reread_bytes: int) -> None:
        left_bytes = self._reread_left_bytes + _REREAD_RATIO * done_bytes - reread_bytes
        self._reread_left_bytes = max(0, min(_REREAD_BYTES, left_bytes))


def read_csv(lines: Iterable[Line], name: str, *, delimiter: str = ",") -> CsvTable:
    """Return the table in *lines*; only its header is read now.

    A row has as many cells as the header. One row may take several lines, in quotes.

    Raises:
        ConfigError: there is no header, or nothing after it (raised when the rows are read).
    """
    records = _Records(iter(lines), delimiter)
    while True:
        try:
            taken, cells = records.record()
        except StopIteration:
            raise ConfigError(f"{name} is empty; a CSV file begins with a header of column names") from None
        if isinstance(cells, str):
            raise ConfigError(f"{name}, line {taken[0].number}: the header cannot be read: {cells}")
        if any(map(str.strip, cells)):
            columns = tuple(map(str.strip, cells))
            return CsvTable(columns, _rows(records, columns, name))


def _rows(records: _Records, columns: tuple[str, ...], name: str) -> Iterator[AnyRow]:
    empty = True
    while True:
        try:
            taken, cells = records.record()
        except StopIteration:
            break
        number, end_bytes = taken[0].number, taken[-1].end_bytes
        if not cells or (len(taken) == 1 and taken[0].is_blank):
            yield BlankLine(number, end_bytes)
            continue
        empty = False
        raw = taken[0].raw if len(taken) == 1 else b"".join(line.raw for line in taken)
        if isinstance(cells, str):
            yield BadRow(number, raw, cells, end_bytes)
        elif len(cells) != len(columns):
            yield BadRow(number, raw, f"has {len(cells)} cells; the header has {len(columns)}", end_bytes)
        else:
            yield Row(number, raw, dict(zip(columns, cells, strict=True)), end_bytes)
    if empty:
        raise ConfigError(f"{name} has a header and no rows")
