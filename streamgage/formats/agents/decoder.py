"""From the bytes of an agent to events: which format they are, which source each item belongs to, and its event.

Bytes say what they are, so a stream may hold all formats side by side: compressed ones by their magic numbers, OTLP in protobuf
by its first tag, JSON by its first bracket and then by its keys, and line protocol is what is left. The order of those rules,
and of the items, is a function of the bytes and the definition alone: each delivery gives every item the same place.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from streamgage.errors import PoisonCode, PoisonRecord
from streamgage.formats.agents.inflate import is_compressed
from streamgage.formats.agents.items import (
    PART,
    PASSED_OVER,
    Item,
    PassedOver,
    Place,
    Refused,
    Values,
    merged,
)
from streamgage.formats.agents.mapping import CONSTANT, HISTOGRAM, OF_POINTS, AgentMapping, match_text
from streamgage.formats.avro import AvroSchema, Event
from streamgage.formats.json_event import JsonEvents, json_events_of

if TYPE_CHECKING:
    from streamgage.formats.agents.influx import Line
    from streamgage.formats.json_event import TimeUnit

MAX_ITEMS = 65_536
"""Items of one Kinesis record: as many as the events of blocks that one may hold."""
MAX_CHARS = 64 * 1024 * 1024
"""Of the texts of all events of one Kinesis record, refused ones too: points share their metric's name and their resource's attributes, lines
their tags, so that events may hold a thousand times what their bytes do."""
_ENTRY_CHARS = 32  # what a map or an array takes for each, about, in bytes
_SMALL_BYTES = 8_192  # so many share with so many what no function minds
_OTLP_FIRST = (
    b"\x0a"  # field 1, resource_metrics, of the request; also a line end, which no agent begins with
)
_OTLP_SCOPES = b"\x12"  # the tag of what holds all points, and a byte that no JSON has
_BRACKETS = b"{["
_SPACES = b" \t\r\n"


class AgentSource(Protocol):
    """What is needed of a source: ``streamgage.definition.pipeline.Source``."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def schema(self) -> AvroSchema:
        """What its events look like."""

    @property
    def event_time(self) -> str:
        """The field that says when."""

    @property
    def time_unit(self) -> "TimeUnit | None":
        """The unit of times that are numbers in JSON."""

    @property
    def agents(self) -> Collection[AgentMapping]:
        """What agents send of it."""


class Taken(NamedTuple):
    """An event of a source, which fits its schema; what may be absent is left to its default."""

    source: str
    event: Event


Outcome = Taken | Refused | PassedOver


class _Route(NamedTuple):
    """One mapping of one source, ready for use; ``events`` is None where the source is passed over."""

    source: str
    event_time: str
    mapping: AgentMapping
    match: tuple[tuple[str, frozenset[str]], ...]  # but for the field of a line
    only_fields: frozenset[str] | None
    each_field: bool  # of a line is an event
    needs: tuple[str, ...]  # selectors of which an item has at least one
    columns: tuple[tuple[str, str], ...]
    constants: dict[str, object]
    events: JsonEvents | None

    def takes(self, values: Values) -> bool:
        return all(match_text(values.get(selector)) in texts for selector, texts in self.match)

    def outcome(self, values: Values, place: Place) -> Outcome:
        if self.events is None:
            return PASSED_OVER
        own: dict[str, object] = {**self.constants}
        if self.mapping.format == "json":
            own = {name: values.get(name) for name in self.events.names} | own
        for name, selector in self.columns:
            own[name] = values.get(selector)
        code: PoisonCode = "undecodable"
        if self.needs and all(values.get(each) is None for each in self.needs):
            reason = f"it has no {', '.join(self.needs)}{self._hint(values)}"
        elif own.get(self.event_time) is None:
            reason, code = f"no event time: {self.event_time} is missing", "bad_time"
        else:
            try:
                return Taken(self.source, self.events.event(own))
            except PoisonRecord as poison:
                reason, code = self._reason(poison.reason, values) + self._hint(values), poison.code
        # Of what is shared, which is flat: JSON is nested as deep as its writer likes, and shared by nobody.
        chars = sum(map(chars_in, own.values())) if self.mapping.format in ("influx", "otlp") else 0
        return Refused.at(place, reason, code, chars=chars)

    def _reason(self, reason: str, values: Values) -> str:
        """Return why the event was refused: of a field for which nothing is there, what would have to be."""
        field, _, _ = reason.partition(":")
        selector = dict(self.columns).get(field)
        if selector is None or values.get(selector) is not None:
            return reason
        return f"{field}: it has no {selector}"

    def _hint(self, values: Values) -> str:
        """Return what a sender may not know: whose histograms have explicit buckets wonders where they went."""
        if HISTOGRAM not in self.needs or values.get(HISTOGRAM) is not None:
            return ""
        return "; its buckets, if any, are explicit ones, which are not read: have exponential ones sent"


