"""What an item counts, in eleven characters: two definitions with one fingerprint count the same.

An item carries the fingerprint of its rollup. A definition that counts something else under the same generation would add
to states that mean another thing; it is refused instead, and the mend is the next ``generation``, in another consumer.
"""

import json
import math
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from streamgage.definition.pipeline import Pipeline, Rollup

_EVER = "ever"
_FROM, _READ = "from-", "read"  # no name of a rollup has a hyphen
_BYTES = 8  # two of a million rollups share one by a chance of 3e-8


def counts_of(pipeline: Pipeline, rollup: Rollup) -> str:
    """Return the fingerprint of what an item of *rollup* counts.

    It names the consumer, the source, the field of event time and its unit, the key fields in order, the filter, the
    layout of the state, the texts of the derived fields among those, and which fields keep keys together, for that says
    where a key is found. Not in it: the windows (each size has items of its own), ``keep``, the order of measures, and what
    is an event of the source or refused (``max_future``, ``max_lateness``, older schemas, ``[[sources.from]]``): of that some
    may become more while the same is counted, and ``differences`` tells which.
    """
    source = pipeline.sources[rollup.source]
    counted: dict[str, Any] = {
        "consumer": rollup.consumer,
        "source": source.name,
        "event_time": [source.event_time, source.time_unit or "ms"],
        "key": rollup.key,
        "filter": None if rollup.where is None else rollup.where.text,
        "layout": rollup.layout.text,
    }
    derived = source.derived.texts if source.derived else {}
    used = {name: derived[name] for name in (*rollup.key, *rollup.measures) if name in derived}
    if used:  # else as it was before there were any
        counted["derived"] = used
    if rollup.together:  # likewise
        counted["together"] = rollup.together
    return _short(json.dumps(counted, sort_keys=True, separators=(",", ":")))


def reader_counts(consumer: str, stream_arn: str) -> str:
    """Return the fingerprint of what a progress item is about: one consumer of one stream."""
    return _short(json.dumps([consumer, stream_arn]))


def _short(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode("ascii")).digest()[:_BYTES]).rstrip(b"=").decode("ascii")


def definition_of(pipeline: Pipeline, consumer: str) -> dict[str, str]:
    """Return what *consumer* counts: from ``rollup.generation|window`` to ``fingerprint@keep``, keep in ms or "ever".

    And what of agents is an event of its sources: from ``from-source|fingerprint`` of each mapping to ``read``. There may be
    more of them, for then what was refused is counted. One that is changed would make other events of the same bytes, which
    may come again.

    All else of it is one consumer's, whose progress is one: whatever of it is added, changed or removed would be counted from
    then on only, and twice or not at all while two versions of the function run. So it is fixed, for its life; but for
    ``keep``, which may become less.

    Raises:
        ConfigError: there is no such consumer.
    """
    own = pipeline.of_consumer(consumer)
    mappings = [
        (f"{_FROM}{source.name}", _short(json.dumps(each.text)))
        for source in own.sources.values()
        for each in source.agents
    ]
    return {
        f"{rollup.name}.{rollup.generation}|{windows.label}": f"{counts_of(own, rollup)}@{_kept(rollup)}"
        for rollup in own.rollups.values()
        for windows in rollup.windows
    } | {f"{name}|{mapping}": _READ for name, mapping in sorted(mappings)}


def rollups_in(definition: Mapping[str, str]) -> set[str]:
    """Return the rollups of *definition*, each as ``rollup.generation``."""
    return {name.partition("|")[0] for name in definition if not name.startswith(_FROM)}


def windows_in(definition: Mapping[str, str]) -> int:
    """Return how many windows of rollups *definition* has."""
    return sum(not name.startswith(_FROM) for name in definition)


def definition_text(definition: Mapping[str, str]) -> str:
    """Return *definition* in one short line, ``sums.1=fRJNZTwRV4M@ever:1m,1h;pages.1=…``, as a stack records it."""
    rollups: dict[tuple[str, str], list[str]] = {}
    for name, counts in definition.items():
        rollup, _, window = name.partition("|")
        rollups.setdefault((rollup, counts), []).append(window)
    return ";".join(f"{rollup}={counts}:{','.join(windows)}" for (rollup, counts), windows in rollups.items())


def parse_definition(text: str) -> dict[str, str]:
    """Return the definition that ``definition_text`` wrote. Raises: ValueError, it is none."""
    definition: dict[str, str] = {}
    for part in text.split(";"):
        rollup, equals, rest = part.partition("=")
        counts, colon, windows = rest.partition(":")
        if not equals or not colon:
            raise ValueError(f"{part!r} is not rollup.generation=fingerprint@keep:windows")
        definition |= {f"{rollup}|{window}": counts for window in windows.split(",")}
    return definition


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return how the definition of one consumer differs: a sentence for each window of a rollup; none where it does not.

    A *before* that an earlier version recorded does not say how long it keeps; nothing is said of ``keep`` then. A mapping of
    agents that is added is no difference; one that is changed or gone is.
    """
    told = (
        _difference(name, before, after)
        for name in sorted(before.keys() | after.keys())
        if _differs(name, before.get(name), after.get(name))
    )
    return list(dict.fromkeys(told))  # of mappings one sentence a source


def _difference(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    if name.startswith(_FROM):
        source = name.removeprefix(_FROM).partition("|")[0]
        return (
            f"source {source} would read of agents what it did otherwise: a [[sources.from]] of it was changed or removed. "
            "Leave it as it is; another one may stand beside it"
        )
    if name not in before or name not in after:
        return f"{name} would be {'added' if name not in before else 'removed'}"
    if _fingerprint(before[name]) != _fingerprint(after[name]):
        return f"{name} would count something else: its source, event time, key, measures or scales, or what it keeps together"
    return (
        f"{name} would be kept longer: what it holds expires as it was written, and a later event would found a window anew "
        "that looks whole"
    )


def _differs(name: str, before: str | None, after: str | None) -> bool:
    if name.startswith(_FROM):
        return after is None
    if before is None or after is None or _fingerprint(before) != _fingerprint(after):
        return True
    return _keep_ms(before) < _keep_ms(after)


def _kept(rollup: Rollup) -> str:
    return _EVER if rollup.keep_ms is None else str(rollup.keep_ms)


def _fingerprint(counts: str) -> str:
    return counts.partition("@")[0]


def _keep_ms(counts: str) -> float:
    """Return how long is kept; where it is not said, as if for ever, which nothing is longer than."""
    _, _, keep = counts.partition("@")
    return float(keep) if keep.isdecimal() else math.inf
