"""How the items of one agent become events of a source: a value of ``[[sources.from]]`` in pipeline.toml.

A *selector* names a value of an item: ``measurement``, ``tag:host``, ``attribute:http.route``, ``data:sensor.id``. The same
words say which items are meant (``match``) and what goes into which field (``fields``). ``text:indoor`` is that text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from streamgage.formats.json_event import TimeUnit

AgentFormat = Literal["influx", "otlp", "cloudevents", "json"]
AGENT_FORMATS: tuple[str, ...] = get_args(AgentFormat)
CONSTANT = "text"

# By format: selectors that are one word, and words before a colon and a name.
WORDS: Mapping[str, frozenset[str]] = {
    "influx": frozenset({"measurement", "tags", "field", "measurement_field", "value", "time"}),
    "otlp": frozenset(
        {
            *("metric", "unit", "scope", "attributes", "resource", "time"),
            *("value", "count", "sum", "min", "max", "histogram"),
        }
    ),
    "cloudevents": frozenset({"id", "source", "type", "subject", "time", "data"}),
}
NAMED: Mapping[str, frozenset[str]] = {
    "influx": frozenset({"tag", "field"}),
    "otlp": frozenset({"attribute", "resource"}),
    "cloudevents": frozenset({"data", "attribute"}),
}
HISTOGRAM = "histogram"
"""The selector of a point's buckets, of an exponential histogram: they go into a field of histograms alone."""
OF_FIELDS = frozenset({"field", "measurement_field", "value"})
"""Selectors of a field of a line: a mapping that names one makes an event of each field."""
OF_POINTS = frozenset({"value", "count", "sum", "min", "max", HISTOGRAM})
"""Selectors of what a point or a field says itself: an item that has none of those that a mapping names is none of its."""
MATCH_WORDS: Mapping[str, frozenset[str]] = {
    "influx": frozenset({"measurement", "field"}),
    "otlp": frozenset({"metric", "unit", "scope"}),
    "cloudevents": frozenset({"source", "type", "subject"}),
}
MATCH_NAMED: Mapping[str, frozenset[str]] = {**NAMED, "influx": frozenset({"tag"})}
"""By format: those that ``match`` may use, which is decided before the fields of a line are looked at."""


@dataclass(frozen=True, slots=True)
class AgentMapping:
    """Which items of a format are events of a source, and what of them goes into its fields.

    An item is meant where each selector of ``match`` finds one of its texts. ``fields`` are pairs of a field of the schema
    and a selector. ``time_unit`` is that of the format's own timestamps. ``ignore_others``: items of the format that no
    source takes are passed over; else they are quarantined.
    """

    format: AgentFormat
    match: tuple[tuple[str, frozenset[str]], ...]
    fields: tuple[tuple[str, str], ...]
    time_unit: "TimeUnit" = "ns"
    ignore_others: bool = False

    @property
    def each_field(self) -> bool:
        """Whether each field of a line is an event of its own."""
        return self.format == "influx" and any(
            selector in OF_FIELDS for selector in (*dict(self.fields).values(), *dict(self.match))
        )

    @property
    def text(self) -> str:
        """What of it decides how bytes become events, as one text: equal texts mean the same."""
        match = {selector: sorted(texts) for selector, texts in self.match}
        return repr((self.format, sorted(match.items()), sorted(self.fields), self.time_unit))


def is_selector(form: str, selector: str, *, match: bool) -> bool:
    """Tell whether *selector* names something of an item of format *form*; in a *match*, something to tell items by."""
    word, colon, name = selector.partition(":")
    if word == CONSTANT and colon:
        return not match
    if form == "json":
        return bool(selector)
    words, named = (MATCH_WORDS, MATCH_NAMED) if match else (WORDS, NAMED)
    return bool(name) and word in named[form] if colon else selector in words[form]


def may_overlap(one: AgentMapping, other: AgentMapping) -> bool:
    """Tell whether an item may be meant by both: no selector of both names different texts."""
    theirs = dict(other.match)
    return one.format == other.format and not any(
        selector in theirs and texts.isdisjoint(theirs[selector]) for selector, texts in one.match
    )


def match_text(value: object) -> str | None:
    """Return the text that ``match`` compares *value* as; None of what has none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else None
