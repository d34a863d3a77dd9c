"""Read CSV (RFC 4180, with a header): rows one by one, each that cannot be read with its reason."""

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from producers.files.lines import MAX_LINE_BYTES, Line
from producers.files.rows import AnyRow, BadRow, BlankLine, EmptyFile, Row
from streamgage.errors import ConfigError

MAX_ROW_LINES = 10_000  # a row that takes more, in quotes, is one whose quote was never meant
DELIMITERS = (",", ";", "\t", "|")
_EXCELS_LINE = re.compile(r'"?sep=([,;|\t])"?[ \r\n]*+')
_QUOTED = re.compile(r'"[^"]*+"')
_REREAD_BYTES = 4 * MAX_LINE_BYTES
_REREAD_RATIO = 8


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The columns of a file, and its rows, which can be read once. ``notes`` counts what was overlooked in them."""

    columns: tuple[str, ...]
    rows: Iterator[AnyRow]
    delimiter: str = ","
    notes: Counter[str] = field(default_factory=Counter)


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

    def __init__(self, lines: Iterator[Line], delimiter: str, comment: str | None = None) -> None:
        self._lines = lines
        self._comment = comment
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

    def record(self) -> tuple[list[Line], list[str] | str | None]:
        """Return the next record's lines with its cells, or one line with what is wrong (None: it is a comment).

        Raises:
            StopIteration: there are no more.
        """
        self._taken, self._taken_bytes = [], 0
        if self._comment is not None:  # within quotes a line that begins so is none
            line = self._again.popleft() if self._again else next(self._lines)
            if line.text.lstrip().startswith(self._comment):
                return [line], None
            self._again.appendleft(line)
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


def read_csv(
    lines: Iterable[Line],
    name: str,
    *,
    delimiter: str | None = ",",
    skip: int = 0,
    comment: str | None = None,
) -> CsvTable:
    """Return the table in *lines*; only its header is read now.

    A row has as many cells as the header, and may have empty ones behind them. One row may take several lines, in
    quotes. *delimiter* None is recognised by the header, or by Excel's line "sep=;" above it. *skip* lines stand before it; one that begins with *comment*
    is none.

    Raises:
        EmptyFile: there is no header, or nothing after it (raised when the rows are read).
        ConfigError: the header cannot be read, or its delimiter is not clear.
    """
    below = iter(lines)
    list(islice(below, skip))
    said, below = _excels_line(below)
    if delimiter is None:
        delimiter = said
    if delimiter is None:
        delimiter, below = _recognise(below, name, comment)
    records = _Records(below, delimiter, comment)
    while True:
        try:
            taken, cells = records.record()
        except StopIteration:
            raise EmptyFile(f"{name} is empty; a CSV file begins with a header of column names") from None
        if isinstance(cells, str):
            raise ConfigError(
                f"{name}, line {taken[0].number}: the header cannot be read: {cells}{_cure(taken[0])}"
            )
        if cells and any(map(str.strip, cells)):
            columns = tuple(map(str.strip, cells))
            while not columns[-1]:  # what stands behind the last delimiter is no column
                columns = columns[:-1]
            notes: Counter[str] = Counter()
            return CsvTable(columns, _rows(records, columns, name, delimiter, notes), delimiter, notes)


def _excels_line(lines: Iterator[Line]) -> tuple[str | None, Iterator[Line]]:
    """Return the delimiter that a first line "sep=;" names, as Excel writes and reads it, and the lines but for that."""
    first = next(lines, None)
    if first is None:
        return None, iter(())
    if match := _EXCELS_LINE.fullmatch(first.text):
        return match[1], lines
    return None, chain([first], lines)


def _cure(line: Line) -> str:
    """Return what may be done about a header that cannot be read."""
    if line.problem is None and b"\r" in line.raw.rstrip(b"\r\n"):
        return "; where lines end in CR alone: tr '\\r' '\\n' < FILE | streamgage send csv - …"
    if b"\0" in line.raw[:4]:
        return "; likely UTF-16 without a byte order mark: --encoding utf-16-le (or utf-16-be)"
    return ""


def _recognise(lines: Iterator[Line], name: str, comment: str | None) -> tuple[str, Iterator[Line]]:
    """Return the delimiter that the header shows, and all *lines*. Raises: ConfigError, two may be meant."""
    read: list[Line] = []
    for line in lines:
        read.append(line)
        if not line.is_blank and not (comment and line.text.lstrip().startswith(comment)):
            break
    header = _QUOTED.sub("", read[-1].text) if read else ""
    counts = {each: header.count(each) for each in DELIMITERS}
    most = max(counts.values())
    likely = [each for each, count in counts.items() if count == most]
    if most and len(likely) > 1:
        shown = " or ".join(map(repr, likely))
        raise ConfigError(f"{name}: {shown} may part the columns of {header.strip()[:80]!r}; say --delimiter")
    return (likely[0] if most else ","), chain(read, lines)


def _rows(
    records: _Records, columns: tuple[str, ...], name: str, delimiter: str, notes: Counter[str]
) -> Iterator[AnyRow]:
    empty = True
    nothing = (delimiter + " \t\r\n").encode()
    while True:
        try:
            taken, cells = records.record()
        except StopIteration:
            break
        number, end_bytes = taken[0].number, taken[-1].end_bytes
        if cells is None:
            yield BlankLine(number, end_bytes, "comment lines")
            continue
        if not cells or (len(taken) == 1 and taken[0].is_blank):
            yield BlankLine(number, end_bytes)
            continue
        if len(taken) == 1 and taken[0].problem is None and not taken[0].raw.strip(nothing):
            yield BlankLine(number, end_bytes, "rows of empty cells")
            continue
        empty = False
        raw = taken[0].raw if len(taken) == 1 else b"".join(line.raw for line in taken)
        yield _row(number, raw, cells, end_bytes=end_bytes, columns=columns, notes=notes)
    if empty:
        raise EmptyFile(f"{name} has a header and no rows")


def _row(
    number: int,
    raw: bytes,
    cells: list[str] | str,
    *,
    end_bytes: int,
    columns: tuple[str, ...],
    notes: Counter[str],
) -> AnyRow:
    width = len(columns)
    if isinstance(cells, str):
        return BadRow(number, raw, cells, end_bytes)
    if len(cells) > width and not any(map(str.strip, cells[width:])):
        notes["rows with empty cells behind the last column"] += 1
        del cells[width:]
    if len(cells) != width:
        return BadRow(number, raw, f"has {len(cells)} cells; the header has {width}", end_bytes)
    if width > 1 and tuple(map(str.strip, cells)) == columns:
        return BlankLine(number, end_bytes, "repeated header lines")
    return Row(number, raw, dict(zip(columns, cells, strict=True)), end_bytes)
