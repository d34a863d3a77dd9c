"""From a message to events: by its subscription, without I/O. What cannot be counted says why."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from producers.mqtt.messages import Message, digest
from producers.mqtt.routes import ARRIVAL, PROPERTY, TEXT, TOPIC, WHOLE, Route, Subscription
from producers.mqtt.sparkplug.nodes import Address, Named, Nodes, address_of
from producers.mqtt.sparkplug.payload import decode_payload
from streamgage.definition.pipeline import Source
from streamgage.errors import PoisonRecord
from streamgage.formats.agents.decoder import chars_in
from streamgage.formats.agents.items import Refused
from streamgage.formats.agents.json_documents import PathValues, documents_in
from streamgage.formats.agents.mapping import match_text
from streamgage.formats.avro import Event
from streamgage.formats.json_event import json_events_of

MOST_EVENTS = 65_536
_NUMBER_CHARS = 400  # of a number
_CHARS, _CHARS_PER_BYTE = (
    65_536,
    64,
)  # of the texts of all events of a message: they share its topic and its properties


class Read(NamedTuple):
    """An event of a message. ``id`` makes it known when it comes again; None: nothing does."""

    source: Source
    event: Event
    id: bytes | None


@dataclass(slots=True)
class Reading:
    """What a message holds. ``refused`` are the reasons why parts of it, or all, are none; then it is quarantined.

    ``passed_over`` counts parts that are nobody's, or hold no value; ``historical`` how many events were recorded before.
    ``rebirth_of``: the node that is to be born again. ``chars`` are those of the events' texts.
    """

    events: list[Read] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    passed_over: int = 0
    historical: int = 0
    gaps: int = 0
    rebirth_of: Address | None = None
    chars: int = 0


class Reader:
    """Reads messages by their subscriptions. Sparkplug's are read in the order they came, each once: *nodes* learn of them."""

    def __init__(self, subscriptions: Sequence[Subscription], nodes: Nodes | None = None) -> None:
        self._subscriptions = tuple(subscriptions)
        self.nodes = nodes or Nodes()

    def subscription_of(self, topic: str) -> Subscription | None:
        """Return whose messages of *topic* are; None where they are nobody's."""
        return next((each for each in self._subscriptions if each.topic.matches(topic)), None)

    def id_of(self, message: Message) -> bytes | None:
        """Return what makes the whole of *message* known; None where nothing does, or each object in it has its own.

        An id is known within its topic: two devices may count their messages alike.
        """
        subscription = self.subscription_of(message.topic)
        if subscription is None or not subscription.whole_id or subscription.id is None:
            return None
        if subscription.id == WHOLE:
            return digest(WHOLE, message.topic, message.payload)
        value = message.property_named(subscription.id.partition(":")[2])
        return None if value is None else digest(PROPERTY, message.topic, value)

    def read(self, message: Message) -> Reading:
        """Return what is in *message*. Nothing is raised: what cannot be read at all is refused."""
        reading = Reading()
        subscription = self.subscription_of(message.topic)
        if subscription is None:
            reading.refused.append("unknown_format: no [[mqtt]] of the pipeline means its topic")
            return reading
        try:
            if subscription.payload == "sparkplug":
                self._read_sparkplug(subscription, message, reading)
            else:
                for values in _parts(subscription, message, reading):
                    _take(subscription, message, values, reading)
        except PoisonRecord as poison:
            return Reading(refused=[str(poison)])
        return reading

    def _read_sparkplug(self, subscription: Subscription, message: Message, reading: Reading) -> None:
        address = address_of(message.topic)
        if address is None:
            reading.passed_over += 1
            return
        found = self.nodes.read(address, decode_payload(message.payload))
        reading.refused += [f"undecodable: {each}" for each in found.refused]
        reading.gaps += found.is_gap
        reading.passed_over += found.nulls
        if found.needs_birth and subscription.asks_rebirth:
            reading.rebirth_of = address
        if found.is_birth and not subscription.takes_births:
            reading.passed_over += len(found.metrics)
            return
        for metric in found.metrics:
            before = len(reading.events)
            _take(subscription, message, _SparkplugValues(address, metric), reading)
            reading.historical += metric.is_historical * (len(reading.events) - before)


class _Values(NamedTuple):
    """The one value of a payload."""

    value: object

    def get(self, selector: str) -> object:
        return self.value if selector == "value" else None


class _SparkplugValues(NamedTuple):
    address: Address
    metric: Named

    def get(self, selector: str) -> object:
        if selector in ("group", "node", "device"):
            return getattr(self.address, selector)
        if selector == "metric":
            return self.metric.name
        return self.metric.time_ms if selector == "time" else self.metric.value


