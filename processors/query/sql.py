"""SQL over rollups, by DuckDB: one SELECT, over what it names and nothing else of this machine.

A rollup is a table: its key's fields, ``window`` ("1h"), ``window_start``, ``window_end``, ``events``, and its measures by
``field_measure`` (``bytes_sum``, ``value_p99_9``), ``may_change``, ``partial``. Read are the windows that overlap the range;
of one size, where the statement says so of a table that it selects from alone (``where "window" = '1d' and …``), of every
size that is kept otherwise. The rows are read first, and the statement runs over them in memory, without access to files
or to a network, for so long at most.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any

from processors.query.answer import Answer, Cell, answer_of, time_text
from processors.query.arrow import to_arrow
from processors.query.cells import PartialStore
from processors.query.question import Question, Row, ask
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.errors import ConfigError

MOST_ROWS = 2_000_000
_CONFIG = {
    "memory_limit": "2GB",
    "threads": 2,
    "python_enable_replacements": False,  # else a name might be a variable of whoever asks
}
_READERS = {
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".parquet": "read_parquet",
    ".json": "read_json",
    ".ndjson": "read_json",
}


@dataclass(frozen=True, slots=True)
class SqlTables:
    """The rollups that a statement may name, and the range that is read of them."""

    pipeline: Pipeline
    consumer: str
    store: PartialStore
    from_ms: int
    to_ms: int
    applied_ms: int
    now_ms: int

    def answer(self, rollup: Rollup, labels: frozenset[str] | None) -> Answer:
        """Return the rows of every window size, or of those of *labels*, with ``window`` behind the key.

        Raises:
            ConfigError: too many; or another consumer counts it.
        """
        if rollup.consumer != self.consumer:
            raise ConfigError(
                f"rollup {rollup.name} is counted by consumer {rollup.consumer}, and this stack counts for {self.consumer}"
            )
        kept = [windows.label for windows in rollup.windows]
        if labels is not None and (others := sorted(labels - set(kept))):
            raise ConfigError(
                f'SQL: {rollup.name} keeps no windows of {", ".join(others)}: "window" is one of {", ".join(kept)}; '
                "streamgage query merges others"
            )
        rows: list[tuple[Cell, ...]] = []
        names: tuple[str, ...] = ()
        keys = len(rollup.key)
        for windows in rollup.windows:
            question = Question.parse(
                self.pipeline,
                rollup=rollup.name,
                key=None,
                window=windows.label,
                from_ms=self.from_ms,
                to_ms=self.to_ms,
            )
            wanted = labels is None or windows.label in labels
            found = (
                ask(self.store, question, applied_ms=self.applied_ms, now_ms=self.now_ms)
                if wanted
                else iter(())
            )
            given = answer_of(question, _bounded(found, rollup.name, MOST_ROWS - len(rows)))
            rows += [(*row[:keys], windows.label, *row[keys:]) for row in given.rows]
            names = (*given.names[:keys], "window", *map(column_name, given.names[keys:]))
        return Answer(names, rows, keys + 1)


def _bounded(rows: Iterator[Row], name: str, most: int) -> Iterator[Row]:
    for count, row in enumerate(rows):
        if count >= most:
            raise ConfigError(
                f"{name} has more than {MOST_ROWS:,} rows in this range: narrow it by --from and --to"
            )
        yield row


def run(statement: str, tables: SqlTables, *, files: Mapping[str, Path], timeout_s: float) -> Answer:
    """Return what *statement* answers.

    Raises:
        ConfigError: it is not one SELECT that DuckDB understands, names what there is not, or does not end in time.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise ConfigError("this needs DuckDB: pip install 'streamgage[ask]'") from error
    connection = duckdb.connect(":memory:", config=_CONFIG)
    try:
        named = _named(connection, statement)
        for name, path in files.items():
            _take_file(duckdb, connection, name, path, tables.pipeline)
        connection.execute("set enable_external_access = false")
        for name, labels in named.items():
            if name in tables.pipeline.rollups and name not in files:
                _register(connection, tables, tables.pipeline.rollups[name], labels)
        connection.execute("set lock_configuration = true")
        return _within(timeout_s, connection, lambda: _fetched(connection.execute(statement)))
    except duckdb.Error as error:
        known = ", ".join([*tables.pipeline.rollups, *files])
        raise ConfigError(f"SQL: {_first_lines(error)} (tables: {known})") from error
    finally:
        connection.close()


@dataclass(slots=True)
class _Names:
    """Tables by name, with the window labels that are asked of each; None: all."""

    found: dict[str, frozenset[str] | None] = field(default_factory=dict)

    def note(self, name: str, labels: frozenset[str] | None) -> None:
        known = self.found.get(name, frozenset())
        self.found[name] = None if labels is None or known is None else known | labels


