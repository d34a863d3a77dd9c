"""The events of one source in a slice of a batch: checked, and handed to each of its rollups.

Refusal is by source: an event that cannot count in one rollup counts in none. Selection is by rollup: between columns
and groups stands ``selected``, where a rollup takes the events that it wants.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from streamgage.definition.pipeline import Rollup, Source
from streamgage.errors import PoisonRecord
from streamgage.fold.states import Group, KeyColumns, KeyMemory, RollupFold, States
from streamgage.fold.verdicts import TimeBounds, checks_of, untimely, verdict
from streamgage.formats.blocks.decimal_column import Columns
from streamgage.measures.decimals import Scaled, Scaler, scale_decimals
from streamgage.measures.layout import EventColumns
from streamgage.measures.windows import TumblingWindows
from streamgage.reading.places import Places


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one source in a slice: their columns, and where each stands."""

    columns: Columns
    places: Places

    @property
    def count(self) -> int:
        """The number of events."""
        return self.columns.count

    def scaled(self, name: str, scaler: Scaler | None) -> Scaled:
        """Return the column of a measured field as integers at the scale of *scaler*; without one, of texts or histograms, as it is."""
        if scaler is None:
            plain = self.columns.lists[name]
            return Scaled(plain, (), gaps=None in plain)
        column, spans, scale = self.columns.lists[name], self.columns.decimals.get(name, ()), scaler.places
        if not spans:
            return scaler.scale(column)
        parts: list[tuple[int, Scaled]] = []
        begin = 0
        for span in spans:
            parts.append((begin, scaler.scale(column[begin : span.start])))
            parts.append((span.start, scale_decimals(column[span.start : span.stop], span.places, scale)))
            begin = span.stop
        parts.append((begin, scaler.scale(column[begin:])))
        return Scaled(
            list(chain.from_iterable(part.numbers for _, part in parts)),
            [start + at for start, part in parts for at in part.refused],
            gaps=any(part.gaps for _, part in parts),
        )

    def plain(self, name: str) -> Sequence[Any]:
        """Return the column of a field as its rows have it: a double is a float, however it came."""
        column, spans = self.columns.lists[name], self.columns.decimals.get(name, ())
        if not spans:
            return column
        values = list(column)
        for span in spans:
            unit = 10**span.places
            values[span.start : span.stop] = [
                None if each is None else each / unit for each in column[span.start : span.stop]
            ]
        return values

    def event(self, ordinal: int) -> dict[str, Any]:
        """Return the needed fields of one event, as its row has them."""
        event = {name: column[ordinal] for name, column in self.columns.lists.items()}
        for name, spans in self.columns.decimals.items():
            for span in spans:
                if span.start <= ordinal < span.stop and event[name] is not None:
                    event[name] /= 10**span.places
        return event


class SourceFold:
    """How the events of one source are folded: which fields are read, what is refused, what is grouped by what."""

    def __init__(self, source: Source, rollups: Sequence[Rollup], memory: KeyMemory) -> None:
        self.source = source
        self.rollups = [RollupFold(rollup, memory) for rollup in rollups]
        self._checks = checks_of(source, rollups)
        self._bounds = TimeBounds.of(source, rollups)
        measured = sorted({(each.field, each.scale) for one in rollups for each in one.layout.fields})
        self._scalers = {(name, scale): Scaler(scale) if scale >= 0 else None for name, scale in measured}
        self._keys = tuple(dict.fromkeys(name for rollup in rollups for name in rollup.key))
        self._used = tuple(dict.fromkeys((*self._keys, *(name for name, _ in measured))))
        derived = source.derived
        read = self._used if derived is None else derived.needs(self._used)
        filters = (name for each in rollups if each.where for name in sorted(each.where.names))
        self.fields = tuple(dict.fromkeys((source.event_time, *read, *filters)))

    def batch(self, events: Events, *, lanes: int) -> "SourceBatch":
        """Return *events*, at least one, checked and grouped; the batch has so many *lanes*."""
        self._derive(events)
        times = events.columns.lists[self.source.event_time]
        scaled = {
            (name, scale): events.scaled(name, scaler) for (name, scale), scaler in self._scalers.items()
        }
        refused = set(untimely(self._bounds, times, events.places))
        for column in scaled.values():
            refused.update(column.refused)
        whole = KeyColumns(
            range(events.count),
            times,
            {name: self._key_column(name, events) for name in self._keys},
            None if lanes == 1 else events.places.lane_column(),
        )
        passed_over = [self._passed_over(each, events) for each in self.rollups]
        bad: list[int] = []
        groups = self._grouped(whole, refused, passed_over, bad)
        if bad:
            refused.update(bad)
            groups = self._grouped(whole, refused, passed_over, [])
        return SourceBatch(self, events, times, scaled, groups, refused)

    def _key_column(self, name: str, events: Events) -> Sequence[Any]:
        """Return the column of a key's field; null, which only a derived one can be, stands as the empty text."""
        column = events.columns.lists[name]
        if self.source.derived is None or name not in self.source.derived.expressions:
            return column
        return ["" if each is None else each for each in column]

    def _derive(self, events: Events) -> None:
        """Add the derived columns to those that were read."""
        derived = self.source.derived
        if derived is not None:
            plain = {name: events.plain(name) for name in derived.needs(self._used) if name in self.fields}
            for name, column in derived.columns(self._used, plain, events.count).items():
                events.columns.lists[name] = list(column)

    def _passed_over(self, fold: RollupFold, events: Events) -> set[int]:
        """Return the ordinals of the events that a rollup does not take."""
        where = fold.rollup.where
        if where is None:
            return set()
        found = where.column({name: events.plain(name) for name in where.names}, events.count)
        return {ordinal for ordinal, is_taken in enumerate(found) if is_taken is not True}

    def _grouped(
        self, whole: KeyColumns, refused: set[int], passed_over: Sequence[set[int]], bad: list[int]
    ) -> list[dict[Group, list[int]]]:
        """Return the groups of each rollup: of what is not refused and not passed over. Refusal is by source."""
        columns = whole.without(refused)
        return [
            fold.group(columns.without(each), bad)
            for fold, each in zip(self.rollups, passed_over, strict=True)
        ]

    def reason(self, events: Events, ordinal: int) -> PoisonRecord:
        """Return why a check of the columns refused the event at *ordinal*."""
        event = events.event(ordinal)
        poison = verdict(self._checks, event, events.places.record_of(ordinal).arrival_ms)
        if poison is None:
            raise AssertionError(f"a check of its column refused {event}, and nothing is wrong with it")
        return poison


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """The events of one source in a slice. ``refused`` holds the ordinals of those that count in no rollup."""

    plan: SourceFold
    events: Events
    times: Sequence[int]
    scaled: Mapping[tuple[str, int], Scaled]
    groups: Sequence[Mapping[Any, list[int]]]
    refused: set[int]

    def states(self) -> Iterator[tuple[RollupFold, TumblingWindows, States]]:
        """Yield what each rollup and window size gets."""
        for rollup, groups in zip(self.plan.rollups, self.groups, strict=True):
            if not groups:
                continue
            read = [self.scaled[each.field, each.scale] for each in rollup.rollup.layout.fields]
            columns = EventColumns(
                tuple(each.numbers for each in read), tuple(each.gaps for each in read), self.times
            )
            for windows, states in rollup.fold(columns, groups, self.events.places).items():
                yield rollup, windows, states