class AgentDecoder:
    """Decodes the records of agents by the mappings of *sources*. It keeps nothing between records."""

    def __init__(self, sources: Iterable[AgentSource], passed_over: Iterable[AgentSource] = ()) -> None:
        """*passed_over* are sources whose items are known, and neither read nor judged."""
        taken, skipped = list(sources), list(passed_over)
        self._routes: dict[str, list[_Route]] = {}
        self._ignores: set[str] = set()
        self._own = {
            each.name: json_events_of(each.schema, each.event_time, each.time_unit) for each in taken
        }
        self._skipped = {each.name for each in skipped}
        for source, read in [*((each, True) for each in taken), *((each, False) for each in skipped)]:
            for mapping in source.agents:
                self._routes.setdefault(mapping.format, []).append(_route(source, mapping, read=read))
                if mapping.ignore_others:
                    self._ignores.add(mapping.format)
        self._with_buckets = any(
            selector == HISTOGRAM
            for route in self._routes.get("otlp", ())
            for _, selector in route.mapping.fields
        )
        self._joins = any(
            selector == "measurement_field"
            for route in self._routes.get("influx", ())
            for _, selector in route.mapping.fields
        )
        self._reads_json = bool(self._routes.keys() & {"otlp", "cloudevents", "json"})

    def takes(self, data: bytes) -> bool:
        """Tell whether *data*, which is none of our own formats, is for it."""
        if is_compressed(data):
            return True
        if self.begins_json(data):
            return self._reads_json
        if data[:1] == _OTLP_FIRST and "otlp" in self._routes:
            return True
        return "influx" in self._routes and data[:1] not in (b"", b"\x00", b"\xc3")

    def decode(self, data: bytes) -> Iterator[Outcome]:
        """Yield what each item of *data* is, in the order of its bytes. What is compressed is inflated before (``inflate``).

        Raises:
            PoisonRecord: it cannot be taken apart, and nothing of it may be counted: nobody knows what else is wrong.
        """
        if self.begins_json(data):
            if not self._reads_json:
                raise PoisonRecord(
                    "unknown_format",
                    "JSON, and no source says that an agent sends any, by [[sources.from]] in pipeline.toml",
                )
            return self._json(data)
        if data[:1] == _OTLP_FIRST and "otlp" in self._routes:
            from streamgage.formats.agents.otlp_proto import points_of  # noqa: PLC0415 - who names the format

            return self._items("otlp", points_of(data, with_buckets=self._with_buckets))
        if "influx" in self._routes:
            from streamgage.formats.agents.influx import lines_of  # noqa: PLC0415 - likewise

            return (each for line in lines_of(data) for each in self._line(line))
        raise PoisonRecord(
            "unknown_format",
            f"begins with {data[:4].hex() or 'nothing'}, as none of the formats that sources name: "
            + (", ".join(sorted(self._routes)) or "none does, by [[sources.from]] in pipeline.toml"),
        )

    def begins_json(self, data: bytes) -> bool:
        """Tell whether *data* begins as JSON does, and is no OTLP: 0A 7B is a line end and a bracket, and a message of 123 bytes."""
        first = data[:64].lstrip(_SPACES)[:1]
        if not first or first not in _BRACKETS:
            return False
        return not (data[:1] == _OTLP_FIRST and "otlp" in self._routes and _OTLP_SCOPES in data)

    def decode_whole(self, data: bytes, *, most_items: int = MAX_ITEMS) -> list[Outcome]:
        """Return ``decode`` of *data* at once: all of it can be taken apart, and holds *most_items* at most.

        Raises:
            PoisonRecord: it cannot, or holds more, or events of more than 64 MiB of text.
        """
        found: list[Outcome] = []
        left, may_be_much = MAX_CHARS, len(data) > _SMALL_BYTES
        for outcome in self.decode(data):
            found.append(outcome)
            if len(found) > most_items:
                raise PoisonRecord(
                    "undecodable",
                    f"more than {most_items:,} events; a Kinesis record holds {MAX_ITEMS:,} at most: send smaller batches",
                )
            if may_be_much:
                if type(outcome) is Refused:
                    left -= outcome.chars
                elif type(outcome) is Taken:
                    for value in outcome.event.values():
                        kind = type(value)
                        if kind is str:
                            left -= len(value)
                        elif kind is dict or kind is list or kind is bytes:
                            left -= chars_in(value)
                if left < 0:
                    raise PoisonRecord(
                        "undecodable",
                        f"its events have more than {MAX_CHARS:,} characters, for they share long names, tags or attributes: "
                        "send smaller batches",
                    )
        return found

    def _items(self, form: str, found: Iterable[Item | Refused | PassedOver]) -> Iterator[Outcome]:
        for each in found:
            yield self._item(form, each) if isinstance(each, Item) else each

    def _item(self, form: str, item: Item) -> Outcome:
        for route in self._routes.get(form, ()):
            if route.takes(item.values):
                return route.outcome(item.values, item.place)
        return self._unmatched(form, item.place, item.values)

    def _unmatched(self, form: str, place: Place, values: Values) -> Outcome:
        if form in self._ignores:
            return PASSED_OVER
        routes = self._routes.get(form, ())
        selectors = list(dict.fromkeys(selector for route in routes for selector, _ in route.mapping.match))
        found = ", ".join(f"{each} {str(values.get(each))[:50]!r}" for each in selectors[:5])
        return Refused.at(
            place,
            f'no source takes it ({found or form}): a match of [[sources.from]] does, or others = "ignore" there',
            "unknown_schema",
        )

    def _line(self, line: "Line | Refused") -> Iterator[Outcome]:
        if isinstance(line, Refused):
            yield line
            return
        place: Place = ("line", line.number)
        routes = [each for each in self._routes["influx"] if each.takes(line.series)]
        if not routes:
            unmatched = self._unmatched("influx", place, line.series)
            yield from repeat(unmatched, len(line.fields))
            return
        values = merged(line.series, {"time": line.time})
        if not routes[0].each_field:
            fields = {f"field:{name}": value for name, value in line.fields.items()}
            yield routes[0].outcome(merged(values, fields), place)
            yield from repeat(PART, len(line.fields) - 1)
            return
        for name, value in line.fields.items():
            named = {"field": name, "value": value}
            if self._joins:
                named["measurement_field"] = (
                    f"{line.series['measurement']}_{name}"  # as Telegraf does for Prometheus
                )
            own = merged(values, named)
            own_place = (*place, "field", name)
            for route in routes:
                if route.only_fields is None or name in route.only_fields:
                    yield route.outcome(own, own_place)
                    break
            else:
                yield self._unmatched("influx", own_place, own)

    def _json(self, data: bytes) -> Iterator[Outcome]:
        from streamgage.formats.agents.json_documents import documents_in  # noqa: PLC0415 - likewise

        for each in documents_in(data):
            if isinstance(each, Refused):
                yield each
            else:
                yield from self._document(*each)

    def _document(self, place: Place, found: dict[str, Any]) -> Iterator[Outcome]:
        if "resourceMetrics" in found:
            from streamgage.formats.agents.otlp_json import points_of  # noqa: PLC0415 - likewise

            yield from self._items("otlp", points_of(found, place, with_buckets=self._with_buckets))
        elif "specversion" in found and "cloudevents" in self._routes:
            from streamgage.formats.agents.cloudevents import CloudEvent, problem_of  # noqa: PLC0415 - likewise

            problem = problem_of(found)
            yield (
                Refused.at(place, problem)
                if problem
                else self._item("cloudevents", Item(CloudEvent(found), place))
            )
        else:
            yield self._plain(place, found)

    def _plain(self, place: Place, found: dict[str, Any]) -> Outcome:
        """Return what an object is: an event that names its source, as at every entrance, or one that is mapped."""
        name = found.get("source")
        if isinstance(name, str) and name in self._skipped:
            return PASSED_OVER
        if isinstance(name, str) and name in self._own:
            own = {key: value for key, value in found.items() if key != "source"}
            try:
                return Taken(name, self._own[name].event(own))
            except PoisonRecord as poison:
                return Refused.at(place, poison.reason, poison.code)
        if "json" in self._routes:
            from streamgage.formats.agents.json_documents import PathValues  # noqa: PLC0415 - likewise

            return self._item("json", Item(PathValues(found), place))
        known = ", ".join(sorted([*self._own, *self._skipped]))
        return Refused.at(
            place, f'"source" is {str(name)[:80]!r}; it must be one of: {known}', "unknown_schema"
        )


