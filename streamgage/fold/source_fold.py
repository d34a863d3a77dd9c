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
from streamgage.fold.states import KeyColumns, KeyMemory, RollupFold, States
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

    def scaled(self, name: str, scaler: Scaler) -> Scaled:
        """Return the column of a measured field as integers at the scale of *scaler*."""
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
        self._scalers = {(name, scale): Scaler(scale) for name, scale in measured}
        self._keys = tuple(dict.fromkeys(name for rollup in rollups for name in rollup.key))
        names = (name for name, _ in measured)
        self.fields = tuple(dict.fromkeys((source.event_time, *self._keys, *names)))

    def batch(self, events: Events, *, lanes: int) -> "SourceBatch":
        """Return *events*, at least one, checked and grouped; the batch has so many *lanes*."""
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
            {name: events.columns.lists[name] for name in self._keys},
            None if lanes == 1 else events.places.lane_column(),
        )
        bad: list[int] = []
        groups = [each.group(whole.without(refused), bad) for each in self.rollups]
        if bad:
            refused.update(bad)
            columns = whole.without(refused)
            groups = [each.group(columns, []) for each in self.rollups]
        return SourceBatch(self, events, times, scaled, groups, refused)

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
