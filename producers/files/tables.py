"""From files to tables: each file opened, understood and planned, one after the other, whatever its kind."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from producers.files.access_log import AUTO, COLUMNS, AccessLog, read_access_log
from producers.files.csv import read_csv
from producers.files.follow import Follow, Generation
from producers.files.inputs import STDIN, unpack
from producers.files.lines import ByteLines, DamagedInput, Line, read_lines
from producers.files.mapping import Cells, EventMapping, plan_mapping
from producers.files.melt import Melt, melt_rows
from producers.files.ndjson import read_ndjson
from producers.files.rows import AnyRow, EmptyFile
from producers.files.stop import Patience
from producers.files.time_format import check_time_format
from producers.files.times import TimeReader
from producers.files.watched import open_input, watched
from producers.files.zones import find_zone
from streamgage.definition.pipeline import Source
from streamgage.errors import ConfigError
from streamgage.formats.json_event import TimeUnit

Kind = Literal["csv", "ndjson", "access-log"]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are written. ``delimiter`` None is recognised by each header, ``layout`` "auto" by each line."""

    kind: Kind
    maps: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    time_unit: TimeUnit | None = None
    time_format: str | None = None
    timezone: str | None = None
    delimiter: str | None = None
    skip: int = 0
    comment: str | None = None
    cells: Cells = field(default_factory=Cells)
    melt: Melt | None = None
    left_out: frozenset[str] = frozenset()
    layout: str = AUTO

    def time_reader(self, source: Source) -> TimeReader:
        """Return what reads the event times of one file. Raises: ConfigError."""
        if self.time_format is not None:
            check_time_format(self.time_format)
        zone = None if self.timezone is None else find_zone(self.timezone)
        if self.kind == "access-log":
            return TimeReader(zone=zone)
        return TimeReader(
            self.time_unit or source.time_unit,
            self.time_format,
            zone=zone,
            numbers="as JSON" if self.kind == "ndjson" else "by digits",
        )


@dataclass(slots=True)
class Table:
    """A file, opened and understood: its rows, which can be read once, and how they become events.

    ``done_bytes`` says how far all files are read. ``notes`` counts what a person should know of, ``layouts`` counts what its
    lines turned out to be. ``generation`` is set where a file is followed. Rows above ``first_line`` were sent before.
    """

    name: str
    rows: Iterator[AnyRow]
    mapping: EventMapping
    times: TimeReader
    notes: Counter[str] = field(default_factory=Counter)
    layouts: Counter[str] = field(default_factory=Counter)
    done_bytes: Callable[[], int] = lambda: 0
    generation: Generation | None = None
    first_line: int = 0