def chars_in(value: object) -> int:
    """Return how much text is in *value*, keys of maps too; an entry of a map or an array counts as some itself."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return _ENTRY_CHARS * len(value) + sum(map(len, value)) + sum(map(chars_in, value.values()))
    return _ENTRY_CHARS * len(value) + sum(map(chars_in, value)) if isinstance(value, list) else 0


def _route(source: AgentSource, mapping: AgentMapping, *, read: bool) -> _Route:
    selectors = dict(mapping.fields)
    constants: dict[str, object] = {
        name: selector.partition(":")[2] for name, selector in mapping.fields if _is_constant(selector)
    }
    by_format = mapping.format in ("influx", "otlp")
    unit = mapping.time_unit if by_format and selectors.get(source.event_time) == "time" else source.time_unit
    return _Route(
        source.name,
        source.event_time,
        mapping,
        tuple((selector, texts) for selector, texts in mapping.match if not _is_field(mapping, selector)),
        next((texts for selector, texts in mapping.match if _is_field(mapping, selector)), None),
        mapping.each_field,
        tuple(each for each in selectors.values() if each.startswith("field:") or each in OF_POINTS)
        if by_format
        else (),
        tuple((name, selector) for name, selector in mapping.fields if name not in constants),
        constants,
        json_events_of(source.schema, source.event_time, unit) if read else None,
    )


def _is_constant(selector: str) -> bool:
    return selector.startswith(f"{CONSTANT}:")


def _is_field(mapping: AgentMapping, selector: str) -> bool:
    return mapping.format == "influx" and selector == "field"
