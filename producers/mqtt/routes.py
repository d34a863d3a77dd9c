"""How messages become events of a source: a value of ``[[mqtt]]`` in pipeline.toml."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from producers.mqtt.topics import TopicFilter
from streamgage.definition.pipeline import Source

PayloadKind = Literal["json", "number", "text", "sparkplug"]
PAYLOAD_KINDS: tuple[str, ...] = get_args(PayloadKind)
Retained = Literal["skip", "take"]

TOPIC, PROPERTY, TEXT, ARRIVAL, WHOLE = "topic", "property", "text", "arrival", "message"
VALUES: Mapping[str, frozenset[str]] = {
    "json": frozenset(),
    "number": frozenset({"value"}),
    "text": frozenset({"value"}),
    "sparkplug": frozenset({"metric", "value", "time", "group", "node", "device"}),
}
"""By kind of payload: selectors of what is in it that are one word; of JSON, every path is one."""


@dataclass(frozen=True, slots=True)
class Route:
    """Which messages, or metrics of them, are events of *source*, and what of them goes into its fields.

    ``fields`` and ``match`` are pairs of a field, and of a selector: ``topic:2`` (a level, from 1), ``property:NAME`` (a user
    property of MQTT 5), ``text:TEXT``, ``arrival``; of JSON a path; of a number or a text ``value``; of Sparkplug ``metric``,
    ``value``, ``time``, ``group``, ``node``, ``device``.
    """

    source: Source
    fields: tuple[tuple[str, str], ...]
    match: tuple[tuple[str, frozenset[str]], ...] = ()


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic filter, what its payloads are, and the routes that are asked in turn.

    ``id`` says what makes a message known when it comes again: ``message`` (its topic and payload, byte by byte), ``property:NAME``,
    or, of JSON, a path; None: nothing does. ``ignores_others``: what no route takes is passed over, else it is quarantined.
    ``takes_births``: the values of a Sparkplug birth are events too. ``asks_rebirth``: of a node whose births are missing.
    """

    topic: TopicFilter
    payload: PayloadKind
    routes: tuple[Route, ...]
    id: str | None = None
    retained: Retained = "skip"
    ignores_others: bool = False
    takes_births: bool = False
    asks_rebirth: bool = True

    @property
    def whole_id(self) -> bool:
        """Whether a message has an id, and not each object in it."""
        return self.id is not None and (self.id == WHOLE or self.id.startswith(f"{PROPERTY}:"))


def may_overlap(one: Route, other: Route) -> bool:
    """Tell whether something may be meant by both: no selector of both names different texts."""
    theirs = dict(other.match)
    return not any(sel in theirs and texts.isdisjoint(theirs[sel]) for sel, texts in one.match)
