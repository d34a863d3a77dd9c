"""The events of a load, for the sources of any pipeline: made of their schemas, seeded, the same each time."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from producers.load.profile import Profile
from producers.load.schedule import Schedule
from producers.load.values import Dice, Value, histograms, maker_of, named_types, texts_like, zipf
from streamgage.definition.pipeline import Pipeline, Rollup, Source, branches
from streamgage.errors import ConfigError
from streamgage.fold.verdicts import lateness_of
from streamgage.formats.avro import Event

_MARGIN_MS = 30_000  # how far an event stays from what a consumer refuses: it may wait that long on its way
_REPEATED = 1_000  # an event that is sent again is one of so many last ones
_TEXTS = 20  # different values of a text, where it is no device
_LITERAL = re.compile(r"'([^']*)'|\"([^\"]*)\"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One sender's part of a load: *devices*, and *rate_per_s* events a second on average. The first device is *first*.

    ``mark`` begins the name of each device, and of each text that is a key by itself: what others sent has other keys.
    """

    mark: str
    seed: int
    first: int
    devices: int
    rate_per_s: float
    seconds: float


def sources_of(pipeline: Pipeline, names: Iterator[str] | tuple[str, ...] = ()) -> tuple[Source, ...]:
    """Return the sources *names*, or all that a rollup reads. Raises: ConfigError, one is not there, or there is none."""
    fed = {each.source for each in pipeline.rollups.values()}
    wanted = tuple(names) or tuple(name for name in pipeline.sources if name in fed)
    problems = [
        f"the pipeline has no source {name!r}; its sources are {', '.join(pipeline.sources)}"
        for name in wanted
        if name not in pipeline.sources
    ]
    if problems:
        raise ConfigError(*problems)
    if not wanted:
        raise ConfigError(
            "no rollup of this pipeline reads a source: there is nothing that a load could feed"
        )
    return tuple(pipeline.sources[name] for name in wanted)


def marked_fields(pipeline: Pipeline, source: Source) -> frozenset[str]:
    """Return the text fields that hold the mark: the partition key, and one of each key that has it not."""
    fields = source.schema.fields
    texts = {name for name, kind in fields.items() if branches(kind) - {"null"} == {"string"}}
    marked = {source.partition_key} & texts
    for rollup in pipeline.rollups_of(source.name):
        if not marked & set(rollup.key):
            marked |= set([name for name in rollup.key if name in texts][:1])
    return frozenset(marked)


def is_own(pipeline: Pipeline, rollup: Rollup) -> bool:
    """Tell whether the keys of *rollup* hold the mark: then nobody else's events are in its rows."""
    return bool(marked_fields(pipeline, pipeline.sources[rollup.source]) & set(rollup.key))


class LoadEvents:
    """The events of one sender, in the order of their sending.

    An event happens when it is due, by its device's clock, or was late. Nothing of it depends on when it is really sent.
    """

    def __init__(
        self, pipeline: Pipeline, sources: tuple[Source, ...], share: Share, profile: Profile
    ) -> None:
        """Prepare. Raises: ConfigError, no value can be made of a schema's type."""
        self.schedule = Schedule(profile, rate_per_s=share.rate_per_s, seconds=share.seconds, seed=share.seed)
        self._share, self._profile = share, profile
        self._makers = [_Maker(pipeline, each, share, profile) for each in sources]
        self._device = zipf(share.devices, profile.zipf)
        dice = Random(f"{share.seed} clocks").random  # noqa: S311 - a seeded simulation
        self._drifts = [(2 * dice() - 1) for _ in range(share.devices)] if profile.drift_ms else None

    def all(self, start_ms: int) -> Iterator[tuple[Source, Event]]:
        """Yield every event, of a load that begins at *start_ms*."""
        share, profile, due_ms = self._share, self._profile, self.schedule.due_ms
        dice = Random(f"{share.seed} events").random  # noqa: S311 - a seeded simulation
        last: list[tuple[Source, Event]] = []
        for number in range(self.schedule.events):
            if last and dice() < profile.duplicate_share:
                yield last[int(dice() * len(last))]
                continue
            device = self._device(dice())
            maker = (
                self._makers[int(dice() * len(self._makers))] if len(self._makers) > 1 else self._makers[0]
            )
            drift = self._drifts[device] if self._drifts is not None else 0.0
            late = dice() if profile.late_share and dice() < profile.late_share else 0.0
            made = (
                maker.source,
                maker.make(dice, share.first + device, start_ms + due_ms(number), drift, late),
            )
            if profile.duplicate_share:
                if len(last) < _REPEATED:
                    last.append(made)
                else:
                    last[number % _REPEATED] = made
            yield made


