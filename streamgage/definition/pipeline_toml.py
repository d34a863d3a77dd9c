"""Read ``pipeline.toml``: every problem is reported at once, with its path, its value and what would be right.

No file is opened here: who reads a definition hands in its text, and what reads the schemas beside it.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from streamgage.definition.build_index import BuildIndex
from streamgage.definition.pipeline import (
    DEFAULT_CONSUMER,
    KEY_TYPES,
    NUMBER_TYPES,
    TEXT_TYPES,
    TIME_TYPES,
    DeferredMappings,
    Pipeline,
    Rollup,
    Source,
    branches,
    default_scale,
    layout_of,
)
from streamgage.definition.toml_table import Table, joined, nearest, shown
from streamgage.durations import format_duration
from streamgage.errors import ConfigError
from streamgage.formats.avro import AvroSchema
from streamgage.measures.catalogue import MEASURES, Measure
from streamgage.measures.named import find_measure
from streamgage.measures.windows import TumblingWindows

if TYPE_CHECKING:
    from streamgage.definition.derived import Derived
    from streamgage.expressions.expression import Expression
    from streamgage.formats.agents.mapping import AgentMapping

_PARAMETER = re.compile(r"[A-Za-z0-9]{1,255}")  # the template's: CloudFormation's rule
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_PARAMETER_DIGITS = 18
_MAX_SCALE = 18
_MIN_WINDOW_MS = 1_000
_MAX_DOTS = 200  # on a line
_TIME = "timestamp-millis"
_NO_RECORDS = KEY_TYPES | NUMBER_TYPES | {"null", "bytes", "fixed", "array", "map"}
_TIME_UNITS = ("s", "ms", "us", "ns")  # those of formats/json_event.py, which a cold start does without


class DefinitionFiles(Protocol):
    """The files around a definition, by path relative to it."""

    def read(self, path: str) -> str:
        """Return the text of *path*. Raises: OSError, ValueError where it is not UTF-8."""

    def versions(self, path: str) -> Iterable[str]:
        """Return the paths of older schemas beside ``schemas/reading.avsc``: ``schemas/reading.*.avsc``."""


def parse_pipeline(text: str, files: DefinitionFiles, index: BuildIndex | None = None) -> Pipeline:
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
    root = Table(raw, "", problems)
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
    if index.missed and any(each.agents for each in sources.values()):
        from streamgage.definition.agents_toml import overlaps_of  # noqa: PLC0415 - a cold start does without

        problems += overlaps_of(sources)
    rollups: dict[str, Rollup] = {}
    for table in root.tables("rollups"):
        rollup = _rollup(table, sources, broken)
        if table.name() in rollups:
            table.problem("name", f"{table.name()!r} is used twice; names of rollups are unique")
        elif rollup is not None:
            rollups[rollup.name] = rollup
    deploy = _deploy(root)
    root.take("mqtt", None)  # a bridge's own, and read by it: producers/mqtt
    root.no_other_keys()
    if problems:
        raise ConfigError(*problems)
    return Pipeline(sources, rollups, deploy)


def _deploy(root: Table) -> dict[str, str]:
    """Return the parameters of the template, as CloudFormation takes them: text."""
    values: dict[str, str] = {}
    for name, value in root.mapping("deploy").items():
        if not _PARAMETER.fullmatch(name):
            root.problem(f"deploy.{shown(name)}", "not the name of a parameter: letters and digits")
        elif type(value) is bool:
            values[name] = str(value).lower()
        elif type(value) is int and abs(value) < 10**_PARAMETER_DIGITS:
            values[name] = str(value)
        elif isinstance(value, str):
            values[name] = value
        else:
            root.problem(f"deploy.{name}", f"{shown(value)} is not a text, a whole number, true or false")
    return values


def _source(table: Table, files: DefinitionFiles, index: BuildIndex) -> Source | None:
    before = len(table.problems)
    name, path = table.name(), table.text("schema")
    schema = _schema(table, path, files, index) if path else None
    versions = {each: _schema(table, each, files, index) for each in (files.versions(path) if schema else ())}
    schemas = {path: schema, **versions}
    fields: Mapping[str, Any] = schema.fields if schema else {}
    partition_key = table.field(
        "partition_key", table.text("partition_key"), fields, KEY_TYPES, "a partition key"
    )
    event_time = table.field("event_time", table.text("event_time"), fields, TIME_TYPES, "an event time")
    for place, each in schemas.items():
        _check_event_time(table, event_time, place, each)
    max_future_ms = table.duration("max_future")
    max_lateness_ms = table.duration("max_lateness")
    derived = _derived(table, fields)
    numeric_fields = {**fields, **_types_of(derived, number="double")}
    scales = {
        each: default_scale(kind) for each, kind in numeric_fields.items() if branches(kind) & NUMBER_TYPES
    }
    for numeric, scale in table.mapping("scale").items():
        if schema and numeric not in scales:
            table.problem(
                f"scale.{numeric}",
                f"{numeric!r} is not a numeric field of the schema; these are: {joined(scales)}",
            )
        elif type(scale) is not int or not 0 <= scale <= _MAX_SCALE:
            table.problem(
                f"scale.{numeric}",
                f"{shown(scale)} is not a number of decimal places from 0 to {_MAX_SCALE}",
            )
        else:
            scales[numeric] = scale
    blocks = table.take("blocks", False)
    if type(blocks) is not bool:
        table.problem("blocks", f"{shown(blocks)} is neither true nor false")
    time_unit = table.take("time_unit", None)
    if time_unit not in (None, *_TIME_UNITS):
        table.problem("time_unit", f"{shown(time_unit)} is not one of {joined(_TIME_UNITS)}")
    histograms = _histograms(table, schema) if schema else frozenset[str]()
    agents = _agents(table, schema, event_time, histograms, deferred=not index.missed)
    table.no_other_keys()
    if len(table.problems) > before or schema is None:
        return None
    return Source(
        name,
        schema,
        tuple(each for each in versions.values() if each),
        partition_key,
        event_time,
        max_future_ms,
        max_lateness_ms,
        scales,
        blocks,
        time_unit,
        derived=derived,
        paths=tuple(schemas),
        agents=agents,
        histograms=histograms,
    )


def _histograms(table: Table, schema: AvroSchema) -> frozenset[str]:
    """Return the fields of *schema* whose values are histograms; only who has records needs to know what one looks like."""
    if all(branches(each) <= _NO_RECORDS for each in schema.fields.values()):
        return frozenset()
    from streamgage.definition.histogram_fields import histogram_fields, partial_defaults  # noqa: PLC0415 - a cold start does without

    for name in partial_defaults(schema):
        table.problem(
            "schema",
            f"{name}: a default of it, or within it, is no whole value: say each of its fields, as docs/formats.md does",
        )
    return histogram_fields(schema)


def _agents(
    table: Table, schema: AvroSchema | None, event_time: str, histograms: frozenset[str], *, deferred: bool
) -> "Collection[AgentMapping]":
    """Return the mappings of a source; *deferred*, they were read over at the build, and are read when an agent's record comes."""
    if table.take("from", None) is None:
        return ()

    def read() -> "tuple[AgentMapping, ...]":
        from streamgage.definition.agents_toml import agents_of  # noqa: PLC0415 - a cold start does without

        before = len(table.problems)
        found = agents_of(table, schema, event_time, histograms)
        if deferred and len(table.problems) > before:  # the files of a bundle were exchanged for one another
            raise ConfigError(*table.problems[before:])
        return found

    return DeferredMappings(read) if deferred else read()