def _parts(subscription: Subscription, message: Message, reading: Reading) -> Iterator[PathValues | _Values]:
    """Yield what is in a payload that is no Sparkplug. Raises: PoisonRecord."""
    if subscription.payload == "json":
        number = 0
        for number, found in enumerate(documents_in(message.payload), start=1):
            if number > MOST_EVENTS:
                raise PoisonRecord("undecodable", f"more than {MOST_EVENTS:,} objects")
            if isinstance(found, Refused):
                reading.refused.append(f"{found.code}: {found.reason}")
            else:
                yield PathValues(found[1])
        if not number:
            raise PoisonRecord("undecodable", "an empty payload")
        return
    try:
        text = message.payload.decode()
    except UnicodeDecodeError as error:
        raise PoisonRecord("undecodable", f"not UTF-8: {error}") from error
    yield _Values(text if subscription.payload == "text" else _number(text))


def _number(text: str) -> int | float:
    """Return the number that *text* writes, as JSON does. Raises: PoisonRecord."""
    stripped = text.strip()
    if len(stripped) > _NUMBER_CHARS or "_" in stripped or not stripped.isascii():
        raise PoisonRecord("undecodable", f"{stripped[:80]!r} is no number")
    try:
        return int(stripped)
    except ValueError:
        pass
    try:
        value = float(stripped)
    except ValueError as error:
        raise PoisonRecord("undecodable", f"{stripped[:80]!r} is no number") from error
    if not math.isfinite(value):
        raise PoisonRecord("bad_value", f"{stripped[:80]!r} is not a finite number")
    return value


def _take(
    subscription: Subscription,
    message: Message,
    values: PathValues | _Values | _SparkplugValues,
    reading: Reading,
) -> None:
    """Have *reading* hold the event that *values* are, or why they are none. Raises: PoisonRecord, they are too many."""
    levels = message.topic.split("/")

    def get(selector: str) -> object:
        word, colon, name = selector.partition(":")
        if colon and word == TOPIC:
            number = int(name)
            return levels[number - 1] if number <= len(levels) else None
        if colon and word == PROPERTY:
            return message.property_named(name)
        if colon and word == TEXT:
            return name
        return message.arrived_ms if selector == ARRIVAL else values.get(selector)

    route = _route_of(subscription, get, reading)
    if route is None:
        return
    own = {selector: get(selector) for _, selector in route.fields}
    try:
        event = _event(subscription, route, values, own)
    except PoisonRecord as poison:
        place = f"metric {values.metric.name[:200]!r}: " if isinstance(values, _SparkplugValues) else ""
        reading.refused.append(f"{poison.code}: {place}{poison.reason}")
        return
    identity: bytes | None = None
    if subscription.id is not None and not subscription.whole_id:
        value = values.get(subscription.id)
        if isinstance(value, str | int) and not isinstance(value, bool):
            identity = digest("json", message.topic, type(value).__name__, str(value))
        else:
            reading.refused.append(f"undecodable: its id, {subscription.id}, is no text and no whole number")
            return
    reading.chars += sum(map(chars_in, event.values()))
    if reading.chars > _CHARS + _CHARS_PER_BYTE * (len(message.payload) + len(message.topic)):
        raise PoisonRecord(
            "undecodable", "its events share so long texts that they are too large: send smaller messages"
        )
    reading.events.append(Read(route.source, event, identity))


def _route_of(subscription: Subscription, get: Callable[[str], object], reading: Reading) -> Route | None:
    """Return whose it is; None where it is nobody's, which *reading* is told."""
    for route in subscription.routes:
        if all(match_text(get(selector)) in texts for selector, texts in route.match):
            return route
    if subscription.ignores_others:
        reading.passed_over += 1
        return None
    selectors = dict.fromkeys(selector for each in subscription.routes for selector, _ in each.match)
    found = ", ".join(f"{each} {str(get(each))[:50]!r}" for each in list(selectors)[:5])
    reading.refused.append(
        f'unknown_schema: no source takes it ({found}): a match of [[mqtt]] does, or others = "ignore"'
    )
    return None


def _event(
    subscription: Subscription,
    route: Route,
    values: PathValues | _Values | _SparkplugValues,
    own: Mapping[str, object],
) -> Event:
    """Return the event. Raises: PoisonRecord."""
    source = route.source
    found: dict[str, object] = {}
    if subscription.payload == "json":
        names = (each["name"] for each in source.schema.parsed["fields"])
        found = {name: value for name in names if (value := values.get(name)) is not None}
    time_selector = None
    for name, selector in route.fields:
        found[name] = own[selector]
        if name == source.event_time:
            time_selector = selector
    if found.get(source.event_time) is None:
        raise PoisonRecord("bad_time", f"no event time: {source.event_time} is missing")
    in_ms = time_selector == ARRIVAL or (subscription.payload == "sparkplug" and time_selector == "time")
    unit = "ms" if in_ms else source.time_unit
    return json_events_of(source.schema, source.event_time, unit).event(found)
