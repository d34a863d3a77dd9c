"""The fold of a batch's events, column by column: verdicts, groups by key and window, one state a group.

Whatever can be is decided for a whole column at once; only what such a check does not let through is looked at event by
event, by the rules of ``SourceFold.verdict``.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from operator import itemgetter
from typing import Any

from streamgage.definition.pipeline import Rollup, Source
from streamgage.errors import PoisonRecord
from streamgage.fold.items import ItemKey, partition_prefix, partition_suffix, window_prefix
from streamgage.formats.blocks.decimal_column import Columns
from streamgage.measures.decimals import Scaled, Scaler, scale_decimals, scale_number
from streamgage.measures.monoids import FieldColumns, State, compile_layout
from streamgage.measures.windows import MAX_EVENT_TIME_MS, TumblingWindows
from streamgage.reading.contributions import Contributions, Places, RollupEvents

_REMEMBERED_KEYS = 100_000

Group = tuple[str, int, int]
"""What the pk ends with, the window's start in ms, the number of the lane."""


@dataclass(slots=True)
class Lanes:
    """The lanes of a batch, by number: what each is called, and the last sequence number of it."""

    names: list[str] = field(default_factory=list)
    fences: list[int] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def note(self, name: str, sequence_number: int) -> int:
        """Take note of the next Kinesis record of the lane *name*, and return the lane's number."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
            self.fences.append(sequence_number)
        else:
            self.fences[number] = sequence_number
        return number


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one source in a batch: their columns, and where each stands."""

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

    def __init__(self, source: Source, rollups: Sequence[Rollup]) -> None:
        self.source = source
        self._lateness_ms, self._lateness_of = _lateness(source, rollups)
        self.rollups = [_RollupFold(rollup) for rollup in rollups]
        measured = sorted({(each.field, each.scale) for one in rollups for each in one.layout.fields})
        self.scalers = {(name, scale): Scaler(scale) for name, scale in measured}
        self.keys = tuple(dict.fromkeys(name for rollup in rollups for name in rollup.key))
        names = (name for name, _ in measured)
        self.fields = tuple(dict.fromkeys((source.event_time, *self.keys, *names)))

    def is_timely(self, first_ms: int, last_ms: int, *, first_arrival_ms: int, last_arrival_ms: int) -> bool:
        """Tell whether all event times between two are in bounds, with arrival times between two."""
        future_ms, lateness_ms = self.source.max_future_ms, self._lateness_ms
        return (
            first_ms >= 0
            and last_ms < MAX_EVENT_TIME_MS
            and (future_ms is None or last_ms <= first_arrival_ms + future_ms)
            and (lateness_ms is None or first_ms >= last_arrival_ms - lateness_ms)
        )

    def verdict(self, event: Mapping[str, Any], arrival_ms: int) -> None:
        """Look at one event.

        Raises:
            PoisonRecord: it counts nowhere, for the first of its reasons: time, then each rollup's key and values.
        """
        source, event_time_ms = self.source, event[self.source.event_time]
        if not 0 <= event_time_ms < MAX_EVENT_TIME_MS:
            raise PoisonRecord(
                "bad_time", f"{source.event_time} is {event_time_ms}, not ms since 1970 before the year 10000"
            )
        if source.max_future_ms is not None and event_time_ms > arrival_ms + source.max_future_ms:
            raise PoisonRecord(
                "future",
                f"{event_time_ms - arrival_ms} ms after its arrival; max_future is {source.max_future_ms} ms",
            )
        if self._lateness_ms is not None and event_time_ms < arrival_ms - self._lateness_ms:
            raise PoisonRecord(
                "late",
                f"{arrival_ms - event_time_ms} ms before its arrival; {self._lateness_of} is {self._lateness_ms} ms",
            )
        for each in self.rollups:
            partition_suffix(each.rollup, [event[name] for name in each.rollup.key])
            for measured in each.rollup.layout.fields:
                if (value := event[measured.field]) is not None:
                    scale_number(value, measured.scale)


def _lateness(source: Source, rollups: Sequence[Rollup]) -> tuple[int | None, str]:
    """Return by how much an event may be late at most (None: by any time), and what bounds it.

    It is the least of max_lateness and each rollup's keep: the item of an older event may be deleted already, and a new
    one in its place would hold a part of its window and look like the whole.
    """
    bounds = [] if source.max_lateness_ms is None else [(source.max_lateness_ms, "max_lateness")]
    bounds += [(each.keep_ms, f"keep of rollup {each.name}") for each in rollups if each.keep_ms is not None]
    return min(bounds, key=itemgetter(0), default=(None, ""))