class FileTables:
    """The tables of some files. Each pass over them opens each anew, one at a time."""

    def __init__(
        self,
        names: Sequence[str],
        options: ReadOptions,
        source: Source,
        *,
        folder: Path,
        stdin: BinaryIO,
        warn: Callable[[str], None],
        follow: Follow | None = None,
        patience: Patience | None = None,
        from_line: int = 0,
    ) -> None:
        self._names = names
        self._options = options
        self._source = source
        self._folder = folder
        self._stdin = stdin
        self._warn = warn
        self._follow = follow
        self._patience = patience
        self._from_line = from_line
        self._passed = False
        options.time_reader(source)  # what cannot be meant is told before a file is opened
        self.sizes = [None if name == STDIN else self._size(name) for name in names]

    @property
    def total_bytes(self) -> int | None:
        """The bytes of all files on disk, None where that is not known."""
        known = [each for each in self.sizes if each]
        return sum(known) if len(known) == len(self.sizes) and self._follow is None else None

    def check(self) -> None:
        """Look whether each of several files can be understood. Raises: ConfigError with what is wrong in all of them."""
        problems: list[str] = []
        for name, size_bytes in zip(self._names, self.sizes, strict=True) if len(self._names) > 1 else ():
            if size_bytes is None:  # a pipe: what is read of it now would be gone
                continue
            with self._open(name) as raw:
                try:
                    self._table(name, raw, lambda: 0)
                except EmptyFile:
                    continue
                except ConfigError as error:
                    problems += [each if name in each else f"{name}: {each}" for each in error.problems]
        if problems:
            raise ConfigError(*problems)

    def __iter__(self) -> Iterator[Table]:
        """Open each file, and close it when the next is asked for. Raises: ConfigError."""
        if self._follow is not None:
            yield from self._followed(self._follow)
            return
        if self._passed and STDIN in self._names:
            self._stdin.seek(0)
        self._passed = True
        before_bytes = 0
        for number, (name, size_bytes) in enumerate(zip(self._names, self.sizes, strict=True)):
            with ExitStack() as stack:
                raw = self._stdin if name == STDIN else stack.enter_context(self._open(name))
                try:
                    table = self._table(
                        "standard input" if name == STDIN else name,
                        raw if self._patience is None else watched(raw, self._patience),
                        _place(raw, before_bytes),
                    )
                    table.first_line = self._from_line if number == 0 else 0
                except EmptyFile as error:
                    self._skip(error)
                else:
                    if len(self._names) > 1:
                        table.rows = self._some(table.rows)
                    yield table
            before_bytes += size_bytes or 0

    def _followed(self, follow: Follow) -> Iterator[Table]:
        for generation in follow.generations():
            try:
                table = self._table(self._names[0], generation.raw, lambda: 0, generation)
            except EmptyFile:
                continue  # replaced before its header was there
            table.rows = _beyond(table.rows, generation.begin_bytes)
            yield table

    def _table(
        self, name: str, raw: BinaryIO, done_bytes: Callable[[], int], generation: Generation | None = None
    ) -> Table:
        options, source = self._options, self._source
        stream: ByteLines
        try:
            if generation is None:
                stream, encoding = unpack(raw, name, encoding=options.encoding)
            else:
                stream, encoding = generation, options.encoding
            lines, times = read_lines(stream, name, encoding=encoding), options.time_reader(source)
            table = self._understood(name, lines, times)
        except DamagedInput as error:
            raise ConfigError(f"{name} {error}") from error
        except OSError as error:
            raise ConfigError(f"{name}: cannot be read ({error.strerror or error})") from error
        table.done_bytes, table.generation = done_bytes, generation
        return table

    def _understood(self, name: str, lines: Iterator[Line], times: TimeReader) -> Table:
        options = self._options
        if options.kind == "access-log":
            log = AccessLog(options.layout)
            mapping = self._plan(COLUMNS, times)
            return Table(name, read_access_log(lines, name, log), mapping, times, layouts=log.layouts)
        if options.kind == "ndjson":
            return Table(name, read_ndjson(lines, name), self._plan(None, times), times)
        csv = read_csv(lines, name, delimiter=options.delimiter, skip=options.skip, comment=options.comment)
        columns, rows = csv.columns, csv.rows
        if options.melt is not None:
            self._check_melt(options.melt)
            melted = melt_rows(
                rows,
                columns,
                options.melt,
                kept=self._kept(columns, options.melt),
                left_out=options.left_out,
                cells=options.cells,
                notes=csv.notes,
            )
            columns, rows = melted.columns, melted.rows
        layouts = Counter() if csv.delimiter == "," else Counter({f"delimiter {csv.delimiter!r}": 0})
        return Table(name, rows, self._plan(columns, times), times, csv.notes, layouts)

    def _plan(self, columns: Sequence[str] | None, times: TimeReader) -> EventMapping:
        options = self._options
        return plan_mapping(
            self._source,
            columns=columns,
            maps=options.maps,
            constants=options.constants,
            parse_time=times,
            cells=options.cells,
        )

    def _kept(self, columns: Sequence[str], melt: Melt) -> frozenset[str]:
        """Return the columns that stand beside each metric: those that fill a field, by --map or by their name."""
        mapped = {part for column in self._options.maps.values() for part in (column, *column.split("+"))}
        named = set(self._source.schema.fields) - {each.partition(".")[0] for each in self._options.maps}
        return frozenset(columns) & (mapped | named | {melt.name_field, melt.value_field} & set(columns))

    def _check_melt(self, melt: Melt) -> None:
        taken = {melt.name_field, melt.value_field} & (
            self._options.maps.keys() | self._options.constants.keys()
        )
        if taken:
            raise ConfigError(
                f"{', '.join(sorted(taken))}: filled by --melt, so neither by --map nor by --set"
            )

    def _open(self, name: str) -> BinaryIO:
        try:
            return open_input(self._folder / name)
        except (OSError, ValueError) as error:  # a name with a NUL in it
            raise ConfigError(f"{name}: cannot be read ({getattr(error, 'strerror', error)})") from error

    def _size(self, name: str) -> int | None:
        """Return how large a file is, None where it is a pipe or a device."""
        try:
            mode = (self._folder / name).stat().st_mode
        except (OSError, ValueError):
            mode = stat.S_IFREG  # to be opened is what says why not
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return None  # not opened in vain: who writes to a pipe would find its reader gone
        with self._open(name) as raw:
            return os.fstat(raw.fileno()).st_size

    def _some(self, rows: Iterator[AnyRow]) -> Iterator[AnyRow]:
        try:
            yield from rows
        except EmptyFile as error:
            self._skip(error)

    def _skip(self, error: EmptyFile) -> None:
        if len(self._names) == 1:
            raise error
        self._warn(f"{error}; skipped")


def _place(raw: BinaryIO, before_bytes: int) -> Callable[[], int]:
    def done_bytes() -> int:
        try:
            return before_bytes + raw.tell()
        except (OSError, ValueError):  # a pipe
            return before_bytes

    return done_bytes


def _beyond(rows: Iterator[AnyRow], done_bytes: int) -> Iterator[AnyRow]:
    """Yield the rows that end beyond *done_bytes*: the others were sent before."""
    return (row for row in rows if row.end_bytes > done_bytes)
