"""From objects to events: which source each is of, and whether it fits.

The rules are those of every other entrance (docs/formats.md): JSON as ``streamgage.formats.json_event`` reads it, what agents
write by the ``[[sources.from]]`` of the definition. What fits no source, not its schema, or no Kinesis record is refused, and its
sender is told. Nothing is judged by a clock: a batch that comes again is the same one. Too far in the future or the past, or
beyond what a measure holds, is the consumer's to say, who quarantines it (streamgage.fold.verdicts).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from producers.client.encoder import encoder_of
from producers.client.entry import check_size
from producers.collector.bodies import Objects, check_json, check_lines
from producers.collector.limits import Bounds
from producers.collector.message import Refused
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.errors import PoisonRecord
from streamgage.formats.agents.decoder import AgentDecoder, Taken, chars_in
from streamgage.formats.agents.items import Refused as RefusedItem
from streamgage.formats.agents.mapping import AgentMapping
from streamgage.formats.avro import Event
from streamgage.formats.json_event import TimeUnit, json_events_of
from streamgage.limits import KINESIS_PARTITION_KEY_CHARS

_FRAME_BYTES = 4_096  # of a Kinesis record, around one event
_SMALL_BYTES = 256 * 1024  # no event of a body as small is too large for a Kinesis record


class RefusedEvent(NamedTuple):
    """One event that was not taken: its place in the body, from 0, the same for a person, and why."""

    at: int
    place: str
    reason: str


@dataclass(slots=True)
class Judged:
    """What became of the events of one body."""

    events: dict[Source, list[Event]] = field(default_factory=dict)
    refused: list[RefusedEvent] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """How many are to be kept."""
        return sum(map(len, self.events.values()))


class Judge:
    """Judges events by one definition. It keeps nothing between requests; any thread may ask it."""

    def __init__(self, pipeline: Pipeline, bounds: Bounds) -> None:
        self._sources, self._bounds = pipeline.sources, bounds
        self._decoders: dict[tuple[str, TimeUnit | None], AgentDecoder] = {}

    def of_objects(
        self,
        objects: Objects,
        scope: frozenset[str] | None,
        *,
        named: str | None,
        now_ms: int,
        size_bytes: int,
    ) -> Judged:
        """Judge the events of a body.

        Args:
            objects: what is in it.
            scope: the sources that its sender may write to; None: all.
            named: the source of events that name none; None where nothing says it.
            now_ms: when it came, ms since the epoch: what ``age_ms`` of an event counts from.
            size_bytes: of the body, inflated.

        Raises: Refused, 400: *named* is no source, or 403: it is not in *scope*.
        """
        if objects.form == "cloudevents":
            raise ValueError("cloudevents are judged by of_agents")
        if named is None and scope is not None and len(scope) == 1:
            (named,) = scope
        if named is not None:
            self._check_named(named, scope)
        judged = Judged()
        fresh: dict[str, list[tuple[int, str, Event]]] = {}
        for index, (place, found) in enumerate(objects.items):
            try:
                source, event = self._event(found, scope, named, now_ms)
            except PoisonRecord as poison:
                judged.refused.append(_refused(index, place, poison.reason))
            else:
                fresh.setdefault(source.name, []).append((index, place, event))
        for name, events in fresh.items():
            self._take(self._sources[name], events, judged, size_bytes)
        judged.refused.sort()
        return judged

    def of_agents(
        self, form: str, body: bytes, scope: frozenset[str] | None, unit: TimeUnit | None = None
    ) -> Judged:
        """Judge what an agent wrote; places are those of its items.

        Args:
            form: otlp, influx or cloudevents.
            body: what it wrote, inflated.
            scope: as above.
            unit: of its times; None: as the definition says.

        Raises: PoisonRecord, it cannot be taken apart. Refused, 413: it holds too much.
        """
        judged, size_bytes, chars = Judged(), len(body), 0
        decoder = self._decoder(form, unit)
        if decoder.begins_json(body):
            check_json(body, self._bounds)
        elif form == "influx":
            check_lines(body, self._bounds)
        fresh: dict[str, list[tuple[int, str, Event]]] = {}
        for index, outcome in enumerate(decoder.decode(body)):
            if index >= self._bounds.events:
                raise Refused(413, f"more than {self._bounds.events:,} events: send smaller batches")
            if isinstance(outcome, RefusedItem):
                place, _, reason = outcome.reason.partition(": ")
                judged.refused.append(RefusedEvent(index, place, reason))
                chars += outcome.chars
            elif isinstance(outcome, Taken):
                if scope is not None and outcome.source not in scope:
                    judged.refused.append(
                        RefusedEvent(index, f"item {index}", f"the key is not for {outcome.source}")
                    )
                else:
                    fresh.setdefault(outcome.source, []).append((index, f"item {index}", outcome.event))
                chars += chars_in(outcome.event)
            if chars > 2 * self._bounds.inflated_bytes:  # lines share tags, points attributes
                raise Refused(
                    413, "its events share so long texts that they are too large: send smaller batches"
                )
        for name, events in fresh.items():
            self._take(self._sources[name], events, judged, size_bytes)
        judged.refused.sort()
        return judged

    def _decoder(self, form: str, unit: TimeUnit | None) -> AgentDecoder:
        """Return what reads *form* alone. Two threads may make the same, and one of them stays."""
        found = self._decoders.get((form, unit))
        if found is None:
            sources = [
                replace(each, agents=_only(each.agents, form, unit)) for each in self._sources.values()
            ]
            found = self._decoders[form, unit] = AgentDecoder(sources)
        return found

    def _check_named(self, named: str, scope: frozenset[str] | None) -> None:
        if named not in self._sources:
            raise Refused(400, f"no source is named {named[:80]!r}; there are: {', '.join(self._sources)}")
        if scope is not None and named not in scope:
            raise Refused(403, f"the key is not for the source {named}")

    def _event(
        self,
        found: Mapping[str, Any] | PoisonRecord,
        scope: frozenset[str] | None,
        named: str | None,
        now_ms: int,
    ) -> tuple[Source, Event]:
        if isinstance(found, PoisonRecord):
            raise found
        own = dict(found)
        name = own.pop("source", named)
        source = self._sources.get(name) if isinstance(name, str) else None
        if source is None:
            raise PoisonRecord(
                "unknown_schema",
                f'"source" is {str(name)[:80]!r}; it must be one of: {", ".join(sorted(self._sources))}',
            )
        if scope is not None and source.name not in scope:
            raise PoisonRecord("unknown_schema", f"the key is not for the source {source.name}")
        if "age_ms" in own and source.event_time not in own:
            age_ms = own.pop("age_ms")
            if type(age_ms) is not int or not 0 <= age_ms <= now_ms:
                raise PoisonRecord("bad_time", "age_ms is a whole number of ms, how long ago it happened")
            own[source.event_time] = now_ms - age_ms
            return source, json_events_of(source.schema, source.event_time, "ms").event(own)
        return source, json_events_of(source.schema, source.event_time, source.time_unit).event(own)

    @staticmethod
    def _take(
        source: Source, fresh: Sequence[tuple[int, str, Event]], judged: Judged, size_bytes: int
    ) -> None:
        """Take those that can be sent: all at once where nothing needs a closer look."""
        encoder = encoder_of(source)
        events = [event for _, _, event in fresh]
        if (
            source.blocks
            and size_bytes < _SMALL_BYTES
            and encoder.run_of(events) is not None
            and _has_keys(source, events)
        ):
            judged.events.setdefault(source, []).extend(events)
            return
        kept = judged.events.setdefault(source, [])
        for index, place, event in fresh:
            try:
                record = encoder.user_record(event)
                check_size(
                    len(record.data) + _FRAME_BYTES, record.partition_key, made_of_bytes=len(record.data)
                )
            except ValueError as error:
                judged.refused.append(_refused(index, place, str(error)))
            else:
                kept.append(event)
        if not kept:
            del judged.events[source]


def _only(agents: Iterable[AgentMapping], form: str, unit: TimeUnit | None) -> tuple[AgentMapping, ...]:
    of_form = tuple(each for each in agents if each.format == form)
    return of_form if unit is None else tuple(replace(each, time_unit=unit) for each in of_form)


def _has_keys(source: Source, events: Iterable[Event]) -> bool:
    """Tell whether each partition key is one that Kinesis takes."""
    name = source.partition_key
    return all(0 < len(str(each[name])) <= KINESIS_PARTITION_KEY_CHARS for each in events)


def _refused(index: int, place: str, reason: str) -> RefusedEvent:
    """Return a refusal whose place has the field, where the reason begins with one: ``events[1].value``."""
    name, colon, rest = reason.partition(": ")
    if colon and name.isidentifier():
        return RefusedEvent(index, f"{place}.{name}", rest)
    return RefusedEvent(index, place, reason)