class SourceBatch:
    """The events of one source in a batch, checked and grouped: each counts in every rollup, or in none.

    ``refused`` holds the ordinals of those that count in none.
    """

    def __init__(self, plan: SourceFold, events: Events, lanes: Lanes) -> None:
        self.events = events
        self._plan, self._lanes = plan, lanes
        self._times: list[int] = events.columns.lists[plan.source.event_time]
        self._scaled = {
            (name, scale): events.scaled(name, scaler) for (name, scale), scaler in plan.scalers.items()
        }
        self.refused = set(self._untimely())
        for column in self._scaled.values():
            self.refused.update(column.refused)
        self._groups = self._grouped()

    def refuse(self, ordinals: Iterable[int]) -> None:
        """Let the events at *ordinals* count in no rollup either."""
        self.refused.update(ordinals)
        self._groups = self._grouped()

    def reason(self, ordinal: int) -> PoisonRecord:
        """Return why a check of the columns refused the event at *ordinal*."""
        event = self.events.event(ordinal)
        try:
            self._plan.verdict(event, self.events.places.record_of(ordinal).arrival_ms)
        except PoisonRecord as poison:
            return poison
        raise AssertionError(f"a check of its column refused {event}, and nothing is wrong with it")

    def contribute(self, items: dict[ItemKey, Contributions]) -> None:
        """Add to *items* what the events contribute."""
        for plan, groups in zip(self._plan.rollups, self._groups, strict=True):
            read = [self._scaled[each.field, each.scale] for each in plan.rollup.layout.fields]
            columns = FieldColumns(
                values=tuple(each.numbers for each in read),
                gaps=tuple(each.gaps for each in read),
                times=self._times,
                place=self.events.places.place,
            )
            plan.contribute(
                groups, RollupEvents(plan.rollup, columns, self.events.places), self._lanes, items
            )

    def _untimely(self) -> Iterator[int]:
        """Yield the ordinals of the events whose time is out of bounds."""
        is_timely, times, places = self._plan.is_timely, self._times, self.events.places
        arrivals = [record.arrival_ms for record in places.records]
        if is_timely(min(times), max(times), first_arrival_ms=min(arrivals), last_arrival_ms=max(arrivals)):
            return
        stops = [*places.starts[1:], places.count]
        for start, stop, arrival_ms in zip(places.starts, stops, arrivals, strict=True):
            in_bounds = partial(is_timely, first_arrival_ms=arrival_ms, last_arrival_ms=arrival_ms)
            run = times[start:stop]
            if not in_bounds(min(run), max(run)):
                yield from (at for at, time_ms in enumerate(run, start) if not in_bounds(time_ms, time_ms))

    def _grouped(self) -> list[dict[Group, list[int]]]:
        """Return the ordinals in each rollup's groups; add to ``refused`` those whose key cannot be stored."""
        lists = self.events.columns.lists
        whole = _Keys(
            list(range(self.events.count)),
            self._times,
            {name: lists[name] for name in self._plan.keys},
            self._lane_column(),
        )
        while True:
            keys = whole.without(self.refused) if self.refused else whole
            bad: list[int] = []
            groups = [each.group(keys, bad) for each in self._plan.rollups]
            if not bad:
                return groups
            self.refused.update(bad)

    def _lane_column(self) -> list[int] | None:
        if len(self._lanes.names) == 1:
            return None
        places = self.events.places
        stops = [*places.starts[1:], places.count]
        column: list[int] = []
        for start, stop, lane in zip(places.starts, stops, places.lanes, strict=True):
            column += [lane] * (stop - start)
        return column


@dataclass(slots=True)
class _Keys:
    """The columns by which events are grouped; ``lanes`` is None where the batch has one lane."""

    ordinals: list[int]
    times: list[int]
    fields: Mapping[str, list[Any]]
    lanes: list[int] | None

    def without(self, refused: set[int]) -> "_Keys":
        """Return the columns without the events at the ordinals *refused*."""
        kept = [ordinal for ordinal in self.ordinals if ordinal not in refused]

        def pick(column: list[Any]) -> list[Any]:
            return [column[ordinal] for ordinal in kept]

        return _Keys(
            kept,
            pick(self.times),
            {name: pick(column) for name, column in self.fields.items()},
            None if self.lanes is None else pick(self.lanes),
        )


