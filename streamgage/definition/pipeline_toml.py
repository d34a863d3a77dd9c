"""Read ``pipeline.toml``: every problem is reported at once, with its path, its value and what would be right."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from streamgage.definition.build_index import INDEX_NAME, BuildIndex
from streamgage.definition.pipeline import (
    KEY_TYPES,
    NUMBER_TYPES,
    TIME_TYPES,
    Pipeline,
    Rollup,
    Source,
    branches,
    default_scale,
    layout_of,
)
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.formats.avro import AvroSchema
from streamgage.measures.monoids import MEASURES
from streamgage.measures.windows import TumblingWindows

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PARAMETER = re.compile(r"[A-Za-z0-9]{1,255}")  # the template's: CloudFormation's rule
_PARAMETER_DIGITS = 18
_MAX_SCALE = 18
_MIN_WINDOW_MS = 1_000
_MAX_DOTS = 200  # on a line
_TIME_UNITS = ("s", "ms", "us", "ns")  # those of formats/json_event.py, which a cold start does without
_MISSING = object()


class Files(Protocol):
    """The files around a definition, by path relative to it."""

    def read(self, path: str) -> str:
        """Return the text of *path*. Raises: OSError, ValueError where it is not UTF-8."""

    def versions(self, path: str) -> Iterable[str]:
        """Return the paths of older schemas beside ``schemas/reading.avsc``: ``schemas/reading.*.avsc``."""


class Folder:
    """Files in a folder on disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> str:
        """Return the text of *path*."""
        return (self._root / path).read_text(encoding="utf-8")

    def versions(self, path: str) -> list[str]:
        """Return the older schemas beside *path*, in the order of their names."""
        found = (self._root / path).parent.glob(f"{PurePosixPath(path).stem}.*.avsc")
        return sorted(str(PurePosixPath(path).with_name(each.name)) for each in found)