class _Maker:
    """Makes events of one source."""

    def __init__(self, pipeline: Pipeline, source: Source, share: Share, profile: Profile) -> None:
        self.source = source
        rollups = tuple(pipeline.rollups_of(source.name))
        late_ms = lateness_of(source, rollups)[0]
        future_ms = source.max_future_ms
        self._early_ms = _within(profile.drift_ms, future_ms)
        self._slow_ms = _within(profile.drift_ms, None if late_ms is None else late_ms // 2)
        self._late_ms = _within(profile.late_by_ms, None if late_ms is None else late_ms // 2)
        keys = {source.partition_key, *(name for rollup in rollups for name in rollup.key)}
        keys |= set(source.derived.needs(tuple(keys))) if source.derived else set()
        self._fields: dict[str, Value] = {}
        named = named_types(source.schema.parsed)
        marked, literals = marked_fields(pipeline, source), _literals(source, rollups)
        for each in source.schema.parsed["fields"]:
            name = each["name"]
            if name in source.histograms:
                self._fields[name] = histograms
                continue
            try:
                self._fields[name] = _field(
                    each["type"],
                    named,
                    name=name,
                    share=share,
                    places=source.scales.get(name, 0),
                    is_key=name in keys,
                    is_marked=name in marked,
                    also=literals.get(name, ()),
                )
            except ValueError as error:
                raise ConfigError(f"source {source.name!r}, field {name!r}: {error}") from error
        self._key = source.partition_key
        del self._fields[source.event_time]
        self._name = self._fields.pop(self._key)
        self._names = _names(source, share)

    def make(self, dice: Dice, device: int, due_ms: float, drift: float, late: float) -> Event:
        """Return an event of *device*, that is due at *due_ms*."""
        wrong_ms = drift * (self._early_ms if drift > 0 else self._slow_ms)
        event: Event = {name: make(dice) for name, make in self._fields.items()}
        event[self._key] = self._names(device) if self._names else self._name(dice)
        event[self.source.event_time] = int(due_ms + wrong_ms - late * self._late_ms)
        return event


def _names(source: Source, share: Share) -> Callable[[int], Any] | None:
    """Return what the devices of a source are called; None where its partition key cannot hold so many names."""
    kinds = branches(source.schema.fields[source.partition_key]) - {"null"}
    if "string" in kinds:
        return partial(_name, f"{share.mark}-")
    return int if kinds & {"int", "long"} else None


def _name(prefix: str, device: int) -> str:
    return f"{prefix}{device:05d}"


def _field(
    avro_type: Any,
    named: Mapping[str, Any],
    *,
    name: str,
    share: Share,
    places: int,
    is_key: bool,
    is_marked: bool,
    also: tuple[str, ...],
) -> Value:
    if branches(avro_type) - {"null"} == {"string"}:
        prefix = f"{share.mark}-{share.first}-{name}" if is_marked else name
        return texts_like(prefix, _TEXTS if is_marked else 4, () if is_marked else also)
    return maker_of(avro_type, named, whole=is_key, places=places)


def _literals(source: Source, rollups: tuple[Rollup, ...]) -> dict[str, tuple[str, ...]]:
    """Return, of each field, the texts that filters and derived fields compare: events that match are to come too."""
    expressions = [*(each.where for each in rollups if each.where is not None)]
    expressions += source.derived.expressions.values() if source.derived else ()
    found: dict[str, dict[str, None]] = {}
    for each in expressions:
        texts = [one or other for one, other in _LITERAL.findall(each.text)]
        for name in each.names:
            found.setdefault(name, {}).update(dict.fromkeys(texts))
    return {name: tuple(texts) for name, texts in found.items()}


def _within(wanted_ms: int, bound_ms: int | None) -> int:
    """Return *wanted_ms*, or as much as a consumer that allows *bound_ms* surely counts."""
    return wanted_ms if bound_ms is None else max(0, min(wanted_ms, bound_ms - _MARGIN_MS))


def divide(
    *, senders: int, mark: str, seed: int, devices: int, rate_per_s: float, seconds: float
) -> list[Share]:
    """Return the shares of *senders*: each has devices of its own, and its part of the rate. Raises: ConfigError."""
    if devices < senders:
        raise ConfigError(f"{devices} devices cannot be divided among {senders} senders")
    shares, first = [], 0
    for number in range(senders):
        own = devices // senders + (number < devices % senders)
        shares.append(
            Share(
                mark=mark,
                seed=seed + number,
                first=first,
                devices=own,
                rate_per_s=rate_per_s * own / devices,
                seconds=seconds,
            )
        )
        first += own
    return shares