class _RollupFold:
    """How one rollup groups: events into its smallest windows, larger windows from those that nest in them."""

    def __init__(self, rollup: Rollup) -> None:
        self.rollup = rollup
        self._monoid = compile_layout(rollup.layout)
        self._base_ms = math.gcd(*(each.size_ms for each in rollup.windows))
        self._levels = [(windows, partition_prefix(rollup, windows)) for windows in rollup.windows]
        self._suffixes: dict[tuple[Any, ...], str] = {}

    def group(self, keys: "_Keys", bad: list[int]) -> dict[Group, list[int]]:
        """Return the ordinals in each group; add to *bad* those whose key cannot be stored."""
        if not keys.ordinals:
            return {}
        base_ms, times = self._base_ms, keys.times
        first_ms, last_ms = min(times), max(times)
        first_ms -= first_ms % base_ms
        starts: Iterable[int] = (
            repeat(first_ms) if last_ms < first_ms + base_ms else [time - time % base_ms for time in times]
        )
        lanes = repeat(0) if keys.lanes is None else keys.lanes
        by_values: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
        columns = [keys.fields[name] for name in self.rollup.key]
        for values, ordinal in zip(zip(*columns, starts, lanes), keys.ordinals):  # noqa: B905 - repeat() has no end
            by_values[values].append(ordinal)
        groups: dict[Group, list[int]] = {}
        for (*key, start_ms, lane), members in by_values.items():
            try:
                group = self._suffix_of(tuple(key)), start_ms, lane
            except PoisonRecord:
                bad += members
                continue
            groups[group] = members
        return groups

    def _suffix_of(self, key: tuple[Any, ...]) -> str:
        """Return what the pk of *key* ends with. Raises: PoisonRecord ``bad_key``."""
        suffix = self._suffixes.get(key)
        if suffix is None:
            if len(self._suffixes) >= _REMEMBERED_KEYS:
                self._suffixes.clear()
            suffix = self._suffixes[key] = partition_suffix(self.rollup, key)
        return suffix

    def contribute(
        self,
        groups: Mapping[Group, list[int]],
        events: RollupEvents,
        lanes: Lanes,
        items: dict[ItemKey, Contributions],
    ) -> None:
        """Add each group's state to the item of each window size."""
        fold, columns = self._monoid.fold, events.columns
        base = {group: (fold(columns, ordinals), [ordinals]) for group, ordinals in groups.items()}
        smaller_ms, folded = self._base_ms, base
        for windows, prefix in self._levels:
            if windows.size_ms % smaller_ms:  # they do not nest: begin again from the groups
                smaller_ms, folded = self._base_ms, base
            if windows.size_ms != smaller_ms:
                smaller_ms, folded = windows.size_ms, self._nest(folded, windows)
            sort_keys: dict[tuple[int, int], str] = {}
            for (suffix, start_ms, lane), (state, ordinals) in folded.items():
                sort_key = sort_keys.get((start_ms, lane))
                if sort_key is None:
                    sort_key = f"{window_prefix(start_ms)}|{lanes.names[lane]}"
                    sort_keys[start_ms, lane] = sort_key
                items[ItemKey(prefix + suffix, sort_key)] = Contributions(
                    lanes.fences[lane], state, ordinals, events
                )

    def _nest(
        self, smaller: Mapping[Group, tuple[State, list[list[int]]]], windows: TumblingWindows
    ) -> dict[Group, tuple[State, list[list[int]]]]:
        """Return the states of *windows*, each the merge of the *smaller* ones that nest in it."""
        size_ms, merge = windows.size_ms, self._monoid.merge
        parts: defaultdict[Group, list[tuple[State, list[list[int]]]]] = defaultdict(list)
        for (suffix, start_ms, lane), part in smaller.items():
            parts[suffix, start_ms - start_ms % size_ms, lane].append(part)
        nested = {}
        for group, nesting in parts.items():
            if len(nesting) > 1:  # a state that is alone is shared: nothing changes it any more
                state = self._monoid.identity()
                for each, _ in nesting:
                    merge(state, each)
                nested[group] = state, [ordinals for _, lists in nesting for ordinals in lists]
            else:
                nested[group] = nesting[0]
        return nested