def _derived(table: Table, fields: Mapping[str, Any]) -> "Derived | None":
    """Return the fields that are computed; only who has some needs the language that they are written in."""
    texts = table.mapping("derive")
    if not texts:
        return None
    from streamgage.definition.derived import Derived, derived_field  # noqa: PLC0415 - a cold start does without

    found = {}
    for name, text in texts.items():
        place = f"derive.{name if _FIELD.fullmatch(name) else shown(name)}"
        if not _FIELD.fullmatch(name):
            table.problem(place, "not a name: letters, digits and _, at most 63")
        elif name in fields:
            table.problem(place, "the schema has a field of that name")
        elif not isinstance(text, str):
            table.problem(place, f"{shown(text)} is not an expression, which is a text")
        elif fields:
            try:
                found[name] = derived_field(text, fields)
            except ValueError as error:
                table.problem(place, str(error))
    return Derived(found) if found else None


def _types_of(derived: "Derived | None", *, number: str) -> dict[str, str]:
    """Return the types of Avro that derived fields are like; of numbers *number*."""
    if derived is None:
        return {}
    from streamgage.definition.derived import AVRO_TYPES  # noqa: PLC0415 - as above

    types = {**{str(kind): name for kind, name in AVRO_TYPES.items()}, "number": number}
    return {name: types.get(str(each.kind), "null") for name, each in derived.expressions.items()}