def _named(connection: Any, statement: str) -> dict[str, frozenset[str] | None]:
    """Return the tables that *statement* names. Raises: ConfigError, it is not one SELECT."""
    ((text,),) = connection.execute("select json_serialize_sql(?)", [statement]).fetchall()
    parsed = json.loads(text)
    if parsed.get("error"):
        raise ConfigError(f"SQL: {parsed.get('error_message', 'not understood')}")
    statements = parsed["statements"]
    if len(statements) != 1:
        raise ConfigError(f"SQL: one SELECT is run, and these are {len(statements)} statements")
    names = _Names()
    pending: list[Any] = [statements[0]]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            alone = node.get("from_table") if node.get("type") == "SELECT_NODE" else None
            if isinstance(alone, dict) and alone.get("type") == "BASE_TABLE":
                names.note(alone["table_name"], _labels(node.get("where_clause")))
                pending += [each for key, each in node.items() if key != "from_table"]
                continue
            if node.get("type") == "BASE_TABLE":
                names.note(node["table_name"], None)
            pending += node.values()
    return names.found


def _labels(where: Any) -> frozenset[str] | None:
    """Return which window labels a filter lets through, as far as it says so of each row; None: any."""
    pending = [where]
    while pending:
        node = pending.pop()
        if not isinstance(node, dict):
            continue
        if node.get("type") == "CONJUNCTION_AND":
            pending += node.get("children", [])
        elif node.get("type") == "COMPARE_EQUAL":
            sides = [node.get("left") or {}, node.get("right") or {}]
            columns = [each["column_names"][-1:] for each in sides if each.get("type") == "COLUMN_REF"]
            values = [_text(each) for each in sides if each.get("type") == "VALUE_CONSTANT"]
            if columns == [["window"]] and len(values) == 1 and values[0] is not None:
                return frozenset((values[0],))
    return None


def _text(constant: Mapping[str, Any]) -> str | None:
    """Return the text of a constant, whose place in the tree has changed between versions of DuckDB."""
    for holder in ("literal", "value"):
        value = constant.get(holder)
        if isinstance(value, dict):
            found = value.get("text", value.get("value"))
            return found if isinstance(found, str) else None
    return None


def _register(connection: Any, tables: SqlTables, rollup: Rollup, labels: frozenset[str] | None) -> None:
    connection.register("_rows", to_arrow(tables.answer(rollup, labels)))
    connection.execute(f'create table "{rollup.name}" as select * from _rows')  # noqa: S608 - letters, as pipeline.toml says
    connection.unregister("_rows")


def column_name(name: str) -> str:
    """Return what SQL calls a column: ``bytes.sum`` is ``bytes_sum``, and ``value.p99.9`` ``value_p99_9``."""
    return name.replace(".", "_").replace("@", "_")


def _take_file(duckdb: Any, connection: Any, name: str, path: Path, pipeline: Pipeline) -> None:
    if not name.isidentifier() or name in pipeline.rollups:
        raise ConfigError(
            f"--file {name}=…: a table's name is letters, digits and _, and not that of a rollup"
        )
    reader = _READERS.get(path.suffix.lower().removesuffix(".gz") or path.with_suffix("").suffix.lower())
    if reader is None:
        raise ConfigError(f"{path}: a file is .csv, .tsv, .parquet, .json or .ndjson")
    try:
        connection.execute(f'create table "{name}" as select * from {reader}(?)', [str(path)])  # noqa: S608 - an identifier
    except duckdb.Error as error:
        raise ConfigError(f"{path}: {_first_lines(error)}") from error


def _within(timeout_s: float, connection: Any, work: Callable[[], Answer]) -> Answer:
    late = threading.Event()

    def stop() -> None:
        late.set()
        connection.interrupt()

    timer = threading.Timer(timeout_s, stop)
    timer.start()
    try:
        return work()
    except Exception as error:
        if late.is_set():
            raise ConfigError(f"SQL: it took more than {timeout_s:g} s (--timeout)") from error
        raise
    finally:
        timer.cancel()


def _fetched(cursor: Any) -> Answer:
    names = tuple(each[0] for each in cursor.description)
    rows: list[tuple[Cell, ...]] = []
    while chunk := cursor.fetchmany(10_000):
        rows += [tuple(map(_cell, row)) for row in chunk]
        if len(rows) > MOST_ROWS:
            raise ConfigError(f"the answer has more than {MOST_ROWS:,} rows: add a limit")
    return Answer(names, rows, 0)


def _cell(value: Any) -> Cell:
    if value is None or isinstance(value, str | bool | int | Decimal):
        return value
    if isinstance(value, float):
        return Decimal(repr(value)) if isfinite(value) else str(value)
    if isinstance(value, datetime):
        return time_text(round(value.timestamp() * 1000)) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, default=str) if isinstance(value, list | dict | tuple) else str(value)


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())
