"""Read ``[[sources.from]]``: what agents put on the stream, and how it becomes events of the source."""

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any, cast

from streamgage.definition.pipeline import Source
from streamgage.definition.toml_table import Table, joined, nearest, shown
from streamgage.formats.agents.mapping import (
    AGENT_FORMATS,
    CONSTANT,
    HISTOGRAM,
    MATCH_NAMED,
    MATCH_WORDS,
    NAMED,
    OF_FIELDS,
    WORDS,
    AgentFormat,
    AgentMapping,
    is_selector,
    may_overlap,
)
from streamgage.formats.avro import AvroSchema

if TYPE_CHECKING:
    from streamgage.formats.json_event import TimeUnit

_TIME_UNITS = ("s", "ms", "us", "ns")
_MOST = 100  # of a source


def agents_of(
    table: Table, schema: AvroSchema | None, event_time: str, histograms: frozenset[str] = frozenset()
) -> tuple[AgentMapping, ...]:
    """Return the mappings of a source's table. What is wrong with them is noted there; of unknown schema, what can be.

    *histograms* are the fields of the schema that hold some.
    """
    tables = table.tables("from")
    if len(tables) > _MOST:
        table.problem("from", f"{len(tables)} tables; {_MOST} at most")
        return ()
    found = [_mapping(each, schema, event_time, histograms) for each in tables]
    return tuple(each for each in found if each is not None)


def overlaps_of(sources: Mapping[str, Source]) -> list[str]:
    """Return a sentence for each two mappings, of one source or of two, that may mean one item: it would count twice."""
    every = [
        (f"source {source.name}, from[{number}]", mapping)
        for source in sources.values()
        for number, mapping in enumerate(source.agents)
    ]
    names = ", ".join(sorted(sources))
    problems = [
        f"{one_place} and {other_place} may both mean the same {one.format} item. Give both a match of one selector, with "
        "different texts"
        for (one_place, one), (other_place, other) in combinations(every, 2)
        if may_overlap(one, other)
    ]
    return problems + [
        f"{place}: an object whose source is {text!r} is an event of that source already, by its own fields; the sources are "
        f"{names}. Match by something else"
        for place, mapping in every
        if mapping.format == "json"
        for selector, texts in mapping.match
        for text in sorted(texts)
        if selector == "source" and text in sources
    ]


def _mapping(
    table: Table, schema: AvroSchema | None, event_time: str, histograms: frozenset[str]
) -> AgentMapping | None:
    before = len(table.problems)
    form = table.text("format")
    if form and form not in AGENT_FORMATS:
        table.problem("format", f"{shown(form)} is not a format{nearest(form, AGENT_FORMATS)}")
    known = form in AGENT_FORMATS
    match = _match(table, form if known else "")
    fields = _fields(table, form if known else "", schema)
    unit = table.take("time_unit", "ns") if form == "influx" else "ns"
    if unit not in _TIME_UNITS:
        table.problem("time_unit", f"{shown(unit)} is not one of {joined(_TIME_UNITS)}")
    others = table.take("others", "quarantine")
    if others not in ("ignore", "quarantine"):
        table.problem("others", f'{shown(others)} is neither "ignore" nor "quarantine"')
    table.no_other_keys()
    if known and schema is not None:
        _check_whole(table, form, fields, schema, event_time)
        _check_lines(table, form, dict(match), fields)
        _check_histograms(table, form, fields, histograms)
    if len(table.problems) > before:
        return None
    return AgentMapping(
        cast("AgentFormat", form),
        match,
        tuple(fields.items()),
        cast("TimeUnit", unit),
        others == "ignore",
    )


def _match(table: Table, form: str) -> tuple[tuple[str, frozenset[str]], ...]:
    found: list[tuple[str, frozenset[str]]] = []
    for selector, wanted in table.mapping("match").items():
        path = f"match.{shown(selector)}"
        texts = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(texts, list) or not texts or not all(isinstance(each, str) for each in texts):
            table.problem(path, f"{shown(wanted)} is neither a text nor a list of texts")
        elif form and not is_selector(form, selector, match=True):
            table.problem(path, f"no selector to match by; of {form} there are: {_known(form, match=True)}")
        else:
            found.append((selector, frozenset(texts)))
    return tuple(found)


def _fields(table: Table, form: str, schema: AvroSchema | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, selector in table.mapping("fields").items():
        path = f"fields.{shown(name)}"
        if schema is not None and name not in schema.fields:
            table.problem(path, f"the schema has no such field{nearest(name, schema.fields)}")
        elif not isinstance(selector, str):
            table.problem(path, f"{shown(selector)} is not a selector, which is a text")
        elif form and not is_selector(form, selector, match=False):
            table.problem(
                path, f"{shown(selector)} is no selector; of {form} there are: {_known(form, match=False)}"
            )
        else:
            found[name] = selector
    return found


def _known(form: str, *, match: bool) -> str:
    if form == "json":
        return "paths, such as sensor.id"
    words, named = (MATCH_WORDS, MATCH_NAMED) if match else (WORDS, NAMED)
    known = [*sorted(words[form]), *sorted(f"{word}:NAME" for word in named[form])]
    return joined(known if match else [*known, f"{CONSTANT}:TEXT"])


def _check_whole(
    table: Table, form: str, fields: Mapping[str, str], schema: AvroSchema, event_time: str
) -> None:
    """Check that an event can come of *fields*: each has what no default stands for, and when it happened."""
    required: list[dict[str, Any]] = [each for each in schema.parsed["fields"] if "default" not in each]
    names = dict.fromkeys([event_time, *(each["name"] for each in required)])
    missing = [name for name in names if name and name in schema.fields and name not in fields]
    if missing and form != "json":  # there a field is found under its own name
        table.problem(
            "fields", f"{joined(missing)} missing: the schema has no default, or it is the event time"
        )
    for name, selector in fields.items():
        if selector == "time" and name != event_time and form in ("influx", "otlp"):
            table.problem(
                f"fields.{name}", f"time is when it happened, and goes into the event time, {event_time!r}"
            )


def _check_histograms(table: Table, form: str, fields: Mapping[str, str], histograms: frozenset[str]) -> None:
    """Check that buckets go into fields of histograms, and what is none into others."""
    if form not in ("otlp", "influx"):
        return
    for name, selector in fields.items():
        is_of_buckets = form == "otlp" and selector == HISTOGRAM
        if is_of_buckets and name not in histograms:
            table.problem(
                f"fields.{name}",
                "histogram goes into a field of histograms, which has count, scale, zeroCount, zeroThreshold, positive and "
                "negative as docs/formats.md says",
            )
        elif name in histograms and not is_of_buckets:
            table.problem(
                f"fields.{name}", f"it holds histograms, and {shown(selector)} is none; of otlp histogram is"
            )


def _check_lines(table: Table, form: str, match: Mapping[str, object], fields: Mapping[str, str]) -> None:
    """Check that a line is one event, of fields by name, or each of its fields is one."""
    if form != "influx":
        return
    selectors = set(fields.values())
    by_name = sorted(each for each in selectors if each.startswith("field:"))
    if by_name and (selectors & OF_FIELDS or "field" in match):
        table.problem(
            "fields",
            f"{joined(by_name)} makes one event of a line; {joined(sorted(OF_FIELDS))} one of each of its fields: take one of "
            "both",
        )
    if "value" in selectors and not selectors & {"field", "measurement_field"} and "field" not in match:
        table.problem(
            "fields",
            "value without field: which field of a line it was would be lost. Map field or measurement_field, or match field",
        )