def _where(table: Table, fields: Mapping[str, Any]) -> "Expression | None":
    text = table.take("where", None)
    if text is None:
        return None
    if not isinstance(text, str):
        table.problem("where", f"{shown(text)} is not a filter, which is a text")
        return None
    if not fields:
        return None
    from streamgage.definition.derived import filter_of  # noqa: PLC0415 - as above

    try:
        return filter_of(text, fields)
    except ValueError as error:
        table.problem("where", str(error))
        return None


def _check_event_time(table: Table, name: str, path: str, schema: AvroSchema | None) -> None:
    """Refuse an event time that *schema* says is something else than ms since the epoch in UTC."""
    logical = schema.logical.get(name, _TIME) if schema else _TIME
    if logical != _TIME:
        table.problem(
            "event_time",
            f"{name!r} is {logical} in {path!r}; event times are {_TIME} or a long without a logical type: ms since the "
            "epoch, in UTC. Have what sends write that, in a field of its own where the old one is needed",
        )


def _schema(table: Table, path: str, files: DefinitionFiles, index: BuildIndex) -> AvroSchema | None:
    try:
        return index.schema(files.read(path))
    except OSError as error:
        table.problem(
            "schema",
            f"{path!r} cannot be read ({error.strerror or error}); paths are relative to pipeline.toml",
        )
    except ValueError as error:
        table.problem("schema", f"{path!r}: {error}")
    return None


def _rollup(table: Table, sources: Mapping[str, Source], broken: set[str]) -> Rollup | None:
    before = len(table.problems)
    name, source_name = table.name(), table.text("source")
    source = sources.get(source_name)
    if source_name and source is None and source_name not in broken:
        table.problem(
            "source", f"no source is named {source_name!r}{nearest(source_name, [*sources, *broken])}"
        )
    fields: Mapping[str, Any] = source.schema.fields if source else {}
    derived = source.derived if source else None
    key = tuple(table.texts("key"))
    key_fields = {**fields, **_types_of(derived, number="long")}
    for number, each in enumerate(key):
        table.field(f"key[{number}]", each, key_fields, KEY_TYPES, "a key")
    if len(set(key)) < len(key):
        table.problem("key", f"{list(key)} names a field twice")
    together = _together(table, key)
    windows = _windows(table)
    keep_ms = table.duration("keep")
    generation = table.take("generation", 1)
    if type(generation) is not int or not 1 <= generation <= 999_999:
        table.problem("generation", f"{shown(generation)} is not a whole number from 1 to 999999")
    consumer = table.name("consumer", default=DEFAULT_CONSUMER)
    histograms = source.histograms if source else frozenset[str]()
    measures = _measures(table, {**fields, **_types_of(derived, number="double")}, histograms)
    _check_sessions(table, windows, measures)
    where = _where(table, fields)
    table.no_other_keys()
    if len(table.problems) > before or source is None:
        return None
    layout = layout_of(measures, source.scales, source.histograms)
    return Rollup(
        name, source_name, key, windows, keep_ms, generation, measures, layout, consumer, where, together
    )