def load_pipeline(path: Path) -> Pipeline:
    """Return the definition in the file *path*; schemas are found relative to it.

    Raises:
        ConfigError: with every problem; nothing was loaded.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}). Run in the folder of your pipeline.toml, or name it: "
            "--pipeline PATH"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error})") from error
    try:
        return parse_pipeline(text, Folder(path.parent), _index_in(path.parent))
    except ConfigError as error:
        raise ConfigError(*(f"{path}: {problem}" for problem in error.problems)) from error


def _index_in(folder: Path) -> BuildIndex:
    try:
        return BuildIndex.of_text((folder / INDEX_NAME).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):  # a bundle has one, a checkout has none
        return BuildIndex()


def parse_pipeline(text: str, files: Files, index: BuildIndex | None = None) -> Pipeline:
    """Return the definition that *text* (TOML) describes. Raises: ConfigError with every problem.

    *index* holds what was parsed before.
    """
    index = index or BuildIndex()
    try:
        _refuse_endless_keys(text)
        raw = index.toml(text)
    except (ValueError, RecursionError) as error:  # ValueError: an integer of more than 4,300 digits
        raise ConfigError(f"not valid TOML: {error}") from error
    problems: list[str] = []
    root = _Table(raw, "", problems)
    sources: dict[str, Source] = {}
    broken: set[str] = set()  # sources with problems of their own: rollups of them are not judged twice
    for table in root.tables("sources"):
        source = _source(table, files, index)
        name = table.name()
        if name in sources or name in broken:
            table.problem("name", f"{name!r} is used twice; names of sources are unique")
        elif source is not None:
            sources[name] = source
        else:
            broken.add(name)
    _check_prefixes(sources, problems)
    rollups: dict[str, Rollup] = {}
    for table in root.tables("rollups"):
        rollup = _rollup(table, sources, broken)
        if table.name() in rollups:
            table.problem("name", f"{table.name()!r} is used twice; names of rollups are unique")
        elif rollup is not None:
            rollups[rollup.name] = rollup
    deploy = _deploy(root)
    root.no_other_keys()
    if problems:
        raise ConfigError(*problems)
    return Pipeline(sources, rollups, deploy)


def _deploy(root: "_Table") -> dict[str, str]:
    """Return the parameters of the template, as CloudFormation takes them: text."""
    values: dict[str, str] = {}
    for name, value in root.mapping("deploy").items():
        if not _PARAMETER.fullmatch(name):
            root.problem(f"deploy.{_shown(name)}", "not the name of a parameter: letters and digits")
        elif type(value) is bool:
            values[name] = str(value).lower()
        elif type(value) is int and abs(value) < 10**_PARAMETER_DIGITS:
            values[name] = str(value)
        elif isinstance(value, str):
            values[name] = value
        else:
            root.problem(f"deploy.{name}", f"{_shown(value)} is not a text, a whole number, true or false")
    return values


def _source(table: "_Table", files: Files, index: BuildIndex) -> Source | None:
    before = len(table.problems)
    name, path = table.name(), table.text("schema")
    schema = table.schema("schema", path, files, index) if path else None
    writers = tuple(
        each
        for version in (files.versions(path) if schema else ())
        if (each := table.schema("schema", version, files, index))
    )
    fields: Mapping[str, Any] = schema.fields if schema else {}
    partition_key = table.field(
        "partition_key", table.text("partition_key"), fields, KEY_TYPES, "a partition key"
    )
    event_time = table.field("event_time", table.text("event_time"), fields, TIME_TYPES, "an event time")
    max_future_ms = table.duration("max_future")
    max_lateness_ms = table.duration("max_lateness")
    scales = {each: default_scale(kind) for each, kind in fields.items() if branches(kind) & NUMBER_TYPES}
    for numeric, scale in table.mapping("scale").items():
        if schema and numeric not in scales:
            table.problem(
                f"scale.{numeric}",
                f"{numeric!r} is not a numeric field of the schema; these are: {_list(scales)}",
            )
        elif type(scale) is not int or not 0 <= scale <= _MAX_SCALE:
            table.problem(
                f"scale.{numeric}",
                f"{_shown(scale)} is not a number of decimal places from 0 to {_MAX_SCALE}",
            )
        else:
            scales[numeric] = scale
    blocks = table.take("blocks", False)
    if type(blocks) is not bool:
        table.problem("blocks", f"{_shown(blocks)} is neither true nor false")
    time_unit = table.take("time_unit", None)
    if time_unit not in (None, *_TIME_UNITS):
        table.problem("time_unit", f"{_shown(time_unit)} is not one of {_list(_TIME_UNITS)}")
    table.no_other_keys()
    if len(table.problems) > before or schema is None:
        return None
    return Source(
        name,
        schema,
        writers,
        partition_key,
        event_time,
        max_future_ms,
        max_lateness_ms,
        scales,
        blocks,
        time_unit,
    )


def _rollup(table: "_Table", sources: Mapping[str, Source], broken: set[str]) -> Rollup | None:
    before = len(table.problems)
    name, source_name = table.name(), table.text("source")
    source = sources.get(source_name)
    if source_name and source is None and source_name not in broken:
        table.problem(
            "source", f"no source is named {source_name!r}{_nearest(source_name, [*sources, *broken])}"
        )
    fields = source.schema.fields if source else {}
    key = tuple(table.texts("key"))
    for number, each in enumerate(key):
        table.field(f"key[{number}]", each, fields, KEY_TYPES, "a key")
    if len(set(key)) < len(key):
        table.problem("key", f"{list(key)} names a field twice")
    windows = _windows(table)
    keep_ms = table.duration("keep", required=True)
    generation = table.take("generation", 1)
    if type(generation) is not int or not 1 <= generation <= 999_999:
        table.problem("generation", f"{_shown(generation)} is not a whole number from 1 to 999999")
    measures = _measures(table, fields)
    table.no_other_keys()
    if len(table.problems) > before or source is None or keep_ms is None:
        return None
    layout = layout_of(measures, source.scales)
    return Rollup(name, source_name, key, windows, keep_ms, generation, measures, layout)


def _windows(table: "_Table") -> tuple[TumblingWindows, ...]:
    sizes: list[int] = []
    for number, text in enumerate(table.texts("windows")):
        size_ms = table.parsed_duration(f"windows[{number}]", text)
        if size_ms is not None and 0 < size_ms < _MIN_WINDOW_MS:
            table.problem(f"windows[{number}]", f"{text!r} is shorter than a second")
        elif size_ms in sizes:
            table.problem(f"windows[{number}]", f"{text!r} is named twice")
        elif size_ms:
            sizes.append(size_ms)
    return tuple(TumblingWindows(size_ms) for size_ms in sorted(sizes))


def _measures(table: "_Table", fields: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    measures: dict[str, tuple[str, ...]] = {}
    for name, wanted in table.mapping("measures").items():
        path = f"measures.{name}"
        table.field(path, name, fields, NUMBER_TYPES, "a measure", nullable=True)
        if not isinstance(wanted, list) or not wanted or not all(isinstance(each, str) for each in wanted):
            table.problem(path, f"{_shown(wanted)} is not a list of measures, such as {_list(MEASURES[:2])}")
            continue
        for each in wanted:
            if each not in MEASURES:
                table.problem(path, f"{each!r} is not a measure{_nearest(each, MEASURES)}")
        measures[name] = tuple(dict.fromkeys(wanted))
    return measures


def _check_prefixes(sources: Mapping[str, Source], problems: list[str]) -> None:
    owners: dict[bytes, str] = {}
    for name, source in sources.items():
        for prefix in source.reader.prefixes:
            other = owners.setdefault(prefix, name)
            if other != name:
                problems.append(
                    f"sources {other!r} and {name!r} share a schema (fingerprint {prefix[2:].hex()}): their events "
                    "could not be told apart. Give the record of one another name"
                )


class _Table:
    """One TOML table, read key by key; what is wrong with it goes to ``problems``."""

    def __init__(self, raw: Mapping[str, Any], path: str, problems: list[str]) -> None:
        self._raw, self._path, self.problems = raw, path, problems
        self._seen: set[str] = set()

    def problem(self, key: str, what: str) -> None:
        self.problems.append(f"{self._path}.{key}: {what}" if self._path else f"{key}: {what}")

    def take(self, key: str, default: Any = _MISSING) -> Any:
        self._seen.add(key)
        return self._raw.get(key, default)

    def tables(self, key: str) -> list["_Table"]:
        value = self.take(key)
        if value is _MISSING:
            self.problem(key, f"missing; a pipeline has at least one [[{key}]]")
            return []
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self.problem(key, f"not an array of tables; write [[{key}]]")
            return []
        return [_Table(each, f"{key}[{number}]", self.problems) for number, each in enumerate(value)]

    def name(self) -> str:
        if "name" in self._seen:
            value = self._raw.get("name")
            return value if isinstance(value, str) else ""
        value = self.text("name")
        if value and not _NAME.fullmatch(value):
            self.problem(
                "name", f"{_shown(value)} is not a name: lower-case letters, digits and _, at most 63"
            )
        return value

    def text(self, key: str) -> str:
        value = self.take(key)
        if value is _MISSING:
            self.problem(key, "missing; a text is needed")
        elif not isinstance(value, str) or not value:
            self.problem(key, f"{_shown(value)} is not a text")
        else:
            return value
        return ""

    def texts(self, key: str) -> list[str]:
        value = self.take(key)
        if value is _MISSING:
            self.problem(key, "missing; a list of texts is needed")
        elif not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
            self.problem(key, f"{_shown(value)} is not a list of texts")
        else:
            return value
        return []

    def mapping(self, key: str) -> dict[str, Any]:
        value = self.take(key, {})
        if isinstance(value, dict):
            return value
        self.problem(key, f"{_shown(value)} is not a table")
        return {}

    def duration(self, key: str, *, required: bool = False) -> int | None:
        value = self.take(key)
        if value is _MISSING:
            if required:
                self.problem(key, 'missing; a duration is needed, such as "90d"')
            return None
        return self.parsed_duration(key, value)

    def parsed_duration(self, key: str, value: Any) -> int | None:
        try:
            duration_ms = parse_duration(value)
        except (ValueError, TypeError):
            self.problem(
                key,
                f'{_shown(value)} is not a duration: a whole number and a unit, such as "30s", "5m", "1h", "7d"',
            )
            return None
        if duration_ms == 0:
            self.problem(key, f"{_shown(value)} is nothing at all")
        return duration_ms

    def schema(self, key: str, path: str, files: Files, index: BuildIndex) -> AvroSchema | None:
        try:
            return index.schema(files.read(path))
        except OSError as error:
            self.problem(
                key,
                f"{path!r} cannot be read ({error.strerror or error}); paths are relative to pipeline.toml",
            )
        except ValueError as error:
            self.problem(key, f"{path!r}: {error}")
        return None

    def field(
        self,
        key: str,
        name: str,
        fields: Mapping[str, Any],
        types: frozenset[str],
        role: str,
        *,
        nullable: bool = False,
    ) -> str:
        """Check that *name* is a field whose type may serve as *role*; where the schema is unknown, say nothing."""
        if not name or not fields:
            return name
        if name not in fields:
            self.problem(key, f"the schema has no field {name!r}{_nearest(name, fields)}")
            return name
        found = branches(fields[name])
        if found - types - ({"null"} if nullable else set()) or (not nullable and len(found) > 1):
            self.problem(
                key, f"{name!r} is {_list(sorted(found), ' or ')}; {role} is {_list(sorted(types), ' or ')}"
            )
        return name

    def no_other_keys(self) -> None:
        for key in sorted(self._raw.keys() - self._seen):
            self.problem(key, f"unknown key{_nearest(key, self._seen)}")


def _refuse_endless_keys(text: str) -> None:
    # tomllib's work and memory grow with the square of a dotted key's parts: one of 16 kB costs 260 MB.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > _MAX_DOTS:
            raise ValueError(f"line {number} has more than {_MAX_DOTS} dots")


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits than Python shows (of hex), or dotted keys without end
        return "the value"
    return text if len(text) <= 200 else text[:199] + "…"


def _list(names: Iterable[str], joiner: str = ", ") -> str:
    return joiner.join(names)


def _nearest(name: str, known: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - only a definition with problems needs it

    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {_list(sorted(known))}"
