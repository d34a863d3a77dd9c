"""Read ``[[mqtt]]`` of pipeline.toml: every problem at once. Tables of one topic filter are one subscription."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, cast

from processors.pipeline_files import load_pipeline, read_text
from producers.mqtt.routes import (
    ARRIVAL,
    PAYLOAD_KINDS,
    PROPERTY,
    TEXT,
    TOPIC,
    VALUES,
    WHOLE,
    PayloadKind,
    Retained,
    Route,
    Subscription,
    may_overlap,
)
from producers.mqtt.topics import TopicFilter
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.definition.toml_table import Table, joined, nearest, shown
from streamgage.errors import ConfigError

_MOST = 200
_NAMED = (TOPIC, PROPERTY, TEXT)
_SHARED = ("payload", "id", "retained", "others", "births", "rebirth")  # what tables of one topic agree on


@dataclass(frozen=True, slots=True)
class _Read:
    """One table: its route, and what it says of the whole subscription."""

    place: str
    route: Route
    subscription: Subscription


def load_routes(path: str | os.PathLike[str]) -> tuple[Pipeline, tuple[Subscription, ...]]:
    """Return the definition in the file *path*, and what of a broker's messages goes into it; none where it says nothing.

    Raises:
        ConfigError: with every problem.
    """
    pipeline = load_pipeline(path)
    import tomllib  # noqa: PLC0415 - `--help` has no use for it

    raw = tomllib.loads(read_text(os.fspath(path))).get("mqtt", [])
    try:
        return pipeline, subscriptions_of(raw, pipeline.sources)
    except ConfigError as error:
        raise ConfigError(*(f"{os.fspath(path)}: {each}" for each in error.problems)) from error


def subscriptions_of(raw: Any, sources: Mapping[str, Source]) -> tuple[Subscription, ...]:
    """Return what *raw*, the value of ``mqtt``, says. Raises: ConfigError with every problem."""
    problems: list[str] = []
    if not raw and isinstance(raw, list):
        return ()
    tables = Table({"mqtt": raw}, "", problems).tables("mqtt")
    if len(tables) > _MOST:
        raise ConfigError(f"mqtt: {len(tables)} tables; {_MOST} at most")
    found = [
        each for number, table in enumerate(tables) if (each := _read(table, f"mqtt[{number}]", sources))
    ]
    by_topic: dict[str, list[_Read]] = {}
    for each in found:
        by_topic.setdefault(each.subscription.topic.text, []).append(each)
    problems += _clashes(list(by_topic.values()))
    if problems:
        raise ConfigError(*problems)
    return tuple(_joined(group) for group in by_topic.values())


def _joined(group: Sequence[_Read]) -> Subscription:
    first = group[0].subscription
    return Subscription(
        first.topic,
        first.payload,
        tuple(each.route for each in group),
        first.id,
        first.retained,
        first.ignores_others,
        first.takes_births,
        first.asks_rebirth,
    )


def _clashes(groups: Sequence[Sequence[_Read]]) -> list[str]:
    problems = []
    for one, other in combinations(groups, 2):
        if one[0].subscription.topic.overlaps(other[0].subscription.topic):
            problems.append(
                f"{one[0].place} and {other[0].place}: a topic may be meant by both filters, and a broker may send its "
                "messages twice then. Write filters that no topic shares, or the same one with a match"
            )
    for group in groups:
        for one_read, other_read in combinations(group, 2):
            if _without_route(one_read) != _without_route(other_read):
                problems.append(
                    f"{one_read.place} and {other_read.place} are of one topic, and differ in one of {joined(_SHARED)}"
                )
            if may_overlap(one_read.route, other_read.route):
                problems.append(
                    f"{one_read.place} and {other_read.place} may both mean the same. Give both a match of one selector, "
                    "with different texts"
                )
    return problems


def _without_route(read: _Read) -> object:
    each = read.subscription
    return (each.payload, each.id, each.retained, each.ignores_others, each.takes_births, each.asks_rebirth)


def _read(table: Table, place: str, sources: Mapping[str, Source]) -> _Read | None:
    before = len(table.problems)
    topic = _topic(table)
    name = table.text("source")
    source = sources.get(name)
    if name and source is None:
        table.problem("source", f"no source is named {name!r}{nearest(name, sources)}")
    kind = _one_of(table, "payload", PAYLOAD_KINDS, "json")
    match = _match(table, kind, topic)
    fields = _fields(table, kind, topic, source)
    identity = table.take("id", WHOLE if kind == "sparkplug" else None)
    if identity is not None and not _is_id(identity, kind):
        path = ", or a path in the JSON" if kind == "json" else ""
        table.problem("id", f'{shown(identity)} is neither "message" nor "property:NAME"{path}')
    retained = _one_of(table, "retained", ("skip", "take"), "skip")
    if retained == "take" and identity is None:
        table.problem(
            "retained",
            "a retained message comes again with each subscription: to take it, say by which id it is known",
        )
    others = _one_of(table, "others", ("ignore", "quarantine"), "quarantine")
    births = _one_of(table, "births", ("skip", "take"), "skip")
    rebirth = table.take("rebirth", True)
    if type(rebirth) is not bool:
        table.problem("rebirth", f"{shown(rebirth)} is neither true nor false")
    table.no_other_keys()
    if len(table.problems) > before or topic is None or source is None:
        return None
    route = Route(source, tuple(fields.items()), match)
    subscription = Subscription(
        topic,
        cast("PayloadKind", kind),
        (route,),
        identity,
        cast("Retained", retained),
        others == "ignore",
        births == "take",
        rebirth,
    )
    return _Read(place, route, subscription)


def _topic(table: Table) -> TopicFilter | None:
    text = table.text("topic")
    if not text:
        return None
    try:
        return TopicFilter.of(text)
    except ValueError as error:
        table.problem("topic", str(error))
        return None


def _one_of(table: Table, key: str, known: Sequence[str], usual: str) -> str:
    value = table.take(key, usual)
    if value not in known:
        table.problem(key, f"{shown(value)} is not one of {joined(known)}")
        return usual
    return str(value)


def _match(table: Table, kind: str, topic: TopicFilter | None) -> tuple[tuple[str, frozenset[str]], ...]:
    found: list[tuple[str, frozenset[str]]] = []
    for selector, wanted in table.mapping("match").items():
        texts = [wanted] if isinstance(wanted, str) else wanted
        path = f"match.{shown(selector)}"
        if not isinstance(texts, list) or not texts or not all(isinstance(each, str) for each in texts):
            table.problem(path, f"{shown(wanted)} is neither a text nor a list of texts")
        elif problem := _selector_problem(selector, kind, topic):
            table.problem(path, problem)
        else:
            found.append((selector, frozenset(texts)))
    return tuple(found)


def _fields(table: Table, kind: str, topic: TopicFilter | None, source: Source | None) -> dict[str, str]:
    found: dict[str, str] = {}
    schema = None if source is None else source.schema
    for name, selector in table.mapping("fields").items():
        path = f"fields.{shown(name)}"
        if schema is not None and name not in schema.fields:
            table.problem(path, f"the schema has no such field{nearest(name, schema.fields)}")
        elif not isinstance(selector, str):
            table.problem(path, f"{shown(selector)} is not a selector, which is a text")
        elif problem := _selector_problem(selector, kind, topic):
            table.problem(path, problem)
        else:
            found[name] = selector
    if schema is not None and source is not None and kind != "json":
        required = [each["name"] for each in schema.parsed["fields"] if "default" not in each]
        missing = [
            name for name in dict.fromkeys([source.event_time, *required]) if name and name not in found
        ]
        if missing:
            table.problem(
                "fields", f"{joined(missing)} missing: the schema has no default, or it is the event time"
            )
    return found


def _selector_problem(selector: str, kind: str, topic: TopicFilter | None) -> str:
    """Return what is wrong with *selector*; "" where nothing is."""
    word, colon, name = selector.partition(":")
    if colon and word in _NAMED:
        if word == TOPIC:
            most = None if topic is None else topic.most_levels
            if not name.isascii() or not name.isdigit() or not 0 < int(name) <= (most or 10**4):
                return f"{shown(selector)}: a level of the topic, from topic:1{f' to topic:{most}' if most else ''}"
        return "" if name or word == TEXT else f"{shown(selector)} lacks a name"
    if selector == ARRIVAL or selector in VALUES[kind] or (kind == "json" and selector):
        return ""
    known = sorted({*VALUES[kind], ARRIVAL, *(f"{each}:…" for each in _NAMED)})
    return f"{shown(selector)} is no selector; of {kind} there are: {joined(known)}"


def _is_id(identity: object, kind: str) -> bool:
    if not isinstance(identity, str) or not identity:
        return False
    word, colon, name = identity.partition(":")
    return identity == WHOLE or bool(colon and word == PROPERTY and name) or kind == "json"