def _together(table: Table, key: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fields that keep keys together, in the order of *key*; none where nothing is said of it."""
    if table.take("together", None) is None:
        return ()
    named = table.texts("together")
    if not key:  # that is a problem of its own
        return ()
    for number, each in enumerate(named):
        if each not in key:
            table.problem(f"together[{number}]", f"{each!r} is not part of the key{nearest(each, key)}")
    if len(set(named)) < len(named):
        table.problem("together", f"{named} names a field twice")
    elif set(named) == set(key):
        table.problem("together", f"{named} is the whole key: name fewer fields, or leave it out")
    return tuple(each for each in key if each in named)


def _windows(table: Table) -> tuple[TumblingWindows, ...]:
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


def _measures(
    table: Table, fields: Mapping[str, Any], histograms: frozenset[str]
) -> dict[str, tuple[str, ...]]:
    measures: dict[str, tuple[str, ...]] = {}
    for name, wanted in table.mapping("measures").items():
        path = f"measures.{name}"
        if not isinstance(wanted, list) or not wanted or not all(isinstance(each, str) for each in wanted):
            table.field(path, name, fields, NUMBER_TYPES, "a measure", nullable=True)
            table.problem(
                path, f"{shown(wanted)} is not a list of measures, such as {joined(list(MEASURES)[:2])}"
            )
            continue
        known = {each: find_measure(each) for each in wanted}
        if name in histograms:
            _of_histograms(table, path, known)
        else:
            _measured(table, path, name, fields, known)
        for each, found in known.items():
            if found is None:
                names = [*MEASURES, *_more_measures()]
                table.problem(path, f"{each!r} is not a measure{nearest(each, names)}")
        measures[name] = tuple(dict.fromkeys(wanted))
    return measures


def _of_histograms(table: Table, path: str, known: Mapping[str, Measure | None]) -> None:
    """Check that the *known* measures can be read from the buckets of histograms."""
    others = [each for each, found in known.items() if found is not None and found.parts != ("histogram",)]
    if others:
        table.problem(
            path,
            f"{joined(others)} cannot be told from buckets; of histograms there are histogram, p50, p99 and the like. Give what "
            "else a client counted (count, sum, min, max) a field of its own",
        )


def _measured(
    table: Table, path: str, name: str, fields: Mapping[str, Any], known: Mapping[str, Measure | None]
) -> None:
    """Check that the field *name* is of a type that the *known* measures are of; what is unknown is taken for of numbers."""
    if "record" in branches(fields.get(name, "null")):
        table.problem(
            path,
            f"{name!r} is a record, and not one of a histogram, which has count, scale, zeroCount, zeroThreshold, positive and "
            "negative as docs/formats.md says",
        )
        return
    of_texts = [each for each, found in known.items() if found is not None and found.columns == "texts"]
    of_numbers = [
        each
        for each, found in known.items()
        if found is None or (found.columns == "numbers" and each != "count")
    ]
    if of_texts and of_numbers:
        table.problem(
            path,
            f"{joined(of_texts)} is of texts, {joined(of_numbers)} of numbers: no field has both",
        )
    elif of_texts:
        table.field(path, name, fields, TEXT_TYPES, joined(of_texts), nullable=True)
    else:
        types = NUMBER_TYPES if of_numbers else NUMBER_TYPES | TEXT_TYPES
        table.field(path, name, fields, types, "a measure", nullable=True)


def _check_sessions(
    table: Table, windows: Sequence[TumblingWindows], measures: Mapping[str, Sequence[str]]
) -> None:
    """Check that an item holds what sessions a key may have in a window."""
    for name, wanted in measures.items():
        for each in wanted:
            found = find_measure(each)
            longest_ms = None if found is None else found.longest_ms
            if longest_ms is not None and windows and windows[-1].size_ms > longest_ms:
                table.problem(
                    f"measures.{name}",
                    f"a key may have more sessions in {windows[-1].label} than an item holds of {each!r}: take windows of "
                    f"{format_duration(longest_ms)} at most, or a longer gap: '{each.partition('@')[0]}@1h'",
                )


def _more_measures() -> tuple[str, ...]:
    from streamgage.measures.sketch_measures import NAMES  # noqa: PLC0415 - a cold start does without

    return NAMES


def _check_prefixes(sources: Mapping[str, Source], problems: list[str]) -> None:
    owners: dict[bytes, str] = {}
    for name, source in sources.items():
        for prefix in sorted(source.prefixes):
            other = owners.setdefault(prefix, name)
            if other != name:
                problems.append(
                    f"sources {other!r} and {name!r} share a schema (fingerprint {prefix[2:].hex()}): their events "
                    "could not be told apart. Give the record of one another name"
                )


def _refuse_endless_keys(text: str) -> None:
    # tomllib's work and memory grow with the square of a dotted key's parts: one of 16 kB costs 260 MB.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > _MAX_DOTS:
            raise ValueError(f"line {number} has more than {_MAX_DOTS} dots")
